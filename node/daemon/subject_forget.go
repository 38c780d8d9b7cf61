package daemon

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// forgetRule names in the leaf why a person was forgotten.
const forgetRule = "subject-request"

// SubjectForget implements api.Compliance. The order's reason is in an entry of its
// own, which does not name the person.
func (n *Node) SubjectForget(ctx context.Context, r api.SubjectForgetRequest) (*api.SubjectForgotten, error) {
	if len(r.Reason) > 256 {
		return nil, fault.New(fault.Usage, "", "a reason has at most 256 bytes")
	}
	s, err := n.subject(ctx, r.Subject)
	if err != nil {
		return nil, err
	}
	out := &api.SubjectForgotten{Subject: s.String()}
	if s.who == (statement.ID{}) {
		out.Remains = append(n.forgottenRemains(s, nil), "who stood behind the pseudonym was forgotten before")
		return out, nil
	}
	if err := n.mayForget(ctx, s, out); err != nil {
		return nil, err
	}
	over, live, count, err := n.chainsOf(s.who)
	if err != nil {
		return nil, err
	}
	denied, err := n.deniedOf(s.who)
	if err != nil {
		return nil, err
	}
	operator := n.home.Principals()[0].Identity.ID()
	if operator == s.who {
		operator = statement.ID{} // or the order would bring back who is forgotten
	}
	out.Known = n.people.Row(s.who) != nil
	if err := n.record(ctx, event.Configure, event.OK, event.Act{Actor: operator, Rule: "subject-forget", Reason: r.Reason}); err != nil {
		return nil, err
	}
	if ops := append(over, denied...); len(ops) > 0 {
		if err := n.grants.Apply(ops); err != nil {
			return nil, err
		}
	}
	out.Grants = count + len(denied)
	if out.Receipts, out.Damaged, err = n.receipts.forget(s.who); err != nil {
		return nil, err
	}
	if err := n.audit.Forget(ctx, s.who, n.now(), forgetRule); err != nil {
		return nil, fault.Wrap(fault.Failed, err, "give the same command again", "the person is not forgotten yet")
	}
	out.Remains = n.forgottenRemains(s, live)
	return out, nil
}

// mayForget refuses what a legal hold forbids, and counts the events.
func (n *Node) mayForget(ctx context.Context, s subject, out *api.SubjectForgotten) error {
	var holders []statement.ID // owners of what is held
	if n.trust != nil {
		if n.running.Load() {
			if err := n.tracker.Refresh(ctx); err != nil {
				n.log.Warn("holds that were just placed may not be known here", "err", err)
			}
		}
		for _, f := range n.holds() {
			holders = append(holders, f.Body.(*revocation.Hold).Owner)
		}
	}
	held := slices.Contains(holders, s.who)
	err := n.entries(ctx, s, func(e *journal.Entry, opened *journal.Opened) error {
		out.Events++
		for _, c := range opened.Claims {
			if c.Name == event.Object && slices.Contains(holders, c.Of) && n.mayBeHeld(ctx, c.Value) {
				held = true
			}
		}
		return nil
	})
	if err != nil || !held {
		return err
	}
	if err := n.record(ctx, event.Forget, event.Denied, event.Act{Rule: "legal-hold"}); err != nil {
		return err
	}
	return fault.New(fault.Denied, "see `cerebrum hold list`; the person can be forgotten once the hold was released",
		"what this node knows of the person is evidence under a legal hold")
}

// mayBeHeld reports whether an object whose owner has something under a hold may be
// what is held: it is, unless its manifest is here and says otherwise.
func (n *Node) mayBeHeld(ctx context.Context, ref string) bool {
	c, err := envelope.ParseAddress(ref)
	if err != nil {
		return true
	}
	if h, err := n.library.Find(ctx, c); err == nil {
		m := h.Manifest.Claims()
		return n.set.Held(idsOf(&m)...)
	}
	if n.judge != nil {
		if d, err := n.judge.Deposited(c); err == nil {
			return n.set.Held(idsOf(&d.Manifest)...)
		}
	}
	return true
}

// chainsOf finds the grants of this home that name a person: how those that are over
// are deleted, and the ids of those in force, which are needed to end them.
func (n *Node) chainsOf(who statement.ID) (over []kv.Op, live []statement.ID, count int, err error) {
	if n.trust == nil {
		return nil, nil, 0, nil
	}
	err = n.eachChain(func(key []byte, d validator.Delivery) error {
		c, err := capability.ParseChain(d.Chain)
		if err != nil {
			return nil
		}
		v, err := n.verifier.VerifyPast(c)
		if err != nil || !names(v, who) {
			return nil
		}
		if err := n.verifier.Live(v); err == nil {
			if !slices.Contains(live, v.Leaf()) {
				live = append(live, v.Leaf())
			}
			return nil
		}
		count++
		over = append(over, kv.Op{Key: key, Delete: true})
		if !bytes.HasPrefix(key, heldPrefix) {
			return nil
		}
		audience, leaf := v.Audience().ID(), v.Leaf()
		return n.grants.Scan(slices.Concat(coversPrefix, audience[:]), nil, func(at, _ []byte) (bool, error) {
			if bytes.HasSuffix(at, leaf[:]) {
				over = append(over, kv.Op{Key: slices.Clone(at), Delete: true})
			}
			return true, nil
		})
	})
	return over, live, count, err
}

// names reports whether a person gave, may use or handed on a chain.
func names(v *capability.Verified, who statement.ID) bool {
	return slices.ContainsFunc(v.Grants(), func(g *capability.Grant) bool { return g.Owner == who || g.Audience == who })
}

// deniedOf is how denied requests that name a person are deleted.
func (n *Node) deniedOf(who statement.ID) (ops []kv.Op, err error) {
	err = n.pending(pendingPrefix, func(key []byte, p *pendingGrant) error {
		_, g, err := p.parse()
		if err != nil {
			return err
		}
		if p.State == pendingDenied && (p.Owner == who || g.Owner == who || g.Audience == who) {
			ops = append(ops, kv.Op{Key: key, Delete: true})
		}
		return nil
	})
	return ops, err
}

// forgottenRemains says what is still there of a person, at this node and elsewhere.
func (n *Node) forgottenRemains(s subject, live []statement.ID) []string {
	out := []string{
		"the log's entries: time, action, outcome and a pseudonym that nothing here links to the person; time patterns of one quarter may still tell",
		"claims of other persons in the same events, such as which object of theirs was read",
		"signed statements that rights rest on: memberships, roles, revocations, identity records, at this node and at others",
		"objects that the person owns, as ciphertext: only their owner erases them, with `cerebrum erase`",
		"what other nodes logged, exports that were made before, and copies, snapshots and backups of this home",
		"old pages of this home's database, where what was deleted stays as ciphertext under the home's key until they are written anew",
		"the same person is in the log again once it acts again",
	}
	if n.judge != nil {
		out = append(out, "this validator's deposits and mailbox: shares, grants and consents of the person, which others' access rests on")
	}
	for _, id := range live {
		out = append(out, fmt.Sprintf("the grant %s, which is in force: end it with `cerebrum revoke`, then forget again", id))
	}
	return out
}
