package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/people"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var (
	alice = statement.Hash("alice")
	bob   = statement.Hash("bob")
	now   = time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
)

// home is what survives a restart.
type home struct {
	dir     string
	secrets *keystore.Erasable
	store   kv.Store
	log     audit.Config
}

func newHome(t testing.TB) *home {
	t.Helper()
	h := &home{dir: filepath.Join(t.TempDir(), "home"), store: new(kv.Memory)}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	master := make([]byte, keystore.MasterSize)
	rand.Read(master)
	var err error
	if h.secrets, err = keystore.OpenErasable(filepath.Join(h.dir, "slots"), master); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.secrets.Close() })
	h.log.Key = statement.GenerateKey()
	if h.log.Binding, err = audit.Bind(statement.GenerateKey(), h.log.Key); err != nil {
		t.Fatal(err)
	}
	return h
}

// open opens and runs a home's journal; end ends it.
func (h *home) open(t testing.TB) (j *Journal, end func()) {
	t.Helper()
	table, err := people.Open(h.store, h.secrets)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(h.dir, "audit")
	log, err := audit.Open(dir, h.log)
	if err != nil {
		t.Fatal(err)
	}
	if j, err = Open(log, dir, table); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- j.Run(context.Background()) }()
	<-j.Running()
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		if err := errors.Join(j.Close(), <-done); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return j, end
}

// read is a release to bob of an object of alice.
func read(i int) event.Event {
	return event.Event{
		Time: now.UnixMilli() + int64(i), Action: event.Release, Outcome: event.OK, Rule: "grant", Actor: bob,
		Claims: []event.Claim{
			{Name: event.Actor, Value: bob.String(), Of: bob},
			{Name: event.Object, Value: fmt.Sprintf("bafy-%d", i), Of: alice},
			{Name: event.Policy, Value: "the usual"},
		},
	}
}

func record(t testing.TB, j *Journal, events ...event.Event) {
	t.Helper()
	if err := j.Append(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
}

type shown struct {
	claims []event.Claim
	erased int
	lost   bool
	actor  statement.ID
	action event.Action
}

func everything(t testing.TB, j *Journal) (out []shown) {
	t.Helper()
	if err := j.Scan(func(e *Entry) error {
		o, err := e.Open()
		if err != nil {
			return err
		}
		who, _ := e.Actor()
		out = append(out, shown{o.Claims, o.Erased, o.Lost, who, e.Leaf.Action})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatIsRecordedIsReadAgainAfterAStart(t *testing.T) {
	h := newHome(t)
	j, end := h.open(t)
	record(t, j, read(0), read(1))
	record(t, j, event.Event{Time: now.UnixMilli(), Action: event.Start, Outcome: event.OK})
	end()
	j, _ = h.open(t)
	record(t, j, read(3))
	got := everything(t, j)
	if len(got) != 4 || j.Size() != 4 || j.Lost() != 0 {
		t.Fatalf("%d entries, %d lost", len(got), j.Lost())
	}
	for _, i := range []int{0, 1, 3} {
		claims := slices.Clone(got[i].claims)
		slices.SortFunc(claims, func(a, b event.Claim) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
		if !slices.Equal(claims, read(i).Claims) || got[i].actor != bob || got[i].erased != 0 {
			t.Errorf("entry %d: %+v", i, got[i])
		}
	}
	if got[2].actor != (statement.ID{}) || len(got[2].claims) != 0 {
		t.Errorf("a start: %+v", got[2])
	}
	n := 0
	if err := j.Leaves(func(e *Entry) error {
		if who, ok := e.Actor(); ok && who == bob {
			n++
		}
		return nil
	}); err != nil || n != 3 {
		t.Errorf("bob acted %d times, %v", n, err)
	}
}

// holders are the files below a folder that contain some bytes.
func holders(t *testing.T, dir string, what []byte) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, what) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// mustVerify verifies a home's log from outside, against a checkpoint that others have.
func mustVerify(t *testing.T, h *home, known []byte) (*audit.Found, *audit.Binding) {
	t.Helper()
	b, err := audit.VerifyBinding(h.log.Binding)
	if err != nil {
		t.Fatal(err)
	}
	found, err := audit.Verify(filepath.Join(h.dir, "audit"), b.Peer, known)
	if err != nil {
		t.Fatal(err)
	}
	return found, b
}

func TestForgettingAPersonLeavesTheChainAndTheClaimsOfOthers(t *testing.T) { // PR-04
	h := newHome(t)
	j, end := h.open(t)
	record(t, j, read(0), read(1))
	if got := everything(t, j); got[1].actor != bob || len(got[1].claims) != 3 {
		t.Fatalf("control: %+v", got[1])
	}
	if _, err := j.Log().Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	proof, err := j.Log().ProveInclusion(0)
	if err != nil {
		t.Fatal(err)
	}
	old := j.Log().Published()
	var leaf []byte
	if err := j.Scan(func(e *Entry) error {
		if e.Index == 0 {
			leaf = bytes.Clone(e.Raw)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	n := j.Size()
	if err := j.Forget(t.Context(), bob, now, "request of the person"); err != nil {
		t.Fatal(err)
	}
	if err := j.Forget(t.Context(), bob, now, "request of the person"); err != nil || j.Size() != n+1 {
		t.Errorf("again: %v, %d entries", err, j.Size())
	}
	check := func(j *Journal) {
		t.Helper()
		got := everything(t, j)
		for _, e := range got[:2] {
			if e.actor != (statement.ID{}) || e.erased != 1 || len(e.claims) != 2 {
				t.Errorf("after forgetting: %+v", e)
			}
			if v, ok := event.Find(e.claims, event.Object); !ok || v == "" {
				t.Error("what was alice's is gone too")
			}
		}
		if last := got[2]; last.action != event.Forget || len(last.claims) != 0 || last.actor != (statement.ID{}) {
			t.Errorf("the last entry is %+v", last)
		}
	}
	check(j)
	end()
	found, b := mustVerify(t, h, old.Note)
	if found.Tree.N != n+1 {
		t.Errorf("the log verifies %d entries, want %d", found.Tree.N, n+1)
	}
	policy, err := b.Policy()
	if err == nil {
		err = audit.VerifyInclusion(policy, leaf, proof)
	}
	if err != nil {
		t.Errorf("the old proof: %v", err)
	}
	for _, what := range [][]byte{bob[:], []byte(bob.String())} {
		if found := holders(t, h.dir, what); found != nil {
			t.Errorf("%v still name bob", found)
		}
	}
	j, _ = h.open(t)
	check(j)
	record(t, j, read(3)) // who comes back is another one
	if got := everything(t, j); got[3].actor != bob || got[0].actor == bob {
		t.Errorf("after coming back: %+v", got)
	}
	if err := j.Forget(t.Context(), statement.ID{}, now, ""); !errors.Is(err, people.ErrNobody) {
		t.Errorf("the log's own key: %v", err)
	}
	size := j.Size()
	if err := j.Forget(t.Context(), statement.Hash("a stranger"), now, ""); err != nil || j.Size() != size {
		t.Errorf("a stranger: %v, and %d entries more", err, j.Size()-size)
	}
}

// The negative control of the test above: nothing on the disk names a person even
// before it is forgotten, so the folder is searched for what would be found in it.
func TestNothingOnTheDiskNamesAPerson(t *testing.T) {
	h := newHome(t)
	j, end := h.open(t)
	record(t, j, read(0))
	end()
	if found := holders(t, h.dir, bob[:]); found != nil {
		t.Errorf("%v name bob", found)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "control"), bob[:], 0o600); err != nil {
		t.Fatal(err)
	}
	if found := holders(t, h.dir, bob[:]); len(found) != 1 {
		t.Error("the search finds nothing")
	}
}

func TestDisclosuresOfAnotherEntryAreRefused(t *testing.T) {
	h := newHome(t)
	j, _ := h.open(t)
	record(t, j, read(0), read(0))
	var entries []Entry
	if err := j.Scan(func(e *Entry) error {
		c := *e
		c.Raw, c.item = bytes.Clone(e.Raw), bytes.Clone(e.item)
		entries = append(entries, c)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	entries[0].item, entries[1].item = entries[1].item, entries[0].item
	if o, err := entries[0].Open(); err == nil {
		t.Errorf("opened %+v", o)
	}
	entries[0].item = []byte("damaged")
	if _, err := entries[0].Open(); err == nil {
		t.Error("damage opens")
	}
}

func TestLostDisclosuresAreReportedAndTheLogGoesOn(t *testing.T) {
	h := newHome(t)
	j, end := h.open(t)
	record(t, j, read(0))
	record(t, j, read(1))
	end()
	path := filepath.Join(h.dir, "audit", sideName)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[40] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	j, _ = h.open(t)
	record(t, j, read(2))
	got := everything(t, j)
	if j.Lost() != 1 || !got[0].lost || got[1].lost || got[2].lost || len(got[2].claims) != 3 {
		t.Errorf("%d lost: %+v", j.Lost(), got)
	}
	if got[0].actor != bob {
		t.Error("the leaf's own pseudonym needs no disclosure")
	}
}

// Somebody changes a bit of what is sealed beside one leaf and corrects the checksum. That
// takes one event's claims, which the leaf proves were others; it must not take the
// export of the rest.
func TestWhatWasRewrittenBesideALeafIsLostAndTheRestIsHandedOn(t *testing.T) {
	h := newHome(t)
	j, end := h.open(t)
	record(t, j, read(0), read(1), read(2))
	end()
	path := filepath.Join(h.dir, "audit", sideName)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const head = 28 // see package sidecar: length first, checksum of the item last
	at := head + int(binary.BigEndian.Uint32(raw))
	item := raw[at+head:][:binary.BigEndian.Uint32(raw[at:])]
	item[len(item)-1] ^= 1
	binary.BigEndian.PutUint32(raw[at+24:], crc32.Checksum(item, crc32.MakeTable(crc32.Castagnoli)))
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	j, _ = h.open(t)
	if j.Lost() != 0 { // control: the checksum holds
		t.Fatalf("%d are lost when it is opened", j.Lost())
	}
	next := int64(0)
	if err := j.ScanOpened(0, j.Size(), func(e *Entry, o *Opened) error {
		rewritten := e.Index == 1
		if e.Index != next || o.Lost != rewritten || (o.Damaged != nil) != rewritten || (len(o.Disclosures) == 0) != rewritten {
			t.Errorf("entry %d: %+v", e.Index, o)
		}
		next++
		return nil
	}); err != nil || next != 3 {
		t.Errorf("entries to %d: %v", next, err)
	}
	if err := j.Scan(func(e *Entry) error {
		if _, err := e.Open(); (err != nil) != (e.Index == 1) {
			t.Errorf("entry %d: %v", e.Index, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeRecordedIsRefused(t *testing.T) {
	h := newHome(t)
	j, end := h.open(t)
	bad := read(0)
	bad.Action = "teleport"
	if err := j.Append(t.Context(), read(0), bad); !errors.Is(err, event.ErrEvent) || j.Size() != 0 {
		t.Errorf("%v, %d entries", err, j.Size())
	}
	long := read(0)
	for i := range 20 {
		long.Claims = append(long.Claims, event.Claim{Name: fmt.Sprintf("c%d", i), Value: string(bytes.Repeat([]byte{'"'}, event.MaxValue))})
	}
	for i := range 2 {
		long.Claims = append(long.Claims, event.Claim{Name: fmt.Sprintf("d%d", i), Value: string(bytes.Repeat([]byte{'"'}, event.MaxValue))})
	}
	if err := j.Append(t.Context(), long); err == nil || j.Size() != 0 {
		t.Errorf("claims that are too long: %v", err)
	}
	end()
	if err := j.Append(t.Context(), read(0)); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A key that is not durable seals nothing.
func TestWithoutATableOfPersonsNothingIsRecorded(t *testing.T) {
	h := newHome(t)
	j, _ := h.open(t)
	h.secrets.Close()
	if err := j.Append(t.Context(), read(0)); !errors.Is(err, keystore.ErrClosed) || j.Size() != 0 {
		t.Errorf("%v, %d entries", err, j.Size())
	}
}

// What was removed from the log goes from beside it at the next start, and the rest
// stays readable, with nothing counted as lost.
func TestDisclosuresOfRemovedEntriesGo(t *testing.T) {
	h := newHome(t)
	j, end := h.open(t)
	record(t, j, read(0), read(1), read(2))
	if err := j.Log().Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	record(t, j, read(3), read(4))
	side := filepath.Join(h.dir, "audit", sideName)
	size := func() int64 {
		info, err := os.Stat(side)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	if err := j.Log().Prune(3); err != nil {
		t.Fatal(err)
	}
	look := func(j *Journal) {
		t.Helper()
		next := int64(3)
		if err := j.ScanOpened(0, j.Size(), func(e *Entry, o *Opened) error {
			if e.Index != next || len(o.Disclosures) != 3 || o.Lost {
				t.Errorf("entry %d: %+v", e.Index, o)
			}
			next++
			return nil
		}); err != nil || next != 5 {
			t.Errorf("entries to %d: %v", next, err)
		}
	}
	look(j)
	if size() != before { // the control: it is the next start that removes them
		t.Errorf("%d bytes, %d before", size(), before)
	}
	end()
	j, _ = h.open(t)
	if got := size(); got*5 != before*2 || j.Lost() != 0 {
		t.Errorf("%d of %d bytes are left, %d entries lost", got, before, j.Lost())
	}
	look(j)
	record(t, j, read(5))
}

func TestSinceFindsTheFirstEventOfATime(t *testing.T) {
	h := newHome(t)
	j, _ := h.open(t)
	for i := range 20 {
		record(t, j, read(10*i))
	}
	for i, want := range map[int]int64{-5: 0, 0: 0, 70: 7, 71: 8, 190: 19, 191: 20} {
		if got, err := j.Since(now.Add(time.Duration(i) * time.Millisecond)); err != nil || got != want {
			t.Errorf("since %d: %d, %v; want %d", i, got, err, want)
		}
	}
}

func FuzzItem(f *testing.F) {
	h := newHome(f)
	j, _ := h.open(f)
	e := read(0)
	leaf, beside, err := j.seal(&e)
	if err != nil {
		f.Fatal(err)
	}
	parsed, err := event.ParseLeaf(leaf)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(beside)
	f.Add([]byte{0x82, 1, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		entry := Entry{Raw: leaf, Leaf: parsed, item: b, journal: j}
		if o, err := entry.Open(); err == nil && len(o.Claims) > 0 && !bytes.Equal(b, beside) {
			// Parts may be left out or come in another order; nothing may be added.
			for _, c := range o.Claims {
				if v, ok := e.Claim(c.Name); !ok || v != c.Value {
					t.Fatalf("%+v was never claimed", c)
				}
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	h := newHome(b)
	j, _ := h.open(b)
	b.SetParallelism(256)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := j.Append(b.Context(), read(0)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	h := newHome(b)
	j, _ := h.open(b)
	e := read(0)
	for b.Loop() {
		if _, _, err := j.seal(&e); err != nil {
			b.Fatal(err)
		}
	}
}
