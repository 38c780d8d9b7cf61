package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
)

// inForce is a grant or link that counts now.
type inForce struct {
	v    *capability.Verified
	hint []byte
}

// AccessReview implements api.Compliance.
func (n *Node) AccessReview(ctx context.Context, r api.AccessReviewRequest) (*api.AccessReview, error) {
	if r.ExpiringSeconds < 0 || r.UnusedSeconds < 0 {
		return nil, fault.New(fault.Usage, "", "--expiring and --unused are times such as 30d")
	}
	all, err := n.grantsInForce(ctx, r.As, r.All)
	if err != nil {
		return nil, err
	}
	used, unread, err := n.uses(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.AccessReview{Made: stamp(n.now().Unix()), Holders: []api.AccessHolder{}, NotKnown: slices.Concat(n.reviewLimits(r.All), n.prunedLimit(), unreadLimit(unread))}
	by := map[statement.ID][]api.AccessGrant{}
	for _, g := range all {
		row := n.reviewed(ctx, g, all, used, r)
		if narrowed := r.ExpiringSeconds > 0 || r.UnusedSeconds > 0; narrowed && !row.Expiring && !row.Unused {
			continue
		}
		out.Grants++
		if row.Expiring {
			out.Expiring++
		}
		if row.Unused {
			out.Unused++
		}
		who := g.v.Audience().ID()
		by[who] = append(by[who], row)
	}
	for who, grants := range by {
		h := api.AccessHolder{Identity: who.String(), Grants: grants}
		if p := n.principalOf(who); p != nil {
			h.Name = p.Name
		}
		slices.SortFunc(h.Grants, func(a, b api.AccessGrant) int {
			return cmp.Or(cmp.Compare(a.Expires, b.Expires), cmp.Compare(a.Grant, b.Grant))
		})
		out.Holders = append(out.Holders, h)
	}
	slices.SortFunc(out.Holders, func(a, b api.AccessHolder) int { return cmp.Compare(a.Identity, b.Identity) })
	return out, nil
}

// grantsInForce are the grants in force that identities of this home gave or stand
// above, or, at a validator that is asked for all, every one that it keeps.
func (n *Node) grantsInForce(ctx context.Context, as string, all bool) (out []inForce, err error) {
	if n.trust == nil {
		return nil, n.needsNetwork()
	}
	seen := map[statement.ID]bool{}
	take := func(d validator.Delivery) error {
		c, err := capability.ParseChain(d.Chain)
		if err != nil {
			return nil // junk of one validator
		}
		v, err := n.verifier.Verify(c)
		if err != nil || seen[v.Leaf()] {
			return nil
		}
		seen[v.Leaf()] = true
		out = append(out, inForce{v, d.Hint})
		return nil
	}
	if all {
		if err := n.needsJudge(); err != nil {
			return nil, err
		}
		return out, n.judge.EachChain(take)
	}
	who := n.home.Principals()
	if as != "" {
		p, err := n.principal(as)
		if err != nil {
			return nil, err
		}
		who = []*home.Principal{p}
	}
	for _, p := range who {
		ds, err := n.localGrants(issuedPrefix, p)
		if err != nil {
			return nil, err
		}
		if n.running.Load() && p.Current {
			more, err := n.quorum.PullMailbox(ctx, p, nil, true)
			if err != nil {
				return nil, err
			}
			ds = append(ds, more...)
		}
		for _, d := range ds {
			if err := take(d); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// use is what a log knows of the uses of a grant.
type use struct {
	last  time.Time
	count int
}

// isUse reports whether an event is a use of the grant that it names.
func isUse(l *event.Leaf) bool {
	switch l.Action {
	case event.Release, event.Serve, event.Get, event.Range, event.Carry:
		return l.Outcome == event.OK
	}
	return false
}

// uses are the uses of grants in this node's log, by the ids of the grants, and how many
// there are of which it is not known what they used.
func (n *Node) uses(ctx context.Context) (out map[string]use, unread int, err error) {
	out = map[string]use{}
	err = n.audit.Scan(func(e *journal.Entry) error {
		if err := ctx.Err(); err != nil || e.Leaf == nil || !isUse(e.Leaf) {
			return err
		}
		claims, known := n.claimsOf(e)
		if !known {
			unread++
		}
		if id, ok := event.Find(claims, event.Grant); ok {
			u := out[id]
			u.count++
			u.last = e.Time()
			out[id] = u
		}
		return nil
	})
	return out, unread, err
}

// claimsOf is what is known of an event; false where that is lost, or what is there was
// not written with it: one such entry must not keep the others from being counted.
func (n *Node) claimsOf(e *journal.Entry) (claims []event.Claim, known bool) {
	opened, err := e.Open()
	if err != nil {
		n.log.Warn("what an entry of the audit log is about cannot be read", "err", err)
		return nil, false
	}
	return opened.Claims, !opened.Lost
}

// unreadLimit says that events were not counted.
func unreadLimit(events int) []string {
	if events == 0 {
		return nil
	}
	return []string{fmt.Sprintf("what was used in %d uses that this node's log has: what was kept beside them is lost or damaged; `cerebrum audit log` shows which", events)}
}

// reviewed is a grant in words, with what a reviewer decides by.
func (n *Node) reviewed(ctx context.Context, of inForce, all []inForce, used map[string]use, r api.AccessReviewRequest) api.AccessGrant {
	g, path := of.v.Grant(), of.v.Path()
	info := grantInfo(&g, of.v.Leaf(), of.hint)
	row := api.AccessGrant{
		Grant: info.Grant, Owner: info.Owner, Target: info.Target, Address: info.Address, Can: info.Can, Purposes: info.Purposes,
		Regions: g.Caveats.Regions, Expires: info.Expires, Offline: g.Caveats.Offline, MayHandOn: int(g.Depth),
	}
	if class := int(g.Caveats.MaxClass); class < 255 {
		row.MaxClass = &class
	}
	if len(path) > 1 {
		row.Parent = path[len(path)-2].String()
	}
	if of.v.Standing() != nil {
		row.Consent = of.v.Consent().String()
	}
	if c, err := cid.Cast(of.hint); err == nil {
		row.Name = n.ownName(ctx, c)
	}
	now := n.now()
	row.Expiring = r.ExpiringSeconds > 0 && g.Caveats.Expires < now.Unix()+r.ExpiringSeconds
	u := used[row.Grant]
	if row.Uses = u.count; u.count > 0 {
		row.LastUse = stamp(u.last.Unix())
	}
	since := now.Add(-time.Duration(r.UnusedSeconds) * time.Second)
	row.Unused = r.UnusedSeconds > 0 && u.last.Before(since) && g.Caveats.NotBefore < since.Unix()
	for _, other := range all {
		below := other.v.Path()
		if i := slices.Index(below, of.v.Leaf()); i >= 0 && i < len(below)-1 {
			row.Delegated = append(row.Delegated, other.v.Leaf().String())
		}
	}
	slices.Sort(row.Delegated)
	return row
}

// reviewLimits says what a review cannot see.
func (n *Node) reviewLimits(all bool) []string {
	out := []string{"uses are those of this node's log: what a holder read under a kept key, or from plaintext that it has, is in no log"}
	if all {
		out = append(out, "grants whose delivery did not reach this validator are missing; each validator has its own list")
		return out
	}
	if n.judge == nil {
		out = append(out, "keys are released by validators: a read whose ciphertext came from another holder is a use that only they logged; `cerebrum access-review --all` at a validator shows it")
	}
	if !n.running.Load() {
		out = append(out, "no node runs on this home: what was handed on below these grants is known to the validators, and not asked for")
	}
	return out
}
