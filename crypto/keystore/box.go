package keystore

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
)

// MaxRecipients is how many recipients a box can have: a hybrid stanza takes
// about 1.6 KiB, and no reader accepts a header above [MaxHeader].
const MaxRecipients = 40

// Errors of boxes that callers branch on.
var (
	// ErrBox reports a box that does not open: damaged, sealed to somebody
	// else, or sealed in a way that this package does not accept.
	ErrBox = errors.New("box does not open")
	// ErrTooLarge reports a box that holds more than the caller allows; it is
	// found before anything is decrypted.
	ErrTooLarge = errors.New("box holds more than is allowed")
)

// GenerateHybrid makes an age identity of the hybrid, post-quantum kind
// (ML-KEM-768 with X25519) and gives its two halves: the secret one,
// AGE-SECRET-KEY-PQ-1..., and the public one, age1pq1....
func GenerateHybrid() (identity, recipient string, err error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return "", "", err
	}
	return id.String(), id.Recipient().String(), nil
}

// HybridRecipient is the public half of a hybrid identity.
func HybridRecipient(identity string) (recipient string, err error) {
	id, err := parseIdentity(identity)
	if err != nil {
		return "", err
	}
	return id.Recipient().String(), nil
}

// parseIdentity never passes on the library's error, which may quote its input.
func parseIdentity(s string) (*age.HybridIdentity, error) {
	id, err := age.ParseHybridIdentity(s)
	if err != nil || id.String() != s {
		return nil, errors.New("an age identity is not of the post-quantum kind AGE-SECRET-KEY-PQ-1")
	}
	return id, nil
}

// Sealer seals small secrets to a fixed set of recipients. It may be used by
// several goroutines.
type Sealer struct{ to []age.Recipient }

// NewSealer parses the recipients once. It takes 1 to [MaxRecipients] hybrid
// recipients, age1pq1..., and refuses every other kind: one classic recipient
// would give the secret to whoever records it today and has a quantum computer
// later.
func NewSealer(recipients ...string) (*Sealer, error) {
	if len(recipients) < 1 || len(recipients) > MaxRecipients {
		return nil, fmt.Errorf("a box has 1 to %d recipients, not %d", MaxRecipients, len(recipients))
	}
	s := &Sealer{to: make([]age.Recipient, len(recipients))}
	for i, text := range recipients {
		r, err := age.ParseHybridRecipient(text)
		if err != nil { // not quoted: somebody may have pasted the secret half
			return nil, fmt.Errorf("recipient %d of %d is not of the post-quantum kind age1pq1", i+1, len(recipients))
		}
		s.to[i] = r
	}
	return s, nil
}

// Seal encrypts plaintext to all recipients, as a binary age file. A box says
// nothing about who sealed it; where that matters, it is inside a statement.
func (s *Sealer) Seal(plaintext []byte) ([]byte, error) {
	var box bytes.Buffer
	box.Grow(len(s.to)*1600 + len(plaintext) + len(plaintext)/ageChunk*ageTag + 256)
	w, err := age.Encrypt(&box, s.to...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plaintext); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return box.Bytes(), nil
}

// SealTo seals once; see [Sealer].
func SealTo(recipients []string, plaintext []byte) ([]byte, error) {
	s, err := NewSealer(recipients...)
	if err != nil {
		return nil, err
	}
	return s.Seal(plaintext)
}

// Opener opens boxes sealed to one identity. It may be used by several
// goroutines.
type Opener struct{ id *age.HybridIdentity }

// NewOpener parses the identity once.
func NewOpener(identity string) (*Opener, error) {
	id, err := parseIdentity(identity)
	if err != nil {
		return nil, err
	}
	return &Opener{id}, nil
}

// Open gives the whole plaintext of a box, or none of it. It takes boxes of at
// most max bytes of plaintext and of hybrid recipients only, and fails with
// [ErrTooLarge] or [ErrBox]; both limits are checked before any work is done.
func (o *Opener) Open(box []byte, max int) ([]byte, error) {
	h, err := scanHeader(box)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBox, err)
	}
	// A passphrase stanza would cost the reader what its sender likes; any
	// other kind would be a door that is not post-quantum.
	if !h.only(hybridStanza) {
		return nil, fmt.Errorf("%w: it has recipients of another kind", ErrBox)
	}
	size := h.plaintextSize(len(box))
	if size > max {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, max)
	}
	if size < 0 {
		return nil, fmt.Errorf("%w: it is cut short", ErrBox)
	}
	key, err := age.DecryptHeader(box[:h.size], o.id)
	if err != nil {
		var other *age.NoIdentityMatchError
		if errors.As(err, &other) {
			return nil, fmt.Errorf("%w: it is sealed to somebody else", ErrBox)
		}
		return nil, fmt.Errorf("%w: its header is damaged", ErrBox)
	}
	read := openStream
	if size <= ageChunk {
		read = openChunk
	}
	plaintext, err := read(key, box, h.size, size)
	if err != nil {
		return nil, fmt.Errorf("%w: its content is damaged", ErrBox)
	}
	return plaintext, nil
}

// openStream has age read the content.
func openStream(key, box []byte, header, size int) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(box), age.NewInjectedFileKeyIdentity(key))
	if err != nil {
		return nil, err
	}
	plaintext := make([]byte, size)
	if _, err := io.ReadFull(r, plaintext); err != nil {
		return nil, err
	}
	// age releases a chunk before it knows that the next one is there: only
	// the end of the stream says that nothing was cut off.
	if _, err := io.ReadFull(r, make([]byte, 1)); err != io.EOF {
		return nil, errors.New("there is more")
	}
	return plaintext, nil
}

// openChunk reads content of one chunk, which is that of nearly every box, as the
// C2SP age specification says under "Payload": the key is HKDF-SHA-256 of the file
// key with the nonce, and the last chunk, which here is the first, has the counter
// zero and the flag one. Without it each box took 128 KiB of buffers, by which
// whoever opens many was held up most but for the decapsulation.
func openChunk(key, box []byte, header, _ int) ([]byte, error) {
	nonce, sealed := box[header:header+ageNonce], box[header+ageNonce:]
	payload, err := hkdf.Key(sha256.New, key, nonce, "payload", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(payload)
	if err != nil {
		return nil, err
	}
	var last [chacha20poly1305.NonceSize]byte
	last[len(last)-1] = 1
	return aead.Open(make([]byte, 0, len(sealed)-ageTag), last[:], sealed, nil)
}

// OpenWith opens once; see [Opener].
func OpenWith(identity string, box []byte, max int) ([]byte, error) {
	o, err := NewOpener(identity)
	if err != nil {
		return nil, err
	}
	return o.Open(box, max)
}
