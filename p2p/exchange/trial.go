package exchange

import "time"

// trial decides whether several holders are better than one, where one alone is fast.
//
// Beyond a gigabit a second it is seldom the holder or the line that limits, but the
// reader's own processors and disk; then each further holder costs without bringing
// anything. So a fast holder is first left alone for a while and measured, then others
// are let in for a moment. Unless that moved more, they rest: they are asked again only
// where those at work fail, fall silent or become slower, or at the next trial. A trial
// that went wrong on a line that was just warming up is so repeated, ever more seldom.
// Where the rest will have come in a moment, nothing is tried.
type trial struct {
	phase phase
	since time.Time // when the present measurement began; zero: it has not
	from  int64     // leaves that had been delivered then
	alone float64   // leaves a second of one holder
	again time.Time // when the next trial is due, in phase resting
	pause time.Duration
}

type phase uint8

const (
	measuring phase = iota // one holder, to know its rate
	trying                 // several, to compare
	resting                // one was not slower: the others rest
	open                   // holders are recruited without limit
)

const (
	fastHolder = 128 // leaves a second, about a gigabit
	aloneFor   = 500 * time.Millisecond
	tryFor     = 150 * time.Millisecond
	tryAgain   = 4 * time.Second // and twice as long each time
	worthIt    = 2 * time.Second // that the rest takes one holder, to try others
	worthwhile = 1.1             // times the rate of one, to keep others
	slackened  = 0.7             // of the rate of one, to wake the others
)

// begin starts a measurement.
func (t *trial) begin(p phase, head int64, now time.Time) {
	t.phase, t.since, t.from = p, now, head
}

func (t *trial) rate(head int64, now time.Time) float64 {
	return float64(head-t.from) / now.Sub(t.since).Seconds()
}

// step takes note that everything before head has been delivered, and that so many
// leaves are left. It says whether the holders beside the best one are to rest from now
// on, or to be woken.
func (t *trial) step(head, left int64, now time.Time) (rest, wake bool) {
	if t.since.IsZero() {
		if t.phase == measuring {
			t.begin(measuring, head, now)
		}
		return false, false
	}
	took := now.Sub(t.since)
	switch {
	case t.phase == measuring && took >= aloneFor:
		if t.alone = t.rate(head, now); t.alone < fastHolder {
			t.phase = open
			return false, false
		}
		if !t.worth(left) {
			t.again = now.Add(tryAgain)
			t.begin(resting, head, now)
			return true, false
		}
		t.phase, t.since = trying, time.Time{}
	case t.phase == trying && took >= tryFor:
		if t.rate(head, now) >= worthwhile*t.alone {
			t.phase = open
			return false, false
		}
		t.pause = max(tryAgain, 2*t.pause)
		t.again = now.Add(t.pause)
		t.begin(resting, head, now)
		return true, false
	case t.phase == resting && took >= aloneFor:
		rate := t.rate(head, now)
		switch {
		case rate < slackened*t.alone:
			t.phase = open
			return false, true
		case now.Before(t.again) || !t.worth(left):
			t.begin(resting, head, now)
		default:
			t.alone, t.phase, t.since = rate, trying, time.Time{}
			return false, true
		}
	}
	return false, false
}

// worth reports that so much is left that a trial may pay.
func (t *trial) worth(left int64) bool { return float64(left) >= t.alone*worthIt.Seconds() }

// unhelped reports a trial in which no other holder has brought anything yet: its
// measurement has not begun.
func (t *trial) unhelped() bool { return t.phase == trying && t.since.IsZero() }

// holds reports that no other holder is to be recruited: the one at work is fast.
func (t *trial) holds(head int64, now time.Time) bool {
	switch t.phase {
	case measuring:
		return !t.since.IsZero() && now.After(t.since) && t.rate(head, now) >= fastHolder
	case resting:
		return true
	}
	return false
}
