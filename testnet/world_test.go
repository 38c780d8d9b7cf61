package testnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/testnet/localnet"
)

// These tests run the built program: real processes, real sockets, real disks.
// They know of it what a person knows: commands, exit codes, files.

var program string // the built binary

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cb-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "cerebrum")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	build := exec.Command("go", "build", "-o", program, "cerebrum.dev/cerebrum")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "it does not build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience bounds what is waited for; no test asserts how long something takes.
const patience = 60 * time.Second

// world is a network of real processes, with a scratch folder beside it.
type world struct {
	*testing.T
	dir string // the network's folder
	tmp string // for inputs and outputs
}

// scratch is a folder with a short path: a home's socket must fit into one.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// up starts a network that ends with the test, with a check that nothing of it
// is left.
func up(t *testing.T, flags ...string) *world {
	t.Helper()
	tmp := scratch(t)
	w := &world{t, filepath.Join(tmp, "net"), tmp}
	t.Cleanup(func() {
		if t.Failed() {
			w.showLogs()
		}
		if _, err := os.Stat(filepath.Join(w.dir, localnet.StateFile)); err == nil {
			if r := w.run("", "testnet", "down", "--dir", w.dir); r.code != 0 {
				t.Errorf("down: %s", r)
			}
		}
		noneLeft(t, w.dir)
	})
	if r := w.run("", append([]string{"testnet", "up", "--detach", "--dir", w.dir}, flags...)...); r.code != 0 {
		t.Fatalf("up: %s", r)
	}
	return w
}

func (w *world) showLogs() {
	logs, _ := filepath.Glob(filepath.Join(w.dir, "*.log"))
	for _, l := range logs {
		raw, _ := os.ReadFile(l)
		var said []string
		for line := range strings.Lines(string(raw)) {
			if !strings.Contains(line, "level=DEBUG") && !strings.Contains(line, "bootstrap") && len(said) < 40 {
				said = append(said, line)
			}
		}
		w.Logf("%s:\n%s", filepath.Base(l), strings.Join(said, ""))
	}
}

// noneLeft fails where a process still names the folder in its command line.
func noneLeft(t *testing.T, dir string) {
	t.Helper()
	if left := processesOf(dir); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// processesOf finds processes by their command lines; where the system does not
// show them it finds none.
func processesOf(dir string) (found []string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range lines {
		raw, err := os.ReadFile(f)
		if err == nil && bytes.Contains(raw, []byte(dir)) {
			found = append(found, f+": "+string(bytes.ReplaceAll(raw, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// result is how a command ended.
type result struct {
	args     []string
	code     int
	out, err string
}

func (r result) String() string {
	return fmt.Sprintf("%s: exit %d\nstdout: %.500s\nstderr: %.1000s", strings.Join(r.args, " "), r.code, r.out, r.err)
}

// environment is the test's own, with one home or none.
func environment(home string, more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CEREBRUM_") {
			env = append(env, v)
		}
	}
	if home != "" {
		env = append(env, "CEREBRUM_HOME="+home)
	}
	return append(env, more...)
}

// command prepares the program on a member's home.
func (w *world) command(ctx context.Context, member string, args ...string) *exec.Cmd {
	home := ""
	if member != "" {
		home = filepath.Join(w.dir, member)
	}
	c := exec.CommandContext(ctx, program, args...)
	c.Env, c.Dir = environment(home), w.tmp
	return c
}

func (w *world) run(member string, args ...string) result {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	return finish(w.T, w.command(ctx, member, args...))
}

func finish(t *testing.T, c *exec.Cmd) result {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	return ended(t, c, c.Run(), &out, &errs)
}

func ended(t *testing.T, c *exec.Cmd, err error, out, errs *bytes.Buffer) result {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", c.Args, err)
	}
	return result{c.Args[1:], c.ProcessState.ExitCode(), out.String(), errs.String()}
}

// facts is a JSON result.
type facts map[string]any

func (f facts) str(key string) string  { s, _ := f[key].(string); return s }
func (f facts) num(key string) float64 { n, _ := f[key].(float64); return n }
func (f facts) list(key string) []any  { l, _ := f[key].([]any); return l }

// ok runs a command that must succeed, with --json, and returns its result.
func (w *world) ok(member string, args ...string) facts {
	w.Helper()
	r := w.run(member, append([]string{"--json"}, args...)...)
	if r.code != 0 {
		w.Fatalf("%s: %s", member, r)
	}
	var f facts
	if err := json.Unmarshal([]byte(r.out), &f); err != nil {
		w.Fatalf("%s: %v: %s", member, err, r)
	}
	return f
}

// refuse runs a command that must end with an exit code, and checks that the
// error is what the contract promises: a sentence, no trace, nothing on stdout.
func (w *world) refuse(code int, member string, args ...string) string {
	w.Helper()
	r := w.run(member, args...)
	if r.code != code {
		w.Fatalf("%s: exit %d is not %d: %s", member, r.code, code, r)
	}
	checkComplaint(w.T, r)
	if r.out != "" {
		w.Errorf("%s: an error with something on standard output: %s", member, r)
	}
	return r.err
}

func checkComplaint(t *testing.T, r result) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	if !strings.HasPrefix(lines[0], "cerebrum: ") || len(lines) > 2 || strings.Contains(r.err, "goroutine ") {
		t.Errorf("that is no sentence and a next step: %s", r)
	}
}

// file makes a file of random bytes.
func (w *world) file(name string, size int) (path string, content []byte) {
	w.Helper()
	content = make([]byte, size)
	rand.Read(content)
	path = filepath.Join(w.tmp, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.Fatal(err)
	}
	return path, content
}

// add adds a random file on a member and returns its address and content.
func (w *world) add(member, name string, size int) (address string, content []byte) {
	w.Helper()
	path, content := w.file(name, size)
	return w.ok(member, "add", path).str("address"), content
}

func (w *world) contact(member string) string { return w.ok(member, "id", "show").str("contact") }

// grant lets a member read, and returns the grant's id.
func (w *world) grant(from, address, to, can string) string {
	w.Helper()
	return w.ok(from, "grant", address, "--to", w.contact(to), "--can", can, "--for", "1h").str("grant")
}

// path names an output that does not exist yet.
func (w *world) path(name string) string {
	w.Helper()
	p := filepath.Join(w.tmp, name)
	if err := os.RemoveAll(p); err != nil {
		w.Fatal(err)
	}
	return p
}

// reads expects a member to get exactly these bytes.
func (w *world) reads(member, address string, want []byte, flags ...string) facts {
	w.Helper()
	out := w.path("out-" + member)
	f := w.ok(member, append([]string{"get", address, "-o", out}, flags...)...)
	got, err := os.ReadFile(out)
	if err != nil {
		w.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		w.Fatalf("%s read %d bytes that are not the %d that were added", member, len(got), len(want))
	}
	return f
}

// comesToRead is reads for members that have to notice first that a validator is
// back: a connection over QUIC to a process that was killed dies by timeout.
func (w *world) comesToRead(member, address string, want []byte) facts {
	w.Helper()
	w.eventually(member+" reads again", func() bool {
		return w.run(member, "get", address, "-o", w.path("again-"+member)).code == 0
	})
	return w.reads(member, address, want)
}

// denied expects a get to end with an exit code and to leave no file, whole or
// partial.
func (w *world) denied(code int, member, address string, flags ...string) string {
	w.Helper()
	folder := filepath.Join(w.tmp, "denied-"+member)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		w.Fatal(err)
	}
	said := w.refuse(code, member, append([]string{"get", address, "-o", filepath.Join(folder, "out")}, flags...)...)
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		w.Fatalf("a failed get left %v (%v)", left, err)
	}
	return said
}

// network is the network's state as it is on disk now.
func (w *world) network() *localnet.Network {
	w.Helper()
	n, err := localnet.Load(w.dir)
	if err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) process(name string) *localnet.Process {
	w.Helper()
	p, err := w.network().Find(name)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// kill ends members as a crash would.
func (w *world) kill(names ...string) {
	w.Helper()
	for _, name := range names {
		if err := w.network().Kill(context.Background(), w.process(name)); err != nil {
			w.Fatal(err)
		}
	}
}

// stop ends a member as SIGTERM does.
func (w *world) stop(name string) {
	w.Helper()
	if err := w.network().StopOne(context.Background(), w.process(name)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) restart(names ...string) {
	w.Helper()
	for _, name := range names {
		if r := w.run("", "testnet", "restart", name, "--dir", w.dir); r.code != 0 {
			w.Fatalf("restart: %s", r)
		}
	}
}

// eventually waits for something that the network does by itself.
func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	eventually(w.T, what, is)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// object finds an object in a member's list.
func (w *world) object(member, address string) facts {
	w.Helper()
	for _, o := range w.ok(member, "ls").list("objects") {
		if f := facts(o.(map[string]any)); f.str("address") == address {
			return f
		}
	}
	return nil
}
