package audit

import (
	"bytes"
	"errors"
	"testing"
)

// Arbitrary bytes in place of a log are refused or read, never both ways.
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
		m := &memory{data: content}
		seen := int64(0)
		end, err := verify(m, int64(len(content)), mark{chain: start}, func(_ int64, leaf []byte) error {
			seen++
			if e, err := decodeEvent(leaf); err == nil {
				if again, err := e.encode(); err != nil || !bytes.Equal(again, leaf) {
					t.Fatalf("an event re-encodes differently: %v", err)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrTampered) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if end.n != seen || end.offset > int64(len(content)) {
			t.Fatalf("ends at %+v after %d records", end, seen)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	raw, _ := mark{n: 3, offset: 400, first: 2, chain: start}.encode()
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeCheckpoint(b)
		if err != nil {
			return
		}
		if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("re-encodes differently: %v", err)
		}
	})
}
