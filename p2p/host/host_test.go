package host

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

func TestMembersTalk(t *testing.T) {
	for name, protocol := range transports {
		t.Run(name, func(t *testing.T) {
			c := newClub(t)
			a, b := running(t, c, everyGuard), running(t, c, everyGuard)
			to := by(a, protocol)
			if len(to.Addrs) != 1 {
				t.Fatalf("%d addresses over %s, want 1: %v", len(to.Addrs), name, a.Addrs())
			}
			if err := b.Connect(background(t), to); err != nil {
				t.Fatal(err)
			}
			s, err := b.Libp2p().NewStream(background(t), a.ID(), echo)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, ok := admission.SessionOf(s.Conn()); !ok {
				t.Error("an admitted stream has no session")
			}
			s.Write([]byte("hello"))
			got := make([]byte, 5)
			if _, err := io.ReadFull(s, got); err != nil || string(got) != "hello" {
				t.Errorf("heard %q, error %v", got, err)
			}
			if a.Tripped() != 0 || b.Tripped() != 0 {
				t.Error("the tripwire fired for a member")
			}
		})
	}
}

func TestNothingListensBeforeRun(t *testing.T) {
	key, id := newKey(t)
	h, err := New(Config{Key: key, Gate: member{newClub(t), id}})
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Addrs(); len(got) != 0 {
		t.Errorf("listening on %v before Run", got)
	}
	select {
	case <-h.Listening():
		t.Error("Listening is closed before Run")
	default:
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Run(context.Background()); !errors.Is(err, ErrRan) {
		t.Errorf("a closed host ran: %v", err)
	}
}

func TestRunClosesEverything(t *testing.T) {
	key, id := newKey(t)
	h, err := New(Config{Key: key, Gate: member{newClub(t), id}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- h.Run(ctx) }()
	<-h.Listening()
	_, at, err := manet.DialArgs(by(h, multiaddr.P_TCP).Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	if probe, err := net.Dial("tcp", at); err != nil { // the control
		t.Fatal(err)
	} else {
		probe.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if _, err := net.Dial("tcp", at); err == nil {
		t.Error("the port is still open")
	}
	if err := h.Run(context.Background()); !errors.Is(err, ErrRan) {
		t.Errorf("a host ran twice: %v", err)
	}
}

func TestOnlyTCPAndQUIC(t *testing.T) {
	for _, a := range []string{
		"/ip4/127.0.0.1/tcp/0/ws",
		"/ip4/127.0.0.1/udp/0/quic-v1/webtransport",
		"/ip4/127.0.0.1/udp/0/webrtc-direct",
	} {
		key, id := newKey(t)
		h, err := New(Config{Key: key, Gate: member{newClub(t), id}, Listen: []multiaddr.Multiaddr{multiaddr.StringCast(a)}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // Run would return nil if it listened
		if err := h.Run(ctx); err == nil {
			t.Errorf("listening on %s was possible", a)
		}
	}
}

func TestOneBadAddressEndsRun(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at, err := manet.FromNetAddr(taken.Addr())
	if err != nil {
		t.Fatal(err)
	}
	key, id := newKey(t)
	h, err := New(Config{Key: key, Gate: member{newClub(t), id}, Listen: append(defaultListen(), at)})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Run(background(t)); err == nil {
		t.Error("Run went on without one of its addresses")
	}
}

func TestConfigIsChecked(t *testing.T) {
	key, id := newKey(t)
	gate := member{newClub(t), id}
	rsa, _, err := crypto.GenerateRSAKeyPair(2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, cfg := range map[string]Config{
		"no key":     {Gate: gate},
		"an RSA key": {Key: rsa, Gate: gate},
		"no gate":    {Key: key},
	} {
		if h, err := New(cfg); err == nil {
			h.Close()
			t.Errorf("a host with %s was made", what)
		}
	}
}

// A barred peer is refused whichever side dials, though its credential is good.
func TestBarredPeersAreRefused(t *testing.T) {
	c := newClub(t)
	a, b := running(t, c, everyGuard), running(t, c, everyGuard)
	for name, protocol := range transports {
		c.bar(b.ID(), true)
		if err := b.Connect(background(t), by(a, protocol)); err == nil {
			// TLS 1.3 lets a dialer believe for a moment; the admission does not.
			t.Errorf("%s: a barred peer got in", name)
		}
		if err := a.Connect(background(t), by(b, protocol)); err == nil {
			t.Errorf("%s: we dialed a barred peer", name)
		}
		c.bar(b.ID(), false)
		a.Drop(b.ID())
		fresh := running(t, c, everyGuard) // has no dial backoff to wait for
		if err := fresh.Connect(background(t), by(a, protocol)); err != nil {
			t.Errorf("%s, control: %v", name, err)
		}
	}
}

func TestDropForgets(t *testing.T) {
	c := newClub(t)
	a, b := running(t, c, everyGuard), running(t, c, everyGuard)
	if err := b.Connect(background(t), by(a, multiaddr.P_TCP)); err != nil {
		t.Fatal(err)
	}
	store := b.Libp2p().Peerstore()
	if len(store.Addrs(a.ID())) == 0 { // the control
		t.Fatal("no address is known of a connected peer")
	}
	b.Drop(a.ID())
	if got := b.Libp2p().Network().Connectedness(a.ID()); got != network.NotConnected {
		t.Errorf("a dropped peer is %s", got)
	}
	if got := store.Addrs(a.ID()); len(got) != 0 {
		t.Errorf("addresses of a dropped peer: %v", got)
	}
}

// Only Ed25519 peers exist for us, whatever their credential.
func TestOtherKeysAreRefused(t *testing.T) {
	c := newClub(t)
	a := running(t, c, everyGuard)
	key, _, err := crypto.GenerateECDSAKeyPair(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	gate := newGater(Config{Gate: member{c, id}}, everyGuard)
	if gate.InterceptSecured(network.DirInbound, id, nil) {
		t.Error("an ECDSA peer passed")
	}
	if !gate.InterceptSecured(network.DirInbound, a.ID(), nil) {
		t.Error("control: an Ed25519 peer was refused")
	}
	if _, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs); err != nil {
		t.Fatal(err) // libp2p itself would take it
	}
}

func TestWhatMayBeDialed(t *testing.T) {
	_, id := newKey(t)
	for _, c := range []struct {
		listen string
		local  bool
		dial   string
		want   bool
	}{
		{"/ip4/0.0.0.0/tcp/1", false, "/ip4/192.0.2.1/tcp/1", true},
		{"/ip4/0.0.0.0/tcp/1", false, "/ip4/10.0.0.1/tcp/1", true},
		{"/ip4/0.0.0.0/tcp/1", false, "/ip4/127.0.0.1/tcp/1", false},
		{"/ip4/0.0.0.0/tcp/1", false, "/ip6/::1/udp/1/quic-v1", false},
		{"/ip4/0.0.0.0/tcp/1", true, "/ip4/127.0.0.1/tcp/1", true},
		{"/ip4/127.0.0.1/tcp/1", false, "/ip4/127.0.0.1/tcp/1", true},
		{"/ip4/127.0.0.1/tcp/1", true, "/ip4/0.0.0.0/tcp/1", false},
		{"/ip4/127.0.0.1/tcp/1", true, "/ip4/0.1.2.3/tcp/1", false},
		{"/ip4/127.0.0.1/tcp/1", true, "/ip4/255.255.255.255/udp/1/quic-v1", false},
		{"/ip4/127.0.0.1/tcp/1", true, "/ip6/::/tcp/1", false},
		{"/ip4/127.0.0.1/tcp/1", true, "/ip6/ff02::1/udp/1/quic-v1", false},
		{"/ip6/fe80::1/tcp/1", false, "/ip4/169.254.169.254/tcp/80", false},
		{"/ip4/169.254.1.1/tcp/1", true, "/ip4/169.254.169.254/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", true, "/ip4/169.254.169.254/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", true, "/ip4/100.100.100.200/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", true, "/ip4/100.100.100.201/tcp/80", true},
		{"/ip4/0.0.0.0/tcp/1", true, "/ip4/192.0.0.192/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", true, "/ip4/168.63.129.16/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", true, "/ip6/fd00:ec2::254/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", true, "/ip6/fd00:ec2::255/tcp/80", true},
		{"/ip4/0.0.0.0/tcp/1", true, "/ip6/::ffff:169.254.169.254/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", false, "/ip6/::ffff:127.0.0.1/tcp/1", false},
		{"/ip4/0.0.0.0/tcp/1", false, "/ip6/64:ff9b::169.254.169.254/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", false, "/ip6/64:ff9b::127.0.0.1/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", false, "/ip6/64:ff9b::192.0.2.1/tcp/80", true},
		{"/ip4/0.0.0.0/tcp/1", false, "/ip6/2002:7f00:1::/tcp/80", false},
		{"/ip4/0.0.0.0/tcp/1", false, "/ip6/::127.0.0.1/tcp/80", false},
		{"/ip6/fe80::1/tcp/1", false, "/ip6zone/eth0/ip6/fe80::2/tcp/1", true},
		{"/ip6/::/tcp/1", false, "/ip6zone/eth0/ip6/fe80::2/tcp/1", false},
		{"/ip6/::/tcp/1", false, "/ip6/fd12::1/tcp/1", true},
		{"/ip6/::/tcp/1", false, "/ip4/192.168.1.1/tcp/22", true},
		{"/ip4/127.0.0.1/tcp/1", true, "/ip4/224.0.0.1/udp/1/quic-v1", false},
		{"/ip4/127.0.0.1/tcp/1", true, "/dns4/example.org/tcp/1", false},
	} {
		g := newGater(Config{Gate: member{newClub(t), id}, LocalNetwork: c.local,
			Listen: []multiaddr.Multiaddr{multiaddr.StringCast(c.listen)}}, everyGuard)
		if got := g.InterceptAddrDial(id, multiaddr.StringCast(c.dial)); got != c.want {
			t.Errorf("listening on %s, local %v, dialing %s: %v, want %v", c.listen, c.local, c.dial, got, c.want)
		}
	}
}
