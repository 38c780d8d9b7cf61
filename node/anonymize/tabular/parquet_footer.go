package tabular

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The library that decodes Parquet believes what a file says of its sizes: a few bytes can
// have it allocate gigabytes, nest until the stack ends, or decompress for ever. So it is
// never shown the file. What follows reads the footer and the headers of pages, refuses
// those that ask for more than these bounds, decompresses, and gives the library pages
// that have been looked through.
const (
	maxFooter     = 16 << 20 // bytes of the description of the file
	maxPageHeader = 1 << 20
	maxPage       = 32 << 20 // bytes of a page, compressed or not
	maxPageValues = 4 << 20  // values of a page
	maxDescribed  = 64 << 20 // bytes of memory that a footer may become
	maxDepth      = 32       // of structures within structures
)

// openLimit is how many bytes all pages may have that are open at a time, one a column: a
// small file has no reason to become a large one, and no table needs more than the most.
func openLimit(size int64) int { return int(min(64<<20+16*size, 512<<20)) }

var errDamaged = errors.New("the Parquet file is damaged")

func damaged(form string, a ...any) error {
	return fmt.Errorf("%w: %w", errDamaged, fmt.Errorf(form, a...))
}

// readFooter reads what the file says of itself, from its end.
func readFooter(f io.ReaderAt, size int64) (*format.FileMetaData, error) {
	var tail [8]byte
	if size < 12 {
		return nil, damaged("it is too short")
	}
	if _, err := f.ReadAt(tail[:], size-8); err != nil {
		return nil, damaged("%w", err)
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	switch {
	case string(tail[4:]) == "PARE":
		return nil, damaged("it is encrypted")
	case string(tail[4:]) != "PAR1":
		return nil, damaged("it has no end")
	case length > min(size-12, maxFooter):
		return nil, damaged("its description has %d bytes, and %d at most", length, min(size-12, maxFooter))
	}
	raw := make([]byte, length)
	if _, err := f.ReadAt(raw, size-8-length); err != nil {
		return nil, damaged("%w", err)
	}
	n, err := skim(raw)
	if err == nil && n < len(raw) {
		err = errors.New("has something behind its end")
	}
	if err != nil {
		return nil, damaged("its description %w", err)
	}
	var meta format.FileMetaData
	if err := decode(raw, &meta); err != nil {
		return nil, damaged("%w", err)
	}
	return &meta, nil
}

// decode reads a structure that was skimmed. It is strict: otherwise the library reads on
// within a value that is of another kind than it expects, where nothing was skimmed.
func decode(raw []byte, v any) error {
	d := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(bytes.NewReader(raw)))
	d.SetStrict(true)
	return d.Decode(v)
}

// standIn is a file of one row group that has the schema and nothing else, for the
// library to open: pages come from [chunk]s.
func standIn(meta *format.FileMetaData) (*parquet.File, error) {
	if err := flat(meta.Schema); err != nil {
		return nil, err
	}
	var group format.RowGroup
	for _, e := range meta.Schema[1:] {
		group.Columns = append(group.Columns, format.ColumnChunk{MetaData: format.ColumnMetaData{
			Type: *e.Type, Encoding: []format.Encoding{format.Plain}, PathInSchema: []string{e.Name}, Codec: format.Uncompressed,
			DataPageOffset: 4, TotalCompressedSize: math.MaxInt32}})
	}
	raw, err := thrift.Marshal(new(thrift.CompactProtocol), &format.FileMetaData{Version: meta.Version, Schema: meta.Schema, RowGroups: []format.RowGroup{group}})
	if err != nil {
		return nil, damaged("%w", err)
	}
	alone := append([]byte("PAR1"), raw...)
	alone = binary.LittleEndian.AppendUint32(alone, uint32(len(raw)))
	alone = append(alone, "PAR1"...)
	file, err := parquet.OpenFile(bytes.NewReader(alone), int64(len(alone)), parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return nil, damaged("%w", err)
	}
	return file, nil
}

// flat refuses columns of columns and lists by name, and values of a fixed size that is
// longer than a row may be.
func flat(schema []format.SchemaElement) error {
	if len(schema) == 0 {
		return damaged("it has no schema")
	}
	for _, e := range schema[1:] {
		if e.NumChildren != nil && *e.NumChildren > 0 || e.Type == nil || e.RepetitionType != nil && *e.RepetitionType == format.Repeated {
			return fmt.Errorf("%w: column %q", ErrNested, e.Name)
		}
		if e.TypeLength != nil && (*e.TypeLength < 0 || *e.TypeLength > MaxRow) {
			return damaged("values of column %q have %d bytes", e.Name, *e.TypeLength)
		}
	}
	if n := schema[0].NumChildren; n == nil || int(*n) != len(schema)-1 {
		return damaged("its schema has other columns than it says")
	}
	return nil
}

// errShort is met where a structure goes on behind the bytes that there are.
var errShort = errors.New("goes on behind its end")

// skim finds the end of a structure in Thrift's compact protocol, and refuses one whose
// decoding would take more memory or deeper calls than is good, before it is decoded.
func skim(b []byte) (length int, err error) {
	s := &skimmer{b: b, room: maxDescribed}
	if err := s.structure(0); err != nil {
		return 0, err
	}
	return s.at, nil
}

type skimmer struct {
	b    []byte
	at   int
	room int // bytes of memory that lists may still take
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

func (s *skimmer) structure(depth int) error {
	if depth > maxDepth {
		return errors.New("is nested too deeply")
	}
	for {
		head, err := s.byte()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 { // the number of the field follows
			if _, err := s.uvarint(); err != nil {
				return err
			}
		}
		if kind := head & 15; kind != 1 && kind != 2 { // truths are in the head
			if err := s.value(kind, depth); err != nil {
				return err
			}
		}
	}
}

// value passes over a value. What it costs in memory is a bound, not a measure: the
// largest structure of a list is smaller than a kilobyte.
func (s *skimmer) value(kind byte, depth int) error {
	switch kind {
	case 1, 2, 3: // truths in a list, bytes
		return s.skip(1)
	case 4, 5, 6:
		_, err := s.uvarint()
		return err
	case 7:
		return s.skip(8)
	case 8:
		n, err := s.uvarint()
		if err != nil {
			return err
		}
		return s.skip(n)
	case 9, 10:
		return s.list(depth)
	case 12:
		return s.structure(depth + 1)
	}
	return errors.New("has a value of no known kind") // no map is in Parquet
}

func (s *skimmer) list(depth int) error {
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
	each := uint64(32)
	if kind == 12 {
		each = 1024
	}
	if n > uint64(s.room)/each {
		return errors.New("is too large")
	}
	s.room -= int(n * each)
	for range n {
		if err := s.value(kind, depth+1); err != nil {
			return err
		}
	}
	if depth > maxDepth {
		return errors.New("is nested too deeply")
	}
	return nil
}
