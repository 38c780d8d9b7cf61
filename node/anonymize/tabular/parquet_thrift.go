package tabular

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/parquet-go/parquet-go/encoding/thrift"
)

// The kinds of values in Thrift's compact protocol.
const (
	yes    = 1 // a truth of a field is in its head
	no     = 2
	octet  = 3
	short  = 4
	number = 5
	long   = 6
	real   = 7
	text   = 8
	list   = 9
	set    = 10
	record = 12
)

// shape is the fields of a structure that matter, by number. The library does not get
// to see others, because it loses its place in what it does not know.
type shape map[uint64]field

// field is of a kind. A list has one kind of elements, and is itself of the kind list.
type field struct {
	kind byte
	of   shape // of a record, or of a list's records
	each byte  // of a list
}

var (
	whole, large, words, truth = field{kind: number}, field{kind: long}, field{kind: text}, field{kind: yes}

	nothing = field{kind: record, of: shape{}}
	unit    = field{kind: record, of: shape{1: nothing, 2: nothing, 3: nothing}}
	clock   = field{kind: record, of: shape{1: truth, 2: unit}}
	logical = shape{1: nothing, 2: nothing, 3: nothing, 4: nothing, 5: {kind: record, of: shape{1: whole, 2: whole}}, 6: nothing, 7: clock, 8: clock,
		10: {kind: record, of: shape{1: {kind: octet}, 2: truth}}, 11: nothing, 12: nothing, 13: nothing, 14: nothing, 15: nothing}
	element = shape{1: whole, 2: whole, 3: whole, 4: words, 5: whole, 6: whole, 7: whole, 8: whole, 9: whole, 10: {kind: record, of: logical}}
	stretch = shape{1: whole, 2: {kind: list, each: number}, 3: {kind: list, each: text}, 4: whole, 5: large, 6: large, 7: large, 9: large, 11: large}
	group   = shape{1: {kind: list, each: record, of: shape{2: large, 3: {kind: record, of: stretch}}}, 2: large, 3: large}

	// description is of a file, and heading of a page.
	description = shape{1: whole, 2: {kind: list, each: record, of: element}, 3: large, 4: {kind: list, each: record, of: group}}
	heading     = shape{1: whole, 2: whole, 3: whole, 4: whole, 5: {kind: record, of: shape{1: whole, 2: whole, 3: whole, 4: whole}},
		7: {kind: record, of: shape{1: whole, 2: whole, 3: truth}},
		8: {kind: record, of: shape{1: whole, 2: whole, 3: whole, 4: whole, 5: whole, 6: whole, 7: truth}}}
)

// errShort is met where a structure goes on behind the bytes that there are.
var errShort = errors.New("goes on behind its end")

// decode reads a structure with which b begins, and says how long it is. Before the library
// decodes it, one is refused whose decoding would take more memory or deeper calls than is
// good, and all of it is left out that is not in its shape.
func decode(b []byte, of shape, v any) (length int, err error) {
	s := &skimmer{b: b, room: maxDescribed}
	if err := s.structure(of, true, 0); err != nil {
		return 0, err
	}
	d := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(bytes.NewReader(s.out)))
	d.SetStrict(true)
	return s.at, d.Decode(v)
}

// skimmer passes over values, and copies what is to be kept.
type skimmer struct {
	b, out []byte
	at     int
	room   int // bytes of memory that lists may still take
}

func (s *skimmer) byte() (byte, error) {
	if s.at == len(s.b) {
		return 0, errShort
	}
	s.at++
	return s.b[s.at-1], nil
}

func (s *skimmer) uvarint() (uint64, error) {
	u, n := binary.Uvarint(s.b[s.at:])
	switch {
	case n == 0:
		return 0, errShort
	case n < 0:
		return 0, errors.New("has a number of more than 64 bits")
	}
	s.at += n
	return u, nil
}

func (s *skimmer) skip(n uint64) error {
	if n > uint64(len(s.b)-s.at) {
		return errShort
	}
	s.at += int(n)
	return nil
}

func (s *skimmer) structure(of shape, keep bool, depth int) error {
	if depth > maxDepth {
		return errors.New("is nested too deeply")
	}
	id := uint64(0)
	for {
		head, err := s.byte()
		if err != nil {
			return err
		}
		if head == 0 {
			s.copy(keep, 0)
			return nil
		}
		if id += uint64(head >> 4); head>>4 == 0 { // the number of the field follows
			if id, err = s.uvarint(); err != nil {
				return err
			}
			id >>= 1 // negative ones are nowhere in Parquet
		}
		kind := head & 15
		f, known := of[id]
		known = known && keep
		if known && kind != f.kind && !(f.kind == yes && kind == no) {
			return errors.New("has a value of another kind than it should")
		}
		if known {
			s.out = binary.AppendUvarint(append(s.out, kind), id<<1)
		}
		if kind == yes || kind == no {
			continue
		}
		if err := s.value(kind, f, known, depth); err != nil {
			return err
		}
	}
}

func (s *skimmer) copy(keep bool, b ...byte) {
	if keep {
		s.out = append(s.out, b...)
	}
}

// value passes over a value.
func (s *skimmer) value(kind byte, f field, keep bool, depth int) (err error) {
	begin := s.at
	switch kind {
	case yes, no, octet: // truths in a list have a byte
		err = s.skip(1)
	case short, number, long:
		_, err = s.uvarint()
	case real:
		err = s.skip(8)
	case text:
		var n uint64
		if n, err = s.uvarint(); err == nil {
			err = s.skip(n)
		}
	case list, set:
		return s.list(f, keep, depth)
	case record:
		return s.structure(f.of, keep, depth+1)
	default: // no map is in Parquet
		err = errors.New("has a value of no known kind")
	}
	s.copy(keep && err == nil, s.b[begin:s.at]...)
	return err
}

// list counts what its elements may take in memory: the largest structure of a list is
// smaller than a kilobyte.
func (s *skimmer) list(f field, keep bool, depth int) error {
	begin := s.at
	head, err := s.byte()
	if err != nil {
		return err
	}
	n, kind := uint64(head>>4), head&15
	if n == 15 {
		if n, err = s.uvarint(); err != nil {
			return err
		}
	}
	if keep && n > 0 && kind != f.each {
		return errors.New("has a list of another kind than it should")
	}
	each := uint64(32)
	if kind == record {
		each = 1024
	}
	if n > uint64(s.room)/each {
		return errors.New("is too large")
	}
	if depth > maxDepth {
		return errors.New("is nested too deeply")
	}
	s.room -= int(n * each)
	if s.copy(keep && n > 0, s.b[begin:s.at]...); n == 0 {
		s.copy(keep, f.each) // an empty list may be of any kind
	}
	for range n {
		if err := s.value(kind, field{kind: kind, of: f.of}, keep, depth+1); err != nil {
			return err
		}
	}
	return nil
}
