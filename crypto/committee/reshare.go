package committee

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/cloudflare/circl/group"
)

// subDealDomain separates the coefficients of sub-dealings from every other use of a seed.
const subDealDomain = "cerebrum.dev/committee/sub-deal/v1"

// Sub is what one dealer sends one receiver for one sharing: the sub-share, and
// commitments to the coefficients 1 to t'-1. The commitment to coefficient 0 is
// never sent; it is the old commitments evaluated at the dealer.
type Sub struct {
	Share       Share
	Commitments Commitments
}

// SubDeal shares the share s of the dealer with a 0-based index once more, among
// n new holders of whom t are needed. It is a function of its arguments: a dealer
// that keeps its seed gives every receiver, and after every restart, the same
// polynomial. The seed is secret and drawn once a rotation; context names the
// rotation and the sharing and must be unique to them. It does not check s.
func SubDeal(seed [32]byte, context []byte, dealer int, s Share, old *Parsed, n, t int) ([]Share, Commitments, error) {
	if t < 1 || n < t || n > MaxHolders || dealer < 0 || dealer >= MaxHolders {
		return nil, nil, fmt.Errorf("dealer %d cannot deal %d of %d sub-shares", dealer, t, n)
	}
	value, blinding := make([]group.Scalar, t), make([]group.Scalar, t)
	var err error
	if value[0], err = scalarFrom(s.Value[:]); err != nil {
		return nil, nil, err
	}
	if blinding[0], err = scalarFrom(s.Blinding[:]); err != nil {
		return nil, nil, err
	}
	// The share goes into the key: were a context ever used for two shares, their
	// polynomials would still have nothing in common.
	key := slices.Concat(seed[:], s.Value[:], s.Blinding[:])
	commitments := make(Commitments, t-1)
	v, b := curve.NewScalar(), curve.NewScalar()
	for m := 1; m < t; m++ {
		value[m] = coefficient(key, context, dealer, t, m, 0)
		blinding[m] = coefficient(key, context, dealer, t, m, 1)
		commitments[m-1] = encodePoint(commit(v.Mul(old.scale, value[m]), b.Mul(old.scale, blinding[m])))
	}
	return evaluate(value, blinding, n), commitments, nil
}

// coefficient draws a scalar from 64 bytes. What follows the context has a fixed
// length, so no two inputs give one info string.
func coefficient(key, context []byte, dealer, t, m, which int) group.Scalar {
	info := append([]byte(subDealDomain), context...)
	for _, i := range []int{dealer, t, m, which} {
		info = binary.BigEndian.AppendUint16(info, uint16(i))
	}
	b, err := hkdf.Key(sha512.New, key, nil, string(info), 64)
	if err != nil {
		panic("committee: HKDF: " + err.Error()) // 64 bytes are within its limit
	}
	return reduce([64]byte(b))
}

// reduce is a little-endian number modulo the order, without math/big, whose
// time depends on its operands: three pieces that are canonical by their size.
func reduce(b [64]byte) group.Scalar {
	piece := func(b []byte) group.Scalar {
		var wide [size]byte
		copy(wide[:], b)
		s, err := scalarFrom(wide[:])
		if err != nil {
			panic("committee: a number of 22 bytes is not canonical")
		}
		return s
	}
	var power [size]byte
	power[21] = 1
	shift := piece(power[:22])
	sum := piece(b[42:])
	sum.Mul(sum, shift)
	sum.Add(sum, piece(b[21:42]))
	sum.Mul(sum, shift)
	return sum.Add(sum, piece(b[:21]))
}

// Item is one sub-share to check: the old sharing that it comes from, and what
// the dealer sent.
type Item struct {
	Old *Parsed
	Sub Sub
}

// link is the sharing that a dealer's sub-shares must fit: the old commitments at
// the dealer, then what the dealer sent.
func (it Item) link(dealer, t int) (*Parsed, error) {
	if dealer < 0 || dealer >= MaxHolders || t < 1 || len(it.Sub.Commitments) != t-1 {
		return nil, fmt.Errorf("%w: dealer %d, %d points", ErrCommitments, dealer, len(it.Sub.Commitments))
	}
	all := points{it.Old.points.at(uint(dealer) + 1)}
	if t > 1 {
		p, err := it.Sub.Commitments.points()
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return &Parsed{it.Old.scale, all}, nil
}

// CheckSub reports whether a sub-share of a dealer for a receiver (0-based
// indexes in the old and the new record) is right; t is needed anew. An error is
// [ErrShare] or [ErrCommitments], and the dealer's fault if it signed the Sub.
func CheckSub(dealer, receiver, t int, it Item) error {
	p, err := it.link(dealer, t)
	if err != nil {
		return err
	}
	return p.Check(receiver, it.Sub.Share)
}

// CheckSubs checks many sub-shares of one dealer for one receiver at the price of
// little more than decoding them, and returns the positions of the wrong ones. A
// wrong one passes with probability 2^-128: the sum over all is weighted by
// numbers that the dealer cannot foresee (Bellare, Garay and Rabin 1998).
func CheckSubs(dealer, receiver, t int, items []Item) (wrong []int) {
	weights := make([]byte, 16*len(items))
	rand.Read(weights) // it never fails (crypto/rand)
	if receiver < 0 || receiver >= MaxHolders || !sumFits(dealer, receiver, t, items, weights) {
		for k, it := range items {
			if CheckSub(dealer, receiver, t, it) != nil {
				wrong = append(wrong, k)
			}
		}
	}
	return wrong
}

// sumFits compares both sides of all checks, each weighted by 16 bytes.
func sumFits(dealer, receiver, t int, items []Item, weights []byte) bool {
	want := make([]group.Element, len(items))
	value, blinding := curve.NewScalar(), curve.NewScalar()
	for k, it := range items {
		p, err := it.link(dealer, t)
		if err != nil {
			return false
		}
		v, b, err := p.scaled(it.Sub.Share)
		if err != nil {
			return false
		}
		var wide [size]byte
		copy(wide[:], weights[16*k:16*k+16])
		w, err := scalarFrom(wide[:])
		if err != nil {
			return false
		}
		value.Add(value, v.Mul(v, w))
		blinding.Add(blinding, b.Mul(b, w))
		want[k] = p.points.at(uint(receiver) + 1)
	}
	return commit(value, blinding).IsEqual(weighted(want, weights))
}

// weighted is the sum of points times their 16-byte little-endian weights, by
// Pippenger's buckets of one byte or, for few points, of four bits. All is public.
func weighted(p []group.Element, weights []byte) group.Element {
	bits := 4
	if len(p) > 150 {
		bits = 8
	}
	sum := curve.Identity()
	for at := 128 - bits; at >= 0; at -= bits {
		for range bits {
			sum.Dbl(sum)
		}
		buckets := make([]group.Element, 1<<bits)
		for k := range p {
			d := int(weights[16*k+at/8]>>(at%8)) & (1<<bits - 1)
			if buckets[d] == nil {
				buckets[d] = p[k].Copy()
			} else if d > 0 {
				buckets[d].Add(buckets[d], p[k])
			}
		}
		run := curve.Identity()
		for d := len(buckets) - 1; d > 0; d-- {
			if buckets[d] != nil {
				run.Add(run, buckets[d])
			}
			sum.Add(sum, run)
		}
	}
	return sum
}

// Combine makes the new share of one receiver and the new commitments, which are
// the same for all receivers, from checked sub-shares of exactly as many dealers
// as the old sharing needs, keyed by 0-based index. It checks no sub-share.
func Combine(old *Parsed, t int, subs map[int]Sub) (Share, Scaled, error) {
	if len(subs) != len(old.points) {
		return Share{}, Scaled{}, ErrNotEnough{Need: len(old.points), Good: len(subs)}
	}
	dealers := slices.Sorted(maps.Keys(subs))
	if dealers[0] < 0 || dealers[len(dealers)-1] >= MaxHolders || t < 1 {
		return Share{}, Scaled{}, fmt.Errorf("%w: an index is out of range", ErrShare)
	}
	scale, factors := integerWeights(dealers)
	first := product(old.points[0], scale) // the E_i interpolate to the old C[0]
	out := Scaled{encodeScalar(curve.NewScalar().Mul(old.scale, curve.NewScalar().SetBigInt(scale))), Commitments{encodePoint(first)}}
	sums := make(points, t-1)
	for m := range sums {
		sums[m] = curve.Identity()
	}
	value, blinding := curve.NewScalar(), curve.NewScalar()
	unscaled := &Parsed{scale: curve.NewScalar().SetUint64(1)}
	for i, lambda := range weights(dealers) {
		sub := subs[dealers[i]]
		v, b, err := unscaled.scaled(sub.Share)
		if err != nil {
			return Share{}, Scaled{}, err
		}
		value.Add(value, v.Mul(v, lambda))
		blinding.Add(blinding, b.Mul(b, lambda))
		link, err := Item{old, sub}.link(dealers[i], t)
		if err != nil {
			return Share{}, Scaled{}, err
		}
		for m := range sums {
			sums[m].Add(sums[m], product(link.points[m+1], factors[i]))
		}
	}
	for _, p := range sums {
		if p.IsIdentity() {
			return Share{}, Scaled{}, fmt.Errorf("%w: they add up to the identity", ErrCommitments)
		}
		out.Points = append(out.Points, encodePoint(p))
	}
	return Share{encodeScalar(value), encodeScalar(blinding)}, out, nil
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
