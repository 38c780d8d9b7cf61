package envelope

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindManifest is the kind of the statement that a manifest is.
const KindManifest statement.Kind = "manifest"

const (
	// ManifestFormat is the one format that this version writes and accepts.
	ManifestFormat uint16 = 1
	// MaxManifest is the most bytes of a manifest's block.
	MaxManifest = 32 << 10
	// MaxScopes is the most scopes that an object belongs to.
	MaxScopes = 4
)

// ErrManifest reports a manifest that is decodable but breaks a rule.
var ErrManifest = errors.New("manifest is not acceptable")

// Manifest says what an object consists of and whose it is. It is the body of a
// statement of [KindManifest]; the field order is the wire format.
type Manifest struct {
	_         struct{}     `cbor:",toarray"`
	Format    uint16       // [ManifestFormat]
	Network   statement.ID // hash of the first committee record
	KeyNonce  Nonce        // of the key id, see [Manifest.KeyID]
	Owner     statement.ID // identity that owns the object
	Lineage   Nonce        // of the lineage id, see [Manifest.LineageID]
	Sequence  uint64       // 0 for the first version, then one more each
	Previous  []byte       // CID of the previous version's manifest; empty for the first
	Author    statement.ID // the owner, until a later format says otherwise
	Authority []byte       // empty, until a later format says otherwise
	Scopes    []Nonce      // at most [MaxScopes], all different
	File      []byte       // CID of the file root
	Header    []byte       // CID of the header's leaf
	Payload   []byte       // CID of the payload's root
	Size      uint64       // bytes of ciphertext payload, its nonce included
	Created   int64        // Unix seconds, as the author says
	Sealed    []byte       // details for readers, see [SealDetails]; may be empty
}

// KeyID is the id of the object's file key.
func (m *Manifest) KeyID() statement.ID { return KeyID(m.Network, m.Owner, m.KeyNonce) }

// LineageID is the id that all versions of the object share.
func (m *Manifest) LineageID() statement.ID { return LineageID(m.Network, m.Owner, m.Lineage) }

// ScopeIDs are the ids of the object's scopes.
func (m *Manifest) ScopeIDs() []statement.ID {
	ids := make([]statement.ID, len(m.Scopes))
	for i, n := range m.Scopes {
		ids[i] = ScopeID(m.Network, m.Owner, n)
	}
	return ids
}

// Links are the CIDs of file root, header leaf and payload root. Those of a
// manifest that was not parsed may be undefined.
func (m *Manifest) Links() (file, header, payload cid.Cid) {
	file, _ = castCID(m.File, CodecDagPB)
	header, _ = castCID(m.Header, CodecRaw)
	payload, _ = castCID(m.Payload, CodecDagPB)
	return file, header, payload
}

// PreviousAddress is the address of the previous version; false for the first.
func (m *Manifest) PreviousAddress() (cid.Cid, bool) {
	c, err := castCID(m.Previous, CodecDagCBOR)
	return c, err == nil
}

// CheckFileRoot checks that the block of the file root joins the header and the
// payload that the manifest names. A carrier of ciphertext checks it too, so
// that the three CIDs cannot name three different files.
func (m *Manifest) CheckFileRoot(data []byte) error {
	wantFile, wantHeader, wantPayload := m.Links()
	header, payload, _, size, err := ParseFileRoot(data)
	if err != nil {
		return err
	}
	if CIDOf(data, CodecDagPB) != wantFile || header != wantHeader || payload != wantPayload || uint64(size) != m.Size {
		return fmt.Errorf("%w: its file root joins something else than it names", ErrManifest)
	}
	return nil
}

// check is every rule that needs no other data.
func (m *Manifest) check() error {
	fail := func(why string) error { return fmt.Errorf("%w: %s", ErrManifest, why) }
	switch {
	case m.Format != ManifestFormat:
		return fmt.Errorf("%w: format %d is unknown", ErrManifest, m.Format)
	case m.Author != m.Owner || len(m.Authority) != 0:
		return fail("only the owner writes an object")
	case len(m.Scopes) > MaxScopes:
		return fail("it has more than four scopes")
	case len(m.Previous) == 0 != (m.Sequence == 0):
		return fail("every version but the first, and no other, names a previous one")
	case m.Size > 1<<63-1 || m.Created < 0 || len(m.Sealed) > maxSealedDetails:
		return fail("a size or time is out of range")
	}
	for i, s := range m.Scopes {
		if slices.Contains(m.Scopes[:i], s) {
			return fail("it names a scope twice")
		}
	}
	if _, err := PlainSize(int64(m.Size)); err != nil {
		return fail("no payload has the size that it claims")
	}
	for _, l := range []struct {
		cid   []byte
		codec uint64
	}{{m.File, CodecDagPB}, {m.Header, CodecRaw}, {m.Payload, CodecDagPB}} {
		if _, err := castCID(l.cid, l.codec); err != nil {
			return fail("the CID of file, header or payload is malformed")
		}
	}
	if _, ok := m.PreviousAddress(); m.Sequence > 0 && !ok {
		return fail("the CID of the previous version is malformed")
	}
	return nil
}

// SignManifest signs a manifest with a device key of its owner. The CID of the
// block is the address of the object.
func SignManifest(m Manifest, key statement.PrivateKey) (Block, error) {
	if err := m.check(); err != nil {
		return Block{}, err
	}
	if key.IsZero() {
		return Block{}, errors.New("no signing key was given")
	}
	s, err := statement.Sign(KindManifest, m, key)
	if err != nil {
		return Block{}, err
	}
	data := s.Bytes()
	return Block{CIDOf(data, CodecDagCBOR), data}, nil
}

// UnverifiedManifest is a manifest that decodes, keeps all rules and matches its
// address, but whose signature nobody has checked.
type UnverifiedManifest struct {
	address   cid.Cid
	claims    Manifest
	statement *statement.Statement
}

// ParseManifest reads the block of a manifest. It checks data against address,
// the form, and every rule that takes no key: one signature, author and owner
// the same, no authority, at most four scopes, a previous version exactly where
// one belongs, CIDs of the right kind. Errors are [ErrIntegrity] for data that
// is not address's, statement.ErrMalformed, statement.ErrKind or [ErrManifest].
func ParseManifest(address cid.Cid, data []byte) (*UnverifiedManifest, error) {
	if _, err := castCID(address.Bytes(), CodecDagCBOR); err != nil {
		return nil, fmt.Errorf("%w: its address is %w", ErrManifest, err)
	}
	if len(data) > MaxManifest {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrManifest, len(data), MaxManifest)
	}
	if CIDOf(data, CodecDagCBOR) != address {
		return nil, fmt.Errorf("%w: the manifest is not the one at this address", ErrIntegrity)
	}
	u := &UnverifiedManifest{address: address}
	var err error
	if u.statement, err = statement.Parse(data); err != nil {
		return nil, err
	}
	if err := u.statement.Peek(KindManifest, &u.claims); err != nil {
		return nil, err
	}
	// More signatures would give one manifest many addresses.
	if !slices.Equal(u.statement.Signers(), []int{0}) {
		return nil, fmt.Errorf("%w: it has not exactly one signature", ErrManifest)
	}
	if err := u.claims.check(); err != nil {
		return nil, err
	}
	return u, nil
}

// Address is the CID that the data matched.
func (u *UnverifiedManifest) Address() cid.Cid { return u.address }

// ID is the id of the statement, which the signature does not change.
func (u *UnverifiedManifest) ID() statement.ID { return u.statement.ID() }

// Claims is a copy of what the manifest says, to learn whose keys to ask for.
func (u *UnverifiedManifest) Claims() Manifest {
	m := u.claims
	for _, b := range []*[]byte{&m.Previous, &m.Authority, &m.File, &m.Header, &m.Payload, &m.Sealed} {
		*b = slices.Clone(*b)
	}
	m.Scopes = slices.Clone(m.Scopes)
	return m
}

// Verify returns the manifest if one of deviceKeys signed it. The caller vouches
// that they are the device keys of the owner that [UnverifiedManifest.Claims]
// names. Otherwise the error is statement.ErrSignature.
func (u *UnverifiedManifest) Verify(deviceKeys []statement.PublicKey) (*Manifest, error) {
	for _, key := range deviceKeys {
		if u.statement.Verify(KindManifest, []statement.PublicKey{key}, 1) == nil {
			m := u.Claims()
			return &m, nil
		}
	}
	return nil, statement.ErrSignature
}
