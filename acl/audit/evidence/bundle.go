package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/inorder"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Export is what is exported of a log.
type Export struct {
	Checkpoint audit.Checkpoint // the end of it; one of the log's
	First      int64            // the first entry that is needed
	Network    [][]byte         // committee records from the genesis on, then the owner's membership where it has one
	Withhold   bool             // leave the disclosures out

	// Lost, unless nil, is told of each event whose disclosures are lost, as the bundle
	// says too. damaged is why, where something is there that was not written with it.
	Lost func(index int64, damaged error)
}

// disclosed is the encoding of a disclosure in a bundle.
type disclosed struct {
	_      struct{} `cbor:",toarray"`
	Format uint16
	Index  int64
	Texts  []string
	Erased uint16 // persons
	Lost   bool
}

// Cosigned is who cosigned the checkpoint of an export of the log of a binding, and how
// many could have, as its [Report] will say: a validator that signs its own is nobody.
func (x *Export) Cosigned(b *audit.Binding) (by []Cosignature, of int, err error) {
	o, err := ownerOf(x.Network, b, Anchor{})
	if err != nil {
		return nil, 0, err
	}
	by, _, err = o.witnesses(b, x.Checkpoint)
	return by, o.others(), err
}

const format = 1

// WriteBundle writes a bundle of a journal. What was written before an error is no
// bundle.
func WriteBundle(w io.Writer, j *journal.Journal, x Export) error {
	e := audit.Export{Checkpoint: x.Checkpoint, First: x.First, Network: x.Network}
	if !x.Withhold {
		e.Disclosures = func(write func([]byte) error) error { return disclose(j, x, write) }
	}
	return j.Log().ExportBundle(w, e)
}

func disclose(j *journal.Journal, x Export, write func([]byte) error) error {
	return j.ScanOpened(j.Log().Begins(x.First), x.Checkpoint.N, func(e *journal.Entry, o *journal.Opened) error {
		if len(o.Disclosures) == 0 && o.Erased == 0 && !o.Lost || e.Leaf == nil {
			return nil
		}
		if o.Lost && x.Lost != nil {
			x.Lost(e.Index, o.Damaged)
		}
		raw, err := statement.Marshal(disclosed{
			Format: format, Index: e.Index, Texts: o.Disclosures, Erased: uint16(o.Erased), Lost: o.Lost,
		})
		if err != nil {
			return err
		}
		return write(raw)
	})
}

// WriteTiles writes a directory of tiles, durably. dir must not exist; it appears whole
// or not at all. It begins with the first entry and holds no disclosures.
func WriteTiles(dir string, j *journal.Journal, x Export) error {
	return j.Log().ExportTiles(dir, x.Checkpoint, x.Network)
}

// Expect is what an auditor expects of evidence. The zero value is nothing.
type Expect struct {
	Anchor    Anchor
	Known     [][]byte // checkpoints that the auditor kept of the log
	Witnesses int      // how many must have cosigned the checkpoint
}

// Entry is one entry of a log, verified.
type Entry struct {
	Index  int64
	Raw    []byte
	Leaf   *event.Leaf // nil: the entry is no event, but a note of the log itself
	Claims []event.Claim
	Erased int
	Lost   bool
	Shown  bool // a disclosure came with it
}

// Opener opens the same file anew, from its beginning.
type Opener func() (io.ReadCloser, error)

// Verify verifies a bundle, which it reads twice. An error means that something does
// not hold, or could not be read; it names the first such thing and its place.
func Verify(open Opener, x Expect) (*Report, error) {
	return read(open, x, func(*Entry) error { return nil })
}

// Read hands the entries of a bundle to fn, in order, verified again. It stops at fn's
// first error. What stands behind an entry is verified after fn has it: show what it
// gives only after [Verify] has accepted the bundle.
func Read(open Opener, x Expect, fn func(e *Entry) error) error {
	_, err := read(open, x, fn)
	return err
}

// read reads a bundle twice at the same time: disclosures stand behind all records, and
// nobody keeps those in memory. Each disclosure meets its record in a batch, which is
// opened while the next one is read.
func read(open Opener, x Expect, fn func(*Entry) error) (*Report, error) {
	r := &Report{Format: "bundle"}
	in, err := open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	again := newAgain(open)
	defer again.stop()
	var b *audit.Bundle
	err = inorder.Do(func(hand func(*batch) error) (err error) {
		p := pairs{next: again.next, hand: hand, batch: new(batch), at: -1}
		if b, err = audit.VerifyBundle(in, audit.Check{Known: x.Known, Disclosure: p.disclosure}); err == nil {
			err = p.rest()
		}
		return err
	}, (*batch).open, func(b *batch) error {
		for _, e := range b.opened {
			r.take(e)
			if err := fn(e); err != nil {
				return err
			}
		}
		return b.err
	})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again.bundle.Checkpoint.Note, b.Checkpoint.Note) || again.bundle.First != b.First {
		return nil, errors.New("the file changed while it was read: try again")
	}
	return r, r.finish(b, x)
}

// VerifyTiles verifies a directory of tiles.
func VerifyTiles(dir fs.FS, x Expect) (*Report, error) {
	r := &Report{Format: "tiles"}
	b, err := audit.VerifyTiles(dir, audit.Check{Known: x.Known, Record: func(_ int64, raw []byte) error {
		l, err := event.ParseLeaf(raw)
		if err != nil {
			l = nil
		}
		r.count(l)
		return nil
	}})
	if err != nil {
		return nil, err
	}
	if err := r.finish(b, x); err != nil {
		return nil, err
	}
	return r, nil
}

// finish looks at who stands behind verified evidence.
func (r *Report) finish(b *audit.Bundle, x Expect) error {
	var err error
	if r.Owner, err = ownerOf(b.Network, b.Binding, x.Anchor); err != nil {
		return err
	}
	r.Origin, r.Checkpoint, r.First = b.Binding.Origin, b.Checkpoint, b.First
	r.Known = len(x.Known)
	if r.Cosigned, r.Strangers, err = r.Owner.witnesses(b.Binding, b.Checkpoint); err != nil {
		return err
	}
	if len(r.Cosigned) < x.Witnesses {
		return fmt.Errorf("%w: %d validators cosigned the checkpoint, and %d are asked for", ErrWitness, len(r.Cosigned), x.Witnesses)
	}
	return nil
}
