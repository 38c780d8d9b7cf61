package envelope

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/chacha20poly1305"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Kinds of content that [Details] knows.
const (
	DetailsFile      uint8 = 0 // the plaintext is a file
	DetailsDirectory uint8 = 1 // the plaintext is the index of a directory
)

// Limits of [Details], in bytes.
const (
	MaxName      = 4096
	MaxMediaType = 255
	MaxOrigin    = 256 // of [Origin.Method] and [Origin.Report] each

	detailsStep      = 256      // sealed details are a multiple of this
	maxSealedDetails = 20 * 256 // the longest name and media type; with an origin names are shorter
	detailsSalt      = 16
	detailsInfo      = "cerebrum.dev/details/v1"
)

// ErrDetails reports details that do not open: the wrong key or object, or
// altered bytes.
var ErrDetails = fmt.Errorf("%w: the details do not open", ErrIntegrity)

// Details is what readers see of an object and carriers of its ciphertext do
// not. A name comes from the owner: whoever writes it to a disk or a terminal
// treats it as hostile.
type Details struct {
	_         struct{} `cbor:",toarray"`
	Name      string   // at most [MaxName] bytes of UTF-8
	MediaType string   // at most [MaxMediaType] bytes of UTF-8; may be empty
	Modified  int64    // Unix seconds
	Kind      uint8    // [DetailsFile] or [DetailsDirectory]
	Plain     uint64   // bytes of plaintext
	Origin    Origin   `cbor:"-"` // of a release of a table; zero: none
}

// Origin says what a release of a table was made of, and how. It is the owner's word.
type Origin struct {
	_      struct{} `cbor:",toarray"`
	Source [32]byte // SHA-256 of the table
	Method string   // the guarantee and how it was reached, in words
	Report string   // address of the report
}

// release is how details with an origin are written: the array of [Details], whose
// length is their version, with one more element. Programs that do not know it refuse it.
type release struct {
	_         struct{} `cbor:",toarray"`
	Name      string
	MediaType string
	Modified  int64
	Kind      uint8
	Plain     uint64
	Origin    Origin
}

func (d Details) marshal() ([]byte, error) {
	if d.Origin == (Origin{}) {
		return statement.Marshal(d)
	}
	return statement.Marshal(release{Name: d.Name, MediaType: d.MediaType, Modified: d.Modified, Kind: d.Kind, Plain: d.Plain, Origin: d.Origin})
}

func unmarshalDetails(body []byte) (Details, error) {
	var d Details
	if len(body) == 0 || body[0] != 0x86 { // not an array of six
		return d, statement.Unmarshal(body, &d)
	}
	var r release
	if err := statement.Unmarshal(body, &r); err != nil {
		return d, err
	}
	if r.Origin == (Origin{}) {
		return d, errors.New("an origin that says nothing is left out")
	}
	return Details{Name: r.Name, MediaType: r.MediaType, Modified: r.Modified, Kind: r.Kind, Plain: r.Plain, Origin: r.Origin}, nil
}

func (d Details) check() error {
	switch o := d.Origin; {
	case len(o.Method) > MaxOrigin || len(o.Report) > MaxOrigin || len(d.Name)+len(o.Method)+len(o.Report) > MaxName:
		return errors.New("an object's name or origin is too long")
	case !utf8.ValidString(o.Method) || !utf8.ValidString(o.Report):
		return errors.New("an object's origin is not UTF-8")
	case len(d.Name) > MaxName || len(d.MediaType) > MaxMediaType:
		return errors.New("an object's name or media type is too long")
	case !utf8.ValidString(d.Name) || !utf8.ValidString(d.MediaType):
		return errors.New("an object's name or media type is not UTF-8")
	case d.Kind > DetailsDirectory:
		return errors.New("an object's kind is unknown")
	}
	return nil
}

// SealDetails encrypts details for whoever holds the file key:
//
//	salt (16) || ChaCha20-Poly1305(HKDF-SHA256(file key, salt, "cerebrum.dev/details/v1"), nonce 0,
//	    length (2, big-endian) || CBOR || zeros, additional data = aad)
//
// aad is the key id ([Manifest.KeyID]), which binds network, owner and key, so
// that details cannot move to another object. Every salt makes a key that is used
// once. The result is padded to a multiple of 256 bytes, so that its length
// tells little about the name.
func SealDetails(d Details, key FileKey, aad statement.ID) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	body, err := d.marshal()
	if err != nil {
		return nil, err
	}
	size := detailsSalt + 2 + len(body) + tagSize
	size += (detailsStep - size%detailsStep) % detailsStep
	sealed := make([]byte, detailsSalt, size)
	rand.Read(sealed)
	plain := make([]byte, size-detailsSalt-tagSize)
	binary.BigEndian.PutUint16(plain, uint16(len(body)))
	copy(plain[2:], body)
	k, err := key.derive(sealed, detailsInfo)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(k)
	if err != nil {
		return nil, err
	}
	return aead.Seal(sealed, make([]byte, aead.NonceSize()), plain, aad[:]), nil
}

// OpenDetails opens what [SealDetails] sealed under the same key and aad.
// Whatever else it is given is [ErrDetails].
func OpenDetails(sealed []byte, key FileKey, aad statement.ID) (Details, error) {
	if len(sealed) == 0 || len(sealed)%detailsStep != 0 || len(sealed) > maxSealedDetails {
		return Details{}, ErrDetails
	}
	k, err := key.derive(sealed[:detailsSalt], detailsInfo)
	if err != nil {
		return Details{}, err
	}
	aead, err := chacha20poly1305.New(k)
	if err != nil {
		return Details{}, err
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed[detailsSalt:], aad[:])
	if err != nil {
		return Details{}, ErrDetails
	}
	return decodeDetails(plain)
}

// decodeDetails reads what a holder of the file key wrote, perhaps not by this
// program: any reader could have.
func decodeDetails(plain []byte) (Details, error) {
	if len(plain) < 2 {
		return Details{}, ErrDetails
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n > len(plain)-2 || len(plain)-2-n >= detailsStep {
		return Details{}, ErrDetails
	}
	for _, b := range plain[2+n:] {
		if b != 0 {
			return Details{}, ErrDetails
		}
	}
	d, err := unmarshalDetails(plain[2 : 2+n])
	if err != nil || d.check() != nil {
		return Details{}, ErrDetails
	}
	return d, nil
}
