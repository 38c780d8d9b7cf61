package evidence

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
)

// large is a validator's log of n entries with two claims each.
func large(b *testing.B, n int) *party {
	p := validator(b)
	for i := 0; i < n; i += 1000 {
		batch := make([]event.Event, 0, 1000)
		for k := i; k < min(i+1000, n); k++ {
			batch = append(batch, release(k))
		}
		if err := p.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	return p
}

const entries = 300_000

// BenchmarkExport writes a bundle of 300,000 entries with their disclosures.
func BenchmarkExport(b *testing.B) {
	_, records, _ := network(b)
	p := large(b, entries)
	x := Export{Checkpoint: p.checkpoint(b), Network: records}
	for b.Loop() {
		if err := WriteBundle(io.Discard, p.Journal, x); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify verifies that bundle, opening every disclosure.
func BenchmarkVerify(b *testing.B) {
	_, records, anchor := network(b)
	p := large(b, entries)
	path := filepath.Join(b.TempDir(), "bundle")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := WriteBundle(f, p.Journal, Export{Checkpoint: p.checkpoint(b), Network: records}); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if r, err := Verify(func() (io.ReadCloser, error) { return os.Open(path) }, Expect{Anchor: anchor}); err != nil || r.Shown != entries {
			b.Fatal(err)
		}
	}
}
