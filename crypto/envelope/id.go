package envelope

import (
	"crypto/rand"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Nonce is the random half of an id that belongs to an owner. The id itself is
// never sent: whoever reads (owner, nonce) derives it, so an id cannot be claimed
// by anyone but the owner that it was made for.
type Nonce [32]byte

// NewNonce draws a nonce from the system's randomness.
func NewNonce() Nonce {
	var n Nonce
	rand.Read(n[:]) // never fails: crypto/rand aborts the program instead
	return n
}

// KeyID is the id of the file key that owner made with nonce in network. Shares
// are indexed by (owner, key id).
func KeyID(network, owner statement.ID, nonce Nonce) statement.ID {
	return ownedID("key id", network, owner, nonce)
}

// LineageID is the id of the versions of one object.
func LineageID(network, owner statement.ID, nonce Nonce) statement.ID {
	return ownedID("lineage id", network, owner, nonce)
}

// ScopeID is the id of a directory or collection of owner.
func ScopeID(network, owner statement.ID, nonce Nonce) statement.ID {
	return ownedID("scope id", network, owner, nonce)
}

func ownedID(domain string, network, owner statement.ID, nonce Nonce) statement.ID {
	return statement.Hash(domain, network[:], owner[:], nonce[:])
}
