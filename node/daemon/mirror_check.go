package daemon

import (
	"context"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
)

// MirrorCheck implements api.Service.
func (n *Node) MirrorCheck(ctx context.Context, r api.MirrorCheckRequest) (*api.MirrorChecked, error) {
	at := cid.Undef
	if r.Address != "" {
		var err error
		if at, err = parseAddress(r.Address); err != nil {
			return nil, err
		}
	}
	out := &api.MirrorChecked{Damaged: []string{}, Repaired: []string{}, Bad: []string{}}
	type found struct {
		c    cid.Cid
		note carried
	}
	var all []found
	err := n.eachCarried(at, func(c cid.Cid, o store.Object) error {
		note, err := noteOf(&o)
		all = append(all, found{c, note})
		return err
	})
	if err != nil {
		return nil, err
	}
	if at.Defined() && len(all) == 0 {
		return nil, fault.New(fault.NotFound, "see `cerebrum mirror --list`", "this home does not mirror %s", at)
	}
	for _, f := range all {
		if err := n.checkCarried(ctx, f.c, f.note, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// checkCarried reads one object and repairs it from other holders.
func (n *Node) checkCarried(ctx context.Context, c cid.Cid, note carried, out *api.MirrorChecked) error {
	at, err := cid.Cast(note.Root)
	if err != nil {
		return err
	}
	giveBack, err := n.carry.busy.take(ctx, at.KeyString())
	if err != nil {
		return err
	}
	defer giveBack()
	out.Objects++
	h, err := n.library.Find(ctx, c)
	var bad []cid.Cid
	switch {
	case err != nil && fault.Of(err).Exit == fault.NotFound:
		return nil // forgotten since
	case err != nil && fault.Of(err).Exit == fault.Integrity:
		out.Checked++
		bad = []cid.Cid{c} // the manifest, without which nothing below it is known
	case err != nil:
		return err
	default:
		out.Checked++
		err = n.library.Check(ctx, h, func(b cid.Cid, err error) {
			out.Checked++
			if err != nil {
				bad = append(bad, b)
			}
		})
		if err != nil {
			return err
		}
	}
	if len(bad) == 0 {
		return nil
	}
	for _, b := range bad {
		out.Damaged = append(out.Damaged, b.String())
	}
	repaired, err := n.repairCarried(ctx, c, at, note, h, bad)
	if err != nil {
		n.log.Warn("what is damaged could not be repaired", "object", c, "err", err)
	}
	if repaired {
		out.Repaired = append(out.Repaired, c.String())
	} else {
		out.Bad = append(out.Bad, c.String())
	}
	return ctx.Err()
}

func (n *Node) repairCarried(ctx context.Context, c, at cid.Cid, note carried, h *object.Held, bad []cid.Cid) (bool, error) {
	if err := n.needsNetwork(); err != nil {
		return false, err
	}
	p := n.principalOf(note.Audience)
	if p == nil {
		return false, errNotCarried
	}
	v, err := n.carryChain(ctx, p, at)
	if err != nil {
		return false, err
	}
	rd := &reading{n: n, p: p, v: v, got: &api.Got{}}
	if err := rd.findCarriers(ctx, at); err != nil {
		n.log.Info("validators name no holders", "object", c, "err", err)
	}
	rd.search(ctx, c)
	return n.repair(ctx, rd, c, h, bad)
}

// repair fetches what is damaged of an object that this home carries, and reports
// whether it is whole again.
func (n *Node) repair(ctx context.Context, r *reading, c cid.Cid, h *object.Held, bad []cid.Cid) (bool, error) {
	if err := n.store.Delete(ctx, bad); err != nil { // what is served meanwhile lacks it and is not wrong
		return false, err
	}
	draft := n.store.Draft()
	defer draft.Close()
	var pending []envelope.Block
	held := 0
	flush := func() error {
		err := n.putSound(ctx, draft, pending)
		pending, held = pending[:0], 0
		return err
	}
	take := func(b exchange.Block) error {
		pending = append(pending, envelope.Block{CID: b.CID, Data: slices.Clone(b.Data)})
		if held += len(b.Data); held < mirrorPending {
			return nil
		}
		return flush()
	}
	item := exchange.Item{Address: c.Bytes(), Whole: true}
	if h != nil { // otherwise its manifest is lost
		ranges, whole, err := n.library.Damage(ctx, h)
		if err != nil {
			return false, err
		}
		if item.Whole = whole || len(ranges) > exchange.MaxRanges; !item.Whole {
			for _, g := range ranges {
				item.Ranges = append(item.Ranges, exchange.Range{From: uint64(g.First), To: uint64(g.Last) + 1})
			}
		}
	}
	sound := false
	var own error // of this home's disk
	err := r.fetchAway(ctx, c, func() (*exchange.Request, func(exchange.Block) error) {
		if own = flush(); own != nil {
			return nil, nil
		}
		if sound, own = n.isWhole(ctx, c); sound || own != nil {
			return nil, nil
		}
		return &exchange.Request{Items: []exchange.Item{item}}, take
	}, nil)
	return sound, errors.Join(own, err)
}
