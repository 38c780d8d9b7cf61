package daemon

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// A home carries objects that others own: it holds and serves their ciphertext, and
// cannot read it. What it was told to carry is a root: an address, and with it all
// that the grant covers. These are kept, durable before anything is fetched, so
// that a node goes on after a crash without a person:
//
//	root/<address>  -> root
//	part/<address>  -> part: how much of an object came, until it is whole
//	offer           -> offer, see offer.go
//
// A whole object stands in the store's index, with a carried note. Nothing else is
// listed or served.
type carry struct {
	store *store.KV
	busy  keyedLocks // roots that somebody works on
	poke  chan struct{}

	deleting sync.Mutex // held while objects are forgotten, and while one comes to be held
	deleted  int        // how often; owned by deleting
}

var (
	rootPrefix = []byte("root/")
	partPrefix = []byte("part/")
)

// root is what this home was told to carry.
type root struct {
	_        struct{}     `cbor:",toarray"`
	Audience statement.ID // identity of this home to which it was granted
	Only     bool         // the address alone, not all that the grant covers
	Offered  bool         // taken because of an offer, and not by a person
	Since    int64        // Unix seconds
}

// part is how much of an object's payload came under that object and is durable: a
// prefix, because blocks come in order. That blocks of it are here under another
// object counts for nothing: somebody may have signed a manifest over a payload
// that is not theirs to fetch.
type part struct {
	_          struct{} `cbor:",toarray"`
	Root       []byte   // address under which it comes
	Size, Have uint64
}

// carried is the note of an object that this home carries.
type carried struct {
	_        struct{} `cbor:",toarray"`
	Audience statement.ID
	Root     []byte // address under which it was told to
}

func newCarry(s *store.KV) *carry { return &carry{store: s, poke: make(chan struct{}, 1)} }

func rootKey(c cid.Cid) []byte { return slices.Concat(rootPrefix, c.Bytes()) }
func partKey(c cid.Cid) []byte { return slices.Concat(partPrefix, c.Bytes()) }

func (c *carry) put(key []byte, v any) error {
	raw, err := statement.Marshal(v)
	if err != nil {
		return err
	}
	return c.store.Apply([]kv.Op{{Key: key, Value: raw}})
}

func (c *carry) get(key []byte, v any) (found bool, err error) {
	raw, err := c.store.Get(key)
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, statement.Unmarshal(raw, v)
}

func (c *carry) drop(key []byte) error {
	return c.store.Apply([]kv.Op{{Key: key, Delete: true}})
}

// roots are what this home was told to carry, in the order of their addresses.
func (c *carry) roots() (addresses []cid.Cid, out []root, err error) {
	err = c.store.Scan(rootPrefix, nil, func(key, value []byte) (bool, error) {
		a, err := cid.Cast(bytes.Clone(key[len(rootPrefix):]))
		if err != nil {
			return false, err
		}
		var r root
		if err := statement.Unmarshal(value, &r); err != nil {
			return false, err
		}
		addresses, out = append(addresses, a), append(out, r)
		return true, nil
	})
	return addresses, out, err
}

// parts are the objects that are on their way under a root.
func (c *carry) parts(at cid.Cid) (out []cid.Cid, err error) {
	err = c.store.Scan(partPrefix, nil, func(key, value []byte) (bool, error) {
		var p part
		if err := statement.Unmarshal(value, &p); err != nil {
			return false, err
		}
		if string(p.Root) != at.KeyString() {
			return true, nil
		}
		a, err := cid.Cast(bytes.Clone(key[len(partPrefix):]))
		out = append(out, a)
		return true, err
	})
	return out, err
}

// isCarried reports an object that this home carries for somebody else.
func isCarried(o *store.Object) bool { return o.Origin == store.OriginTransferred && !o.Owned }

func noteOf(o *store.Object) (note carried, err error) {
	return note, statement.Unmarshal(o.Local, &note)
}

// belowRoot reports an object that came with another one, through which it is found.
func belowRoot(o *store.Object) bool {
	note, err := noteOf(o)
	return isCarried(o) && err == nil && !bytes.Equal(note.Root, o.Address)
}

var errNotCarried = errors.New("the grant under which this home carries it has ended")

// mayCarry finds the grant under which this home may serve an object that it
// carries. It is nil where the home holds the object by itself. Once no such grant
// is in force the ciphertext stays, and is not served: a renewed grant costs no
// second transfer.
func (n *Node) mayCarry(o store.Object, m *envelope.Manifest) (*capability.Verified, error) {
	if !isCarried(&o) {
		return nil, nil
	}
	note, err := noteOf(&o)
	if err != nil {
		return nil, err
	}
	p := n.principalOf(note.Audience)
	if p == nil || !p.Current {
		return nil, errNotCarried
	}
	at, err := cid.Cast(note.Root)
	if err != nil {
		return nil, err
	}
	address, err := cid.Cast(o.Address)
	if err != nil {
		return nil, err
	}
	found, _, err := n.heldBy(note.Audience, at)
	if err != nil {
		return nil, err
	}
	for _, c := range found {
		if c.v.Allows(capability.Carry, validator.ObjectOf(address, m)) == nil {
			return c.v, nil
		}
	}
	return nil, errNotCarried
}

// forgetHere deletes ciphertext, so that whoever stores some at the time notices.
func (n *Node) forgetHere(ctx context.Context, doomed []cid.Cid) error {
	n.carry.deleting.Lock()
	defer n.carry.deleting.Unlock()
	n.carry.deleted++
	return n.library.Forget(ctx, doomed)
}

// keyedLocks lets one at a time work under a key.
type keyedLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when given back; owned by mu
}

// take waits for a key until ctx ends, and returns what gives it back.
func (k *keyedLocks) take(ctx context.Context, key string) (giveBack func(), err error) {
	for {
		k.mu.Lock()
		if k.held == nil {
			k.held = map[string]chan struct{}{}
		}
		before, taken := k.held[key]
		if !taken {
			mine := make(chan struct{})
			k.held[key] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
