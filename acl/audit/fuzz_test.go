package audit

import (
	"bytes"
	"errors"
	"testing"
)

// Arbitrary bytes in place of a segment are refused or read, never both ways.
func FuzzEntries(f *testing.F) {
	good := entries(f, written(f, 4, true))
	f.Add(good, uint16(70), byte(1))
	f.Add(good[:len(good)-9], uint16(0), byte(0))
	f.Add([]byte{}, uint16(0), byte(0))
	f.Add(make([]byte, 600), uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, content []byte, at uint16, flip byte) {
		content = bytes.Clone(content)
		if int(at) < len(content) {
			content[at] ^= flip
		}
		m := newMemory()
		m.replace(segmentName(0), content)
		seen := int64(0)
		end, err := verify(m, []int64{0}, nil, func(record) error {
			seen++
			return nil
		})
		if err != nil && !errors.Is(err, ErrTampered) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if end.n != seen || end.offset > int64(len(content)) {
			t.Fatalf("ends at %+v after %d records", end.place, seen)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	l := openLog(f, written(f, 3, true))
	f.Add(l.Published().Note)
	f.Add([]byte{})
	f.Add(append(bytes.Clone(l.Published().Note), "— other abcdefgh\n"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := l.Binding().OpenCheckpoint(b)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(b, l.Published().Note[:bytes.Index(l.Published().Note, []byte("\n\n"))+2]) || c.Tree != l.Published().Tree {
			t.Fatalf("a checkpoint that nobody signed: %q", b)
		}
	})
}

func FuzzBinding(f *testing.F) {
	good := config(f).Binding
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := VerifyBinding(b); err == nil && !bytes.Equal(b, good) {
			t.Fatalf("a binding that nobody signed: %x", b)
		}
	})
}
