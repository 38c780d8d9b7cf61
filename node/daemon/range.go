package daemon

import (
	"context"
	"errors"
	"io"
	"slices"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
)

// readRange reads a range of plaintext: the object's head first, then only the
// leaves that the range touches, and the last one, which age checks.
func (r *reading) readRange(ctx context.Context, address cid.Cid, to *target) error {
	in := &incoming{r: r, address: address}
	err := r.fetch(ctx, address, func() (*exchange.Request, func(exchange.Block) error) {
		if in.opened != nil {
			return nil, nil
		}
		item := exchange.Item{Address: address.Bytes()} // no payload
		return &exchange.Request{Items: []exchange.Item{item}}, func(b exchange.Block) (err error) {
			switch b.Kind {
			case exchange.Manifest:
				in.manifest = slices.Clone(b.Data)
			case exchange.Header:
				in.opened, err = r.unlock(ctx, 0, address, in.manifest, slices.Clone(b.Data))
			}
			return err
		}
	})
	if err != nil {
		return err
	}
	if in.opened.Details.Kind == object.KindDirectory {
		return rangeOfDirectory()
	}
	remote := &remotePayload{size: int64(in.opened.Manifest.Size)}
	remote.fetch = func(from, to int64, each func(off int64, data []byte)) error {
		return r.fetchRange(ctx, address, from, to, each)
	}
	want := object.Range{First: r.ask.First, Last: r.ask.Last}
	remote.from, remote.until = payloadStart(want.First), payloadEnd(want.Last, remote.size)
	content, err := object.DecryptRange(in.opened, remote, want)
	if err != nil {
		return err
	}
	r.got.Name, r.got.Origin = in.opened.Details.Name, originShown(in.opened.Details.Origin)
	r.got.Size, err = to.write(ctx, content, wanted(r.ask, in.opened))
	return err
}

const plainChunk = envelope.ChunkSize - 16

// payloadStart is where the chunk of a plaintext byte begins in the payload.
func payloadStart(first int64) int64 {
	return envelope.NonceSize + first/plainChunk*envelope.ChunkSize
}

// payloadEnd is where the chunk of a plaintext byte ends in the payload.
func payloadEnd(last, size int64) int64 {
	if last/plainChunk >= size/envelope.ChunkSize {
		return size
	}
	return min(size, envelope.NonceSize+(last/plainChunk+1)*envelope.ChunkSize)
}

func (r *reading) fetchRange(ctx context.Context, address cid.Cid, from, to int64, each func(int64, []byte)) error {
	next := from
	return r.fetch(ctx, address, func() (*exchange.Request, func(exchange.Block) error) {
		if next >= to {
			return nil, nil
		}
		item := exchange.Item{Address: address.Bytes(), Ranges: []exchange.Range{{From: uint64(next), To: uint64(to)}}}
		return &exchange.Request{Items: []exchange.Item{item}}, func(b exchange.Block) error {
			if b.Kind == exchange.Leaf {
				each(b.Offset, b.Data)
				next = max(next, b.Offset+int64(len(b.Data)))
			}
			return nil
		}
	})
}

// remotePayload reads a payload of another node at random. It keeps the leaves
// of the last request, and asks for up to window bytes at a time, within the range that
// is wanted.
type remotePayload struct {
	size        int64
	from, until int64 // nothing else is asked for but the nonce and the end, which age reads
	fetch       func(from, to int64, each func(off int64, data []byte)) error

	leaves []heldLeaf
}

type heldLeaf struct {
	off  int64
	data []byte
}

const window = 16 * envelope.LeafSize

// ReadAt implements io.ReaderAt for one reader at a time.
func (p *remotePayload) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		if off >= p.size {
			return n, io.EOF
		}
		data := p.find(off)
		if data == nil {
			if err := p.load(off, int64(len(b)-n)); err != nil {
				return n, err
			}
			if data = p.find(off); data == nil {
				return n, errors.New("the holder did not send what was asked")
			}
		}
		k := copy(b[n:], data)
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

func (p *remotePayload) find(off int64) []byte {
	for _, l := range p.leaves {
		if off >= l.off && off < l.off+int64(len(l.data)) {
			return l.data[off-l.off:]
		}
	}
	return nil
}

func (p *remotePayload) load(off, least int64) error {
	to := off + least
	if off >= p.from && off < p.until {
		to = max(to, min(p.until, off+window))
	}
	to = min(to, p.size)
	var kept []heldLeaf
	for _, l := range p.leaves { // the end that age checked may be wanted again
		if l.off+int64(len(l.data)) == p.size {
			kept = append(kept, l)
		}
	}
	p.leaves = kept
	return p.fetch(off, to, func(o int64, data []byte) {
		p.leaves = append(p.leaves, heldLeaf{o, slices.Clone(data)})
	})
}
