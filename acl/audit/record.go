package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// A record in the file "entries" (integers big endian):
//
//	 0  length  uint32, of the leaf
//	 4  first   uint64, the index of the first record of the same write
//	12  check   uint32, CRC-32C of bytes 0 to 12
//	16  body    uint32, CRC-32C of everything that follows
//	20  chain   32 bytes, H(chain of the record before, leaf)
//	52  leaf    the event's CBOR
//
// The CRCs find damage, the chain finds edits that repair the CRCs. first says
// what was durable when the record was written: everything before index first.
// That is how a torn write, whose records all have the same first, is told
// from damage to records that had been acknowledged.
const (
	headSize  = 20
	chainSize = 32
	fixedSize = headSize + chainSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// start is the chain of an empty log.
var start = statement.Hash("audit-start")

func link(before statement.ID, leaf []byte) statement.ID {
	return statement.Hash("audit-entry", before[:], leaf)
}

func appendRecord(buf []byte, first int64, chain statement.ID, leaf []byte) []byte {
	at := len(buf)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(leaf)))
	buf = binary.BigEndian.AppendUint64(buf, uint64(first))
	buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(buf[at:], castagnoli))
	buf = append(buf, 0, 0, 0, 0)
	buf = append(buf, chain[:]...)
	buf = append(buf, leaf...)
	binary.BigEndian.PutUint32(buf[at+16:], crc32.Checksum(buf[at+headSize:], castagnoli))
	return buf
}

// head is the fixed part of a record that says how long it is.
type head struct {
	length int
	first  int64
	body   uint32
}

// parseHead reads the first headSize bytes of b.
func parseHead(b []byte) (head, bool) {
	if crc32.Checksum(b[:12], castagnoli) != binary.BigEndian.Uint32(b[12:]) {
		return head{}, false
	}
	h := head{
		length: int(binary.BigEndian.Uint32(b)),
		first:  int64(binary.BigEndian.Uint64(b[4:])),
		body:   binary.BigEndian.Uint32(b[16:]),
	}
	return h, h.length <= maxLeaf && h.first >= 0
}

// mark is a position in the log: after n records, offset bytes into the file.
type mark struct {
	n      int64
	offset int64
	first  int64 // of the last record before it
	chain  statement.ID
}

// errBad says why the bytes at a mark are no record. It is a finding, not yet a
// verdict: see torn.
type errBad string

func (e errBad) Error() string { return string(e) }

const (
	badShort errBad = "the record is cut short"
	badHead  errBad = "the record's length does not check"
	badBody  errBad = "the record's content does not check"
	badFirst errBad = "the record does not say which write it came from"
	badChain errBad = "the record does not follow from the one before it"
)

// scanner reads records one after the other and checks everything but the
// meaning of the leaf.
type scanner struct {
	r    io.Reader
	left int64 // bytes of the file not read yet
	at   mark  // where the next record begins
	buf  []byte
}

// newScanner reads the first size bytes of a file from its beginning.
func newScanner(r io.Reader, size int64) *scanner {
	return &scanner{r: r, left: size, at: mark{chain: start}, buf: make([]byte, fixedSize+maxLeaf)}
}

// next gives the next record's leaf, valid until the next call, and moves the
// mark behind it. At the end it gives io.EOF; at bytes that are no record an
// errBad, the mark staying before them; otherwise the disk's error.
func (s *scanner) next() ([]byte, error) {
	if s.left == 0 {
		return nil, io.EOF
	}
	if s.left < headSize {
		return nil, badShort
	}
	if _, err := io.ReadFull(s.r, s.buf[:headSize]); err != nil {
		return nil, err
	}
	h, ok := parseHead(s.buf)
	if !ok {
		return nil, badHead
	}
	size := fixedSize + h.length
	if s.left < int64(size) {
		return nil, badShort
	}
	rest := s.buf[headSize:size]
	if _, err := io.ReadFull(s.r, rest); err != nil {
		return nil, err
	}
	if crc32.Checksum(rest, castagnoli) != h.body {
		return nil, badBody
	}
	if h.first != s.at.n && (h.first != s.at.first || s.at.n == 0) {
		return nil, badFirst
	}
	leaf := rest[chainSize:]
	chain := link(s.at.chain, leaf)
	if chain != statement.ID(rest[:chainSize]) {
		return nil, badChain
	}
	s.left -= int64(size)
	s.at = mark{n: s.at.n + 1, offset: s.at.offset + int64(size), first: h.first, chain: chain}
	return leaf, nil
}

// maxTear is the longest write that a crash can have torn: a full queue.
const maxTear = QueueSize * (fixedSize + maxLeaf)

// sector is the smallest unit in which a write reaches the disk or does not.
const sector = 512

// torn decides about bad bytes behind the last checkpoint: were they written by
// a crash, so that nobody was ever told that these records are durable, or did
// they change later? A crash leaves records cut off by the end of the file or
// with sectors still zero, and no record of a later write behind them. In doubt
// it is tampering: a log that refuses loses nothing.
func torn(file io.ReaderAt, size int64, at mark, bad errBad) (bool, error) {
	if bad == badChain || bad == badFirst {
		return false, nil // such a record is whole, only in the wrong place
	}
	if size-at.offset > maxTear {
		return false, nil
	}
	rest := make([]byte, size-at.offset)
	if _, err := file.ReadAt(rest, at.offset); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	next, later := findLater(rest, at.n)
	if later {
		return false, nil
	}
	if bad == badShort {
		return next == len(rest), nil
	}
	return hasHole(rest, next, at.offset), nil
}

// findLater looks for whole records behind bad bytes: where the first one
// begins, and whether any was written after record n had been made durable.
func findLater(rest []byte, n int64) (next int, later bool) {
	next = len(rest)
	for i := 1; i+fixedSize <= len(rest); i++ {
		h, ok := parseHead(rest[i:])
		if !ok || i+fixedSize+h.length > len(rest) {
			continue
		}
		end := i + fixedSize + h.length
		if crc32.Checksum(rest[i+headSize:end], castagnoli) != h.body {
			continue
		}
		next = min(next, i)
		if h.first > n {
			return next, true
		}
		i = end - 1
	}
	return next, false
}

// hasHole reports a sector of the bad bytes that never arrived: zeros from its
// beginning to its end, or to the end of the file. No record ends in a zero (see
// Event.check), and none is as long as a sector of zeros. Of the sector in which
// the bad bytes begin only their part counts; under three bytes would be the
// upper bytes of a length, which are zero anyway.
func hasHole(rest []byte, next int, offset int64) bool {
	for from := 0; from < next; {
		to := from + sector - int((offset+int64(from))%sector)
		end := min(to, len(rest))
		if zeros(rest[from:end]) && (from > 0 || end-from >= 3) {
			return true
		}
		from = to
	}
	return false
}

func zeros(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// ErrTampered reports a log that is not what was written: see [TamperError].
var ErrTampered = errors.New("the log was tampered with or damaged")

// TamperError says where a log stops being what was written. It is
// [ErrTampered].
type TamperError struct {
	Index  int64  // of the first record that is wrong or missing
	Offset int64  // of that record in the file "entries"
	What   string // what is wrong with it
}

// Error is one sentence with the position.
func (e *TamperError) Error() string {
	return fmt.Sprintf("%v: record %d, at byte %d: %s", ErrTampered, e.Index, e.Offset, e.What)
}

// Is reports that the error is [ErrTampered].
func (e *TamperError) Is(target error) bool { return target == ErrTampered }

func tampered(at mark, what string) error {
	return &TamperError{Index: at.n, Offset: at.offset, What: what}
}
