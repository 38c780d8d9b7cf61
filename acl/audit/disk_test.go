package audit

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

// memory is a disk that fails on order; what was not synced can be lost.
type memory struct {
	mu            sync.Mutex
	files         map[string]*memoryFile
	fail          func(op, name string) error // "open", "write", "sync" or "replace"; nil: never
	hold, waiting chan struct{}               // when set, Sync tells waiting and waits for hold
	lies          bool                        // Sync says that it did, and did not
}

type memoryFile struct {
	m            *memory
	name         string
	data, synced []byte
	dirty        map[int64]bool // sectors written since the last sync
}

func newMemory() *memory { return &memory{files: map[string]*memoryFile{}} }

// log opens the log on this disk.
func (m *memory) log(t testing.TB) *Log {
	t.Helper()
	l, err := m.openWith(config(t))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (m *memory) openWith(c Config) (*Log, error) {
	return open(m, c, func() error { return nil })
}

func (m *memory) failing(op, name string) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(op, name)
}

func (m *memory) open(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("open", name); err != nil {
		return nil, err
	}
	if m.files[name] == nil {
		m.files[name] = &memoryFile{m: m, name: name}
	}
	return m.files[name], nil
}

func (m *memory) view(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] == nil {
		return nil, fs.ErrNotExist
	}
	return m.files[name], nil
}

func (m *memory) replace(name string, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("replace", name); err != nil {
		return err
	}
	m.files[name] = &memoryFile{m: m, name: name, data: bytes.Clone(b), synced: bytes.Clone(b)}
	return nil
}

func (m *memory) remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("remove", name); err != nil {
		return err
	}
	if m.files[name] == nil {
		return fs.ErrNotExist
	}
	delete(m.files, name)
	return nil
}

func (m *memory) names() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.files)), nil
}

// cut is a power cut: of the sectors written since the last sync, those whose bit
// in lost is set are as before, or zero.
func (m *memory) cut(lost uint64) {
	for _, f := range m.files {
		f.dirty = nil
		data := bytes.Clone(f.data)
		for at := len(f.synced) / sector * sector; at < len(data); at += sector {
			if lost&(1<<(at/sector%64)) == 0 {
				continue
			}
			end := min(at+sector, len(data))
			clear(data[at:end])
			if at < len(f.synced) {
				copy(data[at:end], f.synced[at:])
			}
		}
		f.data = data
	}
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.failing("write", f.name); err != nil {
		return 0, err
	}
	if need := int(off) + len(p); need > len(f.data) {
		f.data = append(f.data, make([]byte, need-len(f.data))...)
	}
	if f.dirty == nil {
		f.dirty = make(map[int64]bool)
	}
	for s := off / sector; s <= (off+int64(len(p))-1)/sector; s++ {
		f.dirty[s] = true
	}
	return copy(f.data[off:], p), nil
}

// Sync flushes what is dirty; when it fails, the system forgets what was.
func (f *memoryFile) Sync() error {
	if f.m.hold != nil {
		f.m.waiting <- struct{}{}
		<-f.m.hold
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	dirty := f.dirty
	f.dirty = nil
	if err := f.m.failing("sync", f.name); err != nil {
		return err
	}
	if f.m.lies {
		return nil
	}
	if len(f.synced) > len(f.data) {
		f.synced = f.synced[:len(f.data)]
	}
	f.synced = append(f.synced, make([]byte, len(f.data)-len(f.synced))...)
	for s := range dirty {
		if at := s * sector; at < int64(len(f.data)) {
			copy(f.synced[at:], f.data[at:min(at+sector, int64(len(f.data)))])
		}
	}
	return nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.data = f.data[:size]
	return nil
}

func (f *memoryFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memoryFile) Close() error { return nil }

var _ file = (*disk.File)(nil)

// only fails one kind of operation.
func only(op string, err error) func(string, string) error {
	return func(did, _ string) error {
		if did == op {
			return err
		}
		return nil
	}
}

// Rule 4: an error of the disk is never tried again. What a failed flush left in
// the system's cache reaches the disk when the log is opened again.
func TestRule4AfterAnErrorOfTheDiskNothingIsWrittenUntilReopened(t *testing.T) {
	for _, part := range []string{"write", "sync"} {
		for _, broken := range []error{errors.New("input/output error"), errors.New("no space left on device")} {
			m := newMemory()
			l := m.log(t)
			stop := run(t, l)
			add(t, l, 0, 3)
			m.fail = only(part, broken)
			if err := l.Append(t.Context(), event(3)); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
				t.Fatalf("%s: %v", part, err)
			}
			if err := stop(); !errors.Is(err, broken) {
				t.Fatalf("%s: run ended with %v", part, err)
			}
			m.fail = nil // it must not be tried again
			if err := l.Append(t.Context(), event(3)); !errors.Is(err, ErrFailed) {
				t.Fatalf("%s: again: %v, want ErrFailed", part, err)
			}
			if l.Size() != 3 {
				t.Fatalf("%s: size %d", part, l.Size())
			}
			l.Close()

			again := m.log(t)
			run(t, again)
			n := int(again.Size())
			add(t, again, n, n+1)
			for _, f := range m.files { // the power fails: what was acknowledged must be there
				f.data = bytes.Clone(f.synced)
			}
			if last := m.log(t); last.Size() != int64(n+1) {
				t.Fatalf("%s: %d records survived, want %d", part, last.Size(), n+1)
			}
		}
	}
}

// What follows from the records is no evidence, but a disk that does not take it
// takes nothing else either. The records were durable before that.
func TestAFailureToWriteDerivedHashesEndsTheLog(t *testing.T) {
	m := newMemory()
	l := m.log(t)
	stop := run(t, l)
	add(t, l, 0, 3)
	broken := errors.New("input/output error")
	m.mu.Lock()
	m.fail = func(op, name string) error {
		if op == "write" && name == hashesName {
			return broken
		}
		return nil
	}
	m.mu.Unlock()
	if err := l.Append(t.Context(), event(3)); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
		t.Fatalf("%v", err)
	}
	if err := stop(); !errors.Is(err, broken) {
		t.Fatalf("run ended with %v", err)
	}
	m.fail = nil
	again := m.log(t)
	if again.Size() != 4 {
		t.Fatalf("%d records", again.Size())
	}
	if _, err := again.ProveInclusion(3); err != nil {
		t.Error(err)
	}
}

// A disk that says it has flushed and has not cannot be made to remember. What it
// lost below a checkpoint is missed, and named.
func TestALyingDiskIsFoundOut(t *testing.T) {
	for _, lies := range []bool{false, true} {
		m := newMemory()
		l := m.log(t)
		stop := run(t, l)
		add(t, l, 0, 3)
		if _, err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		m.lies = lies
		m.mu.Unlock()
		add(t, l, 3, 9)
		stop() // with a checkpoint of nine
		m.lies = false
		m.cut(^uint64(0))
		again, err := m.openWith(config(t))
		var tamper *TamperError
		switch {
		case lies && (!errors.As(err, &tamper) || tamper.Index < 3 || tamper.Index > 8):
			t.Errorf("a disk that lied: %v", err)
		case !lies && (err != nil || again.Size() != 9): // control
			t.Errorf("a disk that did not lie: %v", err)
		}
	}
}

// A segment that cannot be made, because the disk is full say, ends the log too,
// and it goes on where it was.
func TestWithoutRoomForASegmentTheLogEnds(t *testing.T) {
	for _, op := range []string{"open", "replace"} { // the segment, or the checkpoint before it
		m := newMemory()
		c := config(t)
		c.Segment = 500
		l, err := m.openWith(c)
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, l)
		add(t, l, 0, 10)
		full := errors.New("no space left on device")
		m.mu.Lock()
		m.fail = only(op, full)
		m.mu.Unlock()
		if err := l.Append(t.Context(), event(10)); !errors.Is(err, ErrFailed) || !errors.Is(err, full) {
			t.Fatalf("%s: %v", op, err)
		}
		stop()
		m.fail = nil
		again, err := m.openWith(c)
		if err != nil {
			t.Fatal(err)
		}
		run(t, again)
		add(t, again, 10, 20)
		if again.Size() != 20 || len(again.segs) < 2 {
			t.Fatalf("%s: %d records in %d segments", op, again.Size(), len(again.segs))
		}
	}
}

func TestAFailedCheckpointEndsTheLog(t *testing.T) {
	broken := errors.New("no space left")
	m := newMemory()
	l := m.log(t)
	stop := run(t, l)
	add(t, l, 0, 5)
	m.mu.Lock()
	m.fail = only("replace", broken)
	m.mu.Unlock()
	if _, err := l.Checkpoint(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("a checkpoint that cannot be written: %v", err)
	}
	if err := stop(); !errors.Is(err, broken) {
		t.Fatalf("run ended with %v", err)
	}
	if err := l.Append(t.Context(), event(0)); !errors.Is(err, ErrFailed) {
		t.Fatalf("%v, want ErrFailed", err)
	}
	if c := l.Published(); c.N != 0 {
		t.Fatalf("a checkpoint of %d records counts as published", c.N)
	}
}

// A crash at any moment, with any of the unsynced sectors lost: what was
// acknowledged is there, and the log opens without help.
func TestFiveHundredPowerCutsLoseNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
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

// powerCut writes batches of these sizes, in small segments, and loses sectors of
// the last.
func powerCut(t *testing.T, sizes []byte, lost uint64) {
	m := newMemory()
	c := config(t)
	c.Segment = 4000
	l, err := m.openWith(c)
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := int64(0)
	for i, n := range sizes {
		var all [][]byte
		for j := range int(n) {
			all = append(all, append(event(j), strings.Repeat("r", (j*37+i*11)%200)...))
		}
		if i == len(sizes)-1 { // the last write never gets its flush
			m.fail = only("sync", errors.New("the power failed"))
		}
		at := l.durable
		if err := l.write([]*request{{leaves: all}}, &at); err == nil {
			l.durable, acknowledged = at, at.n
		}
	}
	m.fail = nil
	m.cut(lost)
	again, err := m.openWith(c)
	if err != nil {
		t.Fatalf("%v, lost %b: refused after a crash: %v", sizes, lost, err)
	}
	if again.Size() < acknowledged || again.Published().N != again.Size() {
		t.Fatalf("%v, lost %b: %d records, %d were acknowledged", sizes, lost, again.Size(), acknowledged)
	}
	if p, err := again.rootAt(acknowledged); err != nil || p != l.Head().Hash {
		t.Fatalf("%v, lost %b: the records are others: %v", sizes, lost, err)
	}
}
