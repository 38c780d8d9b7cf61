package daemon

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// A pin keeps an object's ciphertext in this home. What is not here it has fetched as a
// mirror fetches it, and then it is what keeps it: without the pin, the next collection
// of garbage forgets it. What was here before, the pin does not let go.
//
//	pin/<address>   -> pin
//	loose/<address> -> pin: one that has ended, of what it had brought
type pins struct{ store *store.KV }

var (
	pinPrefix   = []byte("pin/")
	loosePrefix = []byte("loose/")
)

type pin struct {
	_       struct{} `cbor:",toarray"`
	Since   int64    // Unix seconds
	Brought bool     // the pin had it fetched
}

func pinKey(c cid.Cid) []byte   { return slices.Concat(pinPrefix, c.Bytes()) }
func looseKey(c cid.Cid) []byte { return slices.Concat(loosePrefix, c.Bytes()) }

// get finds the pin of an address, or what has become of it.
func (p *pins) get(key []byte) (out pin, found bool, err error) {
	raw, err := p.store.Get(key)
	if errors.Is(err, kv.ErrNotFound) {
		return out, false, nil
	}
	if err == nil {
		err = statement.Unmarshal(raw, &out)
	}
	return out, err == nil, err
}

func (p *pins) isPinned(c cid.Cid) (bool, error) { _, is, err := p.get(pinKey(c)); return is, err }
func (p *pins) isLoose(c cid.Cid) (bool, error)  { _, is, err := p.get(looseKey(c)); return is, err }

// put writes one key and deletes another, at once.
func (p *pins) put(key []byte, v pin, instead []byte) error {
	raw, err := statement.Marshal(v)
	if err != nil {
		return err
	}
	return p.store.Apply([]kv.Op{{Key: key, Value: raw}, {Key: instead, Delete: true}})
}

// drop forgets that an address was ever pinned.
func (p *pins) drop(c cid.Cid) error {
	return p.store.Apply([]kv.Op{{Key: pinKey(c), Delete: true}, {Key: looseKey(c), Delete: true}})
}

// forgetLoose forgets that a pin had brought what is at an address.
func (p *pins) forgetLoose(c cid.Cid) error {
	return p.store.Apply([]kv.Op{{Key: looseKey(c), Delete: true}})
}

// loose are the addresses that pins brought and hold no more.
func (p *pins) loose() (out []cid.Cid, err error) {
	err = p.store.Scan(loosePrefix, nil, func(key, _ []byte) (bool, error) {
		c, err := cid.Cast(bytes.Clone(key[len(loosePrefix):]))
		out = append(out, c)
		return true, err
	})
	return out, err
}

// keepAsMirror has what a pin brought be kept for its own sake.
func (p *pins) keepAsMirror(c cid.Cid) error {
	had, found, err := p.get(pinKey(c))
	if err != nil {
		return err
	}
	if !found {
		return p.forgetLoose(c)
	}
	had.Brought = false
	return p.put(pinKey(c), had, looseKey(c))
}

// isPinned reports whether a pin keeps an object: its own, or that of the root under
// which it is carried.
func (n *Node) isPinned(c cid.Cid, o *store.Object) bool {
	if is, err := n.pins.isPinned(c); err != nil || is {
		return is
	}
	if !isCarried(o) {
		return false
	}
	note, err := noteOf(o)
	if err != nil {
		return false
	}
	at, err := cid.Cast(note.Root)
	if err != nil {
		return false
	}
	is, err := n.pins.isPinned(at)
	return err == nil && is
}

// Pin implements api.Service.
func (n *Node) Pin(ctx context.Context, r api.PinRequest) (*api.Objects, error) {
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	here, err := n.pinHere(ctx, address)
	if err != nil {
		return nil, err
	}
	if !here {
		if err := n.pinAway(ctx, r, address); err != nil {
			return nil, err
		}
	}
	return n.listOne(ctx, address)
}

func (n *Node) listOne(ctx context.Context, address cid.Cid) (*api.Objects, error) {
	o, err := n.store.Object(address)
	if err != nil {
		return nil, err
	}
	return &api.Objects{Objects: []api.Object{n.describe(ctx, address, o)}}, nil
}

// pinHere pins what is in the index. One that had been let go is held again.
func (n *Node) pinHere(ctx context.Context, address cid.Cid) (here bool, err error) {
	giveBack, err := n.carry.busy.take(ctx, address.KeyString()) // or it might be let go meanwhile
	if err != nil {
		return false, err
	}
	defer giveBack()
	o, err := n.store.Object(address)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case isErased(&o):
		return false, fault.New(fault.Denied, "nothing brings it back", "%s was erased by its owner", address)
	}
	if is, err := n.pins.isPinned(address); err != nil || is {
		return true, err
	}
	before, _, err := n.pins.get(looseKey(address))
	if err != nil {
		return false, err
	}
	return true, diskFault(n.pins.put(pinKey(address), pin{Since: n.now().Unix(), Brought: before.Brought}, looseKey(address)))
}

// pinAway pins what is not here yet: the pin first, so that a node that is killed
// meanwhile knows for what it goes on.
func (n *Node) pinAway(ctx context.Context, r api.PinRequest, address cid.Cid) error {
	if err := n.needsNetwork(); err != nil {
		return err
	}
	var at root
	mirrored, err := n.carry.get(rootKey(address), &at)
	if err != nil {
		return err
	}
	pinned, err := n.pins.isPinned(address)
	if err != nil {
		return err
	}
	loose, err := n.pins.isLoose(address)
	if err != nil {
		return err
	}
	if !pinned {
		if err := n.pins.put(pinKey(address), pin{Since: n.now().Unix(), Brought: !mirrored || loose}, looseKey(address)); err != nil {
			return diskFault(err)
		}
	}
	if _, err = n.mirror(ctx, api.MirrorRequest(r), func(cid.Cid) error { return nil }); err == nil {
		return nil
	}
	goesOn, rerr := n.carry.get(rootKey(address), &at)
	if rerr == nil && !goesOn && !pinned {
		rerr = n.pins.drop(address)
	}
	return errors.Join(err, rerr)
}

// Unpin implements api.Service.
func (n *Node) Unpin(ctx context.Context, r api.UnpinRequest) (*api.Objects, error) {
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	had, found, err := n.pins.get(pinKey(address))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.New(fault.NotFound, "see `cerebrum ls`, which marks what is pinned", "%s is not pinned", address)
	}
	if had.Brought {
		err = n.pins.put(looseKey(address), had, pinKey(address))
	} else {
		err = n.pins.drop(address)
	}
	if err != nil {
		return nil, diskFault(err)
	}
	out, err := n.listOne(ctx, address)
	if errors.Is(err, store.ErrNotFound) { // it never came
		return &api.Objects{Objects: []api.Object{}}, nil
	}
	return out, err
}

// pinnedFault is for who would have a pinned object forgotten.
func (n *Node) pinnedFault(c cid.Cid) error {
	is, err := n.pins.isPinned(c)
	if err == nil && is {
		err = fault.New(fault.Failed, "end that first with `cerebrum unpin`", "%s is pinned", c)
	}
	return err
}

func isErased(o *store.Object) bool { return o.Owned && o.State == object.StateErased }
