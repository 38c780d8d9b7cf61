package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Bundle is what a bundle's head says, once all of the bundle was verified.
type Bundle struct {
	Binding    *Binding
	Checkpoint Checkpoint
	Network    [][]byte // committee records, which nobody has verified yet
	First      int64    // index of the first record that is in it; 0: all of them are
}

// Check is what a bundle must live up to. The zero value asks that it is sound in
// itself, whoever's log it is.
type Check struct {
	Peer  statement.PublicKey // whose log it must be; zero: anybody's, as Bundle.Binding says
	Known [][]byte            // checkpoints of the log that others kept; it must live up to them
	// Policy says, from the committee records and the binding in the head, what
	// must have signed the checkpoint besides the log; nil: nobody.
	Policy func(network [][]byte, b *Binding) (torchwood.Policy, error)
	// Record is handed every record in order, once it is known to be under the
	// checkpoint. The slice is valid until it returns; its error ends the
	// verification. nil: records are not looked into.
	Record func(i int64, leaf []byte) error
	// Disclosure is handed every disclosure. Nothing vouches for them before
	// VerifyBundle has returned nil.
	Disclosure func(b []byte) error
}

// IsBundle reports whether a file that begins so claims to be a bundle.
func IsBundle(head []byte) bool { return bytes.HasPrefix(head, []byte(bundleMagic)) }

// VerifyBundle verifies a bundle, offline and in one pass. It names the first thing
// that does not hold: a [TamperError] says at which byte, and which record where it
// is one. It accepts one encoding only: no bit of a bundle can change, and nothing
// can be cut off or added, unseen. Memory grows by 32 bytes for each 256 records.
//
// It proves that the log's key signed a log of that size and root; that the records
// in it are those from Bundle.First to the end, unchanged, in order, none left out;
// and that the peer calls that log its own. Of a partial bundle, whose First is not
// 0, it proves how many records came before and that they were fixed when the
// checkpoint was signed, not what they say. It does not prove that no other log was
// shown to others: for that Check.Policy asks for witnesses, and Check.Known for
// what the log showed before.
func VerifyBundle(r io.Reader, c Check) (*Bundle, error) {
	in := &frameReader{r: bufio.NewReaderSize(r, 1<<18), sum: sha256.New(), what: "the beginning"}
	magic := make([]byte, len(bundleMagic))
	if err := in.full(magic); err != nil {
		return nil, err
	}
	if string(magic) != bundleMagic {
		return nil, in.bad(-1, "it is no bundle of an audit log")
	}
	b, before, err := c.head(in)
	if err != nil {
		return nil, err
	}
	groups, err := readGroups(in, b, before)
	if err != nil {
		return nil, err
	}
	known, err := c.known(b)
	if err != nil {
		return nil, err
	}
	if err := c.records(in, b, before, groups, known); err != nil {
		return nil, err
	}
	if err := c.disclosures(in); err != nil {
		return nil, err
	}
	return b, checkSeal(in, b)
}

// head reads the head and verifies whose log it is and who signed the checkpoint.
func (c Check) head(in *frameReader) (*Bundle, []tlog.Hash, error) {
	in.what = "the head"
	raw, err := in.next(maxBundleHead)
	if err != nil {
		return nil, nil, err
	}
	var h bundleHead
	if err := statement.Unmarshal(raw, &h); err != nil {
		return nil, nil, in.bad(-1, "the head is malformed")
	}
	b, err := c.begin(h)
	if err != nil {
		return nil, nil, err
	}
	if h.First < 0 || h.First > b.Checkpoint.N {
		return nil, nil, in.bad(-1, fmt.Sprintf("it begins with record %d, of %d", h.First, b.Checkpoint.N))
	}
	before, err := hashesOf(h.First, h.Before)
	if err != nil {
		return nil, nil, in.bad(-1, err.Error())
	}
	return b, before.list(h.First), nil
}

// begin verifies whose log it is and who signed the checkpoint.
func (c Check) begin(h bundleHead) (b *Bundle, err error) {
	b = &Bundle{Network: h.Network, First: h.First}
	if b.Binding, err = VerifyBinding(h.Binding); err != nil {
		return nil, err
	}
	if c.Peer != (statement.PublicKey{}) && c.Peer != b.Binding.Peer {
		return nil, fmt.Errorf("%w: it is the log of the peer %s", ErrBinding, b.Binding.Peer)
	}
	if b.Checkpoint, err = b.Binding.OpenCheckpoint(h.Checkpoint); err != nil || c.Policy == nil {
		return b, err
	}
	return b, c.cosigned(b)
}

// cosigned holds the caller's policy.
func (c Check) cosigned(b *Bundle) error {
	policy, err := c.Policy(b.Network, b.Binding)
	if err != nil {
		return err
	}
	n, err := note.Open(b.Checkpoint.Note, policy)
	if err == nil {
		err = policy.Check(b.Binding.Origin, n.Sigs)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return nil
}

// readGroups reads the groups' roots and verifies that they give the checkpoint's.
func readGroups(in *frameReader, b *Bundle, before []tlog.Hash) (groups []tlog.Hash, err error) {
	in.what = "the roots of the groups"
	for left := groupCount(b.First, b.Checkpoint.N); left > 0; {
		n := min(left, groupsInFrame)
		raw, err := in.next(groupsInFrame * tlog.HashSize)
		if err != nil {
			return nil, err
		}
		if int64(len(raw)) != n*tlog.HashSize {
			return nil, in.bad(-1, "there are fewer or more roots of groups than the size asks for")
		}
		for len(raw) > 0 {
			groups, raw = append(groups, tlog.Hash(raw[:tlog.HashSize])), raw[tlog.HashSize:]
		}
		left -= n
	}
	root, err := groupsRoot(b.First, b.Checkpoint.N, before, groups)
	if err != nil {
		return nil, in.bad(-1, err.Error())
	}
	if root != b.Checkpoint.Hash {
		return nil, in.bad(-1, "the roots of the groups do not give the root that the log signed")
	}
	return groups, nil
}

// known reads the checkpoints that others kept.
func (c Check) known(b *Bundle) (out []Checkpoint, err error) {
	for _, raw := range c.Known {
		k, err := b.Binding.OpenCheckpoint(raw)
		if err != nil {
			return nil, fmt.Errorf("a checkpoint that is known of this log: %w", err)
		}
		switch {
		case k.N > b.Checkpoint.N:
			return nil, &TamperError{Index: b.Checkpoint.N, File: BundleFile, Offset: -1, What: fmt.Sprintf("the log ends here, but others know that it had %d records", k.N)}
		case k.N < b.First:
			return nil, fmt.Errorf("a checkpoint of %d records cannot be compared with an export that begins with record %d: ask for an earlier one", k.N, b.First)
		}
		out = append(out, k)
	}
	return out, nil
}

// records reads the records and hands on each group that is the one under the
// checkpoint.
func (c Check) records(in *frameReader, b *Bundle, before, groups []tlog.Hash, known []Checkpoint) error {
	tree, err := edgeOf(b.First, before)
	if err != nil {
		return err
	}
	var hashes []tlog.Hash
	var group leafBuffer
	for n := b.First; ; {
		for _, k := range known {
			if k.N == n && k.Hash != tree.root(n) {
				return in.bad(-1, fmt.Sprintf("the first %d records are not those that others know", n))
			}
		}
		if n == b.Checkpoint.N {
			if tree.root(n) != b.Checkpoint.Hash { // of an edge in the middle of a group
				return in.bad(-1, "the hashes of the records before the first do not give the root that the log signed")
			}
			return nil
		}
		in.what, in.index = "record", n
		leaf, err := in.next(maxRecord)
		if err != nil {
			return err
		}
		hashes = tree.add(n, 0, tlog.RecordHash(leaf), hashes[:0])
		group.add(leaf)
		n++
		var root tlog.Hash
		switch {
		case n%GroupSize == 0:
			root = hashes[groupLevel]
		case n == b.Checkpoint.N:
			root = tree.root(n % GroupSize)
		default:
			continue
		}
		start := n - int64(len(group.ends))
		if root != groups[start/GroupSize-b.First/GroupSize] {
			return in.bad(start, fmt.Sprintf("of the records %d to %d one or more are not those under the checkpoint", start, n-1))
		}
		if err := group.handOn(start, c.Record); err != nil {
			return err
		}
	}
}

// leafBuffer keeps a group until it is verified.
type leafBuffer struct {
	all  []byte
	ends []int
}

func (g *leafBuffer) add(leaf []byte) {
	g.all = append(g.all, leaf...)
	g.ends = append(g.ends, len(g.all))
}

func (g *leafBuffer) handOn(start int64, fn func(int64, []byte) error) error {
	from := 0
	for i, end := range g.ends {
		if fn != nil {
			if err := fn(start+int64(i), g.all[from:end]); err != nil {
				return err
			}
		}
		from = end
	}
	g.all, g.ends = g.all[:0], g.ends[:0]
	return nil
}

func (c Check) disclosures(in *frameReader) error {
	in.what, in.index = "the disclosures", -1
	for {
		d, err := in.next(MaxDisclosure)
		if err != nil || len(d) == 0 {
			return err
		}
		if c.Disclosure != nil {
			if err := c.Disclosure(d); err != nil {
				return err
			}
		}
	}
}

// checkSeal reads the seal, which covers all that was read before, and the end.
func checkSeal(in *frameReader, b *Bundle) error {
	want := seal{Size: in.offset, Sum: in.sum.Sum(nil)}
	in.what = "the seal"
	raw, err := in.next(maxSeal)
	if err != nil {
		return err
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return in.bad(-1, "the seal is malformed")
	}
	if err := s.Verify(KindBundle, []statement.PublicKey{b.Binding.Log}, 1); err != nil {
		return in.bad(-1, "the log's key did not sign the seal")
	}
	var got seal
	if err := s.Peek(KindBundle, &got); err != nil || got.Size != want.Size || !bytes.Equal(got.Sum, want.Sum) {
		return in.bad(-1, "the seal is of other bytes: something in the bundle was exchanged, the disclosures most likely")
	}
	if _, err := in.r.ReadByte(); !errors.Is(err, io.EOF) {
		return in.bad(-1, "something follows behind the seal")
	}
	return nil
}

// BundleFile is the File of a [TamperError] in a bundle.
const BundleFile = "the bundle"

// frameReader reads frames and sums everything.
type frameReader struct {
	r      *bufio.Reader
	sum    hash.Hash
	offset int64 // bytes read
	begin  int64 // where the frame that is read begins
	what   string
	index  int64 // of the record that is read, where what is "record"
	buf    []byte
}

// next reads a frame of at most so many bytes; the slice is valid until the next
// call. Memory is taken as the content arrives.
func (in *frameReader) next(most int) ([]byte, error) {
	in.begin = in.offset
	var fixed [frameFixedSize]byte
	if err := in.full(fixed[:]); err != nil {
		return nil, err
	}
	length := int64(binary.BigEndian.Uint32(fixed[:]))
	if length > int64(most) {
		return nil, in.bad(in.at(), in.what+" is longer than it may be")
	}
	in.buf = in.buf[:0]
	for left := int(length); left > 0; {
		n := min(left, 1<<16)
		at := len(in.buf)
		in.buf = append(in.buf, make([]byte, n)...)
		if err := in.full(in.buf[at:]); err != nil {
			return nil, err
		}
		left -= n
	}
	if frameCheck(fixed[:4], in.buf) != binary.BigEndian.Uint32(fixed[4:]) {
		return nil, in.bad(in.at(), in.what+" does not check")
	}
	return in.buf, nil
}

func (in *frameReader) full(b []byte) error {
	n, err := io.ReadFull(in.r, b)
	in.sum.Write(b[:n])
	in.offset += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return in.bad(in.at(), "it ends in the middle of "+in.what)
	}
	return err
}

// at is the index of the record that is read, or -1.
func (in *frameReader) at() int64 {
	if in.what == "record" {
		return in.index
	}
	return -1
}

func (in *frameReader) bad(index int64, what string) error {
	if index < 0 {
		what = fmt.Sprintf("at byte %d: %s", in.begin, what)
	}
	return &TamperError{Index: index, File: BundleFile, Offset: in.begin, What: what}
}
