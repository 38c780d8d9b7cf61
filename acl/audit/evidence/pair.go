package evidence

import (
	"bytes"
	"errors"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// batch are records with what is shown of them. It belongs to one goroutine at a time:
// to whoever reads, then to whoever opens, then to whoever uses it.
type batch struct {
	pairs  []pair
	opened []*Entry // of the first of them
	err    error    // why the next one does not open
}

// pair is a record and the disclosure that came with it, nil for none.
type pair struct {
	index int64
	raw   []byte
	shown *disclosed
}

const batchSize = 256

// open opens the pairs.
func (b *batch) open() {
	for _, p := range b.pairs {
		e, err := p.open()
		if err != nil {
			b.err = err
			return
		}
		b.opened = append(b.opened, e)
	}
}

func (p *pair) open() (*Entry, error) {
	e := &Entry{Index: p.index, Raw: p.raw}
	leaf, err := event.ParseLeaf(p.raw)
	if err == nil {
		e.Leaf = leaf
	}
	if p.shown == nil {
		return e, nil
	}
	if err != nil {
		return nil, misplaced(p.index, "a disclosure is of an entry that is no event")
	}
	e.Shown, e.Erased, e.Lost = true, int(p.shown.Erased), p.shown.Lost
	if e.Claims, err = event.Open(e.Leaf, p.shown.Texts); err != nil {
		return nil, misplaced(p.index, err.Error())
	}
	return e, nil
}

func misplaced(index int64, what string) error {
	return &audit.TamperError{Index: index, File: audit.BundleFile, Offset: -1, What: what}
}

// pairs puts disclosures to the records that they are of, and hands on full batches.
type pairs struct {
	next  func() (record pair, more bool, err error) // the bundle's records in their order
	hand  func(*batch) error
	batch *batch
	at    int64 // the last record that was handed on
}

// disclosure takes the next disclosure.
func (p *pairs) disclosure(raw []byte) error {
	d, err := readDisclosed(raw)
	if err != nil {
		return &audit.TamperError{Index: -1, File: audit.BundleFile, Offset: -1, What: "a disclosure is malformed"}
	}
	if d.Index <= p.at {
		return misplaced(d.Index, "the disclosures are not in the order of the entries")
	}
	for {
		record, more, err := p.next()
		if err != nil {
			return err
		}
		if !more || record.index > d.Index {
			return misplaced(d.Index, "a disclosure is of an entry that is not there")
		}
		if p.at = record.index; p.at == d.Index {
			record.shown = d
			return p.put(record)
		}
		if err := p.put(record); err != nil {
			return err
		}
	}
}

// rest hands on the records behind the last disclosure.
func (p *pairs) rest() error {
	for {
		record, more, err := p.next()
		if err != nil {
			return err
		}
		if !more {
			return p.hand(p.batch)
		}
		if err := p.put(record); err != nil {
			return err
		}
	}
}

func (p *pairs) put(record pair) error {
	if p.batch.pairs = append(p.batch.pairs, record); len(p.batch.pairs) < batchSize {
		return nil
	}
	full := p.batch
	p.batch = new(batch)
	return p.hand(full)
}

// readDisclosed reads what [statement.Marshal] wrote of a disclosed.
func readDisclosed(raw []byte) (*disclosed, error) {
	r := statement.NewReader(raw)
	if r.List(5) != 5 {
		return nil, statement.ErrMalformed
	}
	d := &disclosed{Format: uint16(r.Uint(1<<16 - 1)), Index: r.Int()}
	d.Texts = make([]string, r.List(event.MaxClaims))
	for i := range d.Texts {
		d.Texts[i] = r.Text()
	}
	d.Erased, d.Lost = uint16(r.Uint(1<<16-1)), r.Bool()
	if err := r.Done(); err != nil || d.Format != format {
		return nil, statement.ErrMalformed
	}
	return d, nil
}

// again is a second reading of a bundle's records, verified again, which goes on in a
// goroutine of its own.
type again struct {
	groups chan []pair
	quit   chan struct{}
	ahead  []pair        // of the group that is read
	bundle *audit.Bundle // once groups is closed
	err    error         // so too
}

// errEnd ends a reading early.
var errEnd = errors.New("that is all")

func newAgain(open Opener) *again {
	a := &again{groups: make(chan []pair, 1), quit: make(chan struct{})}
	go func() {
		defer close(a.groups)
		a.bundle, a.err = a.read(open)
	}()
	return a
}

func (a *again) read(open Opener) (*audit.Bundle, error) {
	in, err := open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var group []pair
	send := func() error {
		select {
		case a.groups <- group:
			group = nil
			return nil
		case <-a.quit:
			return errEnd
		}
	}
	b, err := audit.VerifyBundle(in, audit.Check{Record: func(i int64, leaf []byte) error {
		if group = append(group, pair{index: i, raw: bytes.Clone(leaf)}); len(group) < audit.GroupSize {
			return nil
		}
		return send()
	}})
	if err != nil {
		return nil, err
	}
	return b, send()
}

func (a *again) next() (pair, bool, error) {
	for len(a.ahead) == 0 {
		group, more := <-a.groups
		if !more {
			return pair{}, false, a.err
		}
		a.ahead = group
	}
	p := a.ahead[0]
	a.ahead = a.ahead[1:]
	return p, true, nil
}

// stop ends the reading and waits for it.
func (a *again) stop() {
	close(a.quit)
	for range a.groups {
	}
}
