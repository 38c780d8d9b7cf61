package host

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/multiformats/go-multiaddr"
)

// trusting admits everybody, with the club's credential: a member that lets in
// whom it should not.
type trusting struct{ member }

func (trusting) Check(peer.ID, []byte) error { return nil }

// actor is a host of these tests.
type actor struct {
	gate   func(peer.ID) admission.Gate
	relays Relays
	on     guards
}

func of(c *club) func(peer.ID) admission.Gate {
	return func(id peer.ID) admission.Gate { return member{c, id} }
}

func trustingOf(c *club) func(peer.ID) admission.Gate {
	return func(id peer.ID) admission.Gate { return trusting{member{c, id}} }
}

func (a actor) run(t testing.TB) *Host {
	t.Helper()
	key, id := newKey(t)
	h, err := build(Config{
		Key: key, Gate: a.gate(id), LocalNetwork: true, Limits: patient, Relays: a.relays,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}, a.on)
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	h.Libp2p().SetStreamHandler(echo, func(s network.Stream) {
		defer s.Close()
		io.Copy(s, s)
	})
	return h
}

func everybody(peer.ID) bool { return true }

func info(h *Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// until waits for something that another goroutine brings about.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx := background(t); !holds(); {
		select {
		case <-ctx.Done():
			t.Fatalf("it did not happen: %s", what)
		case <-tick.C:
		}
	}
}

// relayedAddrs are h's addresses that go through a relay.
func relayedAddrs(h *Host) (out []multiaddr.Multiaddr) {
	for _, a := range h.Libp2p().Addrs() {
		if isRelayed(a) {
			out = append(out, a)
		}
	}
	return out
}

func reachable(t testing.TB, h *Host) peer.AddrInfo {
	t.Helper()
	until(t, "a place at a relay", func() bool { return len(relayedAddrs(h)) > 0 })
	return peer.AddrInfo{ID: h.ID(), Addrs: relayedAddrs(h)}
}

// TestAMemberIsReachedThroughARelay: the relayed connection has a session of its
// own, and is one between the two ends.
func TestAMemberIsReachedThroughARelay(t *testing.T) {
	c := newClub(t)
	r := actor{of(c), Relays{Serve: true, Member: everybody}, everyGuard}.run(t)
	for name, relays := range map[string]Relays{"named": {Via: []peer.AddrInfo{info(r)}}, "found": {Auto: true}} {
		t.Run(name, func(t *testing.T) {
			hidden := actor{of(c), relays, everyGuard}.run(t)
			if relays.Auto {
				if err := hidden.Connect(background(t), info(r)); err != nil {
					t.Fatal(err)
				}
			}
			to := reachable(t, hidden)
			other := running(t, c, everyGuard)
			if err := other.Connect(background(t), to); err != nil {
				t.Fatal(err)
			}
			conn := other.Libp2p().Network().ConnsToPeer(hidden.ID())[0]
			if !isRelayed(conn.RemoteMultiaddr()) || conn.Stat().Limited {
				t.Errorf("connected by %s, limited %v", conn.RemoteMultiaddr(), conn.Stat().Limited)
			}
			ours, ok := admission.SessionOf(conn)
			if !ok {
				t.Fatal("a relayed connection has no session")
			}
			until(t, "the other end sees it", func() bool {
				for _, back := range hidden.Libp2p().Network().ConnsToPeer(other.ID()) {
					if theirs, ok := admission.SessionOf(back); ok && theirs.Given() == ours.Received() {
						return true
					}
				}
				return false
			})
			s, err := other.Libp2p().NewStream(background(t), hidden.ID(), echo)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Write([]byte("hello"))
			got := make([]byte, 5)
			if _, err := io.ReadFull(s, got); err != nil || string(got) != "hello" {
				t.Errorf("heard %q, %v", got, err)
			}
			if n := r.Tripped() + hidden.Tripped() + other.Tripped(); n != 0 {
				t.Errorf("tripped %d", n)
			}
		})
	}
}

// TestAStrangerThroughARelayGetsNothing: a member that lets everybody in relays for
// a stranger. The relay's admission is worth nothing to the member at the end,
// which refuses by itself. Each guard alone does; with none of them the stranger
// gets everything, so that silence means refusal.
func TestAStrangerThroughARelayGetsNothing(t *testing.T) {
	direct := guards{admission: true} // the way to the relay works in every case
	with := func(change func(*guards)) guards {
		g := direct
		change(&g)
		return g
	}
	for _, c := range []struct {
		name  string
		on    guards
		all   bool
		trips bool
	}{
		{"as built", everyGuard, false, false},
		{"the wrapped transport alone", with(func(g *guards) { g.relayed = true }), false, false},
		{"the swarm's check alone", with(func(g *guards) { g.upgraded = true }), false, false},
		{"the tripwire alone", with(func(g *guards) { g.tripwire = true }), false, true},
		{"control: no guard", direct, true, false},
	} {
		for name, speaks := range map[string]bool{"silent about credentials": false, "with a false credential": true} {
			if speaks && !c.on.relayed {
				continue // the two ends would not understand each other
			}
			t.Run(c.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				ours := newClub(t)
				open := Relays{Serve: true, Member: everybody}
				r := actor{trustingOf(ours), open, everyGuard}.run(t)
				h := actor{of(ours), Relays{Via: []peer.AddrInfo{info(r)}}, c.on}.run(t)
				to := reachable(t, h)
				stranger := actor{trustingOf(newClub(t)), Relays{}, guards{admission: true, relayed: speaks}}.run(t)
				if err := stranger.Connect(background(t), info(r)); err != nil {
					t.Fatal(err) // the stranger must get as far as the relay, or this tests nothing
				}
				// Hole punching hangs up on whoever dialed, member or not: no control.
				protocols := slices.DeleteFunc(h.Libp2p().Mux().Protocols(), func(p protocol.ID) bool { return p == holepunch.Protocol })
				answered := sweep(t, stranger.Libp2p(), to, protocols)
				want := 0
				if c.all {
					want = len(protocols)
				}
				if len(answered) != want {
					t.Errorf("%d of %d protocols answered, want %d: %v", len(answered), len(protocols), want, answered)
				}
				if got := h.Tripped() > 0; got != c.trips {
					t.Errorf("the tripwire fired %d times", h.Tripped())
				}
			})
		}
	}
}

// TestARelayServesMembersOnly: neither a place nor a connection for a peer that is
// no member (any more), though it has a connection. The control asks a relay that
// does not look.
func TestARelayServesMembersOnly(t *testing.T) {
	for name, on := range map[string]guards{"as built": everyGuard, "control": {admission: true, relayed: true, upgraded: true, tripwire: true}} {
		t.Run(name, func(t *testing.T) {
			c := newClub(t)
			var members sync.Map
			isMember := func(p peer.ID) bool { _, ok := members.Load(p); return ok }
			r := actor{trustingOf(c), Relays{Serve: true, Member: isMember}, on}.run(t)
			inside, outside := running(t, c, everyGuard), running(t, c, everyGuard)
			members.Store(inside.ID(), true)
			for _, h := range []*Host{inside, outside} {
				if err := h.Connect(background(t), info(r)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := client.Reserve(background(t), outside.Libp2p(), info(r))
			if got := err == nil; got == on.relayACL {
				t.Errorf("a place for a peer that is no member: %v", err)
			}
			if on.relayACL && !strings.Contains(err.Error(), "PERMISSION_DENIED") {
				t.Errorf("refused with %v", err)
			}
			hidden := actor{of(c), Relays{Via: []peer.AddrInfo{info(r)}}, everyGuard}
			if on.relayACL {
				if _, err := client.Reserve(background(t), inside.Libp2p(), info(r)); err != nil {
					t.Errorf("no place for a member: %v", err)
				}
				// A member's place is no way to it for others.
				to := peer.AddrInfo{ID: inside.ID(), Addrs: []multiaddr.Multiaddr{throughRelay(r)}}
				if err := outside.Connect(background(t), to); err == nil || !strings.Contains(err.Error(), "PERMISSION_DENIED") {
					t.Errorf("connecting ended with %v", err)
				}
				return
			}
			if err := outside.Connect(background(t), reachable(t, hidden.run(t))); err != nil {
				t.Error(err)
			}
		})
	}
}

func throughRelay(r *Host) multiaddr.Multiaddr {
	return by(r, multiaddr.P_TCP).Addrs[0].Encapsulate(multiaddr.StringCast("/p2p/" + r.ID().String() + "/p2p-circuit"))
}

// TestRelaysAreOff: without being configured a member neither relays, nor is found
// through a relay, nor answers what belongs to it.
func TestRelaysAreOff(t *testing.T) {
	c := newClub(t)
	off, other := running(t, c, everyGuard), running(t, c, everyGuard)
	relays := []protocol.ID{proto.ProtoIDv2Hop, proto.ProtoIDv2Stop, holepunch.Protocol}
	if answered := sweep(t, other.Libp2p(), info(off), relays); len(answered) != 0 {
		t.Errorf("%v answered", answered)
	}
	for _, p := range off.Libp2p().Mux().Protocols() {
		if slices.Contains(relays, p) {
			t.Errorf("it has %s", p)
		}
	}
	for _, a := range off.Libp2p().Network().ListenAddresses() {
		if isRelayed(a) {
			t.Errorf("it listens on %s", a)
		}
	}
	if _, err := client.Reserve(background(t), other.Libp2p(), info(off)); err == nil {
		t.Error("it gave a place")
	}
	on := actor{of(c), Relays{Serve: true, Member: everybody, Via: []peer.AddrInfo{info(off)}}, everyGuard}.run(t)
	if answered := sweep(t, other.Libp2p(), info(on), relays[:2]); len(answered) != 2 {
		t.Errorf("control: only %v answered", answered)
	}
	until(t, "hole punching answers", func() bool { return slices.Contains(on.Libp2p().Mux().Protocols(), holepunch.Protocol) })
	to := peer.AddrInfo{ID: off.ID(), Addrs: []multiaddr.Multiaddr{throughRelay(on)}}
	if err := on.Connect(background(t), info(off)); err != nil {
		t.Fatal(err)
	}
	fresh := running(t, c, everyGuard)
	if err := fresh.Connect(background(t), to); err == nil || !strings.Contains(err.Error(), "NO_RESERVATION") {
		t.Errorf("connecting through a relay to who reserved nothing: %v", err)
	}
}

// TestAPlaceIsTakenAgain: the address through a relay goes with the connection to
// it, and comes back with it.
func TestAPlaceIsTakenAgain(t *testing.T) {
	c := newClub(t)
	r := actor{of(c), Relays{Serve: true, Member: everybody}, everyGuard}.run(t)
	hidden := actor{of(c), Relays{Via: []peer.AddrInfo{info(r)}}, everyGuard}.run(t)
	reachable(t, hidden)
	place := func() time.Time {
		hidden.circuits.mu.Lock()
		defer hidden.circuits.mu.Unlock()
		return hidden.circuits.held[r.ID()].renew
	}
	before := place()
	r.Libp2p().Network().ClosePeer(hidden.ID())
	until(t, "a new place", func() bool { p := place(); return !p.IsZero() && p != before })
	if err := running(t, c, everyGuard).Connect(background(t), reachable(t, hidden)); err != nil {
		t.Error(err)
	}
}

// TestAPlaceIsRenewed: what is due is reserved again while the old place stands.
func TestAPlaceIsRenewed(t *testing.T) {
	c := newClub(t)
	r := actor{of(c), Relays{Serve: true, Member: everybody}, everyGuard}.run(t)
	hidden := actor{of(c), Relays{Via: []peer.AddrInfo{info(r)}}, everyGuard}.run(t)
	reachable(t, hidden)
	cs := hidden.circuits
	cs.mu.Lock()
	place := cs.held[r.ID()]
	place.renew = time.Now().Add(-time.Second)
	cs.held[r.ID()] = place
	cs.mu.Unlock()
	if _, missing := cs.round(background(t), map[peer.ID]time.Time{}); missing {
		t.Error("a place is missing")
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if !cs.held[r.ID()].renew.After(time.Now()) {
		t.Error("the place was not renewed")
	}
}

// TestRelayedPeersConnectDirectly: where both can be dialed after all, the relayed
// connection is followed by a direct one, which was admitted too.
func TestRelayedPeersConnectDirectly(t *testing.T) {
	c := newClub(t)
	r := actor{of(c), Relays{Serve: true, Member: everybody}, everyGuard}.run(t)
	via := Relays{Via: []peer.AddrInfo{info(r)}}
	a, b := actor{of(c), via, everyGuard}.run(t), actor{of(c), via, everyGuard}.run(t)
	to := reachable(t, a)
	reachable(t, b)
	for _, h := range []*Host{a, b} { // it takes a moment to find out that there are addresses
		until(t, "hole punching answers", func() bool { return slices.Contains(h.Libp2p().Mux().Protocols(), holepunch.Protocol) })
	}
	if err := b.Connect(background(t), to); err != nil {
		t.Fatal(err)
	}
	until(t, "a direct connection", func() bool {
		for _, conn := range b.Libp2p().Network().ConnsToPeer(a.ID()) {
			if isRelayed(conn.RemoteMultiaddr()) {
				continue
			}
			if _, ok := admission.SessionOf(conn); !ok {
				t.Fatal("a direct connection after a relayed one was not admitted")
			}
			return true
		}
		return false
	})
	if n := a.Tripped() + b.Tripped(); n != 0 {
		t.Errorf("tripped %d", n)
	}
}

// TestABarredPeerIsNotPunched: a coordinated direct connection meets the gate like
// any other.
func TestABarredPeerIsNotPunched(t *testing.T) {
	c := newClub(t)
	a, b := running(t, c, everyGuard), running(t, c, everyGuard)
	try := func(from, to *Host, client bool) error {
		ctx, cancel := context.WithTimeout(background(t), 3*time.Second)
		defer cancel()
		ctx = network.WithForceDirectDial(network.WithSimultaneousConnect(ctx, client, "test"), "test")
		from.Libp2p().Network().(*swarm.Swarm).Backoff().Clear(to.ID())
		return from.Connect(ctx, info(to))
	}
	c.bar(b.ID(), true)
	if err := try(a, b, true); err == nil {
		t.Error("we punched a hole to a barred peer")
	}
	if err := try(b, a, true); err == nil {
		t.Error("a barred peer punched a hole to us")
	}
	c.bar(b.ID(), false)
	fresh := running(t, c, everyGuard)
	if err := try(fresh, a, true); err != nil {
		t.Errorf("control: %v", err)
	}
}

// TestOnlyOurRelaysSayWhereWeAre: what they see is what others will dial. Another
// member, and another relay, can say what it likes.
func TestOnlyOurRelaysSayWhereWeAre(t *testing.T) {
	c := newClub(t)
	open := actor{of(c), Relays{Serve: true, Member: everybody}, everyGuard}
	ours, other, plain := open.run(t), open.run(t), running(t, c, everyGuard)
	// One protocol: so that the connection leaves from a port that is listened on.
	h := actor{of(c), Relays{Via: []peer.AddrInfo{by(ours, multiaddr.P_TCP)}}, everyGuard}.run(t)
	identified, err := h.Libp2p().EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		t.Fatal(err)
	}
	defer identified.Close()
	reachable(t, h)
	for _, to := range []*Host{other, plain} {
		if err := h.Connect(background(t), by(to, multiaddr.P_TCP)); err != nil {
			t.Fatal(err)
		}
	}
	for seen := map[peer.ID]bool{}; !seen[other.ID()] || !seen[plain.ID()]; {
		e := (<-identified.Out()).(event.EvtPeerIdentificationCompleted)
		h.circuits.meet(e)
		seen[e.Peer] = true
		if claim := e.ObservedAddr; claim == nil || !h.circuits.tellsOurPort(e.Conn, claim) {
			t.Errorf("%s said nothing that could be taken for an address of ours", e.Peer) // the test would mean nothing
		}
	}
	cs := h.circuits
	until(t, "our relay says where we are", func() bool {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		return len(cs.observed[ours.ID()]) > 0
	})
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.observed) != 1 {
		t.Errorf("others said it too: %v", cs.observed)
	}
}

// TestAPeerHasUsDialLittle: of the addresses that come with a wish for a direct
// connection, few are tried.
func TestAPeerHasUsDialLittle(t *testing.T) {
	many := make([]multiaddr.Multiaddr, 100)
	if got := (punchFilter{}).FilterRemote("", many); len(got) != holePunchAddresses {
		t.Errorf("%d addresses", len(got))
	}
	if got := (punchFilter{}).FilterRemote("", many[:3]); len(got) != 3 {
		t.Errorf("three became %d", len(got))
	}
	if got := (punchFilter{}).FilterLocal("", many); len(got) != holePunchAddresses {
		t.Errorf("we send %d addresses", len(got))
	}
}

// TestRelayConfigIsChecked: a relay that could not tell members, and relays that
// nobody could reach.
func TestRelayConfigIsChecked(t *testing.T) {
	c := newClub(t)
	key, id := newKey(t)
	r := peer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/192.0.2.1/tcp/1")}}
	through := peer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/192.0.2.1/tcp/1/p2p/" + id.String() + "/p2p-circuit")}}
	for what, cfg := range map[string]Config{
		"a relay without members":    {Relays: Relays{Serve: true}},
		"a relay without address":    {Relays: Relays{Via: []peer.AddrInfo{{ID: id}}}},
		"a relay behind a relay":     {Relays: Relays{Via: []peer.AddrInfo{through}}},
		"listening on every circuit": {Listen: []multiaddr.Multiaddr{anyRelay}},
	} {
		cfg.Key, cfg.Gate = key, member{c, id}
		if h, err := New(cfg); err == nil {
			h.Close()
			t.Errorf("a host with %s was made", what)
		}
	}
	h, err := New(Config{Key: key, Gate: member{c, id}, Relays: Relays{Via: []peer.AddrInfo{r}}})
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
}

// TestRelayedAddressesComeLast: a relay is a way for those who have no other.
func TestRelayedAddressesComeLast(t *testing.T) {
	_, id := newKey(t)
	direct := multiaddr.StringCast("/ip4/192.0.2.1/udp/1/quic-v1")
	relayed := multiaddr.StringCast("/ip4/192.0.2.1/tcp/1/p2p/" + id.String() + "/p2p-circuit")
	got := rank([]multiaddr.Multiaddr{relayed, direct})
	if got[0].Delay <= got[1].Delay {
		t.Errorf("through the relay after %s, direct after %s", got[0].Delay, got[1].Delay)
	}
	if got := rank([]multiaddr.Multiaddr{relayed}); got[0].Delay != 0 {
		t.Errorf("waits %s for nothing", got[0].Delay)
	}
}
