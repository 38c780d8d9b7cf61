package object

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// leaf is one leaf of a payload: where its bytes stand.
type leaf struct {
	cid    cid.Cid
	offset int64
	size   int64
}

// leaves walks the interior of a payload DAG in this home. Blocks are checked
// against their CIDs, depth and sizes against the manifest.
func (l *Library) leaves(ctx context.Context, root cid.Cid, size int64) ([]leaf, error) {
	var out []leaf
	var offset int64
	var walk func(c cid.Cid, size int64, depth int) error
	walk = func(c cid.Cid, size int64, depth int) error {
		if depth > envelope.MaxDepth {
			return errors.New("the payload is nested too deeply")
		}
		data, err := l.block(ctx, c)
		if err != nil {
			return err
		}
		node, err := envelope.ParseNode(data)
		if err != nil {
			return err
		}
		end := offset + size
		for _, ch := range node.Children {
			if ch.Leaf {
				out = append(out, leaf{ch.CID, offset, ch.Size})
				offset += ch.Size
				continue
			}
			if err := walk(ch.CID, ch.Size, depth+1); err != nil {
				return err
			}
		}
		if offset != end {
			return errors.New("the payload's sizes do not add up")
		}
		return nil
	}
	if err := walk(root, size, 0); err != nil {
		var f *fault.Error
		if errors.As(err, &f) {
			return nil, err
		}
		return nil, corrupt(root, err)
	}
	return out, nil
}

// payload is an object's ciphertext in this home, at random and in order.
type payload struct {
	get    func(cid.Cid) ([]byte, error) // checked blocks, for the one operation that reads
	leaves []leaf
	size   int64

	at   int // index of the cached leaf
	data []byte
}

// ReadAt implements io.ReaderAt for one reader at a time.
func (p *payload) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		if off >= p.size {
			return n, io.EOF
		}
		data, start, err := p.leafAt(off)
		if err != nil {
			return n, err
		}
		k := copy(b[n:], data[off-start:])
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

func (p *payload) leafAt(off int64) ([]byte, int64, error) {
	i := p.find(off)
	if p.data == nil || p.at != i {
		data, err := p.get(p.leaves[i].cid)
		if err != nil {
			return nil, 0, err
		}
		if int64(len(data)) != p.leaves[i].size {
			return nil, 0, corrupt(p.leaves[i].cid, errors.New("it is not as long as its parent says"))
		}
		p.at, p.data = i, data
	}
	return p.data, p.leaves[i].offset, nil
}

func (p *payload) find(off int64) int {
	lo, hi := 0, len(p.leaves)
	for lo+1 < hi {
		mid := (lo + hi) / 2
		if p.leaves[mid].offset <= off {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// openPayload prepares an object's ciphertext for reading within ctx.
func (l *Library) openPayload(ctx context.Context, m envelope.Manifest) (*payload, error) {
	root, err := cid.Cast(m.Payload)
	if err != nil {
		return nil, err
	}
	leaves, err := l.leaves(ctx, root, int64(m.Size))
	if err != nil {
		return nil, err
	}
	get := func(c cid.Cid) ([]byte, error) { return l.block(ctx, c) }
	return &payload{get: get, leaves: leaves, size: int64(m.Size)}, nil
}

// Ciphertext is the payload of an object of this home in order.
func (l *Library) Ciphertext(ctx context.Context, m envelope.Manifest) (io.Reader, error) {
	p, err := l.openPayload(ctx, m)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(p, 0, p.size), nil
}

// Read decrypts an object of this home in order.
func (l *Library) Read(ctx context.Context, o *Opened) (io.Reader, error) {
	c, err := l.Ciphertext(ctx, o.Manifest)
	if err != nil {
		return nil, err
	}
	return envelope.Decrypt(o.Header, o.Key, c)
}

// Range is a range of plaintext bytes, First to Last, both included.
type Range struct{ First, Last int64 }

// ReadRange decrypts a range of an object of this home; only the leaves that it
// touches are read.
func (l *Library) ReadRange(ctx context.Context, o *Opened, r Range) (io.Reader, error) {
	p, err := l.openPayload(ctx, o.Manifest)
	if err != nil {
		return nil, err
	}
	return DecryptRange(o, p, r)
}

// DecryptRange decrypts a range of a payload that can be read at random.
func DecryptRange(o *Opened, p io.ReaderAt, r Range) (io.Reader, error) {
	at, size, err := envelope.DecryptAt(o.Header, o.Key, p, int64(o.Manifest.Size))
	if err != nil {
		return nil, err
	}
	if r.First < 0 || r.First > r.Last || r.First >= size {
		return nil, fault.New(fault.Usage, fmt.Sprintf("the object has %d bytes, the first is 0", size), "the range %d-%d is outside the object", r.First, r.Last)
	}
	return io.NewSectionReader(at, r.First, min(r.Last, size-1)-r.First+1), nil
}

// Check visits every block of a held object and reports each to fn, also after
// one that is bad, except below a node that cannot be read. What contradicts the
// manifest is reported under its address. The error is of the home, not of a
// block.
func (l *Library) Check(ctx context.Context, h *Held, fn func(cid.Cid, error)) error {
	var failed error
	get := func(c cid.Cid) ([]byte, error) {
		data, err := l.block(ctx, c)
		if err != nil && fault.Of(err).Exit != fault.Integrity {
			failed = err
			return nil, err
		}
		if fn(c, err); err != nil {
			return nil, errBad
		}
		return data, nil
	}
	err := walkOwn(ctx, h.Manifest.Claims(), get, func(cid.Cid, []byte) error { return nil })
	switch {
	case failed != nil:
		return failed
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !errors.Is(err, errBad):
		fn(h.CID, corrupt(h.CID, err))
	}
	return nil
}

// Damage finds the payload bytes of a held object whose leaves are missing or not
// what their CIDs say, as sorted ranges of payload offsets; whole where the nodes
// above the leaves do not tell.
func (l *Library) Damage(ctx context.Context, h *Held) (ranges []Range, whole bool, err error) {
	m := h.Manifest.Claims()
	root, err := cid.Cast(m.Payload)
	if err != nil {
		return nil, false, err
	}
	leaves, err := l.leaves(ctx, root, int64(m.Size))
	if err != nil {
		if ctx.Err() == nil && fault.Of(err).Exit == fault.Integrity {
			return nil, true, nil
		}
		return nil, false, err
	}
	for _, f := range leaves {
		data, err := l.block(ctx, f.cid)
		if err != nil && fault.Of(err).Exit != fault.Integrity {
			return nil, false, err
		}
		if err == nil && int64(len(data)) == f.size {
			continue
		}
		last := f.offset + f.size - 1
		if n := len(ranges); n > 0 && ranges[n-1].Last+1 == f.offset {
			ranges[n-1].Last = last
		} else {
			ranges = append(ranges, Range{First: f.offset, Last: last})
		}
	}
	return ranges, false, nil
}

// Slots lists the slots of the erasable store that owned objects refer to.
func (l *Library) Slots() (map[uint64]bool, error) {
	used := map[uint64]bool{}
	err := l.Store.Objects(func(o store.Object) (bool, error) {
		if !o.Owned {
			return true, nil
		}
		var loc local
		if err := statement.Unmarshal(o.Local, &loc); err != nil {
			return false, err
		}
		if len(loc.Secret.Ciphertext) > 0 { // not erased
			used[loc.Secret.Slot] = true
		}
		return true, nil
	})
	return used, err
}
