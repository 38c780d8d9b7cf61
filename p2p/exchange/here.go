package exchange

import (
	"context"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"github.com/ipfs/go-cid"
)

// Walk gives the objects of req from source, in the way in which [Fetch] gives them
// from a holder: the same blocks in the same order, each checked against its CID and
// its place. It is for a receiver that may have some of the blocks itself; no
// authority is needed for them and Authority is not read.
//
// An object of which source lacks a block ends at that block. The error is nil if
// every item is done. It is sink's, as it is, or wraps [ErrRequest], [ErrRefused]
// (source lacks something, see Result.Done), [ErrCorrupt] (a block is damaged, or
// source cannot read it; the next items were tried all the same) or the context's
// error.
func Walk(ctx context.Context, source BlockSource, req Request, sink func(Block) error) (Result, error) {
	res := Result{Done: make([]bool, len(req.Items))}
	if err := req.check(); err != nil {
		return res, err
	}
	var corrupt error
	missing := 0
	for i := range req.Items {
		err := walkItem(ctx, source, i, &req.Items[i], &res, sink)
		switch {
		case err == nil:
			res.Done[i] = true
		case errors.Is(err, ErrNotFound):
			missing++
		case errors.As(err, new(*hereError)):
			corrupt = err
		default:
			return res, err
		}
	}
	switch {
	case corrupt != nil:
		return res, corrupt
	case missing > 0:
		return res, fmt.Errorf("%w (%d of %d objects)", ErrRefused, missing, len(req.Items))
	}
	return res, nil
}

func walkItem(ctx context.Context, source BlockSource, i int, item *Item, res *Result, sink func(Block) error) error {
	w, err := newWalk(item)
	if err != nil {
		return err
	}
	var into []byte // for one large block after another
	for {
		p, more := w.next()
		if !more {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.exact > tinyBlock && into == nil {
			lent := leafBuffers.Get().(*[envelope.LeafSize]byte)
			defer leafBuffers.Put(lent)
			into = lent[:0]
		}
		data, err := source.Get(ctx, p.cid, into)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrNotFound):
			return ErrNotFound
		case err != nil:
			return &hereError{p.cid, err}
		case !matches(p.cid, data):
			return &hereError{p.cid, errors.New("its bytes have another hash")}
		}
		if err := w.feed(p, data); err != nil {
			return &hereError{p.cid, err}
		}
		if err := sink(Block{Item: i, Kind: p.kind, CID: p.cid, Data: data, Offset: w.offset(p.leaf)}); err != nil {
			return err
		}
		res.Bytes += int64(len(data))
	}
}

// hereError says which block of a walk is of no use.
type hereError struct {
	block cid.Cid
	cause error
}

func (e *hereError) Error() string { return fmt.Sprintf("block %s is of no use: %v", e.block, e.cause) }

// Is makes a hereError an ErrCorrupt.
func (e *hereError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap is what the source said.
func (e *hereError) Unwrap() error { return e.cause }
