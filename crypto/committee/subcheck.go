package committee

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/cloudflare/circl/group"
)

// Item is one sub-share to check: the old sharing that it comes from, and what
// the dealer sent. Nothing in Sub is trusted.
type Item struct {
	Old *Parsed
	Sub Sub
}

// Checked is a sub-share that fits its old sharing at the dealer and the receiver
// for which it was checked. It keeps the decoded points for [Combiner.Combine].
// The zero value is no sub-share and does not combine. A Checked is read only
// and does not print itself.
type Checked struct{ sub *decoded }

// String never shows the sub-share.
func (Checked) String() string { return "committee.Checked(hidden)" }

// GoString never shows the sub-share.
func (c Checked) GoString() string { return c.String() }

// Format never shows the sub-share, whatever the verb.
func (c Checked) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// decoded is a sub-share of which every part is canonical, but which may be wrong.
type decoded struct {
	dealer, receiver int
	old              *Parsed
	value, blinding  group.Scalar
	points           points // for the coefficients 1 to t'-1
}

func (it Item) decode(dealer, receiver, t int) (*decoded, error) {
	if dealer < 0 || dealer >= MaxHolders || receiver < 0 || receiver >= MaxHolders {
		return nil, fmt.Errorf("%w: no validator has the index %d or %d", ErrShare, dealer, receiver)
	}
	if t < 1 || len(it.Sub.Commitments) != t-1 {
		return nil, fmt.Errorf("%w: a sub-dealing has %d points where %d shares are needed", ErrCommitments, len(it.Sub.Commitments), t)
	}
	d := &decoded{dealer: dealer, receiver: receiver, old: it.Old}
	var err error
	if d.value, err = scalarFrom(it.Sub.Share.Value[:]); err != nil {
		return nil, err
	}
	if d.blinding, err = scalarFrom(it.Sub.Share.Blinding[:]); err != nil {
		return nil, err
	}
	if t > 1 {
		if d.points, err = it.Sub.Commitments.points(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// left and right are the two sides of the check, the left one as the scalars of G
// and H: the scaled sub-share, and the old commitments at the dealer and then what
// the dealer sent, at the receiver.
func (d *decoded) left() (value, blinding group.Scalar) {
	v, b := curve.NewScalar(), curve.NewScalar()
	return v.Mul(d.value, d.old.scale), b.Mul(d.blinding, d.old.scale)
}

func (d *decoded) right() group.Element {
	first := d.old.points.at(uint(d.dealer) + 1)
	return append(points{first}, d.points...).at(uint(d.receiver) + 1)
}

func (d *decoded) fits() bool { return commit(d.left()).IsEqual(d.right()) }

// CheckSub reports whether a sub-share of a dealer for a receiver (0-based
// indexes in the old and the new record) is right; t is needed anew. An error is
// [ErrShare] or [ErrCommitments], and the dealer's fault if it signed the Sub.
func CheckSub(dealer, receiver, t int, it Item) error {
	d, err := it.decode(dealer, receiver, t)
	if err != nil {
		return err
	}
	if !d.fits() {
		return ErrShare
	}
	return nil
}

// CheckSubs is [CheckBatch] for whoever does not combine.
func CheckSubs(dealer, receiver, t int, items []Item) (wrong []int) {
	_, wrong = CheckBatch(dealer, receiver, t, items)
	return wrong
}

// CheckBatch checks many sub-shares of one dealer for one receiver at the price of
// little more than decoding them. It returns the positions of the wrong ones in
// ascending order, and at every other position of good the checked sub-share. A
// wrong one passes with probability 2^-128: the sum over all is weighted by
// numbers that the dealer cannot foresee (Bellare, Garay and Rabin 1998, the small
// exponents test; the order of the group is prime, as it requires). If the sum
// does not fit, each is checked by itself, at three times the price. A batch takes
// about 4 KB of memory an item; a few hundred items are nearly as fast as more.
func CheckBatch(dealer, receiver, t int, items []Item) (good []Checked, wrong []int) {
	good = make([]Checked, len(items))
	subs := make([]*decoded, 0, len(items))
	for k, it := range items {
		if d, err := it.decode(dealer, receiver, t); err == nil {
			good[k] = Checked{d}
			subs = append(subs, d)
		}
	}
	random := make([]byte, 16*len(subs))
	rand.Read(random) // it never fails (crypto/rand)
	fit := len(subs) > 1 && sumFits(subs, random)
	for k, c := range good {
		if c.sub == nil || !fit && !c.sub.fits() {
			good[k] = Checked{}
			wrong = append(wrong, k)
		}
	}
	return good, wrong
}

// sumFits compares both sides of all checks, each weighted by 16 bytes.
func sumFits(subs []*decoded, weights []byte) bool {
	right := make([]group.Element, len(subs))
	value, blinding, w := curve.NewScalar(), curve.NewScalar(), curve.NewScalar()
	for k, d := range subs {
		var wide [size]byte
		copy(wide[:], weights[16*k:16*k+16])
		if err := w.UnmarshalBinary(wide[:]); err != nil {
			panic("committee: a number of 16 bytes is not canonical")
		}
		v, b := d.left()
		value.Add(value, v.Mul(v, w))
		blinding.Add(blinding, b.Mul(b, w))
		right[k] = d.right()
	}
	return commit(value, blinding).IsEqual(weighted(right, weights))
}

// manyPoints is where buckets of one byte begin to be faster.
const manyPoints = 450

// weighted is the sum of points times their 16-byte little-endian weights, by
// Pippenger's buckets of one byte or, for few points, of four bits. All is public.
func weighted(p []group.Element, weights []byte) group.Element {
	bits := 4
	if len(p) > manyPoints {
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
