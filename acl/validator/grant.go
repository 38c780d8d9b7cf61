package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var (
	chainPrefix  = []byte("chain/")  // + leaf id -> Delivery
	boxPrefix    = []byte("box/")    // + audience + leaf id
	issuedPrefix = []byte("issued/") // + issuer of it or of what it hangs on + leaf id
	targetPrefix = []byte("target/") // + audience + target's ref + leaf id
)

// Sign judges a root grant and signs it: its form, the owner's consent, policy.
// What policy leaves open waits on the desk. The decision is in the audit log
// before the signature leaves.
func (j *Judge) Sign(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r SignRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if len(r.Reason) > maxWords {
		return nil, fmt.Errorf("%w: a reason has at most %d bytes", ErrMalformed, maxWords)
	}
	if err := j.hearing(); err != nil {
		return nil, err
	}
	_, seat, err := j.sitting()
	if err != nil {
		return nil, err
	}
	d, err := j.readGrant(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	mayKnow := j.askedBy(c, r, d.asker)
	if d.asker != d.owner && !mayKnow { // a reason in another's name would be worth nothing
		id, of := d.audience.ID(), d.statement.ID()
		return nil, j.deny(ctx, event.GrantIssue, event.Act{Actor: id, Object: d.Target.Ref[:], Owner: d.Owner, Grant: of[:]}, &broken{"consent-audience", "under a standing consent the audience asks by itself"})
	}
	j.desk.mu.Lock() // two requests for one grant must not both begin to wait
	defer j.desk.mu.Unlock()
	if reply, err := j.decided(d, mayKnow); reply != nil || err != nil {
		return reply, err
	}
	if err := j.placed(&d.Grant); errors.Is(err, ErrUnavailable) {
		return nil, err
	} else if err != nil {
		id, of := d.asker.ID(), d.statement.ID()
		return nil, j.deny(ctx, event.GrantIssue, event.Act{Actor: id, Subject: d.Audience, Object: d.Target.Ref[:], Owner: d.Owner, Grant: of[:]}, err)
	}
	v, err := j.decideGrant(d, r.Reason)
	if err != nil {
		return nil, err
	}
	switch {
	case v.Allow:
		return j.signGrant(ctx, d, seat, v, r.Reason)
	case v.Settled:
		return nil, j.denyGrant(ctx, d, v, mayKnow)
	}
	return j.wait(ctx, c, r, d, v)
}

// askedBy reports whether a request carries the proof of an identity.
func (j *Judge) askedBy(c Conn, r SignRequest, asker *identity.Identity) bool {
	if len(r.Authority) == 0 {
		return false
	}
	a, err := capability.ParseAuthority(r.Authority)
	if err != nil {
		return false
	}
	who, _, err := j.Verifier.OpenIdentity(a, j.expect(c, r.Digest()))
	return err == nil && who.ID() == asker.ID()
}

func (j *Judge) signGrant(ctx context.Context, d *draft, seat int, v *verdict, reason string) ([]byte, error) {
	id := d.statement.ID()
	if err := j.note(ctx, j.event(event.GrantIssue, event.OK, d.act(v, reason))); err != nil {
		return nil, err
	}
	if err := j.leave(id); err != nil { // policy has changed while it waited
		return nil, err
	}
	if err := j.Store.Apply(acceptedOps(d.consent)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	d.statement.AddSignature(uint16(seat), j.Signing)
	return encode(SignReply{Grant: d.statement.Bytes()}), nil
}

// act is what was decided of a grant that was asked for.
func (d *draft) act(v *verdict, reason string) event.Act {
	id := d.statement.ID()
	return event.Act{
		Actor: d.asker.ID(), Subject: d.Audience, Object: d.Target.Ref[:], Owner: d.Owner, Grant: id[:],
		Rule: v.Name(), Detail: v.Rule(), Reason: reason, Bundle: v.Bundle,
	}
}

// denyGrant records a denial by policy, and tells whoever asks what was wanting.
func (j *Judge) denyGrant(ctx context.Context, d *draft, v *verdict, mayKnow bool) error {
	id := d.statement.ID()
	if err := j.Audit.Append(ctx, j.event(event.GrantIssue, event.Denied, d.act(v, ""))); err != nil {
		return ErrUnavailable
	}
	if err := j.leave(id); err != nil {
		return err
	}
	if mayKnow {
		return &PolicyError{Wants: v.wants}
	}
	return ErrDenied
}

// draft is a root grant that lacks nothing but validators' signatures.
type draft struct {
	capability.Grant
	statement       *statement.Statement
	owner, audience *identity.Identity
	// asker is whom policy is asked about: the owner, or under a standing consent
	// the audience, which asks by itself.
	asker   *identity.Identity
	consent statement.ID // that the owner signed
}

// readGrant checks a root grant and the owner's consent to it.
func (j *Judge) readGrant(r SignRequest) (*draft, error) {
	bad := func(err error) (*draft, error) { return nil, err }
	in, err := statement.Parse(r.Grant)
	if err != nil {
		return bad(err)
	}
	var g capability.Grant
	if err := in.Peek(capability.KindGrant, &g); err != nil {
		return bad(err)
	}
	if err := g.Check(); err != nil {
		return bad(err)
	}
	if len(r.Identities) != 2 {
		return bad(errors.New("the records of owner and audience are needed"))
	}
	owner, err := j.Verifier.Identity(r.Identities[0])
	if err != nil {
		return bad(err)
	}
	audience, err := j.Verifier.Identity(r.Identities[1])
	if err != nil {
		return bad(err)
	}
	now := j.Now().Unix()
	switch {
	case len(g.Parent) != 0 || g.Network != j.Trust.Network() || g.Record != j.Trust.Current().ID():
		return bad(errors.New("it is for another network or committee record"))
	case g.Owner != owner.ID() || g.Audience != audience.ID() || g.Subject != uint8(audience.Kind()):
		return bad(errors.New("its owner or audience is another identity"))
	case g.Caveats.Expires <= now || g.Caveats.Expires > j.Trust.Current().Expires:
		return bad(errors.New("it expires in the past or after the committee record"))
	}
	standing, err := j.Verifier.Consented(in.ID(), &g, r.Consent, owner)
	if err != nil {
		return bad(err)
	}
	if standing != nil && standing.Role != "" && !slices.Contains(j.Roles.Roles(audience.ID(), j.Now()), standing.Role) {
		return bad(errors.New("its owner consents to the holders of a role, of whom its audience is none"))
	}
	if slices.Contains(j.Set.Revokers(in.ID()), owner.ID()) {
		return bad(errors.New("its owner has revoked it"))
	}
	// Sign our own copy: whatever signatures came with it are not ours to pass on.
	out, err := statement.New(capability.KindGrant, g)
	if err != nil {
		return bad(err)
	}
	consent, err := statement.Parse(r.Consent)
	if err != nil {
		return bad(err)
	}
	d := &draft{Grant: g, statement: out, owner: owner, audience: audience, asker: owner, consent: consent.ID()}
	if standing != nil {
		d.asker = audience
	}
	return d, nil
}
