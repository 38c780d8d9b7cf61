package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/cli"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cerebrum": func() {
		e := &cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Now: time.Now}
		os.Exit(cli.Main(context.Background(), e, cli.Root(e), os.Args[1:]))
	}})
}

// TestScripts runs testdata/*.txtar. Besides testscript's own commands they have
//
//	exits CODE cerebrum ARG...   the exit code, and an error of one sentence and a hint
//	json FILE KEY...             every line is a JSON object with these keys
//	field VAR FILE KEY           sets VAR to a string of the first line of FILE
//	hold HOME                    holds the home's lock until the script ends
//	random FILE BYTES            makes a file
//	damage HOME                  flips a bit in the largest block of a home
//	nowhere HOME TEXT            TEXT is in no file of the home
//	network                      three of four homes' work: v1 to v4 and n1, in lab.network
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "json": jsonKeys, "field": field, "hold": hold, "random": random, "damage": damage, "nowhere": nowhere,
			"network": network,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each command ends a second later under the race detector
			return nil
		},
	})
}

// exits is `! exec` that also holds every error to what the command line promises.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want || neg {
		ts.Fatalf("%q exits %d, want %d", args[1:], code, want)
	}
	text := ts.ReadFile("stderr")
	last := text[max(0, strings.LastIndex(text, "cerebrum: ")):]
	if lines := strings.Count(last, "\n"); !strings.HasPrefix(last, "cerebrum: ") || lines < 1 || lines > 2 {
		ts.Fatalf("not one sentence and a hint: %q", text)
	}
	for _, never := range []string{"goroutine ", "panic", ".go:", "AGE-SECRET-KEY", "correct horse", "wrong pony"} {
		if strings.Contains(text, never) {
			ts.Fatalf("the error has %q in it: %q", never, text)
		}
	}
}

func jsonKeys(ts *testscript.TestScript, neg bool, args []string) {
	lines := strings.Split(strings.TrimRight(ts.ReadFile(args[0]), "\n"), "\n")
	for _, line := range lines {
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			ts.Fatalf("%v: %q", err, line)
		}
		for _, key := range args[1:] {
			v, ok := got[key]
			if !ok || string(v) == "null" {
				ts.Fatalf("no %s in %s", key, line)
			}
		}
	}
}

func field(ts *testscript.TestScript, neg bool, args []string) {
	var got map[string]any
	line, _, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
	ts.Check(json.Unmarshal([]byte(line), &got))
	value, ok := got[args[2]].(string)
	if !ok || value == "" {
		ts.Fatalf("no %s in %s", args[2], line)
	}
	ts.Setenv(args[0], value)
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	lock, err := store.AcquireLock(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { lock.Release() })
}

func random(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	out := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(out)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out, 0o644))
}

func damage(ts *testscript.TestScript, neg bool, args []string) {
	var largest string
	var size int64
	ts.Check(filepath.WalkDir(filepath.Join(ts.MkAbs(args[0]), "store"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".data") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	}))
	if largest == "" {
		ts.Fatalf("there is no block with a file of its own")
	}
	raw, err := os.ReadFile(largest)
	ts.Check(err)
	raw[len(raw)/2] ^= 1
	ts.Check(os.Chmod(largest, 0o600))
	ts.Check(os.WriteFile(largest, raw, 0o600))
}

func nowhere(ts *testscript.TestScript, neg bool, args []string) {
	found := ""
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(args[1])) {
			found = path
		}
		return err
	}))
	if (found == "") == neg {
		ts.Fatalf("%q: found in %q", args[1], found)
	}
}

// network founds a network of four validators and one node, as network.txtar
// does step by step.
func network(ts *testscript.TestScript, neg bool, args []string) {
	run := func(args ...string) string {
		ts.Check(ts.Exec("cerebrum", args...))
		return strings.TrimSpace(ts.ReadFile("stdout"))
	}
	create := []string{"network", "create", "--name", "lab"}
	for i, name := range []string{"v1", "v2", "v3", "v4"} {
		run("--home", name, "init", "--plain-keys", "--recovery-file", name+".recovery")
		create = append(create, "--validators", run("--home", name, "validator", "card", "--address", "/ip4/127.0.0.1/tcp/"+strconv.Itoa(4801+i)))
	}
	run("--home", "n1", "init", "--plain-keys", "--recovery-file", "n1.recovery")
	create = append(create, "--nodes", run("--home", "n1", "network", "card"), "--root", run("--home", "v1", "id", "export"))
	run(create...)
	for _, name := range []string{"v1", "v2", "v3", "v4"} {
		run("--home", name, "network", "sign", "lab.network")
	}
	run("--home", "n1", "network", "use", "lab.network")
	run("--home", "v1", "network", "use", "lab.network")
}
