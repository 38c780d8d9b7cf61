package committee

import (
	"bytes"
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
)

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
