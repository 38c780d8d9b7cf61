package statement

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func mustKey(t testing.TB, seed byte) PrivateKey {
	t.Helper()
	k, err := KeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// RFC 8032, section 7.1, test 2.
func TestKeyOfTheRFC(t *testing.T) {
	seed, _ := hex.DecodeString("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
	k, err := KeyFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.Public().String(), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"; got != want {
		t.Errorf("public key is %s, want %s", got, want)
	}
	const want = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da" +
		"085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
	if got := hex.EncodeToString(k.sign([]byte{0x72})); got != want {
		t.Errorf("signature is %s, want %s", got, want)
	}
	if !bytes.Equal(k.Seed(), seed) {
		t.Error("the seed does not come back")
	}
	k.Seed()[0] ^= 1
	if !bytes.Equal(k.Seed(), seed) {
		t.Error("Seed is not a copy")
	}
}

func TestKeyFromSeedRefuses(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		if k, err := KeyFromSeed(make([]byte, n)); err == nil || !k.IsZero() {
			t.Errorf("a seed of %d bytes: %v", n, err)
		}
	}
	if _, err := KeyFromSeed(nil); err == nil {
		t.Error("no seed")
	}
	if mustKey(t, 1).IsZero() || !(PrivateKey{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestGeneratedKeysDiffer(t *testing.T) {
	a, b := GenerateKey(), GenerateKey()
	if a.Public() == b.Public() || bytes.Equal(a.Seed(), make([]byte, 32)) {
		t.Error("keys are not random")
	}
	if a.Public().Digest() == b.Public().Digest() {
		t.Error("digests collide")
	}
}

func TestPrivateKeysDoNotCompare(t *testing.T) {
	if reflect.TypeFor[PrivateKey]().Comparable() {
		t.Error("private keys compare with ==, byte by byte, until the first difference")
	}
	if !reflect.DeepEqual(mustKey(t, 1), mustKey(t, 1)) || reflect.DeepEqual(mustKey(t, 1), mustKey(t, 2)) {
		t.Error("DeepEqual, which tests use, is wrong")
	}
}

// Nothing that package fmt, slog or json writes may hold a part of a private
// key: with every verb, right or wrong, in exported and unexported fields.
func TestPrivateKeyIsNeverPrinted(t *testing.T) {
	k := mustKey(t, 0xc7)
	type holder struct {
		Key    PrivateKey
		Ptr    *PrivateKey
		Map    map[string]PrivateKey
		hidden PrivateKey
		any    any
	}
	h := holder{k, &k, map[string]PrivateKey{"a": k}, k, k}
	values := []any{k, &k, h, &h, []PrivateKey{k}, map[int]holder{1: h}, struct{ k any }{h}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%b", "%o", "%c", "%U", "%t", "%e", "%p", "%w", "%!", "%", "no verb"} {
		for _, v := range values {
			fmt.Fprintf(&out, verb, v)
		}
	}
	fmt.Fprint(&out, values...)
	for _, l := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		for _, v := range values {
			l.Info("x", "v", v)
		}
	}
	for _, v := range values {
		b, err := json.Marshal(v)
		fmt.Fprint(&out, string(b), err)
	}
	secrets := [][]byte{k.Seed(), (**k.key)[:4]}
	h512 := sha512.Sum512(k.Seed()) // the scalar itself
	secrets = append(secrets, h512[:4])
	for _, secret := range secrets {
		for _, form := range leaks(secret) {
			if strings.Contains(out.String(), form) {
				t.Errorf("the key was printed as %q", form)
			}
		}
	}
	// The control: the naive type does leak, in the very forms looked for.
	type naive struct{ key ed25519.PrivateKey }
	leaked := fmt.Sprintf("%v %+v %#v %x %d", naive{**k.key}, naive{**k.key}, naive{**k.key}, naive{**k.key}, naive{**k.key})
	found := 0
	for _, form := range leaks(k.Seed()) {
		if strings.Contains(leaked, form) {
			found++
		}
	}
	if found < 3 {
		t.Errorf("control: a leak is noticed in %d forms only", found)
	}
}

// leaks are the first bytes of a secret as they may appear in a text.
func leaks(b []byte) []string {
	b = b[:4]
	return []string{
		fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), fmt.Sprintf("% x", b), string(b),
		strings.Trim(fmt.Sprint(b), "[]"), strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ","),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
		strings.Trim(fmt.Sprintf("%b", b), "[]"), strings.Trim(fmt.Sprintf("%o", b), "[]"),
	}
}

// Under a public key of small order anybody signs: with S = 0 and R a point of
// small order, the equation S*B = R + k*A loses everything secret, and holds for
// one message in eight or more. A list of keys with one unset entry would
// otherwise hand out a signature.
func TestWeakKeysSignNothing(t *testing.T) {
	for _, y := range smallOrder {
		for _, sign := range []byte{0, 0x80} {
			weak := y
			weak[31] |= sign
			s := forge(t, weak)
			if s == nil {
				t.Errorf("control: crypto/ed25519 lets nobody sign for %s", weak)
				continue
			}
			if s.Verify("test", []PublicKey{weak}, 1) == nil || len(s.VerifyEach("test", []PublicKey{weak})) != 0 {
				t.Errorf("a forgery verifies under %s", weak)
			}
		}
	}
	if strong := mustKey(t, 1); strong.Public().weak() || !strong.Public().verify(nil, strong.sign(nil)) {
		t.Error("control: an honest key is refused")
	}
}

// forge signs some statement without a private key, with crypto/ed25519 as the
// judge of its success.
func forge(t *testing.T, weak PublicKey) *Statement {
	for count := range uint64(1000) {
		s, err := New("test", body{Count: count})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range smallOrder {
			sig := append(bytes.Clone(r[:]), make([]byte, 32)...)
			if ed25519.Verify(weak[:], s.pae(), sig) {
				s.sigs = []Signature{{Index: 0, Bytes: sig}}
				return s
			}
		}
	}
	return nil
}

func TestSignatureBytesAreStrict(t *testing.T) {
	k := mustKey(t, 3)
	msg := []byte("message")
	sig := k.sign(msg)
	if !k.Public().verify(msg, sig) {
		t.Fatal("control: an honest signature is refused")
	}
	for n := range sig {
		if k.Public().verify(msg, sig[:n]) {
			t.Errorf("%d bytes verify", n)
		}
	}
	if k.Public().verify(msg, append(bytes.Clone(sig), 0)) {
		t.Error("65 bytes verify")
	}
	for bit := range 8 * len(sig) {
		b := bytes.Clone(sig)
		b[bit/8] ^= 1 << (bit % 8)
		if k.Public().verify(msg, b) {
			t.Errorf("verifies with bit %d flipped", bit)
		}
	}
	// S + L is the same scalar again (RFC 8032, section 5.1.7, refuses it).
	order := [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	b, carry := bytes.Clone(sig), 0
	for i := range order {
		carry += int(b[32+i]) + int(order[i])
		b[32+i], carry = byte(carry), carry>>8
	}
	if carry != 0 || k.Public().verify(msg, b) {
		t.Error("a signature has two encodings")
	}
}
