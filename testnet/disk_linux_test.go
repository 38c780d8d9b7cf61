package testnet_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk moves a stopped member's home onto a small file system.
func (w *world) smallDisk(member, options string) (home string) {
	w.Helper()
	home = filepath.Join(w.dir, member)
	aside := filepath.Join(w.tmp, "aside")
	if err := os.Rename(home, aside); err != nil {
		w.Fatal(err)
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		w.Fatal(err)
	}
	if err := unix.Mount("tmpfs", home, "tmpfs", 0, options+",mode=0700"); err != nil {
		w.Skipf("SKIPPED, NOT TESTED: no small disk to fill: mount: %v", err)
	}
	w.Cleanup(func() {
		w.run("", "testnet", "down", "--dir", w.dir, "--keep")
		if err := unix.Unmount(home, unix.MNT_DETACH); err != nil {
			w.Error(err)
		}
	})
	if out, err := exec.Command("cp", "-a", aside+"/.", home).CombinedOutput(); err != nil {
		w.Fatalf("%v: %s", err, out)
	}
	return home
}

// TestFullDisk (RE-04): a home's disk fills up, by what is added and by what others
// write to it, in bytes and in files. The node refuses what does not fit, leaves nothing
// of it behind, loses nothing, and when there is room takes more, without a restart.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, disk := range []struct {
		name, options string
		fill          func(dir string) error
	}{
		{"bytes", "size=96m", func(dir string) error {
			var s unix.Statfs_t
			if err := unix.Statfs(dir, &s); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, int64(s.Bavail)*s.Bsize-(16<<20)), 0o600)
		}},
		{"files", "size=256m,nr_inodes=6000", func(dir string) error {
			var s unix.Statfs_t
			if err := unix.Statfs(dir, &s); err != nil {
				return err
			}
			for i := range int(s.Ffree) - 100 {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(disk.name, func(t *testing.T) {
			t.Parallel()
			w := up(t, "--nodes", "2")
			w.stop("node1")
			home := w.smallDisk("node1", disk.options)
			w.restart("node1")
			address, content := w.add("node1", "fits", 5_000_000)
			w.grant("node1", address, "node2", "read")
			takes := func(name string) {
				t.Helper()
				small, kept := w.add("node1", name, 300_000)
				w.reads("node1", small, kept)
			}
			refused := func(path string) {
				t.Helper()
				if said := w.refuse(1, "node1", "add", path); !strings.Contains(said, "disk") || !strings.Contains(said, "no space left") {
					t.Errorf("it does not say that the disk is full: %s", said)
				}
				w.reads("node1", address, content)
				w.reads("node2", address, content)
			}
			large, _ := w.file("too-large", 300_000_000)
			for range 2 {
				refused(large)
				takes("after what did not fit") // the control: only what is too large is refused
			}

			full := filepath.Join(home, "full")
			if err := os.Mkdir(full, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := disk.fill(full); err != nil {
				t.Fatal(err)
			}
			tiny, _ := w.file("tiny", 300_000)
			refused(tiny)
			if s := w.ok("node1", "status"); s["healthy"] != false || !strings.Contains(fmt.Sprint(s.list("problems")), "no space left") {
				t.Errorf("a node that stores nothing is healthy: %v", s)
			}
			if err := os.RemoveAll(full); err != nil {
				t.Fatal(err)
			}
			takes("when there is room")
			if s := w.ok("node1", "status"); s["healthy"] != true {
				t.Errorf("with room again: %v", s.list("problems"))
			}

			w.stop("node1")
			w.restart("node1")
			w.reads("node1", address, content)
			w.ok("node1", "verify")
		})
	}
}

// TestNoDescriptors (RE-04): a node that may open few files has its port flooded with
// connections. It goes on adding and reading, because what the network may use leaves
// files for the rest, and when the flood is over it has let go of everything.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	w.stop("node1")
	home := filepath.Join(w.dir, "node1")
	c := exec.Command("sh", "-c", `ulimit -n 300; exec "$0" --home "$1" run`, program, home)
	c.Env = environment("")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	})
	healthy := func() bool { return (&lan{world: w}).status("node1")["healthy"] == true }
	w.eventually("node1 is healthy", healthy)
	at := ""
	for _, a := range w.ok("node1", "status").list("addrs") {
		if parts := strings.Split(a.(string), "/"); len(parts) > 4 && parts[3] == "tcp" {
			at = net.JoinHostPort(parts[2], parts[4])
		}
	}
	files := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	quiet := files()
	var flood []net.Conn
	most := quiet
	for range 600 {
		if conn, err := net.DialTimeout("tcp", at, time.Second); err == nil {
			flood = append(flood, conn)
		}
		most = max(most, files())
	}
	if len(flood) < 300 || most <= quiet {
		t.Errorf("%d connections, and from %d files %d: the test sees nothing", len(flood), quiet, most)
	}
	t.Logf("%d files without, %d with %d connections", quiet, most, len(flood))
	address, content := w.add("node1", "in a flood", 3_000_000)
	w.reads("node1", address, content)
	w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)
	for _, conn := range flood {
		conn.Close()
	}
	w.eventually("it lets go", func() bool { return files() < quiet+50 })
	w.eventually("it is healthy", healthy)
	w.reads("node2", address, content)
}
