// Package object makes, keeps and reads objects in one home, without a network.
//
// A [Library] joins the block store, the erasable store and a committee's
// record. Making an object is three steps, each durable before the next:
//
//	blocks       ciphertext, header, file root, manifest
//	secret       the owner's wrap, in the erasable store
//	index entry  from here on the object exists
//
// What was stored by a step whose successor never came is unreferenced and
// harmless: ciphertext under a key that nobody has. It is garbage, which
// [Library.Reach] tells from what is needed. Blocks go through a [store.Draft] that is
// closed after the last step, so that none is collected before.
//
// Dealing an object to validators, and sending what was dealt, are separate
// steps, so that `add` succeeds without a network; see package outbox of node.
//
// # The owner's wrap
//
// An object's secret is kept in the erasable store under a key of its own, and
// that key under the home's master key, which the keystore protects as it
// protects the owner's identity. Destroying the slot destroys the wrap.
package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"path/filepath"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// Kinds of content in an object's details.
const (
	KindFile      = 0
	KindDirectory = 1
)

// States of an owned object.
const (
	StateLocal    = 0 // fewer than T validators have acknowledged its shares
	StateShared   = 1
	StateConflict = 2 // a version: validators took another one first, and will not take this one
	StateRetired  = 3 // a version that was rekeyed: its key is not dealt any more
	StateErased   = 4 // the wrap is destroyed, or about to be
)

// Library is one home's objects. Its fields are set once.
type Library struct {
	Store   *store.Store
	Secrets *keystore.Erasable
	Trust   *trust.Chain
	Now     func() time.Time

	entries sync.Mutex // held while an index entry is read to be written again
}

// local is what the index keeps for the owner, opaque to the store.
type local struct {
	_        struct{} `cbor:",toarray"`
	KeyNonce envelope.Nonce
	Lineage  envelope.Nonce
	Kind     uint8
	Labels   []validator.Label // for a later dealing: policy must see the same
	Class    uint8
	Secret   keystore.Sealed
	Next     []byte // address of the version made here that follows; empty: none
	Rekey    bool   // the version before it is to be retired
}

// Input is something to make an object of.
type Input struct {
	Name     string
	Modified time.Time
	Kind     uint8
	Content  io.Reader
	Scopes   []envelope.Nonce
	Labels   []validator.Label
	Class    uint8
	Origin   envelope.Origin // of a release
	After    *Base           // the version that it follows; nil: the first of a lineage
	Rekey    bool            // the same content under a new key
}

// Made is an object whose blocks are stored and whose index entry is not yet.
type Made struct {
	Address  cid.Cid
	File     cid.Cid
	Size     int64 // of the plaintext
	Stored   int64 // of the ciphertext, header included
	Manifest []byte

	in     Input
	key    envelope.Nonce
	line   envelope.Nonce
	secret committee.Secret
}

// Make encrypts an input and stores its blocks through sink. The object does
// not exist before [Library.Keep].
func (l *Library) Make(ctx context.Context, owner *home.Principal, in Input, sink envelope.Sink) (*Made, error) {
	payload, key, err := envelope.Encrypt(ctx, in.Content, sink)
	if err != nil {
		return nil, err
	}
	m := &Made{in: in, key: envelope.NewNonce(), line: envelope.NewNonce(), secret: committee.NewSecret(), Size: payload.PlainSize}
	if in.After != nil {
		m.line = in.After.manifest.Lineage
	}
	header, err := l.header(owner, m, key)
	if err != nil {
		return nil, err
	}
	leaf, root, err := envelope.FileRoot(header, payload)
	if err != nil {
		return nil, err
	}
	manifest, err := l.manifest(owner, m, key, leaf.CID, root.CID, payload)
	if err != nil {
		return nil, err
	}
	m.Address, m.Manifest, m.File = manifest.CID, manifest.Data, root.CID
	m.Stored = payload.Size + int64(len(header))
	return m, sink.PutMany(ctx, []envelope.Block{leaf, root, manifest})
}

func (l *Library) header(owner *home.Principal, m *Made, key envelope.FileKey) ([]byte, error) {
	network := l.Trust.Network()
	keyID := envelope.KeyID(network, owner.Identity.ID(), m.key)
	sealed, err := committee.SealKey(m.secret, keyID, network, key.Bytes())
	if err != nil {
		return nil, err
	}
	return envelope.CommitteeHeader(key, envelope.CommitteeStanza{KeyID: keyID, Network: network, Sealed: sealed})
}

func (l *Library) manifest(owner *home.Principal, m *Made, key envelope.FileKey, header, root cid.Cid, p envelope.Payload) (envelope.Block, error) {
	id := owner.Identity.ID()
	details := envelope.Details{
		Name: m.in.Name, MediaType: mime.TypeByExtension(filepath.Ext(m.in.Name)),
		Kind: m.in.Kind, Plain: uint64(m.Size), Origin: m.in.Origin,
	}
	if !m.in.Modified.IsZero() {
		details.Modified = m.in.Modified.Unix()
	}
	sealed, err := envelope.SealDetails(details, key, envelope.KeyID(l.Trust.Network(), id, m.key))
	if err != nil {
		return envelope.Block{}, err
	}
	manifest := envelope.Manifest{
		Format: 1, Network: l.Trust.Network(), KeyNonce: m.key, Owner: id, Lineage: m.line, Author: id,
		Scopes: m.in.Scopes, File: root.Bytes(), Header: header.Bytes(), Payload: p.Root.Bytes(),
		Size: uint64(p.Size), Created: l.Now().Unix(), Sealed: sealed,
	}
	if m.in.After != nil {
		manifest.Sequence, manifest.Previous = m.in.After.manifest.Sequence+1, m.in.After.Address.Bytes()
	}
	return envelope.SignManifest(manifest, owner.Device)
}

// Keep makes objects exist: their secrets are wrapped, then they are indexed, in
// one durable batch each. The caller has flushed their blocks. A version that is
// no longer the newest of this home is not followed by another, see [Base].
func (l *Library) Keep(owner *home.Principal, made []*Made) error {
	items := make([]keystore.Item, len(made))
	for i, m := range made {
		items[i] = keystore.Item{AAD: m.Address.Bytes(), Secret: m.secret.Bytes()}
	}
	sealed, err := l.Secrets.SealMany(items)
	if err != nil {
		return err
	}
	objects := make([]store.Object, len(made))
	for i, m := range made {
		raw, err := statement.Marshal(local{KeyNonce: m.key, Lineage: m.line, Kind: m.in.Kind, Labels: m.in.Labels, Class: m.in.Class, Secret: sealed[i], Rekey: m.in.Rekey})
		if err != nil {
			return err
		}
		objects[i] = store.Object{
			Address: m.Address.Bytes(), Origin: store.OriginAdded, Owned: true, Added: l.Now().Unix(),
			Size: uint64(m.Size), Stored: uint64(m.Stored), State: StateLocal, Local: raw,
		}
		if len(m.in.Scopes) > 0 {
			objects[i].Scope = m.in.Scopes[0][:]
		}
	}
	l.entries.Lock()
	defer l.entries.Unlock()
	followed, err := l.follow(made)
	if err != nil {
		return err
	}
	return l.Store.PutObjects(append(objects, followed...))
}

// Held is an object of this home with its manifest decoded. The manifest of an
// owned object was signed here.
type Held struct {
	store.Object
	CID      cid.Cid
	Manifest *envelope.UnverifiedManifest
	Block    []byte
}

// Find looks an address up in this home.
func (l *Library) Find(ctx context.Context, address cid.Cid) (*Held, error) {
	o, err := l.Store.Object(address)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fault.New(fault.NotFound, "see `cerebrum ls`", "this home does not hold %s", address)
	}
	if err != nil {
		return nil, err
	}
	block, err := l.block(ctx, address)
	if err != nil {
		return nil, err
	}
	u, err := envelope.ParseManifest(address, block)
	if err != nil {
		return nil, corrupt(address, err)
	}
	return &Held{Object: o, CID: address, Manifest: u, Block: block}, nil
}

// block reads a block and checks it against its CID.
func (l *Library) block(ctx context.Context, c cid.Cid) ([]byte, error) {
	data, err := l.Store.GetVerified(ctx, c)
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return nil, corrupt(c, err)
	case errors.Is(err, store.ErrNotFound):
		return nil, fault.Wrap(fault.Integrity, err, "run `cerebrum verify`, then import the object again", "block %s is missing from this home", c)
	}
	return data, err
}

func corrupt(c cid.Cid, err error) error {
	return fault.Wrap(fault.Integrity, err, "run `cerebrum verify`, then import the object again", "block %s is corrupt", c)
}

// Opened is an object that can be read: key, header and details, all checked.
type Opened struct {
	Address  cid.Cid
	Manifest envelope.Manifest
	Header   []byte
	Key      envelope.FileKey
	Details  envelope.Details
}

// Open finds the key of an owned object in this home: the owner never depends
// on the committee.
func (l *Library) Open(ctx context.Context, h *Held) (*Opened, error) {
	if !h.Owned {
		return nil, fault.New(fault.Denied, "start the node with `cerebrum run` and use a grant", "this home holds the ciphertext of %s, and not its key", h.CID)
	}
	secret, err := l.secret(h)
	if err != nil {
		return nil, err
	}
	claims := h.Manifest.Claims()
	c, err := cid.Cast(claims.Header)
	if err != nil {
		return nil, corrupt(h.CID, err)
	}
	header, err := l.block(ctx, c)
	if err != nil {
		return nil, err
	}
	return Unlock(h.CID, claims, header, secret)
}

// OpenWith opens an object of this home with a secret that its reader holds. The
// manifest is verified by its owner.
func (l *Library) OpenWith(ctx context.Context, h *Held, owner *identity.Identity, secret committee.Secret) (*Opened, error) {
	m, err := h.Verify(owner)
	if err != nil {
		return nil, err
	}
	c, err := cid.Cast(m.Header)
	if err != nil {
		return nil, corrupt(h.CID, err)
	}
	header, err := l.block(ctx, c)
	if err != nil {
		return nil, err
	}
	return Unlock(h.CID, *m, header, secret)
}

func (l *Library) secret(h *Held) (committee.Secret, error) {
	if h.State == StateErased {
		return committee.Secret{}, erasedFault(h.CID)
	}
	loc, err := h.local()
	if err != nil {
		return committee.Secret{}, err
	}
	raw, err := l.Secrets.Open(loc.Secret, h.CID.Bytes())
	if err != nil {
		return committee.Secret{}, fault.Wrap(fault.Integrity, err, "restore the home from a backup", "the key of %s cannot be opened", h.CID)
	}
	return committee.SecretFromBytes(raw)
}

func (h *Held) local() (loc local, err error) {
	if err := statement.Unmarshal(h.Local, &loc); err != nil {
		return loc, fmt.Errorf("index entry of %s: %w", h.CID, err)
	}
	return loc, nil
}

// Unlock opens an object with its secret. The header's HMAC commits to the key,
// so a wrong secret ends here and never in wrong bytes.
func Unlock(address cid.Cid, m envelope.Manifest, header []byte, secret committee.Secret) (*Opened, error) {
	stanza, err := envelope.ParseCommitteeHeader(header)
	if err != nil {
		return nil, err
	}
	keyID := envelope.KeyID(m.Network, m.Owner, m.KeyNonce)
	if stanza.KeyID != keyID || stanza.Network != m.Network {
		return nil, fault.New(fault.Integrity, "do not trust its sender", "the header of %s belongs to another object", address)
	}
	raw, err := committee.OpenKey(secret, keyID, m.Network, stanza.Sealed)
	if err != nil {
		return nil, err
	}
	key, err := envelope.NewFileKey(raw)
	if err != nil {
		return nil, err
	}
	if err := envelope.CheckHeader(header, key); err != nil {
		return nil, err
	}
	details, err := envelope.OpenDetails(m.Sealed, key, keyID)
	if err != nil {
		return nil, err
	}
	return &Opened{Address: address, Manifest: m, Header: header, Key: key, Details: details}, nil
}

// Verify checks a held manifest's signature by its owner.
func (h *Held) Verify(owner *identity.Identity) (*envelope.Manifest, error) {
	return validator.VerifyManifest(h.CID.Bytes(), h.Block, owner)
}

// IsDirectory reports whether an owned object is a directory's index.
func (h *Held) IsDirectory() bool {
	loc, err := h.local()
	return h.Owned && err == nil && loc.Kind == KindDirectory
}

// DealSize is how many objects labelled like an owned one fit into one deposit.
func (h *Held) DealSize() int {
	loc, err := h.local()
	if err != nil {
		return 1
	}
	return batchSize(loc.Labels)
}

// Labels are the labels of an owned object. The error is of an object that this home
// does not own.
func (h *Held) Labels() (Labels, error) {
	l, err := h.local()
	if err != nil {
		return Labels{}, err
	}
	return Labels{Labels: l.Labels, Class: l.Class}, nil
}
