package daemon

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// A peer that answers two at a time is never asked for three of one thing, while
// other things and other peers do not wait; and nothing is kept of what has ended.
func TestTurnsAreTakenByPeerAndThing(t *testing.T) {
	var turns turns
	var now, most atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			giveBack, err := turns.take(t.Context(), "peer", "/thing/1", 2)
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), now.Add(1)))
			now.Add(-1)
			giveBack()
		})
	}
	wg.Wait()
	if most.Load() > 2 || most.Load() < 1 {
		t.Errorf("%d at a time", most.Load())
	}
	var held []func()
	for range 2 {
		giveBack, err := turns.take(t.Context(), "peer", "/thing/1", 2)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, giveBack)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turns.take(gone, "peer", "/thing/1", 2); !errors.Is(err, context.Canceled) { // control: there is something to wait for
		t.Errorf("a third turn: %v", err)
	}
	for _, other := range []turnsAt{{"peer", "/other/1"}, {"other", "/thing/1"}} {
		giveBack, err := turns.take(t.Context(), other.peer, other.what, 2)
		if err != nil {
			t.Fatal(err)
		}
		giveBack()
	}
	for _, giveBack := range held {
		giveBack()
	}
	if len(turns.busy) != 0 {
		t.Errorf("%d places are kept", len(turns.busy))
	}
}
