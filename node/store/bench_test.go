package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// fresh gives blocks that no store has seen, without hashing their data: PutMany
// takes the caller's word for the CID, and a benchmark should not measure SHA-256.
func fresh(data []byte, n int) []envelope.Block {
	out := make([]envelope.Block, n)
	for i := range out {
		digest := make([]byte, 32)
		rand.Read(digest)
		mh, err := multihash.Encode(digest, multihash.SHA2_256)
		if err != nil {
			panic(err)
		}
		out[i] = envelope.Block{CID: cid.NewCidV1(cid.Raw, mh), Data: data}
	}
	return out
}

func benchPut(b *testing.B, size, batch int) {
	s := openTest(b, Config{Dir: b.TempDir()})
	data := make([]byte, size)
	rand.Read(data)
	b.SetBytes(int64(size * batch))
	b.ResetTimer()
	before := cpuSeconds(b)
	for range b.N {
		if err := s.PutMany(context.Background(), fresh(data, batch)); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	mb := float64(b.N*size*batch) / 1e6
	b.ReportMetric((cpuSeconds(b)-before)*1e3/mb, "cpu-ms/MB")
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "blocks/s")
}

// BenchmarkPutManyLarge writes payload leaves. The bar is 450 MB/s durable.
func BenchmarkPutManyLarge(b *testing.B) {
	for _, batch := range []int{8, 16, 32, 64} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) { benchPut(b, 983_280, batch) })
	}
}

// BenchmarkPutManySmall writes small blocks. The bar is 36,000 a second.
func BenchmarkPutManySmall(b *testing.B) {
	b.Run("4KiBx1000", func(b *testing.B) { benchPut(b, 4<<10, 1000) })
	b.Run("32KiBx100", func(b *testing.B) { benchPut(b, 32<<10, 100) })
	b.Run("4KiBx1", func(b *testing.B) { benchPut(b, 4<<10, 1) })
}

// BenchmarkAdd encrypts, hashes and stores 256 MiB, as adding a file does: the
// cores are busy while the store writes. Beside it, the same into nothing.
func BenchmarkAdd(b *testing.B) {
	const size = 256 << 20
	add := func(b *testing.B, sink envelope.Sink) {
		b.SetBytes(size)
		before := cpuSeconds(b)
		for range b.N {
			if _, _, err := envelope.Encrypt(b.Context(), io.LimitReader(zeros{}, size), sink); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((cpuSeconds(b)-before)*1e3/(float64(b.N)*size/1e6), "cpu-ms/MB")
	}
	b.Run("store", func(b *testing.B) { add(b, openTest(b, Config{Dir: b.TempDir()})) })
	b.Run("nothing", func(b *testing.B) { add(b, nothing{}) })
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type nothing struct{}

func (nothing) PutMany(context.Context, []envelope.Block) error { return nil }

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{4 << 10, 983_280} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := openTest(b, Config{Dir: b.TempDir()})
			data := make([]byte, size)
			blocks := fresh(data, 256)
			if err := s.PutMany(context.Background(), blocks); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ResetTimer()
			for i := range b.N {
				if _, err := s.Get(context.Background(), blocks[i%len(blocks)].CID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
