package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// event is a leaf of the tests.
func event(i int) []byte {
	who := statement.Hash("actor", fmt.Append(nil, i))
	return fmt.Appendf(who[:], " released object %d by rule %d, which was in force when this was decided", i, i)
}

func events(from, to int) (out [][]byte) {
	for i := from; i < to; i++ {
		out = append(out, event(i))
	}
	return out
}

// run runs a log and gives the function that ends Run and tells its answer.
func run(t testing.TB, l *Log) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	for { // until the writer accepts events
		l.mu.Lock()
		up := l.state != opened
		l.mu.Unlock()
		if up {
			break
		}
	}
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	return stop
}

func openLog(t testing.TB, dir string) *Log {
	t.Helper()
	l, err := Open(dir, config(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// key is the same for the same name.
func key(t testing.TB, name string) statement.PrivateKey {
	t.Helper()
	seed := statement.Hash(name)
	k, err := statement.KeyFromSeed(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// config is that of the log of the tests, whose checkpoints no clock writes.
func config(t testing.TB) Config {
	t.Helper()
	b, err := Bind(key(t, "peer"), key(t, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return Config{Binding: b, Key: key(t, "log"), Every: time.Hour}
}

func peer(t testing.TB) statement.PublicKey { return key(t, "peer").Public() }

// killed is a disk that no checkpoint reaches any more.
type killed struct{ folder }

func (killed) replace(string, []byte) error { return errors.New("killed") }

func add(t testing.TB, l *Log, from, to int) {
	t.Helper()
	if err := l.Append(t.Context(), events(from, to)...); err != nil {
		t.Fatal(err)
	}
}

// crash ends a log as a kill would: no checkpoint, no flush.
func crash(t testing.TB, l *Log, stop func() error) {
	t.Helper()
	l.folder = killed{l.folder}
	stop()
	l.Close()
}

// mustHold checks that the log in dir holds exactly the first n events.
func mustHold(t testing.TB, dir string, n int) {
	t.Helper()
	found, err := Verify(dir, peer(t))
	if err != nil || found.Tree.N != int64(n) {
		t.Fatalf("verify: %+v, %v; want %d", found, err, n)
	}
	l, err := Open(dir, config(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Head() != found.Tree || l.Size() != int64(n) || l.Published().Tree != found.Tree {
		t.Fatalf("head is %v, published %v, verify said %v", l.Head(), l.Published().Tree, found.Tree)
	}
	next := 0
	if err := l.Scan(func(i int64, leaf []byte) error {
		if i != int64(next) || !bytes.Equal(leaf, event(next)) {
			t.Fatalf("record %d is %q", i, leaf)
		}
		next++
		return nil
	}); err != nil || next != n {
		t.Fatalf("scan: %d records, %v; want %d", next, err, n)
	}
}

// written makes a log of n events, one write each, and ends it well or badly.
func written(t testing.TB, n int, clean bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	stop := run(t, l)
	for i := range n {
		add(t, l, i, i+1)
	}
	if clean {
		stop()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		crash(t, l, stop)
	}
	return dir
}

func TestEventsComeBackAfterReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	mustOpenEmpty := openLog(t, dir)
	if h := mustOpenEmpty.Head(); h.N != 0 || h.Hash != sha256.Sum256(nil) {
		t.Fatalf("an empty log has head %v", h)
	}
	mustOpenEmpty.Close()
	mustHold(t, dir, 0)
	n := 0
	for _, more := range []int{1, 3, 1500, 1} {
		l := openLog(t, dir)
		stop := run(t, l)
		add(t, l, n, n+more)
		n += more
		if l.Size() != int64(n) {
			t.Fatalf("size %d, want %d", l.Size(), n)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Fatalf("run ended with %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		mustHold(t, dir, n)
	}
}

func TestACrashLosesNothingAcknowledged(t *testing.T) {
	mustHold(t, written(t, 20, false), 20)
}

func TestWithoutAWriterNothingIsLogged(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log"))
	if err := l.Append(t.Context(), event(0)); !errors.Is(err, ErrClosed) {
		t.Fatalf("before Run: %v", err)
	}
	stop := run(t, l)
	add(t, l, 0, 1) // control
	stop()
	if err := l.Append(t.Context(), event(1)); !errors.Is(err, ErrClosed) {
		t.Fatalf("after Run: %v", err)
	}
	if err := l.Run(t.Context()); !errors.Is(err, ErrClosed) {
		t.Fatalf("second Run: %v", err)
	}
	other := openLog(t, filepath.Join(t.TempDir(), "log"))
	other.Close()
	if err := other.Run(t.Context()); !errors.Is(err, ErrClosed) {
		t.Fatalf("Run after Close: %v", err)
	}
}

func TestCloseEndsRunAndKeepsWhatWasQueued(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	stop := run(t, l)
	r := enqueue(t, l, events(0, 7))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatalf("run ended with %v", err)
	}
	<-r.done
	if r.err != nil {
		t.Fatal(r.err)
	}
	mustHold(t, dir, 7)
}

// enqueue gives Run events and does not wait.
func enqueue(t testing.TB, l *Log, all [][]byte) *request {
	t.Helper()
	r := &request{leaves: all, done: make(chan struct{})}
	if err := l.enqueue(r); err != nil {
		t.Fatalf("%d events: %v", len(all), err)
	}
	l.call()
	return r
}

// untilQueued waits until so many requests are queued.
func untilQueued(l *Log, n int) {
	for queued := -1; queued < n; runtime.Gosched() {
		l.mu.Lock()
		queued = len(l.queue)
		l.mu.Unlock()
	}
}

// Rule 7: the queue is bounded, and what does not fit is refused whole.
func TestRule7AFullQueueRefusesAtOnce(t *testing.T) {
	m := newMemory()
	l := m.log(t)
	run(t, l)
	m.hold, m.waiting = make(chan struct{}), make(chan struct{}, 16)
	first := enqueue(t, l, events(0, 1))
	<-m.waiting // the writer hangs in its flush
	many := enqueue(t, l, events(1, QueueSize))
	last := enqueue(t, l, events(QueueSize, QueueSize+1)) // the last place
	if err := l.Append(t.Context(), event(0)); !errors.Is(err, ErrFull) {
		t.Fatalf("%v, want ErrFull", err)
	}
	if l.Size() != 0 {
		t.Fatal("records count as durable before their flush")
	}
	close(m.hold)
	for _, r := range []*request{first, many, last} {
		if <-r.done; r.err != nil {
			t.Fatal(r.err)
		}
	}
	if l.Size() != QueueSize+1 {
		t.Fatalf("size %d", l.Size())
	}
	if err := l.Append(t.Context(), events(0, QueueSize+1)...); err == nil {
		t.Fatal("more events than the queue can ever hold were taken")
	}
}

func TestACallerMayStopWaiting(t *testing.T) {
	m := newMemory()
	l := m.log(t)
	run(t, l)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(gone, event(0)); !errors.Is(err, context.Canceled) || l.Size() != 0 {
		t.Fatalf("a call that was over before it began: %v", err)
	}
	m.hold, m.waiting = make(chan struct{}), make(chan struct{}, 4)
	ctx, cancel := context.WithCancel(t.Context())
	writes, waits := make(chan error), make(chan error)
	go func() { writes <- l.Append(ctx, event(0)) }()
	<-m.waiting
	go func() { waits <- l.Append(ctx, event(1)) }()
	untilQueued(l, 1)
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	close(m.hold)
	if err := <-writes; err != nil { // it was the disk that this one waited for
		t.Fatal(err)
	}
}

// A caller that writes in Run's place gives the turn back whatever came meanwhile: what
// was queued, a wish for a checkpoint, the end of Run.
func TestWhatComesWhileACallerWritesIsServed(t *testing.T) {
	m := newMemory()
	l := m.log(t)
	stop := run(t, l)
	m.hold, m.waiting = make(chan struct{}), make(chan struct{}, 16)
	answers, closed := make(chan error), make(chan error)
	go func() { answers <- l.Append(t.Context(), event(0)) }()
	<-m.waiting // it writes: Run has not been called
	go func() {
		_, err := l.Checkpoint(t.Context())
		answers <- err
	}()
	go func() { answers <- l.Append(t.Context(), event(1)) }()
	untilQueued(l, 2)
	go func() { closed <- l.Close() }()
	close(m.hold)
	for range 3 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(<-closed, stop()); err != nil {
		t.Fatal(err)
	}
	if n := l.Published().N; n != 2 {
		t.Errorf("the checkpoint has %d records, want 2", n)
	}
}

// A disk that fails under a caller ends Run with the same error.
func TestRunEndsWhereACallersWriteFails(t *testing.T) {
	m := newMemory()
	l := m.log(t)
	stop := run(t, l)
	broken := errors.New("input/output error")
	m.fail = only("sync", broken)
	if err := l.Append(t.Context(), event(0)); !errors.Is(err, broken) {
		t.Errorf("the caller is told %v", err)
	}
	<-l.ended
	if err := stop(); !errors.Is(err, broken) || !errors.Is(err, ErrFailed) {
		t.Errorf("run ended with %v", err)
	}
	if err := l.Append(t.Context(), event(1)); !errors.Is(err, ErrFailed) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestManyWritersAndReaders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	c := config(t)
	c.Segment, c.Every = 4000, time.Millisecond
	l, err := Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	stop := run(t, l)
	const writers, each = 64, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				e := []byte{byte(w), byte(i), 'e'}
				if err := l.Append(t.Context(), e, e); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			if err := l.Scan(func(int64, []byte) error { return nil }); err != nil {
				t.Errorf("scan beside the writers: %v", err)
			}
			if _, err := Verify(dir, peer(t)); err != nil {
				t.Errorf("verify beside the writers: %v", err)
			}
			if err := l.ExportBundle(io.Discard, Export{}); err != nil {
				t.Errorf("export beside the writers: %v", err)
			}
			c, err := l.Checkpoint(t.Context())
			if err != nil {
				t.Errorf("checkpoint beside the writers: %v", err)
			}
			if _, err := l.ProveConsistency(c.N/2, c.N); err != nil {
				t.Errorf("proof beside the writers: %v", err)
			}
		})
	}
	wg.Wait()
	stop()
	seen := map[byte]int{}
	if err := l.Scan(func(_ int64, leaf []byte) error { // each writer's leaves in its order
		w, i := leaf[0], int(leaf[1])
		if i*2 > seen[w] || i*2+1 < seen[w] {
			t.Errorf("writer %d: leaf %d after %d records", w, i, seen[w])
		}
		seen[w]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != writers || l.Size() != 2*writers*each {
		t.Fatalf("%d writers, %d records", len(seen), l.Size())
	}
}

// The helper process of the test below: it may not open the log.
func TestMain(m *testing.M) {
	if dir := os.Getenv("AUDIT_TEST_OPEN"); dir != "" {
		_, err := Open(dir, config(&testing.T{}))
		fmt.Print(errors.Is(err, ErrLocked), " ", err)
		os.Exit(0)
	}
	if dir := os.Getenv("AUDIT_TEST_LOAD"); dir != "" {
		load(dir)
	}
	os.Exit(m.Run())
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	if _, err := Open(dir, config(t)); !errors.Is(err, ErrLocked) {
		t.Fatalf("same process: %v, want ErrLocked", err)
	}
	other := func() string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "AUDIT_TEST_OPEN="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := other(); !strings.HasPrefix(got, "true") {
		t.Fatalf("another process: %s", got)
	}
	if _, err := Verify(dir, peer(t)); err != nil {
		t.Fatalf("verify needs no lock: %v", err)
	}
	l.Close()
	if got := other(); got != "false <nil>" { // control
		t.Fatalf("after Close: %s", got)
	}
}

func TestLeavesThatDoNotFitAreRefusedWhole(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log"))
	run(t, l)
	for name, leaf := range map[string][]byte{"empty": {}, "too long": bytes.Repeat([]byte("x"), maxRecord+1)} {
		if err := l.Append(t.Context(), event(0), leaf); !errors.Is(err, ErrLeaf) {
			t.Errorf("%s: %v, want ErrLeaf", name, err)
		}
	}
	if l.Size() != 0 {
		t.Fatal("a part of a refused call was logged")
	}
	if err := l.Append(t.Context(), bytes.Repeat([]byte("x"), maxRecord)); err != nil { // control
		t.Fatal(err)
	}
}

func TestScanStopsWhereItsCallerSays(t *testing.T) {
	l := openLog(t, written(t, 5, true))
	enough := errors.New("enough")
	seen := 0
	err := l.Scan(func(i int64, _ []byte) error {
		seen++
		if i == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || seen != 3 {
		t.Fatalf("%d records, %v", seen, err)
	}
}
