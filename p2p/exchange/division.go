package exchange

import (
	"slices"
	"time"
)

// division says who brings which leaves of one payload when several holders are
// asked at once. It knows no network and no clock: [Gather] tells it what happens
// and when, and does what it says.
//
// A holder that is alone is given all that is left, in one request. When another
// comes, the first one's span is cut, and from then on each takes spans of a few
// leaves, in order, within a window of leaves that are not delivered yet: that bounds
// what has to be held until its turn comes. Who finds nothing left to take may become
// the rival of a holder that is much slower or has gone silent: both are asked for the
// rest of a span, and it is the rival's from its first leaf on, so that a rival which
// cannot deliver costs nothing. A holder that loses so is slow, and is asked for
// nothing more while others work. Whether several holders are better than one at all,
// a [trial] finds out.
type division struct {
	spans  []span // of what has not arrived, in order, disjoint
	head   int64  // the next leaf to be delivered
	unit   int64  // leaves of a span where more than one holder is at work
	window int64  // leaves that may be asked for, or be here, from head on
	quiet  time.Duration
	crew   map[int]*hand
	trial  trial
}

// span is a run of leaves, [next, to), that one holder brings in order.
type span struct {
	next, to     int64 // next is the first that has not arrived
	owner, rival int   // who is asked for it; nobody where it is free

	since time.Time // when its owner was asked for it
	last  time.Time // when the last leaf of its owner came, or since
	got   int64     // leaves that its owner has brought
	vied  time.Time // when its rival was asked for it
	bids  int       // how often it had a rival
	waits bool      // its owner has a leaf for which there is no room: that is not its fault
}

const nobody = -1

// hand is what is known of one holder.
type hand struct {
	leaves  int64         // brought in spans that it has finished or lost
	took    time.Duration // for those
	strikes int           // how often it lost a span to a rival
	gone    bool          // it failed and is asked for nothing more
	rests   bool          // others do without it
}

// strikesOut is how many spans a holder may lose before it is slow.
const strikesOut = 2

func (h *hand) slow() bool { return h.strikes >= strikesOut }

// aside reports that a holder is asked only where others fail.
func (h *hand) aside() bool { return h.rests || h.slow() }

// grace is how much longer a span must be expected to take with its owner than with
// another before that one becomes its rival: what one more request may cost.
const grace = 250 * time.Millisecond

func newDivision(first, end, unit, window int64, quiet time.Duration) *division {
	d := &division{head: first, unit: unit, window: window, quiet: quiet, crew: map[int]*hand{}}
	if first < end {
		d.spans = []span{{next: first, to: end, owner: nobody, rival: nobody}}
	}
	return d
}

// join counts a holder in. Holders are numbered by the caller.
func (d *division) join(who int) { d.crew[who] = &hand{} }

// able is how many holders are at work, and neither slow nor resting.
func (d *division) able() (n int) {
	for _, h := range d.crew {
		if !h.gone && !h.aside() {
			n++
		}
	}
	return n
}

// done reports that every leaf has arrived.
func (d *division) done() bool { return len(d.spans) == 0 }

// task is what a holder is asked for: leaves [from, to).
type task struct{ from, to int64 }

// take gives a holder its next task; false where there is none at this time.
func (d *division) take(who int, now time.Time) (task, bool) {
	h := d.crew[who]
	if h == nil || h.gone || d.find(who) >= 0 {
		return task{}, false
	}
	able := d.able()
	if !h.aside() || able == 0 {
		// Only what fits: whoever waits for room cannot help with what others are late with.
		fits := func(s span) bool { return d.room(min(s.next+d.unit, s.to) - 1) }
		if i := slices.IndexFunc(d.spans, func(s span) bool { return s.owner == nobody && fits(s) }); i >= 0 {
			// Who is given everything must not have to wait for another's span.
			if able > 1 || slices.ContainsFunc(d.spans, func(s span) bool { return s.owner != nobody }) {
				d.cut(i, d.spans[i].next+d.unit)
			}
			return d.give(i, who, now), true
		}
		// Who was alone until now keeps what it is about to send.
		i := slices.IndexFunc(d.spans, func(s span) bool { return s.to-s.next > 2*d.unit && d.room(s.next+2*d.unit-1) })
		if i >= 0 {
			at := d.spans[i].next + d.unit
			d.cut(i, at)
			d.cut(i+1, at+d.unit)
			return d.give(i+1, who, now), true
		}
	}
	for i := range d.spans {
		if s := &d.spans[i]; s.owner != nobody && s.rival == nobody && d.worth(s, h, now) {
			s.rival, s.vied = who, now
			s.bids++
			return task{s.next, s.to}, true
		}
	}
	return task{}, false
}

// room reports that a leaf lies within the window.
func (d *division) room(leaf int64) bool { return leaf < d.head+d.window }

// hold and resume enclose the time in which a holder is kept waiting for room; it does
// not count as the holder's.
func (d *division) hold(who int) {
	if i := d.find(who); i >= 0 && d.spans[i].owner == who {
		d.spans[i].waits = true
	}
}

func (d *division) resume(who int, waited time.Duration) {
	if i := d.find(who); i >= 0 && d.spans[i].owner == who {
		s := &d.spans[i]
		s.waits, s.since, s.last = false, s.since.Add(waited), s.last.Add(waited)
	}
}

// cut divides a span in two; the second part is free.
func (d *division) cut(i int, at int64) {
	if s := &d.spans[i]; at < s.to {
		rest := span{next: at, to: s.to, owner: nobody, rival: nobody}
		s.to = at
		d.spans = slices.Insert(d.spans, i+1, rest)
	}
}

func (d *division) give(i, who int, now time.Time) task {
	s := &d.spans[i]
	s.owner, s.since, s.last, s.got, s.waits = who, now, now, 0, false
	return task{s.next, s.to}
}

// worth reports that a holder would bring the rest of a span much sooner than its
// owner. Who has brought nothing yet, was slow or rests promises nothing, and vies only
// for what is silent. Each rival must wait for a longer silence than the one before, so
// that on a slow network two holders do not take a span from one another for ever.
func (d *division) worth(s *span, h *hand, now time.Time) bool {
	if s.waits {
		return false
	}
	silence := now.Sub(s.last)
	if h.leaves == 0 || h.aside() || s.bids > 0 {
		usual := time.Duration(0)
		if s.got > 0 {
			usual = s.last.Sub(s.since) / time.Duration(s.got)
		}
		return silence >= max(d.quiet<<min(s.bids, 6), 4*usual)
	}
	pace := silence
	if s.got > 0 {
		pace = max(pace, now.Sub(s.since)/time.Duration(s.got))
	}
	left := time.Duration(s.to - s.next)
	return left*pace > 2*left*(h.took/time.Duration(h.leaves))+grace
}

// find is the index of the span that a holder is asked for, or -1.
func (d *division) find(who int) int {
	return slices.IndexFunc(d.spans, func(s span) bool { return s.owner == who || s.rival == who })
}

// verdict is what becomes of a leaf that has come.
type verdict uint8

const (
	useless  verdict = iota // it came before from another; go on
	wanted                  // keep it and go on
	complete                // keep it; the task is done
	overtook                // the task is no longer this holder's: stop
)

// arrive takes note of a leaf from a holder. It may end the task of another one,
// which is to be stopped, or say nobody.
func (d *division) arrive(who int, leaf int64, now time.Time) (verdict, int) {
	i := d.find(who)
	if i < 0 {
		return overtook, nobody
	}
	s := &d.spans[i]
	switch {
	case leaf < s.next:
		return useless, nobody
	case leaf > s.next:
		return overtook, nobody // it leaves out leaves: cannot be, where the walk is checked
	}
	stopped := nobody
	if who == s.rival {
		stopped = s.owner
		d.pay(s, now)
		d.crew[s.owner].strikes++
		s.owner, s.rival, s.since, s.got, s.waits = who, nobody, s.vied, 0, false
	}
	s.next, s.got, s.last = s.next+1, s.got+1, now
	if d.trial.unhelped() && d.able() > 1 && !d.leads(who) {
		d.trial.begin(trying, d.head, now)
	}
	if s.next < s.to {
		return wanted, stopped
	}
	if s.rival != nobody {
		stopped = s.rival
	}
	d.pay(s, now)
	d.spans = slices.Delete(d.spans, i, i+1)
	return complete, stopped
}

// pay credits an owner with what it has brought of a span.
func (d *division) pay(s *span, now time.Time) {
	h := d.crew[s.owner]
	h.leaves += s.got
	h.took += now.Sub(s.since)
}

// deliver moves head on by one leaf.
func (d *division) deliver(now time.Time) {
	d.head++
	rest, wake := d.trial.step(d.head, d.left(), now)
	if wake {
		d.wake()
	}
	if rest {
		for who, h := range d.crew {
			h.rests = !d.leads(who)
		}
	}
}

// leads reports that a holder has brought more than the others: alone, it would be the
// best.
func (d *division) leads(who int) bool {
	most, best := int64(-1), nobody
	for w, h := range d.crew {
		if n := h.leaves + d.bringing(w); !h.gone && !h.slow() && (n > most || n == most && w < best) {
			most, best = n, w
		}
	}
	return who == best
}

// bringing is how many leaves of its present span a holder has brought.
func (d *division) bringing(who int) int64 {
	if i := d.find(who); i >= 0 && d.spans[i].owner == who {
		return d.spans[i].got
	}
	return 0
}

// yield frees what a holder has not brought. One that has gone takes nothing more.
func (d *division) yield(who int, gone bool, now time.Time) {
	if i := d.find(who); i >= 0 {
		s := &d.spans[i]
		if s.owner == who {
			d.pay(s, now)
			s.owner, s.since, s.last, s.got, s.waits = s.rival, s.vied, s.vied, 0, false
		}
		s.rival = nobody
	}
	if h := d.crew[who]; h != nil {
		h.gone = h.gone || gone
	}
	if gone && d.able() == 0 {
		d.trial.phase = open
		d.wake()
	}
}

// wake ends the rest of all.
func (d *division) wake() {
	for _, h := range d.crew {
		h.rests = false
	}
}

// wants reports that one more holder would be of use: nobody is at work, what is
// wanted first has not come for a while, or there is work enough for one more.
func (d *division) wants(most int, now time.Time) bool {
	if d.done() {
		return false
	}
	able := d.able()
	if able == 0 {
		return true
	}
	if s := &d.spans[0]; s.owner != nobody && s.next == d.head && s.rival == nobody && !s.waits && now.Sub(s.last) >= d.quiet {
		return true
	}
	if d.trial.holds(d.head, now) {
		return false
	}
	return able < most && d.left() > int64(1+able)*2*d.unit
}

// left is how many leaves have not arrived.
func (d *division) left() (n int64) {
	for i := range d.spans {
		n += d.spans[i].to - d.spans[i].next
	}
	return n
}
