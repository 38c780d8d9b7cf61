package admission

import (
	"context"
	"testing"

	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
)

// late resolves names itself, as the relay transport does.
type late struct{ transport.Transport }

func (late) SkipResolve(context.Context, ma.Multiaddr) bool { return true }

// TestNamesAreLeftToTheTransport: a wrapped transport is asked about names like a
// bare one, or the swarm would take the name of a relay for that of the peer.
func TestNamesAreLeftToTheTransport(t *testing.T) {
	a, err := New(Config{Gate: careless{member{newClub(t), nil}}})
	if err != nil {
		t.Fatal(err)
	}
	bare := newNode(t).bare(t, onTCP)
	name := ma.StringCast("/dns4/relay.example/tcp/1")
	if a.Wrap(bare).SkipResolve(t.Context(), name) {
		t.Error("names are not resolved for TCP")
	}
	if !a.Wrap(late{bare}).SkipResolve(t.Context(), name) {
		t.Error("names are resolved for a transport that resolves them itself")
	}
}
