package host

import (
	"bytes"
	"context"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// echoDesk answers everybody with what they ask.
type echoDesk struct{}

func (echoDesk) Answer(_ context.Context, _ peer.ID, request []byte, verified func()) ([]byte, error) {
	verified()
	return request, nil
}

// TestAsking reaches the desk of a node that admits nobody, by an address of any
// kind, and makes no connection that anything else could use.
func TestAsking(t *testing.T) {
	c := newClub(t)
	key, id := newKey(t)
	a, err := New(Config{Key: key, Gate: member{c, id}, Desk: echoDesk{}, LocalNetwork: true, Limits: patient})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	stranger := running(t, newClub(t), everyGuard)
	question := []byte("may I come in?")
	dead := multiaddr.StringCast("/ip4/127.0.0.1/tcp/1")
	for name, addrs := range map[string][]multiaddr.Multiaddr{
		"tcp": by(a, multiaddr.P_TCP).Addrs, "quic": by(a, multiaddr.P_QUIC_V1).Addrs, "a dead one first": append([]multiaddr.Multiaddr{dead}, a.Addrs()...),
	} {
		got, err := stranger.Ask(background(t), peer.AddrInfo{ID: a.ID(), Addrs: addrs}, question)
		if err != nil || !bytes.Equal(got, question) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if n := len(a.Libp2p().Network().Conns()) + len(stranger.Libp2p().Network().Conns()); n != 0 || a.Tripped() != 0 {
		t.Errorf("%d connections, tripped %d", n, a.Tripped())
	}
	for name, addrs := range map[string][]multiaddr.Multiaddr{
		"nothing listens": {dead}, "no address": nil, "no transport": {multiaddr.StringCast("/ip4/127.0.0.1/tcp/1/ws")},
		"everywhere": {multiaddr.StringCast("/ip4/0.0.0.0/tcp/1")},
	} {
		if _, err := stranger.Ask(background(t), peer.AddrInfo{ID: a.ID(), Addrs: addrs}, question); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := stranger.Ask(background(t), by(running(t, c, everyGuard), multiaddr.P_TCP), question); err == nil {
		t.Error("a node without a desk answers")
	}
}

// TestABarredPeerReachesNoDesk: who was removed is not even heard.
func TestABarredPeerReachesNoDesk(t *testing.T) {
	c := newClub(t)
	key, id := newKey(t)
	a, err := New(Config{Key: key, Gate: member{c, id}, Desk: echoDesk{}, LocalNetwork: true, Limits: patient})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	stranger := running(t, newClub(t), everyGuard)
	for name, via := range transports {
		c.bar(stranger.ID(), true)
		if _, err := stranger.Ask(background(t), by(a, via), nil); err == nil {
			t.Errorf("%s: a barred peer was answered", name)
		}
		c.bar(stranger.ID(), false)
		if _, err := stranger.Ask(background(t), by(a, via), nil); err != nil {
			t.Errorf("%s, control: %v", name, err)
		}
	}
}

// TestAnotherPeerAtAKnownAddress: a member that took over another one's address is
// not taken for it.
func TestAnotherPeerAtAKnownAddress(t *testing.T) {
	c := newClub(t)
	a, b := running(t, c, everyGuard), running(t, c, everyGuard)
	_, expected := newKey(t)
	for name, via := range transports {
		wrong := by(a, via)
		wrong.ID = expected
		if err := b.Connect(background(t), wrong); err == nil {
			t.Errorf("%s: connected to another peer than the one that was named", name)
		}
		if err := b.Connect(background(t), by(a, via)); err != nil {
			t.Errorf("%s, control: %v", name, err)
		}
		b.Drop(a.ID())
	}
}
