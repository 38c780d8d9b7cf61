// Package identity holds principals: users, agents and services.
//
// An identity begins with an inception record, a statement that lists its first
// device signing keys and age recipients and commits to a recovery key that
// nobody has seen yet. The identity's id is the id of that statement, so the
// record proves the id and needs no registrar: whoever holds the record can
// check every signature of the identity.
//
// Everything else names an identity by its id alone. Records after inception
// (devices added and removed, recovery) are refused by this version of the
// network; the commitment that they need is part of every id already.
//
// A contact is the record in one line, what a person gives to be granted
// something:
//
//	cerebrum-contact-1.<base64url of the signed inception record>
package identity

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindInception is the kind of inception records.
const KindInception statement.Kind = "inception"

// Limits of an inception record.
const (
	// MaxRecord is the size in bytes of a signed record. A chain of grants and a
	// revocation carry records and have limits of their own, so an identity over
	// this one could be given nothing and could revoke nothing. Five hybrid
	// recipients fit.
	MaxRecord     = 12 << 10
	MaxDevices    = 16
	MaxRecipients = 16
	maxRecipient  = 4 << 10 // characters; a hybrid recipient has 1,959
)

const contactPrefix = "cerebrum-contact-1."

// ErrInvalid reports a record that does not prove an identity.
var ErrInvalid = errors.New("not a valid identity record")

// Kind says what a principal is.
type Kind uint8

// The kinds of principal.
const (
	User Kind = iota + 1
	Agent
	Service
)

// String is the word used on the command line.
func (k Kind) String() string {
	switch k {
	case User:
		return "user"
	case Agent:
		return "agent"
	case Service:
		return "service"
	}
	return "unknown"
}

// ParseKind reads what [Kind.String] writes.
func ParseKind(s string) (Kind, error) {
	for _, k := range []Kind{User, Agent, Service} {
		if k.String() == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("an identity is a user, an agent or a service, not %q", s)
}

// Inception is the body of the record.
type Inception struct {
	_          struct{} `cbor:",toarray"`
	Kind       Kind
	Devices    []statement.PublicKey // in order; a signature's index points here
	Recipients []string              // age hybrid recipients, age1pq1...
	Recovery   [32]byte              // SHA-256 of the recovery key's public half
	Nonce      [16]byte              // two identities of one device do not collide
}

// Identity is a principal whose inception record has been verified. It does not
// change, and its methods hand out copies, so that requests may share one.
type Identity struct {
	id   statement.ID
	body Inception
	raw  []byte
}

// Incept makes and signs the inception record of a new identity with one device.
func Incept(kind Kind, device statement.PrivateKey, recipient string, recovery statement.PublicKey, nonce [16]byte) (*Identity, error) {
	s, err := statement.Sign(KindInception, Inception{
		Kind: kind, Devices: []statement.PublicKey{device.Public()},
		Recipients: []string{recipient}, Recovery: recovery.Digest(), Nonce: nonce,
	}, device)
	if err != nil {
		return nil, err
	}
	return Parse(s.Bytes())
}

// Parse verifies a signed inception record: well-formed, and signed by every
// device that it lists, so that nobody enrols a key that is not theirs. A device
// may not be listed twice or be the recovery key as well: who steals the device
// would hold what is meant to evict it.
func Parse(raw []byte) (*Identity, error) {
	if len(raw) > MaxRecord {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrInvalid, MaxRecord)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var b Inception
	if err := s.Peek(KindInception, &b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if b.Kind < User || b.Kind > Service || len(b.Devices) == 0 || len(b.Devices) > MaxDevices ||
		len(b.Recipients) == 0 || len(b.Recipients) > MaxRecipients {
		return nil, fmt.Errorf("%w: its kind is unknown, or it has no or too many devices or recipients", ErrInvalid)
	}
	if slices.ContainsFunc(b.Devices, func(d statement.PublicKey) bool { return d.Digest() == b.Recovery }) {
		return nil, fmt.Errorf("%w: its recovery key is one of its devices", ErrInvalid)
	}
	for _, r := range b.Recipients {
		if len(r) > maxRecipient || !strings.HasPrefix(r, "age1pq1") {
			return nil, fmt.Errorf("%w: recipients are age hybrid recipients", ErrInvalid)
		}
	}
	if err := s.Verify(KindInception, b.Devices, len(b.Devices)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &Identity{id: s.ID(), body: b, raw: slices.Clone(raw)}, nil
}

// ID is the identity's id.
func (i *Identity) ID() statement.ID { return i.id }

// Kind says whether it is a user, an agent or a service.
func (i *Identity) Kind() Kind { return i.body.Kind }

// Devices are the keys that speak for the identity now.
func (i *Identity) Devices() []statement.PublicKey { return slices.Clone(i.body.Devices) }

// Recipients are the age recipients that answers to it are sealed to.
func (i *Identity) Recipients() []string { return slices.Clone(i.body.Recipients) }

// Record is the signed inception record.
func (i *Identity) Record() []byte { return slices.Clone(i.raw) }

// Verify checks that one of the identity's devices signed a statement of a kind.
func (i *Identity) Verify(kind statement.Kind, s *statement.Statement) error {
	return verify(kind, s, i.body.Devices)
}

// DeviceIndex is the index that a device's signatures carry, false for a key that
// does not speak for the identity now. Devices come and go, so the index is no
// place in a list: it is the first two bytes of the key's digest.
func (i *Identity) DeviceIndex(key statement.PublicKey) (uint16, bool) {
	return hint(key), slices.Contains(i.Devices(), key)
}

// Sign makes a statement that a device signs, at the index of that device.
func Sign(kind statement.Kind, body any, device statement.PrivateKey) (*statement.Statement, error) {
	s, err := statement.New(kind, body)
	if err != nil {
		return nil, err
	}
	s.AddSignature(hint(device.Public()), device)
	return s, nil
}

func hint(key statement.PublicKey) uint16 {
	d := key.Digest()
	return binary.BigEndian.Uint16(d[:])
}

// verify checks that one of keys signed a statement, which carries one signature.
func verify(kind statement.Kind, s *statement.Statement, keys []statement.PublicKey) error {
	at := s.Signers()
	if len(at) != 1 {
		return statement.ErrSignature
	}
	for _, k := range keys {
		if int(hint(k)) == at[0] && s.VerifyAt(kind, hint(k), k) == nil {
			return nil
		}
	}
	if !s.Is(kind) {
		return statement.ErrKind
	}
	return statement.ErrSignature
}

// Ever are the keys that speak or once spoke for the identity. What one of them
// signed stays valid where somebody else vouches that it was signed in time.
func (i *Identity) Ever() []statement.PublicKey { return i.Devices() }

// VerifyEver checks that a device that speaks or once spoke for the identity
// signed a statement of a kind.
func (i *Identity) VerifyEver(kind statement.Kind, s *statement.Statement) error {
	return verify(kind, s, i.Ever())
}

// Contact is the record in one line.
func (i *Identity) Contact() string {
	return contactPrefix + base64.RawURLEncoding.EncodeToString(i.raw)
}

// ParseContact reads what [Identity.Contact] writes. Space around it and line
// breaks inside it, which mail programs add, are ignored.
func ParseContact(s string) (*Identity, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s), contactPrefix)
	if !ok {
		return nil, fmt.Errorf("a contact begins with %q", contactPrefix)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("the contact is damaged: copy it whole")
	}
	id, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("the contact is damaged: %w", err)
	}
	return id, nil
}
