package envelope

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// PlainLeaf is the plaintext of a whole leaf, in bytes.
const PlainLeaf = LeafSize / ChunkSize * plainChunk

// Leaves decrypts a payload leaf by leaf, for bulk transfers: a leaf is 15
// chunks of age's STREAM (C2SP age, "Payload"), so it can be opened by itself,
// straight from the buffer that it arrived in. It gives what [Decrypt] gives; a
// test holds it against age. Because the payload's size is known beforehand,
// from the manifest, every chunk's length and the place of the last one are
// known too, and nothing else is accepted.
//
// It is safe for concurrent use.
type Leaves struct {
	aead cipher.AEAD
	size int64 // of the payload
	last int64 // number of the last chunk
}

// OpenLeaves checks the header's HMAC under key and derives the payload's key.
// nonce is the payload's first leaf, payloadSize the manifest's.
func OpenLeaves(header []byte, key FileKey, nonce []byte, payloadSize int64) (*Leaves, error) {
	if err := CheckHeader(header, key); err != nil {
		return nil, err
	}
	plain, err := PlainSize(payloadSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	if len(nonce) != NonceSize {
		return nil, fmt.Errorf("%w: the payload's nonce has %d bytes", ErrIntegrity, len(nonce))
	}
	secret, err := key.derive(nonce, "payload")
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(secret)
	if err != nil {
		return nil, err
	}
	return &Leaves{aead: aead, size: payloadSize, last: chunks(plain) - 1}, nil
}

var errNoLeaf = errors.New("no leaf stands at this offset")

// Decrypt appends the plaintext of the leaf that stands at an offset of the
// payload to dst, which must not overlap it. Nothing is appended to dst unless
// all of the leaf verifies; anything else is [ErrIntegrity].
func (l *Leaves) Decrypt(dst []byte, offset int64, leaf []byte) ([]byte, error) {
	start := offset - NonceSize
	if start < 0 || start%LeafSize != 0 || offset >= l.size {
		return nil, fmt.Errorf("%w: %w", ErrIntegrity, errNoLeaf)
	}
	if want := min(LeafSize, l.size-offset); int64(len(leaf)) != want {
		return nil, fmt.Errorf("%w: a leaf has %d bytes, not %d", ErrIntegrity, len(leaf), want)
	}
	out := dst
	for n := start / ChunkSize; len(leaf) > 0; n++ {
		chunk := leaf[:min(ChunkSize, len(leaf))]
		leaf = leaf[len(chunk):]
		var nonce [chacha20poly1305.NonceSize]byte // 11 bytes of counter, then the flag of the last chunk
		binary.BigEndian.PutUint64(nonce[3:11], uint64(n))
		if n == l.last {
			nonce[11] = 1
		}
		var err error
		if out, err = l.aead.Open(out, nonce[:], chunk, nil); err != nil {
			return nil, fmt.Errorf("%w: chunk %d does not verify", ErrIntegrity, n)
		}
	}
	return out, nil
}
