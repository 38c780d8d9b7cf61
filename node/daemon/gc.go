package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// GC implements api.Service: it frees the blocks that nothing here needs. Needed is
// what an object leads to that `ls` shows, whatever version it is; what is on its way
// to a mirror; and what a legal hold is on, listed or not. Package store says why that
// is safe beside adds, imports and transfers.
func (n *Node) GC(ctx context.Context, r api.GCRequest) (*api.Collected, error) {
	sweep, err := n.store.Sweep()
	if errors.Is(err, store.ErrSweeping) {
		return nil, fault.Wrap(fault.Failed, err, "wait until the other one has ended", "nothing was freed")
	}
	if err != nil {
		return nil, err
	}
	defer sweep.Close()
	c := &collection{n: n, sweep: sweep, ask: r, out: &api.Collected{DryRun: r.DryRun, Objects: []api.Leftover{}}}
	if err := c.run(ctx); err != nil {
		return nil, diskFault(err)
	}
	return c.out, nil
}

// collection is one run of GC.
type collection struct {
	n     *Node
	sweep *store.Sweep
	ask   api.GCRequest
	out   *api.Collected
	lost  []cid.Cid       // addresses of which it is not known what they need
	loose map[string]bool // addresses that a dry run takes for forgotten
}

func (c *collection) run(ctx context.Context) error {
	if err := c.letGo(ctx); err != nil {
		return err
	}
	if err := c.markAll(ctx); err != nil {
		return err
	}
	if err := c.lookAgain(ctx); err != nil {
		return err
	}
	if len(c.lost) > 0 && !c.ask.Force {
		return fault.New(fault.Integrity, "repair it with `cerebrum mirror --check` or import it again; --force frees what may have been below its damaged blocks, too",
			"%s is damaged here or being repaired, so that it is not known what it needs; nothing was freed", c.lost[0])
	}
	garbage, err := c.sweep.Garbage(ctx)
	if err != nil {
		return err
	}
	if garbage, err = c.spareEvidence(ctx, garbage); err != nil || len(garbage) == 0 {
		return err
	}
	if c.ask.DryRun {
		for _, g := range garbage {
			c.out.Blocks++
			c.out.Freed += g.Size
		}
		return nil
	}
	if err := c.n.record(ctx, event.Drop, event.OK, event.Act{Rule: "garbage", Detail: fmt.Sprintf("%d blocks", len(garbage))}); err != nil {
		return err
	}
	c.out.Blocks, c.out.Freed, err = c.sweep.Free(ctx, garbage)
	return err
}

// markAll marks what is needed. What is on its way is read before the index, into
// which it comes before it is no longer on its way.
func (c *collection) markAll(ctx context.Context) error {
	err := c.n.carry.eachPart(func(at cid.Cid) error {
		_, err := c.n.library.Reach(ctx, at, c.sweep.Keep) // what has not come yet is missing
		return err
	})
	if err != nil {
		return err
	}
	return c.n.store.Objects(func(o store.Object) (bool, error) {
		at, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		if c.loose[at.KeyString()] {
			return true, nil
		}
		lost, err := c.n.library.Reach(ctx, at, c.sweep.Keep)
		if lost.Defined() && !isErased(&o) { // whose ciphertext is gone, or as good as
			c.lost = append(c.lost, at)
		}
		return true, err
	})
}

// lookAgain leaves among what is lost no object that was just being forgotten, which
// loses its blocks first and its entry last.
func (c *collection) lookAgain(ctx context.Context) error {
	found := c.lost
	c.lost = nil
	for _, at := range found {
		lost, err := c.stillLost(ctx, at)
		if err != nil {
			return err
		}
		if lost {
			c.lost = append(c.lost, at)
		}
	}
	return nil
}

func (c *collection) stillLost(ctx context.Context, at cid.Cid) (bool, error) {
	c.n.carry.deleting.Lock()
	defer c.n.carry.deleting.Unlock()
	o, err := c.n.store.Object(at)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lost, err := c.n.library.Reach(ctx, at, c.sweep.Keep)
	return lost.Defined() && !isErased(&o), err
}

// spareEvidence takes out what is under a legal hold though nothing lists it, and
// notes which objects the rest was.
func (c *collection) spareEvidence(ctx context.Context, garbage []store.Garbage) (out []store.Garbage, err error) {
	for _, g := range garbage {
		if g.CID.Prefix().Codec != envelope.CodecDagCBOR {
			continue
		}
		block, err := c.n.store.GetVerified(ctx, g.CID)
		if err != nil {
			continue // gone since, or damaged: it names nothing
		}
		u, err := envelope.ParseManifest(g.CID, block)
		if err != nil {
			continue
		}
		m := u.Claims()
		if c.n.set == nil || !c.n.set.Held(idsOf(&m)...) {
			c.out.Objects = append(c.out.Objects, api.Leftover{Address: g.CID.String(), Stored: int64(m.Size)})
			continue
		}
		if _, err := c.n.library.Reach(ctx, g.CID, c.sweep.Keep); err != nil {
			return nil, err
		}
	}
	for _, g := range garbage {
		if !c.sweep.Kept(g.CID) {
			out = append(out, g)
		}
	}
	return out, ctx.Err()
}

// letGo forgets what pins brought and hold no more: a dry run only tells.
func (c *collection) letGo(ctx context.Context) error {
	roots, err := c.n.pins.loose()
	if err != nil {
		return err
	}
	c.loose = map[string]bool{}
	for _, at := range roots {
		if !c.ask.DryRun {
			if err := c.n.letGo(ctx, at); err != nil {
				return err
			}
			continue
		}
		doomed, bound, err := c.n.carriedUnder(ctx, at)
		if err != nil {
			return err
		}
		for _, d := range doomed {
			c.loose[d.KeyString()] = !bound
		}
	}
	return nil
}

// letGo ends the carrying of what a pin brought, unless it is pinned again or mirrored, or
// one object of it is pinned by itself or under a legal hold. Its blocks are garbage then.
func (n *Node) letGo(ctx context.Context, at cid.Cid) error {
	giveBack, err := n.carry.busy.take(ctx, at.KeyString())
	if err != nil {
		return err
	}
	defer giveBack()
	if is, err := n.pins.isLoose(at); err != nil || !is {
		return err
	}
	doomed, bound, err := n.carriedUnder(ctx, at)
	if err != nil || bound {
		return err
	}
	var r root
	if _, err := n.carry.get(rootKey(at), &r); err != nil {
		return err
	}
	if err := n.stopCarrying(ctx, at, r, len(doomed)); err != nil {
		return err
	}
	if err := n.carry.drop(rootKey(at)); err != nil { // first, or it would be fetched again
		return err
	}
	for _, d := range doomed {
		if err := n.store.DeleteObject(d); err != nil {
			return err
		}
	}
	parts, err := n.carry.parts(at)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := n.carry.drop(partKey(p)); err != nil {
			return err
		}
	}
	return n.pins.forgetLoose(at)
}

// carriedUnder are the objects that this home carries under a root, and whether one is
// bound to stay: by a legal hold, or a pin of its own.
func (n *Node) carriedUnder(ctx context.Context, at cid.Cid) (all []cid.Cid, bound bool, err error) {
	err = n.eachCarried(at, func(c cid.Cid, _ store.Object) error {
		all = append(all, c)
		if h, err := n.library.Find(ctx, c); err == nil && n.set != nil {
			m := h.Manifest.Claims()
			bound = bound || n.set.Held(idsOf(&m)...)
		}
		pinned, err := n.pins.isPinned(c)
		bound = bound || pinned
		return err
	})
	return all, bound, err
}

// eachPart calls fn with every object that is on its way.
func (c *carry) eachPart(fn func(cid.Cid) error) error {
	return c.store.Scan(partPrefix, nil, func(key, _ []byte) (bool, error) {
		at, err := cid.Cast(bytes.Clone(key[len(partPrefix):]))
		if err != nil {
			return false, err
		}
		return true, fn(at)
	})
}
