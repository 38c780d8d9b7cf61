package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// How much the heap of a node may grow between two collections. Most of a busy node's
// memory is buffers that live long: half of what is live is enough on top of them. A node
// that serves many small requests has ten megabytes alive, and a collector that runs at
// half of that would take a sixth of its time; one that rests should not keep more.
const (
	leastPercent = 50
	mostPercent  = 400
	busyRoom     = 24 << 20 // bytes, where half of what is live is less
	busyRate     = 4 << 20  // bytes allocated a second
)

// percentFor is the collector's target percentage for so many live bytes, of a process
// that allocates so many a second.
func percentFor(live uint64, rate float64) int {
	if rate < busyRate {
		return leastPercent
	}
	return int(min(max(100*busyRoom/max(live, 1), leastPercent), mostPercent))
}

// heap is what the runtime tells of the heap at a time.
type heap struct {
	at              time.Time
	live, allocated uint64 // bytes: at the last collection; since the start
}

func readHeap(now time.Time) heap {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return heap{now, s[0].Value.Uint64(), s[1].Value.Uint64()}
}

func (h heap) rateSince(before heap) float64 {
	return float64(h.allocated-before.allocated) / max(h.at.Sub(before.at), time.Millisecond).Seconds()
}

// paceCollector sets the collector's target anew after each collection, until the
// function that it gives is called.
func paceCollector(now func() time.Time) (stop func()) {
	before := debug.SetGCPercent(leastPercent)
	var stopped atomic.Bool
	var arm func(heap)
	arm = func(last heap) {
		// It is collected in the next cycle, and its cleanup runs after that. It has a
		// pointer so that it shares its memory with nothing.
		mark := new(*byte)
		runtime.AddCleanup(mark, func(last heap) {
			if h := readHeap(now()); !stopped.Load() {
				debug.SetGCPercent(percentFor(h.live, h.rateSince(last)))
				arm(h)
			}
		}, last)
	}
	arm(readHeap(now()))
	return func() {
		stopped.Store(true)
		debug.SetGCPercent(before)
	}
}
