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

// Revocations tells who has validly signed a revocation of a statement.
type Revocations interface {
	// Revokers lists the identities with a verified revocation of the statement.
	// It must be cheap: it is asked for every link of every request.
	Revokers(target statement.ID) []statement.ID
}

// Verifier checks chains for one network. It is safe for concurrent use; its
// zero fields are not usable. What it has verified it remembers, a bounded
// amount: a signature never stops being valid, so that a chain shown again costs
// no verification but that of the proof beside it.
type Verifier struct {
	Trust       *trust.Chain
	Revocations Revocations
	Now         func() time.Time

	roots  recent[struct{}]           // grants with their consents
	links  recent[struct{}]           // with their issuers
	people recent[*identity.Identity] // by their signed records
}

// Verified is a chain whose signatures, consent and narrowing hold, which never
// changes. That it is in force, [Verifier.Verify] has checked at one moment and
// [Verifier.Live] checks again; [Verifier.VerifyPast] has not.
type Verified struct {
	claims
	owner    *identity.Identity
	audience *identity.Identity
}

// Leaf is the id of the last statement, which proofs of possession name.
func (v *Verified) Leaf() statement.ID { return v.path[len(v.path)-1] }

// Path are the ids of the grant and its links in order.
func (v *Verified) Path() []statement.ID { return slices.Clone(v.path) }

// Consent is the id of the owner's consent, by which the owner may revoke too.
func (v *Verified) Consent() statement.ID { return v.consent }

// Grant is the leaf's body, whose fields hold all the restrictions above it.
func (v *Verified) Grant() Grant { return *v.leaf() }

// Grants are the bodies of the grant and its links in order.
func (v *Verified) Grants() []*Grant { return v.grants }

// Owner is the identity that consented.
func (v *Verified) Owner() *identity.Identity { return v.owner }

// Audience is the identity that may use the chain.
func (v *Verified) Audience() *identity.Identity { return v.audience }

// Chain is what was verified.
func (v *Verified) Chain() *Chain { return v.chain }

// Verify checks a whole chain now.
func (vf *Verifier) Verify(c *Chain) (*Verified, error) {
	cl, err := vf.read(c)
	if err != nil {
		return nil, err
	}
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
// before every block.
func (vf *Verifier) Live(v *Verified) error { return vf.inForce(&v.claims) }

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
		return ErrRevoked
	}
	above := append(make([]statement.ID, 0, MaxLinks+2), owner)
	for i, id := range cl.path {
		if vf.stopped(id, above) {
			return ErrRevoked
		}
		above = append(above, cl.grants[i].Audience)
	}
	return nil
}

// stopped decides whether revocations of a statement count: one by the owner or
// an issuer above it does, and so do those of F+1 validators.
func (vf *Verifier) stopped(target statement.ID, above []statement.ID) bool {
	var validators uint64 // a set: one who is named twice counts once
	for _, who := range vf.Revocations.Revokers(target) {
		if slices.Contains(above, who) {
			return true
		}
		if i, ok := vf.Trust.Current().ByIdentity(who); ok {
			validators |= 1 << i // there are at most 64
		}
	}
	return bits.OnesCount64(validators) > int(vf.Trust.Current().Numbers.F)
}

// authenticate checks who signed a chain: the identity records themselves, K
// validators and the owner's consent at its root, then each link's issuer.
func (vf *Verifier) authenticate(cl *claims) (*Verified, error) {
	bad := func(err error) (*Verified, error) { return nil, fmt.Errorf("%w: %w", ErrChain, err) }
	found := make(map[statement.ID]*identity.Identity, len(cl.records))
	for id, r := range cl.records {
		p := r.known
		if p == nil {
			var err error
			if p, err = identity.Parse(r.raw); err != nil {
				return bad(err)
			}
		}
		found[id] = p
	}
	for _, g := range cl.grants {
		if g.Subject != SubjectEnclave && g.Subject != uint8(found[g.Audience].Kind()) {
			return bad(errors.New("its subject kind is not its audience's"))
		}
	}
	v := &Verified{claims: *cl, owner: found[cl.grants[0].Owner], audience: found[cl.leaf().Audience]}
	if err := vf.root(cl, v.owner); err != nil {
		return bad(err)
	}
	for i := range cl.chain.Links {
		if err := vf.link(cl, i, found[cl.grants[i].Audience]); err != nil {
			return bad(fmt.Errorf("link: %w", err))
		}
	}
	for id, r := range cl.records { // only now: anybody can make identities, to fill a memory
		if r.known == nil {
			vf.people.add(r.key, found[id], rememberedPeople)
		}
	}
	return v, nil
}

// root checks the K signatures and the owner's consent. Its key covers the
// signatures, not the ids alone: a chain that passes here must pass elsewhere.
// It covers the owner's document as well, which says whose signatures count. The
// validators vouch that the consent was given in time, so a device that was
// removed since may have given it.
func (vf *Verifier) root(cl *claims, owner *identity.Identity) error {
	document := cl.records[owner.ID()].key
	key := statement.Hash("verified root", cl.chain.Grant, cl.chain.Consent, document[:])
	if _, ok := vf.roots.get(key, rememberedRoots); ok {
		return nil
	}
	if err := owner.VerifyEver(KindConsent, cl.agreed); err != nil {
		return fmt.Errorf("consent: %w", err)
	}
	if err := cl.record.VerifyK(KindGrant, cl.signed[0]); err != nil {
		return fmt.Errorf("%d validators' signatures are needed: %w", cl.record.Numbers.K, err)
	}
	vf.roots.add(key, struct{}{}, rememberedRoots)
	return nil
}

// link checks that a present device of the issuer signed. Nobody vouches for the
// time of a link, so that the links of a device end with it.
func (vf *Verifier) link(cl *claims, i int, issuer *identity.Identity) error {
	document := cl.records[issuer.ID()].key
	key := statement.Hash("verified link", cl.chain.Links[i], document[:])
	if _, ok := vf.links.get(key, rememberedLinks); ok {
		return nil
	}
	if err := issuer.Verify(KindLink, cl.signed[i+1]); err != nil {
		return err
	}
	vf.links.add(key, struct{}{}, rememberedLinks)
	return nil
}

// Allows checks that the chain gives an ability on an object. The error says
// what is missing.
func (v *Verified) Allows(want Abilities, o Object) error {
	leaf := v.leaf()
	switch {
	case leaf.Owner != o.Owner || leaf.Network != o.Network:
		return fmt.Errorf("%w: another owner's object", ErrScope)
	case !leaf.Target.Matches(o):
		return fmt.Errorf("%w: another object", ErrScope)
	case want&^leaf.Abilities.Implied() != 0:
		return fmt.Errorf("%w: it does not give %s", ErrScope, want&^leaf.Abilities.Implied())
	}
	return nil
}

// AllowsPurpose checks a stated purpose against every link.
func (v *Verified) AllowsPurpose(purpose string) error {
	leaf := v.leaf()
	if ps := leaf.Caveats.Purposes; len(ps) > 0 && !slices.Contains(ps, purpose) {
		return fmt.Errorf("%w: it is for another purpose (state one with --purpose)", ErrScope)
	}
	return nil
}

// MayRevoke reports whether an identity stands above a statement of the chain:
// the owner above all of them and its consent, each audience above the links
// below it.
func (v *Verified) MayRevoke(who, target statement.ID) bool {
	if target == v.consent {
		return who == v.owner.ID()
	}
	above := []statement.ID{v.owner.ID()}
	for i, id := range v.path {
		if id == target {
			return slices.Contains(above, who)
		}
		above = append(above, v.grants[i].Audience)
	}
	return false
}
