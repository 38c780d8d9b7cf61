package committee

import (
	"bytes"
	"errors"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
)

// rotation is one sharing and what each of some dealers dealt from it.
type rotation struct {
	secret Secret
	shares []Share
	old    *Parsed
	need   int // anew
	subs   map[int][]Sub
}

func newRotation(t testing.TB, n, need, newN, newNeed int, dealers ...int) *rotation {
	t.Helper()
	secret, shares, c := mustDeal(t, n, need)
	r := &rotation{secret, shares, mustParse(t, Unscaled(c)), newNeed, map[int][]Sub{}}
	for _, i := range dealers {
		dealt, points, err := SubDeal([32]byte{byte(i), 7}, []byte("rotation"), i, shares[i], r.old, newN, newNeed)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range dealt {
			r.subs[i] = append(r.subs[i], Sub{s, points})
		}
	}
	return r
}

// at are the sub-shares of some dealers for one receiver.
func (r *rotation) at(receiver int, dealers ...int) map[int]Sub {
	m := map[int]Sub{}
	for _, i := range dealers {
		m[i] = r.subs[i][receiver]
	}
	return m
}

func (r *rotation) checked(t testing.TB, receiver int, dealers ...int) (out []Checked) {
	t.Helper()
	for _, i := range dealers {
		good, wrong := CheckBatch(i, receiver, r.need, []Item{{r.old, r.subs[i][receiver]}})
		if wrong != nil {
			t.Fatalf("the sub-share of dealer %d for %d is wrong", i, receiver)
		}
		out = append(out, good[0])
	}
	return out
}

func mustCombiner(t testing.TB, need int, dealers ...int) *Combiner {
	t.Helper()
	c, err := NewCombiner(dealers, need)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sameScaled(a, b Scaled) bool {
	return a.Scale == b.Scale && slices.EqualFunc(a.Points, b.Points, bytes.Equal)
}

func TestCombinerAgreesWithCombine(t *testing.T) {
	r := newRotation(t, 5, 3, 6, 4, 0, 2, 4)
	c := mustCombiner(t, 4, 4, 0, 2)
	subs := r.checked(t, 5, 2, 4, 0) // in no order
	share, next, err := c.Combine(subs)
	if err != nil {
		t.Fatal(err)
	}
	again, same, err := Combine(r.old, 4, r.at(5, 0, 2, 4))
	if err != nil || again != share || !sameScaled(next, same) {
		t.Errorf("they differ: %v", err)
	}
	if err := mustParse(t, next).Check(5, share); err != nil {
		t.Error(err)
	}
	// Another decoding of the same old commitments is the same sharing.
	scale, points := curve.NewScalar().Set(r.old.scale), make(points, len(r.old.points))
	for j := range points {
		points[j] = curve.NewElement().Set(r.old.points[j])
	}
	r.old = &Parsed{scale, points}
	if again, _, err := c.Combine(append(r.checked(t, 5, 2), subs[1:]...)); err != nil || again != share {
		t.Errorf("decoded once more: %v", err)
	}
}

func TestCombinerRefuses(t *testing.T) {
	r, other := newRotation(t, 5, 3, 4, 3, 0, 1, 2, 3), newRotation(t, 5, 3, 4, 3, 0)
	wider, few := newRotation(t, 5, 3, 4, 4, 0, 1, 2), newRotation(t, 5, 2, 4, 3, 0, 1, 2)
	c := mustCombiner(t, 3, 0, 1, 2)
	for name, tc := range map[string]struct {
		subs []Checked
		want string
	}{
		"none":                 {nil, ErrNotEnough{3, 0}.Error()},
		"one too few":          {r.checked(t, 1, 0, 2), ErrNotEnough{3, 2}.Error()},
		"one too many":         {r.checked(t, 1, 0, 1, 2, 3), "not in the set"},
		"another dealer":       {r.checked(t, 1, 0, 1, 3), "not in the set"},
		"a dealer twice":       {r.checked(t, 1, 0, 1, 1), "twice"},
		"unchecked":            {append(r.checked(t, 1, 0, 1), Checked{}), "not checked"},
		"another receiver's":   {append(r.checked(t, 1, 0, 1), r.checked(t, 2, 2)...), "two receivers"},
		"another sharing's":    {append(r.checked(t, 1, 1, 2), other.checked(t, 1, 0)...), "two sharings"},
		"dealt for more":       {wider.checked(t, 1, 0, 1, 2), "are needed"},
		"a sharing needs less": {few.checked(t, 1, 0, 1, 2), "needs 2"},
	} {
		share, _, err := c.Combine(tc.subs)
		if err == nil || !strings.Contains(err.Error(), tc.want) || share != (Share{}) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	if _, _, err := c.Combine(r.checked(t, 1, 0, 1, 2)); err != nil {
		t.Errorf("control: %v", err)
	}
	for name, dealers := range map[string][]int{"nobody": nil, "twice": {0, 1, 1}, "negative": {-1, 0, 1}, "too large": {0, 1, MaxHolders}} {
		if _, err := NewCombiner(dealers, 3); err == nil {
			t.Errorf("a set of dealers: %s", name)
		}
	}
	for _, need := range []int{-1, 0, MaxHolders + 1} {
		if _, err := NewCombiner([]int{0, 1}, need); err == nil {
			t.Errorf("%d are needed", need)
		}
	}
}

func TestCombineRefusesWhatItCanSee(t *testing.T) {
	r := newRotation(t, 5, 3, 4, 3, 0, 1, 2, 3)
	good := r.at(1, 0, 1, 2)
	with := func(change func(map[int]Sub)) map[int]Sub {
		m := maps.Clone(good)
		change(m)
		return m
	}
	var lack ErrNotEnough
	if _, _, err := Combine(r.old, 3, r.at(1, 0, 1)); !errors.As(err, &lack) {
		t.Errorf("two dealers of three: %v", err)
	}
	identity := make([]byte, size)
	for name, m := range map[string]map[int]Sub{
		"a dealer too many":        r.at(1, 0, 1, 2, 3),
		"an index out of range":    with(func(m map[int]Sub) { m[MaxHolders] = m[2]; delete(m, 2) }),
		"a negative index":         with(func(m map[int]Sub) { m[-1] = m[2]; delete(m, 2) }),
		"a point is the identity":  with(func(m map[int]Sub) { m[1] = Sub{m[1].Share, Commitments{identity, identity}} }),
		"a point is missing":       with(func(m map[int]Sub) { m[1] = Sub{m[1].Share, m[1].Commitments[:1]} }),
		"a value is not a scalar":  with(func(m map[int]Sub) { m[1] = Sub{Share{Value: order}, m[1].Commitments} }),
		"a blinding is not either": with(func(m map[int]Sub) { m[1] = Sub{Share{Blinding: order}, m[1].Commitments} }),
	} {
		if _, _, err := Combine(r.old, 3, m); err == nil {
			t.Errorf("%s: combined", name)
		}
	}
	if _, _, err := Combine(r.old, 0, good); err == nil {
		t.Error("none are needed")
	}
}

// Combine sees no wrong sub-share, and says so. What it makes of one does not fit,
// which is how a caller that did not check would notice, without knowing whom to blame.
func TestUncheckedSubsGiveAShareThatDoesNotFit(t *testing.T) {
	r := newRotation(t, 5, 3, 4, 3, 0, 1, 2)
	fits := func(m map[int]Sub) bool {
		share, next, err := Combine(r.old, 3, m)
		if err != nil {
			t.Fatal(err)
		}
		return mustParse(t, next).Check(1, share) == nil
	}
	if !fits(r.at(1, 0, 1, 2)) {
		t.Fatal("control: does not fit")
	}
	swapped := r.at(1, 0, 1, 2)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	if fits(swapped) {
		t.Error("two dealers swapped: fits")
	}
	if CheckSub(0, 1, 3, Item{r.old, swapped[0]}) == nil || CheckSub(1, 1, 3, Item{r.old, swapped[1]}) == nil {
		t.Error("two dealers swapped: they pass the check")
	}
	mixed := r.at(1, 0, 1)
	mixed[2] = r.subs[2][2]
	if fits(mixed) {
		t.Error("another receiver's sub-share: fits")
	}
	borrowed := r.at(1, 0, 1, 2)
	borrowed[2] = Sub{borrowed[2].Share, borrowed[1].Commitments}
	if fits(borrowed) {
		t.Error("another dealer's points: fits")
	}
}

func TestCombinerIsSharedByGoroutines(t *testing.T) {
	r := newRotation(t, 4, 3, 4, 3, 0, 1, 3)
	c := mustCombiner(t, 3, 0, 1, 3)
	var subs [4][]Checked
	for j := range subs {
		subs[j] = r.checked(t, j, 0, 1, 3)
	}
	var next [8]Scaled
	var all sync.WaitGroup
	for k := range next {
		all.Go(func() {
			var err error
			if _, next[k], err = c.Combine(subs[k/2]); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for k := range next {
		if !sameScaled(next[k], next[0]) {
			t.Error("receivers disagree on the commitments")
		}
	}
}

// weights, integerWeights and circl's Lagrange basis must be the same numbers,
// also where the integers do not fit a machine word.
func TestWeightsAgree(t *testing.T) {
	large := []int{}
	for i := range 40 {
		large = append(large, 3+i*6)
	}
	words := 0
	for _, indexes := range [][]int{{0}, {7}, {0, 1}, {0, 1, 3}, {0, 2, 3}, {1, 2, 3}, {0, 255}, {250, 251, 252, 253, 254, 255}, large} {
		xs := []group.Scalar{}
		for _, i := range indexes {
			xs = append(xs, position(i))
		}
		scale, factors := integerWeights(indexes)
		if scale.Sign() <= 0 {
			t.Errorf("%v: the scale is %v", indexes, scale)
		}
		divisor := new(big.Int).Set(scale)
		for i, w := range weights(indexes) {
			if !w.IsEqual(polynomial.LagrangeBase(uint(i), xs, curve.NewScalar())) {
				t.Errorf("%v: weight %d differs from circl's", indexes, i)
			}
			if !curve.NewScalar().SetBigInt(factors[i]).IsEqual(w.Mul(w, curve.NewScalar().SetBigInt(scale))) {
				t.Errorf("%v: factor %d is not the weight times the scale", indexes, i)
			}
			if !factors[i].IsInt64() {
				words++
			}
			divisor.GCD(nil, nil, divisor, new(big.Int).Abs(factors[i]))
		}
		if divisor.Cmp(big.NewInt(1)) != 0 {
			t.Errorf("%v: the scale is not the least one, by %v", indexes, divisor)
		}
	}
	if words == 0 {
		t.Error("no case had factors beyond 64 bits")
	}
}

func TestProductIsMultiplication(t *testing.T) {
	p := mulH(labelled("point"))
	one := big.NewInt(1)
	for _, bits := range []uint{0, 1, 2, 8, 61, 62, 63, 64, 65, 200, 251, 260} {
		for _, add := range []int64{-1, 0, 1} {
			x := new(big.Int).Add(new(big.Int).Lsh(one, bits), big.NewInt(add))
			for _, x := range []*big.Int{x, new(big.Int).Neg(x)} {
				if !product(p, x).IsEqual(curve.NewElement().Mul(p, curve.NewScalar().SetBigInt(x))) {
					t.Errorf("%v * point is wrong", x)
				}
			}
		}
	}
}

func BenchmarkCombine(b *testing.B) {
	r := newRotation(b, 4, 3, 4, 3, 0, 2, 3)
	subs := r.at(1, 0, 2, 3)
	for b.Loop() {
		if _, _, err := Combine(r.old, 3, subs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCombiner(b *testing.B) {
	for name, c := range map[string]struct {
		n, need int
		dealers []int
	}{"3of4": {4, 3, []int{0, 1, 3}}, "7of10": {10, 7, []int{0, 1, 3, 5, 6, 8, 9}}} {
		b.Run(name, func(b *testing.B) {
			r := newRotation(b, c.n, c.need, c.n, c.need, c.dealers...)
			checked, combiner := r.checked(b, 1, c.dealers...), mustCombiner(b, c.need, c.dealers...)
			for b.Loop() {
				if _, _, err := combiner.Combine(checked); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
