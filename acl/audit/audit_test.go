package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func event(i int) Event {
	who := Commit([32]byte{1}, "actor", fmt.Append(nil, i))
	return Event{
		Time: 1_790_000_000_000 + int64(i), Action: "release", Outcome: "ok",
		Actor: who[:], Object: fmt.Appendf(nil, "object %d", i), Reason: fmt.Sprintf("rule %d", i),
	}
}

func events(from, to int) []Event {
	var out []Event
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
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func add(t testing.TB, l *Log, from, to int) {
	t.Helper()
	if err := l.Append(t.Context(), events(from, to)...); err != nil {
		t.Fatal(err)
	}
}

// crash ends a log as a kill would: no checkpoint, no flush.
func crash(t testing.TB, l *Log, stop func() error) {
	t.Helper()
	l.replace = func(string, []byte) error { return errors.New("killed") }
	stop()
	l.Close()
}

// mustHold checks that the log in dir holds exactly the first n events.
func mustHold(t testing.TB, dir string, n int) {
	t.Helper()
	count, chain, err := Verify(dir)
	if err != nil || count != int64(n) {
		t.Fatalf("verify: %d records, %v; want %d", count, err, n)
	}
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if size, h := l.Head(); size != int64(n) || h != chain || l.Size() != size {
		t.Fatalf("head is %d %v, verify said %d %v", size, h, count, chain)
	}
	next := 0
	if err := l.Scan(func(i int64, e Event) error {
		if i != int64(next) || !same(e, event(next)) {
			t.Fatalf("record %d is %+v", i, e)
		}
		next++
		return nil
	}); err != nil || next != n {
		t.Fatalf("scan: %d records, %v; want %d", next, err, n)
	}
}

func same(a, b Event) bool {
	x, err1 := a.encode()
	y, err2 := b.encode()
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
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

func entries(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, entriesName))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func setEntries(t testing.TB, dir string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, entriesName), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// offsets are where records begin, and where the last one ends.
func offsets(t testing.TB, b []byte) []int {
	t.Helper()
	out := []int{0}
	for at := 0; at < len(b); {
		h, ok := parseHead(b[at:])
		if !ok {
			t.Fatalf("no record at %d", at)
		}
		at += fixedSize + h.length
		out = append(out, at)
	}
	return out
}

// mustRefuse checks that Open and Verify refuse, name the record, and leave
// the evidence alone.
func mustRefuse(t testing.TB, dir string, index int64, what string) {
	t.Helper()
	before := entries(t, dir)
	l, err := Open(dir)
	if err == nil {
		l.Close()
	}
	_, _, verifyErr := Verify(dir)
	for _, err := range []error{err, verifyErr} {
		var tamper *TamperError
		if !errors.Is(err, ErrTampered) || !errors.As(err, &tamper) {
			t.Fatalf("%s: %v, want ErrTampered", what, err)
		}
		if index >= 0 && tamper.Index != index {
			t.Fatalf("%s: named record %d, want %d (%v)", what, tamper.Index, index, err)
		}
	}
	if !bytes.Equal(before, entries(t, dir)) {
		t.Fatalf("%s: the refused log was changed", what)
	}
}

func TestEventsComeBackAfterReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	mustOpenEmpty := openLog(t, dir)
	if n, h := mustOpenEmpty.Head(); n != 0 || h != start {
		t.Fatalf("an empty log has head %d %v", n, h)
	}
	mustOpenEmpty.Close()
	mustHold(t, dir, 0)
	n := 0
	for _, more := range []int{1, 3, 1500, 1} { // passes a checkpoint on the way
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

// A crash cut the last record short, anywhere. Nobody was told that it is
// durable, so it goes, and everything else stays.
func TestATornTailIsCut(t *testing.T) {
	dir := written(t, 5, false)
	good := entries(t, dir)
	l := openLog(t, dir)
	leaf, _ := event(5).encode()
	record := appendRecord(nil, 5, link(l.durable.chain, leaf), leaf)
	l.Close()
	for n := 1; n < len(record); n++ {
		setEntries(t, dir, append(bytes.Clone(good), record[:n]...))
		if got, _, err := Verify(dir); err != nil || got != 5 {
			t.Fatalf("%d of %d bytes: verify: %d, %v", n, len(record), got, err)
		}
		if len(entries(t, dir)) == len(good) {
			t.Fatal("verify changed the log")
		}
		l := openLog(t, dir)
		if l.Size() != 5 {
			t.Fatalf("%d of %d bytes: %d records", n, len(record), l.Size())
		}
		l.Close()
		if !bytes.Equal(entries(t, dir), good) {
			t.Fatalf("%d of %d bytes: the tail was not cut cleanly", n, len(record))
		}
	}
	setEntries(t, dir, append(bytes.Clone(good), record...)) // control: whole, it stays
	mustHold(t, dir, 6)
}

// A crash may persist the later sectors of a write and not the earlier ones.
func TestAWriteWithHolesIsCut(t *testing.T) {
	dir := written(t, 3, false)
	good := entries(t, dir)
	l := openLog(t, dir)
	at := l.durable
	l.Close()
	var leaves [][]byte
	for _, e := range events(3, 40) {
		leaf, _ := e.encode()
		leaves = append(leaves, leaf)
	}
	var sink memory
	w := &Log{file: &sink}
	before := at
	if err := w.write([]*request{{leaves: leaves}}, &at); err != nil {
		t.Fatal(err)
	}
	whole := append(bytes.Clone(good), sink.data[before.offset:]...)
	firstSector := (len(good) + sector - 1) / sector
	for s := firstSector; s < len(whole)/sector; s++ {
		torn := bytes.Clone(whole)
		clear(torn[s*sector : (s+1)*sector])
		setEntries(t, dir, torn)
		l, err := Open(dir)
		if err != nil {
			t.Fatalf("sector %d missing: %v", s, err)
		}
		if n := l.Size(); n < 3 || n >= 40 {
			t.Fatalf("sector %d missing: %d records", s, n)
		}
		l.Close()
		os.Remove(filepath.Join(dir, checkpointName))
		raw, _ := before.encode()
		os.WriteFile(filepath.Join(dir, checkpointName), raw, 0o600)
	}
	// Control: the same hole with a later write behind it was durable once.
	more, _ := event(40).encode()
	torn := appendRecord(bytes.Clone(whole), 40, link(at.chain, more), more)
	setEntries(t, dir, torn)
	mustOpenN(t, dir, 41)
	raw, _ := before.encode()
	os.WriteFile(filepath.Join(dir, checkpointName), raw, 0o600)
	clear(torn[firstSector*sector : (firstSector+1)*sector])
	setEntries(t, dir, torn)
	mustRefuse(t, dir, -1, "a hole in a durable write")
}

func mustOpenN(t testing.TB, dir string, n int64) {
	t.Helper()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Size() != n {
		t.Fatalf("%d records, want %d", l.Size(), n)
	}
}

// One flipped bit must neither pass nor destroy what follows it, whether a
// checkpoint covers it or not.
func TestAFlippedByteAnywhereIsFoundAndNamed(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir := written(t, 6, clean)
		good := entries(t, dir)
		starts := offsets(t, good)
		cp, _ := os.ReadFile(filepath.Join(dir, checkpointName))
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 0x10
			setEntries(t, dir, bad)
			index := 0
			for starts[index+1] <= i {
				index++
			}
			mustRefuse(t, dir, int64(index), fmt.Sprintf("clean %v, byte %d", clean, i))
		}
		setEntries(t, dir, good)
		if again, _ := os.ReadFile(filepath.Join(dir, checkpointName)); !bytes.Equal(cp, again) {
			t.Fatal("a refused log got a new checkpoint")
		}
		mustHold(t, dir, 6) // control
	}
}

func TestRecordsRemovedMovedOrRepeatedAreFound(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir := written(t, 6, clean)
		good := entries(t, dir)
		o := offsets(t, good)
		rec := func(i int) []byte { return good[o[i]:o[i+1]] }
		join := func(order ...int) (b []byte) {
			for _, i := range order {
				b = append(b, rec(i)...)
			}
			return b
		}
		for name, c := range map[string]struct {
			content []byte
			index   int64
		}{
			"first removed":  {join(1, 2, 3, 4, 5), 0},
			"middle removed": {join(0, 1, 3, 4, 5), 2},
			"swapped":        {join(0, 2, 1, 3, 4, 5), 1},
			"last swapped":   {join(0, 1, 2, 3, 5, 4), 4},
			"repeated":       {join(0, 1, 1, 2, 3, 4, 5), 2},
			"last repeated":  {join(0, 1, 2, 3, 4, 5, 5), 6},
			"junk between":   {append(append(join(0, 1), "junk"...), join(2, 3, 4, 5)...), 2},
		} {
			setEntries(t, dir, c.content)
			mustRefuse(t, dir, c.index, fmt.Sprintf("%s, clean %v", name, clean))
		}
		setEntries(t, dir, join(0, 1, 2, 3, 4, 5))
		mustHold(t, dir, 6) // control
	}
}

// The forger repairs the CRCs; the chain, and at the end the checkpoint, stay.
func TestARewrittenRecordWithGoodChecksumsIsFound(t *testing.T) {
	dir := written(t, 6, true)
	good := entries(t, dir)
	o := offsets(t, good)
	forged := bytes.Clone(good)
	at := bytes.Index(forged, []byte("object 3"))
	copy(forged[at:], "object X")
	body := crc32.Checksum(forged[o[3]+headSize:o[4]], castagnoli)
	binary.BigEndian.PutUint32(forged[o[3]+16:], body)
	setEntries(t, dir, forged)
	mustRefuse(t, dir, 3, "forged record")

	// A whole new chain is consistent in itself; only the checkpoint knows.
	other := filepath.Join(t.TempDir(), "log")
	l := openLog(t, other)
	stop := run(t, l)
	for i := range 6 {
		e := event(i)
		e.Outcome = "denied"
		if err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	l.Close()
	setEntries(t, dir, entries(t, other))
	mustRefuse(t, dir, -1, "another log in place of this one")
}

func TestALogCutBelowItsCheckpointIsRefused(t *testing.T) {
	dir := written(t, 6, true)
	good := entries(t, dir)
	for i, at := range offsets(t, good)[:6] {
		setEntries(t, dir, good[:at])
		mustRefuse(t, dir, int64(i), fmt.Sprintf("cut to %d records", i))
		setEntries(t, dir, good[:at+7])
		mustRefuse(t, dir, int64(i), fmt.Sprintf("cut into record %d", i))
	}
	os.Remove(filepath.Join(dir, entriesName))
	if l, err := Open(dir); !errors.Is(err, ErrTampered) {
		t.Fatalf("entries removed: %v", err)
		l.Close()
	}
}

func TestTheCheckpointItselfIsChecked(t *testing.T) {
	dir := written(t, 4, true)
	path := filepath.Join(dir, checkpointName)
	good, _ := os.ReadFile(path)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		os.WriteFile(path, bad, 0o600)
		mustRefuse(t, dir, -1, fmt.Sprintf("byte %d of the checkpoint", i))
	}
	for n := range good {
		os.WriteFile(path, good[:n], 0o600)
		mustRefuse(t, dir, -1, fmt.Sprintf("checkpoint cut to %d", n))
	}
	os.Remove(path)
	mustRefuse(t, dir, 0, "no checkpoint")
	os.WriteFile(path, good, 0o600)
	mustHold(t, dir, 4) // control
}

// What the package says it cannot see, so that nobody relies on it: an old copy
// of both files. This is what witnesses are for.
func TestAnOldCopyOfBothFilesPassesHere(t *testing.T) {
	dir := written(t, 3, true)
	old, cp := entries(t, dir), filepath.Join(dir, checkpointName)
	oldCP, _ := os.ReadFile(cp)
	l := openLog(t, dir)
	stop := run(t, l)
	add(t, l, 3, 9)
	stop()
	l.Close()
	_, newHead, _ := Verify(dir)
	setEntries(t, dir, old)
	os.WriteFile(cp, oldCP, 0o600)
	n, head, err := Verify(dir)
	if err != nil || n != 3 || head == newHead {
		t.Fatalf("%d, %v", n, err)
	}
}

// memory is a disk that fails on order; what was not synced can be lost.
type memory struct {
	mu                  sync.Mutex
	data, synced        []byte
	dirty               map[int64]bool // sectors written since the last sync
	failWrite, failSync error
	hold, waiting       chan struct{} // when set, Sync tells waiting and waits for hold
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.NewReader(m.data).ReadAt(p, off)
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failWrite != nil {
		return 0, m.failWrite
	}
	if need := int(off) + len(p); need > len(m.data) {
		m.data = append(m.data, make([]byte, need-len(m.data))...)
	}
	for s := off / sector; s <= (off+int64(len(p))-1)/sector; s++ {
		if m.dirty == nil {
			m.dirty = make(map[int64]bool)
		}
		m.dirty[s] = true
	}
	return copy(m.data[off:], p), nil
}

// Sync flushes what is dirty; when it fails, the system forgets what was.
func (m *memory) Sync() error {
	if m.hold != nil {
		m.waiting <- struct{}{}
		<-m.hold
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dirty := m.dirty
	m.dirty = nil
	if m.failSync != nil {
		return m.failSync
	}
	if len(m.synced) > len(m.data) {
		m.synced = m.synced[:len(m.data)]
	}
	m.synced = append(m.synced, make([]byte, len(m.data)-len(m.synced))...)
	for s := range dirty {
		if at := s * sector; at < int64(len(m.data)) {
			copy(m.synced[at:], m.data[at:min(at+sector, int64(len(m.data)))])
		}
	}
	return nil
}

func (m *memory) Truncate(size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = m.data[:size]
	return nil
}

func (m *memory) Size() (int64, error) { return int64(len(m.data)), nil }
func (m *memory) Close() error         { return nil }

func TestAfterAFailedWriteOrFlushNothingIsLoggedUntilReopened(t *testing.T) {
	broken := errors.New("input/output error")
	for _, part := range []string{"write", "sync"} {
		dir, m := t.TempDir(), &memory{}
		l, err := open(dir, m, disk.Replace)
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, l)
		add(t, l, 0, 3)
		if part == "write" {
			m.failWrite = broken
		} else {
			m.failSync = broken
		}
		if err := l.Append(t.Context(), event(3)); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
			t.Fatalf("%s: %v", part, err)
		}
		m.failWrite, m.failSync = nil, nil // it must not be tried again
		if err := l.Append(t.Context(), event(3)); !errors.Is(err, ErrFailed) {
			t.Fatalf("%s: again: %v, want ErrFailed", part, err)
		}
		if err := stop(); !errors.Is(err, broken) {
			t.Fatalf("%s: run ended with %v", part, err)
		}
		if l.Size() != 3 {
			t.Fatalf("%s: size %d", part, l.Size())
		}
		l.Close()

		again, err := open(dir, m, disk.Replace)
		if err != nil {
			t.Fatal(err)
		}
		run(t, again)
		n := int(again.Size())
		add(t, again, n, n+1)
		m.data = bytes.Clone(m.synced) // the power fails: what was acknowledged must be there
		last, err := open(dir, m, disk.Replace)
		if err != nil {
			t.Fatalf("%s: %v", part, err)
		}
		if last.Size() != int64(n+1) {
			t.Fatalf("%s: %d records survived, want %d", part, last.Size(), n+1)
		}
	}
}

func TestAFailedCheckpointEndsTheLog(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("no space left")
	fails := false
	l, err := open(dir, &memory{}, func(path string, b []byte) error {
		if fails {
			return broken
		}
		return disk.Replace(path, b)
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, l)
	add(t, l, 0, checkpointEvery-1)
	fails = true // no checkpoint is due before the next event, which synchronises with the writer
	if err := l.Append(t.Context(), event(0)); err != nil && !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if err := stop(); !errors.Is(err, broken) {
		t.Fatalf("run ended with %v", err)
	}
	if err := l.Append(t.Context(), event(0)); !errors.Is(err, ErrFailed) {
		t.Fatalf("%v, want ErrFailed", err)
	}
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
	r, err := l.enqueue(events(0, 7))
	if err != nil {
		t.Fatal(err)
	}
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

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	m := &memory{}
	l, err := open(t.TempDir(), m, disk.Replace)
	if err != nil {
		t.Fatal(err)
	}
	run(t, l)
	m.hold, m.waiting = make(chan struct{}), make(chan struct{}, 16)
	first, err := l.enqueue(events(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	<-m.waiting // the writer hangs in its flush
	many, err := l.enqueue(events(1, QueueSize))
	if err != nil {
		t.Fatalf("the queue takes %d events: %v", QueueSize, err)
	}
	last, err := l.enqueue(events(QueueSize, QueueSize+1))
	if err != nil {
		t.Fatalf("the last place: %v", err)
	}
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
	if err := l.Append(t.Context(), make([]Event, QueueSize+1)...); err == nil {
		t.Fatal("more events than the queue can ever hold were taken")
	}
}

func TestACallerMayStopWaiting(t *testing.T) {
	m := &memory{}
	l, err := open(t.TempDir(), m, disk.Replace)
	if err != nil {
		t.Fatal(err)
	}
	run(t, l)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(gone, event(0)); !errors.Is(err, context.Canceled) || l.Size() != 0 {
		t.Fatalf("a call that was over before it began: %v", err)
	}
	m.hold, m.waiting = make(chan struct{}), make(chan struct{}, 4)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error)
	go func() { answer <- l.Append(ctx, event(0)) }()
	<-m.waiting
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	close(m.hold)
}

func TestManyWritersAndReaders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	stop := run(t, l)
	const writers, each = 64, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				e := event(w)
				e.Time = int64(i)
				if err := l.Append(t.Context(), e, e); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			if err := l.Scan(func(int64, Event) error { return nil }); err != nil {
				t.Errorf("scan beside the writers: %v", err)
			}
			if _, _, err := Verify(dir); err != nil {
				t.Errorf("verify beside the writers: %v", err)
			}
		})
	}
	wg.Wait()
	stop()
	seen := map[string]int64{}
	if err := l.Scan(func(_ int64, e Event) error { // each writer's events in its order
		if e.Time*2 > seen[e.Reason] || e.Time*2+1 < seen[e.Reason] {
			t.Errorf("%s: event %d after %d records", e.Reason, e.Time, seen[e.Reason])
		}
		seen[e.Reason]++
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
		_, err := Open(dir)
		fmt.Print(errors.Is(err, ErrLocked), " ", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	if _, err := Open(dir); !errors.Is(err, ErrLocked) {
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
	if _, _, err := Verify(dir); err != nil {
		t.Fatalf("verify needs no lock: %v", err)
	}
	l.Close()
	if got := other(); got != "false <nil>" { // control
		t.Fatalf("after Close: %s", got)
	}
}

func TestEventsThatDoNotFitAreRefusedWhole(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log"))
	run(t, l)
	for name, spoil := range map[string]func(*Event){
		"no action":       func(e *Event) { e.Action = "" },
		"no outcome":      func(e *Event) { e.Outcome = "" },
		"long action":     func(e *Event) { e.Action = strings.Repeat("a", MaxWord+1) },
		"long reason":     func(e *Event) { e.Reason = strings.Repeat("r", MaxReason+1) },
		"reason no UTF-8": func(e *Event) { e.Reason = "\xff" },
		"reason with ESC": func(e *Event) { e.Reason = "\x1b[2J" },
		"reason with NUL": func(e *Event) { e.Reason = "rule\x00" },
		"long actor":      func(e *Event) { e.Actor = make([]byte, MaxBytes+1) },
		"long policy":     func(e *Event) { e.Policy = make([]byte, MaxBytes+1) },
	} {
		e := event(1)
		spoil(&e)
		if err := l.Append(t.Context(), event(0), e); !errors.Is(err, ErrEvent) {
			t.Errorf("%s: %v, want ErrEvent", name, err)
		}
	}
	if l.Size() != 0 {
		t.Fatal("a part of a refused call was logged")
	}
	largest := Event{
		Time: -1 << 63, Action: strings.Repeat("a", MaxWord), Outcome: strings.Repeat("o", MaxWord),
		Reason: strings.Repeat("r", MaxReason),
	}
	for _, f := range []*[]byte{&largest.Actor, &largest.Subject, &largest.Object, &largest.Grant, &largest.Policy} {
		*f = make([]byte, MaxBytes)
	}
	if leaf, err := largest.encode(); err != nil || len(leaf) > maxLeaf {
		t.Fatalf("the largest event: %d bytes, %v", len(leaf), err)
	}
	if err := l.Append(t.Context(), largest); err != nil { // control
		t.Fatal(err)
	}
}

func TestScanStopsWhereItsCallerSays(t *testing.T) {
	l := openLog(t, written(t, 5, true))
	enough := errors.New("enough")
	seen := 0
	err := l.Scan(func(i int64, _ Event) error {
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

func TestScanFindsWhatChangedUnderTheRunningLog(t *testing.T) {
	dir := written(t, 5, true)
	l := openLog(t, dir)
	good := entries(t, dir)
	bad := bytes.Clone(good)
	bad[offsets(t, good)[2]+60] ^= 1
	setEntries(t, dir, bad)
	var tamper *TamperError
	if err := l.Scan(func(int64, Event) error { return nil }); !errors.As(err, &tamper) || tamper.Index != 2 {
		t.Fatalf("%v", err)
	}
}

func TestCommitmentsHideAndBind(t *testing.T) {
	salt := [32]byte{1}
	a := Commit(salt, "actor", []byte("ada@example.org"))
	if a != Commit(salt, "actor", []byte("ada@example.org")) {
		t.Error("the same opening gives another commitment")
	}
	for name, b := range map[string]statement.ID{
		"salt": Commit([32]byte{2}, "actor", []byte("ada@example.org")),
		"kind": Commit(salt, "subject", []byte("ada@example.org")),
		"both": Commit(salt, "actorada", []byte("@example.org")),
	} {
		if a == b {
			t.Errorf("%s does not matter", name)
		}
	}
}

// A crash at any moment, with any of the unsynced sectors lost: what was
// acknowledged is there, and the log opens without help.
func TestAPowerCutNeedsNoRepair(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		sizes := make([]byte, 1+rng.IntN(4))
		for i := range sizes {
			sizes[i] = byte(1 + rng.IntN(40))
		}
		lost := rng.Uint64()
		if rng.IntN(2) == 0 {
			lost = 1 << rng.IntN(64)
		}
		powerCut(t, sizes, lost)
	}
}

func FuzzPowerCut(f *testing.F) {
	f.Add([]byte{1, 30, 2}, uint64(0b1011))
	f.Add([]byte{5, 60}, ^uint64(0))
	f.Add([]byte{0}, uint64(0))
	f.Fuzz(func(t *testing.T, sizes []byte, lost uint64) {
		if len(sizes) <= 6 {
			powerCut(t, sizes, lost)
		}
	})
}

// powerCut writes batches of these sizes and loses sectors of the last.
func powerCut(t *testing.T, sizes []byte, lost uint64) {
	dir, m := t.TempDir(), &memory{}
	quick := func(path string, b []byte) error { return os.WriteFile(path, b, 0o600) }
	l, err := open(dir, m, quick)
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := int64(0)
	for i, n := range sizes {
		var leaves [][]byte
		for j := range int(n) {
			e := event(j)
			e.Reason = strings.Repeat("r", (j*37+i*11)%200)
			leaf, err := e.encode()
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leaf)
		}
		if len(leaves) == 0 {
			continue
		}
		if i == len(sizes)-1 { // the last write never gets its flush
			m.failSync = errors.New("the power failed")
		}
		if err := l.write([]*request{{leaves: leaves}}, &l.durable); err == nil {
			acknowledged = l.durable.n
		} else {
			m.data = survive(m, lost)
		}
		m.failSync = nil
	}
	again, err := open(dir, m, quick)
	if err != nil {
		t.Fatalf("%v, lost %b: refused after a crash: %v", sizes, lost, err)
	}
	if again.Size() < acknowledged {
		t.Fatalf("%v, lost %b: %d records, %d were acknowledged", sizes, lost, again.Size(), acknowledged)
	}
}

// survive is the disk after a power cut: of the sectors written since the last
// sync, those whose bit in lost is set are as before, or zero.
func survive(m *memory, lost uint64) []byte {
	data := bytes.Clone(m.data)
	for at := len(m.synced) / sector * sector; at < len(data); at += sector {
		if lost&(1<<(at/sector%64)) == 0 {
			continue
		}
		end := min(at+sector, len(data))
		clear(data[at:end])
		if at < len(m.synced) {
			copy(data[at:end], m.synced[at:])
		}
	}
	return data
}

// Arbitrary bytes in place of a log are refused or read, never both ways.
func FuzzEntries(f *testing.F) {
	good := entries(f, written(f, 4, true))
	f.Add(good, uint16(70), byte(1))
	f.Add(good[:len(good)-9], uint16(0), byte(0))
	f.Add([]byte{}, uint16(0), byte(0))
	f.Add(make([]byte, 600), uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, content []byte, at uint16, flip byte) {
		content = bytes.Clone(content)
		if int(at) < len(content) {
			content[at] ^= flip
		}
		m := &memory{data: content}
		seen := int64(0)
		end, err := verify(m, int64(len(content)), mark{chain: start}, func(_ int64, leaf []byte) error {
			seen++
			if e, err := decodeEvent(leaf); err == nil {
				if again, err := e.encode(); err != nil || !bytes.Equal(again, leaf) {
					t.Fatalf("an event re-encodes differently: %v", err)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrTampered) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if end.n != seen || end.offset > int64(len(content)) {
			t.Fatalf("ends at %+v after %d records", end, seen)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	raw, _ := mark{n: 3, offset: 400, first: 2, chain: start}.encode()
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeCheckpoint(b)
		if err != nil {
			return
		}
		if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("re-encodes differently: %v", err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l := openLog(b, filepath.Join(b.TempDir(), "log"))
	run(b, l)
	e := event(1)
	for b.Loop() {
		if err := l.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendParallel(b *testing.B) {
	for _, callers := range []int{64, 1024} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l := openLog(b, filepath.Join(b.TempDir(), "log"))
			run(b, l)
			e := event(1)
			b.SetParallelism(callers / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.Append(b.Context(), e); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkAppend1000AtOnce(b *testing.B) {
	l := openLog(b, filepath.Join(b.TempDir(), "log"))
	run(b, l)
	batch := events(0, 1000)
	for b.Loop() {
		if err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify100k(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "log")
	l := openLog(b, dir)
	stop := run(b, l)
	batch := events(0, 1000)
	for range 100 {
		if err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	stop()
	for b.Loop() {
		if n, _, err := Verify(dir); err != nil || n != 100_000 {
			b.Fatal(n, err)
		}
	}
}

var _ file = (*disk.File)(nil)
