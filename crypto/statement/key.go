package statement

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// PublicKey is an Ed25519 verification key (RFC 8032). It is comparable, so
// that a key counts once by its bytes.
type PublicKey [ed25519.PublicKeySize]byte

// String is the key in lower-case hexadecimal.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// Digest is SHA-256 of the key; commitments to a key that is not shown yet use it.
func (k PublicKey) Digest() [sha256.Size]byte { return sha256.Sum256(k[:]) }

// verify follows crypto/ed25519, the one acceptance rule of the network
// (ZIP-215 verifiers accept other edge cases, so they are not mixed in), except
// that weak keys sign nothing.
func (k PublicKey) verify(msg, sig []byte) bool {
	return len(sig) == ed25519.SignatureSize && !k.weak() && ed25519.Verify(k[:], msg, sig)
}

// weak reports a point whose order divides 8. Anybody can sign for such a key,
// which has no private half, and crypto/ed25519 lets them; the zero value of
// PublicKey is one. RFC 8032, section 5.1.7, leaves the check to protocols.
func (k PublicKey) weak() bool {
	k[31] &= 0x7f // the sign of x: a point and its negative have the same order
	for _, y := range smallOrder {
		if k == y {
			return true
		}
	}
	return false
}

// smallOrder are the y coordinates of the eight points of small order: 0, 1, -1,
// and a pair for those of order 8; 0 and 1 also in the encodings that are not
// reduced modulo 2^255-19, which crypto/ed25519 decodes.
var smallOrder = [...]PublicKey{
	{},
	{1},
	fieldEnd(0xec),
	fieldEnd(0xed),
	fieldEnd(0xee),
	{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
}

// fieldEnd encodes a number near 2^255-19, whose lowest byte is 0xed.
func fieldEnd(lowest byte) (k PublicKey) {
	for i := range k {
		k[i] = 0xff
	}
	k[0], k[31] = lowest, 0x7f
	return k
}

// PrivateKey is an Ed25519 signing key. It does not compare with ==, does not
// print itself, and signs nothing but statements. The zero value holds no key:
// all it can do is say so, by IsZero; everything else panics.
type PrivateKey struct {
	_ [0]func()
	// Two pointers, because package fmt calls no methods on unexported fields or
	// after a wrong verb, and then follows one pointer, never two.
	key **ed25519.PrivateKey
}

func privateKey(seed []byte) PrivateKey {
	k := ed25519.NewKeyFromSeed(seed)
	p := &k
	return PrivateKey{key: &p}
}

// GenerateKey makes a signing key from the system's randomness.
func GenerateKey() PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails: crypto/rand aborts the program instead
	return privateKey(seed)
}

// KeyFromSeed makes the key of a 32-byte seed (RFC 8032, section 5.1.5).
func KeyFromSeed(seed []byte) (PrivateKey, error) {
	if len(seed) != ed25519.SeedSize {
		return PrivateKey{}, errors.New("a signing key's seed has 32 bytes")
	}
	return privateKey(seed), nil
}

// Seed is the secret itself, for the keystore alone.
func (k PrivateKey) Seed() []byte { return (**k.key).Seed() }

// Public is the verification key.
func (k PrivateKey) Public() PublicKey {
	return PublicKey((**k.key).Public().(ed25519.PublicKey))
}

// IsZero reports a key that was never set.
func (k PrivateKey) IsZero() bool { return k.key == nil }

// String never shows the key.
func (k PrivateKey) String() string { return "statement.PrivateKey(hidden)" }

// GoString never shows the key.
func (k PrivateKey) GoString() string { return k.String() }

// Format never shows the key, whatever the verb.
func (k PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

func (k PrivateKey) sign(msg []byte) []byte {
	return ed25519.Sign(**k.key, msg)
}
