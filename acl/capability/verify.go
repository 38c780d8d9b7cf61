package capability

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Errors that callers branch on. Each is wrapped with the rule that refused.
var (
	ErrChain   = errors.New("the grant does not verify")
	ErrExpired = errors.New("the grant has expired or is not valid yet")
	ErrRevoked = errors.New("the grant was revoked")
	ErrScope   = errors.New("the grant does not cover this")
	ErrProof   = errors.New("the proof of possession does not verify")
)

// RevokedError is [ErrRevoked] with what ended a chain.
type RevokedError struct {
	Statement statement.ID   // the grant, the link or the consent that was revoked
	By        []statement.ID // who did: its owner, an issuer above it, or F+1 validators at least
}

// Error is the text of [ErrRevoked]: who revoked is not for every reader.
func (e *RevokedError) Error() string { return ErrRevoked.Error() }

// Unwrap makes the error match [ErrRevoked].
func (e *RevokedError) Unwrap() error { return ErrRevoked }

// Revocations tells who has validly signed a revocation of a statement.
type Revocations interface {
	// Revokers lists the identities with a verified revocation of the statement.
	// It must be cheap: it is asked for every link of every request.
	Revokers(target statement.ID) []statement.ID
}

// Verifier checks chains for one network. It is safe for concurrent use. Trust,
// Revocations and Now are required. What it has verified it remembers, a bounded
// amount: a signature never stops being valid, so that a chain shown again costs
// no verification but that of the proof beside it.
type Verifier struct {
	Trust       *trust.Chain
	Revocations Revocations
	Now         func() time.Time

	// People tells what the logs know of identities beyond the documents that
	// come with a request; nil: nothing.
	People People

	// Accepted tells whether this party took a consent or a link when it was
	// signed. A validator is asked for it where the device that signed does not
	// speak for its identity any more: such a device signs nothing new. Nil, for
	// those who read what validators have taken: it is not asked.
	Accepted func(id statement.ID) bool

	roots  recent[bool]     // grants with their consents; whether who consented is current
	links  recent[bool]     // with their issuers; whether who signed is current
	people recent[*person]  // by their documents with later records
	chains recent[*wording] // by their bytes: of chains that held, and what they say, no verdict
}

// Verified is a chain whose signatures, consent and narrowing hold, which never
// changes. That it is in force, [Verifier.Verify] has checked at one moment and
// [Verifier.Live] checks again; [Verifier.VerifyPast] has not.
type Verified struct {
	claims
	owner    *identity.Identity
	audience *identity.Identity
	prover   statement.PublicKey // device that proved possession; zero: nobody was asked to
}

// Leaf is the id of the last statement, which proofs of possession name.
func (v *Verified) Leaf() statement.ID { return v.leafID() }

// Path are the ids of the grant and its links in order.
func (v *Verified) Path() []statement.ID { return slices.Clone(v.path) }

// Consent is the id of the owner's consent, by which the owner may revoke too.
// Others' grants may rest on the same one where it is standing.
func (v *Verified) Consent() statement.ID { return v.consent }

// Standing is the standing consent that the grant rests on, nil where the owner
// consented to this grant alone.
func (v *Verified) Standing() *Standing { return v.standing }

// Grant is the leaf's body, which shares its lists, whose fields hold all the restrictions above it.
func (v *Verified) Grant() Grant { return *v.leaf() }

// Grants are the bodies of the grant and its links in order, which are shared and
// not changed.
func (v *Verified) Grants() []*Grant { return v.grants }

// Owner is the identity that consented.
func (v *Verified) Owner() *identity.Identity { return v.owner }

// Audience is the identity that may use the chain.
func (v *Verified) Audience() *identity.Identity { return v.audience }

// Chain is what was verified, which is shared and not changed.
func (v *Verified) Chain() *Chain { return v.chain }

// Verify checks a whole chain now.
func (vf *Verifier) Verify(c *Chain) (*Verified, error) {
	cl, err := vf.read(c)
	if err != nil {
		return nil, err
	}
	return vf.verify(cl)
}

func (vf *Verifier) verify(cl *claims) (*Verified, error) {
	if err := vf.inForce(cl); err != nil {
		return nil, err
	}
	return vf.authenticate(cl)
}

// VerifyPast checks a chain but not that it is still in force: who revokes a
// statement must be able to show it when it has been revoked already.
func (vf *Verifier) VerifyPast(c *Chain) (*Verified, error) {
	cl, err := vf.read(c)
	if err != nil {
		return nil, err
	}
	return vf.authenticate(cl)
}

// Live checks that a verified chain is still in force: cheap enough to be asked
// before every block. Where records have become known since that end the device
// which proved possession, or void one that signed a part of the chain, it is not;
// once there are such records, each question costs a verification from memory.
func (vf *Verifier) Live(v *Verified) error {
	if err := vf.inForce(&v.claims); err != nil {
		return err
	}
	if vf.People == nil || !vf.changed(&v.claims) {
		return nil
	}
	again, err := vf.Verify(v.chain)
	if err != nil {
		return err
	}
	if v.prover == (statement.PublicKey{}) {
		return nil
	}
	if _, ok := again.audience.DeviceIndex(v.prover); !ok {
		return fmt.Errorf("%w: the device that asked was removed", ErrRevoked)
	}
	return nil
}

// changed reports whether other records are known now than when a chain was read.
func (vf *Verifier) changed(cl *claims) bool {
	for id, sh := range cl.people {
		if !slices.Equal(vf.People.Records(id), sh.later) {
			return true
		}
	}
	return false
}

func (vf *Verifier) inForce(cl *claims) error {
	now := vf.Now()
	if _, err := vf.Trust.ByID(cl.record.ID()); err != nil { // a recovery may have retired it since
		return fmt.Errorf("%w: %w", ErrExpired, err)
	}
	if err := vf.Trust.Current().Live(now); err != nil {
		return fmt.Errorf("%w: %w", ErrExpired, err)
	}
	for _, g := range cl.grants {
		if t := now.Unix(); t < g.Caveats.NotBefore || t >= g.Caveats.Expires {
			return ErrExpired
		}
	}
	owner := cl.grants[0].Owner
	if slices.Contains(vf.Revocations.Revokers(cl.consent), owner) { // nobody else gave it
		return &RevokedError{cl.consent, []statement.ID{owner}}
	}
	above := append(make([]statement.ID, 0, MaxLinks+2), owner)
	for i, id := range cl.path {
		if by := vf.stopped(id, above); len(by) > 0 {
			return &RevokedError{id, by}
		}
		above = append(above, cl.grants[i].Audience)
	}
	return nil
}

// stopped decides whether revocations of a statement count, and returns whose do:
// one by the owner or an issuer above it does, and so do those of F+1 validators.
func (vf *Verifier) stopped(target statement.ID, above []statement.ID) (by []statement.ID) {
	var validators uint64 // a set: one who is named twice counts once
	for _, who := range vf.Revocations.Revokers(target) {
		if slices.Contains(above, who) {
			return []statement.ID{who}
		}
		if i, ok := vf.Trust.Current().ByIdentity(who); ok && validators&(1<<i) == 0 {
			validators |= 1 << i // there are at most 64
			by = append(by, who)
		}
	}
	if bits.OnesCount64(validators) <= int(vf.Trust.Current().Numbers.F) {
		return nil
	}
	return by
}

// authenticate checks who signed a chain, from its root down, so that nobody
// without K validators' signatures has others verify documents and links.
func (vf *Verifier) authenticate(cl *claims) (*Verified, error) {
	bad := func(err error) (*Verified, error) { return nil, fmt.Errorf("%w: %w", ErrChain, err) }
	owner := cl.people[cl.grants[0].Owner]
	p, err := vf.root(cl, owner)
	if err != nil {
		return bad(err)
	}
	found := make(map[statement.ID]*person, len(cl.people))
	found[owner.id] = p
	for i, g := range cl.grants {
		p := found[g.Audience]
		if p == nil {
			if p, err = vf.meet(cl.people[g.Audience]); err != nil {
				return bad(err)
			}
			found[g.Audience] = p
		}
		if g.Subject != SubjectEnclave && g.Subject != uint8(p.Kind()) {
			return bad(errors.New("its subject kind is not its audience's"))
		}
		if i < len(cl.chain.Links) {
			if err := vf.link(cl, i, p); err != nil {
				return bad(fmt.Errorf("link: %w", err))
			}
		}
	}
	for _, sh := range cl.people {
		vf.remember(sh)
	}
	return &Verified{claims: *cl, owner: p.Identity, audience: found[cl.leaf().Audience].Identity}, nil
}

// root checks the K signatures, who the owner is, and the consent. The key in the
// memory covers the signatures, not the ids alone, since a chain that passes here
// must pass elsewhere; and the owner's devices, since records may void one.
func (vf *Verifier) root(cl *claims, owner *shown) (*person, error) {
	key := statement.Hash("verified root", cl.chain.Grant, cl.chain.Consent, owner.key[:])
	current, ok := vf.roots.get(key, rememberedRoots)
	if !ok {
		if err := cl.record.VerifyK(KindGrant, cl.signed[0]); err != nil {
			return nil, fmt.Errorf("%d validators' signatures are needed: %w", cl.record.Numbers.K, err)
		}
	}
	p, err := vf.meet(owner)
	if err != nil {
		return nil, err
	}
	if !ok {
		if current, err = signedBy(cl.kindOfConsent(), cl.agreed, p.Identity); err != nil {
			return nil, fmt.Errorf("consent: %w", err)
		}
		vf.roots.add(key, current, rememberedRoots)
	}
	if err := vf.accepted(current, cl.consent); err != nil {
		return nil, fmt.Errorf("consent: %w", err)
	}
	return p, nil
}

func (w *wording) kindOfConsent() statement.Kind {
	if w.standing != nil {
		return KindStanding
	}
	return KindConsent
}

// link checks who signed the i-th link. The key in the memory covers the issuer's
// devices, as for a root.
func (vf *Verifier) link(cl *claims, i int, issuer *person) error {
	key := statement.Hash("verified link", cl.chain.Links[i], issuer.state[:])
	current, ok := vf.links.get(key, rememberedLinks)
	if !ok {
		var err error
		if current, err = signedBy(KindLink, cl.signed[i+1], issuer.Identity); err != nil {
			return err
		}
		vf.links.add(key, current, rememberedLinks)
	}
	return vf.accepted(current, cl.path[i+1])
}

// Consented checks the owner's consent to a root grant that validators have not
// signed yet: that it covers the grant, that a device of the owner signed it, and
// that the owner did not revoke it. It returns the standing consent where the
// grant rests on one: whether the audience holds the role that it may name, the
// caller knows. The grant has passed [Grant.Check], and owner is what
// [Verifier.Identity] says. Errors are [ErrChain] and [ErrRevoked].
func (vf *Verifier) Consented(id statement.ID, g *Grant, consent []byte, owner *identity.Identity) (*Standing, error) {
	bad := func(err error) (*Standing, error) { return nil, fmt.Errorf("%w: consent: %w", ErrChain, err) }
	s, standing, err := readConsent(consent, id, g, vf.Trust.Network())
	if err != nil {
		return bad(err)
	}
	if g.Owner != owner.ID() {
		return bad(errors.New("the grant is another owner's"))
	}
	if slices.Contains(vf.Revocations.Revokers(s.ID()), g.Owner) {
		return nil, ErrRevoked
	}
	kind := (&wording{standing: standing}).kindOfConsent()
	current, err := signedBy(kind, s, owner)
	if err != nil {
		return bad(err)
	}
	if err := vf.accepted(current, s.ID()); err != nil {
		return bad(err)
	}
	return standing, nil
}
