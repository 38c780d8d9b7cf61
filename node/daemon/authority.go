package daemon

import (
	"context"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// Grants that this home holds or gave are kept so that the mailbox is asked once
// for each and not at every read:
//
//	held/<audience><leaf>             Delivery
//	issued/<issuer><leaf>             Delivery
//	covers/<audience><address><leaf>  empty: the chain has opened the address
var (
	heldPrefix   = []byte("held/")
	issuedPrefix = []byte("issued/")
	coversPrefix = []byte("covers/")
)

func grantKey(prefix []byte, who, leaf statement.ID) []byte {
	return slices.Concat(prefix, who[:], leaf[:])
}

func coversKey(who statement.ID, address []byte, leaf statement.ID) []byte {
	return slices.Concat(coversPrefix, who[:], address, leaf[:])
}

// keep stores a verified chain under its audience or its issuer.
func (n *Node) keep(prefix []byte, who statement.ID, v *capability.Verified, hint []byte) error {
	raw, err := statement.Marshal(validator.Delivery{Chain: v.Chain().Bytes(), Hint: hint})
	if err != nil {
		return err
	}
	ops := []kv.Op{{Key: grantKey(prefix, who, v.Leaf()), Value: raw}}
	if len(hint) > 0 && string(prefix) == string(heldPrefix) {
		ops = append(ops, kv.Op{Key: coversKey(who, hint, v.Leaf()), Value: []byte{1}})
	}
	return n.grants.Apply(ops)
}

// stored reads one chain of this home.
func (n *Node) stored(prefix []byte, who, leaf statement.ID) (*validator.Delivery, *capability.Chain, error) {
	raw, err := n.grants.Get(grantKey(prefix, who, leaf))
	if err != nil {
		return nil, nil, err
	}
	var d validator.Delivery
	if err := statement.Unmarshal(raw, &d); err != nil {
		return nil, nil, err
	}
	c, err := capability.ParseChain(d.Chain)
	return &d, c, err
}

// candidate is a chain that may open an address.
type candidate struct {
	v      *capability.Verified
	cached bool
}

// held finds the chains of this home that have covered an address before and
// are in force. reason is why the last of the others is not.
func (n *Node) held(p *home.Principal, address cid.Cid) (out []candidate, reason error, err error) {
	return n.heldBy(p.Identity.ID(), address)
}

func (n *Node) heldBy(who statement.ID, address cid.Cid) (out []candidate, reason error, err error) {
	prefix := slices.Concat(coversPrefix, who[:], address.Bytes())
	err = n.grants.Scan(prefix, nil, func(key, _ []byte) (bool, error) {
		leaf := statement.ID(key[len(key)-32:])
		_, chain, err := n.stored(heldPrefix, who, leaf)
		if errors.Is(err, store.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		v, err := n.verifier.Verify(chain)
		if err != nil {
			reason = err
			return true, nil
		}
		out = append(out, candidate{v, true})
		return len(out) < 8, nil
	})
	return out, reason, err
}

// mailbox asks the validators for chains that cover an address, keeps them, and
// returns those in force: all of them, or the first good one, where whole says
// whether there may be others.
func (n *Node) mailbox(ctx context.Context, p *home.Principal, address cid.Cid, all bool) (out []candidate, whole bool, reason error, err error) {
	var ds []validator.Delivery
	if all {
		ds, err = n.quorum.PullMailbox(ctx, p, address.Bytes(), false)
		whole = true
	} else {
		ds, whole, err = n.quorum.FindInMailbox(ctx, p, address.Bytes(), func(d validator.Delivery) bool {
			v, err := n.delivered(p, d)
			return err == nil && v != nil && v.Grant().Abilities&capability.Read != 0
		})
	}
	if err != nil {
		return nil, false, nil, err
	}
	for _, d := range ds {
		v, err := n.delivered(p, d)
		if err != nil {
			reason = err
		}
		if v == nil {
			continue // one validator's junk does not hide the others' chains
		}
		if err := n.keep(heldPrefix, p.Identity.ID(), v, address.Bytes()); err != nil {
			return nil, false, nil, err
		}
		out = append(out, candidate{v, false})
	}
	return out, whole, reason, nil
}

// delivered verifies what came out of a mailbox: nil is junk, or another's, and an
// error says why a chain is not in force.
func (n *Node) delivered(p *home.Principal, d validator.Delivery) (*capability.Verified, error) {
	c, err := capability.ParseChain(d.Chain)
	if err != nil {
		return nil, nil
	}
	v, err := n.verifier.Verify(c)
	if err != nil {
		return nil, err
	}
	if v.Audience().ID() != p.Identity.ID() {
		return nil, nil
	}
	return v, nil
}

// withAuthority calls use with a chain that may open an address: first one that
// is held, then, where none is or it is denied, the first that the mailbox has,
// then all that it has. It ends with a denial only for a reason that can be verified: the held chain has
// ended, or N-F validators have no chain for this reader.
func (n *Node) withAuthority(ctx context.Context, p *home.Principal, address cid.Cid, use func(*capability.Verified) error) error {
	held, reason, err := n.held(p, address)
	if err != nil {
		return err
	}
	tried := map[statement.ID]bool{}
	var denied error
	try := func(cs []candidate) (done bool, err error) {
		for _, c := range cs {
			if tried[c.v.Leaf()] || c.v.Grant().Abilities&capability.Read == 0 {
				continue
			}
			tried[c.v.Leaf()] = true
			err := use(c.v)
			if err == nil || fault.Of(err).Exit != fault.Denied {
				return true, err
			}
			denied = err
		}
		return false, nil
	}
	if done, err := try(held); done {
		return err
	}
	var why error
	for whole, all := false, false; !whole; all = true {
		var fresh []candidate
		fresh, whole, why, err = n.mailbox(ctx, p, address, all)
		if err != nil {
			if denied != nil {
				return n.explain(ctx, p, address, denied)
			}
			if reason != nil {
				return n.noAuthority(address, reason)
			}
			return err
		}
		if done, err := try(fresh); done {
			return err
		}
	}
	if denied != nil {
		return n.explain(ctx, p, address, denied)
	}
	own, err := n.grantSelf(ctx, p, address)
	switch {
	case errors.Is(err, quorum.ErrNotOwned):
		return n.noAuthority(address, errors.Join(reason, why))
	case err != nil:
		return err
	}
	return use(own)
}

// explain asks what has been revoked since, because validators say "denied" and
// no more: whoever holds a grant may know that it has ended.
func (n *Node) explain(ctx context.Context, p *home.Principal, address cid.Cid, denied error) error {
	if n.tracker.Refresh(ctx) != nil {
		return denied
	}
	left, reason, err := n.held(p, address)
	if err != nil || len(left) > 0 || reason == nil {
		return denied
	}
	return n.noAuthority(address, reason)
}

func (n *Node) noAuthority(address cid.Cid, reason error) error {
	const hint = "ask its owner for a grant; your contact is what `cerebrum id show` prints"
	switch {
	case errors.Is(reason, capability.ErrRevoked):
		return fault.New(fault.Denied, hint, "the grant for %s was revoked", address).Because(reason)
	case errors.Is(reason, capability.ErrExpired):
		return fault.New(fault.Denied, hint, "the grant for %s has expired", address).Because(reason)
	}
	return fault.New(fault.Denied, hint, "nobody granted you %s", address).Because(errNoGrant)
}

// Why a node does not ask validators for a key.
var (
	errNoGrant = errors.New("no grant for it is here")
	errPurpose = errors.New("its grant is for other purposes")
)

// ruleOf names the rule of a denied read for the log: what this node knew itself, or that
// validators denied it, whose logs say why.
func ruleOf(err error) string {
	switch {
	case errors.Is(err, errNoGrant):
		return "no-grant"
	case errors.Is(err, errPurpose):
		return "grant-purpose"
	case errors.Is(err, capability.ErrRevoked), errors.Is(err, capability.ErrExpired):
		return validator.RuleOf(err)
	}
	return "validators"
}
