package daemon

import (
	"context"
	"sync"

	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/libp2p/go-libp2p/core/peer"
)

// turns keeps this node from asking one holder for more at a time than it answers:
// the surplus would be refused, though the holder has what is asked for. The zero
// value is ready.
type turns struct {
	mu   sync.Mutex
	busy map[peer.ID]*holderTurns // owned by mu; holders that are being asked
}

type holderTurns struct {
	slots chan struct{}
	users int // owned by turns.mu
}

// take waits for a turn at a holder; the caller gives it back.
func (t *turns) take(ctx context.Context, p peer.ID) (giveBack func(), err error) {
	t.mu.Lock()
	if t.busy == nil {
		t.busy = map[peer.ID]*holderTurns{}
	}
	h := t.busy[p]
	if h == nil {
		h = &holderTurns{slots: make(chan struct{}, exchange.StreamsPerPeer)}
		t.busy[p] = h
	}
	h.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(t.busy, p)
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
