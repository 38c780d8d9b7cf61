package identity

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Kinds of the records that follow an inception.
const (
	KindDevice   statement.Kind = "device"   // signed by one device
	KindRecovery statement.Kind = "recovery" // signed by the revealed recovery key and every device that it lists
)

// What a device record does.
const (
	addDevice uint8 = iota + 1
	addRecipient
	removeSelf
)

// deviceBody is the body of a device record. Value is a signed enrolment, a
// recipient or nothing, as the action wants it.
type deviceBody struct {
	_        struct{} `cbor:",toarray"`
	Identity statement.ID
	Count    uint32 // of recoveries; it counts under no other
	By       statement.PublicKey
	Action   uint8
	Value    []byte
	Keeps    []statement.ID // strictly increasing; of a removal only
	Nonce    [16]byte
	Time     int64 // unix seconds, informative: a thief writes any
}

// recoveryBody is the body of a recovery. Previous and Keeps close what was
// before: nobody can add to it afterwards with a key that once counted.
type recoveryBody struct {
	_          struct{} `cbor:",toarray"`
	Identity   statement.ID
	Count      uint32
	Previous   statement.ID // the recovery before this one, or the identity
	Key        statement.PublicKey
	Next       [32]byte
	Devices    []statement.PublicKey
	Recipients []string
	Keeps      []statement.ID // device records of earlier counts that stay history, strictly increasing
	Nonce      [16]byte
}

// Record is a record whose form and signatures hold by themselves. Whether its
// author spoke for the identity is known only beside the others, to
// [Identity.With].
type Record struct {
	id       statement.ID
	raw      []byte
	device   *deviceBody
	enrolled *Enrolment // of an added device
	recovery *recoveryBody
}

// Identity is the id of the identity that the record says it belongs to.
func (r *Record) Identity() statement.ID {
	if r.recovery != nil {
		return r.recovery.Identity
	}
	return r.device.Identity
}

// ID is the id of the record's statement.
func (r *Record) ID() statement.ID { return r.id }

// Bytes is the signed record.
func (r *Record) Bytes() []byte { return bytes.Clone(r.raw) }

// Kind is [KindDevice] or [KindRecovery].
func (r *Record) Kind() statement.Kind {
	if r.recovery != nil {
		return KindRecovery
	}
	return KindDevice
}

// Removed are the device keys that the record removes by name: the one of a
// device that removes itself. A recovery names whom it keeps; whoever needs to
// know whom it ended compares [Identity.Devices] before and after.
func (r *Record) Removed() []statement.PublicKey {
	if r.device != nil && r.device.Action == removeSelf {
		return []statement.PublicKey{r.device.By}
	}
	return nil
}

// Enrolled is the request of the device that the record adds, nil where it adds
// none. The request names the identity and no time, so that a device which a
// recovery ended may be taken in again with it.
func (r *Record) Enrolled() *Enrolment { return r.enrolled }

// By is the device that made a device record; zero for a recovery.
func (r *Record) By() statement.PublicKey {
	if r.device == nil {
		return statement.PublicKey{}
	}
	return r.device.By
}

// Time is when a device record was made, as its author says; zero for a recovery.
func (r *Record) Time() time.Time {
	if r.device == nil {
		return time.Time{}
	}
	return time.Unix(r.device.Time, 0)
}

// Count is how many recoveries there were when the record was made; of a
// recovery, with itself.
func (r *Record) Count() uint32 {
	if r.recovery != nil {
		return r.recovery.Count
	}
	return r.device.Count
}

// ParseRecord verifies what a record proves alone: its form, the signature of
// its author, of a device that it adds, of a revealed recovery key. The errors
// are [ErrInvalid].
func ParseRecord(raw []byte) (*Record, error) {
	bad := func(err error) (*Record, error) { return nil, fmt.Errorf("%w: %w", ErrInvalid, err) }
	if len(raw) > MaxRecord {
		return bad(errLong)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return bad(err)
	}
	r := &Record{id: s.ID(), raw: bytes.Clone(raw)}
	if s.Is(KindRecovery) {
		r.recovery = new(recoveryBody)
		if err := s.Peek(KindRecovery, r.recovery); err != nil {
			return bad(err)
		}
		if err := r.recovery.check(s); err != nil {
			return bad(err)
		}
		return r, nil
	}
	r.device = new(deviceBody)
	if err := s.Peek(KindDevice, r.device); err != nil {
		return bad(err)
	}
	if err := r.checkDevice(s); err != nil {
		return bad(err)
	}
	return r, nil
}

var errLong = fmt.Errorf("a record has more than %d bytes", MaxRecord)

// increasing reports ids in strict order, at most as many as a document has records.
func increasing(ids []statement.ID) bool {
	for i := 1; i < len(ids); i++ {
		if bytes.Compare(ids[i-1][:], ids[i][:]) >= 0 {
			return false
		}
	}
	return len(ids) <= MaxRecords
}

func (r *Record) checkDevice(s *statement.Statement) error {
	b := r.device
	switch {
	case b.Action < addDevice || b.Action > removeSelf:
		return errors.New("it does something unknown")
	case b.Action != removeSelf && len(b.Keeps) > 0, b.Action == removeSelf && len(b.Value) > 0, !increasing(b.Keeps):
		return errors.New("it holds what does not belong to it")
	case b.Action == addRecipient:
		if err := checkRecipient(string(b.Value)); err != nil {
			return err
		}
	}
	if err := verify(KindDevice, s, []statement.PublicKey{b.By}); err != nil {
		return err
	}
	if b.Action != addDevice {
		return nil
	}
	var err error
	if r.enrolled, err = parseEnrolment(b.Value); err != nil {
		return err
	}
	if r.enrolled.Identity != b.Identity || r.enrolled.Device == b.By {
		return errors.New("the device asked for something else")
	}
	return nil
}

func (b *recoveryBody) check(s *statement.Statement) error {
	if b.Count == 0 || !increasing(b.Keeps) {
		return errors.New("its count or what it keeps is impossible")
	}
	if err := checkLists(b.Devices, b.Recipients); err != nil {
		return err
	}
	keys := append([]statement.PublicKey{b.Key}, b.Devices...)
	if slices.ContainsFunc(keys, func(k statement.PublicKey) bool { return k.Digest() == b.Next }) {
		return errors.New("its next recovery key is in use already")
	}
	return s.Verify(KindRecovery, keys, len(keys)) // each once, so the recovery key is no device
}

func checkLists(devices []statement.PublicKey, recipients []string) error {
	if len(devices) == 0 || len(devices) > MaxDevices || len(recipients) == 0 || len(recipients) > MaxRecipients {
		return errors.New("it has no or too many devices or recipients")
	}
	for _, r := range recipients {
		if err := checkRecipient(r); err != nil {
			return err
		}
	}
	return nil
}

func checkRecipient(r string) error {
	if len(r) > maxRecipient || !strings.HasPrefix(r, "age1pq1") {
		return errors.New("recipients are age hybrid recipients")
	}
	return nil
}

// AddDevice makes the record by which a device takes in another, and with it
// the recipient of its enrolment. The one who signs must have seen the enrolment
// on the new device itself: whoever is enrolled speaks for the identity.
func (i *Identity) AddDevice(by statement.PrivateKey, e *Enrolment, now time.Time) (*Record, error) {
	if e.Identity != i.id {
		return nil, errors.New("the device asks for another identity")
	}
	return i.deviceRecord(by, deviceBody{Action: addDevice, Value: e.raw}, now)
}

// AddRecipient makes the record by which a device adds a recipient that belongs
// to no device: it stays when devices go, until a recovery.
func (i *Identity) AddRecipient(by statement.PrivateKey, recipient string, now time.Time) (*Record, error) {
	return i.deviceRecord(by, deviceBody{Action: addRecipient, Value: []byte(recipient)}, now)
}

// RemoveSelf makes the record by which a device leaves for ever. Of the records
// that it signed, those that stand in this document stay; others are void, so an
// older document loses the rest: bring it up to date first.
func (i *Identity) RemoveSelf(device statement.PrivateKey, now time.Time) (*Record, error) {
	b := deviceBody{Action: removeSelf}
	for _, r := range i.records {
		if r.device != nil && r.device.Count == i.Count() && r.device.By == device.Public() && r.device.Action != removeSelf {
			b.Keeps = append(b.Keeps, r.id) // in the order of ids already
		}
	}
	return i.deviceRecord(device, b, now)
}

func (i *Identity) deviceRecord(by statement.PrivateKey, b deviceBody, now time.Time) (*Record, error) {
	if !slices.Contains(i.devices, by.Public()) {
		return nil, errors.New("this device does not speak for the identity now")
	}
	b.Identity, b.Count, b.By, b.Time = i.id, i.Count(), by.Public(), now.Unix()
	rand.Read(b.Nonce[:])
	s, err := Sign(KindDevice, b, by)
	if err != nil {
		return nil, err
	}
	return ParseRecord(s.Bytes())
}

// Recover makes the record that ends every device and recipient of an identity
// and starts again with those given. secret is the recovery key that the
// identity committed to; next must be a fresh one, and secret destroyed once
// the record is known to the network: who still holds it could branch off here.
// History is what old holds, so bring it up to date first.
func Recover(old *Identity, secret statement.PrivateKey, devices []statement.PrivateKey, recipients []string, next statement.PublicKey) (*Record, error) {
	if secret.Public().Digest() != old.NextRecovery() {
		return nil, errors.New("this is not the identity's recovery secret, or it was used already")
	}
	b := recoveryBody{
		Identity: old.id, Count: old.Count() + 1, Previous: old.tip(), Key: secret.Public(),
		Next: next.Digest(), Recipients: recipients,
	}
	for _, d := range devices {
		b.Devices = append(b.Devices, d.Public())
	}
	for _, r := range old.records {
		if r.device != nil {
			b.Keeps = append(b.Keeps, r.id)
		}
	}
	rand.Read(b.Nonce[:])
	s, err := statement.Sign(KindRecovery, b, append([]statement.PrivateKey{secret}, devices...)...)
	if err != nil {
		return nil, err
	}
	return ParseRecord(s.Bytes())
}
