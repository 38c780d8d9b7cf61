package committee

import (
	"fmt"
	"math/bits"

	"github.com/cloudflare/circl/group"
)

// Commitments bind a dealer to both polynomials: t points, each in its canonical
// 32 bytes, for the coefficients in ascending order. They are public.
type Commitments [][]byte

// Valid reports whether these are commitments of a dealing in which t shares are
// needed: exactly t canonical points, none the identity (an honest dealer draws
// it with probability 2^-252; an unset buffer holds it). The error is [ErrCommitments].
func (c Commitments) Valid(t int) error {
	if len(c) != t {
		return fmt.Errorf("%w: %d points where %d shares are needed", ErrCommitments, len(c), t)
	}
	_, err := c.points()
	return err
}

// points are commitments that were decoded and found canonical.
type points []group.Element

func (c Commitments) points() (points, error) {
	if len(c) < 1 || len(c) > MaxHolders {
		return nil, fmt.Errorf("%w: %d points", ErrCommitments, len(c))
	}
	out := make(points, len(c))
	for j, b := range c {
		out[j] = curve.NewElement()
		// The decoder is strict (RFC 9496, section 4.3.1). After an error the
		// element must not be looked at: it compares equal to every point.
		if err := out[j].UnmarshalBinary(b); err != nil {
			return nil, fmt.Errorf("%w: point %d is not canonical", ErrCommitments, j)
		}
		if out[j].IsIdentity() {
			return nil, fmt.Errorf("%w: point %d is the identity", ErrCommitments, j)
		}
	}
	return out, nil
}

// Check reports whether s is the share that the commitments hold for the
// validator with a 0-based index. Every refusal is [ErrShare]; it is also
// [ErrCommitments] where no share could ever pass. The number of validators is
// not in the commitments: a caller compares the index with its committee record.
func Check(index int, s Share, c Commitments) error {
	p, err := c.points()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrShare, err)
	}
	return p.check(index, s)
}

func (p points) check(index int, s Share) error {
	return (&Parsed{curve.NewScalar().SetUint64(1), p}).Check(index, s)
}

// at evaluates the committed polynomial at a small x by Horner's rule, in the
// group. Everything here is public; at most nine doublings take a step.
func (p points) at(x uint) group.Element {
	sum := p[len(p)-1].Copy()
	for j := len(p) - 2; j >= 0; j-- {
		sum = times(sum, x)
		sum.Add(sum, p[j])
	}
	return sum
}

// times is x*p by doubling and adding, in time that depends on x.
func times(p group.Element, x uint) group.Element {
	if x == 0 {
		return curve.Identity()
	}
	out := p.Copy()
	for bit := bits.Len(x) - 2; bit >= 0; bit-- {
		out.Dbl(out)
		if x>>bit&1 == 1 {
			out.Add(out, p)
		}
	}
	return out
}
