package tabular

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
)

func isArray(text []byte) bool {
	if len(text) == 0 || text[0] != '[' {
		return false
	}
	next := bytes.TrimLeft(text[1:], " \t\r\n")
	return len(next) > 0 && next[0] == '{'
}

// openJSON collects the fields of the objects in a sample of the text.
func (s *Source) openJSON(text []byte, whole bool) error {
	if !whole {
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		if len(text) == 0 {
			return &RowError{1, "line", fmt.Errorf("has more than %d bytes, and the fields are looked for in so many", sample)}
		}
	}
	o := &objects{encoding: s.encoding, at: map[string]int{}}
	s.body = o
	l := newLines(bytes.NewReader(text))
	for {
		err := o.object(l, func(name, _ []byte, _ Kind) error {
			if _, known := o.at[string(name)]; known {
				return nil
			}
			if len(name) == 0 {
				return errors.New("has a field without a name")
			}
			o.at[string(name)] = len(s.columns)
			return s.name(string(name), TextType)
		})
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if len(s.columns) == 0 {
		return ErrEmpty
	}
	return nil
}

// objects reads JSON lines: a flat object on each line. Fields that an object lacks are
// missing; numbers keep the text that they have.
type objects struct {
	encoding Encoding
	at       map[string]int // the column of each field
	room     []byte
}

// value is a cell in the text of a row.
type value struct {
	begin, end int
	kind       Kind
	seen       bool
}

func (o *objects) rows(in io.Reader, out *feed) error {
	reader := *o // with room of its own: several may read
	reader.room = nil
	l := newLines(o.encoding.decode(in))
	row, room := make([]value, len(o.at)), []byte(nil)
	for {
		clear(row)
		room = room[:0]
		number := l.number + 1
		err := reader.object(l, func(name, text []byte, kind Kind) error {
			number = l.number + 1
			c, ok := o.at[string(name)]
			if !ok {
				return fmt.Errorf("has a field %s, which no object at the beginning of the file has: %w", quote.Value(string(name)), ErrRagged)
			}
			if row[c].seen {
				return fmt.Errorf("has the field %s twice", quote.Value(string(name)))
			}
			row[c] = value{len(room), len(room) + len(text), kind, true}
			room = append(room, text...)
			return nil
		})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, v := range row {
			out.cell(room[v.begin:v.end])
			if !v.seen {
				v.kind = Missing
			}
			out.current.kinds = append(out.current.kinds, v.kind)
		}
		if err := out.end(number); err != nil {
			return err
		}
	}
}

var errSyntax = errors.New("is not a JSON object")

// object shows the fields of the next line that is not empty.
func (o *objects) object(l *lines, field func(name, text []byte, kind Kind) error) error {
	for {
		n, err := l.find(0)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		line := bytes.Trim(l.row(n), " \t\r\n")
		if len(line) == 0 {
			l.skip(n)
			continue
		}
		if err := l.check(line); err != nil {
			return err
		}
		if err := o.fields(line, field); err != nil {
			return l.fault(err)
		}
		l.skip(n)
		return nil
	}
}

func (o *objects) fields(line []byte, field func(name, text []byte, kind Kind) error) error {
	if line[0] != '{' {
		return errSyntax
	}
	o.room = o.room[:0]
	line = space(line[1:])
	if len(line) > 0 && line[0] == '}' {
		return rest(line[1:])
	}
	for {
		name, after, err := o.text(line)
		if err != nil {
			return err
		}
		line = space(after)
		if len(line) == 0 || line[0] != ':' {
			return errSyntax
		}
		text, kind, after, err := o.value(name, space(line[1:]))
		if err != nil {
			return err
		}
		if err := field(name, text, kind); err != nil {
			return err
		}
		line = space(after)
		switch {
		case len(line) == 0:
			return errSyntax
		case line[0] == '}':
			return rest(line[1:])
		case line[0] != ',':
			return errSyntax
		}
		line = space(line[1:])
	}
}

func rest(after []byte) error {
	if len(space(after)) > 0 {
		return errors.New("has text after its object")
	}
	return nil
}

func space(text []byte) []byte { return bytes.TrimLeft(text, " \t\r\n") }

// value reads what stands after a name.
func (o *objects) value(name, text []byte) (value []byte, kind Kind, after []byte, err error) {
	if len(text) == 0 {
		return nil, 0, nil, errSyntax
	}
	switch text[0] {
	case '"':
		value, after, err = o.text(text)
		return value, Text, after, err
	case '{', '[':
		return nil, 0, nil, fmt.Errorf("%w: field %s", ErrNested, quote.Value(string(name)))
	}
	n := bytes.IndexAny(text, ",} \t\r\n")
	if n < 0 {
		return nil, 0, nil, errSyntax
	}
	word, after := text[:n], text[n:]
	switch string(word) {
	case "null":
		return nil, Missing, after, nil
	case "true", "false":
		return word, Boolean, after, nil
	}
	if !json.Valid(word) {
		return nil, 0, nil, errSyntax
	}
	return word, Number, after, nil
}

// text reads a string. What has escapes is decoded into room that lasts as long as the
// line does.
func (o *objects) text(in []byte) (value, after []byte, err error) {
	if len(in) == 0 || in[0] != '"' {
		return nil, nil, errSyntax
	}
	escaped := false
	for i := 1; i < len(in); i++ {
		switch c := in[i]; {
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			return nil, nil, errSyntax
		case c == '"' && !escaped:
			return in[1:i], in[i+1:], nil
		case c == '"':
			var s string
			if json.Unmarshal(in[:i+1], &s) != nil {
				return nil, nil, errSyntax
			}
			begin := len(o.room)
			o.room = append(o.room, s...)
			return o.room[begin:len(o.room):len(o.room)], in[i+1:], nil
		}
	}
	return nil, nil, errSyntax
}
