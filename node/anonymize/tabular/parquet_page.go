package tabular

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// scratch is what the columns of one reading share: they read one after the other.
type scratch struct {
	file   io.ReaderAt
	header []byte
	packed []byte
	plain  []byte
	codecs codecs
	left   int // bytes that pages may still take, of all columns
}

// charge counts memory for a page before it is allocated, and gives back that of others.
func (s *scratch) charge(bytes int) error {
	if s.left -= bytes; s.left < 0 {
		return errors.New("its pages would take too much memory")
	}
	return nil
}

// room is so many bytes of a buffer that grows as it has to.
func room(b *[]byte, n int) []byte {
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

// plainDictionary is what version 1 of the format had for both Plain and RLEDictionary.
const plainDictionary = format.Encoding(2)

// chunk is the pages of a column in one row group, and the file that the library reads
// them from: one after the other, without compression, checksums and statistics.
type chunk struct {
	*scratch
	leaf       *parquet.Column
	codec      format.CompressionCodec
	at, end    int64 // where the next page is, and the last ends
	given      int64 // bytes that the library has read
	pending    [][]byte
	dictionary bool
	held       int // bytes that are charged for the page at hand
	err        error
}

func newChunk(s *scratch, leaf *parquet.Column, meta *format.ColumnMetaData, size int64) (*chunk, error) {
	at := meta.DataPageOffset
	if d := meta.DictionaryPageOffset; d > 0 && d < at {
		at = d
	}
	if at < 4 || at > size || meta.TotalCompressedSize < 0 || meta.TotalCompressedSize > size-at {
		return nil, fmt.Errorf("column %s is not within the file", quote.Value(leaf.Name()))
	}
	return &chunk{scratch: s, leaf: leaf, codec: meta.Codec, at: at, end: at + meta.TotalCompressedSize, given: 4}, nil
}

// ReadAt gives the library what comes next, which is all it asks for.
func (c *chunk) ReadAt(p []byte, at int64) (n int, err error) {
	if at != c.given {
		return 0, errors.New("it is not read in order")
	}
	for len(c.pending) > 0 && len(c.pending[0]) == 0 {
		c.pending = c.pending[1:]
	}
	if len(c.pending) == 0 {
		if c.at == c.end {
			return 0, io.EOF
		}
		if c.err = c.turn(); c.err != nil {
			return 0, c.err
		}
	}
	n = copy(p, c.pending[0])
	c.pending[0] = c.pending[0][n:]
	c.given += int64(n)
	return n, nil
}

// turn reads the next page. The one before it is no longer used.
func (c *chunk) turn() error {
	c.charge(-c.held)
	c.held = 0
	h, err := c.head()
	if err != nil {
		return err
	}
	packed, err := c.body(h)
	if err != nil {
		return err
	}
	clean := &format.PageHeader{Type: h.Type}
	var plain []byte
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader != nil:
		plain, err = c.words(h, packed, clean)
	case h.Type == format.DataPage && h.DataPageHeader != nil:
		plain, err = c.first(h, packed, clean)
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2 != nil:
		plain, err = c.second(h, packed, clean)
	default:
		err = fmt.Errorf("a page is a %s", h.Type)
	}
	if err != nil {
		return err
	}
	clean.UncompressedPageSize, clean.CompressedPageSize = int32(len(plain)), int32(len(plain))
	raw, err := thrift.Marshal(new(thrift.CompactProtocol), clean)
	c.pending = [][]byte{raw, plain}
	return err
}

// head reads the header of the next page, as far as it reaches.
func (c *chunk) head() (*format.PageHeader, error) {
	for want := int64(1 << 10); ; want *= 4 {
		have := min(want, c.end-c.at)
		if have == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		raw := room(&c.header, int(have))
		if _, err := c.file.ReadAt(raw, c.at); err != nil {
			return nil, err
		}
		h := new(format.PageHeader)
		n, err := decode(raw, heading, h)
		if errors.Is(err, errShort) && have == want && want < maxPageHeader {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the header of a page %w", err)
		}
		c.at += int64(n)
		return h, nil
	}
}

// body reads a page as it is in the file. Its sizes are checked here for all that follows.
func (c *chunk) body(h *format.PageHeader) ([]byte, error) {
	packed, plain := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	if packed < 0 || packed > c.end-c.at || packed > maxPage || plain < 0 || plain > maxPage {
		return nil, fmt.Errorf("a page says that it has %d bytes, and %d unpacked: %d MiB at most", packed, plain, maxPage>>20)
	}
	raw := room(&c.packed, int(packed))
	if _, err := c.file.ReadAt(raw, c.at); err != nil {
		return nil, err
	}
	c.at += packed
	if sum := uint32(h.CRC); sum != 0 && crc32.ChecksumIEEE(raw) != sum {
		return nil, errors.New("a page has another checksum")
	}
	return raw, nil
}

// values checks a number of values, and charges for them and for the bytes they are in:
// an index or a number, and a level, for each.
func (c *chunk) values(n int32, h *format.PageHeader) error {
	width := int64(1)
	if t := c.leaf.Type(); t.Kind() == parquet.FixedLenByteArray {
		width = int64(t.Length())
	}
	if n < 0 || n > maxPageValues || int64(n)*width > maxPage {
		return fmt.Errorf("a page says that it has %d values", n)
	}
	c.held = int(h.UncompressedPageSize) + 9*int(n)
	return c.charge(c.held)
}

// unpack decompresses a page, but for its beginning.
func (c *chunk) unpack(begin, packed []byte, size int, codec format.CompressionCodec) ([]byte, error) {
	if size < len(begin) {
		return nil, errors.New("a page has more levels than bytes")
	}
	out := append(room(&c.plain, size)[:0], begin...)
	body, err := c.codecs.unpack(codec, out[len(begin):size], packed)
	return out[:len(begin)+len(body)], err
}

func (c *chunk) words(h *format.PageHeader, packed []byte, clean *format.PageHeader) ([]byte, error) {
	d := h.DictionaryPageHeader
	if c.dictionary {
		return nil, errors.New("a column has two dictionaries")
	}
	if d.Encoding != format.Plain && d.Encoding != plainDictionary {
		return nil, fmt.Errorf("a dictionary is encoded as %s", d.Encoding)
	}
	if err := c.values(d.NumValues, h); err != nil {
		return nil, err
	}
	c.dictionary, c.held = true, 0 // stays charged
	clean.DictionaryPageHeader = &format.DictionaryPageHeader{NumValues: d.NumValues, Encoding: d.Encoding}
	return c.unpack(nil, packed, int(h.UncompressedPageSize), c.codec)
}

func (c *chunk) first(h *format.PageHeader, packed []byte, clean *format.PageHeader) ([]byte, error) {
	d := h.DataPageHeader
	if err := c.values(d.NumValues, h); err != nil {
		return nil, err
	}
	plain, err := c.unpack(nil, packed, int(h.UncompressedPageSize), c.codec)
	if err != nil {
		return nil, err
	}
	body := plain
	if c.leaf.Optional() {
		levels, rest, err := prefixed(body)
		if err == nil && d.DefinitionLevelEncoding != format.RLE {
			err = fmt.Errorf("levels are encoded as %s", d.DefinitionLevelEncoding)
		}
		if err == nil {
			body, err = rest, runs(levels, 1, int(d.NumValues))
		}
		if err != nil {
			return nil, err
		}
	}
	clean.DataPageHeader = &format.DataPageHeader{NumValues: d.NumValues, Encoding: d.Encoding,
		DefinitionLevelEncoding: d.DefinitionLevelEncoding, RepetitionLevelEncoding: d.RepetitionLevelEncoding}
	return plain, c.check(d.Encoding, body, int(d.NumValues))
}

func (c *chunk) second(h *format.PageHeader, packed []byte, clean *format.PageHeader) ([]byte, error) {
	d := h.DataPageHeaderV2
	if err := c.values(d.NumValues, h); err != nil {
		return nil, err
	}
	repeated, defined := int64(d.RepetitionLevelsByteLength), int64(d.DefinitionLevelsByteLength)
	if repeated < 0 || defined < 0 || repeated+defined > int64(len(packed)) || d.NumNulls < 0 || d.NumNulls > d.NumValues {
		return nil, errors.New("a page has more levels than bytes, or more nulls than values")
	}
	levels, packed := packed[repeated:repeated+defined], packed[repeated+defined:]
	if !c.leaf.Optional() { // some writers have them nevertheless
		levels = nil
	}
	if err := runs(levels, 1, int(d.NumValues)); err != nil {
		return nil, err
	}
	codec := c.codec
	if d.IsCompressed != nil && !*d.IsCompressed {
		codec = format.Uncompressed
	}
	plain, err := c.unpack(levels, packed, int(h.UncompressedPageSize), codec)
	if err != nil {
		return nil, err
	}
	clean.DataPageHeaderV2 = &format.DataPageHeaderV2{NumValues: d.NumValues, NumNulls: d.NumNulls, NumRows: d.NumRows, Encoding: d.Encoding,
		DefinitionLevelsByteLength: int32(len(levels))}
	return plain, c.check(d.Encoding, plain[len(levels):], int(d.NumValues-d.NumNulls))
}

// check looks through the values of a page for what would take more memory to decode than
// the page has been charged.
func (c *chunk) check(e format.Encoding, body []byte, n int) error {
	switch e {
	case format.Plain, format.ByteStreamSplit: // as long as they are
		return nil
	case plainDictionary, format.RLEDictionary:
		if !c.dictionary {
			return errors.New("a page is encoded by a dictionary, and there is none")
		}
		if len(body) == 0 {
			return nil
		}
		return runs(body[1:], uint(body[0]), n)
	case format.RLE:
		body, _, err := prefixed(body)
		if err != nil {
			return err
		}
		return runs(body, 1, n)
	case format.DeltaBinaryPacked:
		return deltas(body, n)
	case format.DeltaLengthByteArray:
		return c.lengths(body, n, 1)
	case format.DeltaByteArray:
		return c.lengths(body, n, 2)
	}
	return fmt.Errorf("values are encoded as %s, which is not supported", e)
}

// lengths checks that so many lists of lengths add up to no more than a page may have. With
// two, each value repeats the beginning of the one before, and few bytes can become many.
func (c *chunk) lengths(body []byte, n, lists int) error {
	total := 0
	for range lists {
		lengths, rest, err := deltaLengths(body, n)
		if err != nil {
			return err
		}
		body = rest
		for _, l := range lengths {
			if l < 0 || int(l) > maxPage-total {
				return fmt.Errorf("values of a page have more than %d MiB", maxPage>>20)
			}
			total += int(l)
		}
	}
	c.held += total
	return c.charge(total)
}
