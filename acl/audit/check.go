package audit

import (
	"errors"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/tlog"
)

// record is what a visitor is handed. Its slices are valid until it returns.
type record struct {
	place
	leaf   []byte
	hashes []tlog.Hash // that it adds to the file of stored hashes
	after  *mark
}

// visitor is handed every record in order; its error ends the walk.
type visitor func(r record) error

// walk reads the segments from a mark on, in order, the last one up to end bytes or,
// where end is negative, to its own end. It gives the mark behind the last whole record
// and, at bytes that are no record, an errBad.
func walk(d folder, at mark, segs []int64, end int64, visit visitor) (mark, error) {
	err := walkOn(d, segs, &at, end, visit)
	return at, err
}

// walkOn is walk from a mark on, which it moves.
func walkOn(d folder, segs []int64, at *mark, end int64, visit visitor) error {
	for i, first := range segs {
		if first < at.segment {
			continue
		}
		if first > at.segment || at.n == 0 {
			if at.segment, at.offset = at.n, 0; first != at.n {
				return tampered(at.place, fmt.Sprintf("the next records that are there begin with %d", first))
			}
		}
		most := int64(-1)
		if i == len(segs)-1 {
			most = end
		}
		if err := walkSegment(d, at, most, visit); err != nil {
			return err
		}
	}
	return nil
}

func walkSegment(d folder, at *mark, end int64, visit visitor) error {
	f, err := d.view(segmentName(at.segment))
	if err != nil {
		return err
	}
	defer f.Close()
	if end < 0 {
		if end, err = f.Size(); err != nil {
			return err
		}
	}
	s := newScanner(f, end, at)
	for {
		before := at.place
		leaf, err := s.next()
		if err == io.EOF && s.left == 0 {
			return nil
		}
		var bad errBad
		if errors.As(err, &bad) {
			return bad
		}
		if err != nil {
			return fmt.Errorf("reading record %d: %w", before.n, err)
		}
		if err := visit(record{before, leaf, s.hashes, at}); err != nil {
			return err
		}
	}
}

// promise is a checkpoint that a log must live up to, and what it is called.
type promise struct {
	name string
	Checkpoint
}

// verify reads a whole log against what it promised, and hands every record to
// visit. It gives the mark behind the last whole record; what follows there, if
// anything, is a torn write that may be cut.
func verify(d folder, start mark, segs []int64, promises []promise, visit visitor) (mark, error) {
	check := func(m *mark) error {
		for _, p := range promises {
			if p.N == m.n && p.Hash != m.root() {
				return mismatch(d, start, segs, p)
			}
		}
		return nil
	}
	if err := check(&mark{}); err != nil {
		return mark{}, err
	}
	if start.n > 0 {
		if err := verifyRemoved(d, start, check); err != nil {
			return start, err
		}
		if err := check(&start); err != nil {
			return start, err
		}
	}
	at, err := walk(d, start, segs, -1, func(r record) error {
		if err := check(r.after); err != nil {
			return err
		}
		return visit(r)
	})
	var bad errBad
	if err != nil && !errors.As(err, &bad) {
		return at, err
	}
	for _, p := range promises {
		if at.n < p.N {
			what := "the log ends here"
			if bad != "" {
				what = string(bad)
			}
			return at, tampered(at.place, fmt.Sprintf("%s, but the %s promises %d records", what, p.name, p.N))
		}
	}
	if bad == "" {
		return at, nil
	}
	return at, judge(d, segs, at.place, bad)
}

// judge turns bad bytes behind every promise into a verdict: nil means a torn
// write, which only the last segment can have.
func judge(d folder, segs []int64, at place, bad errBad) error {
	if at.segment != segs[len(segs)-1] {
		return tampered(at, string(bad))
	}
	f, err := d.view(segmentName(at.segment))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	cut, err := torn(f, size, at, bad)
	if err == nil && !cut {
		err = tampered(at, string(bad))
	}
	return err
}

// mismatch names, where it can, the first record that is not what a checkpoint
// covers. The stored hashes are no evidence by themselves; where they give the
// checkpoint's root, though, the record whose hash is another was changed.
func mismatch(d folder, start mark, segs []int64, p promise) error {
	none := tamperedFile(p.name, fmt.Sprintf("the first %d records are not those that it covers", p.N))
	f, err := d.view(hashesName)
	if err != nil {
		return none
	}
	defer f.Close()
	stored := hashFile{f}
	var m mark
	for m.n < p.N {
		h, err := stored.ReadHashes([]int64{tlog.StoredHashIndex(0, m.n)})
		if err != nil {
			return none
		}
		m.tree.add(m.n, 0, h[0], nil)
		m.n++
	}
	if m.root() != p.Hash {
		return none
	}
	_, err = walk(d, start, segs, -1, func(r record) error {
		if h, err := stored.ReadHashes([]int64{tlog.StoredHashIndex(0, r.n)}); err != nil || h[0] != r.hashes[0] {
			return tampered(r.place, "the record is not the one that the "+p.name+" covers")
		}
		return nil
	})
	if errors.Is(err, ErrTampered) {
		return err
	}
	return none
}

// Found is what [Verify] says about a log.
type Found struct {
	Binding *Binding
	Tree    tlog.Tree  // all whole records
	Signed  Checkpoint // the newest that the log published; not necessarily all records
}

// Verify reads the log in dir without changing or locking it. It must be the log
// of peer, as its binding says. Everything up to its checkpoint is proven to be
// what the log's key signed; of records behind that, at most some seconds of a log
// that runs or was killed, only damage is found. known are checkpoints of this log
// that others kept, witnesses say: a log that was rolled back or replaced does not
// live up to them, and without them that cannot be seen. A torn write
// at the end, which [Open] would cut, is not counted. Verify fails with a
// [TamperError] or with [ErrBinding].
func Verify(dir string, peer statement.PublicKey, known ...[]byte) (*Found, error) {
	d := osFolder(dir)
	if _, err := segments(d); err != nil { // before all else: an old log has no binding
		return nil, err
	}
	raw, err := read(d, bindingName, maxCheckpoint)
	if err != nil {
		return nil, err
	}
	b, err := VerifyBinding(raw)
	if err != nil {
		return nil, err
	}
	if b.Peer != peer {
		return nil, fmt.Errorf("%w: it is of the peer %s", ErrBinding, b.Peer)
	}
	// The checkpoints first: a running log may write more records meanwhile, but
	// never promises records that are not in the file yet.
	promises, err := readPromises(d, b, known)
	if err != nil {
		return nil, err
	}
	segs, err := segments(d)
	if err != nil {
		return nil, err
	}
	if len(promises) == 0 || promises[0].name != checkpointName {
		return nil, tamperedFile(checkpointName, "it is missing")
	}
	start, err := readStart(d, b)
	if err != nil {
		return nil, err
	}
	_, segs = start.split(segs)
	end, err := verify(d, start, segs, promises, func(record) error { return nil })
	if err != nil {
		return nil, err
	}
	return &Found{Binding: b, Tree: tlog.Tree{N: end.n, Hash: end.root()}, Signed: promises[0].Checkpoint}, nil
}

// readPromises gives what a log must live up to, its own checkpoint first.
func readPromises(d folder, b *Binding, known [][]byte) (out []promise, err error) {
	for _, name := range []string{checkpointName, cosignedName} {
		c, err := readCheckpoint(d, name, b)
		if err != nil {
			return nil, err
		}
		if c != nil {
			out = append(out, promise{name, *c})
		}
	}
	for _, raw := range known {
		c, err := b.OpenCheckpoint(raw)
		if err != nil {
			return nil, fmt.Errorf("a checkpoint that is known of this log: %w", err)
		}
		out = append(out, promise{"checkpoint known to others", c})
	}
	return out, nil
}
