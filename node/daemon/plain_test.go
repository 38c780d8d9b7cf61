package daemon

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"filippo.io/age"
	"github.com/ipfs/go-cid"
)

// leaves is an encrypted payload, in the pieces in which it arrives.
type leaves struct {
	plain  []byte
	nonce  []byte
	rest   [][]byte
	opened *envelope.Leaves
	stream []byte
}

// collector keeps blocks, which may come from several goroutines and in any order.
type collector struct {
	mu     sync.Mutex
	blocks map[cid.Cid][]byte // owned by mu
}

func (c *collector) PutMany(_ context.Context, blocks []envelope.Block) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range blocks {
		c.blocks[b.CID] = bytes.Clone(b.Data)
	}
	return nil
}

// stream puts the payload together again.
func (c *collector) stream(t *testing.T, root cid.Cid) (out []byte) {
	t.Helper()
	node, err := envelope.ParseNode(c.blocks[root])
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range node.Children {
		if ch.Leaf {
			out = append(out, c.blocks[ch.CID]...)
		} else {
			out = append(out, c.stream(t, ch.CID)...)
		}
	}
	return out
}

func encrypt(t *testing.T, size int) *leaves {
	t.Helper()
	l := &leaves{plain: make([]byte, size)}
	rand.Read(l.plain)
	c := &collector{blocks: map[cid.Cid][]byte{}}
	payload, key, err := envelope.Encrypt(context.Background(), bytes.NewReader(l.plain), c)
	if err != nil {
		t.Fatal(err)
	}
	who, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	header, err := envelope.RecipientHeader(key, who.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if l.stream = c.stream(t, payload.Root); int64(len(l.stream)) != payload.Size {
		t.Fatalf("the payload has %d bytes, not %d", len(l.stream), payload.Size)
	}
	l.nonce = l.stream[:envelope.NonceSize]
	l.rest = slices.Collect(slices.Chunk(l.stream[envelope.NonceSize:], envelope.LeafSize))
	if l.opened, err = envelope.OpenLeaves(header, key, l.nonce, payload.Size); err != nil {
		t.Fatal(err)
	}
	return l
}

// feed writes all leaves and ends the pipe.
func (l *leaves) feed(p *plainPipe) error {
	at := int64(envelope.NonceSize)
	for _, leaf := range l.rest {
		if err := p.write(at, leaf); err != nil {
			p.end(err)
			return err
		}
		at += int64(len(leaf))
	}
	p.end(io.EOF)
	return nil
}

func (l *leaves) pipe() *plainPipe {
	p := newPlainPipe()
	p.opened = l.opened
	return p
}

func TestPlainPipe(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 65_536, envelope.PlainLeaf, envelope.PlainLeaf + 1, 7*envelope.PlainLeaf + 5} {
		l := encrypt(t, size)
		for name, read := range map[string]func(*plainPipe) ([]byte, error){
			"Read":        func(p *plainPipe) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{p}) },
			"small Reads": func(p *plainPipe) ([]byte, error) { return io.ReadAll(&trickle{p}) },
			"WriteTo":     func(p *plainPipe) ([]byte, error) { var b bytes.Buffer; _, err := p.WriteTo(&b); return b.Bytes(), err },
			"Read, WriteTo": func(p *plainPipe) ([]byte, error) {
				var b bytes.Buffer
				_, err := io.CopyN(&b, struct{ io.Reader }{p}, int64(size/3))
				if err == nil {
					_, err = p.WriteTo(&b)
				}
				return b.Bytes(), err
			},
		} {
			p := l.pipe()
			fed := make(chan error, 1)
			go func() { fed <- l.feed(p) }()
			got, err := read(p)
			if err != nil || !bytes.Equal(got, l.plain) {
				t.Errorf("%s of %d bytes: %d bytes, %v", name, size, len(got), err)
			}
			if err := <-fed; err != nil {
				t.Errorf("%s of %d bytes: feeding: %v", name, size, err)
			}
		}
	}
}

// trickle reads a few bytes at a time.
type trickle struct{ r io.Reader }

func (r *trickle) Read(b []byte) (int, error) { return r.r.Read(b[:min(len(b), 40_001)]) }

// TestPlainPipeEnds: the reader gets what came before, and why there is no more.
func TestPlainPipeEnds(t *testing.T) {
	t.Parallel()
	l := encrypt(t, 3*envelope.PlainLeaf)
	why := errors.New("the holder stopped")
	for name, read := range map[string]func(*plainPipe) (int64, error){
		"Read":    func(p *plainPipe) (int64, error) { return io.Copy(io.Discard, struct{ io.Reader }{p}) },
		"WriteTo": func(p *plainPipe) (int64, error) { return p.WriteTo(io.Discard) },
	} {
		p := l.pipe()
		if err := p.write(envelope.NonceSize, l.rest[0]); err != nil {
			t.Fatal(err)
		}
		p.end(why)
		if n, err := read(p); n != envelope.PlainLeaf || !errors.Is(err, why) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}

	// One flipped bit: nothing of that leaf comes out.
	p := l.pipe()
	bad := slices.Clone(l.rest[0])
	bad[len(bad)-1] ^= 1
	if err := p.write(envelope.NonceSize, bad); !errors.Is(err, envelope.ErrIntegrity) {
		t.Errorf("a flipped bit: %v", err)
	}
	p.end(io.ErrUnexpectedEOF)
	if n, err := io.Copy(io.Discard, p); n != 0 || err != io.ErrUnexpectedEOF {
		t.Errorf("after a flipped bit: %d bytes, %v", n, err)
	}

	// A leaf in another's place.
	p = l.pipe()
	if err := p.write(envelope.NonceSize, l.rest[1]); !errors.Is(err, envelope.ErrIntegrity) {
		t.Errorf("the second leaf first: %v", err)
	}
}

// TestPlainPipeReaderGone: the writer is not left waiting for a reader that gave
// up, and waits for one that is slow.
func TestPlainPipeReaderGone(t *testing.T) {
	t.Parallel()
	l := encrypt(t, 6*envelope.PlainLeaf)
	p := l.pipe()
	at := int64(envelope.NonceSize)
	for i := range plainBuffers { // as many as there are buffers, without a reader
		if err := p.write(at, l.rest[i]); err != nil {
			t.Fatal(err)
		}
		at += int64(len(l.rest[i]))
	}
	blocked := make(chan error, 1)
	go func() { blocked <- p.write(at, l.rest[plainBuffers]) }()
	select {
	case err := <-blocked:
		t.Fatalf("more was buffered than there are buffers: %v", err)
	default:
	}
	close(p.gone)
	if err := <-blocked; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a reader that is gone: %v", err)
	}

	// A writer that fails ends WriteTo with its error, and the buffer goes back.
	p = l.pipe()
	go l.feed(p)
	full := errors.New("no space left")
	if _, err := p.WriteTo(failing{full}); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
	close(p.gone)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
