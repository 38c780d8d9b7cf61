package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/libp2p/go-libp2p/core/peer"
)

// quietHolder is how long a holder may bring nothing while another one could be asked.
// A leaf is a megabyte, so this is what a line of 2 Mbit/s needs for one.
const quietHolder = 5 * time.Second

// errQuiet says that a holder brought nothing for quietHolder.
var errQuiet = errors.New("it brought nothing for a while, and another one is asked")

// askHolderBriskly is askHolder where others may have the objects too: it does not wait
// for as long as a lonely holder would be given.
func (r *reading) askHolderBriskly(ctx context.Context, p peer.ID, req exchange.Request, sink func(exchange.Block) error) error {
	return briskly(ctx, quietHolder, sink, func(ctx context.Context, sink func(exchange.Block) error) error {
		_, err := r.askHolder(ctx, p, req, sink)
		return err
	})
}

// briskly runs a fetch and ends it with errQuiet when no block comes for that long.
// The time that sink takes for a block is not the holder's.
func briskly(ctx context.Context, quiet time.Duration, sink func(exchange.Block) error, fetch func(context.Context, func(exchange.Block) error) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // a timer that fires while a block arrives waits, and then does nothing
	working := false
	timer := time.AfterFunc(quiet, func() {
		mu.Lock()
		defer mu.Unlock()
		if !working {
			cancel(errQuiet)
		}
	})
	defer timer.Stop()
	err := fetch(ctx, func(b exchange.Block) error {
		mu.Lock()
		working = true
		mu.Unlock()
		err := sink(b)
		mu.Lock()
		working = false
		timer.Reset(quiet)
		mu.Unlock()
		return err
	})
	if err != nil && context.Cause(ctx) == errQuiet {
		return errQuiet
	}
	return err
}
