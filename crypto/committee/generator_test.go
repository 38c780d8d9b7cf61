package committee

import (
	"fmt"
	"testing"

	"github.com/cloudflare/circl/group"
)

func TestMulHIsMultiplication(t *testing.T) {
	h := curve.HashToElement([]byte(generatorMessage), []byte(generatorDomain))
	minusOne := curve.NewScalar().Neg(curve.NewScalar().SetUint64(1))
	scalars := []group.Scalar{curve.NewScalar(), curve.NewScalar().SetUint64(1), curve.NewScalar().SetUint64(15),
		curve.NewScalar().SetUint64(16), minusOne}
	for i := range 20 {
		scalars = append(scalars, labelled(fmt.Sprint("scalar ", i)))
	}
	for i, s := range scalars {
		if !mulH(s).IsEqual(curve.NewElement().Mul(h, s)) {
			t.Errorf("scalar %d: the table disagrees with circl", i)
		}
	}
	for _, x := range []uint{0, 1, 2, 3, 8, 255, 256} {
		if !times(h, x).IsEqual(curve.NewElement().Mul(h, curve.NewScalar().SetUint64(uint64(x)))) {
			t.Errorf("%d*H is wrong", x)
		}
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
