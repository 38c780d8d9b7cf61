package cli

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercentOfTheCollector(t *testing.T) {
	for _, c := range []struct {
		live uint64
		rate float64
		want int
	}{
		{0, busyRate, mostPercent}, {1 << 20, busyRate, mostPercent}, {10 << 20, busyRate, 240}, {24 << 20, 1e9, 100},
		{48 << 20, 1e9, 50}, {1 << 40, 1e9, leastPercent}, {10 << 20, busyRate - 1, leastPercent}, {0, 0, leastPercent},
	} {
		if got := percentFor(c.live, c.rate); got != c.want {
			t.Errorf("with %d bytes alive and %.0f a second %d percent, want %d", c.live, c.rate, got, c.want)
		}
	}
}

// The target follows what is alive and what is allocated, collection after collection,
// and is as before at the end.
func TestTheCollectorIsPacedAnew(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	at := time.Unix(1e9, 0)
	stop := paceCollector(func() time.Time { return at }) // no time passes: whatever is allocated is much
	now := func() int {
		p := debug.SetGCPercent(leastPercent)
		debug.SetGCPercent(p)
		return p
	}
	reaches := func(want func(int) bool) bool {
		for range 100 { // the cleanup runs some time after a collection
			kept = make([]byte, 1<<20)
			runtime.GC()
			for range 100 {
				if want(now()) {
					return true
				}
				runtime.Gosched()
			}
		}
		return false
	}
	if !reaches(func(p int) bool { return p > 100 }) {
		t.Errorf("%d percent with little alive", now())
	}
	large := make([]byte, 200<<20)
	if !reaches(func(p int) bool { return p == leastPercent }) {
		t.Errorf("%d percent with 200 MiB alive", now())
	}
	runtime.KeepAlive(large)
	stop()
	if got := now(); got != 77 {
		t.Errorf("%d percent at the end, want 77", got)
	}
}

// kept keeps an allocation from being optimised away.
var kept []byte
