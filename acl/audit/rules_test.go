package audit

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// The tests of rules 2, 4, 5 and 7 are beside what they need: tamper_test.go,
// disk_test.go, audit_test.go.

var every = flag.Bool("every", false, "change every byte of the log of 1,000 entries, not each 31st")

// Rule 1: while records wait for the disk, and when it then fails, no checkpoint
// covers them.
func TestRule1OnlyDurableSizesAreSigned(t *testing.T) {
	m := newMemory()
	l := m.log(t)
	stop := run(t, l)
	m.hold, m.waiting = make(chan struct{}), make(chan struct{}, 4)
	r := enqueue(t, l, events(0, 3))
	<-m.waiting // written, not flushed
	signed := func() int64 {
		c, err := readCheckpoint(m, checkpointName, l.Binding())
		if err != nil {
			t.Fatal(err)
		}
		return c.N
	}
	if l.Published().N != 0 || signed() != 0 || l.Size() != 0 {
		t.Fatal("records that are not durable are signed")
	}
	m.hold <- struct{}{}
	if <-r.done; r.err != nil {
		t.Fatal(r.err)
	}
	m.hold = nil
	if c, err := l.Checkpoint(t.Context()); err != nil || c.N != 3 || signed() != 3 { // control
		t.Fatalf("%d records are signed, %v", c.N, err)
	}
	m.mu.Lock()
	m.fail = only("sync", errors.New("input/output error"))
	m.mu.Unlock()
	if err := l.Append(t.Context(), event(3)); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	stop()
	if l.Published().N != 3 || signed() != 3 {
		t.Fatalf("%d records are signed, and one of them may be lost", signed())
	}
}

// A log that grows is signed after some seconds, whether or not anybody asks; one
// that does not grow is left alone.
func TestAGrownLogIsSignedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		c := config(t)
		c.Every = 2 * time.Second
		l, err := m.openWith(c)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- l.Run(t.Context()) }()
		<-l.Running()
		for round := range 3 {
			add(t, l, round, round+1)
			time.Sleep(2*time.Second - 1)
			if n := l.Published().N; n != int64(round) {
				t.Fatalf("round %d: %d records are signed before their time", round, n)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if n := l.Published().N; n != int64(round+1) {
				t.Fatalf("round %d: %d records are signed", round, n)
			}
			before := m.files[checkpointName]
			time.Sleep(time.Hour)
			synctest.Wait()
			if m.files[checkpointName] != before {
				t.Fatal("a checkpoint was written again for nothing")
			}
		}
		l.Close()
		<-done
	})
}

// Rule 3: bytes that would be cut behind the checkpoint are evidence below it.
func TestRule3NothingBelowACheckpointIsEverCut(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir := written(t, 40, clean)
		good := entries(t, dir)
		holed := bytes.Clone(good)
		at := len(good) - len(good)%sector - sector
		clear(holed[at:]) // as if the last sectors had never arrived
		for what, bad := range map[string][]byte{"hole": holed, "cut short": good[:len(good)-5]} {
			setEntries(t, dir, bad)
			if clean {
				mustRefuse(t, dir, -1, what)
				continue
			}
			cp := newest(t, dir)
			l, err := Open(dir, config(t)) // control: behind the checkpoint the same is a torn write
			if what == "hole" {
				// Each record here was a write of its own, and those before the hole
				// are whole.
				if err != nil || l.Size() >= 40 || l.Size() < 30 {
					t.Fatalf("%s: %v", what, err)
				}
			} else if err != nil || l.Size() != 39 {
				t.Fatalf("%s: %v", what, err)
			}
			l.Close()
			os.WriteFile(filepath.Join(dir, checkpointName), cp, 0o600)
		}
	}
}

// Rule 6: nor is there a second writer in this process, by whatever path.
func TestRule6OneLogHasOneWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{dir, link, filepath.Join(dir, "..", "log")} {
		if other, err := Open(path, config(t)); !errors.Is(err, ErrLocked) {
			if err == nil {
				other.Close()
			}
			t.Errorf("%s: %v, want ErrLocked", path, err)
		}
	}
	// The list holds by itself, where the system's lock does not.
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, config(t)); !errors.Is(err, ErrLocked) {
		t.Errorf("without the lock's file: %v", err)
	}
	l.Close()
	again, err := Open(link, config(t)) // control
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// Rule 8: segments are one log. Take one away, exchange two, or add one, and it is
// noticed.
func TestRule8SegmentsAreOneLog(t *testing.T) {
	l := filled(t, 700)
	dir := string(l.folder.(osFolder))
	l.Close()
	mustHold(t, dir, 700)
	segs, err := segments(osFolder(dir))
	if err != nil || len(segs) < 4 {
		t.Fatalf("%d segments, %v", len(segs), err)
	}
	path := func(i int) string { return filepath.Join(dir, segmentName(segs[i])) }
	refused := func(what string, index int64) {
		t.Helper()
		var tamper *TamperError
		_, err := Verify(dir, peer(t))
		if !errors.As(err, &tamper) || tamper.Index != index {
			t.Errorf("%s: verify: %v, want record %d", what, err, index)
		}
		if l, err := Open(dir, config(t)); !errors.As(err, &tamper) || tamper.Index != index {
			if err == nil {
				l.Close()
			}
			t.Errorf("%s: open: %v, want record %d", what, err, index)
		}
	}
	aside := filepath.Join(t.TempDir(), "aside")
	for i := range segs {
		os.Rename(path(i), aside)
		refused(fmt.Sprintf("segment %d is gone", i), segs[i])
		os.Rename(aside, path(i))
	}
	os.Rename(path(1), aside)
	os.Rename(path(2), path(1))
	os.Rename(aside, path(2))
	refused("two exchanged", segs[1])
	os.Rename(path(1), aside)
	os.Rename(path(2), path(1))
	os.Rename(aside, path(2))
	raw, err := os.ReadFile(path(1))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path(1), raw[:len(raw)-3], 0o600) // torn, but not the last
	refused("one in the middle cut", segs[2]-1)
	os.WriteFile(path(1), raw, 0o600)
	extra := filepath.Join(dir, segmentName(900))
	os.WriteFile(extra, nil, 0o600)
	refused("one too many", 700)
	os.Remove(extra)
	next := filepath.Join(dir, segmentName(700)) // as a crash may leave it: made, nothing written
	os.WriteFile(next, nil, 0o600)
	mustHold(t, dir, 700)
	os.Remove(next)
	for _, name := range []string{segmentPrefix + "7", segmentPrefix + "00000000000000zz", segmentPrefix + "000000000000002A", segmentPrefix} {
		odd := filepath.Join(dir, name)
		os.WriteFile(odd, nil, 0o600)
		if _, err := Verify(dir, peer(t)); err == nil {
			t.Errorf("%s: ignored", name)
		}
		os.Remove(odd)
	}
	mustHold(t, dir, 700) // control
}

func TestAFolderOfAnOlderLogIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, oldName), []byte("what the version before wrote"), 0o600)
	os.WriteFile(filepath.Join(dir, checkpointName), []byte("what the version before wrote"), 0o600)
	if _, err := Open(dir, config(t)); !errors.Is(err, ErrOldFormat) {
		t.Errorf("open: %v", err)
	}
	if _, err := Verify(dir, peer(t)); !errors.Is(err, ErrOldFormat) {
		t.Errorf("verify: %v", err)
	}
	if names, _ := osFolder(dir).names(); fmt.Sprint(names) != fmt.Sprint([]string{checkpointName, oldName, lockName}) {
		t.Errorf("the folder holds %v now", names)
	}
}

// Every changed byte and every truncation of a log of 1,000 entries is found, and
// the entry is named. Signatures are verified once, records each time.
func TestEveryByteOfAThousandEntriesCounts(t *testing.T) {
	step := 31
	switch {
	case *every:
		step = 1
	case testing.Short():
		step = 311
	}
	dir := written(t, 1000, true)
	good := entries(t, dir)
	starts := offsets(t, good)
	b, err := VerifyBinding(config(t).Binding)
	if err != nil {
		t.Fatal(err)
	}
	promises, err := readPromises(osFolder(dir), b, nil)
	if err != nil || len(promises) != 1 {
		t.Fatal(err)
	}
	m := newMemory()
	look := func(data []byte) error {
		m.files[segmentName(0)] = &memoryFile{m: m, data: data}
		_, err := verify(m, mark{}, []int64{0}, promises, func(record) error { return nil })
		return err
	}
	index := 0
	named := func(what string, at int, err error) {
		var tamper *TamperError
		if !errors.As(err, &tamper) || tamper.Index != int64(index) || tamper.Offset != int64(starts[index]) {
			t.Fatalf("%s %d: %v, want record %d", what, at, err, index)
		}
	}
	bad := bytes.Clone(good)
	for i := 0; i < len(good); i += step {
		for starts[index+1] <= i {
			index++
		}
		bad[i] ^= 1 << (i % 8)
		named("byte", i, look(bad))
		bad[i] = good[i]
		named("cut to", i, look(good[:i]))
	}
	if err := look(good); err != nil { // control
		t.Fatal(err)
	}
}

// Nothing that reads a file of the log trusts its size.
func TestFilesThatAreTooLargeAreRefused(t *testing.T) {
	for _, name := range []string{checkpointName, cosignedName, bindingName} {
		dir := written(t, 3, true)
		os.WriteFile(filepath.Join(dir, name), make([]byte, maxCheckpoint+1), 0o600)
		if _, err := Verify(dir, peer(t)); err == nil {
			t.Errorf("%s: verified", name)
		}
		if l, err := Open(dir, config(t)); err == nil {
			l.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

func TestNoBitOfACheckpointOrBindingCanChange(t *testing.T) {
	l := filled(t, 5)
	w, known := witnesses(t, 1)
	c, err := l.Cosign(l.Published().Note, cosign(t, l.Published().Note, w...), known)
	if err != nil {
		t.Fatal(err)
	}
	own := l.Published().Note
	for bit := range 8 * len(own) {
		bad := bytes.Clone(own)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := l.Binding().OpenCheckpoint(bad); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("bit %d of the checkpoint: %v", bit, err)
		}
		if n := len(own); bit < n {
			if _, err := l.Binding().OpenCheckpoint(own[:bit]); !errors.Is(err, ErrCheckpoint) {
				t.Fatalf("the checkpoint cut to %d bytes: %v", bit, err)
			}
		}
	}
	twice := append(bytes.Clone(own), own[bytes.Index(own, []byte("\n\n"))+2:]...)
	if _, err := l.Binding().OpenCheckpoint(twice); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("a signature that stands twice: %v", err)
	}
	for _, good := range [][]byte{own, c.Note} { // control
		if got, err := l.Binding().OpenCheckpoint(good); err != nil || got.Tree != l.Head() {
			t.Errorf("%v", err)
		}
	}
	// The last character of the root has two bits to spare, and a log can sign what it likes.
	v := newSigner(l.Binding().Origin, key(t, "log"))
	text, _, _ := strings.Cut(string(own), "\n\n")
	at := len(text) - 2
	for _, last := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		other := text[:at] + string(last) + text[at+1:] + "\n"
		raw, err := note.Sign(&note.Note{Text: other}, v)
		if err != nil {
			t.Fatal(err)
		}
		c, err := l.Binding().OpenCheckpoint(raw)
		if err == nil && c.Tree == l.Head() && !bytes.Equal(raw, own) {
			t.Errorf("the root has another spelling: %q", other)
		}
	}
	binding := config(t).Binding
	for bit := range 8 * len(binding) {
		bad := bytes.Clone(binding)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := VerifyBinding(bad); !errors.Is(err, ErrBinding) {
			t.Fatalf("bit %d of the binding: %v", bit, err)
		}
	}
	other := openLog(t, written(t, 5, true)) // of the same key and origin: accepted, so that forks show
	if _, err := l.Binding().OpenCheckpoint(other.Published().Note); err != nil {
		t.Error(err)
	}
	stranger, err := signCheckpoint(newSigner(l.Binding().Origin, key(t, "mallory")), &mark{})
	if err != nil {
		t.Fatal(err)
	}
	moved, err := signCheckpoint(newSigner(Origin(key(t, "mallory").Public()), key(t, "log")), &mark{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Checkpoint{"another key": stranger, "another origin": moved} {
		if _, err := l.Binding().OpenCheckpoint(c.Note); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
