package testnet_test

import (
	"strings"
	"testing"
)

// update makes a new version of an object on its owner's node.
func (w *world) update(member, address, name string, size int) (newer string, content []byte) {
	w.Helper()
	path, content := w.file(name, size)
	f := w.ok(member, "add", path, "--update", address)
	if f.str("state") != "shared" || f.str("previous") != address {
		w.Fatalf("the new version: %v", f)
	}
	return f.str("address"), content
}

// TestVersions: a grant of an object covers its later versions without a new
// one, a grant of one version does not, and everybody finds the newest.
func TestVersions(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "4")
	first, old := w.add("node1", "report.bin", 300_000)
	w.grant("node1", first, "node2", "read")
	w.ok("node1", "grant", first, "--to", w.contact("node3"), "--for", "1h", "--this-version")
	w.reads("node2", first, old)
	w.reads("node3", first, old)
	if f := w.reads("node3", first, old, "--latest"); f.str("address") != first { // there is no newer one
		t.Errorf("the newest of one version: %v", f)
	}

	second, content := w.update("node1", first, "report2.bin", 2_000_000)
	w.reads("node2", second, content)
	for _, asked := range []string{first, second} {
		if f := w.reads("node2", asked, content, "--latest"); f.str("address") != second {
			t.Errorf("asked for the newest of %s: %v", asked, f)
		}
	}
	w.reads("node2", first, old) // the older one stays what it is
	w.reads("node3", first, old)
	w.denied(3, "node3", second)
	if said := w.denied(3, "node3", first, "--latest"); !strings.Contains(said, "this version alone") {
		t.Errorf("the holder of a grant of one version is told: %s", said)
	}
	w.denied(3, "node4", first, "--latest") // nobody granted it anything
	w.denied(3, "node4", unknown(), "--latest")
	if f := w.reads("node1", first, content, "--latest"); f.str("address") != second { // its owner
		t.Errorf("the owner: %v", f)
	}
	checkVersionIsListed(w, first, second)
	checkUpdatesAreRefused(w, first, second)
}

func checkVersionIsListed(w *world, first, second string) {
	w.Helper()
	info := w.ok("node1", "info", second)
	if info.num("sequence") != 1 || info.str("previous") != first {
		w.Errorf("info: %v", info)
	}
	if o := w.object("node1", first); o.str("superseded_by") != second || o.str("state") != "shared" {
		w.Errorf("ls: %v", o)
	}
	if o := w.object("node1", second); o["superseded_by"] != nil {
		w.Errorf("ls: %v", o)
	}
	if r := w.run("node1", "ls"); strings.Count(r.out, "(superseded)") != 1 {
		w.Errorf("ls: %s", r)
	}
}

func checkUpdatesAreRefused(w *world, first, second string) {
	w.Helper()
	path, _ := w.file("other.bin", 10)
	if said := w.refuse(1, "node1", "add", path, "--update", first); !strings.Contains(said, second) {
		w.Errorf("who updates an older version is told: %s", said)
	}
	w.refuse(4, "node2", "add", path, "--update", second) // a reader holds no version to follow
	w.refuse(2, "node1", "add", path, "--update", "x")
	w.refuse(2, "node1", "add", path, path, "--update", second)
	if said := w.refuse(1, "node1", "rekey", first); !strings.Contains(said, second) {
		w.Errorf("who rekeys an older version is told: %s", said)
	}
}

// TestRekey: a new key behind the same grants, and the old version is retired
// only when enough validators have the new one.
func TestRekey(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	first, content := w.add("node1", "model.bin", 3_000_000)
	w.grant("node1", first, "node2", "read")
	w.ok("node1", "grant", first, "--to", w.contact("node3"), "--for", "1h", "--this-version")
	w.reads("node2", first, content)
	f := w.ok("node1", "rekey", first)
	second := f.str("address")
	if second == first || f.str("old") != first || f["retired"] != true || facts(f["deposits"].(map[string]any)).num("acknowledged") != 4 {
		t.Fatalf("rekey: %v", f)
	}
	if a, b := w.ok("node1", "info", first), w.ok("node1", "info", second); a.str("key_id") == b.str("key_id") || a.str("payload") == b.str("payload") || a.str("lineage") != b.str("lineage") || a.str("state") != "erased" {
		t.Errorf("%v\n%v", a, b)
	}
	w.reads("node2", second, content)
	if f := w.reads("node2", first, content, "--latest"); f.str("address") != second {
		t.Errorf("the newest: %v", f)
	}
	w.denied(3, "node3", second)
	w.reads("node1", second, content)

	w.kill("validator1", "validator2") // too few are left
	f = w.ok("node1", "rekey", second)
	third := f.str("address")
	if f["retired"] != false || f.str("state") != "local" {
		t.Fatalf("rekey with two validators: %v", f)
	}
	if o := w.object("node1", second); o.str("state") != "shared" {
		t.Errorf("the old version, whose successor nobody has: %v", o)
	}
	w.restart("validator1", "validator2")
	w.eventually("the rekey is finished", func() bool {
		r := w.run("node1", "--json", "rekey", second)
		return r.code == 0 && strings.Contains(r.out, third) && strings.Contains(r.out, `"retired":true`)
	})
	w.comesToRead("node2", third, content)
	if o := w.object("node1", second); o.str("state") != "retired" && o.str("state") != "erased" {
		t.Errorf("the old version: %v", o)
	}
	tree := w.path("tree")
	makeTree(t, tree)
	address := w.ok("node1", "add", tree).str("address")
	for _, part := range []string{address, addressOf(w, "big")} { // what to do instead is said
		if said := w.refuse(2, "node1", "rekey", part); !strings.Contains(said, "directory") || !strings.Contains(said, "add the folder again") {
			t.Errorf("a directory: %s", said)
		}
	}
}
