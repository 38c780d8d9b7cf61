package object

import (
	"context"
	"errors"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// Reach calls mark with every block that an address leads to, itself among them,
// whether it is here or not. What lies below a manifest or a node that is missing or
// damaged cannot be known: lost then is the first of these, otherwise undefined.
// Leaves are not read.
func (l *Library) Reach(ctx context.Context, address cid.Cid, mark func(cid.Cid)) (lost cid.Cid, err error) {
	r := reach{l: l, mark: mark, seen: map[cid.Cid]bool{}}
	block, err := r.read(ctx, address)
	if block == nil {
		return r.lost, err
	}
	u, err := envelope.ParseManifest(address, block)
	if err != nil {
		return address, nil
	}
	m := u.Claims()
	file, header, payload := m.Links()
	for _, c := range []cid.Cid{file, header} {
		if c.Defined() {
			mark(c)
		}
	}
	if payload.Defined() {
		err = r.below(ctx, payload, 0)
	}
	return r.lost, err
}

type reach struct {
	l    *Library
	mark func(cid.Cid)
	seen map[cid.Cid]bool
	lost cid.Cid
}

// read marks and returns a block, or nil where it is lost.
func (r *reach) read(ctx context.Context, c cid.Cid) ([]byte, error) {
	r.mark(c)
	data, err := r.l.Store.GetVerified(ctx, c)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) {
		r.lose(c)
		return nil, nil
	}
	return data, err
}

func (r *reach) lose(c cid.Cid) {
	if !r.lost.Defined() {
		r.lost = c
	}
}

func (r *reach) below(ctx context.Context, c cid.Cid, depth int) error {
	if depth > envelope.MaxDepth || r.seen[c] {
		return nil
	}
	r.seen[c] = true
	data, err := r.read(ctx, c)
	if data == nil {
		return err
	}
	node, err := envelope.ParseNode(data)
	if err != nil {
		r.lose(c)
		return nil
	}
	for _, ch := range node.Children {
		if ch.Leaf {
			r.mark(ch.CID)
		} else if err := r.below(ctx, ch.CID, depth+1); err != nil {
			return err
		}
	}
	return ctx.Err()
}
