package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"filippo.io/age"
	"github.com/ipfs/go-cid"
)

// Sink takes finished blocks.
type Sink interface {
	// PutMany stores blocks. When it returns nil they are durable. The blocks and
	// their Data belong to the callee only until it returns. It is called by
	// several goroutines at a time; it should return soon once ctx is done.
	PutMany(ctx context.Context, blocks []Block) error
}

// Payload is an encrypted payload that a [Sink] holds.
type Payload struct {
	Root      cid.Cid
	Size      int64 // bytes of ciphertext, its nonce included
	PlainSize int64 // bytes of plaintext
}

// Encrypt reads src to its end, encrypts it under a fresh file key and puts the
// blocks of the payload into sink. All of them are durable when it returns
// without an error; after an error the blocks stored so far are garbage, for no
// key to them was returned.
//
// Input of more than a chunk is encrypted, hashed and stored at the same time,
// with at most 48 MiB in flight. Encrypt returns after its goroutines have; it
// notices the end of ctx, and an error of sink, between two reads of src.
func Encrypt(ctx context.Context, src io.Reader, sink Sink) (Payload, FileKey, error) {
	var c capture
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := age.EncryptReader(until(ctx, src), &c)
	if err != nil {
		return Payload{}, FileKey{}, err
	}
	if err := dropHeader(r, c.key); err != nil {
		return Payload{}, FileKey{}, err
	}
	root, err := encryptBlocks(ctx, cancel, r, sink)
	if err != nil {
		return Payload{}, FileKey{}, err
	}
	plain, err := PlainSize(int64(root.size))
	if err != nil {
		return Payload{}, FileKey{}, err
	}
	return Payload{root.cid, int64(root.size), plain}, c.key, nil
}

// encryptBlocks stores the payload that r yields. A payload of one chunk, as
// most small files have, costs no goroutine and no large buffer.
func encryptBlocks(ctx context.Context, cancel context.CancelCauseFunc, r io.Reader, sink Sink) (link, error) {
	nonce := make([]byte, NonceSize)
	if _, err := fill(r, nonce); err != nil {
		return link{}, err
	}
	b := newBuilder()
	b.leaf(nonce)
	head := headPool.Get().(*[ChunkSize]byte)
	defer headPool.Put(head)
	n, err := fill(r, head[:])
	if err != nil {
		return link{}, err
	}
	if n == len(head) {
		return pipeline(ctx, cancel, head[:], r, b, sink)
	}
	b.leaf(head[:n])
	root := b.tree.finish()
	return root, sink.PutMany(ctx, b.take())
}

var (
	headPool = sync.Pool{New: func() any { return new([ChunkSize]byte) }}
	leafPool = sync.Pool{New: func() any { return new([LeafSize]byte) }}
)

// builder collects the blocks of a payload: leaves as they come, and the
// interior nodes above them.
type builder struct {
	tree   tree
	blocks []Block
}

func newBuilder() *builder {
	b := &builder{}
	b.tree = tree{width: MaxWidth, emit: func(n Block) { b.blocks = append(b.blocks, n) }}
	return b
}

func (b *builder) leaf(data []byte) {
	c := CIDOf(data, CodecRaw)
	b.blocks = append(b.blocks, Block{c, data})
	b.tree.add(0, link{c, uint64(len(data)), uint64(len(data))})
}

// take hands over the blocks collected so far.
func (b *builder) take() []Block {
	blocks := b.blocks
	b.blocks = nil
	return blocks
}

// capture is the one recipient of an encryption: it keeps the file key that age
// drew, and leaves a stanza that is thrown away with the rest of the header.
type capture struct{ key FileKey }

func (c *capture) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	key, err := NewFileKey(fileKey)
	c.key = key
	return []*age.Stanza{{Type: CommitteeType}}, err
}

// dropHeader reads the header with the captured stanza off r. It compares what
// age wrote with what we would write, so that a difference between the two
// marshallers or HMACs stops an encryption instead of a later decryption.
func dropHeader(r io.Reader, key FileKey) error {
	want, err := marshalHeader(key, []stanza{{args: []string{CommitteeType}}})
	if err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("age writes its header in another way than this program expects")
	}
	return nil
}

// fill reads until buf is full or src ends. Unlike io.ReadFull it does not mistake
// an io.ErrUnexpectedEOF of the source for the end: a download that broke
// off would become a shorter object.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("reading what is to be encrypted: %w", err)
		}
	}
	return n, nil
}

// readerFunc is an io.Reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// until reads from r and stops when the context ends.
func until(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return r.Read(p)
	})
}
