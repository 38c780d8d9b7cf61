package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// How much the heap of a node may grow between two collections. Most of a busy node's
// memory is buffers that live long: half of what is live is enough on top of them. A node
// that serves many small requests has ten megabytes alive, and a collector that runs at
// half of that would take a sixth of its time.
const (
	leastPercent = 50
	mostPercent  = 400
	heapRoom     = 24 << 20 // bytes, where half of what is live is less
)

// percentFor is the collector's target percentage for so many live bytes.
func percentFor(live uint64) int {
	return int(min(max(100*heapRoom/max(live, 1), leastPercent), mostPercent))
}

// paceCollector sets the collector's target anew after each collection, until the
// function that it gives is called.
func paceCollector() (stop func()) {
	before := debug.SetGCPercent(percentFor(heapRoom))
	var stopped atomic.Bool
	var arm func()
	arm = func() {
		// It is collected in the next cycle, and its cleanup runs after that. It has a
		// pointer so that it shares its memory with nothing.
		mark := new(*byte)
		runtime.AddCleanup(mark, func(struct{}) {
			if !stopped.Load() {
				debug.SetGCPercent(percentFor(liveHeap()))
				arm()
			}
		}, struct{}{})
	}
	arm()
	return func() {
		stopped.Store(true)
		debug.SetGCPercent(before)
	}
}

// liveHeap is what the last collection found alive, in bytes.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
