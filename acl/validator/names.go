package validator

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// ordered are the events of an order to erase, one for each of its keys, so that whoever
// asks the log about an object finds what became of it.
func (j *Judge) ordered(b *revocation.Erasure, keys []statement.ID, id statement.ID, outcome event.Outcome, a event.Act) ([]event.Event, error) {
	a.Actor, a.Grant = b.Owner, id[:]
	var out []event.Event
	for _, key := range keys {
		var err error
		if a.Object, err = j.objectOf(key); err != nil {
			return nil, err
		}
		out = append(out, j.event(event.Erase, outcome, a))
	}
	return out, nil
}

// objectOf is the address of the object that a key is, or was, of: the key's id where
// the object was never here.
func (j *Judge) objectOf(key statement.ID) ([]byte, error) {
	d, err := j.loadKey(key)
	if err == nil {
		return d.Address, nil
	}
	if !errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	had, err := j.loadErased(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if had != nil && len(had.Address) > 0 {
		return had.Address, nil
	}
	return key[:], nil
}

// NamesOf are the ids under which grants, holds and orders name an object or what it is
// part of: grants by its version, its lineage's and scopes' nonces, holds by ids of those,
// orders to erase by its key.
func NamesOf(address cid.Cid, m *envelope.Manifest) []statement.ID {
	o := ObjectOf(address, m)
	out := append([]statement.ID{m.KeyID(), m.LineageID(), o.Version, o.Lineage}, m.ScopeIDs()...)
	for _, scope := range o.Scopes {
		out = append(out, scope)
	}
	return out
}

// Names are [NamesOf] the object at an address; only those that outlast it where it was
// erased, and none where it was never here.
func (j *Judge) Names(address cid.Cid) ([]statement.ID, error) {
	key, err := j.keyAt(address.Bytes())
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return nil, nil
	case err != nil && !errors.Is(err, errErased):
		return nil, err
	}
	d, err := j.loadKey(key)
	if errors.Is(err, kv.ErrNotFound) {
		return []statement.ID{key, ObjectOf(address, &envelope.Manifest{}).Version}, nil
	}
	if err != nil {
		return nil, err
	}
	m, _, err := d.manifest()
	if err != nil {
		return nil, err
	}
	return NamesOf(address, m), nil
}
