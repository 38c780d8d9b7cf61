package host

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// canary is a service that is none of the network's business.
type canary struct {
	addr multiaddr.Multiaddr
	got  chan []byte // what each connection begins with
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &canary{got: make(chan []byte, 16)}
	if c.addr, err = manet.FromNetAddr(l.Addr()); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			buf := make([]byte, 64)
			n, _ := conn.Read(buf)
			c.got <- buf[:n]
			conn.Close()
		}
	}()
	return c
}

// TestPeersCannotSendUsAnywhere: an address that a peer tells leads to nobody who is
// no member, by no relay that is none, and not to the services of this machine. The
// control is a host that dials what it is told; what it sends is nobody's choice.
func TestPeersCannotSendUsAnywhere(t *testing.T) {
	c := newClub(t)
	_, friend := newKey(t)
	_, stranger := newKey(t)
	known := func(p peer.ID) bool { return p == friend }
	trap := newCanary(t)
	through := func(relay peer.ID) multiaddr.Multiaddr {
		return trap.addr.Encapsulate(multiaddr.StringCast("/p2p/" + relay.String() + "/p2p-circuit"))
	}
	listens := map[bool]string{true: "/ip4/127.0.0.1/tcp/0", false: "/ip4/0.0.0.0/tcp/0"}
	for _, to := range []struct {
		name  string
		local bool
		peer  peer.ID
		addr  multiaddr.Multiaddr
		dials bool
	}{
		{"a stranger", true, stranger, trap.addr, false},
		{"a member through a stranger", true, friend, through(stranger), false},
		{"a member, on our machine", false, friend, trap.addr, false},
		{"a member", true, friend, trap.addr, true},
	} {
		for _, guarded := range []bool{true, false} {
			on := everyGuard
			on.dialing = guarded
			key, id := newKey(t)
			h, err := build(Config{
				Key: key, Gate: member{c, id}, LocalNetwork: to.local, Limits: patient, Known: known,
				Listen: []multiaddr.Multiaddr{multiaddr.StringCast(listens[to.local])},
			}, on)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(background(t), 10*time.Second)
			if err := h.Connect(ctx, peer.AddrInfo{ID: to.peer, Addrs: []multiaddr.Multiaddr{to.addr}}); err == nil {
				t.Errorf("%s: a canary is a peer", to.name)
			}
			cancel()
			if err := h.Close(); err != nil {
				t.Error(err)
			}
			if dialed := len(trap.got) > 0; dialed != (to.dials || !guarded) {
				t.Errorf("%s: guarded %v, dialed %v", to.name, guarded, dialed)
			}
			for len(trap.got) > 0 {
				if got := <-trap.got; !bytes.HasPrefix(got, []byte("\x13/multistream/1.0.0\n")) {
					t.Errorf("%s: what listened there was sent %q", to.name, got)
				}
			}
		}
	}
}
