package envelope

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// FileKeySize is the size of a file key in bytes (C2SP age, "File key").
const FileKeySize = 16

var errNoKey = errors.New("no file key was given")

// FileKey is the secret of one object. It does not compare with == and no verb
// of package fmt prints it. The zero value holds no key; every function of this
// package refuses it.
type FileKey struct {
	// A function, because fmt cannot call Format on an unexported field of a
	// caller's struct: it would print an array's bytes, with a wrong verb even
	// those behind a pointer. Of a function it knows only the address. Functions
	// do not compare, either.
	secret func() [FileKeySize]byte
}

// NewFileKey copies a file key of 16 bytes.
func NewFileKey(b []byte) (FileKey, error) {
	if len(b) != FileKeySize {
		return FileKey{}, fmt.Errorf("a file key has %d bytes, not %d", FileKeySize, len(b))
	}
	key := [FileKeySize]byte(b)
	return FileKey{func() [FileKeySize]byte { return key }}, nil
}

// Bytes is a copy of the secret itself, for sealing it; nil for the zero value.
func (k FileKey) Bytes() []byte {
	if k.IsZero() {
		return nil
	}
	key := k.secret()
	return key[:]
}

// IsZero reports a key that was never set.
func (k FileKey) IsZero() bool { return k.secret == nil }

// String never shows the key.
func (k FileKey) String() string { return "envelope.FileKey(hidden)" }

// Format never shows the key, whatever the verb.
func (k FileKey) Format(f fmt.State, _ rune) { f.Write([]byte(k.String())) }

// derive is HKDF-SHA256 of the file key. The infos "header" and "payload" are
// age's; ours start with the domain, so they cannot meet.
func (k FileKey) derive(salt []byte, info string) ([]byte, error) {
	if k.IsZero() {
		return nil, errNoKey
	}
	return hkdf.Key(sha256.New, k.Bytes(), salt, info, 32)
}
