package capability

import (
	"errors"
	"fmt"
	"slices"
	"sync"
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

// Verifier checks chains for one network. Its zero fields are not usable.
type Verifier struct {
	Committee   *trust.Committee
	Revocations Revocations
	Now         func() time.Time

	roots rootCache
}

// Verified is a chain that holds: signatures, consent, narrowing, time and
// revocation were all checked at one moment.
type Verified struct {
	chain    *Chain
	path     []statement.ID // root grant first
	grants   []*Grant
	owner    *identity.Identity
	audience *identity.Identity
}

// Leaf is the id of the last statement, which proofs of possession name.
func (v *Verified) Leaf() statement.ID { return v.path[len(v.path)-1] }

// Path are the ids of the grant and its links in order.
func (v *Verified) Path() []statement.ID { return slices.Clone(v.path) }

// Grant is the leaf's body, whose fields hold all the restrictions above it.
func (v *Verified) Grant() Grant { return *v.grants[len(v.grants)-1] }

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
	v, err := vf.structure(c)
	if err != nil {
		return nil, err
	}
	if err := vf.Live(v); err != nil {
		return nil, err
	}
	return v, nil
}

// VerifyPast checks a chain but not that it is still in force: who revokes a
// statement must be able to show it when it has been revoked already.
func (vf *Verifier) VerifyPast(c *Chain) (*Verified, error) { return vf.structure(c) }

// Live checks that a verified chain is still in force: cheap enough to be asked
// before every block.
func (vf *Verifier) Live(v *Verified) error {
	now := vf.Now().Unix()
	if err := vf.Committee.Live(vf.Now()); err != nil {
		return fmt.Errorf("%w: %w", ErrExpired, err)
	}
	for _, g := range v.grants {
		if now < g.Caveats.NotBefore || now >= g.Caveats.Expires {
			return ErrExpired
		}
	}
	upstream := map[statement.ID]bool{v.owner.ID(): true}
	for i, id := range v.path {
		if vf.stopped(id, upstream) {
			return ErrRevoked
		}
		upstream[v.grants[i].Audience] = true
	}
	return nil
}

// stopped decides whether revocations of a statement count: one by the owner or
// an issuer above it does, and so do those of F+1 validators.
func (vf *Verifier) stopped(target statement.ID, upstream map[statement.ID]bool) bool {
	validators := 0
	for _, who := range vf.Revocations.Revokers(target) {
		if upstream[who] {
			return true
		}
		if _, ok := vf.Committee.ByIdentity(who); ok {
			validators++
		}
	}
	return validators > int(vf.Committee.Numbers.F)
}

func (vf *Verifier) structure(c *Chain) (*Verified, error) {
	bad := func(format string, a ...any) (*Verified, error) {
		return nil, fmt.Errorf("%w: %w", ErrChain, fmt.Errorf(format, a...))
	}
	if len(c.Links) > MaxLinks || len(c.Identities) > maxIdentities {
		return bad("at most %d links are followed", MaxLinks)
	}
	root, err := statement.Parse(c.Grant)
	if err != nil {
		return bad("grant: %w", err)
	}
	var g Grant
	if err := root.Peek(KindGrant, &g); err != nil {
		return bad("grant: %w", err)
	}
	if err := g.Check(); err != nil {
		return bad("grant: %w", err)
	}
	if len(g.Parent) != 0 || g.Network != vf.Committee.Network() || g.Record != vf.Committee.ID() {
		return bad("it is for another network or committee record")
	}
	ids, err := parseIdentities(c.Identities)
	if err != nil {
		return bad("%w", err)
	}
	v := &Verified{chain: c, path: []statement.ID{root.ID()}, grants: []*Grant{&g}}
	if v.owner = ids[g.Owner]; v.owner == nil {
		return bad("the owner's identity record is missing")
	}
	if err := vf.root(root, c.Consent, v.owner); err != nil {
		return bad("%w", err)
	}
	for _, raw := range c.Links {
		if err := v.link(raw, ids); err != nil {
			return bad("link: %w", err)
		}
	}
	leaf := v.grants[len(v.grants)-1]
	if v.audience = ids[leaf.Audience]; v.audience == nil {
		return bad("the audience's identity record is missing")
	}
	if leaf.Subject != SubjectEnclave && leaf.Subject != uint8(v.audience.Kind()) {
		return bad("its subject kind is not its audience's")
	}
	return v, nil
}

func (v *Verified) link(raw []byte, ids map[statement.ID]*identity.Identity) error {
	parent := v.grants[len(v.grants)-1]
	parentID := v.path[len(v.path)-1]
	s, err := statement.Parse(raw)
	if err != nil {
		return err
	}
	var g Grant
	if err := s.Peek(KindLink, &g); err != nil {
		return err
	}
	if err := g.Check(); err != nil {
		return err
	}
	if string(g.Parent) != string(parentID[:]) {
		return errors.New("its parent is another statement")
	}
	if err := g.Within(parent); err != nil {
		return err
	}
	issuer := ids[parent.Audience]
	if issuer == nil {
		return errors.New("its issuer's identity record is missing")
	}
	if err := issuer.Verify(KindLink, s); err != nil {
		return err
	}
	v.path = append(v.path, s.ID())
	v.grants = append(v.grants, &g)
	return nil
}

// root checks the K signatures and the owner's consent, or remembers that it
// has: what was verified never stops being validly signed.
func (vf *Verifier) root(root *statement.Statement, consent []byte, owner *identity.Identity) error {
	key := statement.Hash("verified root", root.Bytes(), consent)
	if vf.roots.has(key) {
		return nil
	}
	s, err := statement.Parse(consent)
	if err != nil {
		return fmt.Errorf("the owner's consent is missing or damaged: %w", err)
	}
	var body Consent
	if err := s.Peek(KindConsent, &body); err != nil {
		return fmt.Errorf("consent: %w", err)
	}
	if body.Grant != root.ID() || body.Network != vf.Committee.Network() {
		return errors.New("the owner's consent is to another grant")
	}
	if err := owner.Verify(KindConsent, s); err != nil {
		return fmt.Errorf("consent: %w", err)
	}
	if err := vf.Committee.VerifyK(KindGrant, root); err != nil {
		return fmt.Errorf("%d validators' signatures are needed: %w", vf.Committee.Numbers.K, err)
	}
	vf.roots.add(key)
	return nil
}

func parseIdentities(raw [][]byte) (map[statement.ID]*identity.Identity, error) {
	ids := make(map[statement.ID]*identity.Identity, len(raw))
	for _, r := range raw {
		id, err := identity.Parse(r)
		if err != nil {
			return nil, err
		}
		if ids[id.ID()] != nil {
			return nil, errors.New("an identity record stands twice")
		}
		ids[id.ID()] = id
	}
	return ids, nil
}

// Allows checks that the chain gives an ability on an object. The error says
// what is missing.
func (v *Verified) Allows(want Abilities, o Object) error {
	leaf := v.grants[len(v.grants)-1]
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
	leaf := v.grants[len(v.grants)-1]
	if ps := leaf.Caveats.Purposes; len(ps) > 0 && !slices.Contains(ps, purpose) {
		return fmt.Errorf("%w: it is for another purpose (state one with --purpose)", ErrScope)
	}
	return nil
}

// rootCache remembers verified roots, a bounded number of them. Two generations
// stand in for an exact LRU: a hit in the old one moves to the new one.
type rootCache struct {
	mu       sync.Mutex
	new, old map[statement.ID]struct{}
}

const rootsPerGeneration = 4096

func (c *rootCache) has(id statement.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.new[id]; ok {
		return true
	}
	_, ok := c.old[id]
	if ok {
		c.insert(id)
	}
	return ok
}

func (c *rootCache) add(id statement.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert(id)
}

func (c *rootCache) insert(id statement.ID) {
	if c.new == nil || len(c.new) >= rootsPerGeneration {
		c.old, c.new = c.new, make(map[statement.ID]struct{})
	}
	c.new[id] = struct{}{}
}

// MayRevoke reports whether an identity stands above a statement of the chain:
// the owner above all of them, each audience above the links below it.
func (v *Verified) MayRevoke(who, target statement.ID) bool {
	above := map[statement.ID]bool{v.owner.ID(): true}
	for i, id := range v.path {
		if id == target {
			return above[who]
		}
		above[v.grants[i].Audience] = true
	}
	return false
}
