package statement

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// The envelope is read and written by hand, because every request brings several
// and a decoder by reflection took longer than all else about them but the
// signatures. That it is the encoding of package cbor, and accepts nothing else,
// its fuzz test holds against that package.

// Parse decodes an envelope and verifies nothing.
func Parse(raw []byte) (*Statement, error) {
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(raw), MaxBytes)
	}
	r := reader{rest: bytes.Clone(raw)} // what the statement keeps is its own
	typ, payload, sigs := r.envelope()
	if r.bad || len(r.rest) != 0 {
		return nil, fmt.Errorf("%w: its envelope is not one in the canonical encoding", ErrMalformed)
	}
	last := -1
	for _, sig := range sigs {
		if int(sig.Index) <= last || len(sig.Bytes) != 64 {
			return nil, ErrSignature
		}
		last = int(sig.Index)
	}
	return build(typ, payload, sigs), nil
}

// The major types of CBOR (RFC 8949, section 3.1) that an envelope is made of.
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
)

// reader takes an envelope apart. After the first mistake it is bad, and gives
// zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) envelope() (typ string, payload []byte, sigs []Signature) {
	r.bad = r.head(majorArray) != 3 || r.bad
	text := r.string(majorText)
	r.bad = r.bad || !utf8.Valid(text)
	payload = r.string(majorBytes)
	n := r.head(majorArray)
	if r.bad = r.bad || n > MaxSignatures; r.bad {
		return "", nil, nil
	}
	sigs = make([]Signature, n)
	for i := range sigs {
		r.bad = r.head(majorArray) != 2 || r.bad
		index := r.head(majorUint)
		r.bad = r.bad || index > 1<<16-1
		sigs[i] = Signature{Index: uint16(index), Bytes: r.string(majorBytes)}
		if r.bad {
			return "", nil, nil
		}
	}
	return string(text), payload, sigs
}

// head reads what begins an item of a major type: its number, which is the value,
// the length or the count. It takes the shortest form alone (section 4.2.1).
func (r *reader) head(major byte) uint64 {
	if r.bad || len(r.rest) == 0 || r.rest[0]>>5 != major {
		r.bad = true
		return 0
	}
	short := r.rest[0] & 31
	if short < 24 {
		r.rest = r.rest[1:]
		return uint64(short)
	}
	size := 1 << (short - 24)
	if short > 27 || len(r.rest) <= size {
		r.bad = true
		return 0
	}
	var wide [8]byte
	copy(wide[8-size:], r.rest[1:1+size])
	n := binary.BigEndian.Uint64(wide[:])
	// The least that needs this size is one more than the smaller one holds.
	if size == 1 && n < 24 || size > 1 && n>>(4*size) == 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[1+size:]
	return n
}

// string reads a string of bytes or text, without copying it.
func (r *reader) string(major byte) []byte {
	n := r.head(major)
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

// Bytes is the canonical encoding of the envelope.
func (s *Statement) Bytes() []byte {
	size := 3*9 + len(s.kindText) + len(s.payload) + 9
	for _, sig := range s.sigs {
		size += 1 + 3 + 9 + len(sig.Bytes)
	}
	b := append(make([]byte, 0, size), majorArray<<5|3)
	b = append(appendHead(b, majorText, uint64(len(s.kindText))), s.kindText...)
	b = append(appendHead(b, majorBytes, uint64(len(s.payload))), s.payload...)
	b = appendHead(b, majorArray, uint64(len(s.sigs)))
	for _, sig := range s.sigs {
		b = append(b, majorArray<<5|2)
		b = appendHead(b, majorUint, uint64(sig.Index))
		b = append(appendHead(b, majorBytes, uint64(len(sig.Bytes))), sig.Bytes...)
	}
	return b
}

// appendHead writes what [reader.head] reads.
func appendHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}
