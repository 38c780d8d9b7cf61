package committee

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"testing"
)

// A sub-dealing by the validator at index 1 of the dealing in vectors_test.go, to
// 4 of 5, and what the receiver at index 4 combines from the dealers 0, 1 and 3.
// Computed twice, as the vectors there: a change means that a dealer which starts
// again in the middle of a rotation contradicts itself.
var subVector = struct {
	points []string
	shares [][2]string
	scale  byte
	next   []string
	share  [2]string
}{
	points: []string{
		"32ab06f57e57a1d7b14c850ad05858c5cbb632f9791a3438ef0c5f9569c6b809",
		"e2529cbe3afe85124e69ca283f08278d746f2d9cff15510a07e52a8b08bf785e",
		"6c81f2b6b5fb3cd89988fb40019f89d97e290ba517c0c25bf0183c49ef8f6562",
	},
	shares: [][2]string{
		{"761d8ba5d42426eb9cc07b8b860402a662ed83b3055b4b641de09786fb22970c", "8a417ffaec0f9feed6e61a1dba05a49865914231dcaf0e46423d104f5197a60c"},
		{"f5b6cf36229fdae418c02f04e7587d01d5ac1aec9470d4702fc2597f23578906", "e70e9b3f5bb2032726319741fce0afc75cb8eb0df8be14cbc00a31dcc51b3f0f"},
		{"14a5a24bd8590f09c19c84ca653a0a86769afd417df2f148c7ecfa20a2c5c40e", "243c8dc36252e05b6ff61169556f113631fd21d2a45dfb35c319a887a91bf608"},
		{"86acc1ce9e515001e61c1f817128f3fac69af367f3a4c14f59843b66e0a0d404", "74565adca1181b4b5dfa062d17e9a716770837c9330a77a2ba345819cea20901"},
		{"b2e1c11e870f73d7317a8256f389fe7a4692c3102c4c61e859addb49471b4408", "f7befc3cd190ac0a719de9c9718031b1c2827c3ef6423c2c1826245905bdb70e"},
	},
	scale: 3,
	next: []string{
		"50118754e51a77f20d853989735c860aa39440adfcb1f8df6c148522457fb17e",
		"12164602209393e6e741c65355ff6234b8ad2da02e16586627c499d01111f372",
		"6e8d8060a9d675a359724f9b8ba4f363572382dcf0898c6fb6923e630e23f770",
		"7881bc038f31c5c42bea9f51ab6b8355928fddd4737cf6e55ba6a9d88488174b",
	},
	share: [2]string{"fc0e06bbdf9a41ffff5a8161486eb797133f1d3d68f7e2baab7e6bd07dfc2203", "1d028f3442784530c85e9955e7c45662c2975e7e9359207b3390e5ecea78ba0a"},
}

func hexes(c Commitments) (out []string) {
	for _, p := range c {
		out = append(out, hex.EncodeToString(p))
	}
	return out
}

func hexShare(s Share) [2]string {
	return [2]string{hex.EncodeToString(s.Value[:]), hex.EncodeToString(s.Blinding[:])}
}

func TestFrozenSubDealing(t *testing.T) {
	_, shares, c := fixedDealing()
	old := mustParse(t, Unscaled(c))
	subs := map[int]Sub{}
	for _, i := range []int{0, 1, 3} {
		dealt, points, err := SubDeal(repeated(0x33), []byte("a rotation, a sharing"), i, shares[i], old, 5, 4)
		if err != nil {
			t.Fatal(err)
		}
		subs[i] = Sub{dealt[4], points}
		if i != 1 {
			continue
		}
		if got := hexes(points); !slices.Equal(got, subVector.points) {
			t.Errorf("points %q", got)
		}
		for j, want := range subVector.shares {
			if got := hexShare(dealt[j]); got != want {
				t.Errorf("sub-share %d is %q", j, got)
			}
		}
	}
	share, next, err := Combine(old, 4, subs)
	if err != nil {
		t.Fatal(err)
	}
	if hexShare(share) != subVector.share || next.Scale != [size]byte{subVector.scale} || !slices.Equal(hexes(next.Points), subVector.next) {
		t.Errorf("combined to %q, scale %x, %q", hexShare(share), next.Scale, hexes(next.Points))
	}
}

// Every argument but the number of receivers chooses another polynomial; more
// receivers are more values of the same one.
func TestSubDealIsAFunctionOfItsArguments(t *testing.T) {
	_, shares, c := mustDeal(t, 4, 3)
	old := mustParse(t, Unscaled(c))
	deal := func(seed byte, context string, dealer, share, n, need int) []Share {
		dealt, _, err := SubDeal([32]byte{seed}, []byte(context), dealer, shares[share], old, n, need)
		if err != nil {
			t.Fatal(err)
		}
		return dealt
	}
	base := deal(1, "a", 0, 0, 4, 3)
	if !slices.Equal(base, deal(1, "a", 0, 0, 4, 3)) {
		t.Error("not the same polynomial again")
	}
	if !slices.Equal(base, deal(1, "a", 0, 0, 7, 3)[:4]) {
		t.Error("another polynomial for more receivers")
	}
	for name, other := range map[string][]Share{
		"seed":      deal(2, "a", 0, 0, 4, 3),
		"context":   deal(1, "b", 0, 0, 4, 3),
		"longer":    deal(1, "a\x00", 0, 0, 4, 3),
		"dealer":    deal(1, "a", 1, 0, 4, 3),
		"share":     deal(1, "a", 0, 1, 4, 3),
		"threshold": deal(1, "a", 0, 0, 4, 4),
	} {
		for j := range base {
			if base[j].Value == other[j].Value || base[j].Blinding == other[j].Blinding {
				t.Errorf("another %s: receiver %d gets the same", name, j)
			}
		}
	}
}

func TestSubDealRefuses(t *testing.T) {
	_, shares, c := mustDeal(t, 4, 3)
	old := mustParse(t, Unscaled(c))
	for _, a := range []struct{ dealer, n, t int }{{-1, 4, 3}, {MaxHolders, 4, 3}, {0, 4, 0}, {0, 4, 5}, {0, MaxHolders + 1, 3}, {0, -1, -1}} {
		if _, _, err := SubDeal([32]byte{}, nil, a.dealer, shares[0], old, a.n, a.t); err == nil {
			t.Errorf("%+v: dealt", a)
		}
	}
	for _, s := range []Share{{Value: order}, {Blinding: order}} {
		if _, _, err := SubDeal([32]byte{}, nil, 0, s, old, 4, 3); !errors.Is(err, ErrShare) {
			t.Errorf("not a share: %v", err)
		}
	}
}

// reduce against big integers: the order's neighbours at several heights, every
// single bit, and numbers without a pattern.
func TestReduceIsARemainder(t *testing.T) {
	le := func(b []byte) *big.Int {
		b = slices.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	q, limit := le(order[:]), new(big.Int).Lsh(big.NewInt(1), 512)
	numbers := []*big.Int{new(big.Int), new(big.Int).Sub(limit, big.NewInt(1)), new(big.Int).Sub(new(big.Int).Mul(q, q), big.NewInt(1))}
	for bit := range uint(512) {
		numbers = append(numbers, new(big.Int).Lsh(big.NewInt(1), bit))
	}
	for shift := range uint(260) {
		for add := int64(-1); add <= 1; add++ {
			numbers = append(numbers, new(big.Int).Add(new(big.Int).Lsh(q, shift), big.NewInt(add)))
		}
	}
	for i := range byte(50) {
		h := sha512.Sum512([]byte{i})
		numbers = append(numbers, le(h[:]))
	}
	for _, x := range numbers {
		if x.Cmp(limit) >= 0 {
			continue
		}
		var b [64]byte
		x.FillBytes(b[:])
		slices.Reverse(b[:])
		got := encodeScalar(reduce(b))
		if le(got[:]).Cmp(new(big.Int).Mod(x, q)) != 0 {
			t.Errorf("%x reduces to %x", x, got)
		}
	}
}

func BenchmarkSubDeal(b *testing.B) {
	_, shares, c := mustDeal(b, 4, 3)
	p := mustParse(b, Unscaled(c))
	for b.Loop() {
		if _, _, err := SubDeal([32]byte{1}, nil, 0, shares[0], p, 4, 3); err != nil {
			b.Fatal(err)
		}
	}
}
