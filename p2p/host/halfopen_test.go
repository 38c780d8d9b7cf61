package host

import (
	"net"
	"testing"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Connections that never start their handshake fill every place; a member still
// gets in.
func TestMemberGetsInThroughHalfOpenConnections(t *testing.T) {
	c := newClub(t)
	key, id := newKey(t)
	h, err := New(Config{Key: key, Gate: member{c, id}, LocalNetwork: true, Limits: Limits{HalfOpen: 8}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	for range 100 {
		rawDial(t, h)
	}
	if err := running(t, c, everyGuard).Connect(background(t), by(h, multiaddr.P_TCP)); err != nil {
		t.Error(err)
	}
}

func TestHalfOpenPlaces(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := newHalfOpen(2)
	conns := make([]*rawConn, 3)
	for i := range conns {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := manet.WrapNetConn(c)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = h.add(wrapped) // the third waits for the first one's grace
	}
	if h.size() != 2 {
		t.Errorf("%d places are taken, want 2", h.size())
	}
	if _, err := conns[0].Write([]byte("x")); err == nil {
		t.Error("the oldest was not closed")
	}
	if _, err := conns[1].Write([]byte("x")); err != nil {
		t.Errorf("a younger one was closed: %v", err)
	}
	conns[1].secured()
	conns[1].secured() // once or twice is the same
	conns[1].Close()
	conns[2].Close()
	if h.size() != 0 {
		t.Errorf("%d places are taken, want none", h.size())
	}
	select {
	case <-conns[1].left():
	default:
		t.Error("a place that was given up is waited for")
	}
}
