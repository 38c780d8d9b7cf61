package committee

import (
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/cloudflare/circl/group"
)

// Combiner makes new shares from the sub-shares of one dealer set, for any
// receiver and any sharing. What depends on the dealer set alone is computed
// once. It is read only, so goroutines may share it.
type Combiner struct {
	dealers []int // ascending
	t       int
	weights []group.Scalar
	scale   *big.Int
	factors []*big.Int // weights times scale
}

// NewCombiner combines sub-shares of exactly these dealers, distinct 0-based
// indexes in the old record, as many as the old sharing needs. t shares are needed anew.
func NewCombiner(dealers []int, t int) (*Combiner, error) {
	sorted := slices.Sorted(slices.Values(dealers))
	if len(sorted) == 0 || sorted[0] < 0 || sorted[len(sorted)-1] >= MaxHolders || len(slices.Compact(slices.Clone(sorted))) != len(sorted) {
		return nil, fmt.Errorf("the indexes %v are not a set of dealers", dealers)
	}
	if t < 1 || t > MaxHolders {
		return nil, fmt.Errorf("cannot combine to %d shares needed: want 1 to %d", t, MaxHolders)
	}
	scale, factors := integerWeights(sorted)
	return &Combiner{sorted, t, weights(sorted), scale, factors}, nil
}

// Combine makes one receiver's new share, and the new commitments, which are the
// same for all receivers. It takes one sub-share of every dealer of the set, in
// any order, and refuses those of another dealer, receiver, sharing or threshold,
// and [ErrNotEnough] if one is missing.
//
// The result fits by construction and needs no check, but for one case:
// [ErrCommitments] where the points add up to the identity. The package comment
// says who can bring that about; by itself it blames nobody.
func (c *Combiner) Combine(subs []Checked) (Share, Scaled, error) {
	ordered := make([]*decoded, len(c.dealers))
	good := 0
	for _, checked := range subs {
		d := checked.sub
		if d == nil {
			return Share{}, Scaled{}, fmt.Errorf("a sub-share was not checked")
		}
		i, found := slices.BinarySearch(c.dealers, d.dealer)
		if !found || ordered[i] != nil {
			return Share{}, Scaled{}, fmt.Errorf("dealer %d is not in the set %v, or twice in the list", d.dealer, c.dealers)
		}
		if first := subs[0].sub; d.receiver != first.receiver || !d.old.equal(first.old) {
			return Share{}, Scaled{}, fmt.Errorf("dealers %d and %d dealt to two receivers or from two sharings", first.dealer, d.dealer)
		}
		if len(d.points) != c.t-1 {
			return Share{}, Scaled{}, fmt.Errorf("dealer %d dealt so that %d are needed, not %d", d.dealer, len(d.points)+1, c.t)
		}
		ordered[i] = d
		good++
	}
	if good < len(c.dealers) {
		return Share{}, Scaled{}, ErrNotEnough{Need: len(c.dealers), Good: good}
	}
	return c.combine(ordered)
}

// combine takes one sub-share of each dealer in the order of the dealers.
func (c *Combiner) combine(subs []*decoded) (Share, Scaled, error) {
	old := subs[0].old
	if len(old.points) != len(c.dealers) {
		return Share{}, Scaled{}, fmt.Errorf("%d dealers combine a sharing that needs %d", len(c.dealers), len(old.points))
	}
	scale := curve.NewScalar().SetBigInt(c.scale)
	out := Scaled{encodeScalar(scale.Mul(scale, old.scale)), make(Commitments, c.t)}
	// The old commitments at the dealers interpolate to the old first point.
	out.Points[0] = encodePoint(product(old.points[0], c.scale))
	for m := range c.t - 1 {
		sum := product(subs[0].points[m], c.factors[0])
		for i := 1; i < len(subs); i++ {
			sum.Add(sum, product(subs[i].points[m], c.factors[i]))
		}
		if sum.IsIdentity() {
			return Share{}, Scaled{}, fmt.Errorf("%w: the dealers' points %d add up to the identity", ErrCommitments, m+1)
		}
		out.Points[m+1] = encodePoint(sum)
	}
	value, blinding, term := curve.NewScalar(), curve.NewScalar(), curve.NewScalar()
	for i, d := range subs {
		value.Add(value, term.Mul(d.value, c.weights[i]))
		blinding.Add(blinding, term.Mul(d.blinding, c.weights[i]))
	}
	return Share{encodeScalar(value), encodeScalar(blinding)}, out, nil
}

// Combine is [Combiner.Combine] once, for sub-shares that were checked earlier and
// stored as they came, keyed by the 0-based index of their dealer. It decodes
// them again and checks none; a wrong one gives a share that does not fit the
// commitments.
func Combine(old *Parsed, t int, subs map[int]Sub) (Share, Scaled, error) {
	if len(subs) < len(old.points) {
		return Share{}, Scaled{}, ErrNotEnough{Need: len(old.points), Good: len(subs)}
	}
	c, err := NewCombiner(slices.Collect(maps.Keys(subs)), t)
	if err != nil {
		return Share{}, Scaled{}, err
	}
	ordered := make([]*decoded, len(c.dealers))
	for i, dealer := range c.dealers {
		if ordered[i], err = (Item{old, subs[dealer]}).decode(dealer, 0, t); err != nil {
			return Share{}, Scaled{}, fmt.Errorf("dealer %d: %w", dealer, err)
		}
	}
	return c.combine(ordered)
}

// integerWeights are the Lagrange weights at 0 times their least common
// denominator, and that denominator. Both are small for few validators.
func integerWeights(indexes []int) (*big.Int, []*big.Int) {
	scale, out := big.NewInt(1), make([]*big.Int, len(indexes))
	rats := make([]*big.Rat, len(indexes))
	for i, a := range indexes {
		rats[i] = big.NewRat(1, 1)
		for j, b := range indexes {
			if i != j {
				rats[i].Mul(rats[i], big.NewRat(int64(b)+1, int64(b-a)))
			}
		}
		d := rats[i].Denom()
		scale = new(big.Int).Mul(scale, new(big.Int).Div(d, new(big.Int).GCD(nil, nil, scale, d)))
	}
	for i, r := range rats {
		out[i] = new(big.Int).Mul(r.Num(), new(big.Int).Div(scale, r.Denom()))
	}
	return scale, out
}

// product is x*p: by doubling where x is small, by circl's general product otherwise.
func product(p group.Element, x *big.Int) group.Element {
	if !x.IsInt64() || x.BitLen() > 62 {
		return curve.NewElement().Mul(p, curve.NewScalar().SetBigInt(x))
	}
	if x.Sign() < 0 {
		out := times(p, uint(-x.Int64()))
		return out.Neg(out)
	}
	return times(p, uint(x.Int64()))
}
