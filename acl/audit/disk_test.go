package audit

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

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

func (m *memory) Close() error { return nil }

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

var _ file = (*disk.File)(nil)
