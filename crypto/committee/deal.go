package committee

import (
	"crypto/rand"
	"fmt"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
)

// NewSecret draws a secret from the system's randomness.
func NewSecret() Secret { return secretOf(curve.RandomNonZeroScalar(rand.Reader)) }

// Deal draws a fresh secret and shares it among n validators, t of whom are
// needed to recover it; 1 <= t <= n <= [MaxHolders]. The share at index i is for
// the validator at index i of the committee record. Nothing is stored.
func Deal(n, t int) (Secret, []Share, Commitments, error) {
	secret := NewSecret()
	shares, commitments, err := DealSecret(secret, n, t)
	if err != nil {
		return Secret{}, nil, nil, err
	}
	return secret, shares, commitments, nil
}

// DealSecret is [Deal] for a secret that exists: it shares it once more, with
// fresh polynomials. Shares of two dealings do not mix.
func DealSecret(s Secret, n, t int) ([]Share, Commitments, error) {
	if t < 1 || n < t || n > MaxHolders {
		return nil, nil, fmt.Errorf("cannot deal %d of %d shares: want 1 <= t <= n <= %d", t, n, MaxHolders)
	}
	if s.IsZero() {
		return nil, nil, ErrSecret
	}
	first, err := scalarFrom(s.Bytes())
	if err != nil {
		return nil, nil, ErrSecret
	}
	value, blinding := make([]group.Scalar, t), make([]group.Scalar, t)
	for j := range value {
		value[j] = curve.RandomScalar(rand.Reader)
		blinding[j] = curve.RandomScalar(rand.Reader)
	}
	value[0] = first
	shares, commitments := deal(value, blinding, n)
	return shares, commitments, nil
}

// deal evaluates two polynomials, given by t coefficients each in ascending
// order, at 1 to n, and commits to the coefficients. (circl's RandomScalar
// ignores the reader that it is given, so this is also where tests bring
// polynomials of their own.)
func deal(value, blinding []group.Scalar, n int) ([]Share, Commitments) {
	commitments := make(Commitments, len(value))
	for j := range commitments {
		commitments[j] = encodePoint(commit(value[j], blinding[j]))
	}
	return evaluate(value, blinding, n), commitments
}

// evaluate are the values of two polynomials at 1 to n.
func evaluate(value, blinding []group.Scalar, n int) []Share {
	f, g := polynomial.New(value), polynomial.New(blinding)
	shares := make([]Share, n)
	for i := range shares {
		x := position(i)
		shares[i] = Share{encodeScalar(f.Evaluate(x)), encodeScalar(g.Evaluate(x))}
	}
	return shares
}

// position is the x at which the validator with a 0-based index holds its share.
// It is never 0: the value there is the secret.
func position(index int) group.Scalar {
	return curve.NewScalar().SetUint64(uint64(index) + 1)
}
