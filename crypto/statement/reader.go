package statement

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// Reader reads what [Marshal] wrote of lists, numbers, texts, bytes and truth values,
// item by item. It is as strict as [Unmarshal], without reflection: for bodies of
// which hundreds of thousands are read in a row. After the first item that is not what
// was asked for, every answer is zero and [Reader.Done] fails, so that callers ask once.
//
//	r := statement.NewReader(raw)
//	if r.List(2) == 2 {
//		name, count = r.Text(), r.Uint(10)
//	}
//	err := r.Done()
type Reader struct {
	rest []byte
	bad  bool
}

// The major types of CBOR (RFC 8949, section 3.1) that are read.
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorList  = 4
)

// NewReader reads raw, which must not change meanwhile.
func NewReader(raw []byte) *Reader { return &Reader{rest: raw} }

// head reads what begins an item of a major type: its number, which is the value,
// the length or the count. It takes the shortest form alone (section 4.2.1).
func (r *Reader) head(major byte) uint64 {
	if r.bad || len(r.rest) == 0 || r.rest[0]>>5 != major {
		return r.fail()
	}
	short := r.rest[0] & 31
	if short < 24 {
		r.rest = r.rest[1:]
		return uint64(short)
	}
	size := 1 << (short - 24)
	if short > 27 || len(r.rest) <= size {
		return r.fail()
	}
	var wide [8]byte
	copy(wide[8-size:], r.rest[1:1+size])
	n := binary.BigEndian.Uint64(wide[:])
	// The least that needs this size is one more than the smaller one holds.
	if size == 1 && n < 24 || size > 1 && n>>(4*size) == 0 {
		return r.fail()
	}
	r.rest = r.rest[1+size:]
	return n
}

func (r *Reader) fail() uint64 {
	r.bad, r.rest = true, nil
	return 0
}

// Uint reads a number from 0 to most.
func (r *Reader) Uint(most uint64) uint64 {
	n := r.head(majorUint)
	if n > most {
		return r.fail()
	}
	return n
}

// Int reads a number from 0 to what an int64 holds.
func (r *Reader) Int() int64 { return int64(r.Uint(math.MaxInt64)) }

// List reads how many items a list has, of at most so many; they follow.
func (r *Reader) List(most int) int {
	n := r.head(majorList)
	if n > uint64(most) || n > uint64(len(r.rest)) { // an item has one byte at least
		return int(r.fail())
	}
	return int(n)
}

// Bytes reads a string of bytes, a part of what is read.
func (r *Reader) Bytes() []byte { return r.string(majorBytes) }

// Text reads a text.
func (r *Reader) Text() string {
	raw := r.string(majorText)
	if !utf8.Valid(raw) {
		r.fail()
		return ""
	}
	return string(raw)
}

func (r *Reader) string(major byte) []byte {
	n := r.head(major)
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	s := r.rest[:n:n]
	r.rest = r.rest[n:]
	return s
}

// Bool reads a truth value.
func (r *Reader) Bool() bool {
	if r.bad || len(r.rest) == 0 || r.rest[0]&^1 != 0xf4 { // false is 0xf4, true 0xf5
		r.fail()
		return false
	}
	is := r.rest[0] == 0xf5
	r.rest = r.rest[1:]
	return is
}

// Done says whether everything was read as it was asked for, and nothing is left. The
// error is [ErrMalformed].
func (r *Reader) Done() error {
	if r.bad || len(r.rest) > 0 {
		return fmt.Errorf("%w: it does not decode", ErrMalformed)
	}
	return nil
}
