package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/ipld/merkledag"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/network"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// reading is boxo's stack over a session: what it is made of and what it costs.
type stack struct {
	*Session
	dag   ipld.DAGService
	moved atomic.Int64 // bytes of blocks
	asked atomic.Int64 // requests
}

func newStack(t *testing.T, p pair, o object, authority func(network.Conn, statement.ID) ([]byte, error)) *stack {
	s := &stack{}
	s.Session = NewSession(o.address, func(ctx context.Context, req Request, sink func(Block) error) (Result, error) {
		s.asked.Add(1)
		return Fetch(ctx, p.receiver, p.holder.ID(), req, authority, func(b Block) error {
			s.moved.Add(int64(len(b.Data)))
			return sink(b)
		})
	})
	t.Cleanup(func() { s.Close() })
	store := blockstore.NewBlockstore(dssync.MutexWrap(datastore.NewMapDatastore()))
	s.dag = merkledag.NewDAGService(blockservice.New(store, s.Session))
	return s
}

func (s *stack) open(t *testing.T, root cid.Cid) uio.DagReader {
	t.Helper()
	node, err := s.dag.Get(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	r, err := uio.NewDagReader(context.Background(), node, s.dag)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// fileOf is the age file of an object, as bytes.
func fileOf(t *testing.T, m *memory, o object) []byte {
	t.Helper()
	var g got
	if _, err := Walk(context.Background(), m, Request{Items: []Item{o.whole()}}, g.sink); err != nil {
		t.Fatal(err)
	}
	var file []byte
	for _, b := range g.blocks {
		if b.Kind == Header || b.Kind == Leaf {
			file = append(file, b.Data...)
		}
	}
	return file
}

// boxo's DAG reader gets the bytes of the age file over our protocol, in order in one
// stream, and at random at the price of what it touches and a little ahead.
func TestSessionUnderADagReader(t *testing.T) {
	m, o := large()
	p := serve(t, m, &policy{}, Limits{})
	want := fileOf(t, m, o)
	s := newStack(t, p, o, nil)
	have, err := io.ReadAll(s.open(t, o.file))
	if err != nil || !bytes.Equal(have, want) {
		t.Fatalf("%d bytes of %d: %v", len(have), len(want), err)
	}
	if n := s.moved.Load(); n > int64(len(want))*11/10 {
		t.Errorf("%d bytes moved for %d", n, len(want))
	}
	t.Logf("%d bytes in order: %d moved in %d requests", len(want), s.moved.Load(), s.asked.Load())

	s = newStack(t, p, o, nil)
	r := s.open(t, o.file)
	for _, at := range []int64{40 * leafSize, 3, int64(len(want)) - 10, 20*leafSize + 5} {
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1000)
		n, err := io.ReadFull(r, b)
		if err != nil && err != io.ErrUnexpectedEOF || !bytes.Equal(b[:n], want[at:at+int64(n)]) {
			t.Errorf("%d bytes at %d: %v", n, at, err)
		}
	}
	if n := s.moved.Load(); n > int64(len(want))*3/4 {
		t.Errorf("four places cost %d bytes of %d", n, len(want))
	}
	t.Logf("four places: %d moved in %d requests", s.moved.Load(), s.asked.Load())
}

// Who asks for the file while only the manifest has come waits for the rest of the
// head: that nothing links to the file yet says nothing about the file.
func TestSessionWaitsForTheHead(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 3*leafSize)
	p := serve(t, m, &policy{}, Limits{})
	var s *Session
	early := make(chan error, 1)
	var answered atomic.Bool
	s = NewSession(o.address, func(ctx context.Context, req Request, sink func(Block) error) (Result, error) {
		return Fetch(ctx, p.receiver, p.holder.ID(), req, nil, func(b Block) error {
			if err := sink(b); err != nil || b.Kind != Manifest {
				return err
			}
			go func() {
				_, err := s.GetBlock(context.Background(), o.file)
				answered.Store(true)
				early <- err
			}()
			for waiting := false; !waiting && !answered.Load(); runtime.Gosched() {
				s.mu.Lock()
				waiting = s.wanted[o.file] > 0
				s.mu.Unlock()
			}
			return nil
		})
	})
	defer s.Close()
	if _, err := s.GetBlock(context.Background(), o.address); err != nil {
		t.Fatal(err)
	}
	if err := <-early; err != nil {
		t.Error(err)
	}
}

// Many readers at once, at different places, get what they ask for.
func TestSessionOfManyReaders(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 30*leafSize)
	p := serve(t, m, &policy{}, Limits{})
	want := fileOf(t, m, o)
	s := newStack(t, p, o, nil)
	s.open(t, o.file)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			node, err := s.dag.Get(context.Background(), o.file)
			if err != nil {
				t.Error(err)
				return
			}
			r, err := uio.NewDagReader(context.Background(), node, s.dag)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			at := int64(i) * 7 * leafSize
			b := make([]byte, 3*leafSize)
			if _, err := r.Seek(at, io.SeekStart); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, want[at:at+int64(len(b))]) {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// A session has one object and one authority: what is not of the object, not given, or
// not the bytes that were asked for does not come, and says why.
func TestSessionRefuses(t *testing.T) {
	m := newMemory()
	o, other := addObject(t, m, 3*leafSize), addObject(t, m, 2*leafSize)
	var revoked atomic.Bool
	p := serve(t, m, &policy{open: func(_ network.Conn, r *Request) error {
		if revoked.Load() || string(r.Authority) != "a grant" {
			return errors.New("no")
		}
		return nil
	}}, Limits{})
	grant := func(network.Conn, statement.ID) ([]byte, error) { return []byte("a grant"), nil }
	ctx := context.Background()
	s := newStack(t, p, o, grant)
	if _, err := s.GetBlock(ctx, o.file); err != nil {
		t.Errorf("the control: %v", err)
	}
	for name, c := range map[string]cid.Cid{"file root": other.file, "manifest": other.address, "payload": other.root} {
		if _, err := s.GetBlock(ctx, c); !ipld.IsNotFound(err) {
			t.Errorf("another object's %s: %v", name, err)
		}
	}
	if _, err := newStack(t, p, o, nil).GetBlock(ctx, o.file); !ipld.IsNotFound(err) || !errors.Is(err, ErrRefused) {
		t.Errorf("without a grant: %v", err)
	}
	revoked.Store(true)
	node, err := s.dag.Get(ctx, o.root) // came with the file root
	if err != nil {
		t.Fatal(err)
	}
	leaf := node.Links()[1].Cid
	if _, err := s.GetBlock(ctx, leaf); !ipld.IsNotFound(err) {
		t.Errorf("after the grant ended: %v", err)
	}
	revoked.Store(false)
	if b, err := s.GetBlock(ctx, leaf); err != nil || len(b.RawData()) != leafSize {
		t.Errorf("the control: %v", err)
	}
	bad := slices.Clone(m.blocks[leaf])
	bad[7] ^= 1
	m.blocks[leaf] = bad
	if _, err := newStack(t, p, o, grant).dag.Get(ctx, o.file); err != nil {
		t.Fatal(err)
	}
	fresh := newStack(t, p, o, grant)
	if _, err := fresh.GetBlock(ctx, o.file); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.GetBlock(ctx, leaf); !errors.Is(err, ErrCorrupt) {
		t.Errorf("wrong bytes: %v", err)
	}
}

// GetBlocks gives what there is, and ends; a closed session gives nothing and leaves
// nothing behind.
func TestSessionEnds(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 20*leafSize)
	p := serve(t, m, &policy{}, Limits{})
	ctx := context.Background()
	s := newStack(t, p, o, nil)
	if _, err := s.dag.Get(ctx, o.file); err != nil { // the session begins at the file
		t.Fatal(err)
	}
	node, err := s.dag.Get(ctx, o.root)
	if err != nil {
		t.Fatal(err)
	}
	var cids []cid.Cid
	for _, l := range node.Links() {
		cids = append(cids, l.Cid)
	}
	slices.Reverse(cids)
	out, err := s.GetBlocks(ctx, append(cids, addObject(t, newMemory(), 5).root))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range out {
		n++
	}
	if n != len(cids) {
		t.Errorf("%d of %d blocks came", n, len(cids))
	}
	if err := s.NotifyNewBlocks(ctx); err != nil {
		t.Error(err)
	}
	if _, err := s.GetBlock(ctx, cids[10]); err != nil { // a stream is under way
		t.Error(err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.GetBlock(gone, cids[len(cids)-1]); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.GetBlock(ctx, cids[0]); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.GetBlocks(ctx, cids); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
