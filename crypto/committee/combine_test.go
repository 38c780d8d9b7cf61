package committee

import (
	"testing"
)

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

func BenchmarkCombiner(b *testing.B) {
	_, shares, c := mustDeal(b, 4, 3)
	p, dealers := mustParse(b, Unscaled(c)), []int{0, 2, 3}
	var checked []Checked
	for _, i := range dealers {
		dealt, sub, err := SubDeal([32]byte{1}, nil, i, shares[i], p, 4, 3)
		if err != nil {
			b.Fatal(err)
		}
		good, _ := CheckBatch(i, 1, 3, []Item{{p, Sub{dealt[1], sub}}})
		checked = append(checked, good[0])
	}
	combiner, err := NewCombiner(dealers, 3)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := combiner.Combine(checked); err != nil {
			b.Fatal(err)
		}
	}
}
