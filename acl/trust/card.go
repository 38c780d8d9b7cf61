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
	Identity  []byte   // inception record
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
	keys := []statement.PublicKey{id.Devices()[0], c.Peer}
	if len(c.Validator) == 1 {
		v := c.Validator[0]
		if v.Identity != id.ID() || v.Peer != c.Peer {
			return bad(errors.New("its parts belong to different keys"))
		}
		if err := v.check(onceEach[statement.PublicKey]{id.Devices()[0]: true}); err != nil {
			return bad(err)
		}
		keys = append(keys, v.Signing)
	}
	if err := s.Verify(KindCard, keys, len(keys)); err != nil {
		return bad(err)
	}
	return &c, id, nil
}
