package envelope

import (
	"errors"
	"math"
)

// Sizes of the ciphertext, in bytes.
const (
	// ChunkSize is one encrypted chunk of age's STREAM: 64 KiB and a tag.
	ChunkSize = plainChunk + tagSize
	// LeafSize is a leaf of the payload: 15 chunks, just under the 1 MiB that
	// IPFS nodes exchange without special settings.
	LeafSize = 15 * ChunkSize
	// NonceSize is age's payload nonce, the first leaf of every payload.
	NonceSize = 16

	plainChunk = 64 << 10
	tagSize    = 16
)

var errPayloadSize = errors.New("no payload has this size")

// PayloadSize is the size of the ciphertext payload, its nonce included, of
// plain bytes of plaintext. An empty plaintext still has one chunk, of a tag
// alone. It is -1 where plain is negative or the result exceeds an int64.
func PayloadSize(plain int64) int64 {
	if plain < 0 {
		return -1
	}
	overhead := NonceSize + tagSize*chunks(plain)
	if plain > math.MaxInt64-overhead {
		return -1
	}
	return plain + overhead
}

// PlainSize is the inverse of [PayloadSize]. It refuses sizes that no payload has.
func PlainSize(payload int64) (int64, error) {
	if payload < NonceSize+tagSize {
		return 0, errPayloadSize
	}
	stream := payload - NonceSize
	n := stream / ChunkSize
	if stream%ChunkSize != 0 {
		n++
	}
	plain := stream - n*tagSize
	if PayloadSize(plain) != payload {
		return 0, errPayloadSize
	}
	return plain, nil
}

func chunks(plain int64) int64 {
	n := plain / plainChunk
	if plain%plainChunk != 0 || n == 0 {
		n++
	}
	return n
}
