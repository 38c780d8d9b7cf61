package committee

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
)

// scaledDealing is a dealing whose commitments are multiplied by its scale.
func scaledDealing(t testing.TB, n, need int, by uint64) (Secret, []Share, Scaled) {
	t.Helper()
	secret, shares, c := mustDeal(t, n, need)
	p, err := c.points()
	if err != nil {
		t.Fatal(err)
	}
	scale := curve.NewScalar().SetUint64(by)
	out := Scaled{Scale: encodeScalar(scale)}
	for j := range p {
		out.Points = append(out.Points, encodePoint(p[j].Mul(p[j], scale)))
	}
	return secret, shares, out
}

func TestScaleRefused(t *testing.T) {
	_, _, c := mustDeal(t, 4, 3)
	identity := slices.Clone(c)
	identity[1] = make([]byte, size)
	for name, s := range map[string]Scaled{
		"a scale of zero":             {[32]byte{}, c},
		"a scale that is the order":   {order, c},
		"a scale of ones":             {[32]byte(bytes.Repeat([]byte{0xff}, 32)), c},
		"a point that is no point":    {[32]byte{1}, Commitments{c[0], c[1], nil}},
		"a point that is the neutral": {[32]byte{1}, identity},
		"a point too few":             Unscaled(c[:2]),
		"a point too many":            Unscaled(append(slices.Clone(c), c[0])),
		"no points":                   Unscaled(nil),
	} {
		if p, err := s.Parse(3); !errors.Is(err, ErrCommitments) || p != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, need := range []int{-1, 0, MaxHolders + 1} {
		if _, err := Unscaled(make(Commitments, max(need, 0))).Parse(need); !errors.Is(err, ErrCommitments) {
			t.Errorf("%d needed: %v", need, err)
		}
	}
	if _, err := Unscaled(c).Parse(3); err != nil {
		t.Errorf("control: %v", err)
	}
}

func TestScaleIsPartOfTheCheck(t *testing.T) {
	_, shares, c := scaledDealing(t, 4, 3, 12)
	p := mustParse(t, c)
	for i, s := range shares {
		if err := p.Check(i, s); err != nil {
			t.Errorf("share %d: %v", i, err)
		}
		if Check(i, s, c.Points) == nil {
			t.Errorf("share %d passes without the scale", i)
		}
		if err := p.Check((i+1)%4, s); !errors.Is(err, ErrShare) {
			t.Errorf("share %d at another index: %v", i, err)
		}
	}
	c.Scale = [32]byte{13}
	if err := mustParse(t, c).Check(0, shares[0]); !errors.Is(err, ErrShare) {
		t.Errorf("another scale: %v", err)
	}
	for _, index := range []int{-1, MaxHolders, 1 << 40} {
		if err := p.Check(index, shares[0]); !errors.Is(err, ErrShare) {
			t.Errorf("index %d: %v", index, err)
		}
	}
}

// A reader of an object that was shared again: liars are named against the
// commitments of the epoch, and a holder left behind in the old epoch is one.
func TestOpenScaledNamesLiars(t *testing.T) {
	secret, old, c := mustDeal(t, 4, 3)
	shares, next := rotate(t, Unscaled(c), old, []int{0, 1, 3}, 5, 3)
	if next.Scale == ([size]byte{1}) {
		t.Fatal("this dealer set should give another scale")
	}
	for name, tc := range map[string]struct {
		shares map[int]Share
		lies   map[int]Share
		liars  []int
	}{
		"all honest":           {pick(shares, 0, 2, 4), nil, nil},
		"one liar":             {pick(shares, 1, 2, 4), map[int]Share{0: shares[1]}, []int{0}},
		"one epoch behind":     {pick(shares, 1, 2, 4), map[int]Share{0: old[0]}, []int{0}},
		"two, one is no share": {pick(shares, 2, 3, 4), map[int]Share{0: {Value: order}, 1: old[1]}, []int{0, 1}},
	} {
		maps.Copy(tc.shares, tc.lies)
		liars, err := OpenScaled(next, 3, tc.shares, opens(secret))
		if err != nil || !slices.Equal(liars, tc.liars) {
			t.Errorf("%s: %v, %v", name, liars, err)
		}
	}
	// The weaker check: without the scale every honest holder is accused.
	all := pick(shares, 1, 2, 3)
	all[0] = old[0]
	if liars, err := Open(next.Points, 3, all, opens(secret)); err == nil || len(liars) != 4 {
		t.Errorf("without the scale: %v, %v", liars, err)
	}
	bad := Scaled{[size]byte{}, next.Points}
	if liars, err := OpenScaled(bad, 3, all, opens(secret)); !errors.Is(err, ErrCommitments) || liars != nil {
		t.Errorf("a bad scale blames %v: %v", liars, err)
	}
	if _, err := OpenScaled(next, 4, all, opens(secret)); !errors.Is(err, ErrCommitments) {
		t.Errorf("another threshold: %v", err)
	}
}

// Whatever parses has one encoding and never panics.
func FuzzScaledParse(f *testing.F) {
	_, shares, c := fixedDealing()
	flat := bytes.Join(c, nil)
	f.Add([]byte{1}, flat, 3)
	f.Add([]byte{12}, flat, 3)
	f.Add([]byte{1}, flat[:64], 2)
	f.Add([]byte{}, flat, 3)
	f.Add(order[:], flat, 3)
	f.Add([]byte{1}, make([]byte, 96), 3)
	f.Add([]byte{1}, flat[:95], 3)
	f.Add([]byte{1}, []byte{}, 0)
	f.Fuzz(func(t *testing.T, scale, points []byte, need int) {
		if len(scale) > size || len(points) > 8*size {
			return
		}
		var s Scaled
		copy(s.Scale[:], scale)
		for p := range slices.Chunk(points, size) {
			s.Points = append(s.Points, p)
		}
		p, err := s.Parse(need)
		if err != nil {
			if !errors.Is(err, ErrCommitments) || p != nil {
				t.Errorf("%v, %v", p, err)
			}
			return
		}
		again := Scaled{Scale: encodeScalar(p.scale)}
		for _, q := range p.points {
			again.Points = append(again.Points, encodePoint(q))
		}
		if !sameScaled(s, again) || len(s.Points) != need || p.scale.IsZero() {
			t.Error("does not come back the same")
		}
		if !p.equal(mustParse(t, again)) {
			t.Error("two decodings differ")
		}
		if p.Check(0, shares[0]) == nil && s.Scale == [size]byte{1} && !bytes.Equal(points, flat) {
			t.Error("a share fits commitments to something else")
		}
	})
}
