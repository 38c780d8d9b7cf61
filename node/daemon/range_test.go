package daemon

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// holder answers ranges of a stream with the whole leaves that they touch, as an
// honest one does.
type holder struct {
	stream []byte
	asked  int64 // bytes that it sent
	times  int
}

func (h *holder) fetch(from, to int64, each func(off int64, data []byte)) error {
	h.times++
	at := int64(0)
	for at < int64(len(h.stream)) {
		end := min(at+envelope.LeafSize, int64(len(h.stream)))
		if at == 0 {
			end = envelope.NonceSize
		}
		if at < to && end > from {
			leaf := bytes.Clone(h.stream[at:end])
			h.asked += end - at
			each(at, leaf)
			clear(leaf) // the buffer belongs to the transfer
		}
		at = end
	}
	return nil
}

func TestRemotePayload(t *testing.T) {
	t.Parallel()
	l := encrypt(t, 20*envelope.PlainLeaf+12_345)
	size := int64(len(l.stream))
	for _, c := range []struct{ off, n int64 }{
		{0, 16}, {0, size}, {16, 1}, {size - 1, 1}, {size - 100, 100}, {envelope.NonceSize + envelope.LeafSize - 1, 2}, {size / 2, 3_000_000}, {5, 0},
	} {
		h := &holder{stream: l.stream}
		p := &remotePayload{size: size, until: c.off + c.n, fetch: h.fetch}
		b := make([]byte, c.n)
		if n, err := p.ReadAt(b, c.off); int64(n) != c.n || err != nil || !bytes.Equal(b, l.stream[c.off:c.off+c.n]) {
			t.Errorf("%d bytes at %d: %d %v", c.n, c.off, n, err)
		}
		if most := c.n + 2*envelope.LeafSize; h.asked > most {
			t.Errorf("%d bytes at %d cost %d", c.n, c.off, h.asked)
		}
	}
	h := &holder{stream: l.stream}
	p := &remotePayload{size: size, until: size, fetch: h.fetch}
	if n, err := p.ReadAt(make([]byte, 10), size-4); n != 4 || err != io.EOF {
		t.Errorf("past the end: %d %v", n, err)
	}
	if n, err := p.ReadAt(make([]byte, 10), size); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d %v", n, err)
	}
	// In order it asks a window at a time, and for nothing twice but the end.
	h = &holder{stream: l.stream}
	p = &remotePayload{size: size, until: size, fetch: h.fetch}
	var whole bytes.Buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{&whole}, io.NewSectionReader(p, 0, size), make([]byte, 64<<10)); err != nil || !bytes.Equal(whole.Bytes(), l.stream) {
		t.Errorf("in order: %d bytes, %v", whole.Len(), err)
	}
	if most := int(size/window) + 2; h.times > most || h.asked > size+int64(h.times)*envelope.LeafSize {
		t.Errorf("%d requests for %d bytes, where %d bytes are enough", h.times, h.asked, size)
	}
}

// TestRemotePayloadReadsAheadInTheRangeOnly: the nonce, which is read first, and the end
// bring nothing else along. The control is a range from the first byte on.
func TestRemotePayloadReadsAheadInTheRangeOnly(t *testing.T) {
	t.Parallel()
	l := encrypt(t, 40*envelope.PlainLeaf)
	size := int64(len(l.stream))
	cost := func(from int64) int64 {
		h := &holder{stream: l.stream}
		p := &remotePayload{size: size, from: from, until: from + 1<<20, fetch: h.fetch}
		for _, r := range []struct{ off, n int64 }{{0, envelope.NonceSize}, {size - envelope.ChunkSize, envelope.ChunkSize}, {from, 1 << 20}} {
			b := make([]byte, r.n)
			if _, err := p.ReadAt(b, r.off); err != nil || !bytes.Equal(b, l.stream[r.off:r.off+r.n]) {
				t.Errorf("%d bytes at %d: %v", r.n, r.off, err)
			}
		}
		return h.asked
	}
	if n := cost(payloadStart(20 * envelope.PlainLeaf)); n > 4<<20 {
		t.Errorf("1 MiB in the middle cost %d bytes", n)
	}
	h := &holder{stream: l.stream}
	p := &remotePayload{size: size, until: size, fetch: h.fetch}
	if _, err := p.ReadAt(make([]byte, envelope.NonceSize), 0); err != nil || h.asked < window/2 {
		t.Errorf("nothing was read ahead: %d bytes, %v", h.asked, err)
	}
}

// TestRemotePayloadFails: what a holder leaves out is an error, not a hole.
func TestRemotePayloadFails(t *testing.T) {
	t.Parallel()
	gone := errors.New("no holder")
	for name, fetch := range map[string]func(int64, int64, func(int64, []byte)) error{
		"nothing":          func(int64, int64, func(int64, []byte)) error { return nil },
		"another place":    func(_, _ int64, each func(int64, []byte)) error { each(500, make([]byte, 10)); return nil },
		"an empty leaf":    func(from, _ int64, each func(int64, []byte)) error { each(from, nil); return nil },
		"an error":         func(int64, int64, func(int64, []byte)) error { return gone },
		"a part, an error": func(from, _ int64, each func(int64, []byte)) error { each(from, make([]byte, 1)); return gone },
		"a part, then none": func(from, _ int64, each func(int64, []byte)) error {
			if from == 0 {
				each(0, make([]byte, 1))
			}
			return nil
		},
	} {
		p := &remotePayload{size: 1000, until: 1000, fetch: fetch}
		if n, err := p.ReadAt(make([]byte, 100), 0); err == nil || n > 1 {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
}

// TestPayloadEnd holds the arithmetic against the format: the chunk with the byte
// is before the end, and no further chunk is, but the last where it must be.
func TestPayloadEnd(t *testing.T) {
	t.Parallel()
	const chunk = envelope.ChunkSize - 16
	for _, plain := range []int64{1, 100, chunk - 1, chunk, chunk + 1, 15 * chunk, 15*chunk + 1, 1000*chunk + 7} {
		size := envelope.PayloadSize(plain)
		for _, last := range []int64{0, 1, chunk - 1, chunk, chunk + 1, plain / 2, plain - 1, plain, plain * 3, 1 << 62} {
			got := payloadEnd(last, size)
			if got > size || got <= envelope.NonceSize {
				t.Fatalf("byte %d of %d: %d is outside of %d", last, plain, got, size)
			}
			if last >= plain {
				if got != size {
					t.Errorf("byte %d past the end of %d: %d, not %d", last, plain, got, size)
				}
				continue
			}
			if least := envelope.NonceSize + last/chunk*envelope.ChunkSize + last%chunk + 1 + 16; got < min(least, size) {
				t.Errorf("byte %d of %d: %d ends before its chunk does, %d", last, plain, got, least)
			}
			if got != size && got-envelope.NonceSize > (last/chunk+1)*envelope.ChunkSize {
				t.Errorf("byte %d of %d: %d is more than its chunk", last, plain, got)
			}
		}
	}
}
