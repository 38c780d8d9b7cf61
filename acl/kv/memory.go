package kv

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a [Store] that lives as long as the process, for tests and for
// nothing else: it calls durable what no disk ever sees. It enforces the
// contract on its callers: what Scan lends is overwritten when fn returns, so
// that a caller who keeps it finds out. The zero value is empty and ready.
type Memory struct {
	mu      sync.RWMutex
	entries map[string]string // guarded by mu
}

var _ Store = (*Memory)(nil)

// Get implements [Store].
func (m *Memory) Get(key []byte) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, ok := m.entries[string(key)]
	if !ok {
		return nil, ErrNotFound
	}
	return []byte(v), nil
}

// Apply implements [Store], but for durability.
func (m *Memory) Apply(ops []Op) error {
	if err := Check(ops); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = make(map[string]string)
	}
	for _, op := range ops {
		if op.Delete {
			delete(m.entries, string(op.Key))
		} else {
			m.entries[string(op.Key)] = string(op.Value)
		}
	}
	return nil
}

// Scan implements [Store].
func (m *Memory) Scan(prefix, after []byte, fn func(key, value []byte) (more bool, err error)) error {
	m.mu.RLock()
	seen := maps.Clone(m.entries)
	m.mu.RUnlock()
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		if !strings.HasPrefix(k, string(prefix)) || (len(after) > 0 && k <= string(after)) {
			continue
		}
		more, err := lend([]byte(k), []byte(seen[k]), fn)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func lend(key, value []byte, fn func(key, value []byte) (bool, error)) (bool, error) {
	more, err := fn(key, value)
	copy(key, bytes.Repeat([]byte{0xdb}, len(key)))
	copy(value, bytes.Repeat([]byte{0xdb}, len(value)))
	return more, err
}
