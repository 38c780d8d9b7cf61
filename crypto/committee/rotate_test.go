package committee

import (
	"bytes"
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

func indexesTo(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}
