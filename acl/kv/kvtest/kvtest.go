// Package kvtest is the suite that every implementation of kv.Store passes.
package kvtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
)

// Run checks every sentence of the contract of [kv.Store]. Each check opens a
// store of its own, which must be empty.
func Run(t *testing.T, open func() kv.Store) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(open()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A check returns what is wrong, rather than failing a test itself, so that the
// suite's own test can show that each one does find its fault.
type check struct {
	name string
	run  func(kv.Store) error
}

var checks = []check{
	{"a missing key is ErrNotFound", missing},
	{"what is written is read back", readBack},
	{"the later op on a key counts", laterCounts},
	{"a refused op changes nothing", refusedWhole},
	{"the caller may reuse its buffers", buffersReused},
	{"the caller owns what Get returns", getCopies},
	{"keys come in order of bytes", ordered},
	{"a prefix selects, also of 0xff", prefixes},
	{"after is exclusive and may be missing", resumes},
	{"a scan stops when told", stops},
	{"a scan sees the moment it began", snapshot},
	{"fn may read and write", nested},
	{"a batch is never seen half done", atomically},
}

func put(k, v string) kv.Op { return kv.Op{Key: []byte(k), Value: []byte(v)} }
func del(k string) kv.Op    { return kv.Op{Key: []byte(k), Delete: true} }

func want(s kv.Store, key, value string) error {
	got, err := s.Get([]byte(key))
	if err != nil || string(got) != value {
		return fmt.Errorf("Get(%q) = %q, %v; want %q", key, got, err, value)
	}
	return nil
}

func gone(s kv.Store, key string) error {
	if v, err := s.Get([]byte(key)); !errors.Is(err, kv.ErrNotFound) {
		return fmt.Errorf("Get(%q) = %q, %v; want ErrNotFound", key, v, err)
	}
	return nil
}

func keys(s kv.Store, prefix, after []byte) ([]string, error) {
	var out []string
	err := s.Scan(prefix, after, func(k, v []byte) (bool, error) {
		out = append(out, string(k))
		return true, nil
	})
	return out, err
}

func wantKeys(s kv.Store, prefix, after []byte, want ...string) error {
	got, err := keys(s, prefix, after)
	if err != nil || !slices.Equal(got, want) {
		return fmt.Errorf("Scan(%q, %q) = %q, %v; want %q", prefix, after, got, err, want)
	}
	return nil
}

func missing(s kv.Store) error {
	return errors.Join(gone(s, "a"), s.Apply(nil), s.Apply([]kv.Op{del("a")}), gone(s, "a"), wantKeys(s, nil, nil))
}

func readBack(s kv.Store) error {
	if err := s.Apply([]kv.Op{put("a", "1"), put("b", ""), put("c\x00d", "\x00")}); err != nil {
		return err
	}
	if v, err := s.Get([]byte("b")); err != nil || v == nil {
		return fmt.Errorf("an empty value came back as %v, %v", v, err)
	}
	return errors.Join(want(s, "a", "1"), want(s, "b", ""), want(s, "c\x00d", "\x00"), gone(s, "c"))
}

func laterCounts(s kv.Store) error {
	err := s.Apply([]kv.Op{put("a", "1"), put("a", "2"), put("b", "1"), del("b"), del("c"), put("c", "3")})
	return errors.Join(err, want(s, "a", "2"), gone(s, "b"), want(s, "c", "3"))
}

func refusedWhole(s kv.Store) error {
	bad := []kv.Op{
		put("", "empty key"),
		{Key: make([]byte, kv.MaxKey+1)},
		{Key: []byte("k"), Value: make([]byte, kv.MaxValue+1)},
		{Delete: true},
	}
	for i, op := range bad {
		if err := s.Apply([]kv.Op{put("a", "1"), op}); !errors.Is(err, kv.ErrLimit) {
			return fmt.Errorf("refusal %d: error %v, want ErrLimit", i, err)
		}
	}
	big := []kv.Op{{Key: bytes.Repeat([]byte{1}, kv.MaxKey), Value: make([]byte, kv.MaxValue)}}
	return errors.Join(gone(s, "a"), wantKeys(s, nil, nil), s.Apply(big))
}

func buffersReused(s kv.Store) error {
	op := put("a", "1")
	if err := s.Apply([]kv.Op{op}); err != nil {
		return err
	}
	op.Key[0], op.Value[0] = 'x', 'x'
	return errors.Join(want(s, "a", "1"), gone(s, "x"), wantKeys(s, nil, nil, "a"))
}

func getCopies(s kv.Store) error {
	if err := s.Apply([]kv.Op{put("a", "1")}); err != nil {
		return err
	}
	v, err := s.Get([]byte("a"))
	if err != nil || len(v) != 1 {
		return fmt.Errorf("from Get: %q, %v", v, err)
	}
	v[0] = 'x'
	return want(s, "a", "1")
}

func ordered(s kv.Store) error {
	err := s.Apply([]kv.Op{put("b", ""), put("\xff", ""), put("a\x00", ""), put("a", ""), put("\x00", ""), put("B", "")})
	return errors.Join(err, wantKeys(s, nil, nil, "\x00", "B", "a", "a\x00", "b", "\xff"))
}

func prefixes(s kv.Store) error {
	err := s.Apply([]kv.Op{put("a", ""), put("ab", ""), put("b", ""), put("\xfe", ""), put("\xff", ""), put("\xff\xff", "")})
	return errors.Join(err,
		wantKeys(s, []byte("a"), nil, "a", "ab"),
		wantKeys(s, []byte("ab"), nil, "ab"),
		wantKeys(s, []byte("abc"), nil),
		wantKeys(s, []byte("\xff"), nil, "\xff", "\xff\xff"),
		wantKeys(s, []byte("\xff\xff"), nil, "\xff\xff"))
}

func resumes(s kv.Store) error {
	err := s.Apply([]kv.Op{put("p1", ""), put("p2", ""), put("p2\x00", ""), put("p3", ""), put("q", "")})
	p := []byte("p")
	return errors.Join(err,
		wantKeys(s, p, []byte{}, "p1", "p2", "p2\x00", "p3"),
		wantKeys(s, p, []byte("p2"), "p2\x00", "p3"),
		wantKeys(s, p, []byte("p11"), "p2", "p2\x00", "p3"),
		wantKeys(s, p, []byte("p3")),
		wantKeys(s, p, []byte("a"), "p1", "p2", "p2\x00", "p3"),
		wantKeys(s, p, []byte("z")))
}

func stops(s kv.Store) error {
	if err := s.Apply([]kv.Op{put("a", ""), put("b", ""), put("c", "")}); err != nil {
		return err
	}
	calls, mine := 0, errors.New("mine")
	err := s.Scan(nil, nil, func(_, _ []byte) (bool, error) { calls++; return calls < 2, nil })
	if err != nil || calls != 2 {
		return fmt.Errorf("stopped after %d calls with %v, want 2 and none", calls, err)
	}
	if err := s.Scan(nil, nil, func(_, _ []byte) (bool, error) { calls++; return true, mine }); err != mine || calls != 3 {
		return fmt.Errorf("an error of fn came back as %v after %d calls", err, calls-2)
	}
	return nil
}

func snapshot(s kv.Store) error {
	if err := s.Apply([]kv.Op{put("a", "old"), put("b", "old"), put("c", "old")}); err != nil {
		return err
	}
	var got []string
	err := s.Scan(nil, nil, func(k, v []byte) (bool, error) {
		got = append(got, string(k)+"="+string(v))
		return true, s.Apply([]kv.Op{put("b", "new"), del("c"), put("d", "new")})
	})
	if want := []string{"a=old", "b=old", "c=old"}; err != nil || !slices.Equal(got, want) {
		return fmt.Errorf("the scan saw %q, %v; want %q", got, err, want)
	}
	return wantKeys(s, nil, nil, "a", "b", "d")
}

func nested(s kv.Store) error {
	if err := s.Apply([]kv.Op{put("a", "1"), put("b", "2")}); err != nil {
		return err
	}
	return s.Scan(nil, nil, func(k, v []byte) (bool, error) {
		got, err := s.Get(k)
		if err != nil || !bytes.Equal(got, v) {
			return false, fmt.Errorf("from Get inside a scan: %q, %v; want %q", got, err, v)
		}
		inner, err := keys(s, nil, nil)
		if err != nil || len(inner) != 2 {
			return false, fmt.Errorf("a scan inside a scan saw %q, %v", inner, err)
		}
		return true, nil
	})
}

// atomically lets writers move both halves of a pair at once while readers look
// for a pair that does not match.
func atomically(s kv.Store) error {
	const writers, rounds = 4, 25
	var wg sync.WaitGroup
	errs := make(chan error, 2*writers)
	for w := range writers {
		wg.Add(2)
		go func() {
			defer wg.Done()
			for i := range rounds {
				n := binary.BigEndian.AppendUint64(nil, uint64(w*rounds+i))
				if err := s.Apply([]kv.Op{{Key: []byte("left"), Value: n}, {Key: []byte("right"), Value: n}}); err != nil {
					errs <- err
					return
				}
			}
		}()
		go func() {
			defer wg.Done()
			for range rounds {
				if err := samePair(s); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	wg.Wait()
	close(errs)
	return errors.Join(<-errs, samePair(s))
}

func samePair(s kv.Store) error {
	var pair [][]byte
	err := s.Scan(nil, nil, func(_, v []byte) (bool, error) {
		pair = append(pair, bytes.Clone(v))
		return true, nil
	})
	if err != nil {
		return err
	}
	if len(pair) == 1 || (len(pair) == 2 && !bytes.Equal(pair[0], pair[1])) {
		return fmt.Errorf("a scan saw half a batch: %x", pair)
	}
	return nil
}
