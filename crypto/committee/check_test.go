package committee

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

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

func BenchmarkCheck3of4(b *testing.B) {
	_, shares, c := mustDeal(b, 4, 3)
	for b.Loop() {
		if err := Check(3, shares[3], c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	_, _, c := mustDeal(b, 1, 1)
	for b.Loop() {
		c.points()
	}
}
