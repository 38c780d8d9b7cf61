package exchange

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/ipfs/go-cid"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// What a piece of the response is.
type pieceKind uint8

const (
	pieceRefused pieceKind = iota // an item is refused
	pieceFirst                    // an item begins, with its manifest
	pieceBlock                    // a further block of the item
	pieceGone                     // the item ends here, unfinished
)

type piece struct {
	kind pieceKind
	data []byte                   // of a pieceFirst or pieceBlock
	lent *[envelope.LeafSize]byte // memory that data may lie in, or nil
}

// release gives the memory back; data is used no more.
func (pc piece) release() {
	if pc.lent != nil {
		leafBuffers.Put(pc.lent)
	}
}

// loader walks the items of a request and reads their blocks ahead of the
// writer. It owns the sending side of out.
type loader struct {
	source BlockSource
	lease  Lease
	log    *slog.Logger
	out    chan<- piece
	ahead  *budget
}

// run returns when all is loaded or ctx ends.
func (l *loader) run(ctx context.Context, req *Request) {
	for i := range req.Items {
		if !l.item(ctx, &req.Items[i]) {
			return
		}
	}
}

// item loads one item and returns false when there is no use in going on.
func (l *loader) item(ctx context.Context, item *Item) bool {
	w, err := newWalk(item)
	if err != nil {
		return l.send(ctx, piece{kind: pieceRefused}) // check has excluded it
	}
	address, _ := w.next()
	manifest, ok := l.get(ctx, address.cid, nil)
	if !ok {
		return l.send(ctx, piece{kind: pieceRefused})
	}
	if err := l.lease.Allows(address.cid, manifest); err != nil {
		l.log.Debug("blocks: item refused", "address", address.cid, "err", err)
		return l.send(ctx, piece{kind: pieceRefused})
	}
	if err := w.feed(address, manifest); err != nil {
		l.log.Warn("blocks: stored object is malformed", "address", address.cid, "err", err)
		return l.send(ctx, piece{kind: pieceRefused})
	}
	return l.send(ctx, piece{kind: pieceFirst, data: manifest}) && l.rest(ctx, w, address.cid)
}

// rest loads what follows the manifest.
func (l *loader) rest(ctx context.Context, w *walk, address cid.Cid) bool {
	for {
		p, more := w.next()
		if !more {
			return true
		}
		pc := piece{kind: pieceBlock}
		var into []byte
		if p.exact > tinyBlock {
			pc.lent = leafBuffers.Get().(*[envelope.LeafSize]byte)
			into = pc.lent[:0]
		}
		var ok bool
		if pc.data, ok = l.get(ctx, p.cid, into); !ok {
			pc.release()
			return l.send(ctx, piece{kind: pieceGone})
		}
		if err := w.feed(p, pc.data); err != nil {
			pc.release()
			l.log.Warn("blocks: stored object is malformed", "address", address, "block", p.cid, "err", err)
			return l.send(ctx, piece{kind: pieceGone})
		}
		if !l.send(ctx, pc) {
			return false
		}
	}
}

func (l *loader) get(ctx context.Context, c cid.Cid, into []byte) ([]byte, bool) {
	data, err := l.source.Get(ctx, c, into)
	if err == nil {
		return data, true
	}
	// A block that cannot be read is as good as absent, to the peer.
	if !errors.Is(err, ErrNotFound) && ctx.Err() == nil {
		l.log.Warn("blocks: block cannot be read", "block", c, "err", err)
	}
	return nil, false
}

func (l *loader) send(ctx context.Context, pc piece) bool {
	if l.ahead.acquire(len(pc.data)) {
		select {
		case l.out <- pc:
			return true
		case <-ctx.Done():
		}
	}
	pc.release()
	return false
}

// budget bounds the bytes between two goroutines. One piece always fits, so
// that a piece larger than the budget passes alone.
type budget struct {
	mu     sync.Mutex
	freed  sync.Cond
	limit  int
	used   int
	closed bool
}

func newBudget(limit int) *budget {
	b := &budget{limit: limit}
	b.freed.L = &b.mu
	return b
}

// acquire waits for room and returns false once the budget is closed.
func (b *budget) acquire(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed && b.used > 0 && b.used+n > b.limit {
		b.freed.Wait()
	}
	b.used += n
	return !b.closed
}

func (b *budget) release(n int) {
	b.mu.Lock()
	b.used -= n
	b.mu.Unlock()
	b.freed.Signal()
}

func (b *budget) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.freed.Broadcast()
}
