package journal

import (
	"bytes"
	"errors"
	"iter"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/inorder"
)

// Leaves reads the durable leaves, verified again, without what is beside them: an
// entry knows its actor, but Open finds its claims lost. It stops at fn's first
// error and returns it.
func (j *Journal) Leaves(fn func(e *Entry) error) error {
	return j.log.Scan(func(i int64, leaf []byte) error {
		e := &Entry{Index: i, Raw: leaf, journal: j, lost: true}
		e.parse()
		return fn(e)
	})
}

// Scan reads the durable leaves, verified again, with what is beside them. It stops
// at fn's first error and returns it. It does not hold up the writer.
func (j *Journal) Scan(fn func(e *Entry) error) error { return j.Tail(new(audit.Cursor), fn) }

// Tail is [Journal.Scan] for the leaves behind a cursor, which it moves: see
// [audit.Log.Tail].
func (j *Journal) Tail(c *audit.Cursor, fn func(e *Entry) error) error {
	return j.tail(c, func(e *Entry) error {
		e.parse()
		return fn(e)
	})
}

// tail hands out leaves with what is beside them, not parsed yet; both are valid until
// fn returns.
func (j *Journal) tail(c *audit.Cursor, fn func(e *Entry) error) error {
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
		e := &Entry{Index: i, Raw: leaf, journal: j}
		if more && at == i {
			e.item = item
		} else {
			e.lost = true
		}
		return fn(e)
	})
}

// ScanOpened is [Journal.Scan] for the leaves from one index to before another, with
// their disclosures opened on all processors, for whoever hands many on. What they say
// is not read: they have no Claims, and whoever gets them checks them with the leaf.
// Where [Entry.Open] would give an error, the disclosures are lost and Opened.Damaged is
// that error: who can write beside one leaf must not keep the others from being handed
// on.
func (j *Journal) ScanOpened(from, to int64, fn func(e *Entry, o *Opened) error) error {
	return inorder.Do(func(hand func(*batch) error) error {
		b := new(batch)
		err := j.tail(new(audit.Cursor), func(e *Entry) error {
			if e.Index >= to {
				return errStop
			}
			if e.Index < from {
				return nil
			}
			e.Raw, e.item = bytes.Clone(e.Raw), bytes.Clone(e.item)
			if b.entries = append(b.entries, e); len(b.entries) < batchSize {
				return nil
			}
			full := b
			b = new(batch)
			return hand(full)
		})
		if err == errStop {
			err = nil
		}
		if stopped := hand(b); stopped != nil {
			return stopped
		}
		return err
	}, (*batch).open, func(b *batch) error {
		for i, o := range b.opened {
			if err := fn(b.entries[i], o); err != nil {
				return err
			}
		}
		return nil
	})
}

// batch are entries that are opened together.
type batch struct {
	entries []*Entry
	opened  []*Opened // of each
}

const batchSize = 256

func (b *batch) open() {
	for _, e := range b.entries {
		e.parse()
		o, _, err := e.unseal()
		if err != nil {
			o = &Opened{Lost: true, Damaged: err}
		}
		b.opened = append(b.opened, o)
	}
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

// parse reads the leaf.
func (e *Entry) parse() {
	if l, err := event.ParseLeaf(e.Raw); err == nil {
		e.Leaf = l
	}
}
