package testnet_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// foreground is `cerebrum run` as a child of the test, which sees its exit code.
type foreground struct {
	*exec.Cmd
	ready facts
	done  chan error
	errs  *bytes.Buffer
}

func (w *world) foreground(member string) *foreground {
	w.Helper()
	f := &foreground{Cmd: w.command(context.Background(), member, "--json", "run"), done: make(chan error, 1), errs: &bytes.Buffer{}}
	out, err := f.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	f.Stderr = f.errs
	if err := f.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { f.Process.Kill() })
	first, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(first, &f.ready)
	}
	if err != nil {
		w.Fatalf("no ready line: %v %q", err, first)
	}
	go func() { io.Copy(io.Discard, out); f.done <- f.Wait() }()
	return f
}

// terminate sends SIGTERM and expects a clean end.
func (f *foreground) terminate(w *world) {
	w.Helper()
	if err := f.Process.Signal(syscall.SIGTERM); err != nil {
		w.Fatal(err)
	}
	var code error
	w.eventually("an end after SIGTERM", func() bool {
		select {
		case code = <-f.done:
			return true
		default:
			return false
		}
	})
	if code != nil {
		w.Errorf("SIGTERM: %v: %s", code, f.errs)
	}
	if _, err := os.Stat(filepath.Join(f.home(), "api.sock")); !os.IsNotExist(err) {
		w.Errorf("the socket is left: %v", err)
	}
}

func (f *foreground) home() string {
	for _, v := range f.Env {
		if h, ok := strings.CutPrefix(v, "CEREBRUM_HOME="); ok {
			return h
		}
	}
	return ""
}

// TestTermination ends a node with SIGTERM, idle and at work.
func TestTermination(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGTERM")
	}
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "kept", 400_000)
	grant := w.grant("node1", address, "node2", "read")
	before := w.ok("node1", "status")
	w.stop("node1")
	if said := w.refuse(5, "node1", "grant", address, "--to", w.contact("node2"), "--can", "read"); !strings.Contains(said, "cerebrum run") {
		t.Errorf("it does not say how to start: %s", said)
	}

	node := w.foreground("node1")
	if node.ready.str("event") != "ready" || node.ready.str("peer_id") != before.str("peer_id") || len(node.ready.list("addrs")) == 0 {
		t.Errorf("ready: %v", node.ready)
	}
	w.reads("node1", address, content)
	if second := w.run("node1", "run"); second.code != 1 {
		t.Errorf("a second node on one home: %s", second)
	}
	node.terminate(w)

	// At work: an upload that its sender never ends does not hold the node up.
	node = w.foreground("node1")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	add := w.command(ctx, "node1", "--json", "add", "-")
	endless, err := add.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	add.Stdout, add.Stderr = &out, &errs
	if err := add.Start(); err != nil {
		t.Fatal(err)
	}
	size := blocksSize(t, filepath.Join(w.dir, "node1"))
	part := make([]byte, 8_000_000)
	if _, err := endless.Write(part); err != nil {
		t.Fatal(err)
	}
	w.eventually("the upload's first blocks", func() bool { return blocksSize(t, filepath.Join(w.dir, "node1")) > size })
	node.terminate(w)
	endless.Close()
	if r := ended(t, add, add.Wait(), &out, &errs); r.code != 1 {
		t.Errorf("an add whose node ended: %s", r)
	} else {
		checkComplaint(t, r)
	}

	w.restart("node1")
	after := w.ok("node1", "status")
	for _, what := range []string{"peer_id", "identity", "network"} {
		if before.str(what) != after.str(what) {
			t.Errorf("%s was %s and is %s", what, before.str(what), after.str(what))
		}
	}
	if before.num("objects") != after.num("objects") {
		t.Errorf("%v objects were %v", after.num("objects"), before.num("objects"))
	}
	w.reads("node2", address, content)
	wantState(w, "node1", "--issued", grant, "valid")
	w.ok("node1", "verify")
}

// blocksSize is how much a home stores.
func blocksSize(t *testing.T, home string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(home, "store", "blocks"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a file that was renamed meanwhile
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// TestCrash kills a node in the middle of an add. What was acknowledged before is
// all there, and nobody has to repair anything.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	t.Parallel()
	w := up(t, "--nodes", "2")
	type kept struct {
		address string
		content []byte
	}
	var all []kept
	for i := range 5 {
		address, content := w.add("node1", "kept", 1+i*700_000)
		w.grant("node1", address, "node2", "read")
		all = append(all, kept{address, content})
	}
	path, _ := w.file("large", 200_000_000)
	home := filepath.Join(w.dir, "node1")
	before := blocksSize(t, home)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	add := w.command(ctx, "node1", "--json", "add", path)
	var out, errs bytes.Buffer
	add.Stdout, add.Stderr = &out, &errs
	if err := add.Start(); err != nil {
		t.Fatal(err)
	}
	for blocksSize(t, home) < before+20_000_000 { // busy: the right moment is short
		if ctx.Err() != nil {
			t.Fatal("the add does not begin")
		}
		runtime.Gosched()
	}
	w.kill("node1")
	r := ended(t, add, add.Wait(), &out, &errs)
	if r.code == 0 {
		t.Fatalf("the add was done before the kill; the test proves nothing: %s", r)
	}
	if r.code != 1 {
		t.Errorf("an add whose node was killed: %s", r)
	}
	checkComplaint(t, r)

	w.restart("node1")
	if s := w.ok("node1", "status"); s["healthy"] != true || s.num("objects") != 5 {
		t.Errorf("after the crash: %v", s)
	}
	if v := w.ok("node1", "verify"); len(v.list("bad")) != 0 {
		t.Errorf("after the crash: %v", v)
	}
	for _, k := range all {
		w.reads("node1", k.address, k.content)
		w.reads("node2", k.address, k.content)
	}
	address, content := w.add("node1", "after", 2_000_000)
	w.reads("node1", address, content)

	// A validator that crashes has forgotten nothing either.
	w.kill("validator1", "validator2")
	w.restart("validator1", "validator2")
	w.kill("validator3")
	for _, k := range all {
		w.comesToRead("node2", k.address, k.content)
	}
}
