package store

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// How an object came here.
const (
	OriginAdded       = 1 // encrypted on this node
	OriginImported    = 2 // from a file of blocks
	OriginTransferred = 3 // from another node, under a grant
)

// Object is the node's own note about an object that it holds. It has no name:
// names are sealed in the manifest and are not kept on disk in clear.
//
// It is encoded as a CBOR array in the order of its fields.
type Object struct {
	_       struct{} `cbor:",toarray"`
	Address []byte   // the manifest's CID, in bytes
	Origin  uint8    // OriginAdded, OriginImported or OriginTransferred
	Owned   bool     // an identity of this node owns it
	Added   int64    // when it came, Unix time in seconds
	Size    uint64   // plaintext bytes; 0 where the node cannot know
	Stored  uint64   // ciphertext bytes that the node holds
	Scope   []byte   // the scope's id; empty: none
	State   uint8    // the caller's
	Local   []byte   // the caller's: an owner's wrap and the like; sealed by the caller
}

// maxObject bounds what a caller may keep beside an object.
const maxObject = 1 << 20

// PutObject writes or replaces one object, durable on a nil return.
func (s *Store) PutObject(o Object) error { return s.PutObjects([]Object{o}) }

// PutObjects writes or replaces objects, all or none, durable on a nil return.
func (s *Store) PutObjects(objects []Object) error {
	ops := make([]kv.Op, len(objects))
	for i, o := range objects {
		c, err := cid.Cast(o.Address)
		if err != nil {
			return fmt.Errorf("an object's address: %w", err)
		}
		if o.Origin < OriginAdded || o.Origin > OriginTransferred {
			return fmt.Errorf("object %s has the unknown origin %d", c, o.Origin)
		}
		raw, err := statement.Marshal(o)
		if err != nil {
			return fmt.Errorf("object %s: %w", c, err)
		}
		if len(raw) > maxObject {
			return fmt.Errorf("object %s: %d bytes of notes, at most %d are kept", c, len(raw), maxObject)
		}
		ops[i] = kv.Op{Key: objectKey(c), Value: raw}
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	return s.apply(ops)
}

// Object returns the object at an address, or ErrNotFound.
func (s *Store) Object(address cid.Cid) (Object, error) {
	if err := s.begin(); err != nil {
		return Object{}, err
	}
	defer s.end()
	raw, err := s.read(objectKey(address))
	if err != nil {
		return Object{}, err
	}
	return decodeObject(address, raw)
}

// Objects calls fn with every object as of the moment of the call, in the order
// of their addresses' bytes, until fn wants no more or fails; its error is
// returned as it is. fn may call the store.
func (s *Store) Objects(fn func(Object) (more bool, err error)) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	return s.scan([]byte{keyObject}, []byte{keyObject + 1}, func(key, value []byte) (bool, error) {
		address, err := cid.Cast(key[1:])
		if err != nil {
			return false, fmt.Errorf("%w: the key of an object: %w", ErrCorrupt, err)
		}
		o, err := decodeObject(address, value)
		if err != nil {
			return false, err
		}
		return fn(o)
	})
}

// DeleteObject forgets the object at an address, durably; that it was not there
// is no error. Its blocks stay.
func (s *Store) DeleteObject(address cid.Cid) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	return s.apply([]kv.Op{{Key: objectKey(address), Delete: true}})
}

func objectKey(c cid.Cid) []byte { return append([]byte{keyObject}, c.Bytes()...) }

// decodeObject refuses a note that is not what was written, or that stands
// under another object's key.
func decodeObject(address cid.Cid, raw []byte) (o Object, err error) {
	if err := statement.Unmarshal(raw, &o); err != nil {
		return Object{}, fmt.Errorf("%w: object %s: %w", ErrCorrupt, address, err)
	}
	if string(o.Address) != address.KeyString() {
		return Object{}, fmt.Errorf("%w: object %s stands under another address", ErrCorrupt, address)
	}
	return o, nil
}
