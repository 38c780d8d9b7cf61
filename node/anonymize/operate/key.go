package operate

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// MinKey is the least number of bytes of a secret.
const MinKey = 32

// Key is a secret from which each operator derives a key of its own. It prints as
// "key", and two keys cannot be compared with ==.
type Key struct{ secret []byte }

// NewKey copies a secret of at least [MinKey] random bytes.
func NewKey(secret []byte) (Key, error) {
	if len(secret) < MinKey {
		return Key{}, fmt.Errorf("the key has %d bytes and needs %d random ones at least", len(secret), MinKey)
	}
	return Key{append([]byte(nil), secret...)}, nil
}

// Format implements [fmt.Formatter]: no verb shows the secret.
func (Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "key") }

// Place says where a value stands. Equal values in different places have unrelated
// pseudonyms, so that two releases, or two columns, cannot be joined by them. Who wants
// them joined gives both one place.
type Place struct {
	Dataset, Column string
}

func (p Place) check() error {
	if p.Dataset == "" || p.Column == "" {
		return errors.New("pseudonyms are bound to a dataset and a column: name both")
	}
	return nil
}

// derive makes a key for one purpose at one place (HKDF, RFC 5869).
func (k Key) derive(purpose string, p Place, length int) ([]byte, error) {
	if len(k.secret) < MinKey {
		return nil, errors.New("there is no key")
	}
	info := []byte("cerebrum/operate/1")
	for _, part := range []string{purpose, p.Dataset, p.Column} {
		info = binary.BigEndian.AppendUint64(info, uint64(len(part)))
		info = append(info, part...)
	}
	return hkdf.Key(sha256.New, k.secret, nil, string(info), length)
}
