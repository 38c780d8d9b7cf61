package testnet_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/testnet/localnet"
)

// demoIn prepares the demo with a folder of its own for what it makes.
func demoIn(t *testing.T, args ...string) (c *exec.Cmd, tmp string) {
	t.Helper()
	tmp = filepath.Join(scratch(t), "t")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { noneLeft(t, tmp) })
	c = exec.Command(program, append(args, "testnet", "demo")...)
	c.Env = environment("", "TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp)
	return c, tmp
}

func nothingIn(t *testing.T, tmp string) {
	t.Helper()
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	noneLeft(t, tmp)
}

// TestDemo tells the whole story, and every step says that it held.
func TestDemo(t *testing.T) {
	t.Parallel()
	c, tmp := demoIn(t, "--json")
	r := finish(t, c)
	if r.code != 0 {
		t.Fatal(r)
	}
	steps := map[string]bool{}
	for line := range strings.Lines(r.out) {
		var f facts
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if f["ok"] != true {
			t.Errorf("not ok: %s", line)
		}
		steps[f.str("step")] = true
	}
	for _, s := range []string{"add", "refused", "grant", "read", "delegate", "narrow", "delegated-read", "delegated-twice-read", "rotate", "rotated-read", "rotated",
		"policy", "policy-refused", "role", "role-read", "revoke", "revoked", "revoked-below", "revoked-not-above", "rekey", "rekeyed-read", "rekeyed-old",
		"erase", "erased", "erased-owner", "audit-export", "audit", "audit-verify", "audit-tampered"} {
		if !steps[s] {
			t.Errorf("the step %s is missing in %v", s, steps)
		}
	}
	nothingIn(t, tmp)
}

// TestDemoOnMissingFile fails at once, and cleans up all the same.
func TestDemoOnMissingFile(t *testing.T) {
	t.Parallel()
	c, tmp := demoIn(t)
	c.Args = append(c.Args, filepath.Join(tmp, "missing"))
	if r := finish(t, c); r.code != 1 {
		t.Errorf("no file: %s", r)
	} else if !strings.Contains(r.err, "missing") {
		t.Errorf("it does not name the file: %s", r)
	}
	nothingIn(t, tmp)
}

// TestDemoInterrupted presses Ctrl-C while processes start and while they work.
func TestDemoInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGINT")
	}
	for _, after := range []string{"file", "committee", "start", "grant"} {
		t.Run("after "+after, func(t *testing.T) {
			if after == "grant" && testing.Short() {
				t.Skip("long")
			}
			t.Parallel()
			c, tmp := demoIn(t, "--json")
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var errs bytes.Buffer
			c.Stderr = &errs
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			found := false
			for lines.Scan() {
				if strings.Contains(lines.Text(), `"step":"`+after+`"`) {
					found = true
					if err := c.Process.Signal(os.Interrupt); err != nil {
						t.Fatal(err)
					}
				}
			}
			r := ended(t, c, c.Wait(), &bytes.Buffer{}, &errs)
			if !found || r.code != 1 || !strings.Contains(r.err, "interrupted") {
				t.Errorf("interrupted after %s (%v): %s", after, found, r)
			}
			nothingIn(t, tmp)
		})
	}
}

// TestFailedUp leaves nothing, whatever the reason.
func TestFailedUp(t *testing.T) {
	t.Parallel()
	tmp := scratch(t)
	dir := filepath.Join(tmp, "net")
	for _, c := range []struct {
		flags []string
		says  string
	}{
		{[]string{"--validators", "4", "--threshold", "2"}, "2k >= n+f+1"},
		{[]string{"--validators", "4", "--threshold", "4"}, "k <= n-f"},
		{[]string{"--validators", "3", "--faults", "1"}, "n >= 3f+1"},
		{[]string{"--shares", "4"}, "t <="},
		{[]string{"--validators", "0"}, "1 <= n"},
		{[]string{"--nodes", "-1"}, "nodes"},
		{[]string{"--nodes", "1000"}, "nodes"},
	} {
		for _, where := range [][]string{{"--dir", dir}, nil} {
			cmd := exec.Command(program, append(append([]string{"testnet", "up", "--detach"}, where...), c.flags...)...)
			cmd.Env = environment("", "TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp)
			r := finish(t, cmd)
			if r.code != 2 || !strings.Contains(r.err, c.says) {
				t.Errorf("%v: %s", c.flags, r)
			}
			checkComplaint(t, r)
			nothingIn(t, tmp)
		}
	}

	// A folder that is somebody else's stays as it is.
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{t, dir, tmp}
	w.refuse(1, "", "testnet", "up", "--detach", "--dir", dir)
	w.refuse(1, "", "testnet", "down", "--dir", dir)
	w.refuse(1, "", "testnet", "status", "--dir", dir)
	w.refuse(2, "", "testnet", "status")
	if raw, err := os.ReadFile(precious); err != nil || string(raw) != "mine" {
		t.Errorf("it was touched: %v", err)
	}
	noneLeft(t, dir)
}

// TestSmallestNetwork runs one validator and one node in the foreground, and ends
// them with Ctrl-C.
func TestSmallestNetwork(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGINT")
	}
	t.Parallel()
	tmp := scratch(t)
	w := &world{t, filepath.Join(tmp, "net"), tmp}
	c := exec.Command(program, "--json", "testnet", "up", "--validators", "1", "--threshold", "1", "--nodes", "2", "--dir", w.dir)
	c.Env = environment("")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	first, _ := bufio.NewReader(out).ReadBytes('\n')
	var state struct{ Processes []localnet.Process }
	if err := json.Unmarshal(first, &state); err != nil || len(state.Processes) != 3 {
		t.Fatalf("%q: %v", first, err)
	}
	address, content := w.add("node1", "alone", 10_000)
	w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)
	for _, p := range w.ok("", "testnet", "status", "--dir", w.dir).list("processes") {
		f := facts(p.(map[string]any))
		if f["healthy"] != true || f.num("pid") == 0 || len(f.list("addrs")) == 0 || (f.str("role") == "validator") != strings.HasPrefix(f.str("name"), "validator") {
			t.Errorf("status: %v", f)
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := ended(t, c, c.Wait(), &bytes.Buffer{}, &errs); r.code != 0 {
		t.Errorf("Ctrl-C: %s", r)
	}
	noneLeft(t, w.dir)
	w.ok("", "testnet", "down", "--dir", w.dir)
	nothingBut(t, tmp, "alone", "out-node2")
}

func nothingBut(t *testing.T, dir string, names ...string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if !strings.Contains(strings.Join(names, " "), e.Name()) {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}
