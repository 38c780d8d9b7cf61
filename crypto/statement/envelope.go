package statement

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
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
	r := Reader{rest: bytes.Clone(raw)} // what the statement keeps is its own
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

// envelope takes an envelope apart.
func (r *Reader) envelope() (typ string, payload []byte, sigs []Signature) {
	if r.List(3) != 3 {
		r.bad = true
	}
	typ, payload = r.Text(), r.Bytes()
	n := r.List(MaxSignatures)
	if r.bad {
		return "", nil, nil
	}
	sigs = make([]Signature, n)
	for i := range sigs {
		if r.List(2) != 2 {
			r.bad = true
		}
		sigs[i] = Signature{Index: uint16(r.Uint(math.MaxUint16)), Bytes: r.Bytes()}
		if r.bad {
			return "", nil, nil
		}
	}
	return typ, payload, sigs
}

// Bytes is the canonical encoding of the envelope.
func (s *Statement) Bytes() []byte {
	size := 3*9 + len(s.kindText) + len(s.payload) + 9
	for _, sig := range s.sigs {
		size += 1 + 3 + 9 + len(sig.Bytes)
	}
	b := append(make([]byte, 0, size), majorList<<5|3)
	b = append(appendHead(b, majorText, uint64(len(s.kindText))), s.kindText...)
	b = append(appendHead(b, majorBytes, uint64(len(s.payload))), s.payload...)
	b = appendHead(b, majorList, uint64(len(s.sigs)))
	for _, sig := range s.sigs {
		b = append(b, majorList<<5|2)
		b = appendHead(b, majorUint, uint64(sig.Index))
		b = append(appendHead(b, majorBytes, uint64(len(sig.Bytes))), sig.Bytes...)
	}
	return b
}

// appendHead writes what [Reader.head] reads.
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
