package committee

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// kekDomain separates this use of a secret from every other.
const kekDomain = "cerebrum.dev/committee/kek/v1"

// FileKeySize is the length of a file key, as age defines it. One length for
// all: an AEAD that does not commit to its key is safest with inputs of a fixed length.
const FileKeySize = 16

// SealedSize is the length of a sealed file key.
const SealedSize = FileKeySize + chacha20poly1305.Overhead

// KEK is the key under which a secret seals the file key of keyID in network.
// It panics on a secret that was never set, since the result would be a key that
// everybody knows.
func KEK(s Secret, keyID, network statement.ID) [32]byte {
	if s.IsZero() {
		panic("committee: KEK of a secret that was never set")
	}
	key, err := hkdf.Key(sha256.New, s.Bytes(), keyID[:], kekDomain+string(network[:]), 32)
	if err != nil {
		panic("committee: HKDF: " + err.Error()) // 32 bytes are within its limit (RFC 5869, section 2.3)
	}
	return [32]byte(key)
}

// SealKey encrypts a file key of [FileKeySize] bytes under the secret's [KEK].
// The result has [SealedSize] bytes and is the same for the same input. The nonce
// is fixed, so one (secret, key id, network) must never seal two different file
// keys: a new file key takes a new key id.
func SealKey(s Secret, keyID, network statement.ID, fileKey []byte) ([]byte, error) {
	if s.IsZero() {
		return nil, ErrSecret
	}
	if len(fileKey) != FileKeySize {
		return nil, fmt.Errorf("a file key has %d bytes, not %d", FileKeySize, len(fileKey))
	}
	kek := KEK(s, keyID, network)
	aead, err := chacha20poly1305.New(kek[:])
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, make([]byte, aead.NonceSize()), fileKey, additional(keyID, network)), nil
}

// OpenKey gives back the file key, or [ErrSealed].
func OpenKey(s Secret, keyID, network statement.ID, sealed []byte) ([]byte, error) {
	if s.IsZero() {
		return nil, ErrSecret
	}
	if len(sealed) != SealedSize {
		return nil, ErrSealed
	}
	kek := KEK(s, keyID, network)
	aead, err := chacha20poly1305.New(kek[:])
	if err != nil {
		return nil, err
	}
	fileKey, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed, additional(keyID, network))
	if err != nil {
		return nil, ErrSealed
	}
	return fileKey, nil
}

func additional(keyID, network statement.ID) []byte {
	return append(keyID[:], network[:]...)
}
