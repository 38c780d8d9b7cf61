package tabular

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// codecs decompress into memory that is there: nothing becomes longer than its header said.
type codecs struct{ zstd *zstd.Decoder }

var errLonger = errors.New("a page is longer than it says")

// unpack decompresses to the memory of dst, and returns what it used of it.
func (c *codecs) unpack(codec format.CompressionCodec, dst, packed []byte) ([]byte, error) {
	if len(packed) == 0 { // nulls alone; not all writers compress nothing
		return dst[:0], nil
	}
	switch codec {
	case format.Uncompressed:
		return copied(dst, packed)
	case format.Snappy:
		if n, err := snappy.DecodedLen(packed); err != nil || n > len(dst) {
			return nil, errLonger
		}
		out, err := snappy.Decode(dst, packed)
		if err != nil {
			return nil, err
		}
		return copied(dst, out)
	case format.Gzip:
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		return filled(dst, r)
	case format.Brotli:
		return filled(dst, brotli.NewReader(bytes.NewReader(packed)))
	case format.Zstd:
		return c.unpackZstd(dst, packed)
	case format.Lz4Raw:
		n, err := lz4.UncompressBlock(packed, dst)
		if err != nil {
			return nil, fmt.Errorf("a page does not decompress to what it says: %w", err)
		}
		return dst[:n], nil
	}
	return nil, fmt.Errorf("pages are compressed by %s, which is not supported", codec)
}

// copied has b in dst, where it may be already.
func copied(dst, b []byte) ([]byte, error) {
	if len(b) > len(dst) {
		return nil, errLonger
	}
	return dst[:copy(dst, b)], nil
}

// filled reads to the end, which is within dst.
func filled(dst []byte, r io.Reader) ([]byte, error) {
	n, err := io.ReadFull(r, dst)
	if errors.Is(err, io.ErrUnexpectedEOF) || n == 0 && errors.Is(err, io.EOF) {
		return dst[:n], nil
	}
	if err != nil {
		return nil, err
	}
	var more [1]byte
	if n, err := io.ReadFull(r, more[:]); n > 0 || !errors.Is(err, io.EOF) {
		return nil, errLonger
	}
	return dst, nil
}

// unpackZstd reads a stream, so that what is beyond dst is never made.
func (c *codecs) unpackZstd(dst, packed []byte) ([]byte, error) {
	if c.zstd == nil {
		var err error
		if c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxPage), zstd.WithDecoderMaxMemory(maxPage)); err != nil {
			return nil, err
		}
	}
	if err := c.zstd.Reset(bytes.NewReader(packed)); err != nil {
		return nil, err
	}
	return filled(dst, c.zstd)
}
