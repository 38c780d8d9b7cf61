package daemon

import (
	"context"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// subjectObject is an object that a person owns.
type subjectObject struct {
	Address        string            `json:"address"`
	Name           string            `json:"name,omitempty"`
	Size           uint64            `json:"ciphertext_size"`
	Created        string            `json:"created"`
	State          string            `json:"state"`
	Classification int               `json:"classification"`
	Labels         map[string]string `json:"labels,omitempty"`
	Holders        []string          `json:"holders,omitempty"` // that its depositor named
}

// subjectObjects are the objects of a person in this home and, at a validator, those
// of which it holds a share.
func (n *Node) subjectObjects(ctx context.Context, who statement.ID) ([]subjectObject, error) {
	out := []subjectObject{}
	if who == (statement.ID{}) {
		return out, nil
	}
	here := map[string]int{}
	err := n.store.Objects(func(o store.Object) (bool, error) {
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		h, err := n.library.Find(ctx, c)
		if err != nil {
			return ctx.Err() == nil, ctx.Err() // damaged: `verify` says so
		}
		m := h.Manifest.Claims()
		if m.Owner != who {
			return true, nil
		}
		d := n.describe(ctx, c, o)
		row := subjectObject{Address: d.Address, Name: d.Name, Size: m.Size, Created: stamp(m.Created), State: d.State}
		if l, err := h.Labels(); err == nil {
			row.Labels, row.Classification = labelMap(l.Labels), int(l.Class)
		}
		here[d.Address] = len(out)
		out = append(out, row)
		return true, nil
	})
	if err != nil || n.judge == nil {
		return out, err
	}
	return out, n.judge.EachDeposit(who, func(d validator.Deposited) error {
		row := subjectObject{Address: d.Address.String(), Size: d.Manifest.Size, Created: stamp(d.Manifest.Created), State: "a share of its key"}
		if i, ok := here[row.Address]; ok {
			row = out[i]
		}
		row.Labels, row.Classification, row.Holders = labelMap(d.Labels), int(d.Class), d.Holders
		if i, ok := here[row.Address]; ok {
			out[i] = row
			return nil
		}
		out = append(out, row)
		return nil
	})
}

func labelMap(labels []validator.Label) map[string]string {
	out := map[string]string{}
	for _, l := range labels {
		out[l.Key] = l.Value
	}
	return out
}

// subjectGrants are the grants to a person and from a person that are kept here.
func (n *Node) subjectGrants(who statement.ID) (held, given []api.GrantInfo, err error) {
	held, given = []api.GrantInfo{}, []api.GrantInfo{}
	if who == (statement.ID{}) || n.trust == nil {
		return held, given, nil
	}
	seen := map[string]bool{}
	take := func(d validator.Delivery) error {
		info, issuer, err := n.describeGrant(d)
		if err != nil || seen[info.Grant] {
			return nil // junk, or from two places
		}
		seen[info.Grant] = true
		if info.Audience == who.String() {
			held = append(held, *info)
		}
		if issuer == who || info.Owner == who.String() {
			given = append(given, *info)
		}
		return nil
	}
	if err := n.eachChain(func(_ []byte, d validator.Delivery) error { return take(d) }); err != nil {
		return nil, nil, err
	}
	if n.judge == nil {
		return held, given, nil
	}
	return held, given, errors.Join(n.judge.EachGrant(who, false, take), n.judge.EachGrant(who, true, take))
}

// eachChain calls fn with every chain that this home keeps, whoever holds it or gave it.
func (n *Node) eachChain(fn func(key []byte, d validator.Delivery) error) error {
	for _, prefix := range [][]byte{heldPrefix, issuedPrefix} {
		err := n.grants.Scan(prefix, nil, func(key, value []byte) (bool, error) {
			var d validator.Delivery
			if err := statement.Unmarshal(value, &d); err != nil {
				return false, err
			}
			return true, fn(slices.Clone(key), d)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// subjectConsents are the standing consents of a person: at a validator those that it
// keeps, and for an identity of this home, while the node runs, those of all.
func (n *Node) subjectConsents(ctx context.Context, who statement.ID) ([]api.ConsentInfo, error) {
	out := []api.ConsentInfo{}
	if n.trust == nil {
		return out, nil
	}
	seen := map[statement.ID]bool{}
	if n.judge != nil {
		err := n.judge.EachConsent(who, func(k validator.KeptConsent) error {
			b, id, _, err := k.Parse(n.trust.Network(), n.verifier.Identity)
			if err == nil && !seen[id] {
				seen[id] = true
				out = append(out, n.consentInfo(id, b))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	p := n.principalOf(who)
	if p == nil || !p.Current || !n.running.Load() {
		return out, nil
	}
	own, err := n.ownConsents(ctx, p)
	for _, c := range own {
		if !seen[c.id] {
			out = append(out, n.consentInfo(c.id, c.body))
		}
	}
	return out, err
}

// subjectRoles are the roles of a person, which validators alone know.
func (n *Node) subjectRoles(who statement.ID) []api.Role {
	out := []api.Role{}
	if n.judge == nil {
		return out
	}
	for _, given := range n.judge.Book.Assignments(who) {
		out = append(out, n.roleRow(&given.Assignment, given.ID()))
	}
	return out
}

type subjectMembership struct {
	Peer    string `json:"peer_id"`
	Role    string `json:"role"`
	From    string `json:"from"`
	Expires string `json:"expires"`
}

// subjectMemberships are the peers that are known here as a person's.
func (n *Node) subjectMemberships(who statement.ID) ([]subjectMembership, error) {
	out := []subjectMembership{}
	if who == (statement.ID{}) || n.trust == nil {
		return out, nil
	}
	if i, sits := n.trust.Current().ByIdentity(who); sits {
		r := n.trust.Current()
		out = append(out, subjectMembership{PeerID(r.Validators[i].Peer), "validator", "", stamp(r.Expires)})
	}
	return out, n.roll.store.Scan(memberPrefix, nil, func(_, raw []byte) (bool, error) {
		s, err := statement.Parse(raw)
		if err != nil {
			return false, err
		}
		var m trust.Membership
		if err := s.Peek(trust.KindMembership, &m); err != nil {
			return false, err
		}
		if m.Identity == who {
			out = append(out, subjectMembership{PeerID(m.Peer), m.Role.String(), stamp(m.NotBefore), stamp(m.Expires)})
		}
		return true, nil
	})
}
