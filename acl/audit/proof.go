package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrUnsigned reports records that no checkpoint covers yet: [Log.Checkpoint]
// makes one.
var ErrUnsigned = errors.New("no checkpoint covers the record yet")

// errStored reports a proof that would not hold, so that nobody is given it.
var errStored = tamperedFile(hashesName, "they do not give the root; open the log again to verify it and to make them anew")

// Binding says whose log it is.
func (l *Log) Binding() *Binding { return l.binding }

// Size is the number of durable records.
func (l *Log) Size() int64 { return l.Head().N }

// Head is the number of durable records and their root. Nothing signs it: outside
// of this process only checkpoints count.
func (l *Log) Head() tlog.Tree {
	l.mu.Lock()
	defer l.mu.Unlock()
	return tlog.Tree{N: l.durable.n, Hash: l.durable.root()}
}

// errStop ends a walk early.
var errStop = errors.New("that is all")

// scan reads the records that are durable now and verifies them again.
func (l *Log) scan(visit visitor) error { return l.scanOn(new(mark), visit) }

// scanOn is scan from a mark of this log on, which it moves.
func (l *Log) scanOn(at *mark, visit visitor) error {
	l.mu.Lock()
	end, segs, start := l.durable, slices.Clone(l.segs), l.start
	l.mu.Unlock()
	if at.n < start.n {
		*at = start
	}
	segs = segs[:1+slices.Index(segs, end.segment)] // the writer may just have begun another
	err := walkOn(l.folder, segs, at, end.offset, visit)
	var bad errBad
	if errors.As(err, &bad) {
		return tampered(at.place, string(bad))
	}
	if errors.Is(err, fs.ErrNotExist) && l.First() > at.segment {
		return fmt.Errorf("%w while it was read: read it again", ErrPruned)
	}
	if err != nil {
		return err
	}
	if at.n != end.n || at.root() != end.root() {
		return tampered(at.place, "the records before it are not those that were written")
	}
	return nil
}

// Scan hands the leaves that are there and durable now to fn, each verified again as far as its
// CRCs go; that all of them are those that were written it has verified when it
// returns nil. A leaf is valid until fn returns. Scan stops at fn's first error and
// returns it. It does not hold up the writer.
func (l *Log) Scan(fn func(i int64, leaf []byte) error) error {
	return l.scan(func(r record) error { return fn(r.n, r.leaf) })
}

// Cursor is how far somebody has read a log. The zero value stands before the first
// record.
type Cursor struct{ at mark }

// Next is the index of the record that is read next.
func (c *Cursor) Next() int64 { return c.at.n }

// Tail is [Log.Scan] for the leaves behind a cursor, which it moves; where fn gives an
// error the cursor stands behind the leaf that fn was given.
func (l *Log) Tail(c *Cursor, fn func(i int64, leaf []byte) error) error {
	if c.at.n == l.Size() {
		return nil
	}
	return l.scanOn(&c.at, func(r record) error { return fn(r.n, r.leaf) })
}

// ProveInclusion proves that the record at index i stands in the log, as C2SP
// tlog-proof: under the newest cosigned checkpoint, or, where that is older than
// the record or there is none, under the newest published one. [ErrUnsigned]
// says that none covers it. [VerifyInclusion] verifies it offline.
func (l *Log) ProveInclusion(i int64) ([]byte, error) {
	c := l.Cosigned()
	if c.Note == nil || i >= c.N {
		c = l.Published()
	}
	if i < 0 || i >= c.N {
		return nil, fmt.Errorf("record %d: %w", i, ErrUnsigned)
	}
	hashes := hashFile{l.hashes}
	p, err := tlog.ProveRecord(c.N, i, hashes)
	if err != nil {
		return nil, err
	}
	leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
	if err != nil {
		return nil, err
	}
	if err := tlog.CheckRecord(p, c.N, c.Hash, i, leaf[0]); err != nil {
		return nil, errStored
	}
	return torchwood.FormatProof(i, p, c.Note), nil
}

// ProveConsistency proves that the log of old records is how the log of size
// records begins: what a witness asks for. Both are at most the published size. No
// hashes prove it where old is 0 or equal to size.
func (l *Log) ProveConsistency(old, size int64) (tlog.TreeProof, error) {
	if old < 0 || old > size || size > l.Published().N {
		return nil, fmt.Errorf("from %d to %d records: %w", old, size, ErrUnsigned)
	}
	if old == 0 || old == size {
		return nil, nil
	}
	p, err := tlog.ProveTree(size, old, hashFile{l.hashes})
	if err != nil {
		return nil, err
	}
	before, err := l.rootAt(old)
	if err != nil {
		return nil, err
	}
	after, err := l.rootAt(size)
	if err != nil {
		return nil, err
	}
	if err := tlog.CheckTree(p, size, after, old, before); err != nil {
		return nil, errStored
	}
	return p, nil
}

// rootAt is the root of the first n records, at most the published ones. The
// stored hashes that it is made of are proven to be those below the published root.
func (l *Log) rootAt(n int64) (tlog.Hash, error) {
	now := l.Published()
	if n == now.N {
		return now.Hash, nil
	}
	hashes := hashFile{l.hashes}
	root, err := tlog.TreeHash(n, hashes)
	if n == 0 || err != nil {
		return root, err
	}
	p, err := tlog.ProveTree(now.N, n, hashes)
	if err != nil {
		return root, err
	}
	if err := tlog.CheckTree(p, now.N, now.Hash, n, root); err != nil {
		return root, errStored
	}
	return root, nil
}

// VerifyInclusion verifies a proof of [Log.ProveInclusion] for a leaf, offline:
// that a checkpoint which the policy wants covers it. See [Binding.Policy].
func VerifyInclusion(policy torchwood.Policy, leaf, proof []byte) error {
	return torchwood.VerifyProof(policy, tlog.RecordHash(leaf), proof)
}

// maxProof bounds a C2SP tlog-proof with its checkpoint, in bytes.
const maxProof = maxCheckpoint + 8<<10

// ErrProof reports a proof that does not prove what it should.
var ErrProof = errors.New("the proof does not verify")

// CheckProof verifies a proof of [Log.ProveInclusion] that the leaf with this hash
// stands at an index, under a checkpoint that the log's key signed, and gives that
// checkpoint. It accepts one encoding only. It fails with [ErrProof] and, for the
// checkpoint, [ErrCheckpoint].
func (b *Binding) CheckProof(index int64, leaf tlog.Hash, proof []byte) (Checkpoint, error) {
	head := fmt.Appendf(nil, "c2sp.org/tlog-proof@v1\nindex %d\n", index)
	rest, ok := bytes.CutPrefix(proof, head)
	if !ok || len(proof) > maxProof {
		return Checkpoint{}, fmt.Errorf("%w: it is none of entry %d", ErrProof, index)
	}
	var p tlog.RecordProof
	for {
		line, more, found := bytes.Cut(rest, []byte("\n"))
		if !found || len(p) > maxLevels {
			return Checkpoint{}, fmt.Errorf("%w: it ends before its checkpoint", ErrProof)
		}
		if rest = more; len(line) == 0 {
			break
		}
		h, err := base64.StdEncoding.Strict().DecodeString(string(line))
		if err != nil || len(h) != tlog.HashSize {
			return Checkpoint{}, fmt.Errorf("%w: it holds something that is no hash", ErrProof)
		}
		p = append(p, tlog.Hash(h))
	}
	c, err := b.OpenCheckpoint(rest)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := tlog.CheckRecord(p, c.N, c.Hash, index, leaf); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: the entry is not under its checkpoint", ErrProof)
	}
	if !bytes.Equal(torchwood.FormatProof(index, p, c.Note), proof) {
		return Checkpoint{}, fmt.Errorf("%w: it is not in the one encoding", ErrProof)
	}
	return c, nil
}
