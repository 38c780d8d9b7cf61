package object

import (
	"context"
	"sync"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// makeAlone is Make into a draft of the library's store, which has no block of it after
// an error. The draft is closed when the object is kept.
func (l *Library) makeAlone(ctx context.Context, owner *home.Principal, in Input, draft *store.Draft) (*Made, error) {
	sink := &undoable{to: draft, store: l.Store}
	m, err := l.Make(ctx, owner, in, sink)
	if err != nil {
		sink.undo(ctx)
	}
	return m, err
}

// undoable passes blocks on to a draft and remembers them, so that an add which fails
// leaves none behind: on a disk that is nearly full they would be in the way of the
// next. What is added has a key of its own, and shares no block with another object. It
// is safe for concurrent use.
type undoable struct {
	to    envelope.Sink
	store *store.Store

	mu   sync.Mutex // guards cids
	cids []cid.Cid
}

// maxUndo bounds the memory for it: 256 GiB of a file. What is beyond stays behind.
const maxUndo = 1 << 18

// PutMany implements envelope.Sink.
func (u *undoable) PutMany(ctx context.Context, blocks []envelope.Block) error {
	u.mu.Lock()
	for _, b := range blocks[:min(len(blocks), maxUndo-len(u.cids))] {
		u.cids = append(u.cids, b.CID)
	}
	u.mu.Unlock()
	return u.to.PutMany(ctx, blocks)
}

// undo deletes what was put. It may fail, on a disk that failed: the error of the add
// says more.
func (u *undoable) undo(ctx context.Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.store.Delete(context.WithoutCancel(ctx), u.cids)
	u.cids = nil
}
