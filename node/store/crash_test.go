package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/envelope"
)

// The tests below need another process that can be killed: this test binary,
// started again with a role.
const roleVar, homeVar = "CEREBRUM_STORE_TEST_ROLE", "CEREBRUM_STORE_TEST_HOME"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "":
		os.Exit(m.Run())
	case "writer":
		fmt.Fprintln(os.Stderr, writeForEver(os.Getenv(homeVar)))
	case "bare":
		os.Stderr.Close() // its end is loud, and expected
		bareForEver(os.Getenv(homeVar))
	case "holder":
		fmt.Fprintln(os.Stderr, holdForEver(os.Getenv(homeVar)))
	}
	os.Exit(1)
}

// start runs this binary in a role and returns its lines of output.
func start(t *testing.T, role, home string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"="+role, homeVar+"="+home)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // stays open as long as we live
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

// crashRound is what the writer acknowledges at once: small blocks, large blocks,
// an entry. Parent and child make the same from the number alone.
func crashRound(n int) ([]envelope.Block, error) {
	var out []envelope.Block
	for i := range 6 {
		size := 3_000
		if i >= 4 {
			size = MaxSmall + 1
		}
		data := []byte(strings.Repeat(fmt.Sprintf("%d/%d ", n, i), size/4+1)[:size])
		c, err := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum(data)
		if err != nil {
			return nil, err
		}
		out = append(out, envelope.Block{CID: c, Data: data})
	}
	return out, nil
}

// writeForEver prints the number of each round once the store acknowledged it.
func writeForEver(home string) error {
	if _, err := AcquireLock(home); err != nil {
		return err
	}
	s, err := Open(Config{Dir: filepath.Join(home, "store"), memTable: 256 << 10})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		blocks, err := crashRound(n)
		if err != nil {
			return err
		}
		if err := s.PutMany(context.Background(), blocks); err != nil {
			return err
		}
		if err := s.KV("rounds").Apply([]kv.Op{{Key: fmt.Appendf(nil, "%08d", n)}}); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestKilledInTheMiddle kills a writing process, several times over the same
// home, and expects all that it acknowledged. The parent stops reading at some
// round; the child runs on for an unknown while, so the blow falls anywhere.
func TestKilledInTheMiddle(t *testing.T) {
	home := t.TempDir()
	for _, rounds := range []int{5, 1, 40} {
		cmd, lines := start(t, "writer", home)
		acked := -1
		for acked < rounds && lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
				t.Fatalf("the writer said %q", lines.Text())
			}
		}
		if acked < rounds {
			t.Fatalf("the writer stopped after %d rounds", acked)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // it may have acknowledged more before it died
			if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
				break // half a line
			}
		}
		cmd.Wait()
		checkRounds(t, home, acked)
	}
}

func checkRounds(t *testing.T, home string, acked int) {
	t.Helper()
	lock, err := AcquireLock(home) // the kernel freed it
	if err != nil {
		t.Fatal(err)
	}
	s := openTest(t, Config{Dir: filepath.Join(home, "store")})
	for n := range acked + 1 {
		blocks, err := crashRound(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			wantBlock(t, s, b)
		}
		if _, err := s.KV("rounds").Get(fmt.Appendf(nil, "%08d", n)); err != nil {
			t.Fatalf("round %d of %d: %v", n, acked, err)
		}
	}
	if _, err := s.CheckAll(t.Context(), func(c cid.Cid, err error) { t.Error(c, err) }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), lock.Release()); err != nil {
		t.Fatal(err)
	}
}

func holdForEver(home string) error {
	if _, err := AcquireLock(home); err != nil {
		return err
	}
	fmt.Println("held")
	_, err := io.Copy(io.Discard, os.Stdin) // until the parent kills us, or is gone
	return err
}

func TestASecondProcessIsToldWho(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	cmd, lines := start(t, "holder", home)
	if !lines.Scan() || lines.Text() != "held" {
		t.Fatalf("the holder said %q", lines.Text())
	}
	var who *InUseError
	_, err := AcquireLock(home)
	if !errors.Is(err, ErrInUse) || !errors.As(err, &who) || who.Home != home || who.PID != cmd.Process.Pid {
		t.Fatalf("a second process got %v, want the home and pid %d", err, cmd.Process.Pid)
	}
	if want := fmt.Sprintf("%s is in use by process %d", home, cmd.Process.Pid); err.Error() != want {
		t.Fatalf("said %q, want %q", err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	l, err := AcquireLock(home)
	if err != nil {
		t.Fatalf("the holder is dead: %v", err)
	}
	// In one process the lock is as exclusive.
	if _, err := AcquireLock(home); !errors.As(err, &who) || who.PID != os.Getpid() {
		t.Fatalf("a second lock in one process: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if l, err = AcquireLock(home); err != nil {
		t.Fatal(err)
	}
	// A file that says nothing useful still gives a clear error.
	if err := l.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := AcquireLock(home); err == nil || err.Error() != home+" is in use by another process" {
		t.Fatalf("an empty lock file gave %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
}
