package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// pruneAt ends a segment at each size, adding events up to it, and prunes at the last.
func pruneAt(t testing.TB, l *Log, sizes ...int) {
	t.Helper()
	n := int(l.Size())
	for _, size := range sizes {
		add(t, l, n, size)
		n = size
		if err := l.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Prune(int64(n)); err != nil {
		t.Fatal(err)
	}
}

// runLog runs a log in dir, which may have been there.
func runLog(t testing.TB, dir string) *Log {
	t.Helper()
	l := openLog(t, dir)
	run(t, l)
	return l
}

// Rule 8: a period that is over can be removed. The rest, and proofs of all, hold.
func TestRule8APrunedLogGoesOnAndProvesAll(t *testing.T) {
	for _, at := range []int{1, 255, 256, 300, 512} {
		dir := filepath.Join(t.TempDir(), "log")
		l := runLog(t, dir)
		add(t, l, 0, at/2+1)
		early, err := l.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		archive := bundle(t, l, Export{})
		pruneAt(t, l, at)
		add(t, l, at, at+300)
		now, err := l.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		look := func(l *Log) {
			t.Helper()
			seen := at
			if err := l.Scan(func(i int64, leaf []byte) error {
				if i != int64(seen) || !bytes.Equal(leaf, event(seen)) {
					t.Fatalf("record %d is %q", i, leaf)
				}
				seen++
				return nil
			}); err != nil || seen != at+300 || l.First() != int64(at) {
				t.Fatalf("pruned at %d: records to %d from %d: %v", at, seen, l.First(), err)
			}
			policy, err := l.Binding().Policy()
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range []int{0, at - 1, at, at + 299} { // who kept a removed record proves it still
				proof, err := l.ProveInclusion(int64(i))
				if err != nil {
					t.Fatalf("record %d: %v", i, err)
				}
				if err := VerifyInclusion(policy, event(i), proof); err != nil {
					t.Errorf("record %d: %v", i, err)
				}
			}
			p, err := l.ProveConsistency(early.N, now.N)
			if err != nil || tlog.CheckTree(p, now.N, now.Hash, early.N, early.Hash) != nil {
				t.Errorf("pruned at %d: nothing shows that it goes on from %d: %v", at, early.N, err)
			}
			raw := bundle(t, l, Export{Checkpoint: now})
			b, leaves, _, err := inspect(t, raw, Check{Peer: peer(t)})
			if err != nil || b.First != int64(at) || fmt.Sprint(leaves) != fmt.Sprint(events(at, at+300)) {
				t.Errorf("pruned at %d: a bundle has %d records: %v", at, len(leaves), err)
			}
			if err := l.ExportTiles(filepath.Join(t.TempDir(), "tiles"), now, nil); !errors.Is(err, ErrPruned) {
				t.Errorf("tiles of a part: %v", err)
			}
			if err := l.ExportBundle(new(bytes.Buffer), Export{Checkpoint: early}); !errors.Is(err, ErrPruned) && early.N < int64(at) {
				t.Errorf("a bundle of what was removed: %v", err)
			}
		}
		look(l)
		l.Close()
		if names, _ := filepath.Glob(filepath.Join(dir, segmentPrefix+"*")); len(names) != 1 {
			t.Errorf("pruned at %d: the files are %v", at, names)
		}
		found, err := Verify(dir, peer(t), early.Note, now.Note)
		if err != nil || found.Tree != now.Tree {
			t.Errorf("pruned at %d: verify: %+v, %v", at, found, err)
		}
		l = runLog(t, dir)
		look(l)
		// The archive is of the same log, and is found to be.
		b, _, _, err := inspect(t, archive, Check{})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Confront(b.Checkpoint.Note); err != nil {
			t.Errorf("the log does not go on from its archive: %v", err)
		}
		pruneAt(t, l, at+301, at+302) // and again
		l.Close()
		if _, err := Verify(dir, peer(t), early.Note, now.Note); err != nil {
			t.Errorf("pruned twice: %v", err)
		}
	}
}

// What was not removed by the log itself is missed, and named.
func TestRule8WhatIsMissingOfAPrunedLogIsNamed(t *testing.T) {
	build := func(name string) string {
		dir := filepath.Join(t.TempDir(), name)
		l := runLog(t, dir)
		pruneAt(t, l, 100, 300)
		l.Close()
		l = runLog(t, dir)
		for n := 300; n < 600; n += 100 {
			add(t, l, n, n+100)
			if err := l.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		add(t, l, 600, 610)
		l.Close()
		return dir
	}
	old := build("old")
	file := func(first int64) string { return segmentName(first) }
	cases := map[string]struct {
		change func(dir string) error
		names  string
	}{
		"a shard is removed":       {func(d string) error { return os.Remove(filepath.Join(d, file(400))) }, "record 400"},
		"the oldest is removed":    {func(d string) error { return os.Remove(filepath.Join(d, file(300))) }, "record 300"},
		"the newest is removed":    {func(d string) error { return os.Remove(filepath.Join(d, file(600))) }, "record 600"},
		"two are swapped":          {func(d string) error { return swap(d, file(300), file(400)) }, "record 300"},
		"the mark is removed":      {func(d string) error { return os.Remove(filepath.Join(d, prunedName)) }, "record 0"},
		"the mark is edited":       {func(d string) error { return flip(filepath.Join(d, prunedName), 80) }, prunedName},
		"the hashes are gone":      {func(d string) error { return os.Remove(filepath.Join(d, hashesName)) }, hashesName},
		"a hash is edited":         {func(d string) error { return flip(filepath.Join(d, hashesName), 50*2*32) }, hashesName},
		"the hashes are truncated": {func(d string) error { return os.Truncate(filepath.Join(d, hashesName), 6400) }, hashesName},
		"one of another log": {func(d string) error {
			return copyFile(filepath.Join(foreign(t, "another"), file(0)), filepath.Join(d, file(400)))
		}, "record 400"},
		"the mark of another log": {func(d string) error {
			return copyFile(filepath.Join(foreign(t, "third"), prunedName), filepath.Join(d, prunedName))
		}, prunedName},
		"rolled back to before": {func(d string) error {
			for _, name := range []string{checkpointName, prunedName, hashesName} {
				if err := copyFile(filepath.Join(old, name), filepath.Join(d, name)); err != nil {
					return err
				}
			}
			for _, s := range []int64{400, 500, 600} {
				os.Remove(filepath.Join(d, file(s)))
			}
			return nil
		}, "record 400"},
	}
	control := build("control")
	if _, err := Verify(control, peer(t)); err != nil {
		t.Fatalf("untouched: %v", err)
	}
	for name, c := range cases {
		dir := build("log")
		if err := c.change(dir); err != nil {
			t.Fatal(err)
		}
		_, verr := Verify(dir, peer(t))
		l, oerr := Open(dir, config(t))
		if oerr == nil {
			l.Close()
		}
		for _, err := range []error{verr, oerr} {
			if !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), c.names) {
				t.Errorf("%s: %v; want %q", name, err, c.names)
			}
		}
	}
}

// foreign is the log of somebody else, pruned once, with the same events.
func foreign(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	c := config(t)
	b, err := Bind(key(t, name), key(t, name+"'s log"))
	if err != nil {
		t.Fatal(err)
	}
	c.Binding, c.Key = b, key(t, name+"'s log")
	l, err := Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	run(t, l)
	first := filepath.Join(dir, segmentName(0))
	add(t, l, 0, 300)
	if err := l.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Prune(300); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.WriteFile(first, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func swap(dir, a, b string) error {
	aside := filepath.Join(dir, "aside")
	return errors.Join(os.Rename(filepath.Join(dir, a), aside), os.Rename(filepath.Join(dir, b), filepath.Join(dir, a)),
		os.Rename(aside, filepath.Join(dir, b)))
}

func copyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o600)
}

func flip(path string, at int) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	raw[at] ^= 1
	return os.WriteFile(path, raw, 0o600)
}

func TestRule8WhatMayNotBeRemovedStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := runLog(t, dir)
	add(t, l, 0, 10)
	for _, first := range []int64{0, 5, 10, 11, -1} { // no segment begins there
		if err := l.Prune(first); !errors.Is(err, ErrKeep) {
			t.Errorf("at %d: %v", first, err)
		}
	}
	before, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, known := witnesses(t, 1)
	if _, err := l.Cosign(before.Note, cosign(t, before.Note, w...), known); err != nil {
		t.Fatal(err)
	}
	add(t, l, 10, 20)
	for range 3 { // an empty segment is not ended again
		if err := l.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(l.Segments()); got != "[0 20]" {
		t.Errorf("segments %s", got)
	}
	if err := l.Prune(20); !errors.Is(err, ErrKeep) || !strings.Contains(err.Error(), "witnesses") {
		t.Errorf("what no witness has seen: %v", err)
	}
	now, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Cosign(now.Note, cosign(t, now.Note, w...), known); err != nil {
		t.Fatal(err)
	}
	if err := l.Prune(20); err != nil { // the control
		t.Errorf("what a witness has seen: %v", err)
	}
	l.Close()
	if _, err := Verify(dir, peer(t), before.Note, now.Note); err != nil {
		t.Error(err)
	}
}

// A crash at any step of pruning leaves a log that is whole, or pruned.
func TestACrashWhilePruning(t *testing.T) {
	for step := range 4 {
		m := newMemory()
		l := m.log(t)
		run(t, l)
		pruneAt(t, l, 40)
		add(t, l, 40, 80)
		if err := l.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		count := 0
		m.fail = func(op, name string) error {
			if (op == "sync" && name == hashesName) || (op == "replace" && name == prunedName) || op == "remove" {
				if count++; count > step {
					return errors.New("crash")
				}
			}
			return nil
		}
		err := l.Prune(80)
		m.fail = nil
		if (err == nil) != (step == 3) {
			t.Fatalf("step %d: %v", step, err)
		}
		l.Close()
		m.cut(0)
		again := m.log(t)
		want := int64(80)
		if step < 2 {
			want = 40
		}
		if again.First() != want || again.Size() != 80 {
			t.Errorf("step %d: records from %d to %d", step, again.First(), again.Size())
		}
		if left := m.files[segmentName(40)]; (left == nil) != (want == 80) {
			t.Errorf("step %d: the removed file is there: %t", step, left != nil)
		}
		run(t, again)
		add(t, again, 80, 90)
		again.Close()
	}
}

// Hashes whose flush failed are not taken for durable by the next one, which would let
// the records go from which alone they could be derived.
func TestPruningAfterAFlushThatFailed(t *testing.T) {
	m := newMemory()
	l := m.log(t)
	run(t, l)
	add(t, l, 0, 40)
	if err := l.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.fail = func(op, name string) error {
		if op == "sync" && name == hashesName {
			return errors.New("the disk failed")
		}
		return nil
	}
	if err := l.Prune(40); err == nil {
		t.Fatal("records were removed though their hashes were not flushed")
	}
	m.fail = nil
	if err := l.Prune(40); err != nil {
		t.Fatal(err)
	}
	l.Close()
	hashes := m.files[hashesName]
	hashes.data = bytes.Clone(hashes.synced) // the power fails
	again := m.log(t)
	defer again.Close()
	if again.First() != 40 || again.Size() != 40 {
		t.Errorf("records from %d to %d", again.First(), again.Size())
	}
}

func FuzzPruned(f *testing.F) {
	m := newMemory()
	l := m.log(f)
	run(f, l)
	pruneAt(f, l, 5)
	l.Close()
	f.Add(m.files[prunedName].data)
	b := l.binding
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := newMemory()
		m.replace(prunedName, raw)
		start, err := readStart(m, b)
		if err != nil && !errors.Is(err, ErrTampered) && len(raw) <= maxPruned {
			t.Fatal(err)
		}
		if err == nil && len(raw) > 0 && start.n != 5 {
			t.Fatalf("the log never signed that it begins with %d", start.n)
		}
	})
}
