package testnet_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestDirectory shares a tree with one grant.
func TestDirectory(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	tree := filepath.Join(w.tmp, "tree")
	makeTree(t, tree)
	added := w.ok("node1", "add", tree)
	if added.str("state") != "shared" || added["directory"] != true || added.num("files") != 303 {
		t.Fatalf("added: %v", added)
	}
	address := added.str("address")
	w.denied(3, "node2", address)
	grant := w.grant("node1", address, "node2", "read")
	want := snapshot(t, tree)
	for _, reader := range []string{"node1", "node2"} {
		out := w.path("restored-" + reader)
		w.ok(reader, "get", address, "-o", out)
		compareTrees(t, want, snapshot(t, out))
	}
	// The comparison can fail.
	if changed := snapshot(t, tree); len(want) < 300 || changed["sub/f007"] == changed["sub/f008"] {
		t.Error("the comparison tells no files apart")
	}
	w.denied(2, "node2", address, "--range", "0-1")
	w.refuse(2, "node2", "get", address, "-o", "-")
	w.refuse(1, "node2", "get", address, "-o", w.path("restored-node2")+"/no/such/folder")

	// One grant covers what is inside.
	inside := addressOf(w, "big")
	big, err := os.ReadFile(filepath.Join(tree, "big"))
	if err != nil {
		t.Fatal(err)
	}
	w.reads("node2", inside, big)
	w.reads("node2", inside, big[1_000_000:2_000_001], "--range", "1000000-2000000")
	outside, _ := w.add("node1", "outside", 1000)
	w.denied(3, "node2", outside)

	w.ok("node1", "revoke", grant)
	w.denied(3, "node2", address)
	w.denied(3, "node2", inside)
}

func makeTree(t *testing.T, tree string) {
	t.Helper()
	write := func(name string, content []byte, mode fs.FileMode) {
		t.Helper()
		path := filepath.Join(tree, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_500_000_000+int64(len(content)), 0)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		mode := []fs.FileMode{0o644, 0o600, 0o755, 0o400}[i%4]
		write(fmt.Sprintf("sub/f%03d", i), fmt.Appendf(nil, "%0*d", i*7%5000+1, i), mode)
	}
	big := make([]byte, 3_000_000)
	for i := range big {
		big[i] = byte(i * i >> 7)
	}
	write("big", big, 0o640)
	write("deep/er/and/deeper/Ünïcode name with spaces", []byte("x"), 0o644)
	write("empty-file", nil, 0o644)
	for _, dir := range []string{"empty", "deep/empty"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Unix(1_400_000_000, 0)
	for _, dir := range []string{"empty", "deep/er", "sub"} {
		if err := os.Chtimes(filepath.Join(tree, dir), at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// snapshot describes everything in a tree: mode, time, content.
func snapshot(t *testing.T, tree string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(tree, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(tree, p)
		if rel == "." {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%v %d", info.Mode(), info.ModTime().Unix())
		if info.Mode().IsRegular() {
			raw, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %d %x", len(raw), sha256.Sum256(raw))
		}
		out[filepath.ToSlash(rel)] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compareTrees(t *testing.T, want, got map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if want[name] != got[name] {
			t.Errorf("%s: %q is not %q", name, got[name], want[name])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d entries are not %d", len(got), len(want))
	}
}

// addressOf finds an object of node1 by its name.
func addressOf(w *world, name string) string {
	w.Helper()
	for _, o := range w.ok("node1", "ls").list("objects") {
		if f := facts(o.(map[string]any)); f.str("name") == name {
			return f.str("address")
		}
	}
	w.Fatalf("nothing is called %s", name)
	return ""
}
