package object

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/ipfs/go-cid"
)

// Sizes around everything that has an edge: an age chunk, a leaf, two leaves.
func TestWhatIsAddedIsReadBack(t *testing.T) {
	x := newLab(t)
	leaf := envelope.PlainLeaf
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, leaf - 1, leaf, leaf + 1, 2*leaf - 1, 2 * leaf, 5<<20 + 17} {
		content := bytesOf(size)
		a := x.add(content)
		if a.Size != int64(size) || a.Root.Size != int64(size) || a.Files != 1 {
			t.Errorf("%d bytes: add says %d, %d, %d files", size, a.Size, a.Root.Size, a.Files)
		}
		if got := x.read(a.Root.Address); !bytes.Equal(got, content) {
			t.Errorf("%d bytes: %d come back, or others", size, len(got))
		}
		o := x.open(a.Root.Address)
		if o.Details.Name != "x.bin" || o.Details.Plain != uint64(size) || o.Details.Kind != KindFile {
			t.Errorf("%d bytes: details %+v", size, o.Details)
		}
	}
}

func TestRanges(t *testing.T) {
	x := newLab(t)
	content := bytesOf(2*envelope.PlainLeaf + 100)
	o := x.open(x.add(content).Root.Address)
	size, leaf := int64(len(content)), int64(envelope.PlainLeaf)
	for _, r := range []Range{
		{0, 0}, {0, 9}, {leaf - 1, leaf}, {leaf, leaf}, {64<<10 - 1, 64 << 10}, {size - 1, size - 1}, {0, size - 1},
		{size - 10, size + 1000}, {5, 1 << 62},
	} {
		rd, err := x.ReadRange(t.Context(), o, r)
		if err != nil {
			t.Fatalf("%v: %v", r, err)
		}
		got, err := io.ReadAll(rd)
		if want := content[r.First : min(r.Last, size-1)+1]; err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes, %v; want %d", r, len(got), err, len(want))
		}
	}
	for _, r := range []Range{{-1, 5}, {5, 4}, {size, size}, {size + 1, size + 5}} {
		_, err := x.ReadRange(t.Context(), o, r)
		wantExit(t, err, fault.Usage)
	}
	empty := x.open(x.add(nil).Root.Address)
	_, err := x.ReadRange(t.Context(), empty, Range{0, 0})
	wantExit(t, err, fault.Usage)
}

// A range costs the leaves that it touches: the others may be missing.
func TestRangeReadsOnlyItsLeaves(t *testing.T) {
	x := newLab(t)
	content := bytesOf(4 * envelope.PlainLeaf)
	a := x.add(content)
	cids := x.below(a.Root.Address)
	// manifest, file root, header, payload root, nonce leaf, then the leaves
	if err := x.Store.Delete(t.Context(), cids[6:7]); err != nil {
		t.Fatal(err)
	}
	o := x.open(a.Root.Address)
	rd, err := x.ReadRange(t.Context(), o, Range{0, 99})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(rd); err != nil || !bytes.Equal(got, content[:100]) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	whole, err := x.Read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, whole)
	if f := wantExit(t, err, fault.Integrity); !strings.Contains(f.Message, cids[6].String()) {
		t.Errorf("the error does not name the missing block: %s", f.Message)
	}
}

func TestNothingExistsBeforeKeep(t *testing.T) {
	x := newLab(t)
	m, err := x.Make(t.Context(), x.owner, Input{Name: "a", Content: strings.NewReader("hello")}, x.Store)
	if err != nil {
		t.Fatal(err)
	}
	if x.blocks() == 0 || x.objects() != 0 {
		t.Fatalf("%d blocks, %d objects after Make", x.blocks(), x.objects())
	}
	_, err = x.Find(t.Context(), m.Address)
	wantExit(t, err, fault.NotFound)
	if err := x.Keep(x.owner, []*Made{m}); err != nil {
		t.Fatal(err)
	}
	if got := x.read(m.Address); string(got) != "hello" {
		t.Fatalf("%q", got)
	}
}

// The same content twice has nothing in common: whoever holds a file cannot
// confirm that somebody else added it.
func TestAddsOfTheSameContentShareNothing(t *testing.T) {
	x := newLab(t)
	for _, size := range []int{0, 100, envelope.PlainLeaf + 1} {
		content := bytesOf(size)
		first := map[cid.Cid]bool{}
		for _, c := range x.below(x.add(content).Root.Address) {
			first[c] = true
		}
		for _, c := range x.below(x.add(content).Root.Address) {
			if first[c] {
				t.Errorf("%d bytes: both have block %s", size, c)
			}
		}
	}
}

func TestStreamThatFailsAddsNothing(t *testing.T) {
	x := newLab(t)
	broken := errors.New("the disk went away")
	for _, r := range []io.Reader{
		iotest.ErrReader(broken),
		io.MultiReader(bytes.NewReader(bytesOf(2<<20)), iotest.ErrReader(broken)),
	} {
		_, err := x.AddStream(t.Context(), x.owner, "pipe", r, Labels{})
		if f := wantExit(t, err, fault.Failed); !errors.Is(err, broken) || !strings.Contains(f.Message, "pipe") {
			t.Errorf("%v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.AddStream(ctx, x.owner, "pipe", strings.NewReader("x"), Labels{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if n := x.objects(); n != 0 {
		t.Errorf("%d objects", n)
	}
}

func TestPathsThatAreNoFiles(t *testing.T) {
	x := newLab(t)
	_, err := x.AddPath(t.Context(), x.owner, filepath.Join(t.TempDir(), "gone"), Labels{})
	if f := wantExit(t, err, fault.Failed); !strings.Contains(f.Message, "gone") {
		t.Error(f.Message)
	}
	if _, err := os.Stat(os.DevNull); err == nil && filepath.IsAbs(os.DevNull) {
		_, err := x.AddPath(t.Context(), x.owner, os.DevNull, Labels{})
		wantExit(t, err, fault.Usage)
	}
	if n := x.objects() + x.blocks(); n != 0 {
		t.Errorf("%d objects and blocks", n)
	}
}

// A file that becomes shorter while it is read is not added as what is left.
func TestFileThatShrinks(t *testing.T) {
	x := newLab(t)
	path := filepath.Join(t.TempDir(), "log")
	write(t, path, bytesOf(3<<20))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1<<20)
	r := exactly(f, info)
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 2<<20); err != nil {
		t.Fatal(err)
	}
	_, err = x.AddStream(t.Context(), x.owner, "log", io.MultiReader(bytes.NewReader(first), r), Labels{})
	if f := wantExit(t, err, fault.Failed); !strings.Contains(f.Message, "shorter") {
		t.Error(f.Message)
	}
	if n := x.objects(); n != 0 {
		t.Errorf("%d objects", n)
	}
}

func makeTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "études")
	write(t, filepath.Join(dir, "a.txt"), []byte("a"))
	write(t, filepath.Join(dir, "deep/er/still/b.bin"), bytesOf(100_000))
	write(t, filepath.Join(dir, "文書/日本 語.txt"), []byte("konnichiwa"))
	write(t, filepath.Join(dir, "deep.txt"), nil) // sorts between deep and deep/er
	write(t, filepath.Join(dir, "new\nline"), []byte("x"))
	if err := os.MkdirAll(filepath.Join(dir, "empty/inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFolder(t *testing.T) {
	x := newLab(t)
	dir := makeTree(t)
	old := time.Date(1969, 7, 20, 20, 17, 0, 0, time.UTC)
	if err := errors.Join(
		os.Chmod(filepath.Join(dir, "a.txt"), 0o640), os.Chtimes(filepath.Join(dir, "a.txt"), old, old),
		os.Chmod(filepath.Join(dir, "empty"), 0o711),
		os.Symlink("/etc/passwd", filepath.Join(dir, "link")), os.Symlink("deep", filepath.Join(dir, "link to a folder")),
	); err != nil {
		t.Fatal(err)
	}
	a, err := x.AddPath(t.Context(), x.owner, dir+"/", Labels{})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(a.Skipped) != "[link link to a folder]" {
		t.Errorf("skipped %q", a.Skipped)
	}
	o := x.open(a.Root.Address)
	if o.Details.Name != "études" || o.Details.Kind != KindDirectory || !x.held(a.Root.Address).IsDirectory() {
		t.Errorf("%+v", o.Details)
	}
	entries := x.tree(a.Root.Address)
	got := map[string]Entry{}
	for _, e := range entries {
		got[e.Path] = e
		if !e.Folder {
			x.checkFile(dir, e, o.Manifest.Scopes)
		}
	}
	if len(got) != 11 || a.Files != 5 || x.objects() != 6 {
		t.Errorf("%d entries, %d files, %d objects", len(got), a.Files, x.objects())
	}
	if e := got["a.txt"]; e.Mode != 0o640 || e.Modified != old.Unix() {
		t.Errorf("a.txt: mode %o, modified %d", e.Mode, e.Modified)
	}
	if e := got["empty"]; !e.Folder || e.Mode != 0o711 || !got["empty/inner"].Folder {
		t.Errorf("empty: %+v", e)
	}
}

// checkFile compares an entry's object with the file on disk: content, name and
// the scope that one grant covers.
func (x *lab) checkFile(dir string, e Entry, scopes []envelope.Nonce) {
	x.t.Helper()
	c, err := cid.Cast(e.Address)
	if err != nil {
		x.t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(e.Path)))
	if err != nil {
		x.t.Fatal(err)
	}
	if got := x.read(c); !bytes.Equal(got, want) || e.Size != uint64(len(want)) {
		x.t.Errorf("%q: %d bytes, %d in the index; want %d", e.Path, len(got), e.Size, len(want))
	}
	o := x.open(c)
	if o.Details.Name != filepath.Base(e.Path) {
		x.t.Errorf("%q is named %q", e.Path, o.Details.Name)
	}
	if len(scopes) != 1 || len(o.Manifest.Scopes) != 1 || o.Manifest.Scopes[0] != scopes[0] {
		x.t.Errorf("%q: scopes %x, the folder's %x", e.Path, o.Manifest.Scopes, scopes)
	}
}

func TestEmptyFolder(t *testing.T) {
	x := newLab(t)
	a, err := x.AddPath(t.Context(), x.owner, t.TempDir(), Labels{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(x.tree(a.Root.Address)); n != 0 || a.Files != 0 || x.objects() != 1 {
		t.Errorf("%d entries, %d files, %d objects", n, a.Files, x.objects())
	}
}

// What an index cannot hold is found before anything is encrypted: an index that
// does not decode again would cost the whole folder.
func TestNamesThatCannotBeRestored(t *testing.T) {
	for _, name := range []string{`back\slash`, "not\xffutf8"} {
		x := newLab(t)
		dir := t.TempDir()
		write(t, filepath.Join(dir, "good"), []byte("x"))
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Skipf("this file system has no such names: %v", err)
		}
		_, err := x.AddPath(t.Context(), x.owner, dir, Labels{})
		if f := wantExit(t, err, fault.Usage); !strings.Contains(f.Message, fmt.Sprintf("%q", name)) {
			t.Errorf("the error does not name the file: %s", f.Message)
		}
		if n := x.objects() + x.blocks(); n != 0 {
			t.Errorf("%d objects and blocks", n)
		}
	}
}

// A file vanishes after the folder was listed and before it is read. The clock
// is what the library calls in the middle of each file, so it is the vandal.
func TestFileThatVanishesFromAFolder(t *testing.T) {
	x := newLab(t)
	dir := t.TempDir()
	for i := range 4 * dealers {
		write(t, filepath.Join(dir, fmt.Sprintf("f%03d", i)), []byte("x"))
	}
	last := filepath.Join(dir, fmt.Sprintf("f%03d", 4*dealers-1))
	x.Now = func() time.Time {
		if err := os.Remove(last); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return time.Now()
	}
	_, err := x.AddPath(t.Context(), x.owner, dir, Labels{})
	if f := wantExit(t, err, fault.Failed); !strings.Contains(f.Message, filepath.Base(last)) || f.Hint != "nothing was added" {
		t.Errorf("%s; %s", f.Message, f.Hint)
	}
	if n := x.objects(); n != 0 {
		t.Errorf("%d objects", n)
	}
	if used, _ := x.Secrets.Len(); used != 0 {
		t.Errorf("%d secrets are kept", used)
	}
}

func TestFolderOfMoreThanOneBatch(t *testing.T) {
	x := newLab(t)
	dir := t.TempDir()
	const files = validator.MaxBatch + 3
	for i := range files {
		write(t, filepath.Join(dir, fmt.Sprintf("d%d/f%d", i%7, i)), []byte{byte(i)})
	}
	a, err := x.AddPath(t.Context(), x.owner, dir, Labels{})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Batches) != 2 || len(a.Batches[0]) != validator.MaxBatch || len(a.Batches[1]) != 4 || a.Batches[1][3] != a.Root {
		t.Errorf("%d batches", len(a.Batches))
	}
	if n := len(x.tree(a.Root.Address)); n != files+7 || a.Files != files || x.objects() != files+1 {
		t.Errorf("%d entries, %d files, %d objects", n, a.Files, x.objects())
	}
}

// What is dealt again carries the labels of the first time: an object that was
// added without a network must not lose its classification on the way.
func TestDealingAgainKeepsLabels(t *testing.T) {
	x := newLab(t)
	labels := Labels{Labels: []validator.Label{{Key: "classification", Value: "200"}, {Key: "ward", Value: "3"}}, Class: 200}
	a, err := x.AddStream(t.Context(), x.owner, "scan", strings.NewReader("x"), labels)
	if err != nil {
		t.Fatal(err)
	}
	first, err := x.Deal(x.owner, a.Batches[0], []string{"/ip4/127.0.0.1/tcp/1"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := x.DealAgain(x.owner, []*Held{x.held(a.Root.Address)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var number uint64
	for _, d := range []*Dealt{first, again} {
		if len(d.Requests) != 4 {
			t.Fatalf("%d requests", len(d.Requests))
		}
		deal := dealing(t, d.Requests[2])
		if deal.Class != 200 || fmt.Sprint(deal.Labels) != fmt.Sprint(labels.Labels) {
			t.Errorf("class %d, labels %v", deal.Class, deal.Labels)
		}
		if deal.Number < number {
			t.Errorf("the number went from %d to %d", number, deal.Number)
		}
		number = deal.Number
	}
	if number == 0 {
		t.Error("the second dealing does not replace the first")
	}
}

func dealing(t *testing.T, request []byte) (out validator.Dealing) {
	t.Helper()
	var r validator.DepositRequest
	if err := statement.Unmarshal(request, &r); err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(r.Items[0].Dealing)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Peek(validator.KindDealing, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSharesOfTValidatorsOpenTheObject(t *testing.T) {
	x := newLab(t)
	a := x.add([]byte("secret"))
	m := x.held(a.Root.Address).Manifest.Claims()
	header := x.open(a.Root.Address).Header
	secret := a.Root.secret
	if _, err := Unlock(a.Root.Address, m, header, secret); err != nil {
		t.Fatal(err)
	}
	if _, err := Unlock(a.Root.Address, m, header, committee.NewSecret()); err == nil {
		t.Error("another secret opens it")
	}
	other := x.add([]byte("secret"))
	_, err := Unlock(a.Root.Address, m, x.open(other.Root.Address).Header, secret)
	wantExit(t, err, fault.Integrity)
}

func TestMarkShared(t *testing.T) {
	x := newLab(t)
	a := x.add([]byte("x"))
	if s := x.held(a.Root.Address).State; s != StateLocal {
		t.Errorf("state %d", s)
	}
	for range 2 {
		if err := x.MarkShared(Addresses(a.Batches[0])); err != nil {
			t.Fatal(err)
		}
		if s := x.held(a.Root.Address).State; s != StateShared {
			t.Errorf("state %d", s)
		}
	}
	if string(x.read(a.Root.Address)) != "x" {
		t.Error("marking lost the key")
	}
}

// Only the owner's home opens it; a home that was given the ciphertext does not.
func TestOpenNeedsTheOwnersWrap(t *testing.T) {
	x := newLab(t)
	a := x.add([]byte("x"))
	h := x.held(a.Root.Address)
	h.Owned = false
	_, err := x.Open(t.Context(), h)
	wantExit(t, err, fault.Denied)
	used, err := x.Slots()
	if err != nil || len(used) != 1 {
		t.Fatalf("%v, %v", used, err)
	}
	for slot := range used {
		if err := x.Secrets.Destroy(slot); err != nil {
			t.Fatal(err)
		}
	}
	_, err = x.Open(t.Context(), x.held(a.Root.Address))
	wantExit(t, err, fault.Integrity)
}

// The canary is in no file of the home, not even while it was open.
func TestCanaryIsInNoFile(t *testing.T) {
	const canary = "canary-7d1f9c-plaintext"
	x := newLab(t)
	for _, size := range []int{1, 5000, 100_000} {
		x.add(bytes.Repeat([]byte(canary+"\n"), size))
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, canary), []byte(canary))
	if _, err := x.AddPath(t.Context(), x.owner, dir, Labels{}); err != nil {
		t.Fatal(err)
	}
	x.close()
	if path := grep(t, x.dir, canary); path != "" {
		t.Errorf("the canary is in %s", path)
	}
	write(t, filepath.Join(x.dir, "store", "control"), []byte("x"+canary)) // the search does find one
	if grep(t, x.dir, canary) == "" {
		t.Error("the search finds nothing at all")
	}
}

func grep(t *testing.T, dir, text string) (found string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(text)) || strings.Contains(path, text) {
			found = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
