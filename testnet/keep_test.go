package testnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// blockFiles are the large blocks on a member's disk.
func (w *world) blockFiles(member string) int {
	w.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, member, "store", "blocks", "*", "*.data"))
	if err != nil {
		w.Fatal(err)
	}
	return len(files)
}

// TestKeeping: a pin fetches what it may and keeps it through collections, and without
// it the next one frees it; so it frees what a killed add has left, beside a running
// node, and nothing else.
func TestKeeping(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	address, content := w.add("node1", "kept.bin", 5_000_000)
	w.refuse(3, "node2", "pin", address)
	w.refuse(2, "node2", "pin", "bafynonsense")
	w.refuse(4, "node2", "unpin", address)
	w.grant("node1", address, "node2", "read")
	if w.blockFiles("node2") != 0 {
		t.Fatal("it is there before it is pinned")
	}
	o := w.ok("node2", "pin", address).list("objects")
	if len(o) != 1 || facts(o[0].(map[string]any))["pinned"] != true {
		t.Fatalf("pinned: %v", o)
	}
	if o := w.object("node2", address); o["pinned"] != true || o.str("state") != "carried" {
		t.Errorf("listed: %v", o)
	}
	w.refuse(1, "node2", "unmirror", address)

	w.stop("node1")
	if got := w.ok("node2", "gc"); got.num("freed") != 0 || got.list("objects") == nil {
		t.Errorf("what is pinned goes: %v", got)
	}
	if got := w.reads("node2", address, content); len(got.list("from")) != 1 || got.list("from")[0] != "local" {
		t.Errorf("read from %v", got.list("from"))
	}
	w.ok("node2", "unpin", address)
	w.refuse(4, "node2", "unpin", address)
	if got := w.ok("node2", "gc", "--dry-run"); got.num("freed") < 5_000_000 || w.object("node2", address) == nil {
		t.Errorf("a dry run: %v", got)
	}
	if got := w.ok("node2", "gc"); got.num("freed") < 5_000_000 || len(got.list("objects")) != 1 {
		t.Errorf("freed: %v", got)
	}
	if w.object("node2", address) != nil || w.blockFiles("node2") != 0 {
		t.Error("it is still there")
	}
	if r := w.run("node2", "get", address, "-o", w.path("gone")); r.code != 4 && r.code != 5 {
		t.Errorf("control: %s", r)
	}

	w.restart("node1")
	w.killAdding("node1")
	left := w.blockFiles("node1")
	if got := w.ok("node1", "gc"); got.num("freed") < 5_000_000 || w.blockFiles("node1") >= left {
		t.Errorf("of a killed add: %v, %d files before and %d after", got, left, w.blockFiles("node1"))
	}
	w.reads("node1", address, content)
	w.stop("node1") // and without a node
	if got := w.ok("node1", "gc"); got.num("blocks") != 0 {
		t.Errorf("there is more: %v", got)
	}
	w.reads("node1", address, content)
}

// TestPinningADirectory: the pin of a directory brings what is in it, and a pin of one
// file in it keeps all of what came with it.
func TestPinningADirectory(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	folder := filepath.Join(w.tmp, "data")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(folder, name), bytes.Repeat([]byte(name), 100_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := w.ok("node1", "add", folder).str("address")
	w.grant("node1", address, "node2", "read")
	w.ok("node2", "pin", address)
	objects := w.ok("node2", "ls").list("objects")
	if len(objects) != 3 {
		t.Fatalf("listed: %v", objects)
	}
	file := ""
	for _, o := range objects {
		f := facts(o.(map[string]any))
		if f["pinned"] != true {
			t.Errorf("not pinned: %v", f)
		}
		if f.str("address") != address {
			file = f.str("address")
		}
	}
	w.refuse(4, "node2", "unpin", file)
	w.ok("node2", "pin", file)
	w.ok("node2", "unpin", address)
	w.refuse(1, "node2", "unmirror", address)
	if got := w.ok("node2", "gc"); got.num("blocks") != 0 {
		t.Errorf("from under a pin: %v", got)
	}
	w.ok("node2", "unpin", file)
	if got := w.ok("node2", "gc"); got.num("freed") < 200_000 || len(got.list("objects")) != 3 {
		t.Errorf("freed: %v", got)
	}
	if left := w.ok("node2", "ls").list("objects"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// killAdding kills a member in the middle of an add, and starts it again.
func (w *world) killAdding(member string) {
	w.Helper()
	before := w.blockFiles(member)
	in, out := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := w.command(ctx, member, "add", "-")
	c.Stdin = in
	if err := c.Start(); err != nil {
		w.Fatal(err)
	}
	go func() { io.CopyN(out, rand.Reader, 40_000_000) }() // and never an end; ends with in.Close
	w.eventually("a part of it is stored", func() bool { return w.blockFiles(member) > before+8 })
	w.kill(member)
	in.Close()
	if err := c.Wait(); err == nil {
		w.Error("the add has succeeded")
	}
	w.restart(member)
}
