package daemon

import (
	"context"
	"sync/atomic"
)

// rounds does what many ask for at about the same time, one round at a time. A round
// that begins after somebody asked serves that one too: every revocation is hinted at
// by each validator, and would otherwise have every member ask all of them as often.
// It is safe for concurrent use.
type rounds struct {
	turn  chan struct{} // holds a token while a round is under way
	begun atomic.Uint64
	err   error // of the last round; owned by who has the turn
}

func newRounds() *rounds { return &rounds{turn: make(chan struct{}, 1)} }

// join returns once a round that began after the call has succeeded, or with the
// error of its own.
func (r *rounds) join(ctx context.Context, round func(context.Context) error) error {
	before := r.begun.Load()
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.turn }()
	if r.begun.Load() > before && r.err == nil {
		return nil
	}
	r.begun.Add(1)
	r.err = round(ctx)
	return r.err
}
