package store

import (
	"bytes"
	"fmt"
	"strings"

	"cerebrum.dev/cerebrum/acl/kv"
)

// KV is one namespace of the store's metadata. It is a kv.Store, whose contract
// says what is durable when and what each error means; besides, writes return
// [ErrReadOnly] after a failure of the disk.
type KV struct {
	s      *Store
	prefix []byte // 'k' namespace 0x00
}

var _ kv.Store = (*KV)(nil)

// KV returns the namespace of that name. Two names never see each other's keys.
// A name is written in the program, so one that is empty or holds a zero byte,
// which ends names on disk, is a mistake in the program and panics.
func (s *Store) KV(namespace string) *KV {
	if namespace == "" || strings.IndexByte(namespace, 0) >= 0 {
		panic(fmt.Sprintf("store: bad namespace %q", namespace))
	}
	return &KV{s: s, prefix: append([]byte{keySpace}, namespace+"\x00"...)}
}

// Get implements kv.Store.
func (k *KV) Get(key []byte) ([]byte, error) {
	if err := k.s.begin(); err != nil {
		return nil, err
	}
	defer k.s.end()
	return k.s.read(k.key(key))
}

// Apply implements kv.Store: one pebble batch, synced.
func (k *KV) Apply(ops []kv.Op) error {
	if err := kv.Check(ops); err != nil {
		return err
	}
	if err := k.s.begin(); err != nil {
		return err
	}
	defer k.s.end()
	full := make([]kv.Op, len(ops))
	for i, op := range ops {
		full[i] = kv.Op{Key: k.key(op.Key), Value: op.Value, Delete: op.Delete}
	}
	return k.s.apply(full)
}

// Scan implements kv.Store.
func (k *KV) Scan(prefix, after []byte, fn func(key, value []byte) (more bool, err error)) error {
	if err := k.s.begin(); err != nil {
		return err
	}
	defer k.s.end()
	low := k.key(prefix)
	high := keyAfter(low)
	if len(after) > 0 {
		// The key that directly follows after is after and a zero byte.
		if from := append(k.key(after), 0); bytes.Compare(from, low) > 0 {
			low = from
		}
	}
	if bytes.Compare(low, high) >= 0 {
		return nil
	}
	return k.s.scan(low, high, func(key, value []byte) (bool, error) {
		return fn(key[len(k.prefix):], value)
	})
}

func (k *KV) key(key []byte) []byte {
	full := make([]byte, 0, len(k.prefix)+len(key)+1)
	return append(append(full, k.prefix...), key...)
}
