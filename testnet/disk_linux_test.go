package testnet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk moves a home onto a small file system and fills it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	home := filepath.Join(w.dir, "node1")
	w.stop("node1")
	aside := filepath.Join(w.tmp, "aside")
	if err := os.Rename(home, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", home, "tmpfs", 0, "size=96m,mode=0700"); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: no small disk to fill: mount: %v", err)
	}
	t.Cleanup(func() {
		w.run("", "testnet", "down", "--dir", w.dir, "--keep")
		if err := unix.Unmount(home, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.Command("cp", "-a", aside+"/.", home).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ballast := filepath.Join(home, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart("node1")
	address, content := w.add("node1", "fits", 5_000_000)
	w.grant("node1", address, "node2", "read")
	path, _ := w.file("too-large", 100_000_000)
	for range 2 {
		if said := w.refuse(1, "node1", "add", path); !strings.Contains(said, "disk") || !strings.Contains(said, "no space left") {
			t.Errorf("it does not say that the disk is full: %s", said)
		}
	}
	if s := w.ok("node1", "status"); s["healthy"] != false || len(s.list("problems")) == 0 {
		t.Errorf("a store that takes no writes is healthy: %v", s)
	}
	w.reads("node1", address, content)
	w.reads("node2", address, content)

	// As full as it is, what it holds can be had, also by the next process.
	w.stop("node1")
	w.restart("node1")
	w.reads("node1", address, content)
	w.reads("node2", address, content)

	w.stop("node1")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.restart("node1")
	w.reads("node1", address, content)
	w.reads("node2", address, content)
	w.ok("node1", "verify")
	small, kept := w.add("node1", "small", 100_000)
	w.reads("node1", small, kept)
}
