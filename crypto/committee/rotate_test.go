package committee

import (
	"bytes"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

func mustParse(t testing.TB, s Scaled) *Parsed {
	t.Helper()
	p, err := s.Parse(len(s.Points))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rotate shares again with the given dealers, checking every sub-share.
func rotate(t testing.TB, old Scaled, shares []Share, dealers []int, n, need int) ([]Share, Scaled) {
	t.Helper()
	p, combiner := mustParse(t, old), mustCombiner(t, need, dealers...)
	checked := make([][]Checked, n)
	for _, i := range dealers {
		dealt, points, err := SubDeal([32]byte{byte(i), 9}, old.Points[0], i, shares[i], p, n, need)
		if err != nil {
			t.Fatal(err)
		}
		for j := range n {
			good, wrong := CheckBatch(i, j, need, []Item{{p, Sub{dealt[j], points}}})
			if wrong != nil {
				t.Fatalf("dealer %d, receiver %d: the sub-share is refused", i, j)
			}
			checked[j] = append(checked[j], good[0])
		}
	}
	var next Scaled
	fresh := make([]Share, n)
	for j := range n {
		s, c, err := combiner.Combine(checked[j])
		if err != nil {
			t.Fatal(err)
		}
		if j > 0 && !sameScaled(c, next) {
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
		if !bytes.Equal(committed(t, next), c[0]) {
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

func indexesTo(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

// committed is the owner's commitment to the secret, out of a later epoch.
func committed(t testing.TB, s Scaled) []byte {
	p := mustParse(t, s)
	return encodePoint(curve.NewElement().Mul(p.points[0], curve.NewScalar().Inv(p.scale)))
}

// Any committees, any dealer sets, several rotations: every t of the last epoch
// recover the secret, and no t of two epochs do.
func TestRandomRotations(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for round := range 20 {
		need := 1 + rng.IntN(4)
		n := need + rng.IntN(4)
		secret, shares, c := mustDeal(t, n, need)
		at := Unscaled(c)
		for step := range 3 {
			oldN, oldNeed, old := n, need, shares
			dealers := rng.Perm(n)[:need]
			need = 1 + rng.IntN(4)
			n = need + rng.IntN(4)
			shares, at = rotate(t, at, old, dealers, n, need)
			told := fmt.Sprintf("round %d, step %d: %d of %d to %d of %d by %v", round, step, oldNeed, oldN, need, n, dealers)
			if !bytes.Equal(committed(t, at), c[0]) {
				t.Fatalf("%s: another secret is committed", told)
			}
			some := pick(shares, rng.Perm(n)[:need]...)
			if got, err := Recover(need, some); err != nil || !same(got, secret) {
				t.Fatalf("%s: the secret is lost: %v", told, err)
			}
			if liars, err := OpenScaled(at, need, some, opens(secret)); err != nil || liars != nil {
				t.Errorf("%s: %v, %v", told, liars, err)
			}
			if need == 1 || oldNeed == 1 {
				continue // one share is a whole sharing: there is nothing to mix
			}
			some = pick(shares, rng.Perm(n)[:need]...)
			stale := slices.Sorted(maps.Keys(some))[rng.IntN(need)]
			if some[stale] = old[stale%oldN]; mustParse(t, at).Check(stale, some[stale]) == nil {
				t.Errorf("%s: an old share passes", told)
			}
			if got, err := Recover(need, some); err == nil && same(got, secret) {
				t.Errorf("%s: mixed epochs recovered the secret", told)
			}
		}
	}
}

// The largest indexes, and so many of them that the common denominator and the
// factors no longer fit a machine word.
func TestRotationOfTheLargestCommittee(t *testing.T) {
	const need = 24
	secret, shares, c := mustDeal(t, MaxHolders, need)
	dealers := []int{}
	for i := range need {
		dealers = append(dealers, MaxHolders-1-10*i)
	}
	if _, factors := integerWeights(slices.Sorted(slices.Values(dealers))); !slices.ContainsFunc(factors, func(f *big.Int) bool { return !f.IsInt64() }) {
		t.Fatal("the factors are small")
	}
	fresh, next := rotate(t, Unscaled(c), shares, dealers, 3, 2)
	if !bytes.Equal(committed(t, next), c[0]) {
		t.Error("another secret is committed")
	}
	if got, err := Recover(2, pick(fresh, 0, 2)); err != nil || !same(got, secret) {
		t.Errorf("the secret is lost: %v", err)
	}
	// And once more, from a scale of many digits to the largest indexes.
	wide, _ := rotate(t, next, fresh, []int{1, 2}, MaxHolders, 2)
	if got, err := Recover(2, pick(wide, 0, MaxHolders-1)); err != nil || !same(got, secret) {
		t.Errorf("the secret is lost: %v", err)
	}
}
