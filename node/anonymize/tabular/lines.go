package tabular

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// lines is a window on text that begins where a row begins. It grows to [MaxRow] at most.
type lines struct {
	in         io.Reader
	buf        []byte
	start, end int
	ended      bool
	number     int // lines before the row
}

func newLines(in io.Reader) *lines { return &lines{in: in, buf: make([]byte, 256<<10)} }

// row is the row as far as n bytes.
func (l *lines) row(n int) []byte { return l.buf[l.start : l.start+n] }

// find is the length of the row up to and with the first line end at or after from, or
// up to the end of the text. It is from itself at the end of the text.
func (l *lines) find(from int) (int, error) {
	for looked := from; ; {
		if i := bytes.IndexByte(l.buf[l.start+looked:l.end], '\n'); i >= 0 {
			return looked + i + 1, nil
		}
		looked = l.end - l.start
		if l.ended {
			return looked, nil
		}
		if looked > MaxRow {
			return 0, l.fault(ErrTooLong)
		}
		if err := l.fill(); err != nil {
			return 0, err
		}
	}
}

func (l *lines) fill() error {
	if l.start > 0 {
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
	}
	if l.end == len(l.buf) {
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	n, err := io.ReadAtLeast(l.in, l.buf[l.end:], 1)
	l.end += n
	if errors.Is(err, io.EOF) {
		l.ended, err = true, nil
	}
	return err
}

// skip goes on to what follows n bytes of whole lines.
func (l *lines) skip(n int) {
	l.number += bytes.Count(l.row(n), []byte{'\n'})
	l.start += n
}

// check says where text is not UTF-8.
func (l *lines) check(row []byte) error {
	if utf8.Valid(row) {
		return nil
	}
	place := 0
	for {
		r, n := utf8.DecodeRune(row[place:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		place += n
	}
	above := row[:place]
	line := l.number + 1 + bytes.Count(above, []byte{'\n'})
	return &RowError{line, "line", fmt.Errorf("%w: byte %d of it is not UTF-8", ErrEncoding, place-bytes.LastIndexByte(above, '\n'))}
}

func (l *lines) fault(err error) error { return &RowError{l.number + 1, "line", err} }
