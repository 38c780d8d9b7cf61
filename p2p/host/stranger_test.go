package host

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multistream"
)

// stock is a libp2p host as anybody can build it.
func stock(t testing.TB) libp2phost.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Transport(tcp.NewTCPTransport), libp2p.Transport(libp2pquic.NewTransport))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// sweep tries every protocol on a fresh connection and returns those that answered.
func sweep(t testing.TB, from libp2phost.Host, to peer.AddrInfo, protocols []protocol.ID) []protocol.ID {
	t.Helper()
	from.Peerstore().AddAddrs(to.ID, to.Addrs, time.Hour)
	var answered []protocol.ID
	for _, p := range protocols {
		from.Network().(*swarm.Swarm).Backoff().Clear(to.ID)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if s, err := from.Network().NewStream(ctx, to.ID); err == nil {
			s.SetDeadline(time.Now().Add(5 * time.Second))
			if multistream.SelectProtoOrFail(p, s) == nil {
				answered = append(answered, p)
			}
			s.Reset()
		}
		from.Network().ClosePeer(to.ID)
		cancel()
	}
	return answered
}

// With the first guard, or only the second, or only the third, a stranger gets
// nothing; with none of them the same sweep gets everything. The tripwire is
// silent as long as something before it works.
func TestStrangerGetsNoProtocol(t *testing.T) {
	for _, c := range []struct {
		name  string
		on    guards
		all   bool // the stranger gets everything
		trips bool
	}{
		{"as built", everyGuard, false, false},
		{"admission alone", guards{admission: true}, false, false},
		{"the swarm's check alone", guards{upgraded: true}, false, false},
		{"the tripwire alone", guards{tripwire: true}, false, true},
		{"control: no guard at all", guards{}, true, false},
	} {
		for name, via := range transports {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				h := running(t, newClub(t), c.on)
				protocols := h.Libp2p().Mux().Protocols()
				if len(protocols) < 4 {
					t.Fatalf("the sweep is too small to mean anything: %v", protocols)
				}
				answered := sweep(t, stock(t), by(h, via), protocols)
				want := 0
				if c.all {
					want = len(protocols)
				}
				if len(answered) != want {
					t.Errorf("%d of %d protocols answered a stranger, want %d: %v", len(answered), len(protocols), want, answered)
				}
				if got := h.Tripped() > 0; got != c.trips {
					t.Errorf("the tripwire fired %d times", h.Tripped())
				}
			})
		}
	}
}

// A member that dials a node which is none finds that out before it says
// anything but its credential.
func TestMemberRefusesAForeignNode(t *testing.T) {
	ours, theirs := running(t, newClub(t), everyGuard), running(t, newClub(t), everyGuard)
	for name, via := range transports {
		if err := ours.Connect(background(t), by(theirs, via)); err == nil {
			t.Errorf("%s: connected to a node of another network", name)
		}
	}
	if n := len(ours.Libp2p().Network().Conns()) + len(theirs.Libp2p().Network().Conns()); n != 0 {
		t.Errorf("%d connections between two networks", n)
	}
}
