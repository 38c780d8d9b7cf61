package capability

import (
	"fmt"

	"cerebrum.dev/cerebrum/crypto/statement"
)

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
	Consent    []byte   // signed KindConsent, or the KindStanding that the grant names
	Links      [][]byte // signed KindLink, in order
	Identities [][]byte // identity documents: owner, then audiences, each once
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
