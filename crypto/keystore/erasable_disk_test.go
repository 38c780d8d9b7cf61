package keystore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

func TestATornSlotIsReportedAloneAndCanBeErased(t *testing.T) {
	path := slotPath(t)
	e := openAt(t, path)
	items := someItems(3)
	sealed := seal(t, e, items)
	e.Close()
	file, _ := os.ReadFile(path)
	at := slotOffset(sealed[1].Slot)
	rand.Read(file[at+64 : at+slotSize]) // the second half was never written
	os.WriteFile(path, file, 0o600)

	e = openAt(t, path)
	if _, err := e.Open(sealed[1], items[1].AAD); !errors.Is(err, ErrDamaged) {
		t.Fatalf("torn slot: %v, want ErrDamaged", err)
	}
	mustOpen(t, e, sealed[0], items[0])
	mustOpen(t, e, sealed[2], items[2])
	if err := e.Erase(sealed[1]); err != nil {
		t.Fatal(err)
	}
	mustBeErased(t, e, sealed[1], items[1])
}

func TestEveryFlippedBitOfAUsedSlotOrHeaderIsNoticed(t *testing.T) {
	path := slotPath(t)
	e := openAt(t, path)
	items := someItems(1)
	sealed := seal(t, e, items)[0]
	e.Close()
	good, _ := os.ReadFile(path)
	try := func(at int64) error {
		bad := bytes.Clone(good)
		bad[at] ^= 2
		os.WriteFile(path, bad, 0o600)
		e, err := OpenErasable(path, testMaster)
		if err != nil {
			return err
		}
		defer e.Close()
		_, err = e.Open(sealed, items[0].AAD)
		return err
	}
	for at := range int64(offCheck + 16 + 8) {
		if try(at) == nil {
			t.Errorf("header byte %d: unnoticed", at)
		}
	}
	for i := range int64(slotEnd) {
		if i >= 1 && i < slotTag {
			continue // padding
		}
		if try(slotOffset(sealed.Slot)+i) == nil {
			t.Errorf("slot byte %d: unnoticed", i)
		}
	}
	os.WriteFile(path, good, 0o600)
	mustOpen(t, openAt(t, path), sealed, items[0]) // control
}

func TestACrashWhileCreatingIsRepairedAndAForeignFileIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		content []byte
		ok      bool
	}{
		"empty":         {nil, true},
		"half a header": {[]byte(slotMagic), true},
		"zeros":         {make([]byte, headerSize), true},
		"foreign":       {bytes.Repeat([]byte("x"), headerSize), false},
		"lost header":   {make([]byte, headerSize+slotSize), false},
	} {
		path := slotPath(t)
		os.WriteFile(path, c.content, 0o600)
		e, err := OpenErasable(path, testMaster)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			items := someItems(1)
			mustOpen(t, e, seal(t, e, items)[0], items[0])
			e.Close()
		} else if after, _ := os.ReadFile(path); !bytes.Equal(after, c.content) {
			t.Errorf("%s: the refused file was changed", name)
		}
	}
}

func TestAnUnfinishedSlotAtTheEndIsUsedAgain(t *testing.T) {
	path := slotPath(t)
	e := openAt(t, path)
	items := someItems(2)
	sealed := seal(t, e, items)
	e.Close()
	if err := os.Truncate(path, slotOffset(2)+77); err != nil {
		t.Fatal(err)
	}
	e = openAt(t, path)
	more := someItems(3)
	moreSealed := seal(t, e, more)
	e = reopen(t, e, path)
	for i := range items {
		mustOpen(t, e, sealed[i], items[i])
	}
	for i := range more {
		mustOpen(t, e, moreSealed[i], more[i])
	}
	e.Close()
	os.Truncate(path, slotOffset(1))
	e = openAt(t, path)
	if _, err := e.Open(sealed[1], items[1].AAD); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a file that lost its end: %v, want ErrDamaged", err)
	}
}

// faulty is a disk that fails on order. What was not synced is lost, as after
// a power cut, when lose is called.
type faulty struct {
	mu                  sync.Mutex
	data, synced        []byte
	failWrite, failSync error
	syncs               int
	hold                chan struct{} // when set, Sync waits for it
	waiting             chan struct{} // told when Sync waits
}

func (f *faulty) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *faulty) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failWrite != nil {
		return 0, f.failWrite
	}
	if need := int(off) + len(p); need > len(f.data) {
		f.data = append(f.data, make([]byte, need-len(f.data))...)
	}
	return copy(f.data[off:], p), nil
}

func (f *faulty) Sync() error {
	if f.hold != nil {
		f.waiting <- struct{}{}
		<-f.hold
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failSync != nil {
		return f.failSync
	}
	f.syncs++
	f.synced = bytes.Clone(f.data)
	return nil
}

func (f *faulty) Size() (int64, error) { return int64(len(f.data)), nil }

func (f *faulty) Close() error { return nil }

func (f *faulty) lose() { f.data = bytes.Clone(f.synced) }

func TestAfterAFailedWriteOrFlushTheStoreOnlyReads(t *testing.T) {
	broken := errors.New("input/output error")
	for _, part := range []string{"write", "sync"} {
		f := &faulty{}
		e, err := openErasable(f, testMaster)
		if err != nil {
			t.Fatal(err)
		}
		items := someItems(2)
		sealed := seal(t, e, items)
		if part == "write" {
			f.failWrite = broken
		} else {
			f.failSync = broken
		}
		if s, err := e.SealMany(someItems(1)); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) || s != nil {
			t.Fatalf("%s: sealing: %v", part, err)
		}
		f.failWrite, f.failSync = nil, nil // the disk recovers; the store must not trust it
		if _, err := e.SealMany(someItems(1)); !errors.Is(err, ErrFailed) {
			t.Fatalf("%s: sealing again: %v", part, err)
		}
		if err := e.Destroy(sealed[0].Slot); !errors.Is(err, ErrFailed) {
			t.Fatalf("%s: destroying: %v", part, err)
		}
		if err := e.Erase(sealed[0]); !errors.Is(err, ErrFailed) {
			t.Fatalf("%s: erasing: %v", part, err)
		}
		mustOpen(t, e, sealed[0], items[0])

		f.lose()
		again, err := openErasable(f, testMaster)
		if err != nil {
			t.Fatal(err)
		}
		for i := range items {
			mustOpen(t, again, sealed[i], items[i])
		}
		if err := again.Destroy(sealed[0].Slot); err != nil {
			t.Fatalf("%s: after reopening: %v", part, err)
		}
		f.lose()
		last, err := openErasable(f, testMaster)
		if err != nil {
			t.Fatal(err)
		}
		mustBeErased(t, last, sealed[0], items[0])
	}
}

func TestWhatIsAcknowledgedSurvivesAPowerCut(t *testing.T) {
	f := &faulty{}
	e, err := openErasable(f, testMaster)
	if err != nil {
		t.Fatal(err)
	}
	var items []Item
	var sealed []Sealed
	for range 30 {
		batch := someItems(40)
		items = append(items, batch...)
		sealed = append(sealed, seal(t, e, batch)...)
		f.lose()
		if e, err = openErasable(f, testMaster); err != nil {
			t.Fatal(err)
		}
		for i := range items {
			mustOpen(t, e, sealed[i], items[i])
		}
	}
}

func TestABatchCostsOneFlushAndSoDoWaitingCallers(t *testing.T) {
	f := &faulty{}
	e, err := openErasable(f, testMaster)
	if err != nil {
		t.Fatal(err)
	}
	before := f.syncs
	seal(t, e, someItems(1000))
	if got := f.syncs - before; got != 1 {
		t.Fatalf("%d flushes for a batch", got)
	}
	// One caller is caught in its flush; ten more queue up behind it.
	f.hold, f.waiting = make(chan struct{}), make(chan struct{}, 16)
	before = f.syncs
	var wg sync.WaitGroup
	wg.Go(func() { seal(t, e, someItems(1)) })
	<-f.waiting
	for range 10 {
		b, err := e.enqueueSeal(1, make([]byte, keySize), make([]byte, tagSize))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := e.commit(b); err != nil {
				t.Error(err)
			}
		})
	}
	close(f.hold)
	wg.Wait()
	if got := f.syncs - before; got != 2 {
		t.Fatalf("%d flushes for eleven callers, want 2", got)
	}
}

var _ slotFile = (*disk.File)(nil)
