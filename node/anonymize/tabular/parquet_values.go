package tabular

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// prefixed cuts off what a length of four bytes precedes.
func prefixed(b []byte) (part, rest []byte, err error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	n := 4 + int(binary.LittleEndian.Uint32(b))
	return b[4:n], b[n:], nil
}

// runs checks that runs of numbers of so many bits are of n values at most, but for those
// that fill up the last byte. A run of few bytes can be of many values.
func runs(b []byte, bits uint, n int) error {
	if bits > 32 {
		return errors.New("a page has numbers of more than 32 bits")
	}
	total := uint64(0)
	for len(b) > 0 {
		head, used := binary.Uvarint(b)
		if used <= 0 {
			return io.ErrUnexpectedEOF
		}
		b = b[used:]
		count, bytes := head>>1, uint64(bits+7)/8
		if head&1 == 1 {
			count, bytes = 8*min(count, maxPageValues), uint64(bits)*min(count, maxPageValues)
		}
		if bytes > uint64(len(b)) {
			return io.ErrUnexpectedEOF
		}
		b = b[bytes:]
		if total += min(count, 8*maxPageValues); total > uint64(n)+8 {
			return errors.New("a page has more values than it says")
		}
	}
	return nil
}

// deltaHead is what precedes numbers that are encoded by their differences.
type deltaHead struct {
	block, parts, total uint64
	first               int64
}

func readDeltaHead(b []byte, n int) (h deltaHead, rest []byte, err error) {
	for _, to := range []*uint64{&h.block, &h.parts, &h.total} {
		x, used := binary.Uvarint(b)
		if used <= 0 {
			return h, nil, io.ErrUnexpectedEOF
		}
		*to, b = x, b[used:]
	}
	first, used := binary.Varint(b)
	if used <= 0 {
		return h, nil, io.ErrUnexpectedEOF
	}
	h.first = first
	switch {
	case h.total > uint64(n):
		return h, nil, errors.New("a page has more values than it says")
	case h.block == 0 || h.block > 1<<16 || h.block%128 != 0 || h.parts == 0 || h.block%(32*h.parts) != 0:
		return h, nil, fmt.Errorf("differences are in blocks of %d in %d parts", h.block, h.parts)
	}
	return h, b[used:], nil
}

// deltas checks that differences are of n values at most.
func deltas(b []byte, n int) error {
	_, _, err := readDeltaHead(b, n)
	return err
}

// deltaLengths decodes lengths of values, n at most, that are encoded by their
// differences, and says what follows them. Numbers wrap around at 32 bits.
func deltaLengths(b []byte, n int) (lengths []int32, rest []byte, err error) {
	h, b, err := readDeltaHead(b, n)
	if err != nil || h.total == 0 {
		return nil, b, err
	}
	lengths = make([]int32, 0, h.total)
	lengths = append(lengths, int32(h.first))
	last, each := int32(h.first), int(h.block/h.parts)
	for uint64(len(lengths)) < h.total {
		least, used := binary.Varint(b)
		if used <= 0 || len(b)-used < int(h.parts) {
			return nil, nil, io.ErrUnexpectedEOF
		}
		widths := b[used:][:h.parts]
		b = b[used+int(h.parts):]
		for _, width := range widths {
			if uint64(len(lengths)) == h.total {
				break // the rest of the block has no part
			}
			size := each * int(width) / 8
			if width > 32 || size > len(b) {
				return nil, nil, io.ErrUnexpectedEOF
			}
			for i := range min(each, int(h.total)-len(lengths)) {
				last += int32(least) + int32(bitsAt(b[:size], i*int(width), int(width)))
				lengths = append(lengths, last)
			}
			b = b[size:]
		}
	}
	return lengths, b, nil
}

// bitsAt is the number of up to 32 bits that begins at a bit, the lowest first.
func bitsAt(b []byte, at, width int) (x uint32) {
	for i := range width {
		x |= uint32(b[(at+i)/8]>>((at+i)%8)&1) << i
	}
	return x
}
