package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/crypto/envelope"
	boxo "github.com/ipfs/boxo/exchange"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// ErrClosed reports a session that was closed.
var ErrClosed = errors.New("session is closed")

const (
	sessionAhead = 8   // leaves that are held before somebody asks for them
	sessionNodes = 8   // interior nodes that are held
	sessionKnown = 256 // interior nodes whose children are known: an object of 250 GB, read in order
)

// Session gives the blocks of one object one by one, to code that knows blocks and no
// objects: boxo's blockservice and DAG readers work on it. It implements boxo's
// exchange.Interface.
//
// Holders give objects, not blocks, so a session can give a block only once it has
// given the one that links to it: it knows the head of the object (manifest, file root,
// header, root of the payload), and from each interior node the children. It reads
// ahead of what is asked for in one stream, and begins another one where it is asked
// for something else; memory for 8 leaves is all that it needs. The authority is that
// of its Ask: every request shows it anew, and a holder that no longer accepts it gives
// no further block.
//
// A Session may be used by many goroutines. It starts none before it is asked.
type Session struct {
	ask     func(ctx context.Context, req Request, sink func(Block) error) (Result, error)
	address cid.Cid

	mu     sync.Mutex // guards what follows
	moved  chan struct{}
	head   map[cid.Cid][]byte // manifest, file root, header, root of the payload
	known  map[cid.Cid]stretch
	order  []cid.Cid // of the nodes whose children are known, oldest first
	kids   map[cid.Cid][]cid.Cid
	nodes  []held
	leaves []held
	run    *run            // the stream under way, or the last one
	wanted map[cid.Cid]int // by how many callers
	closed bool

	gone chan struct{} // closed by Close
	work sync.WaitGroup
}

var _ boxo.Interface = (*Session)(nil)

// stretch is where in the payload a block lies.
type stretch struct{ from, to int64 }

type held struct {
	cid  cid.Cid
	data []byte
}

// run is one request. Its fields are guarded by Session.mu.
type run struct {
	stop   context.CancelFunc
	target cid.Cid // what it was begun for; undefined once that has come
	next   int64   // payload bytes up to here have come
	left   bool    // for another one
	ended  bool
	err    error
}

// NewSession makes a session for the object at address. ask sends a request to whoever
// holds the object, with the authority that the session has, as [Fetcher.Fetch] does.
func NewSession(address cid.Cid, ask func(ctx context.Context, req Request, sink func(Block) error) (Result, error)) *Session {
	return &Session{
		ask: ask, address: address, moved: make(chan struct{}), gone: make(chan struct{}), wanted: map[cid.Cid]int{},
		head: map[cid.Cid][]byte{}, known: map[cid.Cid]stretch{}, kids: map[cid.Cid][]cid.Cid{},
	}
}

// GetBlock returns a block of the object. One that nothing which came before links to,
// and one that the holder does not give, is not found in the words of package ipld.
func (s *Session) GetBlock(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	data, err := s.get(ctx, c)
	if err != nil {
		return nil, err
	}
	return blocks.NewBlockWithCid(data, c)
}

// GetBlocks gives blocks one after another, in the order in which they lie in the
// object. It ends without those that GetBlock would fail for.
func (s *Session) GetBlocks(ctx context.Context, cids []cid.Cid) (<-chan blocks.Block, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	todo := slices.Clone(cids)
	slices.SortStableFunc(todo, func(a, b cid.Cid) int { return int(s.known[a].from - s.known[b].from) })
	out := make(chan blocks.Block)
	s.work.Go(func() {
		defer close(out)
		for _, c := range todo {
			b, err := s.GetBlock(ctx, c)
			if err != nil {
				continue
			}
			select {
			case out <- b:
			case <-ctx.Done():
				return
			case <-s.gone:
				return
			}
		}
	})
	return out, nil
}

// NotifyNewBlocks does nothing: what a node holds it offers by object, not by block.
func (s *Session) NotifyNewBlocks(context.Context, ...blocks.Block) error { return nil }

// Close ends what is under way and waits for it.
func (s *Session) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.gone)
	}
	if s.run != nil {
		s.run.stop()
	}
	s.change()
	s.mu.Unlock()
	s.work.Wait()
	return nil
}

func (s *Session) change() {
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *Session) get(ctx context.Context, c cid.Cid) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted[c]++
	defer func() {
		if s.wanted[c]--; s.wanted[c] == 0 {
			delete(s.wanted, c)
		}
	}()
	for {
		if s.closed {
			return nil, ErrClosed
		}
		if data, ok := s.give(c); ok {
			return data, nil
		}
		mine, err := s.seek(ctx, c)
		if err != nil {
			return nil, err
		}
		moved := s.moved
		s.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if mine.ended && !mine.left && mine.err != nil {
			if data, ok := s.give(c); ok {
				return data, nil
			}
			return nil, s.failure(c, mine.err)
		}
	}
}

func (s *Session) failure(c cid.Cid, err error) error {
	if errors.Is(err, ErrRefused) {
		return fmt.Errorf("%w: %w", ipld.ErrNotFound{Cid: c}, err)
	}
	return err
}

// give returns a block that is here. A leaf makes room for the next.
func (s *Session) give(c cid.Cid) ([]byte, bool) {
	if data, ok := s.head[c]; ok {
		return data, true
	}
	is := func(h held) bool { return h.cid == c }
	if i := slices.IndexFunc(s.nodes, is); i >= 0 {
		return s.nodes[i].data, true
	}
	if i := slices.IndexFunc(s.leaves, is); i >= 0 {
		data := s.leaves[i].data
		s.leaves = slices.Delete(s.leaves, i, i+1)
		s.change()
		return data, true
	}
	return nil, false
}

// seek makes sure that a stream is under way which leads to a block, or which somebody
// else waits for before this block can have one.
func (s *Session) seek(ctx context.Context, c cid.Cid) (*run, error) {
	if s.run != nil && !s.run.ended && s.run.target.Defined() {
		return s.run, nil // it has not yet brought what it was begun for
	}
	if len(s.order) == 0 {
		return s.begin(ctx, s.address, Item{Address: s.address.Bytes()}, 0), nil
	}
	at, ok := s.known[c]
	if !ok {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	if r := s.run; r != nil && !r.ended {
		if room := int64(sessionAhead-len(s.leaves)) * envelope.LeafSize; at.from >= r.next && at.from < r.next+room {
			return r, nil
		}
		r.left = true
		r.stop()
	}
	s.leaves = slices.DeleteFunc(s.leaves, func(h held) bool { return s.wanted[h.cid] == 0 })
	it := Item{Address: s.address.Bytes(), Ranges: []Range{{From: uint64(at.from), To: 1 << 63}}}
	return s.begin(ctx, c, it, at.from), nil
}

// begin starts a request, which outlives the call that it is for.
func (s *Session) begin(ctx context.Context, target cid.Cid, it Item, from int64) *run {
	within, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &run{stop: stop, target: target, next: from}
	s.run = r
	s.work.Go(func() {
		defer stop()
		_, err := s.ask(within, Request{Items: []Item{it}}, func(b Block) error { return s.take(within, r, b) })
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.target.Defined() && err == nil {
			err = fmt.Errorf("%w: the holder did not send what it was asked for", ErrUnavailable)
		}
		r.ended, r.err = true, err
		s.change()
	})
	return r
}

// take keeps a block and waits where nobody has asked for those before it.
func (s *Session) take(ctx context.Context, r *run, b Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for b.Kind == Leaf && len(s.leaves) >= sessionAhead && ctx.Err() == nil {
		moved := s.moved
		s.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
	if ctx.Err() != nil || s.run != r {
		return context.Canceled
	}
	switch b.Kind {
	case Leaf:
		s.leaves = append(s.leaves, held{b.CID, slices.Clone(b.Data)})
		r.next = b.Offset + int64(len(b.Data))
	case Interior:
		if err := s.learn(b); err != nil {
			return err
		}
	default:
		if s.head[b.CID] == nil {
			s.head[b.CID] = slices.Clone(b.Data)
		}
	}
	// The first stream is for the whole head: nobody can tell what a block is before
	// the root of the payload, which is the head's last one, has come.
	if b.CID == r.target && b.CID != s.address || r.target == s.address && b.Kind == Interior {
		r.target = cid.Undef
	}
	s.change()
	return nil
}

// learn keeps an interior node and where its children lie. The first one is the root.
func (s *Session) learn(b Block) error {
	if _, ok := s.kids[b.CID]; !ok {
		node, err := envelope.ParseNode(b.Data)
		if err != nil {
			return err
		}
		at := b.Offset
		for _, c := range node.Children {
			s.known[c.CID] = stretch{at, at + c.Size}
			s.kids[b.CID] = append(s.kids[b.CID], c.CID)
			at += c.Size
		}
		if s.order = append(s.order, b.CID); len(s.order) > sessionKnown {
			oldest := s.order[1] // the root stays
			for _, c := range s.kids[oldest] {
				delete(s.known, c)
			}
			delete(s.kids, oldest)
			s.order = slices.Delete(s.order, 1, 2)
		}
	}
	if len(s.order) == 1 {
		s.head[b.CID] = slices.Clone(b.Data)
		return nil
	}
	if s.head[b.CID] != nil || slices.ContainsFunc(s.nodes, func(h held) bool { return h.cid == b.CID }) {
		return nil
	}
	if s.nodes = append(s.nodes, held{b.CID, slices.Clone(b.Data)}); len(s.nodes) > sessionNodes {
		s.nodes = slices.Delete(s.nodes, 0, 1)
	}
	return nil
}
