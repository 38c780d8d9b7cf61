package kvtest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
)

func TestMemoryPassesTheSuite(t *testing.T) {
	Run(t, func() kv.Store { return new(kv.Memory) })
}

// TestTheSuiteFindsFaults breaks a good store in one way at a time and expects
// the check of that rule to say so: a suite that cannot fail proves nothing.
func TestTheSuiteFindsFaults(t *testing.T) {
	type scanFn = func(k, v []byte) (bool, error)
	good := func() *kv.Memory { return new(kv.Memory) }
	faults := map[string]func(m *kv.Memory, b *broken){
		"a missing key is ErrNotFound": func(m *kv.Memory, b *broken) {
			b.get = func(k []byte) ([]byte, error) { v, _ := m.Get(k); return v, nil }
		},
		"what is written is read back": func(m *kv.Memory, b *broken) {
			b.get = func(k []byte) ([]byte, error) { v, err := m.Get(k); return append([]byte(nil), v...), err }
		},
		"the later op on a key counts": func(m *kv.Memory, b *broken) {
			b.apply = func(ops []kv.Op) error { r := slices.Clone(ops); slices.Reverse(r); return m.Apply(r) }
		},
		"a refused op changes nothing": func(m *kv.Memory, b *broken) {
			b.apply = func(ops []kv.Op) error { return errors.Join(m.Apply(ops[:1]), m.Apply(ops)) }
		},
		"the caller may reuse its buffers": func(m *kv.Memory, b *broken) {
			var kept []kv.Op
			b.apply = func(ops []kv.Op) error { kept = ops; return nil }
			b.get = func(k []byte) ([]byte, error) { return new(kv.Memory).Get(k) }
			b.scan = func(p, a []byte, fn scanFn) error { _, err := fn(kept[0].Key, kept[0].Value); return err }
		},
		"the caller owns what Get returns": func(m *kv.Memory, b *broken) {
			shared := []byte("1")
			b.get = func([]byte) ([]byte, error) { return shared, nil }
		},
		"keys come in order of bytes": func(m *kv.Memory, b *broken) {
			b.scan = func(p, a []byte, fn scanFn) error {
				var all [][]byte
				m.Scan(p, a, func(k, _ []byte) (bool, error) { all = append(all, bytes.Clone(k)); return true, nil })
				slices.Reverse(all)
				for _, k := range all {
					fn(k, nil)
				}
				return nil
			}
		},
		"a prefix selects, also of 0xff": func(m *kv.Memory, b *broken) {
			b.scan = func(p, a []byte, fn scanFn) error {
				if bytes.HasPrefix(p, []byte("\xff")) {
					return nil // what an upper bound computed by adding one does
				}
				return m.Scan(p, a, fn)
			}
		},
		"after is exclusive and may be missing": func(m *kv.Memory, b *broken) {
			b.scan = func(p, a []byte, fn scanFn) error {
				if n := len(a); n > 0 {
					a = append(bytes.Clone(a[:n-1]), a[n-1]-1, 0xff) // inclusive
				}
				return m.Scan(p, a, fn)
			}
		},
		"a scan stops when told": func(m *kv.Memory, b *broken) {
			b.scan = func(p, a []byte, fn scanFn) error {
				return m.Scan(p, a, func(k, v []byte) (bool, error) { _, err := fn(k, v); return true, err })
			}
		},
		"a scan sees the moment it began": func(m *kv.Memory, b *broken) {
			b.scan = func(p, a []byte, fn scanFn) error {
				return m.Scan(p, a, func(k, _ []byte) (bool, error) { v, _ := m.Get(k); return fn(k, v) })
			}
		},
		"fn may read and write": func(m *kv.Memory, b *broken) {
			inside := false
			b.scan = func(p, a []byte, fn scanFn) error {
				inside = true
				defer func() { inside = false }()
				return m.Scan(p, a, fn)
			}
			b.get = func(k []byte) ([]byte, error) {
				if inside {
					return nil, errors.New("would hang here")
				}
				return m.Get(k)
			}
		},
		"a batch is never seen half done": func(m *kv.Memory, b *broken) {
			b.apply = func(ops []kv.Op) error { return m.Apply(ops[:1]) }
		},
	}
	for _, c := range checks {
		breakIt := faults[c.name]
		if breakIt == nil {
			t.Fatalf("no fault for %q", c.name)
		}
		m := good()
		b := &broken{get: m.Get, apply: m.Apply, scan: m.Scan}
		breakIt(m, b)
		if err := c.run(b); err == nil {
			t.Errorf("%q did not find its fault", c.name)
		}
	}
}

type broken struct {
	get   func([]byte) ([]byte, error)
	apply func([]kv.Op) error
	scan  func(prefix, after []byte, fn func(k, v []byte) (bool, error)) error
}

func (b *broken) Get(k []byte) ([]byte, error) { return b.get(k) }
func (b *broken) Apply(ops []kv.Op) error      { return b.apply(ops) }
func (b *broken) Scan(p, a []byte, fn func(k, v []byte) (bool, error)) error {
	return b.scan(p, a, fn)
}

// TestMemoryScribbles shows that a caller who keeps what Scan lent notices.
func TestMemoryScribbles(t *testing.T) {
	m := new(kv.Memory)
	if err := m.Apply([]kv.Op{put("a", "1")}); err != nil {
		t.Fatal(err)
	}
	var kept []byte
	if err := m.Scan(nil, nil, func(_, v []byte) (bool, error) { kept = v; return true, nil }); err != nil {
		t.Fatal(err)
	}
	if string(kept) == "1" {
		t.Fatal("a value kept beyond the call still reads well")
	}
}
