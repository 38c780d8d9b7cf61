package tabular

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Writer writes rows of one table.
type Writer interface {
	// Write takes a row. Its number is not used.
	Write(*Row) error
	// Close writes what is outstanding. It does not close what is written to.
	Close() error
}

// WriteOptions say how a table is written.
type WriteOptions struct {
	Format  Format
	Comma   byte // of CSV; 0 is ','
	Columns []Column
}

// NewWriter begins a table. Text is written in UTF-8.
func NewWriter(w io.Writer, o WriteOptions) (Writer, error) {
	switch o.Format {
	case CSV:
		if o.Comma == 0 {
			o.Comma = ','
		}
		c := &csvWriter{out: bufio.NewWriterSize(w, 256<<10), comma: o.Comma}
		header := Row{}
		for _, column := range o.Columns {
			header.Cells = append(header.Cells, []byte(column.Name))
		}
		return c, c.Write(&header)
	case JSONLines:
		return newJSONWriter(w, o.Columns), nil
	case Parquet:
		return newParquetWriter(w, o.Columns), nil
	}
	return nil, errors.New("there is no format to write")
}

type csvWriter struct {
	out   *bufio.Writer
	comma byte
}

// Write writes a row, with quotes where they are needed.
func (c *csvWriter) Write(r *Row) error {
	for i, cell := range r.Cells {
		if i > 0 {
			c.out.WriteByte(c.comma) // its error comes again from the last write
		}
		guard := formula(cell)
		if !guard && !c.special(cell) && (len(cell) > 0 || len(r.Cells) > 1) {
			c.out.Write(cell)
			continue
		}
		c.out.WriteByte('"')
		if guard {
			c.out.WriteByte('\'')
		}
		for {
			q := bytes.IndexByte(cell, '"')
			if q < 0 {
				break
			}
			c.out.Write(cell[:q+1])
			c.out.WriteByte('"')
			cell = cell[q+1:]
		}
		c.out.Write(cell)
		c.out.WriteByte('"')
	}
	return c.out.WriteByte('\n')
}

func (c *csvWriter) special(cell []byte) bool {
	for _, b := range cell {
		if b == c.comma || b == '"' || b == '\n' || b == '\r' {
			return true
		}
	}
	return len(cell) > 0 && (cell[0] == ' ' || cell[len(cell)-1] == ' ')
}

func (c *csvWriter) Close() error { return c.out.Flush() }

// formula says whether a spreadsheet would take a cell for a formula: it begins with one
// of the characters that OWASP names and is not just a number.
func formula(cell []byte) bool {
	start := bytes.TrimLeft(cell, " ")
	if len(start) == 0 {
		return false
	}
	switch start[0] {
	case '=', '@', '\t', '\r', '\n':
		return true
	case '+', '-':
		_, err := strconv.ParseFloat(string(start), 64)
		return err != nil || strings.ContainsAny(string(start[1:2]), "iInN")
	}
	return false
}

type jsonWriter struct {
	out   *bufio.Writer
	names [][]byte // of each column, quoted and with its colon
	room  []byte
}

func newJSONWriter(w io.Writer, columns []Column) *jsonWriter {
	j := &jsonWriter{out: bufio.NewWriterSize(w, 256<<10)}
	for _, c := range columns {
		j.names = append(j.names, append(appendQuoted(nil, []byte(c.Name)), ':'))
	}
	return j
}

func (j *jsonWriter) Write(r *Row) error {
	b := append(j.room[:0], '{')
	for i, cell := range r.Cells {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, j.names[i]...)
		kind := Text
		if r.Kinds != nil {
			kind = r.Kinds[i]
		}
		switch {
		case kind == Missing || len(cell) == 0 && (r.Kinds == nil || kind != Text):
			b = append(b, "null"...)
		case kind == Text:
			b = appendQuoted(b, cell)
		default:
			b = append(b, cell...)
		}
	}
	j.room = append(b, "}\n"...)
	_, err := j.out.Write(j.room)
	return err
}

func (j *jsonWriter) Close() error { return j.out.Flush() }

// appendQuoted writes a JSON string.
func appendQuoted(b, text []byte) []byte {
	plain := true
	for _, c := range text {
		plain = plain && c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf && c != '<' && c != '>' && c != '&'
	}
	if plain {
		b = append(b, '"')
		b = append(b, text...)
		return append(b, '"')
	}
	quoted, err := json.Marshal(string(text))
	if err != nil {
		return append(b, `""`...) // a string has none
	}
	return append(b, quoted...)
}
