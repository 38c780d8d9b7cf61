package exchange

import (
	"math/rand/v2"
	"testing"
	"time"
)

// deal is a division with a clock that a test moves, and what each leaf came to.
type deal struct {
	*division
	t    *testing.T
	now  time.Time
	came map[int64]int // by leaf: whom it was kept from
}

func newDeal(t *testing.T, first, end int64, holders int) *deal {
	d := &deal{newDivision(first, end, 4, 16, time.Second), t, time.Unix(1e9, 0), map[int64]int{}}
	for i := range holders {
		d.join(i)
	}
	return d
}

func (d *deal) wait(t time.Duration) { d.now = d.now.Add(t) }

// takes expects a holder to be given leaves [from, to).
func (d *deal) takes(who int, from, to int64) {
	d.t.Helper()
	if got, ok := d.take(who, d.now); !ok || got != (task{from, to}) {
		d.t.Fatalf("%d is given %v (%v), not %d to %d", who, got, ok, from, to)
	}
}

// idle expects a holder to be given nothing.
func (d *deal) idle(who int) {
	d.t.Helper()
	if got, ok := d.take(who, d.now); ok {
		d.t.Fatalf("%d is given %v", who, got)
	}
}

// brings has a holder bring leaves [from, to), each of which must come to v, but the
// last one of a task to last.
func (d *deal) brings(who int, from, to int64, v, last verdict) (stopped int) {
	d.t.Helper()
	stopped = nobody
	for leaf := from; leaf < to; leaf++ {
		want := v
		if leaf == to-1 {
			want = last
		}
		got, s := d.arrive(who, leaf, d.now)
		if got != want {
			d.t.Fatalf("leaf %d of %d came to %d, not %d", leaf, who, got, want)
		}
		if s != nobody {
			stopped = s
		}
		if got == wanted || got == complete {
			if other, twice := d.came[leaf]; twice {
				d.t.Fatalf("leaf %d was kept from %d and from %d", leaf, other, who)
			}
			d.came[leaf] = who
		}
	}
	for d.head < 1<<40 { // delivered as soon as they are in order
		if _, ok := d.came[d.head]; !ok {
			break
		}
		d.deliver(d.now)
	}
	return stopped
}

// Who is alone is asked for everything at once; when another comes they go by turns.
func TestASecondHolderCutsTheFirst(t *testing.T) {
	d := newDeal(t, 0, 100, 1)
	d.takes(0, 0, 100)
	d.brings(0, 0, 10, wanted, wanted)
	d.join(1)
	d.takes(1, 14, 18)
	d.brings(0, 10, 14, wanted, complete)
	if v, _ := d.arrive(0, 14, d.now); v != overtook {
		t.Errorf("the first one may go on where it was cut: %d", v)
	}
	d.takes(0, 18, 22)
	d.brings(1, 14, 18, wanted, complete)
	d.takes(1, 22, 26)
}

// Nobody is asked for what lies beyond the window, whoever is fast.
func TestTheWindowBoundsWhatIsAskedFor(t *testing.T) {
	d := newDeal(t, 0, 100, 2)
	d.takes(0, 0, 4)
	d.takes(1, 4, 8)
	d.brings(1, 4, 8, wanted, complete)
	d.takes(1, 8, 12)
	d.brings(1, 8, 12, wanted, complete)
	d.takes(1, 12, 16)
	d.brings(1, 12, 16, wanted, complete)
	d.idle(1) // head is 0 still, and nobody is slow yet
	d.brings(0, 0, 3, wanted, wanted)
	d.idle(1)
	d.brings(0, 3, 4, wanted, complete)
	d.takes(1, 16, 20)
}

// A fast holder does not wait for one that is much slower, nor rob one that is not.
func TestASlowHolderIsOvertaken(t *testing.T) {
	d := newDeal(t, 0, 100, 2)
	d.takes(0, 0, 4)
	d.takes(1, 4, 8)
	for from := int64(4); from < 16; from += 4 {
		for leaf := from; leaf < from+4; leaf++ {
			d.wait(10 * time.Millisecond)
			d.brings(1, leaf, leaf+1, wanted, map[bool]verdict{true: complete, false: wanted}[leaf == from+3])
		}
		if from < 12 {
			d.takes(1, from+4, from+8)
		}
	}
	// 0 has brought nothing for 120 ms, four times as long as 1 needs for all of it.
	d.takes(1, 0, 4)
	if s := d.brings(1, 0, 4, wanted, complete); s != 0 {
		t.Errorf("%d was stopped, not the slow one", s)
	}
	if v, _ := d.arrive(0, 0, d.now); v != overtook {
		t.Errorf("the slow one's leaf came to %d", v)
	}
	d.takes(0, 16, 20) // one such loss is forgiven
	d.takes(1, 20, 24)

	even := newDeal(t, 0, 100, 2) // the control: as slow as the other
	even.takes(0, 0, 4)
	even.takes(1, 4, 8)
	for leaf := int64(4); leaf < 8; leaf++ {
		even.wait(10 * time.Millisecond)
		even.brings(1, leaf, leaf+1, wanted, map[bool]verdict{true: complete, false: wanted}[leaf == 7])
		if leaf < 7 {
			even.brings(0, leaf-4, leaf-3, wanted, wanted)
		}
	}
	even.takes(1, 8, 12)
	even.brings(1, 8, 12, wanted, complete)
	even.takes(1, 12, 16)
	even.brings(1, 12, 16, wanted, complete)
	even.idle(1)
	even.brings(0, 3, 4, wanted, complete)
	even.takes(1, 16, 20)
}

// After a second loss a holder gets nothing while another works, and works again when
// nobody else is left.
func TestASlowHolderIsDropped(t *testing.T) {
	d := newDeal(t, 0, 1000, 2)
	lose := func() {
		d.t.Helper()
		mine, ok := d.take(0, d.now)
		if !ok {
			d.t.Fatal("nothing for the slow one")
		}
		for d.crew[0].strikes < strikesOut {
			x, ok := d.take(1, d.now)
			if !ok {
				d.wait(300 * time.Millisecond)
				continue
			}
			d.brings(1, x.from, x.to, wanted, complete)
			if x.from == mine.from {
				return
			}
		}
	}
	lose()
	lose()
	d.idle(0)
	x, ok := d.take(1, d.now)
	if !ok || x.to != 1000 {
		t.Errorf("who is alone again is asked for %v", x)
	}
	d.idle(0)
	d.yield(1, true, d.now)
	if got, ok := d.take(0, d.now); !ok || got.from != x.from {
		t.Errorf("the last one is given %v (%v)", got, ok)
	}
}

// A rival that cannot deliver changes nothing for the one that it was to replace.
func TestARivalThatFails(t *testing.T) {
	d := newDeal(t, 0, 8, 2)
	d.takes(0, 0, 4)
	d.takes(1, 4, 8)
	d.brings(1, 4, 8, wanted, complete)
	d.wait(2 * time.Second)
	d.takes(1, 0, 4)
	d.yield(1, true, d.now) // it lacks them
	d.brings(0, 0, 4, wanted, complete)
	if !d.done() || d.crew[0].strikes != 0 {
		t.Errorf("done %v, %d losses of who did it", d.done(), d.crew[0].strikes)
	}
}

// An owner that wakes up in time keeps its span, and the rival is stopped.
func TestARivalThatIsLate(t *testing.T) {
	d := newDeal(t, 0, 8, 2)
	d.takes(0, 0, 4)
	d.takes(1, 4, 8)
	d.brings(1, 4, 8, wanted, complete)
	d.wait(2 * time.Second)
	d.takes(1, 0, 4)
	d.brings(0, 0, 2, wanted, wanted)
	d.brings(1, 0, 2, useless, useless)
	if s := d.brings(0, 2, 4, wanted, complete); s != 1 {
		t.Errorf("%d was stopped, not the rival", s)
	}
}

// On a slow network two holders do not take the last span from each other for ever:
// each rival needs a longer silence.
func TestRivalsDoNotTakeTurnsForEver(t *testing.T) {
	d := newDeal(t, 0, 3, 2)
	d.takes(0, 0, 3)
	waited := time.Duration(0)
	for range 4 {
		before := waited
		for {
			if _, ok := d.take(1, d.now); ok {
				break
			}
			d.wait(100 * time.Millisecond)
			waited += 100 * time.Millisecond
		}
		d.yield(1, false, d.now)
		if waited-before > time.Hour {
			t.Fatal("no rival any more")
		}
	}
	if waited < 8*time.Second {
		t.Errorf("four rivals came within %v", waited)
	}
}

// Nobody is given everything while another has a span before it: it would fill the window
// and could not help when the other falls silent.
func TestEverythingIsGivenOnlyToWhoIsAlone(t *testing.T) {
	d := newDeal(t, 0, 100, 2)
	d.takes(1, 0, 4)
	d.crew[1].strikes = strikesOut // it was slow before, and won this span as a rival
	d.takes(0, 4, 8)
	d.brings(0, 4, 8, wanted, complete)
	d.takes(0, 8, 12)
	d.brings(0, 8, 12, wanted, complete)
	d.takes(0, 12, 16)
	d.brings(0, 12, 16, wanted, complete)
	d.wait(2 * time.Second)
	d.takes(0, 0, 4)
	if s := d.brings(0, 0, 4, wanted, complete); s != 1 {
		t.Errorf("%d was stopped, not the silent one", s)
	}
	d.takes(0, 16, 100) // the control: alone now
}

// What a sink does not take yet is nobody's fault.
func TestWaitingForRoomIsNotSilence(t *testing.T) {
	d := newDeal(t, 0, 100, 1)
	d.takes(0, 0, 100)
	for leaf := int64(0); leaf < 16; leaf++ {
		d.arrive(0, leaf, d.now) // and none is delivered
	}
	d.join(1)
	d.hold(0)
	d.wait(time.Hour)
	d.idle(1)
	if d.wants(4, d.now) != true { // there is work for two, once there is room
		t.Error("no second holder is wanted")
	}
	d.resume(0, time.Hour)
	d.idle(1)
	d.wait(2 * time.Second) // the control: now it is silent
	if _, ok := d.take(1, d.now); !ok {
		t.Error("a silent holder has no rival")
	}
}

// Whatever happens in whatever order, each leaf is kept once, none is lost, and the
// window holds: from seeds.
func TestEveryLeafIsKeptOnce(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		end := 1 + rnd.Int64N(200)
		first := rnd.Int64N(end)
		holders := 1 + rnd.IntN(4)
		d := newDeal(t, first, end, holders)
		type state struct {
			at, to int64
			busy   bool
		}
		all := make([]state, holders)
		left := holders - 1 // holders that may still fail
		for steps := 0; !d.done(); steps++ {
			if steps > 1e6 {
				t.Fatalf("seed %d: it does not end: %+v", seed, d.spans)
			}
			d.wait(time.Duration(rnd.IntN(200)) * time.Millisecond)
			who := rnd.IntN(holders)
			s := &all[who]
			switch {
			case !s.busy:
				if x, ok := d.take(who, d.now); ok {
					*s = state{x.from, x.to, true}
				}
			case left > 0 && rnd.IntN(50) == 0:
				s.busy = false
				gone := rnd.IntN(2) == 0
				if gone {
					left--
				}
				d.yield(who, gone, d.now)
			case rnd.IntN(holders+1) >= who && d.room(s.at): // of unequal speed
				v, stopped := d.arrive(who, s.at, d.now)
				switch v {
				case wanted, complete:
					if _, twice := d.came[s.at]; twice || s.at >= d.head+d.window {
						t.Fatalf("seed %d: leaf %d, twice %v, head %d", seed, s.at, twice, d.head)
					}
					d.came[s.at] = who
					for _, ok := d.came[d.head]; ok; _, ok = d.came[d.head] {
						d.deliver(d.now)
					}
					s.busy = v == wanted
				case overtook:
					s.busy = false
				}
				if stopped != nobody {
					all[stopped].busy = false
				}
				if s.at++; s.at == s.to {
					s.busy = false
				}
			}
		}
		if int64(len(d.came)) != end-first || d.head != end {
			t.Fatalf("seed %d: %d leaves came of %d, head %d", seed, len(d.came), end-first, d.head)
		}
	}
}
