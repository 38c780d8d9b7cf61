package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// forgetAgain is when a sweep that failed is tried again.
const forgetAgain = time.Minute

// runForget deletes the ciphertext of what was erased, in every home that learns
// of it: a mirror's and a reader's as well as the owner's. It sweeps at start and
// whenever statements become known, until ctx ends.
func (n *Node) runForget(ctx context.Context) error {
	done := map[statement.ID]bool{} // orders that nothing here is left of
	for {
		changed := n.set.Watch()
		var again <-chan time.Time
		if err := n.forgetErased(ctx, done); err != nil && ctx.Err() == nil {
			n.log.Error("ciphertext of what was erased is still here", "err", err)
			t := time.NewTimer(forgetAgain)
			defer t.Stop()
			again = t.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again:
		}
	}
}

// forgetErased forgets the objects of orders that are not in done yet.
func (n *Node) forgetErased(ctx context.Context, done map[statement.ID]bool) error {
	keys := map[statement.ID]bool{}
	var orders []statement.ID
	for _, f := range n.set.OfKind(revocation.KindErasure) {
		if done[f.ID] || !n.set.Vouched(f) {
			continue
		}
		free := true
		for _, k := range f.Subjects {
			if n.set.Held(k) {
				free = false // what is evidence stays, and is given to nobody
				continue
			}
			keys[k] = true
		}
		if free {
			orders = append(orders, f.ID)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	doomed, held, err := n.objectsOf(ctx, keys)
	if err != nil {
		return err
	}
	if _, err := n.sweepKept(); err != nil { // keys for offline use
		return err
	}
	if len(doomed) > 0 {
		if err := n.record(ctx, event.Drop, event.OK, event.Act{Rule: "owner-erased", Detail: fmt.Sprintf("%d objects", len(doomed))}); err != nil {
			return err
		}
		if err := n.library.Erase(doomed); err != nil { // where the owner erased from another home
			return err
		}
		if err := n.forgetHere(ctx, doomed); err != nil {
			return err
		}
		for _, c := range doomed {
			if err := errors.Join(n.carry.drop(rootKey(c)), n.pins.drop(c)); err != nil {
				return err
			}
		}
		n.log.Info("forgot what its owner erased", "objects", len(doomed))
	}
	for _, id := range orders {
		done[id] = !held
	}
	return nil
}

// objectsOf finds the objects of this home under keys, and tells whether a hold
// on the lineage or a scope of one, or its retention, keeps it.
func (n *Node) objectsOf(ctx context.Context, keys map[statement.ID]bool) (out []cid.Cid, held bool, err error) {
	err = n.store.Objects(func(o store.Object) (bool, error) {
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		h, err := n.library.Find(ctx, c)
		if err != nil {
			n.log.Warn("an object cannot be looked at", "object", c, "err", err)
			return ctx.Err() == nil, ctx.Err()
		}
		m := h.Manifest.Claims()
		switch {
		case !keys[m.KeyID()]:
		case n.set.Held(idsOf(&m)...) || n.mustKeep(h):
			held = true
		default:
			out = append(out, c)
		}
		return true, nil
	})
	return out, held, err
}
