package daemon

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
)

// Grants implements api.Service: what the mailbox and this home know.
func (n *Node) Grants(ctx context.Context, r api.GrantsRequest) (*api.Grants, error) {
	if n.trust == nil {
		return nil, n.needsNetwork()
	}
	p, err := n.principal(r.As)
	if err != nil {
		return nil, err
	}
	prefix := heldPrefix
	if r.Issued {
		prefix = issuedPrefix
	}
	found, err := n.localGrants(prefix, p)
	if err != nil {
		return nil, err
	}
	if n.running.Load() {
		if err := mayAct(p); err != nil {
			return nil, err
		}
		ds, err := n.quorum.PullMailbox(ctx, p, nil, r.Issued)
		if err != nil {
			return nil, err
		}
		found = append(found, ds...)
	}
	out := &api.Grants{Grants: []api.GrantInfo{}}
	seen := map[string]bool{}
	for _, d := range found {
		info, issuer, err := n.describeGrant(d)
		if err != nil || seen[info.Grant] || r.Issued && issuer != p.Identity.ID() {
			continue // junk of one validator, or the same grant from two places
		}
		seen[info.Grant] = true
		out.Grants = append(out.Grants, *info)
	}
	waiting, err := n.pendingInfos(p.Identity.ID())
	if err != nil {
		return nil, err
	}
	out.Grants = append(out.Grants, slices.DeleteFunc(waiting, func(i api.GrantInfo) bool {
		given := i.Owner == p.Identity.ID().String() // otherwise it was asked for under a standing consent
		return seen[i.Grant] || given != r.Issued
	})...)
	sort.Slice(out.Grants, func(i, j int) bool {
		a, b := out.Grants[i], out.Grants[j]
		return a.Expires < b.Expires || a.Expires == b.Expires && a.Grant < b.Grant
	})
	return out, nil
}

func (n *Node) localGrants(prefix []byte, p *home.Principal) ([]validator.Delivery, error) {
	var out []validator.Delivery
	who := p.Identity.ID()
	err := n.grants.Scan(bytes.Join([][]byte{prefix, who[:]}, nil), nil, func(_, value []byte) (bool, error) {
		var d validator.Delivery
		if err := statement.Unmarshal(value, &d); err != nil {
			return false, err
		}
		out = append(out, d)
		return true, nil
	})
	return out, err
}

func (n *Node) describeGrant(d validator.Delivery) (_ *api.GrantInfo, issuer statement.ID, err error) {
	c, err := capability.ParseChain(d.Chain)
	if err != nil {
		return nil, issuer, err
	}
	v, err := n.verifier.VerifyPast(c)
	if err != nil {
		return nil, issuer, err
	}
	g := v.Grant()
	info := grantInfo(&g, v.Leaf(), d.Hint)
	info.Links = len(c.Links)
	info.State, _ = n.stateOf(v)
	return &info, validator.IssuerOf(v), nil
}

// grantInfo is a grant or link in words, as if it were in force.
func grantInfo(g *capability.Grant, id statement.ID, hint []byte) api.GrantInfo {
	info := api.GrantInfo{
		Grant: id.String(), Owner: g.Owner.String(), Audience: g.Audience.String(), Can: g.Abilities.String(),
		Expires: stamp(g.Caveats.Expires), Depth: int(g.Depth), Purposes: g.Caveats.Purposes, State: "valid",
		Target: targetKind(g.Target),
	}
	if a, err := cid.Cast(hint); err == nil {
		info.Address = a.String()
	}
	return info
}

// targetKind names the kind of a target that was checked.
func targetKind(t capability.Target) string {
	return [...]string{"", "version", "lineage", "scope"}[t.Kind]
}

// issued is a grant that one of this home's identities may revoke.
type issued struct {
	p     *home.Principal
	chain *capability.Chain
	v     *capability.Verified
	hint  []byte
}

// findIssued looks for a grant among those that this home's identities gave,
// here and in the validators' records.
func (n *Node) findIssued(ctx context.Context, id statement.ID, as string) (*issued, error) {
	n.syncIdentities()
	principals := slices.DeleteFunc(slices.Clone(n.home.Principals()), func(p *home.Principal) bool { return !p.Current })
	if as != "" {
		p, err := n.actor(as)
		if err != nil {
			return nil, err
		}
		principals = []*home.Principal{p}
	}
	for _, p := range principals {
		ds, err := n.localGrants(issuedPrefix, p)
		if err != nil {
			return nil, err
		}
		if got := n.pick(p, ds, id); got != nil {
			return got, nil
		}
	}
	for _, p := range principals {
		ds, err := n.quorum.PullMailbox(ctx, p, nil, true)
		if err != nil {
			return nil, err
		}
		if got := n.pick(p, ds, id); got != nil {
			return got, nil
		}
	}
	return nil, fault.New(fault.NotFound, "see `cerebrum grants --issued`", "this home gave no grant %s", id)
}

// pick finds the chain in which a statement stands that p may revoke: the leaf,
// or one above it.
func (n *Node) pick(p *home.Principal, ds []validator.Delivery, id statement.ID) *issued {
	for _, d := range ds {
		c, err := capability.ParseChain(d.Chain)
		if err != nil {
			continue
		}
		v, err := n.verifier.VerifyPast(c)
		if err == nil && v.MayRevoke(p.Identity.ID(), id) {
			return &issued{p, c, v, d.Hint}
		}
	}
	return nil
}

// Revoke implements api.Service.
func (n *Node) Revoke(ctx context.Context, r api.RevokeRequest) (*api.Revoked, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	began := time.Now()
	id, err := statement.ParseID(r.Grant)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "see `cerebrum grants --issued`", "that is no grant")
	}
	if len(r.Reason) > 256 {
		return nil, fault.New(fault.Usage, "", "a reason has at most 256 bytes")
	}
	found, err := n.findIssued(ctx, id, r.As)
	if err != nil && fault.Of(err).Exit == fault.NotFound {
		if ended, eerr := n.endConsent(ctx, r, id, began); ended != nil || eerr != nil {
			return ended, eerr
		}
	}
	if err != nil {
		return nil, err
	}
	entry, err := revocation.Sign(revocation.Revocation{
		Network: n.trust.Network(), Target: id, Reason: r.Reason, Time: n.now().Unix(),
	}, found.p.Identity, found.p.Device)
	if err != nil {
		return nil, err
	}
	if err := n.record(ctx, event.Revoke, event.OK, event.Act{Actor: found.p.Identity.ID(), Object: found.hint, Grant: id[:], Reason: r.Reason}); err != nil {
		return nil, err
	}
	if err := n.tracker.Take([]revocation.Entry{entry}); err != nil { // this holder first
		return nil, err
	}
	holders := n.lookForHolders(ctx, found, found.hint)
	acks, err := n.quorum.SendRevocation(ctx, entry, id, found.chain.Bytes())
	if err != nil {
		return nil, err
	}
	out := &api.Revoked{Revoked: id.String(), Acks: acks, Residue: residue(found.v)}
	out.HoldersStopped, out.HoldersKnown = n.stopHolders(ctx, found.hint, <-holders)
	out.Seconds = time.Since(began).Seconds()
	return out, nil
}

// lookTime bounds the search for holders: those that answer later learn of the
// revocation from the validators, as everybody does.
const lookTime = 800 * time.Millisecond

// lookForHolders asks the DHT, and for an owner the validators too, in the background
// who else holds an object.
func (n *Node) lookForHolders(ctx context.Context, of *issued, address []byte) <-chan []peer.ID {
	out := make(chan []peer.ID, 1)
	go func() { // ends within lookTime
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		defer cancel()
		var ids []peer.ID
		add := func(id peer.ID) {
			if id != n.host.ID() && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if c, err := cid.Cast(address); err == nil && of.v.Owner().ID() == of.p.Identity.ID() {
			mirrors, err := n.mirrorsOf(ctx, of.p, c)
			if err != nil {
				n.log.Debug("carriers", "err", err)
			}
			for _, infos := range mirrors {
				for _, i := range infos {
					n.host.Libp2p().Peerstore().AddAddrs(i.ID, i.Addrs, peerstore.TempAddrTTL)
					add(i.ID)
				}
			}
		}
		infos, err := n.discovery.Providers(ctx, address, 32)
		if err != nil {
			n.log.Debug("providers", "err", err)
		}
		for _, i := range infos {
			add(i.ID)
		}
		out <- ids
	}()
	return out
}

// stopHolders has the known holders of an object learn of a revocation now.
func (n *Node) stopHolders(ctx context.Context, address []byte, others []peer.ID) (stopped, known int) {
	if c, err := cid.Cast(address); err == nil {
		if _, err := n.store.Object(c); err == nil {
			stopped, known = 1, 1
		}
	}
	return stopped + n.hintAll(ctx, others), known + len(others)
}

// residue says in words what a revocation cannot take back.
func residue(v *capability.Verified) []string {
	g := v.Grant()
	out := []string{fmt.Sprintf("%s may have read it already and keeps what it read, and the key", g.Audience)}
	if g.Depth > 0 {
		out = append(out, "so may those to whom it delegated")
	}
	if g.Caveats.Offline {
		out = append(out, "the grant allowed offline use: a kept key works until "+stamp(g.Caveats.Expires))
	}
	return append(out, "to protect later versions, add them anew and grant them only to those who may read them")
}
