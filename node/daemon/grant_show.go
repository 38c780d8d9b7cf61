package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// GrantShow implements api.Service.
func (n *Node) GrantShow(ctx context.Context, r api.GrantShowRequest) (*api.GrantsShown, error) {
	if n.trust == nil {
		return nil, n.needsNetwork()
	}
	whole := len(statement.ID{}.String())
	if r.ID == "" || len(r.ID) > whole || strings.Trim(r.ID, "0123456789abcdef") != "" {
		return nil, fault.New(fault.Usage, "see `cerebrum grants`, or `cerebrum grants --issued`", "a grant's id is %d hexadecimal digits in lower case, or the first few of them", whole)
	}
	who := n.home.Principals()
	if r.As != "" {
		p, err := n.principal(r.As)
		if err != nil {
			return nil, err
		}
		who = []*home.Principal{p}
	}
	found := map[string]*api.GrantShown{}
	if err := n.showLocal(who, r.ID, found); err != nil {
		return nil, err
	}
	var asked error // why the validators could not be asked
	if n.running.Load() && found[r.ID] == nil {
		asked = n.showMailboxes(ctx, who, r.ID, found)
	}
	out := &api.GrantsShown{Grants: []api.GrantShown{}}
	for _, g := range found {
		out.Grants = append(out.Grants, *g)
	}
	switch {
	case len(found) > 1:
		return nil, fault.New(fault.Usage, "give more of its digits; see `cerebrum grants`", "%d grants begin with %s", len(found), r.ID)
	case len(found) == 1:
		return out, nil
	case asked != nil:
		return nil, asked
	}
	return nil, fault.New(fault.NotFound, "see `cerebrum grants`, or `cerebrum grants --issued`", "no grant that this home holds or gave begins with %s", r.ID)
}

// showLocal adds those of this home's grants whose id begins with prefix.
func (n *Node) showLocal(who []*home.Principal, prefix string, found map[string]*api.GrantShown) error {
	for _, p := range who {
		for _, kept := range [][]byte{heldPrefix, issuedPrefix} {
			ds, err := n.localGrants(kept, p)
			if err != nil {
				return err
			}
			n.showAll(ds, prefix, found)
		}
		id := p.Identity.ID()
		err := n.pending(slices.Concat(pendingPrefix, id[:]), func(_ []byte, p *pendingGrant) error {
			s, g, err := p.parse()
			if err == nil && strings.HasPrefix(s.ID().String(), prefix) && found[s.ID().String()] == nil {
				found[s.ID().String()] = n.showPending(s, g, p)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// showMailboxes adds what the validators keep for identities that this home acts for.
func (n *Node) showMailboxes(ctx context.Context, who []*home.Principal, prefix string, found map[string]*api.GrantShown) (err error) {
	for _, p := range who {
		if mayAct(p) != nil {
			continue
		}
		for _, issued := range []bool{false, true} {
			ds, perr := n.quorum.PullMailbox(ctx, p, nil, issued)
			if perr != nil {
				err = perr
			}
			n.showAll(ds, prefix, found)
		}
	}
	return err
}

// showAll passes over what does not verify: junk of one validator.
func (n *Node) showAll(ds []validator.Delivery, prefix string, found map[string]*api.GrantShown) {
	for _, d := range ds {
		c, err := capability.ParseChain(d.Chain)
		if err != nil {
			continue
		}
		leaf, err := c.Leaf()
		if err != nil || !strings.HasPrefix(leaf.String(), prefix) || found[leaf.String()] != nil {
			continue
		}
		if v, err := n.verifier.VerifyPast(c); err == nil {
			found[leaf.String()] = n.showGrant(v, d.Hint)
		}
	}
}

func (n *Node) showGrant(v *capability.Verified, hint []byte) *api.GrantShown {
	g := v.Grant()
	consent := v.Consent()
	out := &api.GrantShown{GrantInfo: grantInfo(&g, v.Leaf(), hint), Consent: consent.String(), Standing: v.Standing() != nil}
	out.Links = len(v.Grants()) - 1
	out.State, out.Why = n.stateOf(v)
	out.Says = v.DescribeWith(n.called)
	for i, id := range v.Path() {
		from := g.Owner
		if i > 0 {
			from = v.Grants()[i-1].Audience
		}
		out.Chain = append(out.Chain, n.showLink(id, from, v.Grants()[i]))
	}
	if s, err := statement.Parse(v.Chain().Grant); err == nil {
		n.showSigners(out, s, v.Grants()[0].Record)
	}
	return out
}

// showPending is a grant that validators have not signed in the end, or not yet.
func (n *Node) showPending(s *statement.Statement, g *capability.Grant, p *pendingGrant) *api.GrantShown {
	out := &api.GrantShown{GrantInfo: grantInfo(g, s.ID(), p.Hint), Says: g.DescribeWith(s.ID(), n.called)}
	out.Chain = []api.GrantLink{n.showLink(s.ID(), g.Owner, g)}
	n.showSigners(out, s, g.Record)
	if out.Standing = len(g.Consent) > 0; out.Standing {
		out.Consent = hex.EncodeToString(g.Consent)
	} else if c, err := statement.Parse(p.Consent); err == nil {
		out.Consent = c.ID().String()
	}
	switch {
	case p.State == pendingDenied:
		out.State, out.Reason, out.Why = "denied", p.Why, "it was denied: "+p.Why
	case g.Caveats.Expires <= n.now().Unix():
		out.State, out.Why = "expired", "it ended at "+stamp(g.Caveats.Expires)+" before enough validators had signed it"
	case p.State == pendingSigned:
		out.State, out.Why = "pending", "enough validators have signed it, and it waits to be delivered"
	default:
		out.State, out.Why = "pending", "it waits for persons at validators: see `cerebrum validator pending` there"
	}
	return out
}

func (n *Node) showSigners(out *api.GrantShown, s *statement.Statement, record statement.ID) {
	for _, i := range s.Signers() {
		out.Validators = append(out.Validators, i+1)
	}
	out.Record = record.String()
	if c, ok := n.trust.Known(record); ok {
		out.Need, out.Of, out.RootEpoch, out.Version = int(c.Numbers.K), int(c.Numbers.N), c.RootEpoch, c.Version
	}
}

func (n *Node) showLink(id, from statement.ID, g *capability.Grant) api.GrantLink {
	c := g.Caveats
	out := api.GrantLink{
		ID: id.String(), From: from.String(), FromName: n.nameOf(from), To: g.Audience.String(), ToName: n.nameOf(g.Audience),
		Can: g.Abilities.String(), Depth: int(g.Depth), NotBefore: stamp(c.NotBefore), Expires: stamp(c.Expires), Target: targetKind(g.Target),
		Purposes: c.Purposes, Regions: c.Regions, Offline: c.Offline,
	}
	if class := int(c.MaxClass); class < 255 {
		out.MaxClass = &class
	}
	for _, m := range c.Attestation {
		out.Attestation = append(out.Attestation, hex.EncodeToString(m))
	}
	return out
}

// stateOf says whether a chain is in force, and why.
func (n *Node) stateOf(v *capability.Verified) (state, why string) {
	err := n.verifier.Live(v)
	now := n.now().Unix()
	var ended *capability.RevokedError
	switch {
	case err == nil:
		return "valid", "it is in force until " + stamp(v.Grant().Caveats.Expires)
	case errors.As(err, &ended):
		return "revoked", n.whoRevoked(v, ended)
	case errors.Is(err, capability.ErrRevoked):
		return "revoked", err.Error()
	}
	for i, g := range v.Grants() {
		switch {
		case now < g.Caveats.NotBefore:
			return "early", fmt.Sprintf("%s begins at %s", placeOf(i), stamp(g.Caveats.NotBefore))
		case now >= g.Caveats.Expires:
			return "expired", fmt.Sprintf("%s ended at %s", placeOf(i), stamp(g.Caveats.Expires))
		}
	}
	if errors.Is(err, trust.ErrRetired) {
		return "expired", "the committee record under which it was signed does not count any more"
	}
	return "expired", err.Error()
}

// placeOf names a statement of a chain by its place.
func placeOf(i int) string {
	if i == 0 {
		return "the grant"
	}
	return fmt.Sprintf("link %d", i)
}

func (n *Node) whoRevoked(v *capability.Verified, ended *capability.RevokedError) string {
	what := "the owner's consent"
	if i := slices.Index(v.Path(), ended.Statement); i >= 0 {
		what = placeOf(i)
	}
	by := make([]string, len(ended.By))
	for i, id := range ended.By {
		by[i] = n.called(id)
	}
	said := fmt.Sprintf("%s was revoked by %s", what, strings.Join(by, " and "))
	for _, f := range n.set.Facts(revocation.KindRevocation, ended.Statement) {
		r, ok := f.Body.(*revocation.Revocation)
		if !ok || !slices.Contains(ended.By, f.Signer) {
			continue
		}
		said += " at " + stamp(r.Time)
		if r.Reason != "" {
			said += fmt.Sprintf(", because of %q", r.Reason)
		}
		break
	}
	return said
}

// nameOf is what this home knows an identity by: empty where it does not.
func (n *Node) nameOf(id statement.ID) string {
	for _, p := range n.home.Principals() {
		if p.Identity.ID() == id {
			return p.Name
		}
	}
	if i, ok := n.trust.Current().ByIdentity(id); ok {
		return fmt.Sprintf("validator %d", i+1)
	}
	return ""
}

// called is an identity for people: its name where there is one, and its id, shortened.
func (n *Node) called(id statement.ID) string {
	short := id.String()[:8]
	if name := n.nameOf(id); name != "" {
		return fmt.Sprintf("%s (%s)", name, short)
	}
	return short
}
