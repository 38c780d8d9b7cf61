package sidecar

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

const headSize = 28

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head is the fixed part of a record.
type head struct {
	length       int
	index, first int64
	whole        bool // it checks, whatever the item does
	body         uint32
}

func appendRecord(buf []byte, index, first int64, item []byte) []byte {
	at := len(buf)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(item)))
	buf = binary.BigEndian.AppendUint64(buf, uint64(index))
	buf = binary.BigEndian.AppendUint64(buf, uint64(first))
	buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(buf[at:], castagnoli))
	buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(item, castagnoli))
	return append(buf, item...)
}

// parseHead reads the first headSize bytes of b.
func parseHead(b []byte) head {
	h := head{
		length: int(binary.BigEndian.Uint32(b)), index: int64(binary.BigEndian.Uint64(b[4:])),
		first: int64(binary.BigEndian.Uint64(b[12:])), body: binary.BigEndian.Uint32(b[24:]),
	}
	h.whole = crc32.Checksum(b[:20], castagnoli) == binary.BigEndian.Uint32(b[20:]) &&
		h.length <= MaxItem && h.index >= 0 && h.first >= 0 && h.first <= h.index
	return h
}

// errBad says why bytes are no record.
type errBad string

func (e errBad) Error() string { return string(e) }

// scanner reads records one after the other.
type scanner struct {
	r    *bufio.Reader
	at   int64 // where the next record begins
	size int64
	buf  []byte
}

func newScanner(r io.ReaderAt, from, size int64) *scanner {
	return &scanner{r: bufio.NewReaderSize(io.NewSectionReader(r, from, size-from), 1<<16), at: from, size: size}
}

// next gives the next record; its item is valid until the next call. At the end it
// gives io.EOF, at bytes that are no record an errBad, otherwise the disk's error.
// After an errBad it may go on where the head is whole.
func (s *scanner) next() (head, []byte, error) {
	left := s.size - s.at
	if left == 0 {
		return head{}, nil, io.EOF
	}
	if left < headSize {
		return head{}, nil, errBad("cut short")
	}
	raw, err := s.r.Peek(headSize)
	if err != nil {
		return head{}, nil, err
	}
	h := parseHead(raw)
	if !h.whole {
		return h, nil, errBad("the head does not check")
	}
	if left < headSize+int64(h.length) {
		h.whole = false
		return h, nil, errBad("cut short")
	}
	if _, err := s.r.Discard(headSize); err != nil {
		return h, nil, err
	}
	if cap(s.buf) < h.length {
		s.buf = make([]byte, h.length)
	}
	item := s.buf[:h.length]
	if _, err := io.ReadFull(s.r, item); err != nil {
		return h, nil, err
	}
	s.at += headSize + int64(h.length)
	if crc32.Checksum(item, castagnoli) != h.body {
		return h, nil, errBad("the item does not check")
	}
	return h, item, nil
}

// findRecord looks behind damage for the head of a record whose index can follow.
func findRecord(r io.ReaderAt, from, size, index int64) (at int64, found bool, err error) {
	buf := make([]byte, 1<<18)
	for ; from+headSize <= size; from += int64(len(buf)) - headSize + 1 {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, false, err
		}
		for i := 0; i+headSize <= n; i++ {
			h := parseHead(buf[i:])
			if h.whole && h.index >= index && from+int64(i)+headSize+int64(h.length) <= size {
				return from + int64(i), true, nil
			}
		}
	}
	return 0, false, nil
}
