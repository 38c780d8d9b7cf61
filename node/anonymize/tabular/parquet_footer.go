package tabular

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
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
	var meta format.FileMetaData
	n, err := decode(raw, description, &meta)
	if err == nil && n < len(raw) {
		err = errors.New("has something behind its end")
	}
	if err != nil {
		return nil, damaged("its description %w", err)
	}
	return &meta, nil
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
			return fmt.Errorf("%w: column %s", ErrNested, quote.Value(e.Name))
		}
		if e.TypeLength != nil && (*e.TypeLength < 0 || *e.TypeLength > MaxRow) {
			return damaged("values of column %s have %d bytes", quote.Value(e.Name), *e.TypeLength)
		}
	}
	if n := schema[0].NumChildren; n == nil || int(*n) != len(schema)-1 {
		return damaged("its schema has other columns than it says")
	}
	return nil
}
