package exchange

import (
	"context"
	"testing"
)

// BenchmarkFetchLarge moves one object of 512 MB between two hosts of one
// process, over loopback TCP with TLS, verified and dropped.
func BenchmarkFetchLarge(b *testing.B) {
	m := newMemory()
	o := addObject(b, m, 512<<20)
	p := serve(b, m, &policy{}, Limits{})
	b.SetBytes(o.size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.fetch(func(Block) error { return nil }, o.whole()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFetchSmall moves 1000 objects of 1 KiB in one request.
func BenchmarkFetchSmall(b *testing.B) {
	m := newMemory()
	var req Request
	for range 1000 {
		req.Items = append(req.Items, addObject(b, m, 1<<10).whole())
	}
	p := serve(b, m, &policy{}, Limits{})
	b.ReportAllocs()
	for b.Loop() {
		m.read = m.read[:0]
		if _, err := Fetch(context.Background(), p.receiver, p.holder.ID(), req, nil, func(Block) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(req.Items)*b.N)/b.Elapsed().Seconds(), "objects/s")
}
