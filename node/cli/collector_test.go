package cli

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestPercentOfTheCollector(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, mostPercent}, {1 << 20, mostPercent}, {10 << 20, 240}, {24 << 20, 100}, {48 << 20, 50}, {1 << 40, leastPercent},
	} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("with %d bytes alive %d percent, want %d", c.live, got, c.want)
		}
	}
}

// The target follows what is alive, collection after collection, and is as before at
// the end.
func TestTheCollectorIsPacedAnew(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	stop := paceCollector()
	now := func() int {
		p := debug.SetGCPercent(leastPercent)
		debug.SetGCPercent(p)
		return p
	}
	reaches := func(want func(int) bool) bool {
		for range 100 { // the cleanup runs some time after a collection
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
	large := make([]byte, 200<<20)
	if !reaches(func(p int) bool { return p == leastPercent }) {
		t.Errorf("%d percent with 200 MiB alive", now())
	}
	runtime.KeepAlive(large)
	large = nil
	if !reaches(func(p int) bool { return p > 100 }) {
		t.Errorf("%d percent with little alive", now())
	}
	stop()
	if got := now(); got != 77 {
		t.Errorf("%d percent at the end, want 77", got)
	}
}
