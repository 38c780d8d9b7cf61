package daemon

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Of many that ask together the first has a round, and all others share the next one:
// the first began before they asked.
func TestRoundsAreShared(t *testing.T) {
	for name, c := range map[string]struct {
		apart time.Duration
		want  int
	}{
		"together":           {want: 2},
		"a while apart":      {apart: 300 * time.Millisecond, want: 3},
		"control: far apart": {apart: 2 * time.Second, want: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRounds()
				var asking sync.WaitGroup
				var mu sync.Mutex
				var began []time.Time // owned by mu
				for i := range 5 {
					time.Sleep(c.apart)
					asked := time.Now()
					asking.Go(func() {
						if err := r.join(t.Context(), func(context.Context) error {
							mu.Lock()
							began = append(began, time.Now())
							mu.Unlock()
							time.Sleep(time.Second)
							return nil
						}); err != nil {
							t.Error(err)
						}
						mu.Lock()
						defer mu.Unlock()
						if last := began[len(began)-1]; last.Before(asked) {
							t.Errorf("%d was served by a round that began before it asked", i)
						}
					})
				}
				asking.Wait()
				if len(began) != c.want {
					t.Errorf("%d rounds, want %d", len(began), c.want)
				}
			})
		})
	}
}

// A round that failed serves nobody else, and who gives up waits no longer.
func TestFailedRoundsAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tried := newRounds(), 0
		broken := errors.New("nobody answers")
		fails := func(context.Context) error {
			tried++
			time.Sleep(time.Second)
			return broken
		}
		var asking sync.WaitGroup
		for range 3 {
			asking.Go(func() {
				if err := r.join(t.Context(), fails); !errors.Is(err, broken) {
					t.Errorf("%v, want the failure of its own round", err)
				}
			})
		}
		synctest.Wait()
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := r.join(hasty, fails); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the end of its patience", err)
		}
		asking.Wait()
		if tried != 3 {
			t.Errorf("%d rounds, want one for each", tried)
		}
	})
}
