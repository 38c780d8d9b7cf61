package validator

import (
	"fmt"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// arrivalTime is how long a validator that is new waits, at most, for what the committee
// before kept: some of it may never come.
const arrivalTime = time.Hour

// errComing is the answer to whoever asks about an address meanwhile.
var errComing = fmt.Errorf("%w: what the committee before kept is still on its way here", ErrUnavailable)

// arrival is what a validator that is new in a committee knows of what is dealt to it.
type arrival struct {
	mu     sync.Mutex
	record statement.ID // of the committee; owned by mu, like the rest
	since  time.Time    // when this process first looked at it
	seen   bool         // all that is to come has been listed
}

// turnTo begins anew where the record is another one. mu is held.
func (a *arrival) turnTo(record *trust.Committee, now time.Time) {
	if id := record.ID(); a.record != id {
		a.record, a.since, a.seen = id, now, false
	}
}

// coming reports that this validator is new in the committee, and that what the one
// before kept may still be on its way here. Until then it denies no address, whatever it
// finds or lacks: it knows too little, a denial would count, and who asks must not learn
// from the difference what is here. It is to be asked before anything is looked for.
func (j *Judge) coming() bool {
	record := j.Trust.Current()
	if len(record.Previous) != len(statement.ID{}) || j.seat(record) < 0 {
		return false
	}
	before, err := j.Trust.ByID(statement.ID(record.Previous)) // not one that was recovered from
	if err != nil || j.seat(before) >= 0 {
		return false
	}
	now := j.Now()
	j.arrival.mu.Lock()
	defer j.arrival.mu.Unlock()
	j.arrival.turnTo(record, now)
	return !j.arrival.seen && now.Sub(j.arrival.since) < arrivalTime
}

// allSeen takes note that everything that is dealt again under a record was listed here.
func (j *Judge) allSeen(record *trust.Committee) {
	j.arrival.mu.Lock()
	defer j.arrival.mu.Unlock()
	j.arrival.turnTo(record, j.Now())
	j.arrival.seen = true
}
