package envelope

import (
	"context"
	"io"
	"sync"
)

const (
	// batchLeaves is how many leaves go to the sink at once: enough that the
	// sink's wait for the disk is shared by 5.6 MiB.
	batchLeaves = 6
	// storers is how many batches are with the sink at a time, so that the disk
	// has work while one of them waits for it.
	storers = 3
	// maxLeaves is how many leaves are in flight, 28 MiB: one batch at each of
	// the first two stages, and one with each storer.
	maxLeaves = (2 + storers) * batchLeaves
)

// batch is a list of blocks for the sink, and the buffers to give back after.
type batch struct {
	blocks []Block
	leaves []*[LeafSize]byte
}

// line joins the three stages. The caller's goroutine encrypts into leaves, the
// second hashes them and builds the tree, the others store batches.
type line struct {
	cancel context.CancelCauseFunc
	slots  chan struct{}   // holds one token for each leaf in flight
	filled chan filledLeaf // encrypt -> hash; never blocks, it is as long as slots
	ready  chan batch      // hash -> store
	sink   Sink
}

type filledLeaf struct {
	buf *[LeafSize]byte
	n   int
}

// pipeline stores a payload of which head was read already, and returns its root.
func pipeline(ctx context.Context, cancel context.CancelCauseFunc, head []byte, r io.Reader, b *builder, sink Sink) (link, error) {
	l := &line{
		cancel: cancel, sink: sink,
		slots:  make(chan struct{}, maxLeaves),
		filled: make(chan filledLeaf, maxLeaves),
		ready:  make(chan batch),
	}
	var root link
	var wg sync.WaitGroup
	wg.Go(func() { root = l.hash(ctx, b) })
	for range storers {
		wg.Go(func() { l.store(ctx) })
	}
	func() {
		// Deferred, so that a panic in src leaves no goroutine behind.
		defer wg.Wait()
		defer close(l.filled)
		l.encrypt(ctx, head, r)
	}()
	if ctx.Err() != nil {
		return link{}, context.Cause(ctx)
	}
	return root, nil
}

// encrypt fills leaves until r ends; reading from r is what encrypts.
func (l *line) encrypt(ctx context.Context, head []byte, r io.Reader) {
	for {
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		buf := leafPool.Get().(*[LeafSize]byte)
		n := copy(buf[:], head)
		head = nil
		m, err := fill(r, buf[n:])
		n += m
		if err != nil {
			l.cancel(err)
			return
		}
		if n > 0 {
			l.filled <- filledLeaf{buf, n}
		}
		if n < len(buf) {
			return
		}
	}
}

// hash turns leaves into blocks. After a failure it only drains, so that the
// encrypting side always finds room.
func (l *line) hash(ctx context.Context, b *builder) (root link) {
	defer close(l.ready)
	var leaves []*[LeafSize]byte
	send := func() {
		select {
		case l.ready <- batch{b.take(), leaves}:
		case <-ctx.Done():
		}
		leaves = nil
	}
	for f := range l.filled {
		if ctx.Err() != nil {
			continue
		}
		b.leaf(f.buf[:f.n])
		if leaves = append(leaves, f.buf); len(leaves) == batchLeaves {
			send()
		}
	}
	if ctx.Err() == nil {
		root = b.tree.finish()
		send()
	}
	return root
}

func (l *line) store(ctx context.Context) {
	for b := range l.ready {
		if ctx.Err() != nil {
			continue
		}
		if err := l.sink.PutMany(ctx, b.blocks); err != nil {
			l.cancel(err)
			continue // the sink may still hold the buffers: they are not used again
		}
		for _, buf := range b.leaves {
			leafPool.Put(buf)
			<-l.slots
		}
	}
}
