package capability

import (
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/crypto/statement"
)

const maxAudience = 64 // identities in one standing consent

// Standing is the body of a standing consent: the grants on a target that its
// owner agrees to beforehand, so that roles and break-glass work while the owner
// is away. A grant rests on it by naming its id, and is no wider in any field.
// Whoever revokes it, the owner alone may, stops every grant that rests on it.
//
// The audience is either a list of identities or the holders of a role. Who holds
// a role, K validators vouch for with their signatures under the grant; readers
// have nothing to check it against. A role's consent therefore trusts them for
// that, and for nothing else in it.
type Standing struct {
	_           struct{} `cbor:",toarray"`
	Network     statement.ID
	Owner       statement.ID
	Target      Target
	Audience    []statement.ID // who may be granted something; empty where a role is named
	Role        string         // whose holders may be granted something; empty where identities are listed
	Abilities   Abilities
	MaxClass    uint8    // highest classification, 255 for any
	Purposes    []string // empty: any
	Regions     []string // empty: any
	Attestation [][]byte // measurements; empty: without evidence too
	Offline     bool     // grants may let their holders keep the key
	Lifetime    int64    // seconds that one grant may last
	Depth       uint8    // how many links may follow a grant
	Until       int64    // unix seconds; no grant under it lasts longer
	Nonce       [16]byte
}

// Check holds what a standing consent must be by itself.
func (s *Standing) Check() error {
	switch {
	case s.Abilities == 0 || s.Abilities > all || s.Abilities&Write != 0:
		return errors.New("its abilities are empty, unknown or reserved")
	case s.Target.Kind < Version || s.Target.Kind > Scope:
		return errors.New("its target is of an unknown kind")
	case (len(s.Audience) == 0) == (s.Role == ""):
		return errors.New("it names either identities or a role")
	case len(s.Audience) > maxAudience:
		return fmt.Errorf("it names more than %d identities", maxAudience)
	case s.Role != "" && badWord(s.Role):
		return errors.New("its role is too long or not printable")
	case s.Depth > MaxDepth:
		return fmt.Errorf("its depth is over %d", MaxDepth)
	case (s.Abilities&Delegate != 0) != (s.Depth > 0):
		return errors.New("delegate and depth go together")
	case s.Lifetime <= 0 || s.Until <= 0:
		return errors.New("it has no lifetime or no end")
	}
	return checkLists(s.Purposes, s.Regions, s.Attestation)
}

// Covers checks that a root grant, which passed [Grant.Check], is no wider than
// the consent in any field. The error names the field. Whether the audience holds
// the role, where one is named, is not checked here.
func (s *Standing) Covers(g *Grant) error {
	lasts := uint64(g.Caveats.Expires) - uint64(g.Caveats.NotBefore) // positive, and right where int64 overflows
	switch {
	case g.Network != s.Network || g.Owner != s.Owner:
		return errors.New("it leaves the network or the owner of its standing consent")
	case g.Target != s.Target: // as between links: what lies within what, only a manifest says
		return errors.New("its target is not its standing consent's")
	case s.Role == "" && !slices.Contains(s.Audience, g.Audience):
		return errors.New("its audience is not in its standing consent")
	case g.Depth > s.Depth:
		return errors.New("its depth is over its standing consent's")
	case lasts > uint64(s.Lifetime):
		return errors.New("its lifetime is over its standing consent's")
	case g.Caveats.Expires > s.Until:
		return errors.New("its end is after its standing consent's")
	}
	return g.narrower(s.Abilities, &Caveats{
		MaxClass: s.MaxClass, Purposes: s.Purposes, Regions: s.Regions, Attestation: s.Attestation, Offline: s.Offline,
	}, "its standing consent")
}
