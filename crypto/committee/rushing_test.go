package committee

import (
	"errors"
	"testing"

	"github.com/cloudflare/circl/group"
)

// The stories of the package comment about dealers who deal last.

// coefficients of a sub-dealing as a dealer without scruples chooses them; entry 0
// of both is its share.
type chosen struct{ value, blinding []group.Scalar }

func (r *rotation) chosen(t testing.TB, dealer int) chosen {
	t.Helper()
	v, err := scalarFrom(r.shares[dealer].Value[:])
	if err != nil {
		t.Fatal(err)
	}
	b, err := scalarFrom(r.shares[dealer].Blinding[:])
	if err != nil {
		t.Fatal(err)
	}
	c := chosen{[]group.Scalar{v}, []group.Scalar{b}}
	for m := 1; m < r.need; m++ {
		c.value = append(c.value, labelled(string(rune('a'+m))))
		c.blinding = append(c.blinding, labelled(string(rune('A'+m))))
	}
	return c
}

// deal replaces what a dealer sent. The scale of the old sharing is 1.
func (r *rotation) deal(dealer, n int, c chosen) {
	shares, commitments := deal(c.value, c.blinding, n)
	r.subs[dealer] = nil
	for _, s := range shares {
		r.subs[dealer] = append(r.subs[dealer], Sub{s, commitments[1:]})
	}
}

// over is -a/b, the factor that makes a dealer of weight b cancel one of weight a.
func over(a, b group.Scalar) group.Scalar {
	x := curve.NewScalar().Inv(b)
	return x.Neg(x.Mul(x, a))
}

// All dealers together can make a coefficient vanish, with sub-shares that all
// pass. It is refused, at every receiver alike. They have the secret anyway.
func TestDealersTogetherReachTheIdentityAndAreRefused(t *testing.T) {
	const n = 4
	r := newRotation(t, n, 2, n, 3, 0, 1)
	w := weights([]int{0, 1})
	a, b := r.chosen(t, 0), r.chosen(t, 1)
	r.deal(0, n, a)
	r.deal(1, n, b)
	c := mustCombiner(t, 3, 0, 1)
	if _, _, err := c.Combine(r.checked(t, 0, 0, 1)); err != nil {
		t.Fatalf("control: %v", err)
	}
	b.value[2].Mul(a.value[2], over(w[0], w[1]))
	b.blinding[2].Mul(a.blinding[2], over(w[0], w[1]))
	r.deal(1, n, b)
	for j := range n {
		share, _, err := c.Combine(r.checked(t, j, 0, 1))
		if !errors.Is(err, ErrCommitments) || share != (Share{}) {
			t.Errorf("receiver %d: %v", j, err)
		}
		if _, _, err := Combine(r.old, 3, r.at(j, 0, 1)); !errors.Is(err, ErrCommitments) {
			t.Errorf("receiver %d, unchecked: %v", j, err)
		}
	}
	if s, err := Recover(2, pick(r.shares, 0, 1)); err != nil || !same(s, r.secret) {
		t.Errorf("the dealers lack the secret: %v", err)
	}
}

// One rushing dealer who cannot open what it copies: of three needed, it can show
// the identity to one receiver (t'-2) and every other one names it. So a receiver
// that meets the identity must not blame all dealers.
func TestRushingDealerShowsTheIdentityToOneReceiverOnly(t *testing.T) {
	const n, rushing, served = 4, 1, 2
	r := newRotation(t, n, 2, n, 3, 0, rushing)
	w := weights([]int{0, 1})
	honest, err := r.subs[0][0].Commitments.points()
	if err != nil {
		t.Fatal(err)
	}
	// Points alone, nothing else of the honest dealer: D[1] = -(w0/w1) * D0[1], so
	// that the sum is the identity; D[2] = X - D[1]/x, so that x*D[1] + x^2*D[2] is
	// known for the one receiver at x.
	c := r.chosen(t, rushing)
	x := position(served)
	d1 := curve.NewElement().Mul(honest[0], over(w[0], w[1]))
	d2 := curve.NewElement().Mul(d1, over(curve.NewScalar().SetUint64(1), x))
	d2.Add(d2, commit(c.value[2], c.blinding[2]))
	x2 := curve.NewScalar().Mul(x, x)
	v, b := curve.NewScalar().Mul(x2, c.value[2]), curve.NewScalar().Mul(x2, c.blinding[2])
	share := Share{encodeScalar(v.Add(v, c.value[0])), encodeScalar(b.Add(b, c.blinding[0]))}
	for j := range n {
		r.subs[rushing][j] = Sub{share, Commitments{encodePoint(d1), encodePoint(d2)}}
		if err := CheckSub(rushing, j, 3, Item{r.old, r.subs[rushing][j]}); (err == nil) != (j == served) {
			t.Errorf("receiver %d: %v", j, err)
		}
	}
	if _, _, err := mustCombiner(t, 3, 0, rushing).Combine(r.checked(t, served, 0, rushing)); !errors.Is(err, ErrCommitments) {
		t.Errorf("the receiver that was served: %v", err)
	}
}

// A rushing dealer that repeats the points of another has no sub-share for them,
// and the other's does not pass as its own.
func TestRepeatedPointsAreNoSubDealing(t *testing.T) {
	r := newRotation(t, 4, 3, 4, 3, 0, 1)
	for j := range 4 {
		if err := CheckSub(1, j, 3, Item{r.old, r.subs[0][j]}); !errors.Is(err, ErrShare) {
			t.Errorf("receiver %d: %v", j, err)
		}
	}
}

// A sub-share that would fit, for an index that no record has.
func TestReceiverBeyondEveryRecordIsRefused(t *testing.T) {
	r := newRotation(t, 4, 3, 4, 3, 1)
	r.deal(1, MaxHolders+1, r.chosen(t, 1))
	for j, want := range map[int]error{MaxHolders - 1: nil, MaxHolders: ErrShare} {
		it := Item{r.old, r.subs[1][j]}
		_, wrong := CheckBatch(1, j, 3, []Item{it, it})
		if err := CheckSub(1, j, 3, it); !errors.Is(err, want) || (len(wrong) == 0) != (want == nil) {
			t.Errorf("receiver %d: %v, wrong %v", j, err, wrong)
		}
	}
}

// A dealer that shares another value than its share, on points that are all well
// formed, would change the secret for everybody. Its first point is not its to choose.
func TestDealerCannotShareAnotherValue(t *testing.T) {
	const n = 4
	r := newRotation(t, n, 3, n, 3, 0, 1, 2)
	c := r.chosen(t, 1)
	r.deal(1, n, c)
	if err := CheckSub(1, 0, 3, Item{r.old, r.subs[1][0]}); err != nil {
		t.Fatalf("control: %v", err)
	}
	c.value[0].Add(c.value[0], curve.NewScalar().SetUint64(1))
	r.deal(1, n, c)
	for j := range n {
		if err := CheckSub(1, j, 3, Item{r.old, r.subs[1][j]}); !errors.Is(err, ErrShare) {
			t.Errorf("receiver %d: %v", j, err)
		}
	}
	// The control of the control: were the first point taken from the dealer, all
	// receivers would agree on it, and on another secret.
	fresh := map[int]Share{}
	for j := range 3 {
		share, _, err := Combine(r.old, 3, r.at(j, 0, 1, 2))
		if err != nil {
			t.Fatal(err)
		}
		fresh[j] = share
	}
	if s, err := Recover(3, fresh); err != nil || same(s, r.secret) {
		t.Errorf("the secret did not change: %v", err)
	}
}

// What t members of one epoch hold opens the secret after any number of rotations;
// one less and a share of the next epoch does not.
func TestRotationTakesNothingBack(t *testing.T) {
	secret, shares, c := mustDeal(t, 4, 3)
	fresh, _ := rotate(t, Unscaled(c), shares, []int{0, 1, 2}, 4, 3)
	if s, err := Recover(3, pick(shares, 0, 1, 3)); err != nil || !same(s, secret) {
		t.Errorf("old shares no longer recover: %v", err)
	}
	for mixed := range 4 {
		some := pick(shares, 0, 1, 3)
		some[mixed] = fresh[mixed]
		if mixed == 2 {
			delete(some, 3)
		}
		if s, err := Recover(3, some); err == nil && same(s, secret) {
			t.Errorf("two old shares and the new one of %d recover", mixed)
		}
	}
}
