package hierarchy

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
)

// MaxFile is the largest file that [Read] takes, in bytes.
const MaxFile = 64 << 20

// Read reads the form that the package comment shows. The separator is the one of
// ";", tab and "," that the first line has, in this order; cells may be quoted. The
// error names the line, or is a [*TreeError].
func Read(r io.Reader) (*Hierarchy, error) {
	limited := &io.LimitedReader{R: r, N: MaxFile + 1}
	in := bufio.NewReaderSize(limited, maxFirst)
	if bom, err := in.Peek(3); err == nil && string(bom) == mark {
		if _, err := in.Discard(3); err != nil {
			return nil, err
		}
	}
	comma, err := separator(in)
	if err != nil {
		return nil, err
	}
	c := csv.NewReader(in)
	c.Comma, c.ReuseRecord = comma, true
	rows, err := readRows(c)
	if limited.N <= 0 {
		return nil, fmt.Errorf("the hierarchy is larger than %d MiB", MaxFile>>20)
	}
	if err != nil {
		return nil, err
	}
	return New(rows)
}

// maxFirst is how much of the first line may come before its first separator, in bytes.
const maxFirst = 1 << 20

// separator looks at the first line, or the beginning of it.
func separator(in *bufio.Reader) (rune, error) {
	head, err := in.Peek(maxFirst)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return 0, err
	}
	quoted, found := false, ','
	for _, c := range head {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\n':
			return found, nil
		case c == ';':
			return ';', nil
		case c == '\t':
			found = '\t'
		}
	}
	if len(head) == maxFirst {
		return 0, fmt.Errorf("the first line of the hierarchy has no separator in its first %d MiB", maxFirst>>20)
	}
	return found, nil
}

// readRows keeps one copy of each label, of which there are few.
func readRows(c *csv.Reader) (rows [][]string, err error) {
	labels := map[string]string{}
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil && !errors.Is(err, csv.ErrFieldCount) {
			return nil, fmt.Errorf("the hierarchy is not a table: %w", err)
		}
		line, _ := c.FieldPos(0)
		switch {
		case slices.ContainsFunc(record, func(cell string) bool { return strings.Contains(cell, "\r\n") }):
			return nil, fmt.Errorf("line %d of the hierarchy has a value with carriage returns before a new line, which CSV does not keep", line)
		case err != nil:
			return nil, fmt.Errorf("line %d of the hierarchy (%s) has %d levels and the first has %d", line, quote.Value(record[0]), len(record), c.FieldsPerRecord)
		case len(rows) == MaxLeaves || len(rows)*len(record) >= MaxCells:
			return nil, fmt.Errorf("the hierarchy has more than %d values, or %d values times levels", MaxLeaves, MaxCells)
		case len(record) > MaxLevels:
			return nil, fmt.Errorf("line %d of the hierarchy has more than %d levels", line, MaxLevels)
		}
		row := make([]string, len(record))
		for i, cell := range record {
			if !utf8.ValidString(cell) {
				return nil, fmt.Errorf("line %d of the hierarchy is not UTF-8", line)
			}
			label, ok := labels[cell]
			if !ok {
				label = strings.Clone(cell)
				labels[label] = label
			}
			row[i] = label
		}
		rows = append(rows, row)
	}
}

// WriteTo writes the form that [Read] reads, one line for each leaf in their order,
// separated by ";".
func (h *Hierarchy) WriteTo(w io.Writer) (int64, error) {
	counted := &counter{w: w}
	if h.Len() > 0 && strings.HasPrefix(h.Row(0)[0], mark) { // Read would take it for the file's
		if _, err := io.WriteString(counted, mark); err != nil {
			return counted.n, err
		}
	}
	c := csv.NewWriter(counted)
	c.Comma = ';'
	for i := range h.Len() {
		if err := c.Write(h.Row(uint32(i))); err != nil {
			return counted.n, err
		}
	}
	c.Flush()
	return counted.n, c.Error()
}

// mark is the byte order mark, which a file may begin with.
const mark = "\ufeff"

// counter counts what it passes on.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
