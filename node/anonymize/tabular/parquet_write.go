package tabular

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"github.com/parquet-go/parquet-go"
)

// writeAtOnce is how many rows are given to the Parquet library at a time, and
// rowsOfGroup how many it keeps in one group, which bounds its memory.
const (
	writeAtOnce = 256
	rowsOfGroup = 100_000
)

// schema is a Parquet schema whose columns stay in their order.
type schema struct {
	parquet.Group
	order []parquet.Field
}

func (s schema) Fields() []parquet.Field { return s.order }

func schemaOf(columns []Column) *parquet.Schema {
	s := schema{Group: parquet.Group{}}
	for _, c := range columns {
		node := parquet.String()
		switch c.Type {
		case Whole:
			node = parquet.Int(64)
		case Real:
			node = parquet.Leaf(parquet.DoubleType)
		case Truth:
			node = parquet.Leaf(parquet.BooleanType)
		case Day:
			node = parquet.Date()
		}
		s.Group[c.Name] = parquet.Optional(node)
	}
	byName := map[string]parquet.Field{}
	for _, f := range s.Group.Fields() {
		byName[f.Name()] = f
	}
	for _, c := range columns {
		s.order = append(s.order, byName[c.Name])
	}
	return parquet.NewSchema("release", s)
}

type parquetWriter struct {
	out     *parquet.GenericWriter[any]
	columns []Column
	rows    []parquet.Row
}

func newParquetWriter(w io.Writer, columns []Column) *parquetWriter {
	return &parquetWriter{
		out:     parquet.NewGenericWriter[any](w, schemaOf(columns), parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(rowsOfGroup)),
		columns: columns,
	}
}

func (p *parquetWriter) Write(r *Row) error {
	row := make(parquet.Row, len(r.Cells))
	for i, cell := range r.Cells {
		v, err := valueOf(cell, p.columns[i].Type)
		if err != nil {
			return fmt.Errorf("column %s: %w", quote.Name(p.columns[i].Name), err)
		}
		defined := 1
		if v.IsNull() {
			defined = 0
		}
		row[i] = v.Level(0, defined, i)
	}
	if p.rows = append(p.rows, row); len(p.rows) < writeAtOnce {
		return nil
	}
	return p.flush()
}

func (p *parquetWriter) flush() error {
	_, err := p.out.WriteRows(p.rows)
	p.rows = p.rows[:0]
	return err
}

func (p *parquetWriter) Close() error {
	if err := p.flush(); err != nil {
		return err
	}
	return p.out.Close()
}

// valueOf is a cell as a value of a type. An empty one is missing.
func valueOf(cell []byte, t Type) (parquet.Value, error) {
	if len(cell) == 0 {
		return parquet.NullValue(), nil
	}
	text := string(cell)
	switch t {
	case Whole:
		n, err := strconv.ParseInt(text, 10, 64)
		return parquet.Int64Value(n), wrong(err, "a whole number")
	case Real:
		x, err := strconv.ParseFloat(text, 64)
		return parquet.DoubleValue(x), wrong(err, "a number")
	case Truth:
		b, err := strconv.ParseBool(text)
		return parquet.BooleanValue(b), wrong(err, "true or false")
	case Day:
		d, err := time.Parse(dayForm, text)
		return parquet.Int32Value(int32(d.Unix() / 86400)), wrong(err, "a date")
	}
	return parquet.ByteArrayValue([]byte(text)), nil
}

func wrong(err error, what string) error {
	if err != nil {
		return fmt.Errorf("a cell is not %s", what)
	}
	return nil
}
