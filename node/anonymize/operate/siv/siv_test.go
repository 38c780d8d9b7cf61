package siv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 5297, appendix A.
func TestVectorsOfTheRFC(t *testing.T) {
	for _, v := range []struct {
		name, key  string
		associated []string
		text, out  string
	}{
		{"A.1", "fffefdfc fbfaf9f8 f7f6f5f4 f3f2f1f0 f0f1f2f3 f4f5f6f7 f8f9fafb fcfdfeff",
			[]string{"10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627"},
			"11223344 55667788 99aabbcc ddee",
			"85632d07 c6e8f37f 950acd32 0a2ecc93 40c02b96 90c4dc04 daef7f6a fe5c"},
		{"A.2", "7f7e7d7c 7b7a7978 77767574 73727170 40414243 44454647 48494a4b 4c4d4e4f",
			[]string{"00112233 44556677 8899aabb ccddeeff deaddada deaddada ffeeddcc bbaa9988 77665544 33221100",
				"10203040 50607080 90a0", "09f91102 9d74e35b d84156c5 635688c0"},
			"74686973 20697320 736f6d65 20706c61 696e7465 78742074 6f20656e 63727970 74207573 696e6720 5349562d 414553",
			"7bdb6e3b 432667eb 06f4d14b ff2fbd0f cb900f2f ddbe4043 26601965 c889bf17 dba77ceb 094fa663 b7a3f748 ba8af829 ea64ad54 4a272e9c 485b62a3 fd5c0d"},
	} {
		c, err := New(unhex(t, v.key))
		if err != nil {
			t.Fatal(err)
		}
		var ad [][]byte
		for _, a := range v.associated {
			ad = append(ad, unhex(t, a))
		}
		sealed := c.Seal([]byte("before"), unhex(t, v.text), ad...)
		if want := append([]byte("before"), unhex(t, v.out)...); !bytes.Equal(sealed, want) {
			t.Errorf("%s: %x, want %x", v.name, sealed, want)
		}
		text, err := c.Open(nil, sealed[6:], ad...)
		if err != nil || !bytes.Equal(text, unhex(t, v.text)) {
			t.Errorf("%s opens to %x, %v", v.name, text, err)
		}
	}
}

func TestKeyLengths(t *testing.T) {
	for n := range 80 {
		_, err := New(make([]byte, n))
		if ok := n == 32 || n == 48 || n == 64; ok != (err == nil) {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
	}
}

// A changed bit, a missing byte, other associated data, or the same split differently:
// none of them opens, and what does not open gives nothing away.
func TestChangedCiphertextsDoNotOpen(t *testing.T) {
	c, err := New(bytes.Repeat([]byte{7}, 64))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 {
		text := bytes.Repeat([]byte("x"), n)
		sealed := c.Seal(nil, text, []byte("data"), []byte("column"))
		if got, err := c.Open(nil, sealed, []byte("data"), []byte("column")); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%d bytes open to %q, %v", n, got, err)
		}
		for bit := range 8 * len(sealed) {
			sealed[bit/8] ^= 1 << (bit % 8)
			if got, err := c.Open(nil, sealed, []byte("data"), []byte("column")); !errors.Is(err, ErrOpen) || got != nil {
				t.Fatalf("with bit %d turned over it opens to %q, %v", bit, got, err)
			}
			sealed[bit/8] ^= 1 << (bit % 8)
		}
		for _, ad := range [][][]byte{nil, {[]byte("datacolumn")}, {[]byte("dat"), []byte("acolumn")}, {[]byte("column"), []byte("data")}} {
			if _, err := c.Open(nil, sealed, ad...); !errors.Is(err, ErrOpen) {
				t.Errorf("it opens for %q", ad)
			}
		}
		if _, err := c.Open(nil, sealed[:len(sealed)-1], []byte("data"), []byte("column")); !errors.Is(err, ErrOpen) {
			t.Error("it opens without its last byte")
		}
	}
}

func FuzzOpen(f *testing.F) {
	c, err := New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Seal(nil, []byte("text"), []byte("a")), []byte("a"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, sealed, ad []byte) {
		text, err := c.Open(nil, sealed, ad)
		if err == nil && !bytes.Equal(c.Seal(nil, text, ad), sealed) {
			t.Fatal("two ciphertexts have one plaintext")
		}
	})
}
