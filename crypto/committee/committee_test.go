package committee

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
	"github.com/cloudflare/circl/secretsharing"

	"cerebrum.dev/cerebrum/crypto/statement"
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

func TestCheckRefuses(t *testing.T) {
	_, shares, c := mustDeal(t, 4, 3)
	good := shares[1]
	flip := func(s Share, value bool, bit int) Share {
		b := &s.Blinding
		if value {
			b = &s.Value
		}
		b[bit/8] ^= 1 << (bit % 8)
		return s
	}
	// good.Value plus the order of the group: the same scalar, encoded again.
	again, carry := good, 0
	for i := range again.Value {
		carry += int(good.Value[i]) + int(order[i])
		again.Value[i], carry = byte(carry), carry>>8
	}
	if carry != 0 {
		t.Fatal("the sum does not fit")
	}
	loose := good
	loose.Blinding = order
	for name, s := range map[string]Share{
		"another validator's":             shares[2],
		"nothing":                         {},
		"swapped":                         {good.Blinding, good.Value},
		"a flipped bit of the value":      flip(good, true, 3),
		"a flipped bit of the blinding":   flip(good, false, 77),
		"the value's highest bit":         flip(good, true, 255),
		"the value encoded another way":   again,
		"a blinding that is not a scalar": loose,
	} {
		if err := Check(1, s, c); !errors.Is(err, ErrShare) {
			t.Errorf("%s: error %v", name, err)
		} else if errors.Is(err, ErrCommitments) {
			t.Errorf("%s: the dealer is blamed", name)
		}
	}
	for _, index := range []int{-1, 0, 2, 3, 257, MaxHolders, 1 << 40} {
		if err := Check(index, good, c); !errors.Is(err, ErrShare) {
			t.Errorf("index %d: error %v", index, err)
		}
	}
	if err := Check(1, good, c); err != nil {
		t.Errorf("control: the good share is refused: %v", err)
	}
}

func TestCommitmentsRefused(t *testing.T) {
	_, shares, good := mustDeal(t, 4, 3)
	with := func(j int, b []byte) Commitments {
		c := slices.Clone(good)
		c[j] = b
		return c
	}
	negative := bytes.Clone(good[0])
	negative[0] |= 1
	high := bytes.Clone(good[0])
	high[31] |= 0x80
	field := bytes.Repeat([]byte{0xff}, 32) // 2^255-19+2, not reduced
	field[0], field[31] = 0xef, 0x7f
	for name, c := range map[string]Commitments{
		"none":                 nil,
		"one too few":          good[:2],
		"one too many":         append(slices.Clone(good), good[0]),
		"the identity":         with(1, make([]byte, 32)),
		"a short point":        with(1, good[1][:31]),
		"a long point":         with(1, append(bytes.Clone(good[1]), 0)),
		"a missing point":      with(2, nil),
		"a negative encoding":  with(0, negative),
		"the highest bit":      with(0, high),
		"an unreduced element": with(2, field),
		"too many":             make(Commitments, 10*MaxHolders),
	} {
		if err := c.Valid(3); !errors.Is(err, ErrCommitments) {
			t.Errorf("%s: Valid says %v", name, err)
		}
		err := Check(0, shares[0], c)
		if !errors.Is(err, ErrShare) {
			t.Errorf("%s: Check says %v", name, err)
		}
		if len(c) == 3 && !errors.Is(err, ErrCommitments) {
			t.Errorf("%s: the holder is blamed: %v", name, err)
		}
	}
	if err := good.Valid(3); err != nil {
		t.Errorf("control: %v", err)
	}
	if err := good.Valid(2); !errors.Is(err, ErrCommitments) {
		t.Errorf("a threshold other than the dealing's: %v", err)
	}
}

// A dealer who gives one validator a share of another polynomial is caught by
// that validator; this is what Feldman's check does too, so the control below
// shows the property that is Pedersen's: the blinding counts.
func TestBlindingIsBound(t *testing.T) {
	secret, shares, c := mustDeal(t, 4, 3)
	x, err := scalarFrom(shares[0].Blinding[:])
	if err != nil {
		t.Fatal(err)
	}
	x.Add(x, curve.NewScalar().SetUint64(1))
	if err := Check(0, Share{shares[0].Value, encodeScalar(x)}, c); !errors.Is(err, ErrShare) {
		t.Errorf("another blinding passes: %v", err)
	}
	s, err := scalarFrom(secret.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(c[0], encodePoint(curve.NewElement().MulGen(s))) {
		t.Error("the first commitment is Feldman's: it gives the secret to whoever computes logarithms")
	}
}

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

func TestSealedKeyOpensOnlyInItsPlace(t *testing.T) {
	secret, _, _ := mustDeal(t, 1, 1)
	other, _, _ := mustDeal(t, 1, 1)
	key, network := repeated(1), repeated(2)
	fileKey := []byte("sixteen bytes ok")
	sealed, err := SealKey(secret, key, network, fileKey)
	if err != nil || len(sealed) != SealedSize {
		t.Fatalf("%d bytes, error %v", len(sealed), err)
	}
	if got, err := OpenKey(secret, key, network, sealed); err != nil || !bytes.Equal(got, fileKey) {
		t.Fatalf("control: %q, %v", got, err)
	}
	refused := func(name string, s Secret, k, n statement.ID, sealed []byte, want error) {
		t.Helper()
		if got, err := OpenKey(s, k, n, sealed); !errors.Is(err, want) || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	refused("another secret", other, key, network, sealed, ErrSealed)
	refused("another key id", secret, repeated(3), network, sealed, ErrSealed)
	refused("another network", secret, key, repeated(3), sealed, ErrSealed)
	refused("key id and network exchanged", secret, network, key, sealed, ErrSealed)
	refused("no secret", Secret{}, key, network, sealed, ErrSecret)
	for _, n := range []int{0, 16, 31} {
		refused("a truncated key", secret, key, network, sealed[:n], ErrSealed)
	}
	refused("a longer key", secret, key, network, append(bytes.Clone(sealed), 0), ErrSealed)
	for bit := range 8 * len(sealed) {
		b := bytes.Clone(sealed)
		b[bit/8] ^= 1 << (bit % 8)
		refused("a flipped bit", secret, key, network, b, ErrSealed)
	}
	for _, n := range []int{0, 15, 17, 32} {
		if _, err := SealKey(secret, key, network, make([]byte, n)); err == nil {
			t.Errorf("sealed a file key of %d bytes", n)
		}
	}
	if _, err := SealKey(Secret{}, key, network, fileKey); !errors.Is(err, ErrSecret) {
		t.Errorf("sealed under no secret: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("KEK of no secret is a key that everybody knows")
		}
	}()
	KEK(Secret{}, key, network)
}

func TestSecretBytes(t *testing.T) {
	secret, _, _ := mustDeal(t, 1, 1)
	b := secret.Bytes()
	again, err := SecretFromBytes(b)
	if err != nil || !same(again, secret) {
		t.Fatalf("does not come back: %v", err)
	}
	b[0] ^= 1
	if bytes.Equal(b, secret.Bytes()) || bytes.Equal(b, again.Bytes()) {
		t.Error("Bytes is not a copy")
	}
	minusOne := order
	minusOne[0]--
	if _, err := SecretFromBytes(minusOne[:]); err != nil {
		t.Errorf("control: the largest scalar is refused: %v", err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "zero": make([]byte, 32), "the order": order[:], "short": minusOne[:31],
		"long": append(minusOne[:], 0), "all ones": bytes.Repeat([]byte{0xff}, 32),
	} {
		if s, err := SecretFromBytes(b); !errors.Is(err, ErrSecret) || !s.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if (Secret{}).Bytes() != nil {
		t.Error("the zero value has bytes")
	}
}

// Nothing that package fmt, slog or json writes may hold a byte of a secret, in
// any of the forms that they know.
func TestNothingPrintsItself(t *testing.T) {
	secret, shares, _ := fixedDealing()
	share := shares[0]
	type holder struct {
		Share  Share
		Secret Secret
		Ptr    *Share
		Map    map[int]Share
		hidden Secret
	}
	h := holder{share, secret, &share, map[int]Share{1: share}, secret}
	raw := share.Value // the control: what a leak looks like
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%b", "%o", "%c", "%U", "%t", "%e", "%", "no verb"} {
		for _, v := range []any{share, &share, secret, &secret, h, &h, []Share{share}, []Secret{secret}} {
			out = append(out, fmt.Sprintf(verb, v))
		}
	}
	for _, verb := range []string{"%p", "%w", "%!"} { // package fmt does not ask the value here
		out = append(out, fmt.Sprintf(verb, secret), fmt.Sprintf(verb, []Secret{secret}), fmt.Sprintf(verb, struct{ s Secret }{secret}))
	}
	out = append(out, fmt.Sprint(share, secret), share.String(), secret.GoString(), share.GoString())
	var log bytes.Buffer
	for _, l := range []*slog.Logger{slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.NewJSONHandler(&log, nil))} {
		l.Info("x", "share", share, "secret", secret, "holder", h, "shares", shares)
	}
	out = append(out, log.String())
	js, err := json.Marshal(h)
	if err == nil {
		t.Error("a share was written as JSON")
	}
	out = append(out, string(js), fmt.Sprint(err))
	all := strings.Join(out, "\n")
	for _, b := range [][]byte{share.Value[:], share.Blinding[:], secret.Bytes()} {
		for _, form := range leaks(b) {
			if strings.Contains(all, form) {
				t.Errorf("a secret was printed as %q", form)
			}
		}
	}
	found := 0
	for _, form := range leaks(raw[:]) {
		if strings.Contains(fmt.Sprintf("%v %x %X %d %#v %s %b", raw, raw, raw, raw, raw, raw[:], raw), form) {
			found++
		}
	}
	if found < 5 {
		t.Errorf("control: a leak would be noticed in %d forms only", found)
	}
}

// leaks are the first bytes of a secret as they may appear in a text.
func leaks(b []byte) []string {
	b = b[:4]
	return []string{
		fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), strings.Trim(fmt.Sprint(b), "[]"), string(b),
		strings.Join(strings.Split(strings.Trim(fmt.Sprint(b), "[]"), " "), ","),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
		strings.Trim(fmt.Sprintf("%b", b), "[]"), fmt.Sprintf("% x", b), fmt.Sprintf("% X", b),
	}
}

func FuzzCheck(f *testing.F) {
	_, shares, c := fixedDealing()
	flat := bytes.Join(c, nil)
	for i, s := range shares {
		f.Add(i, s.Value[:], s.Blinding[:], flat)
	}
	f.Add(-1, order[:], order[:], flat)
	f.Add(0, make([]byte, 32), make([]byte, 32), make([]byte, 96))
	f.Fuzz(func(t *testing.T, index int, value, blinding, points []byte) {
		if len(value) != 32 || len(blinding) != 32 {
			return
		}
		s := Share{[32]byte(value), [32]byte(blinding)}
		var got Commitments
		for p := range slices.Chunk(points, 32) {
			got = append(got, p)
		}
		if got.Valid(len(got)) == nil {
			decoded, err := got.points()
			if err != nil {
				t.Fatal(err)
			}
			for j := range decoded {
				if !bytes.Equal(encodePoint(decoded[j]), got[j]) {
					t.Error("a point has two encodings")
				}
			}
		}
		if bytes.Equal(points, flat) && Check(index, s, got) == nil && (index >= len(shares) || shares[index] != s) {
			t.Error("a share that was never dealt passes")
		}
		if v, err := scalarFrom(value); err == nil && encodeScalar(v) != s.Value {
			t.Error("a scalar has two encodings")
		}
		if sec, err := Recover(2, map[int]Share{index: s, 3: s}); err == nil && sec.IsZero() {
			t.Error("recovered nothing")
		}
	})
}

func BenchmarkDeal3of4(b *testing.B) {
	for b.Loop() {
		if _, _, _, err := Deal(4, 3); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck3of4(b *testing.B) {
	_, shares, c := mustDeal(b, 4, 3)
	for b.Loop() {
		if err := Check(3, shares[3], c); err != nil {
			b.Fatal(err)
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
