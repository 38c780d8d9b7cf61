package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func entries(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, segmentName(0)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func setEntries(t testing.TB, dir string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, segmentName(0)), b, 0o600); err != nil {
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
	l, err := Open(dir, config(t))
	if err == nil {
		l.Close()
	}
	_, verifyErr := Verify(dir, peer(t))
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
	leaf := event(5)
	record := appendRecord(nil, 5, 5, leaf)
	l.Close()
	for n := 1; n < len(record); n++ {
		setEntries(t, dir, append(bytes.Clone(good), record[:n]...))
		if found, err := Verify(dir, peer(t)); err != nil || found.Tree.N != 5 {
			t.Fatalf("%d of %d bytes: verify: %+v, %v", n, len(record), found, err)
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
	cp := filepath.Join(dir, checkpointName)
	openLog(t, dir).Close()
	signed, _ := os.ReadFile(cp) // of 3 records
	whole := bytes.Clone(good)
	for i, leaf := range events(3, 40) {
		whole = appendRecord(whole, int64(3+i), 3, leaf)
	}
	firstSector := (len(good) + sector - 1) / sector
	for s := firstSector; s < len(whole)/sector; s++ {
		torn := bytes.Clone(whole)
		clear(torn[s*sector : (s+1)*sector])
		setEntries(t, dir, torn)
		l, err := Open(dir, config(t))
		if err != nil {
			t.Fatalf("sector %d missing: %v", s, err)
		}
		if n := l.Size(); n < 3 || n >= 40 {
			t.Fatalf("sector %d missing: %d records", s, n)
		}
		l.Close()
		os.WriteFile(cp, signed, 0o600)
	}
	// Control: the same hole with a later write behind it was durable once.
	more := event(40)
	torn := appendRecord(bytes.Clone(whole), 40, 40, more)
	setEntries(t, dir, torn)
	mustOpenN(t, dir, 41)
	os.WriteFile(cp, signed, 0o600)
	clear(torn[firstSector*sector : (firstSector+1)*sector])
	setEntries(t, dir, torn)
	mustRefuse(t, dir, -1, "a hole in a durable write")
}

func mustOpenN(t testing.TB, dir string, n int64) {
	t.Helper()
	l, err := Open(dir, config(t))
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

// forge changes the first place where a text stands in a record, and repairs the
// record's CRC.
func forge(t testing.TB, good []byte, record int, from, to string) []byte {
	t.Helper()
	o := offsets(t, good)
	forged := bytes.Clone(good)
	at := bytes.Index(forged[o[record]:o[record+1]], []byte(from))
	if at < 0 || len(from) != len(to) {
		t.Fatalf("nothing to forge in record %d", record)
	}
	copy(forged[o[record]+at:], to)
	leaf := forged[o[record]+headSize : o[record+1]-1]
	binary.BigEndian.PutUint32(forged[o[record]+20:], crc32.Checksum(leaf, castagnoli))
	return forged
}

// Rule 2: the forger repairs the CRCs, and the root is another one. Which record
// it was the stored hashes tell, as long as they are those of the checkpoint.
func TestRule2EveryRecordIsComparedWithTheCheckpoint(t *testing.T) {
	dir := written(t, 6, true)
	good := entries(t, dir)
	setEntries(t, dir, forge(t, good, 3, "object 3", "object X"))
	mustRefuse(t, dir, 3, "forged record")
	hashes := filepath.Join(dir, hashesName)
	stored, _ := os.ReadFile(hashes)
	os.Truncate(hashes, 0)
	mustRefuse(t, dir, -1, "forged record, no hashes")
	os.WriteFile(hashes, make([]byte, len(stored)), 0o600)
	mustRefuse(t, dir, -1, "forged record, useless hashes")
	setEntries(t, dir, good)
	mustHold(t, dir, 6) // control: hashes are made anew
	if again, _ := os.ReadFile(hashes); !bytes.Equal(again, stored) {
		t.Error("the stored hashes are not what they were")
	}
}

// Opening a log that is refused leaves the stored hashes alone, which tell the
// record, however long the log is.
func TestTheStoredHashesOfARefusedLogStay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	stop := run(t, l)
	for i := 0; i < 12_000; i += 1000 {
		add(t, l, i, i+1000)
	}
	stop()
	l.Close()
	good := entries(t, dir)
	before, _ := os.ReadFile(filepath.Join(dir, hashesName))
	setEntries(t, dir, forge(t, good, 5000, "object 5000", "object 5001"))
	mustRefuse(t, dir, 5000, "forged")
	mustRefuse(t, dir, 5000, "forged, and opened before")
	if after, _ := os.ReadFile(filepath.Join(dir, hashesName)); !bytes.Equal(after, before) {
		t.Error("the hashes were changed")
	}
	setEntries(t, dir, good)
	os.Truncate(filepath.Join(dir, hashesName), 70_000)
	openLog(t, dir).Close() // control: of a sound log they are made anew
	if after, _ := os.ReadFile(filepath.Join(dir, hashesName)); !bytes.Equal(after, before) {
		t.Error("the hashes were not made anew")
	}
}

// A fork is consistent in itself and as long; only the checkpoint knows.
func TestAForkIsFound(t *testing.T) {
	dir := written(t, 6, true)
	other := filepath.Join(t.TempDir(), "log")
	l := openLog(t, other)
	stop := run(t, l)
	for i := range 6 {
		e := event(i)
		e[0] ^= 1 // another decision
		if err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	l.Close()
	good, known := entries(t, dir), newest(t, dir)
	setEntries(t, dir, entries(t, other))
	mustRefuse(t, dir, 0, "another log in place of this one")

	// With its own checkpoint it passes, as the package says, but not for anybody
	// who knows a checkpoint of the log that was replaced.
	if _, err := Verify(other, peer(t)); err != nil {
		t.Fatal(err)
	}
	mustBreakPromise(t, other, known)
	setEntries(t, dir, good)
	if _, err := Verify(dir, peer(t), known); err != nil { // control
		t.Fatal(err)
	}
}

// newest is the checkpoint of the log in a folder.
func newest(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, checkpointName))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mustBreakPromise checks that a log that is sound in itself does not live up to a
// checkpoint that is known of it.
func mustBreakPromise(t testing.TB, dir string, known []byte) {
	t.Helper()
	if _, err := Verify(dir, peer(t), known); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "known to others") {
		t.Fatalf("verify with a checkpoint that others have: %v", err)
	}
	c := config(t)
	c.Known = [][]byte{known}
	if l, err := Open(dir, c); !errors.Is(err, ErrTampered) {
		if err == nil {
			l.Close()
		}
		t.Fatalf("open with a checkpoint that others have: %v", err)
	}
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
	os.Remove(filepath.Join(dir, segmentName(0)))
	if _, err := Open(dir, config(t)); !errors.Is(err, ErrTampered) {
		t.Fatalf("entries removed: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, segmentName(0))); err == nil {
		t.Fatal("empty entries took the place of those that were removed")
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
	mustRefuse(t, dir, -1, "no checkpoint")
	os.WriteFile(path, good, 0o600)
	mustHold(t, dir, 4) // control
}

// Rule 5: what the package says it cannot see, so that nobody relies on it: an old
// copy of both files. A cosigned checkpoint sees it, in the folder or elsewhere.
func TestRule5ALogRolledBackWithItsCheckpointBreaksWhatWasCosigned(t *testing.T) {
	dir := written(t, 3, true)
	old, cp, oldCP := entries(t, dir), filepath.Join(dir, checkpointName), newest(t, dir)
	l := openLog(t, dir)
	stop := run(t, l)
	add(t, l, 3, 9)
	stop()
	l.Close()
	known := newest(t, dir)
	setEntries(t, dir, old)
	os.WriteFile(cp, oldCP, 0o600)
	if found, err := Verify(dir, peer(t)); err != nil || found.Tree.N != 3 {
		t.Fatalf("%+v, %v", found, err)
	}
	mustBreakPromise(t, dir, known)
	os.WriteFile(filepath.Join(dir, cosignedName), known, 0o600)
	mustRefuse(t, dir, 3, "rolled back behind a cosigned checkpoint")
}

func TestScanFindsWhatChangedUnderTheRunningLog(t *testing.T) {
	dir := written(t, 5, true)
	l := openLog(t, dir)
	good := entries(t, dir)
	bad := bytes.Clone(good)
	bad[offsets(t, good)[2]+60] ^= 1
	setEntries(t, dir, bad)
	var tamper *TamperError
	if err := l.Scan(func(int64, []byte) error { return nil }); !errors.As(err, &tamper) || tamper.Index != 2 {
		t.Fatalf("%v", err)
	}
}
