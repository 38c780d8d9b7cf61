package exchange

import (
	"testing"
	"time"
)

// flow is a division in which time passes by the rate at which leaves are delivered.
type flow struct {
	*deal
	asked []task // by holder: the span that it brings now
}

func newFlow(t *testing.T, leaves int64, holders int) *flow {
	f := &flow{deal: newDeal(t, 0, leaves, holders), asked: make([]task, holders)}
	return f
}

// runs has holders bring leaves in turn, so many a second in all, for a while; those
// for whom there is no work bring nothing. It gives how many each has brought.
func (f *flow) runs(rate int, d time.Duration, who ...int) []int {
	f.t.Helper()
	brought := make([]int, len(f.asked))
	for end := f.now.Add(d); f.now.Before(end) && !f.done(); {
		for _, w := range who {
			s := &f.asked[w]
			if s.from == s.to {
				s2, ok := f.take(w, f.now)
				if !ok {
					continue
				}
				*s = s2
			}
			f.wait(time.Second / time.Duration(rate))
			v, stopped := f.arrive(w, s.from, f.now)
			if stopped != nobody {
				f.asked[stopped] = task{}
			}
			s.from++
			if v == complete || v == overtook {
				*s = task{}
			}
			f.came[s.from-1] = w
			brought[w]++
			for f.head < f.first() {
				f.deliver(f.now)
			}
		}
	}
	return brought
}

// first is the first leaf that has not come.
func (f *flow) first() int64 {
	if f.done() {
		return 1 << 40
	}
	return f.spans[0].next
}

// A holder that fills more than a gigabit is left alone for half a second, then another
// is tried. Unless the two move more than the one, the other rests, and is tried again
// some seconds later. The controls: a slow holder is helped at once, and a second holder
// that helps stays.
func TestAFastHolderIsHelpedOnlyWhereThatHelps(t *testing.T) {
	t.Run("no gain", func(t *testing.T) {
		f := newFlow(t, 1<<20, 1)
		f.runs(500, 400*time.Millisecond, 0)
		if f.wants(4, f.now) {
			t.Fatal("another holder is wanted beside a fast one at once")
		}
		f.runs(500, 200*time.Millisecond, 0)
		if !f.wants(4, f.now) {
			t.Fatal("no other holder is tried")
		}
		f.join(1)
		f.asked = append(f.asked, task{})
		if got := f.runs(450, 300*time.Millisecond, 0, 1); got[1] == 0 {
			t.Fatal("the second holder brought nothing while it was tried")
		}
		if got := f.runs(500, 3*time.Second, 0, 1); got[1] > 4 {
			t.Fatalf("a holder that does not help brought %d leaves", got[1])
		}
		if f.wants(4, f.now) {
			t.Fatal("a third is wanted where a second did not help")
		}
		if got := f.runs(500, 2*time.Second, 0, 1); got[1] == 0 {
			t.Fatal("it was not tried again")
		}
		if got := f.runs(500, 5*time.Second, 0, 1); got[1] > 100 {
			t.Fatalf("after the second trial it brought %d leaves", got[1])
		}
	})
	t.Run("soon done", func(t *testing.T) {
		f := newFlow(t, 1000, 1)
		f.runs(500, 600*time.Millisecond, 0)
		if f.wants(4, f.now) {
			t.Fatal("another holder is tried where the rest takes a second and a half")
		}
		f.runs(200, time.Second, 0)
		if !f.wants(4, f.now) {
			t.Fatal("no other holder is wanted beside one that has become slow")
		}
	})
	t.Run("slow alone", func(t *testing.T) {
		f := newFlow(t, 1<<20, 1)
		f.runs(fastHolder/2, 100*time.Millisecond, 0)
		if !f.wants(4, f.now) {
			t.Fatal("no other holder is wanted beside a slow one")
		}
	})
	t.Run("gain", func(t *testing.T) {
		f := newFlow(t, 1<<20, 2)
		f.runs(500, 600*time.Millisecond, 0)
		f.runs(900, 400*time.Millisecond, 0, 1)
		if got := f.runs(900, 2*time.Second, 0, 1); got[1] < 300 {
			t.Fatalf("a holder that helps brought %d leaves", got[1])
		}
		if !f.wants(4, f.now) {
			t.Fatal("no third holder is wanted where a second helped")
		}
	})
}

// A holder that rests takes over where the one at work fails, and helps where it
// becomes slow. In the controls, what they do is the same without the trouble: nothing.
func TestARestingHolderIsThere(t *testing.T) {
	rests := func(t *testing.T) *flow {
		f := newFlow(t, 1<<20, 2)
		f.runs(500, 600*time.Millisecond, 0)
		f.runs(450, 300*time.Millisecond, 0, 1)
		if got := f.runs(500, time.Second, 0, 1); got[1] > 4 {
			t.Fatalf("the second holder does not rest: %d leaves", got[1])
		}
		return f
	}
	t.Run("fails", func(t *testing.T) {
		f := rests(t)
		f.yield(0, true, f.now)
		if got := f.runs(500, time.Second, 1); got[1] < 400 {
			t.Fatalf("it brought %d leaves after the other had failed", got[1])
		}
	})
	t.Run("becomes slow", func(t *testing.T) {
		f := rests(t)
		f.runs(100, time.Second, 0, 1)
		if got := f.runs(200, time.Second, 0, 1); got[1] < 50 {
			t.Fatalf("it brought %d leaves beside one that had become slow", got[1])
		}
	})
	t.Run("falls silent", func(t *testing.T) {
		f := rests(t)
		f.wait(2 * time.Second)
		if got := f.runs(500, time.Second, 1); got[1] < 400 {
			t.Fatalf("it brought %d leaves after the other had gone silent", got[1])
		}
	})
}
