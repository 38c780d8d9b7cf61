package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindEnrol is the kind of a new device's request.
const KindEnrol statement.Kind = "enrol"

const enrolPrefix = "cerebrum-device-1."

// Enrolment is a device's request to speak for an identity, signed by that
// device. It proves that the device is somebody's, not whose.
type Enrolment struct {
	Identity  statement.ID
	Device    statement.PublicKey
	Recipient string // ends with the device
	raw       []byte
}

type enrolBody struct {
	_         struct{} `cbor:",toarray"`
	Identity  statement.ID
	Device    statement.PublicKey
	Recipient string
	Nonce     [16]byte
}

// Enrol makes the request of a new device.
func Enrol(identity statement.ID, device statement.PrivateKey, recipient string) (*Enrolment, error) {
	b := enrolBody{Identity: identity, Device: device.Public(), Recipient: recipient}
	rand.Read(b.Nonce[:])
	s, err := Sign(KindEnrol, b, device)
	if err != nil {
		return nil, err
	}
	return parseEnrolment(s.Bytes())
}

func parseEnrolment(raw []byte) (*Enrolment, error) {
	bad := func(err error) (*Enrolment, error) { return nil, fmt.Errorf("a device's request: %w", err) }
	if len(raw) > MaxRecord {
		return bad(errLong)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return bad(err)
	}
	var b enrolBody
	if err := s.Peek(KindEnrol, &b); err != nil {
		return bad(err)
	}
	if err := checkRecipient(b.Recipient); err != nil {
		return bad(err)
	}
	if err := verify(KindEnrol, s, []statement.PublicKey{b.Device}); err != nil {
		return bad(err)
	}
	return &Enrolment{Identity: b.Identity, Device: b.Device, Recipient: b.Recipient, raw: bytes.Clone(raw)}, nil
}

// Text is the request in one line.
func (e *Enrolment) Text() string {
	return enrolPrefix + base64.RawURLEncoding.EncodeToString(e.raw)
}

// ParseEnrolment reads and verifies what [Enrolment.Text] writes. Space around
// it and line breaks inside it are ignored.
func ParseEnrolment(text string) (*Enrolment, error) {
	raw, err := fromLine(text, enrolPrefix)
	if err != nil {
		return nil, fmt.Errorf("a device's request %w", err)
	}
	return parseEnrolment(raw)
}

// fromLine decodes a text form. Its error completes a sentence.
func fromLine(text, prefix string) ([]byte, error) {
	line, ok := strings.CutPrefix(strings.TrimSpace(text), prefix)
	if !ok {
		return nil, fmt.Errorf("begins with %q", prefix)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(line)
	if err != nil {
		return nil, errors.New("is damaged: copy it whole")
	}
	return raw, nil
}
