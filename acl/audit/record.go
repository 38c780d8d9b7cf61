package audit

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// A record in a segment (integers big endian):
//
//	 0  mark    byte, 0xCE
//	 1  length  uint24, of the leaf
//	 4  index   uint64, of the record in the log
//	12  back    uint32, how many records before it came with the same write
//	16  check   uint32, CRC-32C of bytes 0 to 16
//	20  body    uint32, CRC-32C of the leaf
//	24  leaf    opaque
//	    end     byte, 0x0A
//
// The CRCs find and locate damage; edits that repair them are the Merkle tree's
// to find. index and back say what was durable when the record was written:
// everything before index-back. That is how a torn write is told from damage to
// records that had been acknowledged. Neither mark nor end is zero, so that no
// part of a sector that arrived at a record's edge looks as if it never had.
const (
	recordMark = 0xCE
	recordEnd  = 0x0A
	headSize   = 24
	fixedSize  = headSize + 1
)

// maxRecord is the largest leaf. No leaf holds 512 zeros in a row: see hasHole.
const maxRecord = 8 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendRecord(buf []byte, index, first int64, leaf []byte) []byte {
	at := len(buf)
	buf = binary.BigEndian.AppendUint32(buf, recordMark<<24|uint32(len(leaf)))
	buf = binary.BigEndian.AppendUint64(buf, uint64(index))
	buf = binary.BigEndian.AppendUint32(buf, uint32(index-first))
	buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(buf[at:], castagnoli))
	buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(leaf, castagnoli))
	buf = append(buf, leaf...)
	return append(buf, recordEnd)
}

// head is the fixed part of a record.
type head struct {
	length int
	index  int64
	first  int64 // index of the first record of the same write
	body   uint32
}

// parseHead reads the first headSize bytes of b.
func parseHead(b []byte) (head, bool) {
	if b[0] != recordMark || crc32.Checksum(b[:16], castagnoli) != binary.BigEndian.Uint32(b[16:]) {
		return head{}, false
	}
	h := head{
		length: int(binary.BigEndian.Uint32(b) & 0xFFFFFF),
		index:  int64(binary.BigEndian.Uint64(b[4:])),
		body:   binary.BigEndian.Uint32(b[20:]),
	}
	h.first = h.index - int64(binary.BigEndian.Uint32(b[12:]))
	return h, h.length <= maxRecord && h.first >= 0
}

// whole reports whether b begins with the record that h is the head of.
func (h head) whole(b []byte) bool {
	end := headSize + h.length
	return end < len(b) && b[end] == recordEnd && crc32.Checksum(b[headSize:end], castagnoli) == h.body
}

// place is where a record begins.
type place struct {
	n       int64 // its index
	segment int64 // index of the first record of its segment
	offset  int64 // in bytes, in the segment
}

// mark is a place and what came before it.
type mark struct {
	place
	first int64 // of the record before it
	tree  edge  // of the n records before it
}

func (m *mark) root() tlog.Hash { return m.tree.root(m.n) }

// stored is where in the file of stored hashes those of the next record begin.
func (m *mark) stored() int64 { return tlog.StoredHashIndex(0, m.n) * tlog.HashSize }

// errBad says why the bytes at a place are no record. It is a finding, not yet a
// verdict: see torn.
type errBad string

func (e errBad) Error() string { return string(e) }

const (
	badShort errBad = "the record is cut short"
	badHead  errBad = "the record's head does not check"
	badBody  errBad = "the record's content does not check"
	badIndex errBad = "the record belongs in another place"
	badFirst errBad = "the record does not say which write it came from"
)

// scanner reads the records of one segment, one after the other.
type scanner struct {
	r      io.Reader
	left   int64 // bytes of the segment not read yet
	at     *mark // where the next record begins
	buf    []byte
	hashes []tlog.Hash // to be stored for the last record; valid until the next call
}

// newScanner begins at the mark's offset.
func newScanner(f io.ReaderAt, size int64, at *mark) *scanner {
	left := size - at.offset
	return &scanner{
		r: bufio.NewReaderSize(io.NewSectionReader(f, at.offset, left), int(min(max(left, 16), 1<<18))), left: left, at: at, buf: make([]byte, fixedSize+maxRecord),
	}
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
	if _, err := io.ReadFull(s.r, s.buf[headSize:size]); err != nil {
		return nil, err
	}
	if !h.whole(s.buf[:size]) {
		return nil, badBody
	}
	if h.index != s.at.n {
		return nil, badIndex
	}
	if h.first != h.index && (h.first != s.at.first || s.at.n == 0) {
		return nil, badFirst
	}
	leaf := s.buf[headSize : size-1]
	s.hashes = s.at.tree.add(s.at.n, 0, tlog.RecordHash(leaf), s.hashes[:0])
	s.left -= int64(size)
	s.at.n, s.at.first = s.at.n+1, h.first
	s.at.offset += int64(size)
	return leaf, nil
}

// maxTear is the longest write that a crash can have torn: a full queue.
const maxTear = QueueSize * (fixedSize + maxRecord)

// sector is the smallest unit in which a write reaches the disk or does not.
const sector = 512

// torn decides about bad bytes behind the last checkpoint: were they written by
// a crash, so that nobody was ever told that these records are durable, or did
// they change later? A crash leaves records cut off by the end of the file or
// with sectors still zero, and no record of a later write behind them. In doubt
// it is tampering: a log that refuses loses nothing.
func torn(f io.ReaderAt, size int64, at place, bad errBad) (bool, error) {
	if bad == badIndex || bad == badFirst {
		return false, nil // such a record is whole, only in the wrong place
	}
	if size-at.offset > maxTear {
		return false, nil
	}
	rest := make([]byte, size-at.offset)
	if n, err := f.ReadAt(rest, at.offset); err != nil && (n < len(rest) || !errors.Is(err, io.EOF)) {
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
		if !ok || !h.whole(rest[i:]) {
			continue
		}
		next = min(next, i)
		if h.first > n {
			return next, true
		}
		i += headSize + h.length
	}
	return next, false
}

// hasHole reports a sector of the bad bytes that never arrived: zeros from its
// beginning to its end, or to the end of the file. Of the sector in which the bad
// bytes begin only their part counts.
func hasHole(rest []byte, next int, offset int64) bool {
	for from := 0; from < next; {
		to := from + sector - int((offset+int64(from))%sector)
		if zeros(rest[from:min(to, len(rest))]) {
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
	Index  int64  // of the first record that is wrong or missing; -1 where it cannot be told
	File   string // where it is or should be
	Offset int64  // of that record in the file, in bytes; -1 where it cannot be told
	What   string // what is wrong
}

// Error is one sentence with the position.
func (e *TamperError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("%v: %s: %s", ErrTampered, e.File, e.What)
	}
	if e.Offset < 0 {
		return fmt.Sprintf("%v: record %d, %s: %s", ErrTampered, e.Index, e.File, e.What)
	}
	return fmt.Sprintf("%v: record %d, at byte %d of %s: %s", ErrTampered, e.Index, e.Offset, e.File, e.What)
}

// Is reports that the error is [ErrTampered].
func (e *TamperError) Is(target error) bool { return target == ErrTampered }

func tampered(at place, what string) error {
	return &TamperError{Index: at.n, File: segmentName(at.segment), Offset: at.offset, What: what}
}

func tamperedFile(name, what string) error {
	return &TamperError{Index: -1, File: name, Offset: -1, What: what}
}
