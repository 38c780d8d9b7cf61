package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Mirror implements api.Service.
func (n *Node) Mirror(ctx context.Context, r api.MirrorRequest) (*api.Mirrored, error) {
	return n.mirror(ctx, r, n.pins.keepAsMirror)
}

// mirror is Mirror. kept is told, while nobody else works on the root, that it is to be
// kept.
func (n *Node) mirror(ctx context.Context, r api.MirrorRequest, kept func(cid.Cid) error) (*api.Mirrored, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	ctx, done := n.operation(ctx, r.Op)
	defer done()
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	if o, err := n.store.Object(address); err == nil && o.Owned {
		return nil, fault.New(fault.Usage, "have others carry it with `cerebrum replicate`", "this home made %s and holds it already", address)
	}
	giveBack, err := n.carry.busy.take(ctx, address.KeyString())
	if err != nil {
		return nil, err
	}
	defer giveBack()
	v, err := n.carryChain(ctx, p, address)
	if err != nil {
		if f := fault.Of(err); f.Exit == fault.Denied {
			if err := n.record(ctx, event.Mirror, event.Denied, event.Act{Actor: p.Identity.ID(), Object: address.Bytes(), Rule: "grant-of-carry", Reason: f.Message}); err != nil {
				return nil, err
			}
		}
		return nil, err
	}
	leaf := v.Leaf()
	if err := n.record(ctx, event.Mirror, event.OK, event.Act{Actor: p.Identity.ID(), Object: address.Bytes(), Owner: v.Grants()[0].Owner, Grant: leaf[:]}); err != nil {
		return nil, err
	}
	var at root
	had, err := n.carry.get(rootKey(address), &at)
	if err != nil {
		return nil, err
	}
	at.Audience, at.Only, at.Offered = p.Identity.ID(), r.ThisVersion, false
	if !had {
		at.Since = n.now().Unix()
	}
	if err := errors.Join(kept(address), n.carry.put(rootKey(address), at)); err != nil {
		return nil, diskFault(err)
	}
	out, err := n.bring(ctx, p, v, address, at, &upkeep{room: -1})
	if err == nil {
		return out, nil
	}
	if out.Objects == 0 && fault.Of(err).Exit != fault.Unavailable && ctx.Err() == nil && !had {
		if cerr := n.abandon(context.WithoutCancel(ctx), address); cerr != nil {
			return nil, cerr
		}
		return nil, err
	}
	if f := fault.Of(err); f.Exit == fault.Unavailable && out.Objects == 0 {
		err = fault.Wrap(f.Exit, err, "the node goes on by itself until `cerebrum unmirror`; see `cerebrum mirror --list`", "%s has not come", address)
	}
	return nil, err
}

// carryChain finds a chain under which an identity of this home may carry an
// object: of those that are held, or else of those in its mailbox, the one that
// lasts longest.
func (n *Node) carryChain(ctx context.Context, p *home.Principal, address cid.Cid) (*capability.Verified, error) {
	held, reason, err := n.held(p, address)
	if err != nil {
		return nil, err
	}
	if v := longestCarry(held); v != nil {
		return v, nil
	}
	fresh, _, why, err := n.mailbox(ctx, p, address, true)
	if err != nil {
		return nil, err
	}
	if v := longestCarry(fresh); v != nil {
		return v, nil
	}
	return nil, n.noAuthority(address, errors.Join(reason, why))
}

func longestCarry(cs []candidate) (best *capability.Verified) {
	for _, c := range cs {
		g := c.v.Grant()
		if g.Abilities.Implied()&capability.Carry != 0 && (best == nil || g.Caveats.Expires > best.Grant().Caveats.Expires) {
			best = c.v
		}
	}
	return best
}

// upkeep is what is remembered of a root between two looks at it.
type upkeep struct {
	room      int64 // bytes that may come; negative: any number
	holders   []peer.AddrInfo
	asked     time.Time // when validators were last asked for holders
	announced time.Time // when they were last told that this home is one
	next      time.Time // look
	wait      time.Duration
}

// How often validators are asked about a root, and told.
const (
	carriersEvery = 30 * time.Minute
	announceEvery = time.Hour
)

// bring fetches what is missing below a root. Whoever calls has the root's lock. The
// result is never nil and says what is here also where something is missing.
func (n *Node) bring(ctx context.Context, p *home.Principal, v *capability.Verified, address cid.Cid, at root, u *upkeep) (*api.Mirrored, error) {
	out := &api.Mirrored{Address: address.String(), State: "incomplete", Since: stamp(at.Since), Offered: at.Offered, Expires: stamp(v.Grant().Caveats.Expires)}
	rd := &reading{n: n, p: p, v: v, got: &api.Got{From: []string{}}, holders: u.holders}
	look := func() {
		if err := rd.findCarriers(ctx, address); err != nil {
			n.log.Info("validators name no holders", "object", address, "err", err) // the DHT may
		}
		rd.search(ctx, address)
		u.holders, u.asked = rd.holders, n.now()
	}
	fresh := n.now().Sub(u.asked) > carriersEvery
	if fresh {
		look()
	}
	addresses := []cid.Cid{address}
	if !at.Only {
		listed, answers := rd.listed(ctx)
		if answers == 0 && !fresh {
			look()
			listed, _ = rd.listed(ctx)
		}
		for _, c := range listed {
			if c != address {
				addresses = append(addresses, c)
			}
		}
	}
	missing := slices.DeleteFunc(slices.Clone(addresses), func(c cid.Cid) bool {
		_, err := n.store.Object(c)
		return err == nil
	})
	c, err := n.newCopying(v, address, u.room, missing)
	if err != nil {
		return out, err
	}
	defer c.close()
	c.progress = object.ProgressOf(ctx)
	err = c.run(ctx, rd)
	out.From = rd.got.From
	for _, in := range c.all {
		switch {
		case in.done:
			out.New++
		case in.refused != nil:
			n.log.Warn("an object is not carried", "object", in.address, "err", in.refused)
			if in.address == address && err == nil {
				err = refusedFault(address, in.refused)
			}
		default:
			out.Missing++
		}
	}
	if cerr := n.countCarried(address, out); cerr != nil {
		return out, cerr
	}
	if out.Objects > 0 && (out.New > 0 || n.now().Sub(u.announced) > announceEvery) {
		n.announce(ctx, p, v, address, false)
		u.announced = n.now()
	}
	switch {
	case err != nil && out.Objects > 0 && fault.Of(err).Exit != fault.Failed:
		err = fault.Wrap(fault.Unavailable, err, "the node goes on by itself; see `cerebrum mirror --list`", "%d of %d objects under %s have not come", out.Missing, len(addresses), address)
	case err == nil && out.Missing == 0:
		out.State = "carried"
	}
	return out, err
}

// findCarriers learns from validators who holds an object that is carried.
func (r *reading) findCarriers(ctx context.Context, address cid.Cid) error {
	named, err := r.n.quorum.AskCarriers(ctx, quorum.CarryAsk{Principal: r.p, Chain: r.v, Address: address.Bytes()})
	if err != nil {
		return err
	}
	r.addHints(named.Holders)
	for _, c := range named.Carriers {
		r.addHints(c.Addresses)
	}
	return nil
}

// announce has validators name this home as a carrier, or no more, and tells the DHT.
// It is a hint: what fails is repeated with the next one.
func (n *Node) announce(ctx context.Context, p *home.Principal, v *capability.Verified, address cid.Cid, stop bool) {
	ask := quorum.CarryAsk{Principal: p, Chain: v, Address: address.Bytes(), Stop: stop}
	if !stop {
		n.provideSoon(address)
		ask.Holder = n.holderAddresses()
		ask.Holder = ask.Holder[:min(len(ask.Holder), 8)]
	}
	if _, err := n.quorum.AskCarriers(ctx, ask); err != nil {
		n.log.Info("validators do not name this home as a carrier", "object", address, "err", err)
	}
}

// countCarried fills in what this home carries under a root.
func (n *Node) countCarried(address cid.Cid, out *api.Mirrored) error {
	out.Objects, out.Bytes = 0, 0
	return n.eachCarried(address, func(_ cid.Cid, o store.Object) error {
		out.Objects++
		out.Bytes += o.Stored
		return nil
	})
}

// eachCarried calls fn with the objects that this home carries under a root;
// undefined: under any.
func (n *Node) eachCarried(at cid.Cid, fn func(cid.Cid, store.Object) error) error {
	return n.store.Objects(func(o store.Object) (bool, error) {
		if !isCarried(&o) {
			return true, nil
		}
		note, err := noteOf(&o)
		if err != nil {
			return false, err
		}
		if at.Defined() && string(note.Root) != at.KeyString() {
			return true, nil
		}
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		return true, fn(c, o)
	})
}

// abandon forgets a root, and what came of objects that are not whole.
func (n *Node) abandon(ctx context.Context, address cid.Cid) error {
	parts, err := n.carry.parts(address)
	if err != nil {
		return err
	}
	doomed := slices.DeleteFunc(append(slices.Clone(parts), address), func(c cid.Cid) bool {
		_, err := n.store.Object(c)
		return err == nil // whole, under whatever root
	})
	if err := n.forgetHere(ctx, doomed); err != nil {
		return err
	}
	for _, c := range parts {
		if err := n.carry.drop(partKey(c)); err != nil {
			return err
		}
	}
	return n.carry.drop(rootKey(address))
}

// Unmirror implements api.Service.
func (n *Node) Unmirror(ctx context.Context, r api.UnmirrorRequest) (*api.Unmirrored, error) {
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	giveBack, err := n.carry.busy.take(ctx, address.KeyString())
	if err != nil {
		return nil, err
	}
	defer giveBack()
	var at root
	found, err := n.carry.get(rootKey(address), &at)
	if err != nil {
		return nil, err
	}
	out := &api.Unmirrored{Address: address.String()}
	var doomed []cid.Cid
	err = n.eachCarried(address, func(c cid.Cid, o store.Object) error {
		h, err := n.library.Find(ctx, c)
		if err == nil && n.set != nil {
			if m := h.Manifest.Claims(); n.set.Held(idsOf(&m)...) {
				return heldFault(c)
			}
		}
		if err := n.pinnedFault(c); err != nil {
			return err
		}
		doomed = append(doomed, c)
		out.Objects++
		out.Bytes += o.Stored
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !found && len(doomed) == 0 {
		return nil, fault.New(fault.NotFound, "see `cerebrum mirror --list`", "this home does not mirror %s", address)
	}
	if err := n.pinnedFault(address); err != nil {
		return nil, err
	}
	if err := n.stopCarrying(ctx, address, at, len(doomed)); err != nil {
		return nil, err
	}
	if err := n.forgetHere(ctx, doomed); err != nil {
		return nil, diskFault(err)
	}
	return out, errors.Join(n.abandon(ctx, address), n.pins.drop(address))
}

// stopCarrying records that this home carries no more what came under a root, and has
// validators name it no more.
func (n *Node) stopCarrying(ctx context.Context, address cid.Cid, at root, objects int) error {
	if err := n.record(ctx, event.Unmirror, event.OK, event.Act{Actor: at.Audience, Object: address.Bytes(), Detail: fmt.Sprintf("%d objects", objects)}); err != nil {
		return err
	}
	if p := n.principalOf(at.Audience); p != nil && n.running.Load() {
		if held, _, err := n.held(p, address); err == nil && longestCarry(held) != nil {
			n.announce(ctx, p, longestCarry(held), address, true)
		}
	}
	return nil
}

// Mirrored implements api.Service.
func (n *Node) Mirrored(ctx context.Context) (*api.MirrorList, error) {
	out := &api.MirrorList{Mirrored: []api.Mirrored{}}
	addresses, roots, err := n.carry.roots()
	if err != nil {
		return nil, err
	}
	for i, c := range addresses {
		m := api.Mirrored{Address: c.String(), Since: stamp(roots[i].Since), Offered: roots[i].Offered, State: "incomplete"}
		if err := n.countCarried(c, &m); err != nil {
			return nil, err
		}
		parts, err := n.carry.parts(c)
		if err != nil {
			return nil, err
		}
		if m.Missing = len(parts); m.Objects > 0 && m.Missing == 0 {
			m.State = "carried"
		}
		if n.verifier != nil {
			held, _, err := n.heldBy(roots[i].Audience, c)
			if err != nil {
				return nil, err
			}
			if v := longestCarry(held); v == nil {
				m.State = "ended"
			} else {
				m.Expires = stamp(v.Grant().Caveats.Expires)
			}
		}
		out.Mirrored = append(out.Mirrored, m)
	}
	offer, err := n.describeOffer()
	if err == nil {
		out.Offer = *offer
	}
	return out, err
}

// waitFor sleeps, or returns early when poked; not ok when ctx has ended.
func waitFor(ctx context.Context, d time.Duration, poke <-chan struct{}) (poked, ok bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false, false
	case <-poke:
		return true, true
	case <-t.C:
		return false, true
	}
}
