package committee

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/cloudflare/circl/group"
)

func batch(t testing.TB, k int) []Item {
	items := make([]Item, k)
	for i := range items {
		_, shares, c := mustDeal(t, 4, 3)
		p := mustParse(t, Unscaled(c))
		dealt, sub, err := SubDeal([32]byte{1}, []byte{byte(i)}, 1, shares[1], p, 4, 3)
		if err != nil {
			t.Fatal(err)
		}
		items[i] = Item{p, Sub{dealt[2], sub}}
	}
	return items
}

func shift(t testing.TB, it *Item, e group.Scalar) {
	v, err := scalarFrom(it.Sub.Share.Value[:])
	if err != nil {
		t.Fatal(err)
	}
	it.Sub.Share.Value = encodeScalar(v.Add(v, e))
}

func decodeAll(t testing.TB, items []Item) (out []*decoded) {
	for _, it := range items {
		d, err := it.decode(1, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

func TestBatchNamesExactlyTheWrongOnes(t *testing.T) {
	good := batch(t, 200)
	if wrong := CheckSubs(1, 2, 3, good); wrong != nil {
		t.Fatalf("control: %v", wrong)
	}
	unequal := make([]byte, 16*len(good))
	for i := range unequal {
		unequal[i] = byte(7 * i)
	}
	if !sumFits(decodeAll(t, good), unequal) {
		t.Error("control: the sum over right ones does not fit, so each is checked by itself")
	}
	e := labelled("error")
	one := slices.Clone(good)
	shift(t, &one[17], e)
	if wrong := CheckSubs(1, 2, 3, one); !slices.Equal(wrong, []int{17}) {
		t.Errorf("one wrong: %v", wrong)
	}
	swapped := slices.Clone(good)
	swapped[3].Sub, swapped[4].Sub = swapped[4].Sub, swapped[3].Sub
	if wrong := CheckSubs(1, 2, 3, swapped); !slices.Equal(wrong, []int{3, 4}) {
		t.Errorf("another deposit's: %v", wrong)
	}
	cancel := slices.Clone(good)
	shift(t, &cancel[5], e)
	shift(t, &cancel[9], curve.NewScalar().Neg(e))
	equal := bytes.Repeat(append([]byte{1}, make([]byte, 15)...), len(good))
	if !sumFits(decodeAll(t, cancel), equal) {
		t.Error("control: the errors do not cancel under equal weights")
	}
	if sumFits(decodeAll(t, cancel), unequal) {
		t.Error("errors cancel under unequal weights")
	}
	if wrong := CheckSubs(1, 2, 3, cancel); !slices.Equal(wrong, []int{5, 9}) {
		t.Errorf("errors that cancel: %v", wrong)
	}
	for _, i := range [][2]int{{0, 2}, {1, 1}, {-1, 2}, {1, -1}, {1, MaxHolders}} {
		if len(CheckSubs(i[0], i[1], 3, good[:3])) != 3 {
			t.Errorf("dealer %d, receiver %d passes", i[0], i[1])
		}
	}
}

// What a dealer may send beside a wrong sub-share: every part in every wrong form,
// alone and in a batch of good ones.
func TestWrongSubsAreRefused(t *testing.T) {
	good := batch(t, 5)
	identity := make([]byte, size)
	negative := bytes.Clone(good[2].Sub.Commitments[0])
	negative[0] |= 1
	with := func(change func(*Sub)) Item {
		it := good[2]
		it.Sub.Commitments = slices.Clone(it.Sub.Commitments)
		change(&it.Sub)
		return it
	}
	point := func(j int, b []byte) Item { return with(func(s *Sub) { s.Commitments[j] = b }) }
	for name, c := range map[string]struct {
		it   Item
		want error
	}{
		"another deposit's point":         {point(0, good[3].Sub.Commitments[0]), ErrShare},
		"the other coefficient's point":   {point(1, good[2].Sub.Commitments[0]), ErrShare},
		"the identity":                    {point(0, identity), ErrCommitments},
		"the identity as the last point":  {point(1, identity), ErrCommitments},
		"a negative encoding":             {point(0, negative), ErrCommitments},
		"no point":                        {point(0, nil), ErrCommitments},
		"a point too few":                 {with(func(s *Sub) { s.Commitments = s.Commitments[:1] }), ErrCommitments},
		"a point too many":                {with(func(s *Sub) { s.Commitments = append(s.Commitments, s.Commitments[0]) }), ErrCommitments},
		"points of nothing":               {with(func(s *Sub) { s.Commitments = nil }), ErrCommitments},
		"value and blinding swapped":      {with(func(s *Sub) { s.Share = Share{s.Share.Blinding, s.Share.Value} }), ErrShare},
		"a value that is not a scalar":    {with(func(s *Sub) { s.Share.Value = order }), ErrShare},
		"a blinding that is not a scalar": {with(func(s *Sub) { s.Share.Blinding = order }), ErrShare},
		"nothing":                         {with(func(s *Sub) { *s = Sub{} }), ErrCommitments},
		"the old sharing of another":      {Item{good[3].Old, good[2].Sub}, ErrShare},
	} {
		if err := CheckSub(1, 2, 3, c.it); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		items := slices.Clone(good)
		items[2] = c.it
		checked, wrong := CheckBatch(1, 2, 3, items)
		if !slices.Equal(wrong, []int{2}) {
			t.Errorf("%s: in a batch %v are wrong", name, wrong)
		}
		for k, got := range checked {
			if (got.sub == nil) != (k == 2) {
				t.Errorf("%s: item %d", name, k)
			}
		}
	}
	if err := CheckSub(1, 2, 3, good[2]); err != nil {
		t.Errorf("control: %v", err)
	}
	for _, need := range []int{-1, 0, 1, 2, 4} {
		if err := CheckSub(1, 2, need, good[2]); !errors.Is(err, ErrCommitments) {
			t.Errorf("%d needed: %v", need, err)
		}
	}
}

func TestAnEmptyBatchIsRight(t *testing.T) {
	if good, wrong := CheckBatch(1, 2, 3, nil); len(good) != 0 || len(wrong) != 0 {
		t.Errorf("%v, %v", good, wrong)
	}
}

// Both widths of the buckets, against circl's product with each point.
func TestWeightedIsASumOfProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{0, 1, 2, 17, manyPoints, manyPoints + 1} {
		points, weights := make([]group.Element, n), make([]byte, 16*n)
		for i := range weights {
			weights[i] = byte(rng.Uint32())
		}
		want := curve.Identity()
		for k := range points {
			points[k] = curve.NewElement().MulGen(curve.NewScalar().SetUint64(rng.Uint64()))
			switch k {
			case 1:
				clear(weights[16:32])
			case 2:
				copy(weights[32:48], bytes.Repeat([]byte{0xff}, 16))
			case 3:
				points[k] = points[0].Copy()
			case 4:
				points[k] = curve.Identity()
			}
			w, err := scalarFrom(append(bytes.Clone(weights[16*k:16*k+16]), make([]byte, 16)...))
			if err != nil {
				t.Fatal(err)
			}
			want.Add(want, curve.NewElement().Mul(points[k], w))
		}
		if !weighted(points, weights).IsEqual(want) {
			t.Errorf("the sum of %d points is wrong", n)
		}
	}
}

// A sub-dealing from the wire: whatever its bytes are, it is refused or it is the
// one that was dealt, and one check and the batch agree.
func FuzzSub(f *testing.F) {
	_, shares, c := fixedDealing()
	old, err := Unscaled(c).Parse(3)
	if err != nil {
		f.Fatal(err)
	}
	dealt, points, err := SubDeal([32]byte{1}, []byte("fuzz"), 1, shares[1], old, 4, 3)
	if err != nil {
		f.Fatal(err)
	}
	flat := bytes.Join(points, nil)
	for i, s := range dealt {
		f.Add(1, i, s.Value[:], s.Blinding[:], flat)
	}
	f.Add(-1, 0, order[:], order[:], flat)
	f.Add(1, MaxHolders, make([]byte, 32), make([]byte, 32), make([]byte, 64))
	f.Fuzz(func(t *testing.T, dealer, receiver int, value, blinding, points []byte) {
		if len(value) != size || len(blinding) != size {
			return
		}
		sub := Sub{Share: Share{[size]byte(value), [size]byte(blinding)}}
		for p := range slices.Chunk(points, size) {
			sub.Commitments = append(sub.Commitments, p)
		}
		single := CheckSub(dealer, receiver, 3, Item{old, sub})
		good, wrong := CheckBatch(dealer, receiver, 3, []Item{{old, sub}})
		if (single == nil) != (len(wrong) == 0) || (single == nil) != (good[0].sub != nil) {
			t.Fatalf("alone %v, in a batch %v", single, wrong)
		}
		if single != nil && !errors.Is(single, ErrShare) && !errors.Is(single, ErrCommitments) {
			t.Errorf("an error that blames nobody: %v", single)
		}
		if single == nil && dealer == 1 && bytes.Equal(points, flat) && (receiver >= len(dealt) || sub.Share != dealt[receiver]) {
			t.Error("a sub-share that was never dealt passes")
		}
		_, out, err := Combine(old, 3, map[int]Sub{dealer: sub, 0: sub, 3: sub})
		if err == nil {
			if _, err := out.Parse(3); err != nil {
				t.Errorf("combined to what does not decode: %v", err)
			}
		}
	})
}

func BenchmarkCheckBatch(b *testing.B) {
	for _, n := range []int{1, 30, 300, 2000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			items := batch(b, n)
			for b.Loop() {
				if _, wrong := CheckBatch(1, 2, 3, items); wrong != nil {
					b.Fatal(wrong)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/item")
		})
	}
}

// One wrong in 300: the price that a liar can make a receiver pay, once.
func BenchmarkCheckBatchWithALie(b *testing.B) {
	items := batch(b, 300)
	shift(b, &items[17], labelled("error"))
	for b.Loop() {
		if _, wrong := CheckBatch(1, 2, 3, items); len(wrong) != 1 {
			b.Fatal(wrong)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*300), "us/item")
}
