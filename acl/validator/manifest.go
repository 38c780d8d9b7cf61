package validator

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// VerifyManifest decodes the manifest block at an address and verifies it by its
// owner's document. It is the one verifier of manifests for everybody above it.
// The address says which manifest is meant, so a device may have signed it that
// was removed since; the dealing beside a new one needs a present device.
func VerifyManifest(address []byte, block []byte, owner *identity.Identity) (*envelope.Manifest, error) {
	c, err := cid.Cast(address)
	if err != nil {
		return nil, fmt.Errorf("%w: the address is no CID", ErrMalformed)
	}
	u, err := envelope.ParseManifest(c, block)
	if err != nil {
		return nil, err
	}
	if u.Claims().Owner != owner.ID() {
		return nil, errAnotherOwner
	}
	return u.Verify(owner.Ever())
}

// KnownManifest decodes the manifest block at an address for somebody who knows from
// elsewhere that its owner speaks for that very address: who made the object, or who
// read the address in a directory of the owner's. The address is a hash of the block,
// so that its signature would say nothing new. Where that is not known, only
// [VerifyManifest] will do.
func KnownManifest(address []byte, block []byte, owner statement.ID) (*envelope.Manifest, error) {
	c, err := cid.Cast(address)
	if err != nil {
		return nil, fmt.Errorf("%w: the address is no CID", ErrMalformed)
	}
	u, err := envelope.ParseManifest(c, block)
	if err != nil {
		return nil, err
	}
	m := u.Claims()
	if m.Owner != owner {
		return nil, errAnotherOwner
	}
	return &m, nil
}

var errAnotherOwner = errors.New("the manifest belongs to another owner")

// ObjectOf is what a manifest says an object is, for comparison with a grant.
// The address's digest must have been checked against the manifest's block.
func ObjectOf(address cid.Cid, m *envelope.Manifest) capability.Object {
	o := capability.Object{Network: m.Network, Owner: m.Owner, Lineage: m.Lineage}
	digest := address.Hash()
	copy(o.Version[:], digest[len(digest)-32:])
	for _, s := range m.Scopes {
		o.Scopes = append(o.Scopes, s)
	}
	return o
}
