package statement

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// PublicKey is an Ed25519 verification key (RFC 8032). It is comparable, so
// that a key counts once by its bytes.
type PublicKey [ed25519.PublicKeySize]byte

// String is the key in lower-case hexadecimal.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// Digest is SHA-256 of the key; commitments to a key that is not shown yet use it.
func (k PublicKey) Digest() [sha256.Size]byte { return sha256.Sum256(k[:]) }

// verify follows crypto/ed25519, the one acceptance rule of the network
// (ZIP-215 verifiers accept other edge cases, so they are not mixed in).
func (k PublicKey) verify(msg, sig []byte) bool {
	return len(sig) == ed25519.SignatureSize && ed25519.Verify(k[:], msg, sig)
}

// PrivateKey is an Ed25519 signing key. It does not compare with ==, does not
// print itself, and signs nothing but statements.
type PrivateKey struct{ key ed25519.PrivateKey }

// GenerateKey makes a signing key from the system's randomness.
func GenerateKey() PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails: crypto/rand aborts the program instead
	return PrivateKey{ed25519.NewKeyFromSeed(seed)}
}

// KeyFromSeed makes the key of a 32-byte seed (RFC 8032, section 5.1.5).
func KeyFromSeed(seed []byte) (PrivateKey, error) {
	if len(seed) != ed25519.SeedSize {
		return PrivateKey{}, errors.New("a signing key's seed has 32 bytes")
	}
	return PrivateKey{ed25519.NewKeyFromSeed(seed)}, nil
}

// Seed is the secret itself, for the keystore alone.
func (k PrivateKey) Seed() []byte { return k.key.Seed() }

// Public is the verification key.
func (k PrivateKey) Public() PublicKey {
	return PublicKey(k.key.Public().(ed25519.PublicKey))
}

// IsZero reports a key that was never set.
func (k PrivateKey) IsZero() bool { return len(k.key) == 0 }

// String never shows the key.
func (k PrivateKey) String() string { return "statement.PrivateKey(hidden)" }

// GoString never shows the key.
func (k PrivateKey) GoString() string { return k.String() }

func (k PrivateKey) sign(msg []byte) []byte {
	return ed25519.Sign(k.key, msg)
}
