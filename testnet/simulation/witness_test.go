package simulation

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cerebrum.dev/cerebrum/node/api"
)

// A network runs with one validator gone: all logs are cosigned by the others. The
// one that comes back catches up. A home that was restored from an old copy is told
// by the validators what its own key signed, takes nothing more that must be recorded,
// and says what to do; nobody accuses it, since it went no further.
func TestWitnessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := found(t, *seed, 2, 0.01)
		w.start()
		defer w.halt()
		w.joined()
		node, other := w.nodes[0], w.nodes[1]
		w.witnessed(4, w.everybody()...)

		late := w.validators[3]
		late.halt()
		node.adds("one")
		w.witnessed(3, w.validators[0], w.validators[1], w.validators[2], node)
		late.start()
		node.adds("two")
		w.witnessed(4, node, late)

		node.halt()
		saved := filepath.Join(t.TempDir(), "saved")
		copyTree(t, saved, node.dir)
		node.start()
		node.adds("three")
		before := w.witnessed(4, node)
		node.halt()
		if err := os.RemoveAll(node.dir); err != nil {
			t.Fatal(err)
		}
		copyTree(t, node.dir, saved)
		node.start()
		s := node.until(func(s *api.Status) bool { return strings.Contains(strings.Join(s.Problems, " "), "new home") })
		if s.Healthy || s.AuditEntries >= before.AuditEntries {
			t.Errorf("%+v", s)
		}
		if _, err := node.node.AddStream(context.Background(), api.AddRequest{Name: "x"}, strings.NewReader("x")); err == nil {
			t.Error("something was added that cannot be recorded")
		} else if !strings.Contains(err.Error(), "rolled back") {
			t.Error(err)
		}
		other.adds("four") // control: others go on
		w.witnessed(4, other)
		time.Sleep(2 * time.Minute)
		for _, m := range w.everybody() {
			if s := m.status(); len(s.Forks) > 0 || m != node && !s.Healthy {
				t.Errorf("%s: %+v, %q", m.name, s.Forks, s.Problems)
			}
		}
	})
}

// A node goes on from an old copy while no validator can be reached, and so forks its
// log. The validators find out when it is back, every member learns of it, and the
// node itself says so.
func TestAForkIsKnownEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := found(t, *seed, 2, 0)
		w.start()
		defer w.halt()
		w.joined()
		node := w.nodes[0]
		w.witnessed(4, w.everybody()...)
		node.halt()
		saved := filepath.Join(t.TempDir(), "saved")
		copyTree(t, saved, node.dir)
		node.start()
		last := w.witnessed(4, node)
		for i := 0; i < 3 || last.Witnessed.Cosigned&(last.Witnessed.Cosigned-1) == 0; i++ { // see package witness on powers of two
			node.adds(strings.Repeat("x", i+1))
			last = w.witnessed(4, node)
		}
		node.halt()
		if err := os.RemoveAll(node.dir); err != nil {
			t.Fatal(err)
		}
		copyTree(t, node.dir, saved)
		for _, v := range w.validators {
			v.halt()
		}
		node.start() // nobody tells it
		for i := range 9 {
			node.adds(strings.Repeat("y", i+1))
		}
		time.Sleep(10 * time.Second)
		for _, v := range w.validators {
			v.start()
		}
		for _, m := range w.everybody() {
			s := m.until(func(s *api.Status) bool { return len(s.Forks) == 1 })
			if own := m == node; own == s.Healthy || s.Forks[0].PeerID != node.status().PeerID {
				t.Errorf("%s: %q, %q", m.name, s.Forks, s.Problems)
			}
			if m == node {
				continue // it does not start any more
			}
			m.halt()
			m.start()
			if s := m.status(); len(s.Forks) != 1 { // for ever
				t.Errorf("%s forgot: %q", m.name, s.Forks)
			}
		}
	})
}

func (m *member) status() *api.Status {
	m.w.Helper()
	s, err := m.node.Status(context.Background())
	if err != nil {
		m.w.Fatal(m.name, err)
	}
	return s
}

// until waits for a status.
func (m *member) until(good func(*api.Status) bool) *api.Status {
	m.w.Helper()
	for range 600 {
		s := m.status()
		if good(s) {
			return s
		}
		time.Sleep(time.Second)
	}
	m.w.Fatalf("%s: after ten minutes %+v\n%s", m.name, m.status(), m.log)
	return nil
}

// witnessed waits until the logs of members are cosigned by so many validators, and
// gives the last status.
func (w *world) witnessed(by int, members ...*member) (last *api.Status) {
	w.Helper()
	for _, m := range members {
		last = m.until(func(s *api.Status) bool {
			all := s.Role == "validator" || s.Witnessed.Cosigned == s.AuditEntries // others' checkpoints may wait
			return s.Witnessed.Have >= by && s.Witnessed.AgeSeconds != nil && s.Witnessed.BehindSeconds == 0 && all
		})
	}
	return last
}

func (m *member) adds(content string) {
	m.w.Helper()
	if _, err := m.node.AddStream(context.Background(), api.AddRequest{Name: "note"}, strings.NewReader(content)); err != nil {
		m.w.Fatal(m.name, err)
	}
}

// copyTree copies a home, modes and all but its sockets.
func copyTree(t *testing.T, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, raw, 0o600)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}
