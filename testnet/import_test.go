package testnet_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A reader that has imported the ciphertext of somebody else's object reads it from
// its own store: the grant and the keys are the committee's as ever, and no holder is
// needed.
func TestAnImportedCopyIsReadHere(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	imported, content := w.add("node1", "imported", 3_000_000)
	fetched, other := w.add("node1", "fetched", 300_000)
	ungranted, _ := w.add("node1", "ungranted", 100_000)
	grant := w.grant("node1", imported, "node2", "read")
	w.grant("node1", fetched, "node2", "read")
	owner := w.ok("node1", "status").str("peer_id")
	w.from(w.reads("node2", imported, content), owner) // the control: from the holder before
	w.carry(imported, "node1", "node2")
	w.carry(ungranted, "node1", "node2")
	got := w.reads("node2", imported, content)
	w.from(got, "local")
	if len(got.list("releases")) < 3 {
		t.Errorf("its key came from %v and not from the validators", got.list("releases"))
	}
	w.from(w.reads("node2", imported, content[2_000_000:2_500_001], "--range", "2000000-2500000"), "local")
	w.from(w.reads("node2", fetched, other), owner)
	w.denied(3, "node2", ungranted) // to hold it is not to read it

	w.kill("node1")
	w.from(w.reads("node2", imported, content), "local")
	w.denied(5, "node2", fetched)
	w.restart("node1")
	w.comesToRead("node2", fetched, other)

	// What is damaged here is made good by a holder, and nothing else is.
	rot(t, filepath.Join(w.dir, "node2", "store", "blocks"))
	w.from(w.reads("node2", imported, content), "local", owner)
	w.kill("node1")
	if said := w.denied(6, "node2", imported); !strings.Contains(said, "intact") {
		t.Errorf("it does not say that the copy is damaged: %s", said)
	}
	w.restart("node1")
	w.comesToRead("node2", imported, content)
	w.ok("node1", "revoke", grant)
	w.denied(3, "node2", imported)
}

// The parts of a directory that were imported come from here, the others from their
// holder, and the tree is the same.
func TestAnImportedPartOfADirectory(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	tree := filepath.Join(w.tmp, "tree")
	makeTree(t, tree)
	address := w.ok("node1", "add", tree).str("address")
	w.grant("node1", address, "node2", "read")
	owner := w.ok("node1", "status").str("peer_id")
	restore := func(from ...string) {
		t.Helper()
		out := w.path("restored")
		w.from(w.ok("node2", "get", address, "-o", out), from...)
		compareTrees(t, snapshot(t, tree), snapshot(t, out))
	}
	restore(owner)
	w.carry(address, "node1", "node2")
	w.carry(addressOf(w, "big"), "node1", "node2")
	restore("local", owner)
}

// carry takes an object's ciphertext from one member to another by hand.
func (w *world) carry(address, from, to string) {
	w.Helper()
	car := w.path("carried.car")
	w.ok(from, "export", address, "--car", car)
	w.ok(to, "import", car)
	if err := os.Remove(car); err != nil {
		w.Error(err)
	}
}

// from checks where a get's ciphertext came from.
func (w *world) from(got facts, want ...string) {
	w.Helper()
	if from := fmt.Sprint(got.list("from")); from != fmt.Sprint(want) {
		w.Errorf("it came from %s, not %s", from, want)
	}
}
