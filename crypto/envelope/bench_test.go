package envelope

import (
	"bytes"
	"context"
	"io"
	"testing"
)

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

var discard = sinkFunc(func(context.Context, []Block) error { return nil })

// The bar is 750 MB/s on two cores.
func BenchmarkEncrypt(b *testing.B) {
	const size = 1 << 30
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Encrypt(b.Context(), io.LimitReader(zeros{}, size), discard); err != nil {
			b.Fatal(err)
		}
	}
}

// The bar is 10,000 files in one to two seconds of CPU: 100 to 200 us each.
func BenchmarkEncryptSmall(b *testing.B) {
	plain := plaintext(4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		p, key, err := Encrypt(b.Context(), bytes.NewReader(plain), discard)
		if err != nil {
			b.Fatal(err)
		}
		header, err := CommitteeHeader(key, testStanza)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := FileRoot(header, p); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkObject(b *testing.B) (header []byte, key FileKey, cipher []byte, size int64) {
	const plain = 256 << 20
	var buf bytes.Buffer
	buf.Grow(int(PayloadSize(plain)))
	_, key, err := Encrypt(b.Context(), io.LimitReader(zeros{}, plain), sinkFunc(func(_ context.Context, blocks []Block) error {
		for _, blk := range blocks {
			if blk.CID.Type() == CodecRaw {
				buf.Write(blk.Data)
			}
		}
		return nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	header, err = CommitteeHeader(key, testStanza)
	if err != nil {
		b.Fatal(err)
	}
	return header, key, buf.Bytes(), plain
}

func BenchmarkDecrypt(b *testing.B) {
	header, key, cipher, size := benchmarkObject(b)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		r, err := Decrypt(header, key, bytes.NewReader(cipher))
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); n != size || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkDecryptAt(b *testing.B) {
	header, key, cipher, size := benchmarkObject(b)
	b.SetBytes(size)
	b.ReportAllocs()
	buf := make([]byte, 1<<20)
	for b.Loop() {
		r, _, err := DecryptAt(header, key, bytes.NewReader(cipher), PayloadSize(size))
		if err != nil {
			b.Fatal(err)
		}
		for off := int64(0); off < size; off += int64(len(buf)) {
			if _, err := r.ReadAt(buf, off); err != nil && err != io.EOF {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkCheckHeader(b *testing.B) {
	key, _ := NewFileKey(make([]byte, FileKeySize))
	header, err := CommitteeHeader(key, testStanza)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := CheckHeader(header, key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseNode(b *testing.B) {
	var links []link
	for range MaxWidth {
		links = append(links, link{CIDOf(nil, CodecRaw), LeafSize, LeafSize})
	}
	data := encodeNode(links)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := ParseNode(data); err != nil {
			b.Fatal(err)
		}
	}
}
