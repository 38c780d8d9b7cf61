package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// Old periods leave a log without breaking it. [Log.Rotate] ends a segment where a
// period ends; [Log.Prune] removes whole segments from the beginning, once somebody
// has archived them in a bundle. What stays of them is their hashes, 64 bytes a
// record: of these the roots of all checkpoints that the log ever signed can still be
// computed, consistency with each of them be proven to witnesses, and inclusion be
// proven for whoever has kept a removed record.
//
// Where a pruned log begins, the file "pruned" says, signed by the log's key: that
// records are missing which it does not name is tampering as before.

// KindPruned is the kind of the statement that says where a pruned log begins.
const KindPruned statement.Kind = "audit-pruned"

const (
	prunedName = "pruned"
	maxPruned  = 8 << 10
)

// ErrPruned reports a wish for records that were removed.
var ErrPruned = errors.New("the log's oldest records were removed")

// ErrKeep reports records that must not be removed.
var ErrKeep = errors.New("these records of the log cannot be removed")

// pruned is the body of that statement.
type pruned struct {
	_      struct{} `cbor:",toarray"`
	Origin string
	First  int64    // index of the first record that is kept
	Edge   [][]byte // of the records before it, the largest subtree first
}

// readStart gives the mark at which a log begins: zero where nothing was removed.
func readStart(d folder, b *Binding) (mark, error) {
	raw, err := read(d, prunedName, maxPruned)
	if raw == nil || err != nil {
		return mark{}, err
	}
	bad := func(what string) (mark, error) { return mark{}, tamperedFile(prunedName, what) }
	s, err := statement.Parse(raw)
	if err != nil {
		return bad("it is malformed")
	}
	if err := s.Verify(KindPruned, []statement.PublicKey{b.Log}, 1); err != nil {
		return bad("the log's key did not sign it")
	}
	var p pruned
	if err := s.Peek(KindPruned, &p); err != nil || p.Origin != b.Origin || p.First <= 0 {
		return bad("it is of another log")
	}
	tree, err := hashesOf(p.First, p.Edge)
	if err != nil {
		return bad(err.Error())
	}
	return mark{place: place{n: p.First, segment: p.First}, first: -1, tree: tree}, nil
}

// hashesOf reads the edge of the first n records.
func hashesOf(n int64, raw [][]byte) (edge, error) {
	hashes := make([]tlog.Hash, len(raw))
	for i, h := range raw {
		if len(h) != tlog.HashSize {
			return edge{}, errors.New("a hash of the records before the first has another length")
		}
		hashes[i] = tlog.Hash(h)
	}
	return edgeOf(n, hashes)
}

// verifyRemoved computes the tree of the removed records from their hashes, each of
// which must be what those below it give, and shows the mark behind every one to
// check. Where a hash was changed, none of the roots above it come out.
func verifyRemoved(d folder, start mark, check func(*mark) error) error {
	f, err := d.view(hashesName)
	if errors.Is(err, fs.ErrNotExist) {
		return tamperedFile(hashesName, fmt.Sprintf("it is missing, and holds what is left of the first %d records", start.n))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.NewSectionReader(f, 0, tlog.StoredHashIndex(0, start.n)*tlog.HashSize), 1<<18)
	var at mark
	var given []tlog.Hash
	for at.n < start.n {
		var h tlog.Hash
		for i := 0; i == 0 || i < len(given); i++ {
			if _, err := io.ReadFull(in, h[:]); err != nil {
				return removed(at.n, "its hash is missing")
			}
			if i == 0 {
				given = at.tree.add(at.n, 0, h, given[:0])
			} else if given[i] != h {
				return removed(at.n, "the hashes up to it do not go together")
			}
		}
		if at.n++; at.n < start.n { // the last one is where the walk over the records begins
			if err := check(&at); err != nil {
				return err
			}
		}
	}
	if at.root() != start.root() {
		return tamperedFile(hashesName, fmt.Sprintf("what is left of the first %d records is not what the log signed when it removed them", start.n))
	}
	return nil
}

func removed(index int64, what string) error {
	return &TamperError{Index: index, File: hashesName, Offset: tlog.StoredHashIndex(0, index) * tlog.HashSize, What: "the record was removed, and " + what}
}

// First is the index of the first record that the log still has.
func (l *Log) First() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start.n
}

// Begins is where a bundle begins that must have the records from first on: a little
// earlier, or where the log itself begins.
func (l *Log) Begins(first int64) int64 { return max(first-first%GroupSize, l.First()) }

// Segments are the indexes of the records with which the log's files begin.
func (l *Log) Segments() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int64{}, l.segs...)
}

// Rotate begins another segment, unless the last one is empty: what comes from now on
// can be kept when what was before is removed.
func (l *Log) Rotate(ctx context.Context) error {
	return l.wait(ctx, &request{rotate: true, done: make(chan struct{})})
}

// Prune removes the records before first, which must be in [Log.Segments], for good.
// A checkpoint must cover them, and where witnesses cosigned the log, one of those. On
// nil the files are gone; after a crash the next [Open] removes what was left of them.
// It fails with [ErrKeep]. Whoever reads the log meanwhile may get [ErrPruned].
func (l *Log) Prune(first int64) error {
	l.cosigning.Lock() // one at a time
	defer l.cosigning.Unlock()
	start, old, err := l.prunable(first)
	if err != nil {
		return err
	}
	s, err := statement.Sign(KindPruned, pruned{Origin: l.binding.Origin, First: first, Edge: bytesOf(start.tree.list(first))}, l.signer.key)
	if err != nil {
		return err
	}
	// From now on nothing can derive the hashes: those that an earlier flush has lost
	// must get to the disk too.
	if err := disk.Rewrite(l.hashes, 0, start.stored()); err != nil {
		return err
	}
	if err := l.hashes.Sync(); err != nil {
		return err
	}
	if err := l.folder.replace(prunedName, s.Bytes()); err != nil {
		return err
	}
	l.mu.Lock()
	l.start, l.segs = *start, l.segs[len(old):]
	l.mu.Unlock()
	return removeSegments(l.folder, old)
}

// prunable gives the mark at first and the segments before it.
func (l *Log) prunable(first int64) (*mark, []int64, error) {
	l.mu.Lock()
	covered, segs := l.published, append([]int64{}, l.segs...)
	if l.cosigned.Note != nil {
		covered = l.cosigned
	}
	l.mu.Unlock()
	if first > covered.N {
		return nil, nil, fmt.Errorf("%w: only the first %d are under a checkpoint that witnesses have seen", ErrKeep, covered.N)
	}
	for i, s := range segs {
		if s != first || i == 0 {
			continue
		}
		hashes, err := hashFile{l.hashes}.ReadHashes(torchwood.RightEdge(first))
		if err != nil {
			return nil, nil, err
		}
		tree, err := edgeOf(first, hashes)
		if err != nil {
			return nil, nil, err
		}
		root, err := l.rootAt(first)
		if err == nil && root != tree.root(first) {
			err = errStored
		}
		return &mark{place: place{n: first, segment: first}, first: -1, tree: tree}, segs[:i], err
	}
	return nil, nil, fmt.Errorf("%w: no file of the log but the first begins with record %d", ErrKeep, first)
}

// removeSegments removes files of removed records.
func removeSegments(d folder, segs []int64) error {
	for _, s := range segs {
		if err := d.remove(segmentName(s)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// split parts the segments of removed records, which a crash may have left, from those
// of the log.
func (m *mark) split(segs []int64) (old, kept []int64) {
	for i, s := range segs {
		if s >= m.n {
			return segs[:i], segs[i:]
		}
	}
	return segs, nil
}
