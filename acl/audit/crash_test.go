package audit

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var kills = flag.Int("kills", 10, "how often to kill a process under load")

// load is the helper process of the test below: many callers append to a log until
// it is killed. A line of output says how many records are durable.
func load(dir string) {
	c := config(&testing.T{})
	c.Segment, c.Every = 1<<18, 5*time.Millisecond
	l, err := Open(dir, c)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go l.Run(context.Background())
	<-l.Running()
	done := make(chan int64, 64)
	for w := range 64 {
		go func() {
			for i := 0; ; i++ {
				first, err := l.Record(context.Background(), [][]byte{event(w*1000 + i), event(i)}, nil)
				if err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				done <- first + 2
			}
		}()
	}
	out, most := bufio.NewWriterSize(os.Stdout, 32), int64(0)
	for n := range done {
		if n > most {
			most = n
			fmt.Fprintln(out, most)
		}
	}
}

// Rule 6: nor does a second process open a log that another has open; once that has
// ended, it does.
func TestRule6TwoProcessesOnOneLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "AUDIT_TEST_LOAD="+dir)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it writes
		t.Fatal(err)
	}
	if l, err := Open(dir, config(t)); !errors.Is(err, ErrLocked) {
		if err == nil {
			l.Close()
		}
		t.Errorf("beside another process: %v, want ErrLocked", err)
	}
	other.Process.Kill()
	other.Wait()
	openLog(t, dir) // the control
}

// A process that is killed under load loses nothing that it acknowledged, and the
// log opens without help.
func TestKillsLoseNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	var before int64
	for kill := range *kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "AUDIT_TEST_LOAD="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged int64
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // and the last line may be cut
			}
			n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
			if err != nil {
				t.Fatalf("the process says %q", line)
			}
			if acknowledged = n; n > before+int64(500+kill*137%1000) {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if acknowledged <= before {
			t.Fatalf("nothing was written: %d records", acknowledged)
		}
		found, err := Verify(dir, peer(t))
		if err != nil || found.Tree.N < acknowledged {
			t.Fatalf("kill %d: %+v, %v; %d were acknowledged", kill, found, err, acknowledged)
		}
		l := openLog(t, dir)
		if before = l.Size(); before != found.Tree.N {
			t.Fatalf("kill %d: verify counts %d records, open %d", kill, found.Tree.N, before)
		}
		l.Close()
	}
	t.Logf("%d records after %d kills", before, *kills)
}
