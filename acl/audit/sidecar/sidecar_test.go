package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

// sector is the smallest unit in which a write reaches the disk or does not.
const sector = 512

// memory is a disk that fails on order; what was not synced can be lost.
type memory struct {
	mu                  sync.Mutex
	data, synced        []byte
	dirty               map[int64]bool // sectors written since the last sync
	failWrite, failSync error
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
	if m.dirty == nil {
		m.dirty = map[int64]bool{}
	}
	for s := off / sector; s <= (off+int64(len(p))-1)/sector; s++ {
		m.dirty[s] = true
	}
	return copy(m.data[off:], p), nil
}

// Sync flushes what is dirty; when it fails, the system forgets what was.
func (m *memory) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dirty := m.dirty
	m.dirty = nil
	if m.failSync != nil {
		return m.failSync
	}
	m.synced = append(m.synced[:min(len(m.synced), len(m.data))], make([]byte, max(0, len(m.data)-len(m.synced)))...)
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

var _ store = (*disk.File)(nil)

func item(i int64) []byte {
	if i%5 == 4 {
		return nil // an entry with nothing beside it
	}
	return fmt.Appendf(nil, "item %d %s", i, strings.Repeat("x", int(i*37%200)))
}

func mustOpen(t testing.TB, d store, n int64) *File {
	t.Helper()
	f, err := open(d, 0, n)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func add(t testing.TB, f *File, from, to int64) {
	t.Helper()
	var items [][]byte
	for i := from; i < to; i++ {
		items = append(items, item(i))
	}
	if err := f.Append(from, items); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// mustHold checks that a file has exactly the items from 0 to n but for those in lost.
func mustHold(t testing.TB, f *File, n int64, lost ...int64) {
	t.Helper()
	gone := map[int64]bool{}
	for _, i := range lost {
		gone[i] = true
	}
	for i := range n {
		got, err := f.Read(i)
		if gone[i] {
			if !errors.Is(err, ErrLost) {
				t.Errorf("item %d, which is lost: %q, %v", i, got, err)
			}
		} else if err != nil || !bytes.Equal(got, item(i)) {
			t.Errorf("item %d: %q, %v", i, got, err)
		}
	}
	if _, err := f.Read(n); !errors.Is(err, ErrLost) {
		t.Errorf("item %d: %v", n, err)
	}
	seen := int64(0)
	if err := f.Scan(0, func(i int64, got []byte) (bool, error) {
		if gone[i] || !bytes.Equal(got, item(i)) {
			t.Errorf("scan: item %d is %q", i, got)
		}
		seen++
		return true, nil
	}); err != nil || seen != n-int64(len(lost)) {
		t.Errorf("scan: %d items, %v", seen, err)
	}
	if _, missed := f.Lost(); missed != int64(len(lost)) {
		ranges, _ := f.Lost()
		t.Errorf("%d are said to be lost, %v; want %d", missed, ranges, len(lost))
	}
}

func TestWhatWasWrittenIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "claims")
	f, err := Open(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	add(t, f, 0, 1)
	add(t, f, 1, 700)
	mustHold(t, f, 700)
	if _, err := Open(path, 0, 700); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("twice open: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = Open(path, 0, 700); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mustHold(t, f, 700)
	add(t, f, 700, 900)
	mustHold(t, f, 900)
	if err := f.Append(899, [][]byte{nil}); err == nil {
		t.Error("an entry has two items")
	}
	if err := f.Append(900, [][]byte{make([]byte, MaxItem+1)}); err == nil {
		t.Error("an item that is too long")
	}
	stop := errors.New("stop")
	if err := f.Scan(500, func(i int64, _ []byte) (bool, error) { return i < 510, stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

func TestItemsWithoutAnEntryAreCut(t *testing.T) {
	d := new(memory)
	f := mustOpen(t, d, 0)
	add(t, f, 0, 10)
	add(t, f, 10, 20)
	f = mustOpen(t, d, 13) // the log lost the rest, unacknowledged
	mustHold(t, f, 13)
	add(t, f, 13, 15)
	mustHold(t, mustOpen(t, d, 15), 15)
}

func TestAnEntryWithoutItsItemIsReportedAndWorkGoesOn(t *testing.T) {
	d := new(memory)
	f := mustOpen(t, d, 0)
	add(t, f, 0, 10)
	f = mustOpen(t, d, 12) // the log has two more, that nobody was told of
	mustHold(t, f, 12, 10, 11)
	add(t, f, 12, 300)
	mustHold(t, f, 300, 10, 11)
	f = mustOpen(t, d, 300)
	mustHold(t, f, 300, 10, 11)
	if ranges, _ := f.Lost(); len(ranges) != 1 || ranges[0] != (Range{10, 12}) {
		t.Errorf("%v", ranges)
	}
}

// Any one byte that changes costs the items that it is in, and no other.
func TestADamagedByteCostsItsItemAlone(t *testing.T) {
	const n = 9
	d := new(memory)
	f := mustOpen(t, d, 0)
	add(t, f, 0, n)
	good := bytes.Clone(d.data)
	var starts []int
	at := 0
	for i := range int64(n) {
		starts = append(starts, at)
		at += headSize + len(item(i))
	}
	for i := range good {
		at := len(starts) - 1
		for starts[at] > i {
			at--
		}
		d := &memory{data: bytes.Clone(good)}
		d.data[i] ^= 0x40
		f := mustOpen(t, d, n)
		mustHold(t, f, n, int64(at))
		add(t, f, n, n+3)
		mustHold(t, mustOpen(t, d, n+3), n+3, int64(at))
		if t.Failed() {
			t.Fatalf("byte %d, of item %d", i, at)
		}
	}
}

// Damage that comes while the file is open is passed over too.
func TestDamageToAnOpenFileIsPassedOver(t *testing.T) {
	d := new(memory)
	f := mustOpen(t, d, 0)
	add(t, f, 0, 4*stride)
	for i := 3000; i < 3010; i++ {
		d.data[i] ^= 0xff
	}
	lost := 0
	for i := range int64(4 * stride) {
		if _, err := f.Read(i); errors.Is(err, ErrLost) {
			lost++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if lost == 0 || lost > stride {
		t.Errorf("%d are lost", lost)
	}
}

func TestAfterAFailedWriteOrFlushNothingIsWrittenUntilReopened(t *testing.T) {
	broken := errors.New("input/output error")
	for _, part := range []string{"write", "sync"} {
		d := new(memory)
		f := mustOpen(t, d, 0)
		add(t, f, 0, 3)
		if part == "write" {
			d.failWrite = broken
		} else {
			d.failSync = broken
		}
		err := f.Append(3, [][]byte{item(3)})
		if part == "sync" && err == nil {
			err = f.Sync()
		}
		if !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
			t.Fatalf("%s: %v", part, err)
		}
		d.failWrite, d.failSync = nil, nil // it must not be tried again
		if err := f.Sync(); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", part, err)
		}
		if err := f.Append(4, [][]byte{item(4)}); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", part, err)
		}
		n := int64(3)
		if part == "sync" { // the log has it, and so does the system's cache
			n = 4
		}
		mustHold(t, mustOpen(t, d, n), n)
		d.data = bytes.Clone(d.synced) // the power fails
		mustHold(t, mustOpen(t, d, n), n)
	}
}

// A crash at any moment, with any of the unsynced sectors lost: what was
// acknowledged is there, and the file opens without help.
func TestAPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		sizes := make([]byte, 1+rng.IntN(4))
		for i := range sizes {
			sizes[i] = byte(1 + rng.IntN(30))
		}
		lost := rng.Uint64()
		if rng.IntN(2) == 0 {
			lost = 1 << rng.IntN(64)
		}
		powerCut(t, sizes, lost, rng.IntN(2) == 0)
	}
}

func FuzzPowerCut(f *testing.F) {
	f.Add([]byte{1, 30, 2}, uint64(0b1011), true)
	f.Add([]byte{5, 60}, ^uint64(0), false)
	f.Fuzz(func(t *testing.T, sizes []byte, lost uint64, kept bool) {
		if len(sizes) > 0 && len(sizes) <= 6 {
			powerCut(t, sizes, lost, kept)
		}
	})
}

// powerCut writes batches of these sizes and loses sectors of the last, whose
// entries the log has kept or not.
func powerCut(t *testing.T, sizes []byte, lost uint64, kept bool) {
	d := new(memory)
	f := mustOpen(t, d, 0)
	acknowledged, n := int64(0), int64(0)
	for i, size := range sizes {
		var items [][]byte
		for j := range int64(size) {
			items = append(items, item(n+j))
		}
		if err := f.Append(n, items); err != nil {
			t.Fatal(err)
		}
		n += int64(size)
		if i == len(sizes)-1 { // the last write never gets its flush
			d.data = survive(d, lost)
		} else if err := f.Sync(); err != nil {
			t.Fatal(err)
		} else {
			acknowledged = n
		}
	}
	if !kept {
		n = acknowledged
	}
	again := mustOpen(t, d, n)
	for i := range acknowledged {
		if got, err := again.Read(i); err != nil || !bytes.Equal(got, item(i)) {
			t.Fatalf("%v, lost %b: item %d of %d: %q, %v", sizes, lost, i, acknowledged, got, err)
		}
	}
	for i := acknowledged; i < n; i++ { // there or lost, never another one's
		if got, err := again.Read(i); err == nil && !bytes.Equal(got, item(i)) || err != nil && !errors.Is(err, ErrLost) {
			t.Fatalf("%v, lost %b: item %d is %q, %v", sizes, lost, i, got, err)
		}
	}
	add(t, again, n, n+2)
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

// Arbitrary bytes in place of the file are read or passed over.
func FuzzFile(f *testing.F) {
	d := new(memory)
	add(f, mustOpen(f, d, 0), 0, 4)
	f.Add(d.data, uint16(30), byte(1), uint8(4))
	f.Add([]byte{}, uint16(0), byte(0), uint8(9))
	f.Add(make([]byte, 600), uint16(0), byte(0), uint8(1))
	f.Fuzz(func(t *testing.T, content []byte, at uint16, flip byte, n uint8) {
		content = bytes.Clone(content)
		if int(at) < len(content) {
			content[at] ^= flip
		}
		file := mustOpen(t, &memory{data: content}, int64(n))
		last := int64(-1)
		if err := file.Scan(0, func(i int64, item []byte) (bool, error) {
			if i <= last || i >= int64(n) || len(item) > MaxItem {
				t.Fatalf("item %d of %d follows %d", i, n, last)
			}
			last = i
			return true, nil
		}); err != nil {
			t.Fatal(err)
		}
		add(t, file, int64(n), int64(n)+1)
	})
}

// Readers beside the writer.
func TestReadersDoNotHinderTheWriter(t *testing.T) {
	f := mustOpen(t, new(memory), 0)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 50 {
				f.Read(10)
				f.Scan(0, func(int64, []byte) (bool, error) { return true, nil })
			}
		})
	}
	for i := range int64(200) {
		add(t, f, i, i+1)
	}
	wg.Wait()
	mustHold(t, f, 200)
}
