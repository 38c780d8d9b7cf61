package tabular

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Commas are the delimiters that are recognised, the first of equals first.
const Commas = ",;\t|"

// openCSV reads the header in a sample of the text.
func (s *Source) openCSV(text []byte) error {
	if s.comma == 0 {
		s.comma = comma(text)
	}
	d := &delimited{encoding: s.encoding, comma: s.comma}
	s.body = d
	out := newFeed(context.Background())
	n, err := d.row(newLines(bytes.NewReader(text)), out)
	if errors.Is(err, io.EOF) {
		return ErrEmpty
	}
	if err != nil {
		return err
	}
	begin := 0
	for _, end := range out.current.ends[:n] {
		if err := s.name(string(out.current.text[begin:end]), TextType); err != nil {
			return err
		}
		begin = end
	}
	d.columns = n
	return nil
}

// comma is the delimiter that stands in most lines equally often. Text in quotes does
// not count.
func comma(text []byte) byte {
	var counts [len(Commas)][]int
	line, quoted := [len(Commas)]int{}, false
	for i := 0; i < len(text) && len(counts[0]) < 50; i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\n':
			for k := range counts {
				counts[k] = append(counts[k], line[k])
			}
			line = [len(Commas)]int{}
		default:
			if k := bytes.IndexByte([]byte(Commas), c); k >= 0 {
				line[k]++
			}
		}
	}
	if len(counts[0]) == 0 {
		for k := range counts {
			counts[k] = []int{line[k]}
		}
	}
	best, found := 0, Commas[0]
	for k := range counts {
		agree := 0
		for _, n := range counts[k] {
			if n > 0 && n == counts[k][0] {
				agree++
			}
		}
		if score := agree<<16 + counts[k][0]; agree > 0 && score > best {
			best, found = score, Commas[k]
		}
	}
	return found
}

// delimited reads CSV as RFC 4180 has it, with line feeds alone too, and with quotes
// inside of cells that do not begin with one.
type delimited struct {
	encoding Encoding
	comma    byte
	columns  int
}

func (d *delimited) rows(in io.Reader, out *feed) error {
	l := newLines(d.encoding.decode(in))
	header := true
	for {
		number, before, text := l.number+1, len(out.current.ends), len(out.current.text)
		n, err := d.row(l, out)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header {
			header = false
			out.current.ends, out.current.text = out.current.ends[:before], out.current.text[:text]
			continue
		}
		if n != d.columns {
			return &RowError{number, "line", fmt.Errorf("has %d cells, and the header has %d: %w", n, d.columns, ErrRagged)}
		}
		if err := out.end(number); err != nil {
			return err
		}
	}
}

// row reads the next row that is not an empty line, and says how many cells it has. The
// error at the end is io.EOF.
func (d *delimited) row(l *lines, out *feed) (int, error) {
	for {
		n, err := l.find(0)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, io.EOF
		}
		line := trim(l.row(n))
		if len(line) == 0 {
			l.skip(n)
			continue
		}
		if bytes.IndexByte(line, '"') >= 0 {
			return d.quoted(l, n, out)
		}
		if err := l.check(line); err != nil {
			return 0, err
		}
		cells := 1
		for {
			i := bytes.IndexByte(line, d.comma)
			if i < 0 {
				break
			}
			out.cell(line[:i])
			line = line[i+1:]
			cells++
		}
		out.cell(line)
		l.number++
		l.start += n
		return cells, nil
	}
}

// quoted reads a row that has quotes and may go on over several lines, of which the first
// has n bytes.
func (d *delimited) quoted(l *lines, n int, out *feed) (cells int, err error) {
	row, i := l.row(n), 0
	for {
		text := out.open()
		if i < len(row) && row[i] == '"' {
			i++
			for {
				j := bytes.IndexByte(row[i:], '"')
				if j < 0 {
					text = append(text, row[i:]...)
					i = n
					if n, err = l.find(n); err != nil {
						return 0, err
					}
					if n == i {
						return 0, l.fault(ErrQuote)
					}
					row = l.row(n)
					continue
				}
				text = append(text, row[i:i+j]...)
				i += j + 1
				if i == len(row) || row[i] != '"' {
					break
				}
				text = append(text, '"')
				i++
			}
		} else {
			j := bytes.IndexByte(row[i:], d.comma)
			if j < 0 {
				j = len(trim(row[i:]))
			}
			text = append(text, row[i:i+j]...)
			i += j
		}
		out.shut(text)
		cells++
		if i < len(row) && row[i] == d.comma {
			i++
			continue
		}
		if len(trim(row[i:])) > 0 {
			return 0, l.fault(ErrQuote)
		}
		if err := l.check(row); err != nil {
			return 0, err
		}
		l.skip(n)
		return cells, nil
	}
}

// trim takes the line end off.
func trim(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
		if n > 1 && line[n-2] == '\r' {
			line = line[:n-2]
		}
	}
	return line
}
