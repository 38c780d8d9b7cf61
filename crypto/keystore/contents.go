package keystore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Format is the version of [Contents] that new homes have. Contents of format 1
// have no log key; they are read, and written back as they are until
// [Contents.Upgrade].
const Format = 2

// MasterSize is the length of [Contents.Master] in bytes.
const MasterSize = 32

// Limits on what a key file may hold; they keep it far below its greatest size.
const (
	MaxIdentities = 64
	MaxName       = 64       // bytes of an identity's name
	maxDocument   = 32 << 10 // bytes of an identity document
)

// Identity is a principal that this home can act for.
type Identity struct {
	_         struct{} `cbor:",toarray"`
	Name      string   // how the operator calls it; unique in the home
	Document  []byte   // its signed records; opaque here, may be empty
	Device    []byte   // Ed25519 seed of this device's signing key
	Recipient []byte   // age hybrid identity, AGE-SECRET-KEY-PQ-1...
}

// Validator holds the keys of a member of the committee. Statements, the log
// and cosignatures have a key each, because an Ed25519 cosignature does not
// commit to its signer's name.
type Validator struct {
	_         struct{} `cbor:",toarray"`
	Signing   []byte   // Ed25519 seed: statements
	Log       []byte   // Ed25519 seed: heads of the own log
	Witness   []byte   // Ed25519 seed: cosignatures on other logs
	Recipient []byte   // age hybrid identity: shares are sealed to it
}

// Contents is everything that the key file protects.
type Contents struct {
	_          struct{} `cbor:",toarray"`
	Format     uint16   // 0 when writing means the current one
	Peer       []byte   // Ed25519 seed of the libp2p key
	Master     []byte   // 32 bytes: wraps the slots of the erasable store and local secrets
	Identities []Identity
	Validators []Validator // none or one
	Log        []byte      // Ed25519 seed: checkpoints of the home's audit log; a validator's is the same
}

// firstContents is what format 1 wrote.
type firstContents struct {
	_          struct{} `cbor:",toarray"`
	Format     uint16
	Peer       []byte
	Master     []byte
	Identities []Identity
	Validators []Validator
}

// NewContents makes the contents of a new home: a peer key, a log key and a
// master key, nobody to act for yet.
func NewContents() *Contents {
	c := &Contents{
		Format: Format, Peer: NewDeviceKey().Seed(), Log: NewDeviceKey().Seed(), Master: make([]byte, MasterSize),
	}
	rand.Read(c.Master) // never fails: crypto/rand aborts the program instead
	return c
}

// NewIdentity makes an identity's device key and recipient. The document
// of the identity, which names both, is the caller's to add.
func NewIdentity(name string) (Identity, error) {
	secret, _, err := GenerateHybrid()
	if err != nil {
		return Identity{}, err
	}
	return Identity{Name: name, Device: NewDeviceKey().Seed(), Recipient: []byte(secret)}, nil
}

// Upgrade gives contents of format 1 the log key that they lack, and reports
// whether they did: the validator's, which the network knows, or else a new one.
func (c *Contents) Upgrade() bool {
	if c.Format != 1 {
		return false
	}
	c.Format, c.Log = Format, NewDeviceKey().Seed()
	if len(c.Validators) > 0 {
		c.Log = bytes.Clone(c.Validators[0].Log)
	}
	return true
}

// NewValidator makes the keys of a validator whose home has this log key.
func NewValidator(log []byte) (Validator, error) {
	secret, _, err := GenerateHybrid()
	if err != nil {
		return Validator{}, err
	}
	return Validator{
		Signing:   NewDeviceKey().Seed(),
		Log:       bytes.Clone(log),
		Witness:   NewDeviceKey().Seed(),
		Recipient: []byte(secret),
	}, nil
}

// NewDeviceKey makes a signing key from the system's randomness.
func NewDeviceKey() statement.PrivateKey { return statement.GenerateKey() }

// DeviceKey is the identity's signing key on this device.
func (i Identity) DeviceKey() (statement.PrivateKey, error) { return statement.KeyFromSeed(i.Device) }

// SigningKey is the key that signs a validator's statements.
func (v Validator) SigningKey() (statement.PrivateKey, error) {
	return statement.KeyFromSeed(v.Signing)
}

// Clone is a copy that shares no memory with c.
func (c *Contents) Clone() *Contents {
	out := &Contents{Format: c.Format, Peer: bytes.Clone(c.Peer), Master: bytes.Clone(c.Master), Log: bytes.Clone(c.Log)}
	for _, i := range c.Identities {
		out.Identities = append(out.Identities, Identity{
			Name: i.Name, Document: bytes.Clone(i.Document),
			Device: bytes.Clone(i.Device), Recipient: bytes.Clone(i.Recipient),
		})
	}
	for _, v := range c.Validators {
		out.Validators = append(out.Validators, Validator{
			Signing: bytes.Clone(v.Signing), Log: bytes.Clone(v.Log),
			Witness: bytes.Clone(v.Witness), Recipient: bytes.Clone(v.Recipient),
		})
	}
	return out
}

// encode checks the contents and gives their canonical bytes.
func (c *Contents) encode() ([]byte, error) {
	if c == nil {
		return nil, errors.New("no keys were given to keep")
	}
	out := *c
	if out.Format == 0 {
		out.Format = Format
	}
	if err := out.check(); err != nil {
		return nil, err
	}
	if out.Format == 1 {
		return statement.Marshal(firstContents{
			Format: 1, Peer: out.Peer, Master: out.Master, Identities: out.Identities, Validators: out.Validators,
		})
	}
	return statement.Marshal(out)
}

// decodeContents is the inverse of encode, and as strict.
func decodeContents(raw []byte) (*Contents, error) {
	var c Contents
	var first firstContents
	if err := statement.Unmarshal(raw, &first); err == nil {
		c = Contents{
			Format: first.Format, Peer: first.Peer, Master: first.Master, Identities: first.Identities, Validators: first.Validators,
		}
		if c.Format != 1 {
			return nil, errors.New("the keys lack the log key of their format")
		}
	} else if err := statement.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return &c, nil
}

func (c *Contents) check() error {
	switch c.Format {
	case 1:
		if len(c.Log) != 0 {
			return errors.New("keys of format 1 have no log key")
		}
	case Format:
		if err := checkSeed("the log key", c.Log); err != nil {
			return err
		}
		if bytes.Equal(c.Log, c.Peer) {
			return errors.New("the log key and the peer key must differ")
		}
	default:
		return fmt.Errorf("keys of format %d are not known to this version", c.Format)
	}
	if err := checkSeed("the peer key", c.Peer); err != nil {
		return err
	}
	if len(c.Master) != MasterSize || allZero(c.Master) {
		return fmt.Errorf("the master key is not %d random bytes", MasterSize)
	}
	if len(c.Identities) > MaxIdentities {
		return fmt.Errorf("%d identities, at most %d fit a home", len(c.Identities), MaxIdentities)
	}
	names := make(map[string]bool, len(c.Identities))
	for _, i := range c.Identities {
		if names[i.Name] {
			return errors.New("two identities have the same name")
		}
		names[i.Name] = true
		if err := i.check(); err != nil {
			return err
		}
	}
	if len(c.Validators) > 1 {
		return errors.New("a home holds at most one validator")
	}
	for _, v := range c.Validators {
		if err := v.check(); err != nil {
			return err
		}
		if c.Format != 1 && !bytes.Equal(v.Log, c.Log) {
			return errors.New("a home has one log key, which is its validator's too")
		}
	}
	return nil
}

func (i Identity) check() error {
	if i.Name == "" || len(i.Name) > MaxName || !utf8.ValidString(i.Name) {
		return fmt.Errorf("an identity's name has 1 to %d bytes of UTF-8", MaxName)
	}
	if len(i.Document) > maxDocument {
		return fmt.Errorf("an identity document has at most %d bytes", maxDocument)
	}
	if err := checkSeed("an identity's device key", i.Device); err != nil {
		return err
	}
	_, err := HybridRecipient(string(i.Recipient))
	return err
}

func (v Validator) check() error {
	if err := errors.Join(
		checkSeed("a validator's signing key", v.Signing),
		checkSeed("a validator's log key", v.Log),
		checkSeed("a validator's witness key", v.Witness),
	); err != nil {
		return err
	}
	if bytes.Equal(v.Signing, v.Log) || bytes.Equal(v.Signing, v.Witness) || bytes.Equal(v.Log, v.Witness) {
		return errors.New("a validator's signing, log and witness keys must differ")
	}
	_, err := HybridRecipient(string(v.Recipient))
	return err
}

// checkSeed also refuses zeros: they are a key that nobody generated.
func checkSeed(what string, seed []byte) error {
	if len(seed) != ed25519.SeedSize || allZero(seed) {
		return fmt.Errorf("%s is not %d random bytes", what, ed25519.SeedSize)
	}
	return nil
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
