// Package tabular reads and writes tables in files: CSV, JSON lines and Parquet.
//
// A [Source] is a file whose form was recognised: its format, encoding, delimiter and
// columns. It can be read any number of times, each time in one pass from the first row
// to the last, in an amount of memory that does not depend on the file's size:
//
//	s, err := tabular.Open(file, size, tabular.Options{})
//	sum, err := s.Each(ctx, func(r *tabular.Row) error {
//		... r.Cells[i] is of s.Columns()[i]
//	})
//
// Each returns the SHA-256 of what it read, so that two passes are known to have seen the
// same file. Whatever is not a table is refused with the line that is not: rows of
// another length than the header, text that is not in the encoding, nested values.
//
// # Cells
//
// A cell is UTF-8 text and a [Kind]. An empty one, a null and a field that a JSON object
// lacks are the same: a missing value. Options.Missing names other texts that mean
// missing, such as "?" or "NA"; they become empty.
//
// # Memory
//
// A row has [MaxRow] bytes at most. Parquet is read by pages, one of each column at a time,
// and what a file says of their sizes is checked before memory is allocated: a page has 32
// MiB and four million values at most, and all that are open 64 MiB and 16 bytes for each
// byte of the file, 512 MiB at most. A file that asks for more is refused as damaged.
//
// # Output
//
// [Create] begins a file beside the one that is to be, and [Output.Commit] puts it there
// under its name when all is written and flushed; until then, and if anything fails,
// there is nothing under that name. CSV is written so that a spreadsheet takes no cell for
// a formula. [Shuffle] puts rows into a random order on their way.
package tabular

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"golang.org/x/sync/errgroup"
)

// Bounds of what is read.
const (
	MaxRow     = 16 << 20 // bytes of a row, as it stands in the file
	MaxColumns = 4096
)

// sample is how much of a file is looked at to recognise its form.
const sample = 1 << 20

// Format is how rows are laid down in a file.
type Format int

// The formats. Automatic is the zero value: recognised by content when reading.
const (
	Automatic Format = iota
	CSV
	JSONLines
	Parquet
)

func (f Format) String() string {
	return [...]string{"automatic", "CSV", "JSON lines", "Parquet"}[f]
}

// FormatOf is the format that a file's name asks for, or Automatic.
func FormatOf(name string) Format {
	switch name = strings.ToLower(name); {
	case strings.HasSuffix(name, ".csv"), strings.HasSuffix(name, ".tsv"), strings.HasSuffix(name, ".txt"):
		return CSV
	case strings.HasSuffix(name, ".jsonl"), strings.HasSuffix(name, ".ndjson"), strings.HasSuffix(name, ".json"):
		return JSONLines
	case strings.HasSuffix(name, ".parquet"):
		return Parquet
	}
	return Automatic
}

// Kind is what a cell is in a format that tells.
type Kind uint8

// The kinds.
const (
	Text Kind = iota
	Number
	Boolean
	Missing
)

// Column is a column, and what its cells are if the file says so.
type Column struct {
	Name string
	Type Type
}

// Row is what [Source.Each] shows, valid until the function returns.
type Row struct {
	// Number is the line that the row begins on, or in Parquet the row, from 1.
	Number int
	Cells  [][]byte
	// Kinds is nil where all cells are text.
	Kinds []Kind
}

// A RowError says where a table is not one. Its text has no cell in it.
type RowError struct {
	Number int
	Unit   string // "line" or "row"
	Err    error
}

func (e *RowError) Error() string { return fmt.Sprintf("%s %d %v", e.Unit, e.Number, e.Err) }

func (e *RowError) Unwrap() error { return e.Err }

// What can be wrong with a row or a file, for those who say what to do about it.
var (
	ErrEmpty    = errors.New("the file is empty")
	ErrRagged   = errors.New("a row has another number of cells than the header")
	ErrTooLong  = fmt.Errorf("is longer than %d MiB", MaxRow>>20)
	ErrEncoding = errors.New("is not in the file's encoding")
	ErrQuote    = errors.New("has a quote that is not closed, or text after a closed one")
	ErrNested   = errors.New("holds values within values")
	ErrArray    = errors.New("the file is one JSON array")
)

// Options say what is known of a file. What they leave out is recognised.
type Options struct {
	Format   Format
	Comma    byte     // of CSV
	Encoding Encoding // of CSV and JSON lines
	Missing  []string // texts that stand for a missing value, beside the empty one
}

// Source is a file that holds a table. Several goroutines may read it.
type Source struct {
	file     io.ReaderAt
	size     int64
	format   Format
	encoding Encoding
	comma    byte
	columns  []Column
	missing  map[string]bool
	body     body
}

// body reads rows of one format.
type body interface {
	// rows gives all rows below the header to out. It reads through in, which hands on
	// bytes of the file as they are, or says that it read otherwise.
	rows(in io.Reader, out *feed) error
}

// Open recognises a file of so many bytes. Its first rows are read for it.
func Open(f io.ReaderAt, size int64, o Options) (*Source, error) {
	head := make([]byte, min(size, sample))
	if n, err := f.ReadAt(head, 0); n < len(head) {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	if len(head) == 0 {
		return nil, ErrEmpty
	}
	s := &Source{file: f, size: size, format: o.Format, encoding: o.Encoding, comma: o.Comma, missing: map[string]bool{}}
	for _, m := range o.Missing {
		s.missing[m] = true
	}
	if s.format == Automatic && bytes.HasPrefix(head, []byte("PAR1")) {
		s.format = Parquet
	}
	if s.format == Parquet {
		return s, s.openParquet()
	}
	whole := int64(len(head)) == size
	if s.encoding == Unknown {
		s.encoding = recognise(head, whole)
	}
	text, err := io.ReadAll(s.encoding.decode(bytes.NewReader(head)))
	if err != nil && whole {
		return nil, err
	}
	if s.format == Automatic {
		s.format = CSV
		if start := bytes.TrimLeft(text, " \t\r\n"); len(start) > 0 && start[0] == '{' {
			s.format = JSONLines
		} else if isArray(start) {
			return nil, ErrArray
		}
	}
	if s.format == JSONLines {
		return s, s.openJSON(text, whole)
	}
	return s, s.openCSV(text)
}

// Columns of the table, in their order.
func (s *Source) Columns() []Column { return s.columns }

// Format of the file.
func (s *Source) Format() Format { return s.format }

// Encoding of the file's text; UTF8 for Parquet.
func (s *Source) Encoding() Encoding { return s.encoding }

// Comma is what separates cells of CSV, and "," for other formats.
func (s *Source) Comma() byte {
	if s.comma == 0 {
		return ','
	}
	return s.comma
}

// Unit is what [Row.Number] counts: "line", or "row" of Parquet.
func (s *Source) Unit() string {
	if s.format == Parquet {
		return "row"
	}
	return "line"
}

// Size of the file in bytes.
func (s *Source) Size() int64 { return s.size }

// name adds a column, with a name made for one that has none.
func (s *Source) name(name string, t Type) error {
	if name == "" {
		name = fmt.Sprintf("column %d", len(s.columns)+1)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("the name of column %d is not UTF-8", len(s.columns)+1)
	}
	for _, c := range s.columns {
		if c.Name == name {
			return fmt.Errorf("two columns are named %s", quote.Value(name))
		}
	}
	if len(s.columns) == MaxColumns {
		return fmt.Errorf("the table has more than %d columns", MaxColumns)
	}
	s.columns = append(s.columns, Column{name, t})
	return nil
}

// Each shows every row to visit, in the order of the file, and returns the SHA-256 of the
// file. It ends with the first error of the file or of visit, or with ctx.
func (s *Source) Each(ctx context.Context, visit func(*Row) error) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	in := io.TeeReader(io.NewSectionReader(s.file, 0, s.size), hash)
	g, ctx := errgroup.WithContext(ctx)
	out := newFeed(ctx)
	g.Go(func() error {
		defer close(out.full)
		if err := s.body.rows(in, out); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, in); err != nil { // what the format had no need to read
			return err
		}
		return out.send()
	})
	g.Go(func() error { return s.show(out, visit) })
	if err := g.Wait(); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

// show hands the rows of each batch to visit.
func (s *Source) show(out *feed, visit func(*Row) error) error {
	width := len(s.columns)
	row := Row{Cells: make([][]byte, width)}
	for b := range out.full {
		begin := 0
		for i, number := range b.numbers {
			row.Number = number
			if b.kinds != nil {
				row.Kinds = b.kinds[i*width:][:width]
			}
			for c, end := range b.ends[i*width:][:width] {
				row.Cells[c] = b.text[begin:end:end]
				begin = end
				if len(s.missing) > 0 && s.missing[string(row.Cells[c])] {
					row.Cells[c] = nil
					if row.Kinds != nil {
						row.Kinds[c] = Missing
					}
				}
			}
			if err := visit(&row); err != nil {
				return err
			}
		}
		out.recycle(b)
	}
	return nil
}
