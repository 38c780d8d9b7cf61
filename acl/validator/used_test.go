package validator

import (
	"encoding/binary"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

func TestKeysAreCountedForADay(t *testing.T) {
	var c counter
	who, at := statement.ID{1}, time.Unix(1_000_000_000, 0)
	if before := c.take(who, at, 3); before != 0 {
		t.Errorf("%d before the first", before)
	}
	if before := c.take(who, at.Add(time.Hour), 2); before != 3 {
		t.Errorf("%d before the second", before)
	}
	c.giveBack(who, at.Add(time.Hour), 1)
	for _, want := range []struct {
		after time.Duration
		n     int64
	}{{time.Hour, 4}, {23 * time.Hour, 4}, {24 * time.Hour, 4}, {25 * time.Hour, 1}, {26 * time.Hour, 0}, {1000 * time.Hour, 0}} {
		if got := c.count(who, at.Add(want.after)); got != want.n {
			t.Errorf("%v later: %d, want %d", want.after, got, want.n)
		}
	}
	if got := c.count(statement.ID{2}, at); got != 0 {
		t.Errorf("another one has %d", got)
	}
	c.take(who, at.Add(1000*time.Hour), 1) // a bucket that is used again
	if got := c.count(who, at.Add(1000*time.Hour)); got != 1 {
		t.Errorf("after a long time: %d", got)
	}
	c.take(who, at, 5) // a clock that went back counts nothing away
	if got := c.count(who, at.Add(1000*time.Hour)); got != 1 {
		t.Errorf("after an old entry: %d", got)
	}
}

// Whoever makes identities without end cannot have their counts, or those of
// others, forgotten.
func TestTheCounterIsBoundedAndForgetsNobody(t *testing.T) {
	var c counter
	at := time.Unix(1_000_000_000, 0)
	id := func(i int) (id statement.ID) {
		binary.BigEndian.PutUint64(id[:], uint64(i)+1)
		return id
	}
	c.take(id(0), at, 7)
	for i := 1; i < maxUsers; i++ {
		c.take(id(i), at, 1)
	}
	c.take(id(maxUsers), at, 2)
	if got := c.count(id(maxUsers+1), at); got != 2 {
		t.Errorf("those without a count of their own share %d, want 2", got)
	}
	if got := c.take(id(0), at, 1); got != 7 {
		t.Errorf("the first has %d, want 7", got)
	}
	if len(c.users) > maxUsers {
		t.Errorf("%d are counted apart", len(c.users))
	}
	if got := c.take(id(maxUsers+2), at.Add(48*time.Hour), 1); got != 0 || len(c.users) != 1 {
		t.Errorf("two days later there are %d counts, and a new one begins with %d", len(c.users), got)
	}
}
