package committee

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
)

func TestRecoverAgreesWithCircl(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		need := 1 + rng.IntN(7)
		shares, xs, ys := map[int]Share{}, []group.Scalar{}, []group.Scalar{}
		for _, i := range rng.Perm(40)[:need] {
			y := labelled(fmt.Sprint("y", i))
			shares[i] = Share{Value: encodeScalar(y)}
			xs, ys = append(xs, position(i)), append(ys, y)
		}
		want := secretOf(polynomial.NewLagrangePolynomial(xs, ys).Evaluate(curve.NewScalar()))
		if got, err := Recover(need, shares); err != nil || !same(got, want) {
			t.Errorf("%v: differs from circl's interpolation: %v", slices.Sorted(maps.Keys(shares)), err)
		}
	}
}

func TestRecoverUsesTheLowestIndexes(t *testing.T) {
	secret, shares, _ := mustDeal(t, 5, 3)
	all := pick(shares, 0, 1, 2, 3, 4)
	all[3] = Share{Value: order} // not even a scalar, but not needed
	all[4] = shares[0]
	if got, err := Recover(3, all); err != nil || !same(got, secret) {
		t.Errorf("looked beyond the lowest three: %v", err)
	}
}

// The trap: nothing in interpolation notices a wrong share.
func TestWrongShareGivesAWrongSecretSilently(t *testing.T) {
	secret, shares, _ := mustDeal(t, 4, 3)
	bad := pick(shares, 0, 1, 2)
	bad[1] = shares[3]
	got, err := Recover(3, bad)
	if err != nil {
		t.Fatalf("this used to be silent: %v", err)
	}
	if same(got, secret) {
		t.Error("a wrong share recovered the right secret")
	}
}

// The trap: circl panics where an index occurs twice. Ours are the keys of a
// map and cannot; the other ways to be out of shape are errors.
func TestRecoverNeverPanics(t *testing.T) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("circl no longer panics on a duplicate: simplify")
			}
		}()
		x := position(0)
		polynomial.NewLagrangePolynomial([]group.Scalar{x, x}, []group.Scalar{x, x})
	}()
	_, shares, _ := mustDeal(t, 4, 3)
	negative, large := pick(shares, 0, 1), pick(shares, 0, 1)
	negative[-1], large[MaxHolders] = shares[2], shares[2]
	loose := pick(shares, 0, 1)
	loose[2] = Share{Value: order}
	for name, c := range map[string]struct {
		t      int
		shares map[int]Share
		want   error
	}{
		"a negative index":       {3, negative, ErrShare},
		"an index out of range":  {3, large, ErrShare},
		"a loose scalar":         {3, loose, ErrShare},
		"shares of zero":         {2, map[int]Share{0: {}, 1: {}}, ErrShare},
		"none":                   {3, nil, ErrNotEnough{3, 0}},
		"one short":              {3, pick(shares, 1, 2), ErrNotEnough{3, 2}},
		"more than ever":         {MaxHolders + 1, pick(shares, 1), nil},
		"a threshold of nothing": {0, pick(shares, 0), nil},
		"a negative threshold":   {-3, pick(shares, 0), nil},
	} {
		s, err := Recover(c.t, c.shares)
		if err == nil || !s.IsZero() {
			t.Errorf("%s: recovered", name)
		}
		if c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
	}
}

func TestOpenNamesLiars(t *testing.T) {
	secret, shares, c := mustDeal(t, 7, 3)
	lie := Share{shares[5].Value, shares[5].Blinding}
	garbage := Share{Value: order, Blinding: order}
	errDealer := errors.New("header does not verify")
	with := func(m map[int]Share, lies map[int]Share) map[int]Share { maps.Copy(m, lies); return m }
	for name, tc := range map[string]struct {
		shares map[int]Share
		try    func(Secret) error
		liars  []int
		err    error
		calls  int
	}{
		"all honest":                      {pick(shares, 0, 2, 4), opens(secret), nil, nil, 1},
		"more than needed":                {pick(shares, 0, 1, 2, 3, 4), opens(secret), nil, nil, 1},
		"a liar that was not needed":      {with(pick(shares, 0, 1, 2), map[int]Share{4: lie}), opens(secret), nil, nil, 1},
		"one liar, one spare":             {with(pick(shares, 1, 2, 3), map[int]Share{0: lie}), opens(secret), []int{0}, nil, 2},
		"two liars, one is no scalar":     {with(pick(shares, 1, 3, 4), map[int]Share{2: lie, 0: garbage}), opens(secret), []int{0, 2}, nil, 1},
		"an index nobody has":             {with(pick(shares, 1, 3, 4), map[int]Share{-1: shares[0]}), opens(secret), []int{-1}, nil, 1},
		"a liar and nobody to spare":      {with(pick(shares, 1, 2), map[int]Share{0: lie}), opens(secret), []int{0}, ErrNotEnough{3, 2}, 1},
		"only liars":                      {map[int]Share{0: garbage, 1: lie, 2: {}}, opens(secret), []int{0, 1, 2}, ErrNotEnough{3, 0}, 0},
		"too few answers":                 {pick(shares, 1, 2), opens(secret), nil, ErrNotEnough{3, 2}, 0},
		"no answers":                      {nil, opens(secret), nil, ErrNotEnough{3, 0}, 0},
		"the dealer sealed another key":   {pick(shares, 0, 1, 2, 3), func(Secret) error { return errDealer }, nil, errDealer, 1},
		"a dealer and an unneeded liar":   {with(pick(shares, 0, 1, 2), map[int]Share{6: lie}), func(Secret) error { return errDealer }, []int{6}, errDealer, 1},
		"a bad dealer and a needed liar":  {with(pick(shares, 1, 2, 3), map[int]Share{0: lie}), func(Secret) error { return errDealer }, []int{0}, errDealer, 2},
		"a share of one under two names":  {with(pick(shares, 0, 3, 4), map[int]Share{1: shares[0]}), opens(secret), []int{1}, nil, 2},
		"every honest one and three lies": {with(pick(shares, 3, 5, 6), map[int]Share{0: lie, 1: lie, 2: lie}), opens(secret), []int{0, 1, 2}, nil, 2},
	} {
		calls := 0
		liars, err := Open(c, 3, tc.shares, func(s Secret) error { calls++; return tc.try(s) })
		if !slices.Equal(liars, tc.liars) || !errors.Is(err, tc.err) || (tc.err == nil) != (err == nil) {
			t.Errorf("%s: liars %v, error %v; want %v, %v", name, liars, err, tc.liars, tc.err)
		}
		if calls != tc.calls {
			t.Errorf("%s: tried %d times, want %d", name, calls, tc.calls)
		}
	}
}

// Bad commitments must not get an honest validator blamed.
func TestOpenBlamesNobodyForBadCommitments(t *testing.T) {
	_, shares, c := mustDeal(t, 4, 3)
	bad := slices.Clone(c)
	bad[2] = make([]byte, 32)
	refuse := func(Secret) error { return ErrSealed }
	liars, err := Open(bad, 3, pick(shares, 0, 1, 2, 3), refuse)
	if !errors.Is(err, ErrCommitments) || len(liars) != 0 {
		t.Errorf("liars %v, error %v", liars, err)
	}
	for _, need := range []int{-1, 0, 2, 4} {
		liars, err = Open(c, need, pick(shares, 0, 1, 2, 3), refuse)
		if !errors.Is(err, ErrCommitments) || len(liars) != 0 {
			t.Errorf("t = %d: liars %v, error %v", need, liars, err)
		}
	}
	if _, err = Open(nil, 0, nil, func(Secret) error { return nil }); err == nil {
		t.Error("nothing opened")
	}
}

// Whatever f < t liars do, and whichever they are, a reader who has t honest
// answers gets the secret and accuses nobody honest.
func TestOpenUnderRandomLies(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 30 {
		need := 1 + rng.IntN(4)
		n := 2*need + rng.IntN(3)
		secret, shares, c := mustDeal(t, n, need)
		order := rng.Perm(n)
		answers, lying := map[int]Share{}, map[int]bool{}
		for at, i := range order {
			answers[i] = shares[i]
			if at < n-need {
				lying[i] = true
				lie := shares[i]
				lie.Value[rng.IntN(32)] ^= 1 << rng.IntN(8)
				answers[i] = lie
			}
		}
		liars, err := Open(c, need, answers, opens(secret))
		if err != nil {
			t.Fatalf("round %d, %d of %d: %v", round, need, n, err)
		}
		for _, i := range liars {
			if !lying[i] {
				t.Errorf("round %d: honest validator %d is accused", round, i)
			}
		}
		if liars != nil && len(liars) != len(lying) {
			t.Errorf("round %d: %d of %d liars named", round, len(liars), len(lying))
		}
	}
}

func BenchmarkRecover3of4(b *testing.B) { benchmarkRecover(b, 4, 3) }
func BenchmarkRecover5of9(b *testing.B) { benchmarkRecover(b, 9, 5) }

func benchmarkRecover(b *testing.B, n, t int) {
	_, shares, _ := mustDeal(b, n, t)
	some := map[int]Share{}
	for i := n - t; i < n; i++ {
		some[i] = shares[i]
	}
	for b.Loop() {
		if _, err := Recover(t, some); err != nil {
			b.Fatal(err)
		}
	}
}

// The slow path: two of nine lie, all are checked, the rest opens.
func BenchmarkOpenWithLiars(b *testing.B) {
	secret, shares, c := mustDeal(b, 9, 5)
	all := pick(shares, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	all[0], all[3] = all[1], all[1]
	for b.Loop() {
		if liars, err := Open(c, 5, all, opens(secret)); err != nil || len(liars) != 2 {
			b.Fatal(liars, err)
		}
	}
}

// A Recovery gives what Recover gives, for each choice of holders, however many there
// were before; and its errors.
func TestRecoveryRemembersOnlyWeights(t *testing.T) {
	var r Recovery
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3 * maxSets {
		secret, shares, _ := mustDeal(t, 12, 4)
		use := pick(shares, rng.Perm(12)[:4]...)
		for range 2 {
			if got, err := r.Recover(4, use); err != nil || !same(got, secret) {
				t.Fatalf("%v: %v", slices.Sorted(maps.Keys(use)), err)
			}
		}
		if len(r.sets) > maxSets {
			t.Fatalf("%d sets are kept", len(r.sets))
		}
	}
	_, shares, _ := mustDeal(t, 4, 3)
	if _, err := r.Recover(3, pick(shares, 0, 1)); !errors.As(err, new(ErrNotEnough)) {
		t.Errorf("too few: %v", err)
	}
	far := pick(shares, 0, 1)
	far[MaxHolders] = shares[2]
	if _, err := r.Recover(3, far); !errors.Is(err, ErrShare) {
		t.Errorf("out of range: %v", err)
	}
}
