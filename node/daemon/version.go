package daemon

import (
	"context"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"github.com/ipfs/go-cid"
)

// owned finds an object of this home and the identity here that owns it. as, if
// it is given, must be that identity.
func (n *Node) owned(ctx context.Context, address, as string) (*object.Held, *home.Principal, error) {
	c, err := parseAddress(address)
	if err != nil {
		return nil, nil, err
	}
	h, err := n.library.Find(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	p := n.principalOf(h.Manifest.Claims().Owner)
	if p == nil || !h.Owned {
		return nil, nil, fault.New(fault.Denied, "add it as an object of your own", "only the owner of %s writes versions of it", c)
	}
	if as != "" {
		if named, err := n.home.Principal(as); err != nil || named != p {
			return nil, nil, fault.New(fault.Denied, "leave --as out", "the identity %s does not own %s", as, c)
		}
	}
	return h, p, nil
}

// makeVersion makes a version that follows the one that r names.
func (n *Node) makeVersion(ctx context.Context, r api.AddRequest, labels object.Labels, with making) (*home.Principal, *object.Added, error) {
	h, p, err := n.owned(ctx, r.Update, r.As)
	if err != nil {
		return nil, nil, err
	}
	base, err := h.Base()
	if err != nil {
		return nil, nil, err
	}
	relabel := &labels
	if len(r.Labels) == 0 {
		relabel = nil
	}
	added, err := with.later(p, base, relabel)
	return p, added, err
}

// Rekey implements api.Service. The old version is retired only once the new one
// is shared and its head effective: until then it is the one that readers find.
func (n *Node) Rekey(ctx context.Context, r api.RekeyRequest) (*api.Rekeyed, error) {
	began := time.Now()
	ctx, done := n.operation(ctx, r.Op)
	defer done()
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	n.busy.Add(1)
	defer n.busy.Add(-1)
	h, p, err := n.owned(ctx, r.Address, "")
	if err != nil {
		return nil, err
	}
	out, err := n.rekey(ctx, p, h)
	if err != nil {
		return nil, err
	}
	if out.Deposits.Acknowledged >= n.headNeeds() {
		if err := n.retire(ctx, p, h); err != nil {
			return nil, err
		}
		out.Retired = true
		if out.Erased, out.Kept, err = n.eraseRetired(ctx, p, h, out.Deposits); err != nil {
			return nil, err
		}
	}
	out.Seconds = time.Since(began).Seconds()
	return out, nil
}

// headNeeds is how many validators must have a version before the one before it
// may end: T, so that it is readable, and so many that nobody misses its head.
func (n *Node) headNeeds() int {
	m := n.trust.Current().Numbers
	return max(int(m.T), m.Effective())
}

// rekey makes the new version, or finds the one that an interrupted rekey made.
func (n *Node) rekey(ctx context.Context, p *home.Principal, h *object.Held) (*api.Rekeyed, error) {
	if next, ok := h.Next(); ok {
		made, err := n.library.Find(ctx, next)
		if err != nil {
			return nil, err
		}
		if made.IsRekey() && h.State != object.StateRetired {
			return n.resume(ctx, p, h, made)
		}
	}
	added, err := n.library.Rekey(ctx, p, h)
	if err != nil {
		return nil, diskFault(integrity(err))
	}
	if err := n.record(ctx, event.Rekey, event.OK, event.Act{Actor: p.Identity.ID(), Object: added.Root.Address.Bytes()}); err != nil {
		return nil, err
	}
	a, err := n.share(ctx, p, added)
	if err != nil {
		return nil, err
	}
	return &api.Rekeyed{Address: a.Address, Old: h.CID.String(), Sequence: a.Sequence, Deposits: a.Deposits, State: a.State}, nil
}

// resume goes on with a rekey whose new version too few validators had: it deals
// that one again where it is not shared, and counts who has it by now.
func (n *Node) resume(ctx context.Context, p *home.Principal, old, made *object.Held) (*api.Rekeyed, error) {
	m := n.trust.Current().Numbers
	out := &api.Rekeyed{
		Address: made.CID.String(), Old: old.CID.String(), Sequence: made.Manifest.Claims().Sequence, State: "shared",
		Deposits: api.Deposits{Of: int(m.N)},
	}
	if made.State == object.StateLocal {
		t, err := n.outbox.dealBatch(ctx, p.Identity.ID(), []*object.Held{made})
		if err != nil {
			return nil, err
		}
		if out.Deposits.Acknowledged = t.least(); t.least() < int(m.T) {
			out.State = "local"
			return out, nil
		}
	}
	claims := old.Manifest.Claims()
	l, err := n.quorum.Latest(ctx, quorum.LatestAsk{Principal: p, Address: old.CID, Manifest: &claims})
	if err != nil {
		return nil, err
	}
	if l.Address == made.CID {
		out.Deposits.Acknowledged = max(out.Deposits.Acknowledged, l.Named)
	}
	out.Deposits.Safe = out.Deposits.Acknowledged >= int(m.T+m.F)
	return out, nil
}

// retire ends a version that was replaced by one under another key, after that
// one is shared. Here it is marked and not dealt any more.
func (n *Node) retire(ctx context.Context, p *home.Principal, held *object.Held) error {
	if err := n.library.Retire(held.CID); err != nil {
		return err
	}
	return n.record(ctx, event.Retire, event.OK, event.Act{Actor: p.Identity.ID(), Object: held.CID.Bytes()})
}

// newestOwn resolves an owner's address to the newest version: what validators
// know, or what this home made since and has not deposited yet.
func (n *Node) newestOwn(ctx context.Context, p *home.Principal, h *object.Held) (cid.Cid, error) {
	if err := n.needsNetwork(); err != nil {
		return cid.Undef, err
	}
	known, err := n.lastShared(ctx, h)
	if err != nil {
		return cid.Undef, err
	}
	here, err := n.library.Newest(ctx, known)
	if err != nil {
		return cid.Undef, err
	}
	m, own := known.Manifest.Claims(), here.Manifest.Claims()
	l, err := n.quorum.Latest(ctx, quorum.LatestAsk{Principal: p, Address: known.CID, Manifest: &m})
	switch {
	case err == nil && (l.Manifest.Sequence > own.Sequence || l.Manifest.Sequence == own.Sequence && here.State != object.StateShared):
		return n.settled(l), nil
	case err == nil, fault.Of(err).Exit == fault.Denied && known.State == object.StateLocal: // validators have not heard of it
		return here.CID, nil
	}
	return cid.Undef, err
}

// lastShared goes back from a version that validators may not know to one that
// they do, or to the first that is here.
func (n *Node) lastShared(ctx context.Context, h *object.Held) (*object.Held, error) {
	for h.State == object.StateLocal || h.State == object.StateConflict {
		m := h.Manifest.Claims()
		previous, ok := m.PreviousAddress()
		if !ok {
			return h, nil
		}
		before, err := n.library.Find(ctx, previous)
		switch {
		case err == nil:
			h = before
		case fault.Of(err).Exit == fault.NotFound:
			return h, nil
		default:
			return nil, err
		}
	}
	return h, nil
}

// newestGranted resolves an address to the newest version that a chain covers.
func (n *Node) newestGranted(ctx context.Context, p *home.Principal, v *capability.Verified, address cid.Cid) (cid.Cid, error) {
	l, err := n.quorum.Latest(ctx, quorum.LatestAsk{Principal: p, Chain: v, Address: address})
	if err == nil {
		return n.settled(l), nil
	}
	if fault.Of(err).Exit == fault.Denied && v.Grant().Target.Kind == capability.Version {
		return cid.Undef, fault.New(fault.Denied, "leave --latest out, or ask its owner for a grant of the object", "the grant for %s is of this version alone, and there may be a newer one", address)
	}
	return cid.Undef, err
}

func (n *Node) settled(l *quorum.Latest) cid.Cid {
	if l.Rivals > 0 {
		n.log.Warn("the owner has written several versions at a time", "object", l.Address, "sequence", l.Manifest.Sequence, "others", l.Rivals)
	}
	return l.Address
}
