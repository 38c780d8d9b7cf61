package daemon

import (
	"context"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/quorum"
	"github.com/ipfs/go-cid"
)

// Grants that wait for a person at some validators are kept here until K have
// signed, enough have denied, or they expire. The outbox asks again.
var pendingPrefix = []byte("pending/") // + owner + grant id -> pendingGrant

// States of a pending grant.
const (
	pendingWaits = iota
	pendingSigned
	pendingDenied
)

type pendingGrant struct {
	_          struct{}     `cbor:",toarray"`
	Owner      statement.ID // who asks: the owner, or under a standing consent the audience
	Grant      []byte       // with the signatures that there are
	Consent    []byte
	Identities [][]byte // owner, audience
	Hint       []byte
	Reason     string
	State      uint8
	Why        string // it was denied
}

func (p *pendingGrant) parse() (*statement.Statement, *capability.Grant, error) {
	s, err := statement.Parse(p.Grant)
	if err != nil {
		return nil, nil, err
	}
	var g capability.Grant
	return s, &g, s.Peek(capability.KindGrant, &g)
}

// issuing is what the log calls asking for a grant: the owner's own, or one that its
// audience asks for under a standing consent.
func issuing(g *capability.Grant) event.Action {
	if len(g.Consent) > 0 {
		return event.Request
	}
	return event.GrantIssue
}

func pendingKey(owner, id statement.ID) []byte { return slices.Concat(pendingPrefix, owner[:], id[:]) }

func (n *Node) savePending(p *pendingGrant) error {
	s, _, err := p.parse()
	if err != nil {
		return err
	}
	raw, err := statement.Marshal(p)
	if err != nil {
		return err
	}
	return n.grants.Apply([]kv.Op{{Key: pendingKey(p.Owner, s.ID()), Value: raw}})
}

// collect asks for the signatures that are missing and keeps them in p.
func (n *Node) collect(ctx context.Context, owner *home.Principal, p *pendingGrant) (done bool, err error) {
	s, _, err := p.parse()
	if err != nil {
		return false, err
	}
	got, err := n.quorum.SignGrant(ctx, quorum.SignAsk{Owner: owner, Grant: s, Consent: p.Consent, Identities: p.Identities, Reason: p.Reason})
	p.Grant = s.Bytes()
	return err == nil && got.Done, err
}

// keepPending makes a grant that waits durable and has the outbox ask again.
func (n *Node) keepPending(ctx context.Context, p *pendingGrant) (*api.Granted, error) {
	s, g, err := p.parse()
	if err != nil {
		return nil, err
	}
	id := s.ID()
	if err := n.record(ctx, issuing(g), event.Pending, event.Act{Actor: p.Owner, Subject: g.Audience, Object: p.Hint, Owner: g.Owner, Grant: id[:], Rule: "validators", Reason: p.Reason}); err != nil {
		return nil, err
	}
	if err := n.savePending(p); err != nil {
		return nil, err
	}
	n.outbox.poke()
	return &api.Granted{Grant: id.String(), Expires: stamp(g.Caveats.Expires), Signatures: len(s.Signers()), State: "pending"}, nil
}

// complete makes the chain of a grant with K signatures and delivers it.
func (n *Node) complete(ctx context.Context, p *pendingGrant) (*api.Granted, error) {
	s, g, err := p.parse()
	if err != nil {
		return nil, err
	}
	identities := p.Identities
	if g.Owner == g.Audience {
		identities = identities[:1] // a grant to oneself names one identity
	}
	hint, err := cid.Cast(p.Hint)
	if err != nil {
		return nil, err
	}
	out, err := n.deliver(ctx, &capability.Chain{Grant: p.Grant, Consent: p.Consent, Identities: identities}, p.Owner, hint, issuing(g))
	if err != nil {
		return nil, err
	}
	out.Signatures = len(s.Signers())
	return out, nil
}

// pending calls fn for every grant that this home keeps as pending or denied.
func (n *Node) pending(prefix []byte, fn func(key []byte, p *pendingGrant) error) error {
	return n.grants.Scan(prefix, nil, func(key, value []byte) (bool, error) {
		var p pendingGrant
		if err := statement.Unmarshal(value, &p); err != nil {
			return false, err
		}
		return true, fn(slices.Clone(key), &p)
	})
}

// countPending counts the grants that wait.
func (n *Node) countPending() (count int, err error) {
	err = n.pending(pendingPrefix, func(_ []byte, p *pendingGrant) error {
		if p.State != pendingDenied {
			count++
		}
		return nil
	})
	return count, err
}

// askPending asks once for every grant that waits and counts those that still do.
func (n *Node) askPending(ctx context.Context) (left int, err error) {
	var all []*pendingGrant
	var old []kv.Op
	err = n.pending(pendingPrefix, func(key []byte, p *pendingGrant) error {
		_, g, err := p.parse()
		switch {
		case err != nil:
			return err
		case g.Caveats.Expires <= n.now().Unix():
			old = append(old, kv.Op{Key: key, Delete: true})
		case p.State != pendingDenied:
			all = append(all, p)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if len(old) > 0 {
		if err := n.grants.Apply(old); err != nil {
			return len(all), err
		}
	}
	for _, p := range all {
		waits, err := n.askOne(ctx, p)
		if err != nil {
			return len(all), err
		}
		if waits {
			left++
		}
	}
	return left, nil
}

// askOne asks for one grant. What is certain is made durable before it counts.
func (n *Node) askOne(ctx context.Context, p *pendingGrant) (waits bool, err error) {
	s, g, err := p.parse()
	if err != nil {
		return true, err
	}
	if p.State == pendingWaits {
		owner := n.principalOf(p.Owner)
		switch {
		case owner == nil:
			return false, n.closePending(ctx, p, "the identity that asked for it is not in this home any more")
		case g.Record != n.trust.Current().ID():
			return false, n.closePending(ctx, p, "the committee has changed since; grant it again")
		}
		done, err := n.collect(ctx, owner, p)
		if err != nil && fault.Of(err).Exit == fault.Denied {
			return false, n.closePending(ctx, p, fault.Of(err).Message)
		}
		if !done { // too few answer, or persons have not decided yet
			return true, n.savePending(p)
		}
		p.State = pendingSigned
		if err := n.savePending(p); err != nil {
			return true, err
		}
	}
	if err := n.deliverPending(ctx, p); err != nil {
		if fault.Of(err).Exit == fault.Denied {
			return false, n.closePending(ctx, p, fault.Of(err).Message)
		}
		n.log.Info("a grant waits to be delivered", "grant", s.ID(), "err", err)
		return true, nil
	}
	return false, n.grants.Apply([]kv.Op{{Key: pendingKey(p.Owner, s.ID()), Delete: true}})
}

// deliverPending delivers a grant that K have signed. One that an earlier pass
// recorded and kept is only sent.
func (n *Node) deliverPending(ctx context.Context, p *pendingGrant) error {
	s, _, err := p.parse()
	if err != nil {
		return err
	}
	raw, err := n.grants.Get(grantKey(issuedPrefix, p.Owner, s.ID()))
	if errors.Is(err, kv.ErrNotFound) {
		_, err := n.complete(ctx, p)
		return err
	}
	if err != nil {
		return err
	}
	var d validator.Delivery
	if err := statement.Unmarshal(raw, &d); err != nil {
		return err
	}
	return n.quorum.SendDelivery(ctx, d)
}

// closePending keeps a denial for `grants --issued` until the grant would expire.
func (n *Node) closePending(ctx context.Context, p *pendingGrant, why string) error {
	s, g, err := p.parse()
	if err != nil {
		return err
	}
	id := s.ID()
	if err := n.record(ctx, issuing(g), event.Denied, event.Act{Actor: p.Owner, Subject: g.Audience, Object: p.Hint, Owner: g.Owner, Grant: id[:], Rule: "validators", Reason: why}); err != nil {
		return err
	}
	p.State, p.Why = pendingDenied, why
	return n.savePending(p)
}

// pendingInfos are the pending and denied grants of an identity, in words.
func (n *Node) pendingInfos(owner statement.ID) (out []api.GrantInfo, err error) {
	err = n.pending(slices.Concat(pendingPrefix, owner[:]), func(_ []byte, p *pendingGrant) error {
		s, g, err := p.parse()
		if err != nil {
			return err
		}
		info := grantInfo(g, s.ID(), p.Hint)
		info.State, info.Reason = "pending", p.Why
		if p.State == pendingDenied {
			info.State = "denied"
		}
		out = append(out, info)
		return nil
	})
	return out, err
}
