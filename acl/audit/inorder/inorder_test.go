package inorder

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// count hands out the numbers below n.
func count(n int) func(func(*int) error) error {
	return func(hand func(*int) error) error {
		for i := range n {
			if err := hand(&i); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestItemsComeInTheirOrderOnceTheirWorkIsDone(t *testing.T) {
	var got []int
	err := Do(count(1000), func(i *int) { *i *= 2 }, func(i *int) error {
		got = append(got, *i)
		return nil
	})
	if err != nil || len(got) != 1000 || !slices.IsSorted(got) || got[999] != 1998 {
		t.Errorf("%d items, %v", len(got), err)
	}
}

func TestFewItemsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a goroutine that is left over fails the test
		var now, most atomic.Int64
		release := make(chan struct{})
		go func() {
			synctest.Wait() // until all that may begin has begun
			close(release)
		}()
		err := Do(count(100), func(*int) {
			most.Store(max(most.Load(), now.Add(1)))
			<-release
		}, func(*int) error {
			now.Add(-1)
			return nil
		})
		if limit := int64(runtime.GOMAXPROCS(0) + 1); err != nil || most.Load() > limit || most.Load() < limit-1 {
			t.Errorf("%d at once, at most %d: %v", most.Load(), limit, err)
		}
	})
}

func TestTheFirstErrorInTheOrderCounts(t *testing.T) {
	late, early := errors.New("late"), errors.New("early")
	refuse := func(at int) func(*int) error {
		return func(i *int) error {
			if *i >= at {
				return fmt.Errorf("%d: %w", *i, early)
			}
			return nil
		}
	}
	broken := func(hand func(*int) error) error {
		if err := count(50)(hand); err != nil {
			return err
		}
		return late
	}
	synctest.Test(t, func(t *testing.T) {
		if err := Do(broken, func(*int) {}, refuse(20)); !errors.Is(err, early) || err.Error() != "20: early" {
			t.Errorf("%v", err)
		}
		// The control: where nothing is refused, what the source says counts.
		if err := Do(broken, func(*int) {}, refuse(50)); err != late {
			t.Errorf("%v", err)
		}
		if err := Do(count(1<<30), func(*int) {}, refuse(0)); err == nil || err.Error() != "0: early" {
			t.Errorf("an endless source: %v", err)
		}
	})
}
