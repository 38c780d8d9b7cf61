package journal

import (
	"errors"
	"iter"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
)

// Leaves reads the durable leaves, verified again, without what is beside them: an
// entry knows its actor, but Open finds its claims lost. It stops at fn's first
// error and returns it.
func (j *Journal) Leaves(fn func(e *Entry) error) error {
	return j.log.Scan(func(i int64, leaf []byte) error {
		e := j.entry(i, leaf)
		e.lost = true
		return fn(e)
	})
}

// Scan reads the durable leaves, verified again, with what is beside them. It stops
// at fn's first error and returns it. It does not hold up the writer.
func (j *Journal) Scan(fn func(e *Entry) error) error { return j.Tail(new(audit.Cursor), fn) }

// Tail is [Journal.Scan] for the leaves behind a cursor, which it moves: see
// [audit.Log.Tail].
func (j *Journal) Tail(c *audit.Cursor, fn func(e *Entry) error) error {
	var failed error
	from := c.Next()
	next, stop := iter.Pull2(func(yield func(int64, []byte) bool) {
		failed = j.side.Scan(from, func(i int64, item []byte) (bool, error) { return yield(i, item), nil })
	})
	defer stop()
	at, more := int64(-1), true // the items are looked at after the leaves: none of a leaf that is seen is missing
	var item []byte
	return j.log.Tail(c, func(i int64, leaf []byte) error {
		for more && at < i {
			at, item, more = next()
		}
		if failed != nil {
			return failed
		}
		e := j.entry(i, leaf)
		if more && at == i {
			e.item = item
		} else {
			e.lost = true
		}
		return fn(e)
	})
}

// errStop ends a scan early.
var errStop = errors.New("that is all")

// Since is the index of the first event at or after a time, by the event's own clock;
// the log's size where there is none.
func (j *Journal) Since(t time.Time) (int64, error) {
	found := j.Size()
	err := j.Leaves(func(e *Entry) error {
		if e.Leaf == nil || e.Leaf.Time < t.UnixMilli() {
			return nil
		}
		found = e.Index
		return errStop
	})
	if err != nil && err != errStop {
		return 0, err
	}
	return found, nil
}

// Show hands write what can still be shown of the leaves from one index to before
// another, one encoded [event.Shown] for each leaf that has any: the disclosures of a
// bundle ([audit.Export]). keep chooses the claims that are shown; nil: all.
func (j *Journal) Show(from, to int64, keep func(*event.Leaf, event.Claim) bool, write func([]byte) error) error {
	err := j.Scan(func(e *Entry) error {
		if e.Index >= to {
			return errStop
		}
		if e.Index < from || e.Leaf == nil {
			return nil
		}
		o, err := e.Open()
		if err != nil {
			return err
		}
		s := event.Shown{Index: e.Index}
		for i, c := range o.Claims {
			if keep == nil || keep(e.Leaf, c) {
				s.Disclosures = append(s.Disclosures, o.Disclosures[i])
			}
		}
		if len(s.Disclosures) == 0 {
			return nil
		}
		raw, err := s.Encode()
		if err != nil {
			return err
		}
		return write(raw)
	})
	if err == errStop {
		return nil
	}
	return err
}

func (j *Journal) entry(i int64, leaf []byte) *Entry {
	e := &Entry{Index: i, Raw: leaf, journal: j}
	if l, err := event.ParseLeaf(leaf); err == nil {
		e.Leaf = l
	}
	return e
}
