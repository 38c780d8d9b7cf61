package testnet_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRottenDisk flips one bit of the owner's copy. Nobody may take the result
// for the object.
func TestRottenDisk(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "rots", 3_000_000)
	sound, healthy := w.add("node1", "keeps", 100_000)
	w.grant("node1", address, "node2", "read")
	w.grant("node1", sound, "node2", "read")
	w.reads("node2", address, content)
	w.ok("node1", "verify")

	block := rot(t, filepath.Join(w.dir, "node1", "store", "blocks"))
	check := func() {
		t.Helper()
		w.denied(6, "node2", address)
		w.denied(6, "node1", address)
		w.reads("node2", sound, healthy)
		for _, args := range [][]string{{"verify"}, {"verify", address}} {
			r := w.run("node1", args...)
			if r.code != 6 || !strings.Contains(strings.ToUpper(r.out), block) {
				t.Errorf("the rotten block %s is not named: %s", block, r)
			}
			checkComplaint(t, r)
		}
		w.ok("node1", "verify", sound)
	}
	check()
	w.stop("node1")
	w.restart("node1") // what was checked before is not remembered now
	check()
}

// rot flips a bit in the largest block of a store and returns the block's name.
func rot(t *testing.T, blocks string) string {
	t.Helper()
	var name string
	var size int64
	err := filepath.WalkDir(blocks, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(p, ".data") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			name, size = p, info.Size()
		}
		return err
	})
	if err != nil || name == "" {
		t.Fatalf("no blocks: %v", err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(filepath.Base(name), ".data")
}

// TestOwnerGone reads from somebody else who holds the ciphertext, found
// through the members' DHT.
func TestOwnerGone(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	address, content := w.add("node1", "moves", 3_000_000)
	w.grant("node1", address, "node2", "read")
	car := filepath.Join(w.tmp, "moves.car")
	w.ok("node1", "export", address, "--car", car)
	w.refuse(1, "node1", "export", address, "--car", car)
	w.kill("node1")
	if said := w.denied(5, "node2", address); !strings.Contains(said, "no holder") {
		t.Errorf("it does not say that there is no holder: %s", said)
	}
	raw, err := os.ReadFile(car)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"short.car": raw[:len(raw)-1000], "flipped.car": flip(raw, len(raw)/2), "empty.car": nil} {
		path := filepath.Join(w.tmp, name)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		w.refuse(6, "node3", "import", path)
	}
	w.refuse(1, "node3", "import", filepath.Join(w.tmp, "missing.car"))
	if got := w.ok("node3", "import", car).str("address"); got != address {
		t.Fatalf("imported as %s", got)
	}
	w.denied(3, "node3", address) // holding is not reading
	holder := w.ok("node3", "status").str("peer_id")
	// The record takes a moment to reach the DHT.
	w.eventually("node2 reads from node3", func() bool {
		return w.run("node2", "get", address, "-o", w.path("moved")).code == 0
	})
	got := w.reads("node2", address, content)
	if fmt.Sprint(got.list("from")) != fmt.Sprint([]any{holder}) {
		t.Errorf("from %v, not %s", got.list("from"), holder)
	}
	w.reads("node2", address, content[5:1_500_000], "--range", "5-1499999")

	w.restart("node1")
	w.reads("node1", address, content)
	w.reads("node2", address, content)
}

func flip(raw []byte, at int) []byte {
	out := append([]byte(nil), raw...)
	out[at] ^= 1
	return out
}
