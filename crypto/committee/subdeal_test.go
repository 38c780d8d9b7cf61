package committee

import (
	"slices"
	"testing"
)

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

func BenchmarkSubDeal(b *testing.B) {
	_, shares, c := mustDeal(b, 4, 3)
	p := mustParse(b, Unscaled(c))
	for b.Loop() {
		SubDeal([32]byte{1}, nil, 0, shares[0], p, 4, 3)
	}
}
