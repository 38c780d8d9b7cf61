package daemon

import (
	"context"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// turns keeps this node from asking one peer for more of one thing at a time than
// it answers: the surplus would be refused, though the peer could give it a moment
// later. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	busy map[turnsAt]*peerTurns // owned by mu; what is being asked for
}

type turnsAt struct {
	peer peer.ID
	what protocol.ID
}

type peerTurns struct {
	slots chan struct{}
	users int // owned by turns.mu
}

// take waits for one of limit turns at a peer; the caller gives it back. Everybody
// who asks for the same has the same limit.
func (t *turns) take(ctx context.Context, p peer.ID, what protocol.ID, limit int) (giveBack func(), err error) {
	at := turnsAt{p, what}
	t.mu.Lock()
	if t.busy == nil {
		t.busy = map[turnsAt]*peerTurns{}
	}
	h := t.busy[at]
	if h == nil {
		h = &peerTurns{slots: make(chan struct{}, limit)}
		t.busy[at] = h
	}
	h.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(t.busy, at)
		}
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
