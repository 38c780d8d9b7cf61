package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Export is what is exported of a log.
type Export struct {
	Checkpoint audit.Checkpoint // the end of it; one of the log's
	First      int64            // the first entry that is needed
	Network    [][]byte         // committee records from the genesis on, then the owner's membership where it has one
	Withhold   bool             // leave the disclosures out
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

// errEnd ends a scan early.
var errEnd = errors.New("that is all")

func disclose(j *journal.Journal, x Export, write func([]byte) error) error {
	first := x.First - x.First%audit.GroupSize // where the bundle begins
	err := j.Scan(func(e *journal.Entry) error {
		if e.Index >= x.Checkpoint.N {
			return errEnd
		}
		if e.Index < first || e.Leaf == nil {
			return nil
		}
		opened, err := e.Open()
		if err != nil {
			return err
		}
		if len(opened.Disclosures) == 0 && opened.Erased == 0 && !opened.Lost {
			return nil
		}
		raw, err := statement.Marshal(disclosed{
			Format: format, Index: e.Index, Texts: opened.Disclosures, Erased: uint16(opened.Erased), Lost: opened.Lost,
		})
		if err != nil {
			return err
		}
		return write(raw)
	})
	if errors.Is(err, errEnd) {
		return nil
	}
	return err
}

// WriteTiles writes a directory of tiles. dir must not exist; it appears whole or not
// at all. It begins with the first entry and holds no disclosures.
func WriteTiles(dir string, j *journal.Journal, x Export) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", dir, fs.ErrExist)
	}
	partial, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	tiles := filepath.Join(partial, "tiles")
	if err := j.Log().ExportTiles(tiles, x.Checkpoint); err != nil {
		return err
	}
	about, err := j.Log().About(x.Checkpoint, x.Network)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tiles, audit.AboutName), about, 0o600); err != nil {
		return err
	}
	return os.Rename(tiles, dir)
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

func read(open Opener, x Expect, fn func(e *Entry) error) (*Report, error) {
	r := &Report{Format: "bundle"}
	in, err := open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var again audit.Bundle
	next, stop := iter.Pull2(records(open, &again))
	defer stop()
	show := reader{next: next, fn: fn, r: r, at: -1}
	b, err := audit.VerifyBundle(in, audit.Check{Known: x.Known, Disclosure: show.disclosure})
	if err != nil {
		return nil, err
	}
	if err := show.rest(); err != nil {
		return nil, err
	}
	if !bytes.Equal(again.Checkpoint.Note, b.Checkpoint.Note) || again.First != b.First {
		return nil, errors.New("the file changed while it was read: try again")
	}
	return r, r.finish(b, x)
}

// reader opens disclosures against the records that a second reading of the bundle
// gives: they come behind all records, and nobody keeps those in memory.
type reader struct {
	next func() (indexed, error, bool)
	fn   func(*Entry) error
	r    *Report
	at   int64
}

// indexed is a record and its place.
type indexed struct {
	index int64
	raw   []byte
}

func (s *reader) disclosure(raw []byte) error {
	var d disclosed
	if err := statement.Unmarshal(raw, &d); err != nil || d.Format != format {
		return &audit.TamperError{Index: -1, File: "the bundle", What: "a disclosure is malformed"}
	}
	if d.Index <= s.at {
		return misplaced(d.Index, "the disclosures are not in the order of the entries")
	}
	for {
		leaf, err, more := s.next()
		if err != nil {
			return err
		}
		if !more || leaf.index > d.Index {
			return misplaced(d.Index, "a disclosure is of an entry that is not there")
		}
		if s.at = leaf.index; s.at == d.Index {
			e, err := open(leaf, &d)
			if err != nil {
				return err
			}
			s.r.shown(e)
			return s.fn(e)
		}
		if err := s.closed(leaf); err != nil {
			return err
		}
	}
}

// rest hands on the entries behind the last disclosure.
func (s *reader) rest() error {
	for {
		leaf, err, more := s.next()
		if err != nil || !more {
			return err
		}
		if err := s.closed(leaf); err != nil {
			return err
		}
	}
}

// closed hands on an entry of which nothing is shown.
func (s *reader) closed(at indexed) error {
	e := &Entry{Index: at.index, Raw: at.raw}
	if l, err := event.ParseLeaf(at.raw); err == nil {
		e.Leaf = l
	}
	s.r.count(e.Leaf)
	return s.fn(e)
}

func misplaced(index int64, what string) error {
	return &audit.TamperError{Index: -1, File: "the bundle", What: fmt.Sprintf("%s (entry %d)", what, index)}
}

// open opens what is shown of a record.
func open(at indexed, d *disclosed) (*Entry, error) {
	e := &Entry{Index: at.index, Raw: at.raw, Shown: true, Erased: int(d.Erased), Lost: d.Lost}
	var err error
	if e.Leaf, err = event.ParseLeaf(at.raw); err != nil {
		return nil, misplaced(at.index, "a disclosure is of an entry that is no event")
	}
	if e.Claims, err = event.Open(e.Leaf, d.Texts); err != nil {
		return nil, misplaced(at.index, err.Error())
	}
	return e, nil
}

// records reads a bundle's records a second time, verified again, and at the end puts
// what the bundle says into end.
func records(open Opener, end *audit.Bundle) iter.Seq2[indexed, error] {
	return func(yield func(indexed, error) bool) {
		in, err := open()
		if err != nil {
			yield(indexed{}, err)
			return
		}
		defer in.Close()
		b, err := audit.VerifyBundle(in, audit.Check{Record: func(i int64, leaf []byte) error {
			if !yield(indexed{i, leaf}, nil) {
				return errEnd
			}
			return nil
		}})
		switch {
		case err == nil:
			*end = *b
		case !errors.Is(err, errEnd):
			yield(indexed{}, err)
		}
	}
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
