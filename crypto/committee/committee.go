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
