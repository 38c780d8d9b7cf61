package daemon

import (
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// erasures are the orders to erase that this home has given, durable before they
// are sent:
//
//	order/<id>      -> order
//	at/<address>    -> ids of the orders that an address means
type erasures struct{ store *store.KV }

var (
	orderPrefix = []byte("order/")
	atPrefix    = []byte("at/")
)

// order is one order to erase, and how far it is.
type order struct {
	_         struct{} `cbor:",toarray"`
	Entry     revocation.Entry
	Addresses [][]byte
	Receipts  [][]byte // verified when they came
	Held      []uint16 // validators that last refused it because of a hold
	Local     bool     // the wraps here are destroyed
	Done      bool     // enough receipts

	id statement.ID
}

func (e *erasures) save(o *order) error {
	raw, err := statement.Marshal(o)
	if err != nil {
		return err
	}
	return e.store.Apply([]kv.Op{{Key: slices.Concat(orderPrefix, o.id[:]), Value: raw}})
}

// start makes orders durable, with the addresses by which they are found again.
func (e *erasures) start(asked cid.Cid, orders []*order) error {
	var ops []kv.Op
	var ids []statement.ID
	for _, o := range orders {
		raw, err := statement.Marshal(o)
		if err != nil {
			return err
		}
		ops = append(ops, kv.Op{Key: slices.Concat(orderPrefix, o.id[:]), Value: raw})
		ids = append(ids, o.id)
		one, err := statement.Marshal([]statement.ID{o.id})
		if err != nil {
			return err
		}
		for _, a := range o.Addresses {
			ops = append(ops, kv.Op{Key: slices.Concat(atPrefix, a), Value: one})
		}
	}
	all, err := statement.Marshal(ids)
	if err != nil {
		return err
	}
	return e.store.Apply(append(ops, kv.Op{Key: slices.Concat(atPrefix, asked.Bytes()), Value: all}))
}

// drop forgets orders that validators refused.
func (e *erasures) drop(orders []*order) error {
	var ops []kv.Op
	for _, o := range orders {
		ops = append(ops, kv.Op{Key: slices.Concat(orderPrefix, o.id[:]), Delete: true})
		for _, a := range o.Addresses {
			ops = append(ops, kv.Op{Key: slices.Concat(atPrefix, a), Delete: true})
		}
	}
	return e.store.Apply(ops)
}

// at finds the orders that an address means; none where it was not erased.
func (e *erasures) at(address cid.Cid) ([]*order, error) {
	raw, err := e.store.Get(slices.Concat(atPrefix, address.Bytes()))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []statement.ID
	if err := statement.Unmarshal(raw, &ids); err != nil {
		return nil, err
	}
	var out []*order
	for _, id := range ids {
		o, err := e.byID(id)
		if err != nil {
			return nil, err
		}
		if o != nil {
			out = append(out, o)
		}
	}
	return out, nil
}

// byID finds an order; nil where it is not here, or was dropped.
func (e *erasures) byID(id statement.ID) (*order, error) {
	raw, err := e.store.Get(slices.Concat(orderPrefix, id[:]))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeOrder(id, raw)
}

func decodeOrder(id statement.ID, raw []byte) (*order, error) {
	o := &order{id: id}
	if err := statement.Unmarshal(raw, o); err != nil {
		return nil, fmt.Errorf("a stored order to erase: %w", err)
	}
	return o, nil
}

// open lists the orders that are not finished.
func (e *erasures) open() (out []*order, err error) {
	err = e.store.Scan(orderPrefix, nil, func(key, value []byte) (bool, error) {
		o, err := decodeOrder(statement.ID(key[len(orderPrefix):]), value)
		if err == nil && !(o.Done && o.Local) {
			out = append(out, o)
		}
		return true, err
	})
	return out, err
}
