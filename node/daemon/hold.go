package daemon

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
)

// Hold implements api.Service. The words of the order stay in this home's audit
// log; the statement has their hash.
func (n *Node) Hold(ctx context.Context, r api.HoldRequest) (*api.Held, error) {
	p, err := n.officer(r.As, r.Reason)
	if err != nil {
		return nil, err
	}
	c, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	m, directory, err := n.toHold(ctx, p, c)
	if err != nil {
		return nil, err
	}
	h := revocation.Hold{Network: m.Network, Owner: m.Owner, Placed: true, On: revocation.HoldLineage, Ref: m.Lineage}
	switch {
	case r.ThisVersion:
		h.On, h.Ref = revocation.HoldKey, m.KeyNonce
	case directory || r.Directory:
		if len(m.Scopes) == 0 {
			return nil, fault.New(fault.Usage, "leave --directory out", "%s belongs to no directory", c)
		}
		h.On, h.Ref = revocation.HoldScope, m.Scopes[0]
	}
	return n.orderHold(ctx, p, h, c.Bytes(), r.Reason)
}

// Unhold implements api.Service.
func (n *Node) Unhold(ctx context.Context, r api.UnholdRequest) (*api.Held, error) {
	p, err := n.officer(r.As, r.Reason)
	if err != nil {
		return nil, err
	}
	id, err := statement.ParseID(r.Hold)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "see `cerebrum hold list`", "that is no hold")
	}
	if err := n.tracker.Refresh(ctx); err != nil {
		n.log.Warn("a hold that was just placed may not be known here", "err", err)
	}
	for _, f := range n.holds() {
		if f.ID == id {
			h := f.Body.(*revocation.Hold)
			return n.orderHold(ctx, p, h.Release(id), nil, r.Reason)
		}
	}
	return nil, fault.New(fault.NotFound, "see `cerebrum hold list`", "no hold %s is in force", id)
}

func (n *Node) officer(as, reason string) (*home.Principal, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	if len(reason) > 256 {
		return nil, fault.New(fault.Usage, "", "a reason has at most 256 bytes")
	}
	return n.home.Principal(as)
}

// toHold finds the manifest of what is to be held: here, or at the validators,
// whose word is not needed because the address is the hash of the manifest.
func (n *Node) toHold(ctx context.Context, p *home.Principal, c cid.Cid) (m envelope.Manifest, directory bool, err error) {
	h, err := n.library.Find(ctx, c)
	if err == nil {
		return h.Manifest.Claims(), h.IsDirectory(), nil
	}
	if fault.Of(err).Exit != fault.NotFound {
		return m, false, err
	}
	u, err := n.quorum.FindHeld(ctx, p, c)
	if err != nil {
		return m, false, err
	}
	return u.Claims(), false, nil
}

// orderHold has K validators sign a hold or a release, and enough of them keep it.
func (n *Node) orderHold(ctx context.Context, p *home.Principal, h revocation.Hold, address []byte, reason string) (*api.Held, error) {
	h.Record, h.Officer, h.Reason, h.Time = n.trust.Current().ID(), p.Identity.ID(), sha256.Sum256([]byte(reason)), n.now().Unix()
	rand.Read(h.Nonce[:])
	draft, err := revocation.DraftHold(h)
	if err != nil {
		return nil, err
	}
	id := draft.ID()
	action := event.Hold
	if !h.Placed {
		action = event.HoldRelease
	}
	if err := n.record(ctx, action, event.OK, event.Act{Actor: p.Identity.ID(), Object: address, Grant: id[:], Reason: reason}); err != nil {
		return nil, err
	}
	signed, err := n.quorum.SignHold(ctx, p, draft)
	if err != nil {
		return nil, err
	}
	entry := revocation.Entry{Statement: signed.Bytes()}
	acks, err := n.quorum.SendHold(ctx, entry, id)
	if err != nil {
		return nil, err
	}
	if err := n.tracker.Take([]revocation.Entry{entry}); err != nil {
		return nil, err
	}
	return &api.Held{Hold: id.String(), Acks: acks, Of: len(n.trust.Current().Validators)}, nil
}

// holds are the holds in force that this node knows of.
func (n *Node) holds() []*revocation.Fact {
	return slices.DeleteFunc(n.set.OfKind(revocation.KindHold), func(f *revocation.Fact) bool {
		h := f.Body.(*revocation.Hold)
		return !slices.ContainsFunc(n.set.Holds(h.Target()), func(o *revocation.Fact) bool { return o.ID == f.ID })
	})
}

// Holds implements api.Service.
func (n *Node) Holds(ctx context.Context) (*api.Holds, error) {
	if n.trust == nil {
		return nil, n.needsNetwork()
	}
	if n.running.Load() {
		if err := n.tracker.Refresh(ctx); err != nil {
			n.log.Warn("a hold that was just placed may not be known here", "err", err)
		}
	}
	out := &api.Holds{Holds: []api.Hold{}}
	for _, f := range n.holds() {
		h := f.Body.(*revocation.Hold)
		out.Holds = append(out.Holds, api.Hold{
			Hold: f.ID.String(), On: [...]string{"", "key", "lineage", "scope"}[h.On], Target: h.Target().String(),
			Owner: h.Owner.String(), Officer: h.Officer.String(), Since: stamp(h.Time), Reason: hex.EncodeToString(h.Reason[:]),
		})
	}
	return out, nil
}
