package committee

import (
	"crypto/hkdf"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
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
// polynomial. The seed is secret, drawn once a rotation, and destroyed with the old
// shares; context names the rotation (with the record of its receivers) and the
// sharing, and must be unique to them: two records number other validators with
// the same indexes, and t points of one polynomial give it away. The share is not
// checked; a wrong one makes sub-shares that every receiver refuses.
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
