// Package identity holds principals: users, agents and services.
//
// An identity begins with an inception record, a statement that lists its first
// device signing keys and age recipients and commits to a recovery key that
// nobody has seen yet. The identity's id is the id of that statement, so the
// record proves the id and needs no registrar: whoever holds the record can
// check every signature of the identity.
//
// Everything else names an identity by its id alone.
//
// # Records
//
// Devices and recipients change by records. A device record is signed by one
// device and adds another (which asked for it by an [Enrolment], signed by
// itself), adds a recipient, or removes the device that signs: no device can
// remove another. A recovery is signed by the recovery key that was committed to
// and by the devices that it lists; it commits to the next recovery key, raises
// the recovery count and ends every other device and recipient.
//
// The state of an identity is a function of a set of records:
//
//   - Recoveries form branches from the inception, each naming the one before.
//     The longest branch counts; of two as long, the one whose last id is smaller.
//   - Device records count only under the recovery count that they name. One
//     counts if its author is a device of that count.
//   - A removal lists which of its author's records stay. The author's others are
//     void, whenever they were made: a device that was given away adds nobody.
//     Several removals by one device leave what all of them list.
//   - A recovery lists the earlier device records that stay part of history.
//     What it does not list never was, so a key that once spoke can add nothing
//     to the past.
//   - In an inception or a recovery with as many recipients as devices, the
//     recipient belongs to the device in the same place, and goes with it.
//
// Current devices speak ([Identity.Verify]); what a former one signed stays
// provable ([Identity.VerifyEver]) as long as its record stands. Who holds a
// device can void the records of that device and so the devices that it alone
// added; the remedy is recovery. Who holds a used recovery key can start a branch
// where it was used: destroy it.
//
// # Document
//
// An identity travels as a document, the CBOR array [inception, [record, ...]]
// in the order of the records' ids. It has exactly the records that count:
// the recoveries of the branch, the device records of the present count, and
// those of earlier counts that are history. [Parse] refuses any other, so that
// no document can be stuffed. When [Identity.With] finds no room, it drops history, the
// oldest count first; the present is never dropped: it answers [ErrFull].
//
// A contact is the document in one line, what a person gives to be granted
// something; a new device's request is one line as well:
//
//	cerebrum-contact-1.<base64url of the document>
//	cerebrum-device-1.<base64url of the signed enrolment>
//
// # Use
//
//	request, err := identity.Enrol(id, newDevice, recipient)         // on the new device
//	record, err := me.AddDevice(oldDevice, request, time.Now())      // on the old one
//	me, err = me.With(record)                                        // wherever it is heard of
//	record, err = identity.Recover(me, secret, devices, recipients, next)
package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindInception is the kind of inception records.
const KindInception statement.Kind = "inception"

// Limits of an identity.
const (
	// MaxRecord is the size in bytes of a signed record; five hybrid recipients fit.
	MaxRecord = 12 << 10
	// MaxDocument is the size in bytes of a document. A chain of grants and a
	// revocation carry documents and have limits of their own, so an identity over
	// this one could be given nothing and could revoke nothing.
	MaxDocument   = 32 << 10
	MaxRecords    = 64      // in a document, after the inception
	MaxDevices    = 16      // in an inception or a recovery
	MaxRecipients = 16      // in an inception or a recovery
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

// Identity is a principal whose document has been verified. It does not change,
// and its methods hand out copies, so that requests may share one.
type Identity struct {
	id        statement.ID
	body      Inception
	inception []byte
	raw       []byte    // the document
	records   []*Record // those that count, in the order of their ids

	epoch      epoch // of the last recovery
	count      uint32
	devices    []statement.PublicKey
	ever       []statement.PublicKey
	recipients []string
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
	return New(s.Bytes())
}

// New verifies a signed inception record and makes the identity that has no
// other record: well-formed, and signed by every device that it lists, so that
// nobody enrols a key that is not theirs. A device may not be listed twice or be
// the recovery key as well: who steals the device would hold what is meant to
// evict it.
func New(inception []byte) (*Identity, error) {
	i, err := verifyInception(inception)
	if err != nil {
		return nil, err
	}
	return fold(i, nil)
}

func verifyInception(raw []byte) (*Identity, error) {
	bad := func(err error) (*Identity, error) { return nil, fmt.Errorf("%w: %w", ErrInvalid, err) }
	if len(raw) > MaxRecord {
		return bad(errLong)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return bad(err)
	}
	var b Inception
	if err := s.Peek(KindInception, &b); err != nil {
		return bad(err)
	}
	if b.Kind < User || b.Kind > Service {
		return bad(errors.New("its kind is unknown"))
	}
	if err := checkLists(b.Devices, b.Recipients); err != nil {
		return bad(err)
	}
	if slices.ContainsFunc(b.Devices, func(d statement.PublicKey) bool { return d.Digest() == b.Recovery }) {
		return bad(errors.New("its recovery key is one of its devices"))
	}
	if err := s.Verify(KindInception, b.Devices, len(b.Devices)); err != nil {
		return bad(err)
	}
	return &Identity{id: s.ID(), body: b, inception: slices.Clone(raw)}, nil
}

// readDocument decodes a document and verifies nothing but its sizes.
func readDocument(doc []byte) (*document, error) {
	if len(doc) > MaxDocument {
		return nil, fmt.Errorf("%w: a document has more than %d bytes", ErrInvalid, MaxDocument)
	}
	var d document
	if err := statement.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(d.Records) > MaxRecords {
		return nil, fmt.Errorf("%w: a document has more than %d records", ErrInvalid, MaxRecords)
	}
	return &d, nil
}

// IDOf is the id that a document would prove. Nothing is verified.
func IDOf(doc []byte) (statement.ID, error) {
	d, err := readDocument(doc)
	if err != nil {
		return statement.ID{}, err
	}
	s, err := statement.Parse(d.Inception)
	if err != nil {
		return statement.ID{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return s.ID(), nil
}

// Parse verifies a document: every record by itself, and that all of them count.
func Parse(doc []byte) (*Identity, error) {
	d, err := readDocument(doc)
	if err != nil {
		return nil, err
	}
	i, err := verifyInception(d.Inception)
	if err != nil {
		return nil, err
	}
	all := make(map[statement.ID]*Record, len(d.Records))
	for _, raw := range d.Records {
		r, err := ParseRecord(raw)
		if err != nil {
			return nil, err
		}
		if r.Identity() != i.id {
			return nil, fmt.Errorf("%w: a record of another identity", ErrInvalid)
		}
		all[r.id] = r
	}
	out, err := fold(i, all)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !bytes.Equal(out.raw, doc) {
		return nil, fmt.Errorf("%w: records that do not count, that stand twice or out of order", ErrInvalid)
	}
	return out, nil
}

// ID is the identity's id.
func (i *Identity) ID() statement.ID { return i.id }

// Kind says whether it is a user, an agent or a service.
func (i *Identity) Kind() Kind { return i.body.Kind }

// Devices are the keys that speak for the identity now.
func (i *Identity) Devices() []statement.PublicKey { return slices.Clone(i.devices) }

// Recipients are the age recipients that answers to it are sealed to now.
func (i *Identity) Recipients() []string { return slices.Clone(i.recipients) }

// Record is the document, what [Parse] reads.
func (i *Identity) Record() []byte { return slices.Clone(i.raw) }

// Verify checks that one of the identity's present devices signed a statement of a kind.
func (i *Identity) Verify(kind statement.Kind, s *statement.Statement) error {
	return verify(kind, s, i.devices)
}

// DeviceIndex is the index that a device's signatures carry, false for a key that
// does not speak for the identity now. Devices come and go, so the index is no
// place in a list: it is the first two bytes of the key's digest.
func (i *Identity) DeviceIndex(key statement.PublicKey) (uint16, bool) {
	return hint(key), slices.Contains(i.devices, key)
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
func (i *Identity) Ever() []statement.PublicKey { return slices.Clone(i.ever) }

// VerifyEver checks that a device that speaks or once spoke for the identity
// signed a statement of a kind.
func (i *Identity) VerifyEver(kind statement.Kind, s *statement.Statement) error {
	return verify(kind, s, i.ever)
}

// Contact is the document in one line.
func (i *Identity) Contact() string {
	return contactPrefix + base64.RawURLEncoding.EncodeToString(i.raw)
}

// ParseContact reads what [Identity.Contact] writes. Space around it and line
// breaks inside it, which mail programs add, are ignored.
func ParseContact(s string) (*Identity, error) {
	raw, err := fromLine(s, contactPrefix)
	if err != nil {
		return nil, fmt.Errorf("the contact %w", err)
	}
	id, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("the contact is damaged: %w", err)
	}
	return id, nil
}
