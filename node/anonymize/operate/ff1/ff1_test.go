package ff1

import (
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func numerals(t testing.TB, text string) []uint16 {
	t.Helper()
	out := make([]uint16, len(text))
	for i := range text {
		n, err := strconv.ParseUint(text[i:i+1], 36, 16)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = uint16(n)
	}
	return out
}

const key = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94"

// The nine samples of NIST, https://csrc.nist.gov/CSRC/media/Projects/Cryptographic-Standards-and-Guidelines/documents/examples/FF1samples.pdf
func TestSamplesOfNIST(t *testing.T) {
	for i, s := range []struct {
		key              int // hexadecimal digits
		radix            int
		tweak, text, out string
	}{
		{32, 10, "", "0123456789", "2433477484"},
		{32, 10, "39383736353433323130", "0123456789", "6124200773"},
		{32, 36, "3737373770717273373737", "0123456789abcdefghi", "a9tv40mll9kdu509eum"},
		{48, 10, "", "0123456789", "2830668132"},
		{48, 10, "39383736353433323130", "0123456789", "2496655549"},
		{48, 36, "3737373770717273373737", "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"},
		{64, 10, "", "0123456789", "6657667009"},
		{64, 10, "39383736353433323130", "0123456789", "1001623463"},
		{64, 36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"},
	} {
		c, err := New(bytesOf(t, key[:s.key]), s.radix)
		if err != nil {
			t.Fatal(err)
		}
		x := numerals(t, s.text)
		if err := c.Encrypt(x, bytesOf(t, s.tweak)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(x, numerals(t, s.out)) {
			t.Errorf("sample %d: %v", i+1, x)
		}
		if err := c.Decrypt(x, bytesOf(t, s.tweak)); err != nil || !slices.Equal(x, numerals(t, s.text)) {
			t.Errorf("sample %d decrypts to %v, %v", i+1, x, err)
		}
	}
}

// A short string falls to a search whatever the key is: five digits are refused, six
// are not, and the refusal leaves the string alone.
func TestSmallDomainsAreRefused(t *testing.T) {
	for radix, least := range map[int]int{2: 20, 10: 6, 26: 5, 36: 4, 1000: 2, 65536: 2} {
		c, err := New(bytesOf(t, key[:32]), radix)
		if err != nil {
			t.Fatal(err)
		}
		if c.Min() != least {
			t.Errorf("radix %d: at least %d numerals, want %d", radix, c.Min(), least)
		}
		short := make([]uint16, least-1)
		var length *LengthError
		if err := c.Encrypt(short, nil); !errors.As(err, &length) {
			t.Errorf("radix %d: %d numerals are encrypted: %v", radix, least-1, err)
		}
		if slices.ContainsFunc(short, func(n uint16) bool { return n != 0 }) {
			t.Error("what was refused was changed")
		}
		if err := c.Encrypt(make([]uint16, least), nil); err != nil {
			t.Errorf("radix %d: %v", radix, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, radix := range []int{-1, 0, 1, MaxRadix + 1} {
		if _, err := New(bytesOf(t, key[:32]), radix); err == nil {
			t.Errorf("radix %d is accepted", radix)
		}
	}
	if _, err := New(make([]byte, 15), 10); err == nil {
		t.Error("a key of 15 bytes is accepted")
	}
	c, err := New(bytesOf(t, key[:32]), 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Encrypt([]uint16{1, 2, 3, 4, 5, 10}, nil); !errors.Is(err, ErrNumeral) {
		t.Errorf("a numeral of 10 gives %v", err)
	}
	if err := c.Encrypt(make([]uint16, MaxLength+1), nil); err == nil {
		t.Error("a string that is too long is encrypted")
	}
	if err := c.Encrypt(make([]uint16, 8), make([]byte, MaxTweak+1)); err == nil {
		t.Error("a tweak that is too long is used")
	}
}

// On a tenth of the smallest domain no two strings have one encryption, and few encrypt
// to themselves.
func TestIsAPermutation(t *testing.T) {
	c, err := New(bytesOf(t, key[:32]), 1000)
	if err != nil {
		t.Fatal(err)
	}
	seen, fixed := make([]bool, 1_000_000), 0
	for i := range len(seen) / 10 {
		x := []uint16{uint16(i / 1000), uint16(i % 1000)}
		if err := c.Encrypt(x, []byte("t")); err != nil {
			t.Fatal(err)
		}
		j := int(x[0])*1000 + int(x[1])
		if seen[j] {
			t.Fatalf("%d is the encryption of two strings", j)
		}
		seen[j] = true
		if i == j {
			fixed++
		}
	}
	if fixed > 10 { // a tenth of one is expected of a random permutation
		t.Errorf("%d strings encrypt to themselves", fixed)
	}
}

func TestRoundTripsOfEveryShape(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		radix := 2 + random.IntN(MaxRadix-1)
		if random.IntN(2) == 0 {
			radix = 2 + random.IntN(60)
		}
		c, err := New(bytesOf(t, key[:48]), radix)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]uint16, c.Min()+random.IntN(70))
		for i := range x {
			x[i] = uint16(random.IntN(radix))
		}
		tweak := make([]byte, random.IntN(40))
		y := slices.Clone(x)
		if err := c.Encrypt(y, tweak); err != nil {
			t.Fatal(err)
		}
		if slices.Equal(x, y) && len(x) > 8 {
			t.Errorf("radix %d: %v encrypts to itself", radix, x)
		}
		z := slices.Clone(y)
		if err := c.Decrypt(z, append(tweak, 1)); err != nil || slices.Equal(x, z) && len(x) > 8 {
			t.Error("another tweak decrypts it too")
		}
		if err := c.Decrypt(y, tweak); err != nil || !slices.Equal(x, y) {
			t.Fatalf("radix %d: %v comes back as %v, %v", radix, x, y, err)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(10, []byte("0123456789"), []byte("tweak"))
	f.Add(256, []byte{255, 0, 1, 9}, []byte{})
	f.Fuzz(func(t *testing.T, radix int, text, tweak []byte) {
		c, err := New(bytesOf(t, key), radix)
		if err != nil {
			return
		}
		x := make([]uint16, len(text))
		for i, b := range text {
			x[i] = uint16(b)
		}
		y := slices.Clone(x)
		if err := c.Encrypt(y, tweak); err != nil {
			if !slices.Equal(x, y) {
				t.Fatal("what was refused was changed")
			}
			return
		}
		if err := c.Decrypt(y, tweak); err != nil || !slices.Equal(x, y) {
			t.Fatalf("%v comes back as %v, %v", x, y, err)
		}
	})
}

func BenchmarkSixteenDigits(b *testing.B) {
	c, err := New(bytesOf(b, key), 10)
	if err != nil {
		b.Fatal(err)
	}
	x := make([]uint16, 16)
	for b.Loop() {
		if err := c.Encrypt(x, []byte("dataset")); err != nil {
			b.Fatal(err)
		}
	}
}
