package daemon

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// One at a time works under a key; others wait, and give up when they may.
func TestOneAtATimeUnderAKey(t *testing.T) {
	t.Parallel()
	var k keyedLocks
	var wg sync.WaitGroup
	inside := 0 // owned by who holds the key
	for range 16 {
		wg.Go(func() {
			giveBack, err := k.take(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			defer giveBack()
			if inside++; inside != 1 {
				t.Error("two are inside")
			}
			inside--
		})
	}
	wg.Wait()
	giveBack, err := k.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.take(gone, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("somebody who gave up got %v", err)
	}
	other, err := k.take(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	giveBack()
	if again, err := k.take(t.Context(), "a"); err != nil {
		t.Error(err)
	} else {
		again()
	}
}
