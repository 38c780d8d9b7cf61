package tabular

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"
)

// Type is what the cells of a column are in a format that has types, which Parquet alone
// has here.
type Type int

// The types. Whole, Real, Truth and Day are kept from one Parquet file to another;
// everything else becomes text.
const (
	TextType Type = iota
	Whole
	Real
	Truth
	Day
)

// Parquet text of dates and times.
const (
	dayForm  = "2006-01-02"
	timeForm = "2006-01-02T15:04:05.999999999Z07:00"
)

// openParquet reads the schema. Columns of columns and lists are refused by name.
func (s *Source) openParquet() (err error) {
	defer recovered(&err)
	meta, err := readFooter(s.file, s.size)
	if err != nil {
		return err
	}
	s.encoding = UTF8
	p := &columnar{source: s, meta: meta}
	if p.file, err = standIn(meta); err != nil {
		return err
	}
	for _, leaf := range p.file.Root().Columns() {
		most := MaxRow
		if l := leaf.Type().LogicalType(); l != nil && l.Decimal != nil {
			if l.Decimal.Scale > maxScale {
				return damaged("numbers of column %s have %d decimal places", quote.Value(leaf.Name()), l.Decimal.Scale)
			}
			most = maxDecimal
		}
		show, kind, t := shown(leaf.Type())
		p.show, p.kinds, p.most = append(p.show, show), append(p.kinds, kind), append(p.most, most)
		if err := s.name(leaf.Name(), t); err != nil {
			return err
		}
	}
	if len(s.columns) == 0 {
		return ErrEmpty
	}
	s.body = p
	return nil
}

// recovered makes an error of a panic of the Parquet library, which expects files to be
// as their writers say.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = damaged("%v", p)
	}
}

type columnar struct {
	source *Source
	meta   *format.FileMetaData
	file   *parquet.File // has no pages
	show   []func([]byte, parquet.Value) []byte
	kinds  []Kind
	most   []int // bytes of a value of each column
}

// Decimal numbers are read out in full, which takes more than their bytes and places.
const (
	maxScale   = 1024
	maxDecimal = 512 // bytes
)

// rows reads the file by its own ways, row group by row group.
func (p *columnar) rows(_ io.Reader, out *feed) (err error) {
	defer recovered(&err)
	number := 0
	for i := range p.meta.RowGroups {
		if number, err = p.group(&p.meta.RowGroups[i], number, out); err != nil {
			return err
		}
	}
	return nil
}

// group reads a row group column by column, a page of each at a time.
func (p *columnar) group(group *format.RowGroup, number int, out *feed) (int, error) {
	leaves, chunks := p.file.Root().Columns(), p.file.RowGroups()[0].ColumnChunks()
	if len(group.Columns) != len(leaves) {
		return number, damaged("a row group has %d columns", len(group.Columns))
	}
	shared := &scratch{file: p.source.file, left: openLimit(p.source.size)}
	columns := make([]cells, len(leaves))
	for c, leaf := range leaves {
		from, err := newChunk(shared, leaf, &group.Columns[c].MetaData, p.source.size)
		if err != nil {
			return number, damaged("%w", err)
		}
		columns[c].chunk, columns[c].pages = from, chunks[c].(*parquet.FileColumnChunk).PagesFrom(from)
		defer columns[c].pages.Close()
	}
	row := make([]parquet.Value, len(columns))
	for range group.NumRows {
		number++
		for c := range columns {
			var err error
			if row[c], err = columns[c].next(); err != nil {
				return number, fmt.Errorf("%w at row %d: %w", errDamaged, number, err)
			}
		}
		if err := p.row(row, number, out); err != nil {
			return number, err
		}
	}
	return number, nil
}

// cells are the values of a column in one row group.
type cells struct {
	chunk  *chunk
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	room   [128]parquet.Value
	at, n  int
}

func (c *cells) next() (parquet.Value, error) {
	for c.at == c.n {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if c.chunk.err != nil { // without what the library says of it
				err = c.chunk.err
			}
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return parquet.Value{}, err
			}
			if page.NumValues()-page.NumNulls() > held(page) { // the library would look for them for ever
				return parquet.Value{}, errors.New("a page has fewer values than it says")
			}
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(c.room[:])
		switch {
		case n > 0:
		case errors.Is(err, io.EOF):
			parquet.Release(c.page)
			c.values = nil
		case err == nil:
			return parquet.Value{}, io.ErrNoProgress
		default:
			return parquet.Value{}, err
		}
		c.at, c.n = 0, n
	}
	c.at++
	return c.room[c.at-1], nil
}

// held is how many values that are no nulls a page has.
func held(page parquet.Page) int64 {
	v := page.Data()
	n := 0
	switch v.Kind() {
	case encoding.Boolean:
		n = 8 * len(v.Boolean())
	case encoding.Int32:
		n = len(v.Int32())
	case encoding.Int64:
		n = len(v.Int64())
	case encoding.Int96:
		n = len(v.Int96())
	case encoding.Float:
		n = len(v.Float())
	case encoding.Double:
		n = len(v.Double())
	case encoding.ByteArray:
		_, offsets := v.ByteArray()
		n = max(0, len(offsets)-1)
	case encoding.FixedLenByteArray:
		data, size := v.FixedLenByteArray()
		n = len(data) / max(1, size)
	default: // no values at all: a column of nulls
	}
	return int64(n)
}

func (p *columnar) row(row []parquet.Value, number int, out *feed) error {
	begin := len(out.open())
	for c, v := range row {
		kind, text := Missing, out.open()
		if !v.IsNull() {
			if k := v.Kind(); (k == parquet.ByteArray || k == parquet.FixedLenByteArray) && len(v.ByteArray()) > p.most[c] {
				return &RowError{number, "row", fmt.Errorf("has a value of %d bytes in column %s, which are too many", len(v.ByteArray()), quote.Value(p.source.columns[c].Name))}
			}
			before := len(text)
			kind, text = p.kinds[c], p.show[c](text, v)
			if !utf8.Valid(text[before:]) {
				return &RowError{number, "row", fmt.Errorf("has bytes in column %s that are not text: %w", quote.Value(p.source.columns[c].Name), ErrEncoding)}
			}
		}
		out.shut(text)
		out.current.kinds = append(out.current.kinds, kind)
		if len(out.open())-begin > MaxRow {
			return &RowError{number, "row", ErrTooLong}
		}
	}
	return out.end(number)
}

// shown says how values of a type are written as text.
func shown(t parquet.Type) (func([]byte, parquet.Value) []byte, Kind, Type) {
	logical := t.LogicalType()
	switch {
	case logical == nil:
	case logical.Date != nil:
		return func(b []byte, v parquet.Value) []byte {
			return time.Unix(int64(v.Int32())*86400, 0).UTC().AppendFormat(b, dayForm)
		}, Text, Day
	case logical.Timestamp != nil:
		unit := int64(1)
		if logical.Timestamp.Unit.Millis != nil {
			unit = 1e6
		} else if logical.Timestamp.Unit.Micros != nil {
			unit = 1e3
		}
		per := 1e9 / unit
		return func(b []byte, v parquet.Value) []byte {
			return time.Unix(v.Int64()/per, v.Int64()%per*unit).UTC().AppendFormat(b, timeForm)
		}, Text, TextType
	case logical.Decimal != nil:
		scale := int(logical.Decimal.Scale)
		return func(b []byte, v parquet.Value) []byte { return appendDecimal(b, v, scale) }, Number, TextType
	case logical.UUID != nil:
		return func(b []byte, v parquet.Value) []byte { return hex.AppendEncode(b, v.ByteArray()) }, Text, TextType
	case logical.Integer != nil && !logical.Integer.IsSigned:
		return func(b []byte, v parquet.Value) []byte {
			if v.Kind() == parquet.Int32 {
				return strconv.AppendUint(b, uint64(v.Uint32()), 10)
			}
			return strconv.AppendUint(b, v.Uint64(), 10)
		}, Number, TextType
	}
	switch t.Kind() {
	case parquet.Boolean:
		return func(b []byte, v parquet.Value) []byte { return strconv.AppendBool(b, v.Boolean()) }, Boolean, Truth
	case parquet.Int32:
		return func(b []byte, v parquet.Value) []byte { return strconv.AppendInt(b, int64(v.Int32()), 10) }, Number, Whole
	case parquet.Int64:
		return func(b []byte, v parquet.Value) []byte { return strconv.AppendInt(b, v.Int64(), 10) }, Number, Whole
	case parquet.Float:
		return func(b []byte, v parquet.Value) []byte { return appendReal(b, float64(v.Float()), 32) }, Number, Real
	case parquet.Double:
		return func(b []byte, v parquet.Value) []byte { return appendReal(b, v.Double(), 64) }, Number, Real
	case parquet.Int96:
		return appendInt96, Text, TextType
	}
	return func(b []byte, v parquet.Value) []byte { return append(b, v.ByteArray()...) }, Text, TextType
}

// appendReal writes a number; one that is none is missing.
func appendReal(b []byte, x float64, bits int) []byte {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return b
	}
	return strconv.AppendFloat(b, x, 'f', -1, bits)
}

func appendDecimal(b []byte, v parquet.Value, scale int) []byte {
	n := new(big.Int)
	switch v.Kind() {
	case parquet.Int32:
		n.SetInt64(int64(v.Int32()))
	case parquet.Int64:
		n.SetInt64(v.Int64())
	default:
		raw := v.ByteArray()
		n.SetBytes(raw)
		if len(raw) > 0 && raw[0] >= 0x80 { // two's complement
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
		}
	}
	if scale <= 0 {
		return n.Append(b, 10)
	}
	return append(b, new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(scale)...)
}

// appendInt96 writes the timestamps of old writers: nanoseconds of a Julian day.
func appendInt96(b []byte, v parquet.Value) []byte {
	const unixEpoch = 2440588
	var i deprecated.Int96 = v.Int96()
	nanos := int64(uint64(i[1])<<32 | uint64(i[0]))
	return time.Unix((int64(i[2])-unixEpoch)*86400, nanos).UTC().AppendFormat(b, timeForm)
}
