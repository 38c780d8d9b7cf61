package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"cerebrum.dev/cerebrum/p2p/exchange"
)

// A holder that falls silent is left; one that is slow but goes on, or that waits for
// us, is not.
func TestASilentHolderIsLeft(t *testing.T) {
	broken := errors.New("the stream broke")
	for name, c := range map[string]struct {
		before []time.Duration // before each block
		taking time.Duration   // of our own, for each block
		end    error           // of the holder
		want   error
	}{
		"silent from the start":  {before: []time.Duration{time.Hour}, want: errQuiet},
		"silent in the middle":   {before: []time.Duration{0, time.Second, 3 * time.Second}, want: errQuiet},
		"a block every second":   {before: []time.Duration{time.Second, time.Second, time.Second, time.Second}},
		"we are slow":            {before: []time.Duration{0, 0, 0}, taking: time.Minute},
		"it fails by itself":     {before: []time.Duration{0}, end: broken, want: broken},
		"it fails, and is quick": {end: broken, want: broken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := briskly(t.Context(), 2*time.Second, func(exchange.Block) error {
					time.Sleep(c.taking)
					return nil
				}, func(ctx context.Context, sink func(exchange.Block) error) error {
					for _, d := range c.before {
						select {
						case <-time.After(d):
						case <-ctx.Done():
							return ctx.Err()
						}
						if err := sink(exchange.Block{}); err != nil {
							return err
						}
					}
					return c.end
				})
				if !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

// Who gives up is told its own reason, not that the holder was silent.
func TestGivingUpIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := briskly(ctx, 2*time.Second, nil, func(ctx context.Context, _ func(exchange.Block) error) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
