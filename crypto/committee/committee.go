// Package committee splits an object's secret among n validators so that any t
// of them can give it back, t-1 of them learn nothing at all, and whoever lies
// is named.
//
// # Vocabulary
//
// The [Secret] is a random, non-zero scalar of ristretto255 (RFC 9496). To deal
// it is to choose two random polynomials of degree t-1, one whose value at 0 is
// the secret and one for blinding. The [Share] of the validator with the
// 0-based index i in the committee record is the pair of their values at
// x = i+1. The [Commitments] are t points
//
//	C[j] = value[j]*G + blinding[j]*H
//
// that the owner publishes in the signed dealing; every validator checks its
// share against them:
//
//	Value*G + Blinding*H = C[0] + x*C[1] + x^2*C[2] + ...
//
// This is Pedersen's scheme (Non-Interactive and Information-Theoretic Secure
// Verifiable Secret Sharing, CRYPTO '91). The commitments hide the secret
// perfectly, hence also from whoever computes discrete logarithms one day, which
// Feldman's commitments value[j]*G do not. They bind today: to pass a false
// share one must know the logarithm of H, and H is hashed to the group.
//
// Everywhere in this package t is the number of shares that are NEEDED, as in
// "3 of 4". (In circl's secretsharing it is the number that may be corrupted,
// one less.) An index comes from the committee record, never from the wire.
//
// # Sealing
//
// A file key of 16 bytes is sealed with ChaCha20-Poly1305 (RFC 8439) under a key
// that is derived from the secret and bound to the key id and the network:
//
//	KEK    = HKDF-SHA256(secret, salt = key id, info = "cerebrum.dev/committee/kek/v1" || network id)
//	sealed = ChaCha20-Poly1305(KEK, nonce = 0, file key, additional data = key id || network id)
//
// # Wire format
//
// A scalar is 32 bytes, little endian, below the order of the group. A point is
// its 32-byte encoding of RFC 9496, section 4.3. Every other encoding is
// refused, and so is the identity as a commitment.
//
// # Example
//
//	secret, shares, commitments, err := committee.Deal(4, 3)
//	sealed, err := committee.SealKey(secret, keyID, network, fileKey)
//	...
//	err = committee.Check(2, shares[2], commitments)   // the third validator, at deposit
//	...
//	liars, err := committee.Open(commitments, 3, answers, func(s committee.Secret) (err error) {
//		fileKey, err = committee.OpenKey(s, keyID, network, sealed)
//		return err
//	})
//
// # Limits
//
// Operations on secrets and shares do not branch on them or index memory by
// them; what circl and its go-ristretto promise is relied on. Go gives no way to
// wipe memory for certain, so none is pretended. A t-subset of one dealing can
// always read: nothing in this package can take a share back.
package committee

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cloudflare/circl/group"
)

// MaxHolders is the largest n; it is also the most signatures that a statement carries.
const MaxHolders = 256

// size is the length of a scalar and of a point.
const size = 32

var curve = group.Ristretto255

var (
	// ErrShare reports a share that is not the committed one, or is not a share at all.
	ErrShare = errors.New("share does not match its commitments")
	// ErrCommitments reports commitments that are not t canonical points: their
	// dealer is at fault, not the holder of a share.
	ErrCommitments = errors.New("commitments are malformed")
	// ErrSecret reports bytes that are not a secret, or a secret that was never set.
	ErrSecret = errors.New("secret is not a non-zero canonical scalar")
	// ErrSealed reports a sealed key that does not open: another secret, key id
	// or network, or altered bytes. Which of them cannot be told.
	ErrSealed = errors.New("sealed key does not open")
)

// ErrNotEnough reports that too few shares are left to recover the secret.
type ErrNotEnough struct {
	Need int // t
	Good int // shares given, or those of them that match their commitments
}

func (e ErrNotEnough) Error() string {
	return fmt.Sprintf("not enough shares: %d of the %d needed", e.Good, e.Need)
}

// Share is what one validator holds of one secret. Both scalars are canonical in
// a share that passed [Check]. The blinding serves checking and dealing again,
// never recovery.
//
// A share does not print itself where package fmt asks it: by itself or in an
// exported field, with every verb but %p and %w (which go vet refuses here). Keep
// it out of unexported fields of anything that may be printed.
type Share struct {
	Value    [size]byte
	Blinding [size]byte
}

// String never shows the share.
func (Share) String() string { return "committee.Share(hidden)" }

// GoString never shows the share.
func (s Share) GoString() string { return s.String() }

// Format never shows the share, whatever the verb.
func (s Share) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue never shows the share.
func (s Share) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON refuses: logs and local APIs speak JSON, the places where shares
// belong do not.
func (Share) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a share is never written as JSON")
}

// Secret is the scalar that was dealt. The zero value holds none. It does not
// compare with == and does not print itself.
type Secret struct {
	_ [0]func()
	// Two pointers, because package fmt calls no methods on unexported fields or
	// after a wrong verb, and then follows one pointer, never two.
	scalar **[size]byte
}

// SecretFromBytes reads what [Secret.Bytes] gives. It returns [ErrSecret] for
// anything but a canonical scalar other than zero.
func SecretFromBytes(b []byte) (Secret, error) {
	s, err := scalarFrom(b)
	if err != nil || s.IsZero() {
		return Secret{}, ErrSecret
	}
	return secretOf(s), nil
}

// Bytes is a copy of the secret's 32 bytes, nil for the zero value. It is meant
// for whoever wraps the secret to its owner.
func (s Secret) Bytes() []byte {
	if s.scalar == nil {
		return nil
	}
	b := **s.scalar
	return b[:]
}

// IsZero reports a secret that was never set.
func (s Secret) IsZero() bool { return s.scalar == nil }

// String never shows the secret.
func (Secret) String() string { return "committee.Secret(hidden)" }

// GoString never shows the secret.
func (s Secret) GoString() string { return s.String() }

// Format never shows the secret, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue never shows the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

func secretOf(s group.Scalar) Secret {
	b := encodeScalar(s)
	p := &b
	return Secret{scalar: &p}
}

// scalarFrom decodes a canonical scalar. Only an encoding at or above the
// group's order takes another path than the rest, and that is no secret.
func scalarFrom(b []byte) (group.Scalar, error) {
	s := curve.NewScalar()
	if err := s.UnmarshalBinary(b); err != nil {
		return nil, fmt.Errorf("%w: a scalar is not canonical", ErrShare)
	}
	return s, nil
}

func encodeScalar(s group.Scalar) [size]byte {
	b, err := s.MarshalBinary()
	if err != nil {
		panic("committee: a ristretto255 scalar does not encode: " + err.Error()) // circl always returns nil
	}
	return [size]byte(b)
}

func encodePoint(p group.Element) []byte {
	b, err := p.MarshalBinary()
	if err != nil {
		panic("committee: a ristretto255 point does not encode: " + err.Error()) // circl always returns nil
	}
	return b
}
