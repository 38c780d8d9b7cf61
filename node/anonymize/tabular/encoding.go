package tabular

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// Encoding is how a file's text is written in bytes.
type Encoding int

// The encodings. Unknown is the zero value: recognised when reading. Windows1252 is what
// most software calls Latin-1, of which it is a superset.
const (
	Unknown Encoding = iota
	UTF8
	UTF16LE
	UTF16BE
	Windows1252
)

var encodings = [...]string{"unknown", "utf-8", "utf-16le", "utf-16be", "windows-1252"}

func (e Encoding) String() string { return encodings[e] }

// EncodingNamed finds an encoding by its name.
func EncodingNamed(name string) (Encoding, error) {
	switch name {
	case "":
		return Unknown, nil
	case "latin-1", "latin1", "iso-8859-1":
		return Windows1252, nil
	}
	for e, known := range encodings {
		if known == name && e > 0 {
			return Encoding(e), nil
		}
	}
	return Unknown, fmt.Errorf("there is no encoding %.80q: the encodings are utf-8, utf-16le, utf-16be, windows-1252 and latin-1", name)
}

var marks = map[Encoding][]byte{UTF8: []byte("\ufeff"), UTF16LE: {0xff, 0xfe}, UTF16BE: {0xfe, 0xff}}

// recognise guesses the encoding of the beginning of a file. Text that has both UTF-8
// characters and bytes that are none is taken for UTF-8 with mistakes, which are then
// refused where they stand, unless the mistakes are more.
func recognise(head []byte, whole bool) Encoding {
	for _, e := range []Encoding{UTF8, UTF16LE, UTF16BE} {
		if bytes.HasPrefix(head, marks[e]) {
			return e
		}
	}
	var zero [2]int
	for i, b := range head {
		if b == 0 {
			zero[i%2]++
		}
	}
	switch n := len(head); {
	case zero[1] > n/4 && zero[0] < n/16:
		return UTF16LE
	case zero[0] > n/4 && zero[1] < n/16:
		return UTF16BE
	}
	characters, mistakes := 0, 0
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		switch {
		case r == utf8.RuneError && n == 1 && !whole && len(head) < utf8.UTFMax && !utf8.FullRune(head):
		case r == utf8.RuneError && n == 1:
			mistakes++
		case n > 1:
			characters++
		}
		head = head[n:]
	}
	if mistakes > characters {
		return Windows1252
	}
	return UTF8
}

// decode turns a file's bytes into UTF-8 without a byte order mark. Text that is UTF-8
// already is handed on unchecked: whoever knows lines checks it.
func (e Encoding) decode(r io.Reader) io.Reader {
	in := bufio.NewReaderSize(r, 64<<10)
	if mark := marks[e]; mark != nil {
		if head, _ := in.Peek(len(mark)); bytes.Equal(head, mark) {
			in.Discard(len(mark)) // what was peeked is there
		}
	}
	switch e {
	case UTF16LE, UTF16BE:
		return &wide{in: in, low: int(e - UTF16LE)}
	case Windows1252:
		return &narrow{in: in}
	}
	return in
}

// wide decodes UTF-16.
type wide struct {
	in   *bufio.Reader
	low  int // the index of the low byte of a unit
	line int // lines before
	out  []byte
	err  error
}

func (w *wide) unit() (rune, error) {
	var b [2]byte
	if n, err := io.ReadFull(w.in, b[:]); err != nil {
		if n == 1 {
			return 0, &RowError{w.line + 1, "line", fmt.Errorf("ends in the middle of a character: it %w", ErrEncoding)}
		}
		return 0, err
	}
	return rune(b[w.low]) | rune(b[1-w.low])<<8, nil
}

func (w *wide) Read(p []byte) (int, error) {
	for len(w.out) < len(p) && w.err == nil {
		var r rune
		if r, w.err = w.unit(); w.err != nil {
			break
		}
		if utf16.IsSurrogate(r) {
			second, err := w.unit()
			if r = utf16.DecodeRune(r, second); err != nil || r == utf8.RuneError {
				w.err = &RowError{w.line + 1, "line", fmt.Errorf("has half a character: it %w", ErrEncoding)}
				break
			}
		}
		if r == '\n' {
			w.line++
		}
		w.out = utf8.AppendRune(w.out, r)
	}
	n := copy(p, w.out)
	w.out = w.out[:copy(w.out, w.out[n:])]
	if n == 0 && len(p) > 0 {
		return 0, w.err
	}
	return n, nil
}

// narrow decodes Windows-1252. Its five bytes without a character are taken as control
// characters, as browsers do.
type narrow struct{ in *bufio.Reader }

var high = [32]rune{'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8d, 'Ž', 0x8f,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9d, 'ž', 'Ÿ'}

func (d *narrow) Read(p []byte) (n int, err error) {
	for n+utf8.UTFMax <= len(p) {
		b, err := d.in.ReadByte()
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		r := rune(b)
		if b >= 0x80 && b < 0xa0 {
			r = high[b-0x80]
		}
		n += utf8.EncodeRune(p[n:], r)
	}
	return n, nil
}
