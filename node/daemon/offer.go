package daemon

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// offer is how much this home carries without a person: it looks into the mailbox of
// an identity for grants to carry, and nothing else in it counts.
type offer struct {
	_        struct{} `cbor:",toarray"`
	Bytes    uint64
	From     []statement.ID // owners; empty: any
	Audience statement.ID
}

var offerKey = []byte("offer")

const (
	mirrorFirst = 3 * time.Second
	mirrorEvery = 20 * time.Second // a look into the mailbox
	mirrorLeast = 2 * time.Second  // between two looks, however often somebody hints
	relistEvery = time.Minute      // what is new under a root
	mirrorMost  = 10 * time.Minute // between two attempts at what fails
	maxOffered  = 10_000           // roots that are taken because of an offer
)

func pokeOnce(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// MirrorOffer implements api.Service.
func (n *Node) MirrorOffer(ctx context.Context, r api.MirrorOfferRequest) (*api.MirrorOffered, error) {
	if n.trust == nil {
		return nil, n.needsNetwork()
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	o := offer{Bytes: r.Bytes, Audience: p.Identity.ID()}
	for _, s := range r.From {
		id, err := identity.ParseContact(s)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err, "a contact is what `cerebrum id show` prints", "--from is no contact")
		}
		o.From = append(o.From, id.ID())
	}
	if err := n.record(ctx, event.Offer, event.OK, event.Act{Actor: o.Audience}); err != nil {
		return nil, err
	}
	if o.Bytes == 0 {
		err = n.carry.drop(offerKey)
	} else {
		err = n.carry.put(offerKey, o)
	}
	if err != nil {
		return nil, diskFault(err)
	}
	pokeOnce(n.carry.poke)
	return n.describeOffer()
}

func (n *Node) describeOffer() (*api.MirrorOffered, error) {
	var o offer
	if _, err := n.carry.get(offerKey, &o); err != nil {
		return nil, err
	}
	used, err := n.offerUsed()
	out := &api.MirrorOffered{Bytes: o.Bytes, Used: used}
	for _, id := range o.From {
		out.From = append(out.From, id.String())
	}
	return out, err
}

// offerUsed is the ciphertext that this home carries because of its offer.
func (n *Node) offerUsed() (used uint64, err error) {
	addresses, roots, err := n.carry.roots()
	if err != nil {
		return 0, err
	}
	offered := map[string]bool{}
	for i, c := range addresses {
		offered[c.KeyString()] = roots[i].Offered
	}
	err = n.eachCarried(cid.Undef, func(_ cid.Cid, o store.Object) error {
		note, err := noteOf(&o)
		if err == nil && offered[string(note.Root)] {
			used += o.Stored
		}
		return err
	})
	return used, err
}

// runMirror takes up what is granted under the offer, goes on with what is not whole,
// and looks for what is new, until ctx ends.
func (n *Node) runMirror(ctx context.Context) error {
	known := map[string]*upkeep{}
	hinted, ok := waitFor(ctx, mirrorFirst, nil)
	for ok {
		if err := n.passMirror(ctx, known, hinted); err != nil && ctx.Err() == nil {
			n.log.Warn("mirroring", "err", err)
		}
		if _, ok = waitFor(ctx, mirrorLeast, nil); ok {
			hinted, ok = waitFor(ctx, mirrorEvery, n.carry.poke)
		}
	}
	return nil
}

// passMirror is one look; hinted has what is whole looked at again too.
func (n *Node) passMirror(ctx context.Context, known map[string]*upkeep, hinted bool) error {
	room, err := n.takeOffered(ctx)
	if err != nil && ctx.Err() == nil {
		n.log.Info("the mailbox was not read for grants to carry", "err", err)
	}
	addresses, roots, err := n.carry.roots()
	if err != nil {
		return err
	}
	for i, c := range addresses {
		u := known[c.KeyString()]
		if u == nil {
			u = &upkeep{}
			known[c.KeyString()] = u
		}
		if now := n.now(); now.Before(u.next) && !(hinted && u.wait == 0) {
			continue
		}
		u.room = -1
		if roots[i].Offered {
			u.room = room
		}
		err := n.keepUp(ctx, c, u)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			u.wait = min(max(2*u.wait, mirrorEvery), mirrorMost)
			n.log.Info("a mirror is not whole", "object", c, "err", err)
		default:
			u.wait = 0
		}
		u.next = n.now().Add(cmp.Or(u.wait, relistEvery))
	}
	return nil
}

// keepUp brings what is missing below one root.
func (n *Node) keepUp(ctx context.Context, c cid.Cid, u *upkeep) error {
	giveBack, err := n.carry.busy.take(ctx, c.KeyString())
	if err != nil {
		return err
	}
	defer giveBack()
	var at root
	if found, err := n.carry.get(rootKey(c), &at); err != nil || !found {
		return err // it was ended meanwhile
	}
	p := n.principalOf(at.Audience)
	if p == nil {
		return errNotCarried
	}
	if err := mayAct(p); err != nil {
		return err
	}
	v, err := n.carryChain(ctx, p, c)
	if err != nil {
		return err
	}
	_, err = n.bring(ctx, p, v, c, at, u)
	return err
}

// takeOffered makes roots of what was granted to the identity that offers, and
// returns how much room is left.
func (n *Node) takeOffered(ctx context.Context) (room int64, err error) {
	var o offer
	found, err := n.carry.get(offerKey, &o)
	if err != nil || !found {
		return 0, err
	}
	p := n.principalOf(o.Audience)
	if p == nil || !p.Current {
		return 0, errNotCarried
	}
	ds, err := n.quorum.PullMailbox(ctx, p, nil, false)
	if err != nil {
		return 0, err
	}
	_, roots, err := n.carry.roots()
	if err != nil {
		return 0, err
	}
	count := len(roots)
	for _, d := range ds {
		v, err := n.delivered(p, d)
		if err != nil || v == nil || v.Grant().Abilities&capability.Carry == 0 { // read implies it, and asks for no copy
			continue
		}
		owner := v.Owner().ID()
		c, cerr := cid.Cast(d.Hint)
		if cerr != nil || owner == o.Audience || len(o.From) > 0 && !slices.Contains(o.From, owner) {
			continue
		}
		if _, _, err := n.stored(heldPrefix, o.Audience, v.Leaf()); err == nil {
			if had, err := n.carry.get(rootKey(c), new(root)); err == nil && had {
				continue
			}
		}
		if err := n.keep(heldPrefix, o.Audience, v, d.Hint); err != nil {
			return 0, err
		}
		had, err := n.carry.get(rootKey(c), new(root))
		if err != nil {
			return 0, err
		}
		if had || count >= maxOffered {
			continue
		}
		leaf := v.Leaf()
		if err := n.record(ctx, event.Mirror, event.OK, event.Act{Actor: o.Audience, Object: c.Bytes(), Owner: v.Grants()[0].Owner, Grant: leaf[:], Detail: "offered"}); err != nil {
			return 0, err
		}
		if err := n.carry.put(rootKey(c), root{Audience: o.Audience, Offered: true, Since: n.now().Unix()}); err != nil {
			return 0, err
		}
		count++
	}
	used, err := n.offerUsed()
	return int64(o.Bytes) - int64(min(used, o.Bytes)), err
}
