// Package capability is who may do what with whose data: grants, the links that
// delegate them, the owner's consent beside them, and the proof that a request
// comes from a grant's audience.
//
// # Vocabulary
//
// A root grant is signed by K validators and says: this audience may do these
// things with this target of this owner until then. Beside it stands the
// owner's consent, without which no number of validators opens anything. It is
// exact, a statement that names the grant's id, or standing: a statement that the
// grant's body names, and that says which grants the owner agrees to beforehand.
// A standing consent may leave it to K validators who holds a role.
//
// A link hands a part of a grant on: it is signed by the audience of its parent
// and is no wider in any field. A chain is a grant, its consent, up to [MaxLinks]
// links, and the identity documents that prove the ids in them. The leaf is the
// last link, or the grant where there is none.
//
// # Devices come and go
//
// A proof of possession needs a device that speaks for the audience now. What is
// shown again and again, a consent or a link, may carry the signature of a device
// that was removed since: validators take nothing new from it, so what they took
// was signed in time. What is known of an identity is its document with the
// records in the validators' logs folded in ([People]), whichever is newer.
//
// # Wire format
//
// All bodies are CBOR arrays in the one encoding that package statement takes.
// Fields stand in the order of the Go structs [Grant], [Standing], [Consent],
// [Proof], [Chain] and [Authority].
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
	// KindStanding is signed by a device of the owner.
	KindStanding statement.Kind = "standing-consent"
)

// Limits.
const (
	MaxLinks = 7 // links below a grant: a chain has at most 8 statements
	MaxDepth = 7 // remaining depth that a grant may carry
	// MaxChain is the most bytes of an encoded chain. Of the nine identities in the
	// longest one, an owner and eight audiences, each may have a document as large as
	// documents get; eight bodies with all their caveats, the signatures of 64
	// validators and a standing consent take less than the rest.
	MaxChain      = maxIdentities*identity.MaxDocument + maxStatements
	maxStatements = 48 << 10
	maxIdentities = MaxLinks + 2
	maxPurposes   = 16
	maxWord       = 64
	maxMeasure    = 64 // bytes of a measurement
)

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
	Offline     bool     // the holder may keep the key until Expires; no revocation reaches it there
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
	Consent   []byte // id of a standing consent; empty: an exact consent stands beside, and in a link
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
	case len(g.Consent) != 0 && len(g.Consent) != len(statement.ID{}):
		return errors.New("what it names as its standing consent is no id")
	case len(g.Consent) != 0 && len(g.Parent) != 0:
		return errors.New("a link names a standing consent, which only a root grant rests on")
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
	if c.Expires <= c.NotBefore {
		return errors.New("it has no expiry after its beginning")
	}
	return checkLists(c.Purposes, c.Regions, c.Attestation)
}

func checkLists(purposes, regions []string, measurements [][]byte) error {
	if len(purposes) > maxPurposes || len(regions) > maxPurposes || len(measurements) > maxPurposes {
		return errors.New("it has too many caveats")
	}
	for _, list := range [][]string{purposes, regions} {
		if slices.ContainsFunc(list, badWord) {
			return errors.New("a purpose or region is empty, too long or not printable")
		}
	}
	for _, m := range measurements {
		if len(m) == 0 || len(m) > maxMeasure {
			return errors.New("a measurement is empty or too long")
		}
	}
	return nil
}

func badWord(w string) bool {
	return w == "" || len(w) > maxWord || strings.ContainsFunc(w, func(r rune) bool { return !unicode.IsPrint(r) })
}
