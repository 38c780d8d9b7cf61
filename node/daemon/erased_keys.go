package daemon

import (
	"context"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// erasedKeys tells which addresses the keys of an order to erase belong to. An order
// names keys alone, and the object is gone; but what this home ordered it keeps with
// the addresses, and the manifest of what it owned stays.
type erasedKeys struct {
	n     *Node
	owned map[statement.ID]string // of this home's objects, by key; nil before they were looked at
}

// objects are the addresses of an order's keys, and in the place of each that this home
// has no address for, the id of the key.
func (e *erasedKeys) objects(ctx context.Context, order statement.ID, keys [][]byte) ([]string, error) {
	if o, err := e.n.erasures.byID(order); err == nil && o != nil && len(o.Addresses) == len(keys) {
		var out []string
		for _, a := range o.Addresses {
			out = append(out, event.Ref(a))
		}
		return out, nil
	}
	// Validators refused the order and it was taken back, or its record is damaged.
	if err := e.look(ctx); err != nil {
		return nil, err
	}
	var out []string
	for _, key := range keys {
		at, known := e.owned[statement.ID(key)]
		if !known {
			at = event.Ref(key)
		}
		out = append(out, at)
	}
	return out, nil
}

// look reads the manifests of what this home owns, once.
func (e *erasedKeys) look(ctx context.Context) error {
	if e.owned != nil {
		return nil
	}
	owned := map[statement.ID]string{}
	err := e.n.store.Objects(func(o store.Object) (bool, error) {
		if !o.Owned {
			return true, nil
		}
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		h, err := e.n.library.Find(ctx, c)
		if err != nil {
			return ctx.Err() == nil, ctx.Err() // damaged: `verify` says so
		}
		m := h.Manifest.Claims()
		owned[m.KeyID()] = c.String()
		return true, nil
	})
	if err == nil {
		e.owned = owned
	}
	return err
}
