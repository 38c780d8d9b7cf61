package object

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/ipfs/go-cid"
)

func (x *lab) base(address cid.Cid) *Base {
	x.t.Helper()
	b, err := x.held(address).Base()
	if err != nil {
		x.t.Fatal(err)
	}
	return b
}

// update makes the version that follows an object.
func (x *lab) update(address cid.Cid, content string) cid.Cid {
	x.t.Helper()
	a, err := x.UpdateStream(x.t.Context(), x.owner, x.base(address), "x.bin", strings.NewReader(content), nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return a.Root.Address
}

func TestAVersionFollowsAnother(t *testing.T) {
	x := newLab(t)
	labels := Labels{Labels: []validator.Label{{Key: "ward", Value: "3"}}, Class: 7}
	a, err := x.AddStream(t.Context(), x.owner, "scan", strings.NewReader("one"), labels)
	if err != nil {
		t.Fatal(err)
	}
	first := a.Root.Address
	path := filepath.Join(t.TempDir(), "scan.txt")
	write(t, path, []byte("two"))
	b, err := x.UpdatePath(t.Context(), x.owner, x.base(first), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	second := b.Root.Address
	one, two := x.held(first).Manifest.Claims(), x.held(second).Manifest.Claims()
	if two.Lineage != one.Lineage || two.Sequence != 1 || !bytes.Equal(two.Previous, first.Bytes()) || !slices.Equal(two.Scopes, one.Scopes) {
		t.Errorf("it does not follow: %+v", two)
	}
	if two.KeyNonce == one.KeyNonce || bytes.Equal(x.open(first).Key.Bytes(), x.open(second).Key.Bytes()) {
		t.Error("two versions have one key")
	}
	if b.Root.Sequence() != 1 || b.Root.Previous() != first.String() || x.open(second).Details.Name != "scan.txt" {
		t.Errorf("%d %s", b.Root.Sequence(), b.Root.Previous())
	}
	if string(x.read(first)) != "one" || string(x.read(second)) != "two" {
		t.Error("a version reads as another")
	}
	dealt, err := x.Deal(x.owner, b.Batches[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := dealing(t, dealt.Requests[0]); d.Class != 7 || len(d.Labels) != 1 {
		t.Errorf("the labels are lost: %+v", d)
	}
	c, err := x.UpdateStream(t.Context(), x.owner, x.base(second), "scan", strings.NewReader("three"), &Labels{Class: 9})
	if err != nil {
		t.Fatal(err)
	}
	if next, ok := x.held(first).Next(); !ok || next != second {
		t.Error("the first does not know what follows")
	}
	newest, err := x.Newest(t.Context(), x.held(first))
	if err != nil || newest.CID != c.Root.Address || c.Root.in.Class != 9 || len(c.Root.in.Labels) != 0 {
		t.Errorf("%v, %v", newest.CID, err)
	}
}

func TestWhatCannotBeUpdated(t *testing.T) {
	x := newLab(t)
	first := x.add([]byte("one")).Root.Address
	x.update(first, "two")
	_, err := x.held(first).Base()
	wantExit(t, err, fault.Failed) // it has a newer version
	if !strings.Contains(err.Error(), "newer version") {
		t.Error(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), []byte("a"))
	tree, err := x.AddPath(t.Context(), x.owner, dir, Labels{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.held(tree.Root.Address).Base()
	wantExit(t, err, fault.Usage)
	_, err = x.Rekey(t.Context(), x.owner, x.held(tree.Root.Address))
	wantExit(t, err, fault.Usage)
	inside, err := cid.Cast(x.tree(tree.Root.Address)[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.Rekey(t.Context(), x.owner, x.held(inside)) // the directory would lose it
	wantExit(t, err, fault.Usage)
	x.base(inside) // control: an update leaves the old version where the directory names it

	alone := x.add([]byte("x")).Root.Address
	_, err = x.UpdatePath(t.Context(), x.owner, x.base(alone), dir, nil)
	wantExit(t, err, fault.Usage)
	_, err = x.UpdatePath(t.Context(), x.owner, x.base(alone), filepath.Join(dir, "gone"), nil)
	wantExit(t, err, fault.Failed)
	foreign := x.held(alone)
	foreign.Owned = false
	_, err = foreign.Base()
	wantExit(t, err, fault.Denied)
	x.update(alone, "y") // control
}

// Of writers that start from one version at a time, one is first; the others are
// told, and what they made does not exist.
func TestOneOfTwoWritersIsFirst(t *testing.T) {
	x := newLab(t)
	first := x.add([]byte("one")).Root.Address
	const writers = 4
	var bases [writers]*Base
	for i := range bases {
		bases[i] = x.base(first)
	}
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i, b := range bases {
		wg.Go(func() {
			_, errs[i] = x.UpdateStream(t.Context(), x.owner, b, "x", strings.NewReader("two"), nil)
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantExit(t, err, fault.Failed)
	}
	if won != 1 || x.objects() != 2 {
		t.Errorf("%d versions were made, %d objects are here", won, x.objects())
	}
}

func TestAConflictLeavesTheVersionBeforeFree(t *testing.T) {
	x := newLab(t)
	first := x.add([]byte("one")).Root.Address
	second := x.update(first, "two")
	third := x.update(second, "three")
	if err := x.MarkConflict(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	for _, c := range []cid.Cid{second, third} { // what stood on it falls with it
		if s := x.held(c).State; s != StateConflict {
			t.Errorf("state %d", s)
		}
		_, err := x.held(c).Base()
		wantExit(t, err, fault.Failed)
	}
	if string(x.read(third)) != "three" {
		t.Error("what was written is lost")
	}
	again := x.update(first, "two again")
	if m := x.held(again).Manifest.Claims(); m.Sequence != 1 {
		t.Errorf("sequence %d", m.Sequence)
	}
}

// A state that is written while a version is kept must not undo it.
func TestMarksDoNotLoseOneAnother(t *testing.T) {
	x := newLab(t)
	for range 20 {
		first := x.add([]byte("one")).Root.Address
		b := x.base(first)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := x.MarkShared([]cid.Cid{first}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := x.UpdateStream(t.Context(), x.owner, b, "x", strings.NewReader("two"), nil); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		h := x.held(first)
		if _, ok := h.Next(); !ok || h.State != StateShared {
			t.Fatalf("state %d, followed %v", h.State, ok)
		}
	}
}

func TestRekey(t *testing.T) {
	x := newLab(t)
	const canary = "canary-of-the-rekeyed-plaintext."
	content := bytes.Repeat([]byte(canary), 3*envelope.LeafSize/len(canary)) // more than two leaves
	first := x.add(content).Root.Address
	a, err := x.Rekey(t.Context(), x.owner, x.held(first))
	if err != nil {
		t.Fatal(err)
	}
	second := a.Root.Address
	one, two := x.open(first), x.open(second)
	if !bytes.Equal(x.read(second), content) {
		t.Error("the content changed")
	}
	if bytes.Equal(one.Key.Bytes(), two.Key.Bytes()) || one.Manifest.KeyNonce == two.Manifest.KeyNonce || two.Manifest.Lineage != one.Manifest.Lineage || two.Manifest.Sequence != 1 {
		t.Errorf("%+v", two.Manifest)
	}
	if two.Details.Name != one.Details.Name || two.Details.Modified != one.Details.Modified || two.Details.Plain != one.Details.Plain {
		t.Errorf("%+v is not %+v", two.Details, one.Details)
	}
	if envelope.CheckHeader(two.Header, one.Key) == nil {
		t.Error("the old key opens the new version")
	}
	if envelope.CheckHeader(one.Header, one.Key) != nil { // control
		t.Error("the old key does not open the old version")
	}
	if !x.held(second).IsRekey() || x.held(first).IsRekey() || x.held(first).State == StateRetired {
		t.Error("the old version is retired before anybody has the new one")
	}
	if err := x.Retire(first); err != nil {
		t.Fatal(err)
	}
	if err := x.MarkShared([]cid.Cid{first}); err != nil { // an acknowledgement that comes late
		t.Fatal(err)
	}
	if s := x.held(first).State; s != StateRetired {
		t.Errorf("state %d", s)
	}
	x.close()
	if found := filesWith(t, x.dir, canary); len(found) > 0 {
		t.Errorf("plaintext is in %v", found)
	}
	write(t, filepath.Join(x.dir, "control"), []byte(canary))
	if found := filesWith(t, x.dir, canary); len(found) != 1 {
		t.Errorf("the search finds %v", found)
	}
}

// A damaged block ends a rekey; the object stays as it was, with its version free.
func TestRekeyOfADamagedObject(t *testing.T) {
	x := newLab(t)
	first := x.add(bytesOf(3 * envelope.LeafSize)).Root.Address
	broken := errors.New("broken")
	h := x.held(first)
	o := x.open(first)
	content, err := x.Read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	in := x.base(first).input()
	in.Content = io.MultiReader(io.LimitReader(content, envelope.LeafSize), failingReader{broken})
	if _, err := x.Make(t.Context(), x.owner, in, x.Store); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if x.objects() != 1 {
		t.Errorf("%d objects", x.objects())
	}
	if _, err := x.Rekey(t.Context(), x.owner, h); err != nil { // control
		t.Error(err)
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// filesWith lists the files below a folder that hold a text.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func BenchmarkRekey(b *testing.B) {
	x := newLab(b)
	const size = 32 << 20
	address := x.add(bytesOf(size)).Root.Address
	b.SetBytes(size)
	for b.Loop() {
		a, err := x.Rekey(b.Context(), x.owner, x.held(address))
		if err != nil {
			b.Fatal(err)
		}
		address = a.Root.Address
	}
}
