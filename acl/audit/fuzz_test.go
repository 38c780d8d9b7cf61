package audit

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/note"
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
		end, err := verify(m, mark{}, []int64{0}, nil, func(record) error {
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

// What witnesses answer is kept only if it is signatures of theirs, and what is
// kept is still the log's checkpoint.
func FuzzCosignatures(f *testing.F) {
	l := openLog(f, written(f, 3, true))
	w, known := witnesses(f, 2)
	own := l.Published()
	line := cosign(f, own.Note, w[0])
	f.Add(line)
	f.Add(append(bytes.Clone(line), cosign(f, own.Note, w[1])...))
	f.Add(append([]byte("more\n\n"), line...))
	f.Fuzz(func(t *testing.T, lines []byte) {
		merged, err := addLines(own.Note, lines, known)
		if err != nil {
			return
		}
		if c, err := l.Binding().OpenCheckpoint(merged); err == nil && c.Tree != own.Tree {
			t.Fatalf("cosignatures changed the checkpoint: %q", merged)
		}
		n, err := note.Open(merged, known)
		if err != nil || len(n.Sigs) == 0 || len(n.UnverifiedSigs) != 1 {
			t.Fatalf("%q holds no cosignature, %v", merged, err)
		}
	})
}
