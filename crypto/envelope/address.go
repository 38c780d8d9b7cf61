package envelope

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// Codecs of the blocks of an object (multicodec table).
const (
	CodecRaw     = cid.Raw             // leaves: 0x55
	CodecDagPB   = cid.DagProtobuf     // interior nodes and file roots: 0x70
	CodecDagCBOR = cid.DagCBOR         // manifests: 0x71
	cidSize      = 4 + sha256.Size     // version, codec, hash function, length, digest
	addressSize  = 1 + (cidSize*8+4)/5 // multibase prefix and base32 digits
)

// CIDOf is the CIDv1 with SHA-256 of data under a codec.
func CIDOf(data []byte, codec uint64) cid.Cid {
	sum := sha256.Sum256(data)
	var hash [2 + sha256.Size]byte
	hash[0], hash[1] = mh.SHA2_256, sha256.Size
	copy(hash[2:], sum[:])
	return cid.NewCidV1(codec, hash[:])
}

// castCID reads the bytes of a CID of one of our codecs. Weak, truncated and
// identity hashes, and other versions, are refused by their prefix.
func castCID(b []byte, codec uint64) (cid.Cid, error) {
	if len(b) != cidSize || b[0] != 1 || uint64(b[1]) != codec || b[2] != mh.SHA2_256 || b[3] != sha256.Size {
		return cid.Undef, errors.New("not a CIDv1 with SHA-256 of the expected codec")
	}
	return cid.Cast(b)
}

// ParseAddress reads the address of an object: the CIDv1 of a dag-cbor block
// with SHA-256, in lower-case base32 and nothing else.
func ParseAddress(s string) (cid.Cid, error) {
	if len(s) != addressSize || s[0] != 'b' {
		return cid.Undef, fmt.Errorf("an address starts with bafyrei and has %d characters", addressSize)
	}
	c, err := cid.Decode(s)
	if err != nil || c.String() != s {
		return cid.Undef, errors.New("this is no address: it does not decode as lower-case base32, perhaps a character is wrong")
	}
	if _, err := castCID(c.Bytes(), CodecDagCBOR); err != nil {
		return cid.Undef, errors.New("this is the CID of something else: the address of an object starts with bafyrei")
	}
	return c, nil
}
