package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
)

// maxConsent is how far off the end of a standing consent may be.
const maxConsent = 400 * 24 * time.Hour

// Consent implements api.Service: the owner agrees beforehand to grants that
// others will ask for, and the validators keep it for them.
func (n *Node) Consent(ctx context.Context, r api.ConsentRequest) (*api.Consented, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	owner, target, err := n.toGrant(ctx, api.GrantRequest{As: r.As, ThisVersion: r.ThisVersion}, address)
	if err != nil {
		return nil, err
	}
	b, err := n.newConsent(r)
	if err != nil {
		return nil, err
	}
	b.Owner, b.Target = owner.Identity.ID(), target
	if err := b.Check(); err != nil {
		return nil, fault.Wrap(fault.Usage, err, "see `cerebrum consent --help`", "the consent cannot be given")
	}
	signed, err := signAs(owner, capability.KindStanding, b)
	if err != nil {
		return nil, err
	}
	s, err := statement.Parse(signed)
	if err != nil {
		return nil, err
	}
	id := s.ID()
	if err := n.record(ctx, event.Consent, event.OK, event.Act{Actor: b.Owner, Object: address.Bytes(), Grant: id[:]}); err != nil {
		return nil, err
	}
	kept, err := n.quorum.SendConsent(ctx, validator.KeptConsent{Statement: signed, Owner: owner.Identity.Record()})
	if err != nil {
		return nil, err
	}
	return &api.Consented{Consent: id.String(), Until: stamp(b.Until), Kept: kept, Of: int(n.trust.Current().Numbers.N)}, nil
}

// newConsent reads what a consent says besides whose and on what it is.
func (n *Node) newConsent(r api.ConsentRequest) (*capability.Standing, error) {
	can, err := capability.ParseAbilities(r.Can)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "", "--can")
	}
	can, depth, err := handedOn(can, r.Depth)
	if err != nil {
		return nil, err
	}
	class, err := maxClass(r.MaxClass)
	if err != nil {
		return nil, err
	}
	if lasts := time.Duration(r.Seconds) * time.Second; lasts < time.Minute || lasts > maxGrant {
		return nil, fault.New(fault.Usage, "", "--for, how long one grant lasts, is 1m to %d days", int(maxGrant.Hours()/24))
	}
	if until := time.Duration(r.UntilSeconds) * time.Second; until <= 0 || until > maxConsent-time.Hour {
		return nil, fault.New(fault.Usage, "", "--until is a time of less than %d days, such as 90d", int(maxConsent.Hours()/24))
	}
	b := &capability.Standing{
		Network: n.trust.Network(), Role: r.Role, Abilities: can, MaxClass: class, Purposes: r.Purposes, Regions: r.Regions,
		Depth: depth, Lifetime: r.Seconds, Until: n.now().Unix() + r.UntilSeconds,
	}
	if r.Role != "" {
		if err := policy.CheckRole(r.Role); err != nil {
			return nil, fault.Wrap(fault.Usage, err, "", "--role")
		}
	}
	for _, to := range r.To {
		who, _, err := n.identityID(to)
		if err != nil {
			return nil, err
		}
		b.Audience = append(b.Audience, who)
	}
	rand.Read(b.Nonce[:])
	return b, nil
}

// ownConsent is a standing consent of an identity of this home.
type ownConsent struct {
	p    *home.Principal
	kept validator.KeptConsent
	body *capability.Standing
	id   statement.ID
}

// ownConsents asks the validators for an identity's consents. What does not
// verify, or is another's, is one validator's lie and left out.
func (n *Node) ownConsents(ctx context.Context, p *home.Principal) ([]ownConsent, error) {
	all, err := n.quorum.PullConsents(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	var out []ownConsent
	for _, k := range all {
		b, id, owner, err := k.Parse(n.trust.Network(), n.verifier.Identity)
		known := slices.ContainsFunc(out, func(c ownConsent) bool { return c.id == id })
		if err == nil && owner.ID() == p.Identity.ID() && !known {
			out = append(out, ownConsent{p, k, b, id})
		}
	}
	return out, nil
}

// Consents implements api.Service.
func (n *Node) Consents(ctx context.Context, r api.ConsentsRequest) (*api.Consents, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	own, err := n.ownConsents(ctx, p)
	if err != nil {
		return nil, err
	}
	out := &api.Consents{Consents: []api.ConsentInfo{}}
	for _, c := range own {
		out.Consents = append(out.Consents, n.consentInfo(c.id, c.body))
	}
	slices.SortFunc(out.Consents, func(a, b api.ConsentInfo) int {
		return slices.Compare([]string{a.Until, a.Consent}, []string{b.Until, b.Consent})
	})
	return out, nil
}

// consentInfo is a standing consent in words.
func (n *Node) consentInfo(id statement.ID, b *capability.Standing) api.ConsentInfo {
	info := api.ConsentInfo{
		Consent: id.String(), Target: targetKind(b.Target), Role: b.Role, Can: b.Abilities.String(),
		Purposes: b.Purposes, Regions: b.Regions, Depth: int(b.Depth), Seconds: b.Lifetime, Until: stamp(b.Until), State: "valid",
	}
	if class := int(b.MaxClass); class < 255 {
		info.MaxClass = &class
	}
	for _, who := range b.Audience {
		info.To = append(info.To, who.String())
	}
	switch {
	case slices.Contains(n.verifier.Revocations.Revokers(id), b.Owner):
		info.State = "revoked"
	case b.Until <= n.now().Unix():
		info.State = "expired"
	}
	return info
}

// endConsent revokes a standing consent, and with it every grant that rests on
// it. It returns nil where no identity of this home gave it.
func (n *Node) endConsent(ctx context.Context, r api.RevokeRequest, id statement.ID, began time.Time) (*api.Revoked, error) {
	for _, p := range n.home.Principals() {
		if r.As == "" && !p.Current || r.As != "" && r.As != p.Name {
			continue
		}
		own, err := n.ownConsents(ctx, p)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(own, func(c ownConsent) bool { return c.id == id })
		if i < 0 {
			continue
		}
		entry, err := revocation.Sign(revocation.Revocation{
			Network: n.trust.Network(), Target: id, Reason: r.Reason, Time: n.now().Unix(),
		}, p.Identity, p.Device)
		if err != nil {
			return nil, err
		}
		if err := n.record(ctx, event.Revoke, event.OK, event.Act{Actor: p.Identity.ID(), Grant: id[:], Reason: r.Reason}); err != nil {
			return nil, err
		}
		if err := n.tracker.Take([]revocation.Entry{entry}); err != nil { // this holder first
			return nil, err
		}
		acks, err := n.quorum.SendEnd(ctx, entry, id, own[i].kept)
		if err != nil {
			return nil, err
		}
		return &api.Revoked{
			Revoked: id.String(), Acks: acks, Seconds: time.Since(began).Seconds(),
			Residue: []string{"whoever was given something under it may have read it already and keeps what was read"},
		}, nil
	}
	return nil, nil
}

// Request implements api.Service: a reader makes the grant that an owner has
// agreed to beforehand, and the validators decide on it as policy says.
func (n *Node) Request(ctx context.Context, r api.AccessRequest) (*api.Granted, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	if len(r.Reason) > maxGrantReason {
		return nil, fault.New(fault.Usage, "", "a reason has at most %d bytes", maxGrantReason)
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	all, err := n.quorum.PullConsents(ctx, p, address.Bytes())
	if err != nil {
		return nil, err
	}
	g, _, err := n.newGrant(api.GrantRequest{To: p.Name, Can: r.Can, Seconds: r.Seconds, Purposes: r.Purposes, Depth: r.Depth}, p)
	if err != nil {
		return nil, err
	}
	why := error(nil)
	for _, k := range all {
		owner, err := n.under(&k, g)
		if err != nil {
			why = err
			continue
		}
		return n.ask(ctx, p, owner, g, &k, address, r.Reason)
	}
	const hint = "ask its owner for a grant, or for what the consent allows"
	if why != nil {
		return nil, fault.Wrap(fault.Denied, why, hint, "the consent to others' grants of %s does not cover this one", address)
	}
	return nil, fault.New(fault.Denied, hint, "no standing consent lets %s ask for %s", p.Name, address)
}

// under fits a grant into a standing consent: it ends with it at the latest, and
// takes over what restricts it. The error names what it is wider in.
func (n *Node) under(k *validator.KeptConsent, g *capability.Grant) (*identity.Identity, error) {
	b, id, owner, err := k.Parse(n.trust.Network(), n.verifier.Identity)
	if err != nil {
		return nil, err
	}
	if slices.Contains(n.verifier.Revocations.Revokers(id), b.Owner) {
		return nil, errors.New("its owner has ended it")
	}
	fit := *g
	fit.Consent, fit.Owner, fit.Target = id[:], b.Owner, b.Target
	fit.Caveats.Expires = min(fit.Caveats.Expires, fit.Caveats.NotBefore+b.Lifetime, b.Until)
	fit.Caveats.MaxClass, fit.Caveats.Regions, fit.Caveats.Attestation = b.MaxClass, b.Regions, b.Attestation
	if len(fit.Caveats.Purposes) == 0 {
		fit.Caveats.Purposes = b.Purposes
	}
	if err := fit.Check(); err != nil {
		return nil, err
	}
	if err := b.Covers(&fit); err != nil {
		return nil, err
	}
	*g = fit
	return owner, nil
}

// ask gathers signatures under a grant to oneself, or keeps it until persons have
// decided, and puts it where this home's reads find it.
func (n *Node) ask(ctx context.Context, p *home.Principal, owner *identity.Identity, g *capability.Grant, k *validator.KeptConsent, hint cid.Cid, reason string) (*api.Granted, error) {
	unsigned, err := statement.New(capability.KindGrant, g)
	if err != nil {
		return nil, err
	}
	pending := &pendingGrant{
		Owner: p.Identity.ID(), Grant: unsigned.Bytes(), Consent: k.Statement, Hint: hint.Bytes(), Reason: reason,
		Identities: [][]byte{owner.Record(), p.Identity.Record()},
	}
	return n.signed(ctx, p, pending)
}
