package host

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
)

func find(t testing.TB, h *Host, kind, name string) Scope {
	t.Helper()
	all, err := h.Usage()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Kind == kind && s.Name == name {
			return s
		}
	}
	return Scope{}
}

// TestUsageIsOfWhoUsesIt: streams that a peer holds open are counted for it and for
// their protocol, against the limits that are enforced: one more than those say is
// refused.
func TestUsageIsOfWhoUsesIt(t *testing.T) {
	c := newClub(t)
	key, id := newKey(t)
	limits := patient
	limits.StreamsPerProtocol = 5
	a, err := New(Config{Key: key, Gate: member{c, id}, LocalNetwork: true, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	held := make(chan network.Stream, 64)
	a.Libp2p().SetStreamHandler(echo, func(s network.Stream) { held <- s })
	b := running(t, c, everyGuard)
	if err := b.Connect(background(t), info(a)); err != nil {
		t.Fatal(err)
	}
	if got := find(t, a, ScopeProtocol, echo); got.Inbound.Used != 0 {
		t.Errorf("before: %+v", got)
	}
	for range 5 {
		s, err := b.Libp2p().NewStream(background(t), a.ID(), echo)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Reset()
		s.Write([]byte("x")) // the handler comes with the first byte
		<-held
	}
	got := find(t, a, ScopeProtocol, echo)
	if got.Inbound.Used != 5 || got.InboundPerPeer != 5 {
		t.Errorf("of the protocol: %+v", got)
	}
	peer := find(t, a, ScopePeer, b.ID().String())
	if peer.Inbound.Used < 5 || peer.Inbound.Limit != 256 || peer.Connections.Used < 1 || peer.Connections.Limit != 16 || peer.Memory.Limit != 64<<20 {
		t.Errorf("of the peer: %+v", peer)
	}
	system := find(t, a, ScopeSystem, "")
	if system.Inbound.Used < peer.Inbound.Used || system.Connections.Limit <= peer.Connections.Limit {
		t.Errorf("of the system: %+v", system)
	}
	s, err := b.Libp2p().NewStream(background(t), a.ID(), echo)
	if err == nil {
		s.Write([]byte("x"))
		if _, err := s.Read(make([]byte, 1)); err == nil {
			t.Error("the limit that is shown is not kept")
		}
		s.Reset()
	}
	if got := find(t, a, ScopeProtocol, echo); got.Inbound.Used > 5 {
		t.Errorf("over the limit: %+v", got)
	}
}
