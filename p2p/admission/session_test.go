package admission

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCountersAreUsedOnce(t *testing.T) {
	s := newSession()
	if s.UseCounter(0) {
		t.Error("zero was accepted")
	}
	for _, n := range []uint64{1, 3, 2, 100, 64, 4095} {
		if !s.UseCounter(n) {
			t.Errorf("%d was refused at first", n)
		}
		if s.UseCounter(n) {
			t.Errorf("%d was accepted again", n)
		}
	}
}

func TestCountersOutsideTheWindow(t *testing.T) {
	s := newSession()
	s.UseCounter(10_000)
	for n, want := range map[uint64]bool{
		10_000 - Window:     false, // just too old
		10_000 - Window + 1: true,
		10_001:              true,
		1:                   false,
	} {
		if n == 10_001 {
			continue // moves the window: below
		}
		if got := s.UseCounter(n); got != want {
			t.Errorf("counter %d: %v, want %v", n, got, want)
		}
	}
	if !s.UseCounter(10_001) || s.UseCounter(10_001-Window) {
		t.Error("the window did not move with its head")
	}
	if !s.UseCounter(math.MaxUint64) || s.UseCounter(math.MaxUint64) {
		t.Error("the largest counter is not used exactly once")
	}
	if !s.UseCounter(math.MaxUint64-1) || s.UseCounter(10_002) {
		t.Error("a jump to the end left the window behind")
	}
}

// The ring forgets exactly what falls out: a bit left over from one turn ago
// would refuse a fresh counter.
func TestWindowTurnsWithoutLeftovers(t *testing.T) {
	s := newSession()
	for n := uint64(1); n <= 3*Window; n += 2 {
		if !s.UseCounter(n) {
			t.Fatalf("odd counter %d refused", n)
		}
	}
	for n := uint64(2*Window + 2); n < 3*Window; n += 2 {
		if !s.UseCounter(n) {
			t.Fatalf("even counter %d refused though never used", n)
		}
	}
}

func TestOneOfManyWinsACounter(t *testing.T) {
	s := newSession()
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := uint64(1); n <= 500; n++ {
				if s.UseCounter(n) {
					won.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := won.Load(); got != 500 {
		t.Errorf("500 counters were used %d times", got)
	}
}

func TestNextCounterCounts(t *testing.T) {
	s := newSession()
	for want := uint64(1); want <= 3; want++ {
		if got := s.NextCounter(); got != want {
			t.Errorf("counter is %d, want %d", got, want)
		}
	}
}

func TestConnectionWithoutSession(t *testing.T) {
	if _, ok := SessionOf(nil); ok {
		t.Error("no connection has a session")
	}
}

// FuzzUseCounter compares the ring with a plain set.
func FuzzUseCounter(f *testing.F) {
	f.Add([]byte{1, 2, 3, 2})
	f.Add([]byte{255, 0, 255, 1, 7, 255, 255, 9})
	f.Fuzz(func(t *testing.T, steps []byte) {
		s, used, high, n := newSession(), make(map[uint64]bool), uint64(0), uint64(5000)
		for i, b := range steps {
			if i%2 == 0 {
				n += uint64(b) * 40
			} else {
				n -= min(n-1, uint64(b)*40)
			}
			want := !used[n] && (n > high || high-n < Window)
			if got := s.UseCounter(n); got != want {
				t.Fatalf("step %d, counter %d, highest %d: %v, want %v", i, n, high, got, want)
			}
			used[n] = used[n] || want
			high = max(high, n)
		}
	})
}
