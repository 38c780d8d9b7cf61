package committee

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/cloudflare/circl/group"
)

func mustParse(t testing.TB, s Scaled) *Parsed {
	t.Helper()
	p, err := s.Parse(len(s.Points))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rotate re-shares with the given dealers, checking every sub-share.
func rotate(t testing.TB, old Scaled, shares []Share, dealers []int, n, need int) ([]Share, Scaled) {
	t.Helper()
	p, subs := mustParse(t, old), make([]map[int]Sub, n)
	for _, i := range dealers {
		dealt, c, err := SubDeal([32]byte{byte(i), 9}, []byte("rotation"), i, shares[i], p, n, need)
		if err != nil {
			t.Fatal(err)
		}
		for j := range n {
			if subs[j] == nil {
				subs[j] = map[int]Sub{}
			}
			subs[j][i] = Sub{dealt[j], c}
			if err := CheckSub(i, j, need, Item{p, subs[j][i]}); err != nil {
				t.Fatalf("dealer %d, receiver %d: %v", i, j, err)
			}
		}
	}
	var next Scaled
	fresh := make([]Share, n)
	for j := range n {
		s, c, err := Combine(p, need, subs[j])
		if err != nil {
			t.Fatal(err)
		}
		if j > 0 && (c.Scale != next.Scale || !slices.EqualFunc(c.Points, next.Points, bytes.Equal)) {
			t.Fatal("receivers disagree on the commitments")
		}
		fresh[j], next = s, c
		if err := mustParse(t, c).Check(j, s); err != nil {
			t.Fatalf("new share %d: %v", j, err)
		}
	}
	return fresh, next
}

func TestRotationsKeepTheSecret(t *testing.T) {
	secret, shares, c := mustDeal(t, 4, 3)
	at := Unscaled(c)
	for _, step := range []struct {
		dealers []int
		n, t    int
	}{{[]int{0, 1, 3}, 4, 3}, {[]int{1, 2, 3}, 9, 5}, {[]int{0, 3, 5, 6, 8}, 4, 3}, {[]int{0, 2, 3}, 1, 1}, {[]int{0}, 4, 3}} {
		fresh, next := rotate(t, at, shares, step.dealers, step.n, step.t)
		got, err := Recover(step.t, pick(fresh, indexesTo(step.t)...))
		if err != nil || !same(got, secret) {
			t.Fatalf("%v: the secret is lost: %v", step, err)
		}
		p := mustParse(t, next)
		first := curve.NewElement().Mul(p.points[0], curve.NewScalar().Inv(p.scale))
		if !bytes.Equal(encodePoint(first), c[0]) {
			t.Errorf("%v: another secret is committed", step)
		}
		if step.t == 3 && len(shares) >= 3 {
			mixed := pick(fresh, 0, 1)
			mixed[2] = shares[2]
			if got, err := Recover(3, mixed); err == nil && same(got, secret) {
				t.Error("shares of two epochs recovered the secret")
			}
		}
		shares, at = fresh, next
	}
}

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

func TestBatchNamesExactlyTheWrongOnes(t *testing.T) {
	good := batch(t, 200)
	if wrong := CheckSubs(1, 2, 3, good); wrong != nil {
		t.Fatalf("control: %v", wrong)
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
	if !sumFits(1, 2, 3, cancel, equal) {
		t.Error("control: the errors do not cancel under equal weights")
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

func TestSubDealIsAFunctionOfItsArguments(t *testing.T) {
	_, shares, c := mustDeal(t, 4, 3)
	p := mustParse(t, Unscaled(c))
	a, _, _ := SubDeal([32]byte{1}, []byte("a"), 0, shares[0], p, 4, 3)
	b, _, _ := SubDeal([32]byte{1}, []byte("a"), 0, shares[0], p, 4, 3)
	other, _, _ := SubDeal([32]byte{1}, []byte("b"), 0, shares[0], p, 4, 3)
	if !slices.Equal(a, b) || a[0] == other[0] {
		t.Error("not the same polynomial, or the same for another context")
	}
}

func TestScaleRefused(t *testing.T) {
	_, _, c := mustDeal(t, 4, 3)
	for _, scale := range [][32]byte{{}, order} {
		if _, err := (Scaled{scale, c}).Parse(3); !errors.Is(err, ErrCommitments) {
			t.Errorf("scale %x: %v", scale, err)
		}
	}
}

func BenchmarkSubDeal(b *testing.B) {
	_, shares, c := mustDeal(b, 4, 3)
	p := mustParse(b, Unscaled(c))
	for b.Loop() {
		SubDeal([32]byte{1}, nil, 0, shares[0], p, 4, 3)
	}
}

func BenchmarkCheckSubs300(b *testing.B) {
	items := batch(b, 300)
	for b.Loop() {
		CheckSubs(1, 2, 3, items)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*300), "us/item")
}

func indexesTo(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

func BenchmarkCombine(b *testing.B) {
	_, shares, c := mustDeal(b, 4, 3)
	p, subs := mustParse(b, Unscaled(c)), map[int]Sub{}
	for _, i := range []int{0, 2, 3} {
		dealt, sub, err := SubDeal([32]byte{1}, nil, i, shares[i], p, 4, 3)
		if err != nil {
			b.Fatal(err)
		}
		subs[i] = Sub{dealt[1], sub}
	}
	for b.Loop() {
		Combine(p, 3, subs)
	}
}

func BenchmarkCommit(b *testing.B) {
	s := labelled("s")
	for b.Loop() {
		commit(s, s)
	}
}

func BenchmarkMulGen(b *testing.B) {
	s := labelled("s")
	for b.Loop() {
		curve.NewElement().MulGen(s)
	}
}

func BenchmarkAdd(b *testing.B) {
	p, q := mulH(labelled("p")), mulH(labelled("q"))
	for b.Loop() {
		p.Add(p, q)
	}
}

func BenchmarkDecode(b *testing.B) {
	_, _, c := mustDeal(b, 1, 1)
	for b.Loop() {
		c.points()
	}
}
