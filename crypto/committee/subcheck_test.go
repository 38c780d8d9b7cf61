package committee

import (
	"bytes"
	"slices"
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
	if wrong := CheckSubs(1, 2, 3, cancel); !slices.Equal(wrong, []int{5, 9}) {
		t.Errorf("errors that cancel: %v", wrong)
	}
	for _, i := range [][2]int{{0, 2}, {1, 1}, {-1, 2}, {1, -1}, {1, MaxHolders}} {
		if len(CheckSubs(i[0], i[1], 3, good[:3])) != 3 {
			t.Errorf("dealer %d, receiver %d passes", i[0], i[1])
		}
	}
}

func BenchmarkCheckSubs300(b *testing.B) {
	items := batch(b, 300)
	for b.Loop() {
		CheckSubs(1, 2, 3, items)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*300), "us/item")
}
