package committee

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
	"github.com/cloudflare/circl/secretsharing"
)

func mustDeal(t testing.TB, n, need int) (Secret, []Share, Commitments) {
	t.Helper()
	s, shares, c, err := Deal(n, need)
	if err != nil {
		t.Fatal(err)
	}
	return s, shares, c
}

func pick(shares []Share, indexes ...int) map[int]Share {
	m := map[int]Share{}
	for _, i := range indexes {
		m[i] = shares[i]
	}
	return m
}

func same(a, b Secret) bool { return bytes.Equal(a.Bytes(), b.Bytes()) }

// opens is a try function that knows the right secret, as the AEAD does.
func opens(want Secret) func(Secret) error {
	return func(s Secret) error {
		if !same(s, want) {
			return ErrSealed
		}
		return nil
	}
}

// order is the group's order in canonical bytes plus one bit too many: the
// smallest number that is not a canonical scalar.
var order = [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}

func TestEverySubsetOfTRecoversAndEveryShareChecks(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for need := 1; need <= n; need++ {
			secret, shares, c := mustDeal(t, n, need)
			if err := c.Valid(need); err != nil {
				t.Fatalf("%d of %d: %v", need, n, err)
			}
			for i, s := range shares {
				if err := Check(i, s, c); err != nil {
					t.Errorf("%d of %d, share %d: %v", need, n, i, err)
				}
			}
			for set := range 1 << n {
				some := map[int]Share{}
				for i := range n {
					if set>>i&1 == 1 {
						some[i] = shares[i]
					}
				}
				got, err := Recover(need, some)
				if len(some) < need {
					if (err != ErrNotEnough{Need: need, Good: len(some)}) {
						t.Errorf("%d of %d with %d shares: error %v", need, n, len(some), err)
					}
					continue
				}
				if err != nil || !same(got, secret) {
					t.Errorf("%d of %d, subset %b: error %v", need, n, set, err)
				}
			}
		}
	}
}

// The trap: circl's t is what may be corrupted, ours is what is needed.
func TestTIsTheNumberNeeded(t *testing.T) {
	_, _, c := mustDeal(t, 4, 3)
	if len(c) != 3 {
		t.Errorf("3 of 4 has %d commitments, so a polynomial of degree %d", len(c), len(c)-1)
	}
	theirs := secretsharing.New(nil, 3, labelled("secret"))
	if got := len(theirs.CommitSecret()); got != 4 {
		t.Errorf("circl's t = 3 needs %d shares; it used to need 4, see the package comment", got)
	}
}

// Fewer than t shares must say nothing: for every candidate secret there is a
// polynomial through the shares that t-1 colluders hold. Here one is constructed.
func TestTooFewSharesFitEverySecret(t *testing.T) {
	_, shares, _ := mustDeal(t, 4, 3)
	for _, claim := range []string{"one", "another"} {
		xs := []group.Scalar{curve.NewScalar(), position(0), position(1)}
		ys := []group.Scalar{labelled(claim)}
		for i := range 2 {
			y, err := scalarFrom(shares[i].Value[:])
			if err != nil {
				t.Fatal(err)
			}
			ys = append(ys, y)
		}
		third := encodeScalar(polynomial.NewLagrangePolynomial(xs, ys).Evaluate(position(2)))
		got, err := Recover(3, map[int]Share{0: shares[0], 1: shares[1], 2: {Value: third}})
		if err != nil || !same(got, secretOf(labelled(claim))) {
			t.Errorf("claim %q does not fit: %v", claim, err)
		}
	}
}

func TestDealRefusesImpossibleCommittees(t *testing.T) {
	for _, c := range []struct{ n, t int }{{0, 0}, {1, 0}, {3, 4}, {-1, -1}, {4, -1}, {MaxHolders + 1, 3}} {
		if _, _, _, err := Deal(c.n, c.t); err == nil {
			t.Errorf("dealt %d of %d", c.t, c.n)
		}
	}
	if _, _, err := DealSecret(Secret{}, 4, 3); !errors.Is(err, ErrSecret) {
		t.Errorf("dealt a secret that was never set: %v", err)
	}
}

func TestLargestCommittee(t *testing.T) {
	secret, shares, c := mustDeal(t, MaxHolders, 3)
	if err := Check(MaxHolders-1, shares[MaxHolders-1], c); err != nil {
		t.Error(err)
	}
	got, err := Recover(3, pick(shares, 0, 100, MaxHolders-1))
	if err != nil || !same(got, secret) {
		t.Errorf("recovered wrongly: %v", err)
	}
}

func TestDealingAgainIsAnotherDealing(t *testing.T) {
	secret, old, oldC := mustDeal(t, 4, 3)
	fresh, freshC, err := DealSecret(secret, 5, 4)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Recover(4, pick(fresh, 1, 2, 3, 4))
	if err != nil || !same(got, secret) {
		t.Fatalf("dealing again lost the secret: %v", err)
	}
	if Check(0, fresh[0], oldC) == nil || Check(0, old[0], freshC) == nil {
		t.Error("a share passes for another dealing")
	}
	mixed := pick(old, 0, 1)
	mixed[2] = fresh[2]
	if got, err := Recover(3, mixed); err == nil && same(got, secret) {
		t.Error("mixed dealings recovered the secret")
	}
}

func BenchmarkDeal3of4(b *testing.B) {
	for b.Loop() {
		if _, _, _, err := Deal(4, 3); err != nil {
			b.Fatal(err)
		}
	}
}
