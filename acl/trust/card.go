package trust

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Card is what a committee needs of a validator, and what an operator shows to
// become a member: signed by the identity's device, by the peer key and, for a
// validator, by its signing key, so that nobody can present a key of another.
type Card struct {
	_         struct{} `cbor:",toarray"`
	Identity  []byte   // identity document
	Peer      statement.PublicKey
	Addresses []string
	Validator []Validator // one for a validator, none for a node
}

// KindCard is the kind of cards.
const KindCard statement.Kind = "card"

// ParseCard verifies a signed card.
func ParseCard(raw []byte) (*Card, *identity.Identity, error) {
	bad := func(err error) (*Card, *identity.Identity, error) {
		return nil, nil, fmt.Errorf("the card does not verify: %w", err)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return bad(err)
	}
	var c Card
	if err := s.Peek(KindCard, &c); err != nil {
		return bad(err)
	}
	id, err := identity.Parse(c.Identity)
	if err != nil {
		return bad(err)
	}
	if len(c.Validator) > 1 {
		return bad(statement.ErrMalformed)
	}
	if err := checkAddresses(c.Addresses); err != nil {
		return bad(err)
	}
	devices := id.Devices()
	keys := []statement.PublicKey{c.Peer}
	if len(c.Validator) == 1 {
		v := c.Validator[0]
		if v.Identity != id.ID() || v.Peer != c.Peer {
			return bad(errors.New("its parts belong to different keys"))
		}
		seen := make(onceEach[statement.PublicKey])
		for _, d := range devices {
			seen[d] = true
		}
		if err := v.check(seen); err != nil {
			return bad(err)
		}
		keys = append(keys, v.Signing)
	}
	for _, d := range devices { // any that speaks for the identity now
		if s.VerifyAt(KindCard, 0, d) == nil {
			if err := s.Verify(KindCard, append([]statement.PublicKey{d}, keys...), 1+len(keys)); err != nil {
				return bad(err)
			}
			return &c, id, nil
		}
	}
	return bad(statement.ErrSignature)
}
