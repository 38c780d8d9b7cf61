package audit

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// A bundle is a log, or its end, in one file that proves itself offline:
//
//	"cerebrum-audit-bundle/1\n"
//	head         a frame with the CBOR of bundleHead
//	groups       frames of up to 1,024 hashes: the roots of each 256 records from
//	             the one with the first exported record on, the last of fewer where
//	             the log ends so
//	records      a frame each
//	disclosures  a frame each, opaque here, then an empty frame
//	seal         a frame with a statement of KindBundle, and the end of the file
//
// A frame is its length as uint32, the CRC-32C of that and of its content, and the
// content (integers big endian). The groups come first, so that a reader who goes
// once through the file knows of each 256 records whether they are those under the
// checkpoint before it hands them on. The seal, signed by the log's key, covers every
// byte before it: the disclosures too, which nothing else does.
const (
	bundleMagic    = "cerebrum-audit-bundle/1\n"
	groupLevel     = 8
	groupsInFrame  = 1024
	maxBundleHead  = 4 << 20
	maxSeal        = 4 << 10
	frameFixedSize = 8
)

// GroupSize is how many records a group has; a partial bundle begins with a group, or
// where the log begins: see [Log.Begins].
const GroupSize = 1 << groupLevel

// KindBundle is the kind of the statement at the end of a bundle.
const KindBundle statement.Kind = "audit-bundle"

// MaxDisclosure is the most that one disclosure in a bundle may hold, in bytes.
const MaxDisclosure = 64 << 10

// bundleHead is what a bundle begins with.
type bundleHead struct {
	_          struct{} `cbor:",toarray"`
	Binding    []byte
	Checkpoint []byte
	Network    [][]byte // committee records, for whoever checks who the peer is; opaque here
	First      int64    // index of the first record
	Before     [][]byte // edge of the records before that, the largest subtree first
}

// seal is the body of a bundle's last statement.
type seal struct {
	_    struct{} `cbor:",toarray"`
	Size int64    // bytes before the seal's frame
	Sum  []byte   // SHA-256 of them
}

// Export is what a bundle holds. The zero value is the whole log up to its
// published checkpoint.
type Export struct {
	Checkpoint Checkpoint // one of this log, such as [Log.Cosigned]; zero: [Log.Published]
	First      int64      // records before this one may be left out: the bundle begins at [Log.Begins]
	Network    [][]byte   // committee records
	// Disclosures hands what opens the records' digests to write, piece by piece,
	// each of 1 to MaxDisclosure bytes; nil: none.
	Disclosures func(write func([]byte) error) error
}

// ExportBundle writes a bundle. Every record is verified on the way; what was
// written before an error is no bundle, and [VerifyBundle] refuses it.
func (l *Log) ExportBundle(w io.Writer, e Export) error {
	if e.Checkpoint.Note == nil {
		e.Checkpoint = l.Published()
	}
	if e.First < 0 || e.First > e.Checkpoint.N {
		return fmt.Errorf("the log has %d records under the checkpoint, and the export would begin with %d", e.Checkpoint.N, e.First)
	}
	if e.First = l.Begins(e.First); e.First > e.Checkpoint.N {
		return fmt.Errorf("%w: it begins with record %d, and the checkpoint covers %d", ErrPruned, e.First, e.Checkpoint.N)
	}
	groups, before, err := l.groups(e.First, e.Checkpoint)
	if err != nil {
		return err
	}
	head, err := statement.Marshal(bundleHead{
		Binding: l.raw, Checkpoint: e.Checkpoint.Note, Network: e.Network, First: e.First, Before: bytesOf(before),
	})
	if err != nil {
		return err
	}
	if len(head) > maxBundleHead {
		return fmt.Errorf("the committee records and the rest of the head have %d bytes, at most %d", len(head), maxBundleHead)
	}
	f := newFrames(w)
	f.raw([]byte(bundleMagic))
	f.write(head)
	for len(groups) > 0 {
		n := min(len(groups), groupsInFrame)
		f.write(flat(groups[:n]))
		groups = groups[n:]
	}
	if f.err != nil {
		return f.err
	}
	err = l.upTo(e.Checkpoint, func(r record) error {
		if r.n >= e.First {
			f.write(r.leaf)
		}
		return f.err
	})
	if err != nil {
		return err
	}
	if err := f.disclosures(e.Disclosures); err != nil {
		return err
	}
	s, err := statement.Sign(KindBundle, seal{Size: f.size, Sum: f.sum.Sum(nil)}, l.signer.key)
	if err != nil {
		return err
	}
	f.write(s.Bytes())
	if f.err != nil {
		return f.err
	}
	return f.w.Flush()
}

// groups gives the roots of each 256 records from first on, and the edge before
// them, from the stored hashes; both are proven to give the checkpoint's root.
func (l *Log) groups(first int64, c Checkpoint) (groups, before []tlog.Hash, err error) {
	stored := hashFile{l.hashes}
	if before, err = stored.ReadHashes(torchwood.RightEdge(first)); err != nil {
		return nil, nil, err
	}
	last, err := stored.ReadHashes(torchwood.RightEdge(c.N))
	if err != nil {
		return nil, nil, err
	}
	end, err := edgeOf(c.N, last)
	if err != nil {
		return nil, nil, err
	}
	for i := first / GroupSize; i < c.N/GroupSize; i++ {
		h, err := stored.ReadHashes([]int64{tlog.StoredHashIndex(groupLevel, i)})
		if err != nil {
			return nil, nil, err
		}
		groups = append(groups, h[0])
	}
	if rest := c.N % GroupSize; rest > 0 {
		groups = append(groups, end.root(rest))
	}
	if root, err := groupsRoot(first, c.N, before, groups); err != nil || root != c.Hash {
		return nil, nil, errStored
	}
	return groups, before, nil
}

// groupsRoot is the root of n records, of which those before first are an edge and
// the rest are groups; the first group has what the edge has of it.
func groupsRoot(first, n int64, before, groups []tlog.Hash) (tlog.Hash, error) {
	e, err := edgeOf(first, before)
	if err != nil {
		return tlog.Hash{}, err
	}
	at := first - first%GroupSize
	for ; at+GroupSize <= n; at += GroupSize {
		e.add(at, groupLevel, groups[0], nil)
		groups = groups[1:]
	}
	if at < n {
		return e.under(at, groups[0]), nil
	}
	return e.root(n), nil
}

// groupCount is how many groups the records from first to n are.
func groupCount(first, n int64) int64 { return (n+GroupSize-1)/GroupSize - first/GroupSize }

func bytesOf(hashes []tlog.Hash) (out [][]byte) {
	for _, h := range hashes {
		out = append(out, h[:])
	}
	return out
}

// frames writes frames and sums everything. After an error it writes no more.
type frames struct {
	w    *bufio.Writer
	sum  hash.Hash
	size int64
	err  error
}

func newFrames(w io.Writer) *frames {
	return &frames{w: bufio.NewWriterSize(w, 1<<18), sum: sha256.New()}
}

func (f *frames) raw(b []byte) {
	if f.err != nil {
		return
	}
	f.sum.Write(b)
	f.size += int64(len(b))
	_, f.err = f.w.Write(b)
}

func (f *frames) write(content []byte) {
	var fixed [frameFixedSize]byte
	binary.BigEndian.PutUint32(fixed[:], uint32(len(content)))
	binary.BigEndian.PutUint32(fixed[4:], frameCheck(fixed[:4], content))
	f.raw(fixed[:])
	f.raw(content)
}

func frameCheck(length, content []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, content)
}

// disclosures writes all of them and the empty frame behind them.
func (f *frames) disclosures(all func(write func([]byte) error) error) error {
	if all != nil {
		err := all(func(b []byte) error {
			if len(b) == 0 || len(b) > MaxDisclosure {
				return fmt.Errorf("a disclosure of %d bytes; it has 1 to %d", len(b), MaxDisclosure)
			}
			f.write(b)
			return f.err
		})
		if err != nil {
			return err
		}
	}
	f.write(nil)
	return f.err
}
