// Package capability is who may do what with whose data: grants, the links that
// delegate them, the owner's consent beside them, and the proof that a request
// comes from a grant's audience.
//
// # Vocabulary
//
// A root grant is signed by K validators and says: this audience may do these
// things with this target of this owner until then. Beside it stands the
// owner's consent, a statement that names the grant's id; without it no number
// of validators opens anything. A link hands a part of a grant on: it is signed
// by the audience of its parent and is no wider in any field. A chain is a
// grant, its consent, its links, and the identity records that prove the ids in
// them. The leaf is the last link, or the grant where there is none.
//
// # Order of checks
//
// Cheapest first: sizes and form, narrowing, time, revocation by id, what was
// verified before, then signatures. A chain that is refused for anything but a
// signature costs no verification. Policy comes after all of this, in the
// validator.
//
// # Example
//
//	chain, err := capability.ParseChain(raw)          // nothing verified
//	v, err := verifier.Verify(chain)                  // *Verified
//	err = v.Allows(capability.Read, object)           // this object, this ability
//	err = v.CheckProof(proof, expectation)            // and it is the audience who asks
package capability

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Kinds of statements in this package.
const (
	KindGrant   statement.Kind = "grant"   // signed by K validators
	KindLink    statement.Kind = "link"    // signed by a device of the parent's audience
	KindConsent statement.Kind = "consent" // signed by a device of the owner
	KindProof   statement.Kind = "proof"   // signed by a device of the leaf's audience
)

// Limits.
const (
	MaxChain      = 112 << 10 // bytes of an encoded chain
	MaxLinks      = 1         // delegation deeper than this waits for the next version of the network
	MaxDepth      = 7         // remaining depth that a grant may carry: chains of 8
	maxPurposes   = 16
	maxWord       = 64
	maxMeasure    = 64 // bytes of a measurement
	maxIdentities = MaxLinks + 2
)

// Abilities is a set of what a grant allows.
type Abilities uint16

// The abilities. Read and Deploy imply Carry; Write is reserved and refused.
const (
	Carry    Abilities = 1 << iota // fetch, check, hold, repair and serve ciphertext
	Read                           // obtain the key
	Write                          // reserved: one writer an object
	Infer                          // send inputs to a deployed model
	Deploy                         // obtain a model's key inside an attested enclave
	Delegate                       // hand on, narrower
	Revoke                         // revoke below this link
	Audit                          // read evidence about the target
	all      = 1<<iota - 1
)

var abilityNames = []string{"carry", "read", "write", "infer", "deploy", "delegate", "revoke", "audit"}

// ParseAbilities reads a comma-separated list such as "read,delegate".
func ParseAbilities(s string) (Abilities, error) {
	var a Abilities
	for _, w := range strings.Split(s, ",") {
		i := slices.Index(abilityNames, strings.TrimSpace(w))
		if i < 0 {
			return 0, fmt.Errorf("unknown ability %q; the abilities are %s", w, strings.Join(abilityNames, ", "))
		}
		a |= 1 << i
	}
	if a&Write != 0 {
		return 0, errors.New("the ability write is reserved: an object has one writer, its owner")
	}
	return a, nil
}

// String lists the abilities, comma-separated.
func (a Abilities) String() string {
	var out []string
	for i, n := range abilityNames {
		if a&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}

// Implied adds what the abilities bring with them.
func (a Abilities) Implied() Abilities {
	if a&(Read|Deploy) != 0 {
		a |= Carry
	}
	return a
}

// TargetKind says what a grant names.
type TargetKind uint8

// The kinds of target.
const (
	Version TargetKind = iota + 1 // one manifest, by its digest
	Lineage                       // all versions of an object
	Scope                         // a directory or collection
)

// Target is what a grant is about. Lineages and scopes travel as nonces; their
// ids are derived with the owner in the grant, so nobody can name another's.
type Target struct {
	_    struct{} `cbor:",toarray"`
	Kind TargetKind
	Ref  [32]byte // Version: SHA-256 digest in the address; otherwise the nonce
}

// Object is what a manifest says an object is, for comparison with a target.
type Object struct {
	Network, Owner statement.ID
	Version        [32]byte
	Lineage        [32]byte
	Scopes         [][32]byte
}

// Matches reports whether the target covers the object; owners are compared by
// the caller, who knows the grant's.
func (t Target) Matches(o Object) bool {
	switch t.Kind {
	case Version:
		return t.Ref == o.Version
	case Lineage:
		return t.Ref == o.Lineage
	case Scope:
		return slices.Contains(o.Scopes, t.Ref)
	}
	return false
}

// Caveats restrict a grant. An empty list does not restrict.
type Caveats struct {
	_           struct{} `cbor:",toarray"`
	Purposes    []string
	NotBefore   int64 // unix seconds
	Expires     int64
	MaxClass    uint8 // highest classification of the object, 255 for any
	Regions     []string
	Attestation [][]byte // measurements, one of which an enclave must show
	Offline     bool     // the holder may keep the key until Expires
}

// Grant is the body of grants and links.
type Grant struct {
	_         struct{} `cbor:",toarray"`
	Parent    []byte   // id of the statement above; empty in a root grant
	Network   statement.ID
	Record    statement.ID // committee record whose validators sign
	Owner     statement.ID
	Audience  statement.ID
	Subject   uint8 // identity.Kind of the audience; 4 for an enclave
	Target    Target
	Abilities Abilities
	Caveats   Caveats
	Depth     uint8  // how many links may follow
	Consent   []byte // id of a standing consent; empty: an exact consent stands beside
	Nonce     [16]byte
}

// SubjectEnclave is the subject kind of grants that only evidence can use.
const SubjectEnclave = 4

// Check holds what a grant must be by itself.
func (g *Grant) Check() error {
	switch {
	case g.Abilities == 0 || g.Abilities > all || g.Abilities&Write != 0:
		return errors.New("its abilities are empty, unknown or reserved")
	case g.Target.Kind < Version || g.Target.Kind > Scope:
		return errors.New("its target is of an unknown kind")
	case g.Subject < uint8(identity.User) || g.Subject > SubjectEnclave:
		return errors.New("its subject is of an unknown kind")
	case len(g.Consent) != 0:
		return errors.New("it rests on a standing consent, which this network does not take yet")
	case g.Depth > MaxDepth:
		return fmt.Errorf("its depth is over %d", MaxDepth)
	case (g.Abilities&Delegate != 0) != (g.Depth > 0):
		return errors.New("delegate and depth go together")
	}
	return g.CheckCaveats()
}

// CheckCaveats holds what the caveats must be by themselves.
func (g *Grant) CheckCaveats() error {
	c := g.Caveats
	switch {
	case c.Expires <= c.NotBefore:
		return errors.New("it has no expiry after its beginning")
	case len(c.Purposes) > maxPurposes || len(c.Regions) > maxPurposes || len(c.Attestation) > maxPurposes:
		return errors.New("it has too many caveats")
	}
	for _, w := range append(slices.Clone(c.Purposes), c.Regions...) {
		if w == "" || len(w) > maxWord || strings.ContainsFunc(w, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return errors.New("a purpose or region is empty, too long or not printable")
		}
	}
	for _, m := range c.Attestation {
		if len(m) == 0 || len(m) > maxMeasure {
			return errors.New("a measurement is empty or too long")
		}
	}
	return nil
}

// Within checks that a link is no wider than its parent in any field. The error
// names the field.
func (g *Grant) Within(parent *Grant) error {
	switch c, p := g.Caveats, parent.Caveats; {
	case g.Network != parent.Network || g.Record != parent.Record || g.Owner != parent.Owner:
		return errors.New("it leaves the network, the committee record or the owner of its parent")
	case parent.Subject == SubjectEnclave && g.Subject != SubjectEnclave:
		return errors.New("its parent is for an enclave and it is not")
	case parent.Abilities&Delegate == 0 || parent.Depth == 0:
		return errors.New("its parent may not be delegated")
	case g.Depth >= parent.Depth:
		return errors.New("its depth is not smaller than its parent's")
	case g.Abilities.Implied()&^parent.Abilities.Implied() != 0:
		return errors.New("it has abilities that its parent lacks")
	case g.Target != parent.Target:
		return errors.New("its target is not its parent's")
	case c.NotBefore < p.NotBefore || c.Expires > p.Expires:
		return errors.New("its time is not within its parent's")
	case c.MaxClass > p.MaxClass:
		return errors.New("its classification is above its parent's")
	case c.Offline && !p.Offline:
		return errors.New("it allows offline use and its parent does not")
	case !narrower(c.Purposes, p.Purposes):
		return errors.New("its purposes are wider than its parent's")
	case !narrower(c.Regions, p.Regions):
		return errors.New("its regions are wider than its parent's")
	case !narrowerBytes(c.Attestation, p.Attestation):
		return errors.New("its measurements are wider than its parent's")
	}
	return nil
}

func narrower(child, parent []string) bool {
	if len(parent) == 0 {
		return true
	}
	return len(child) > 0 && !slices.ContainsFunc(child, func(w string) bool { return !slices.Contains(parent, w) })
}

func narrowerBytes(child, parent [][]byte) bool {
	s := func(in [][]byte) []string {
		out := make([]string, len(in))
		for i, b := range in {
			out[i] = string(b)
		}
		return out
	}
	return narrower(s(child), s(parent))
}

// Consent is the owner's exact agreement to one grant.
type Consent struct {
	_       struct{} `cbor:",toarray"`
	Network statement.ID
	Grant   statement.ID
}

// Chain is a grant with everything that a verifier needs, as it travels. Nothing
// in it has been checked.
type Chain struct {
	_          struct{} `cbor:",toarray"`
	Grant      []byte   // signed KindGrant
	Consent    []byte   // signed KindConsent
	Links      [][]byte // signed KindLink, in order
	Identities [][]byte // identity documents: owner, then audiences
}

// Bytes is the chain's encoding.
func (c *Chain) Bytes() []byte {
	b, err := statement.Marshal(c)
	if err != nil {
		panic("capability: own chain does not encode: " + err.Error()) // byte strings only
	}
	return b
}

// ParseChain decodes a chain and checks its sizes only.
func ParseChain(raw []byte) (*Chain, error) {
	if len(raw) > MaxChain {
		return nil, fmt.Errorf("%w: a chain has at most %d bytes", ErrChain, MaxChain)
	}
	var c Chain
	if err := statement.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChain, err)
	}
	if len(c.Links) > MaxLinks || len(c.Identities) > maxIdentities {
		return nil, fmt.Errorf("%w: %w", ErrChain, errTooLong)
	}
	return &c, nil
}

// Leaf is the id of the chain's last statement, unverified.
func (c *Chain) Leaf() (statement.ID, error) {
	raw := c.Grant
	if n := len(c.Links); n > 0 {
		raw = c.Links[n-1]
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return statement.ID{}, err
	}
	return s.ID(), nil
}
