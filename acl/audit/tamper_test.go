package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

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
	if _, err := Open(dir); !errors.Is(err, ErrTampered) {
		t.Fatalf("entries removed: %v", err)
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

func TestScanFindsWhatChangedUnderTheRunningLog(t *testing.T) {
	dir := written(t, 5, true)
	l := openLog(t, dir)
	good := entries(t, dir)
	bad := bytes.Clone(good)
	bad[offsets(t, good)[2]+60] ^= 1
	setEntries(t, dir, bad)
	var tamper *TamperError
	if err := scan(l, func(int64, Event) error { return nil }); !errors.As(err, &tamper) || tamper.Index != 2 {
		t.Fatalf("%v", err)
	}
}
