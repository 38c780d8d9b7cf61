package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/tlog"
)

// filled is an open, running log of n events under a checkpoint, in small segments.
func filled(t testing.TB, n int) *Log {
	t.Helper()
	c := config(t)
	c.Segment = 20_000
	l, err := Open(filepath.Join(t.TempDir(), "log"), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	run(t, l)
	for i := 0; i < n; i += 100 {
		add(t, l, i, min(i+100, n))
	}
	if _, err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// fsckTiles has Tessera's independent program check a directory of tiles.
func fsckTiles(t testing.TB, l *Log, dir string) error {
	t.Helper()
	v, err := l.Binding().Verifier()
	if err != nil {
		t.Fatal(err)
	}
	hashes := func(bundle []byte) (out [][]byte, err error) {
		for len(bundle) > 0 {
			var entry []byte
			if entry, bundle, err = torchwood.ReadTileEntry(bundle); err != nil {
				return nil, err
			}
			h := tlog.RecordHash(entry)
			out = append(out, h[:])
		}
		return out, nil
	}
	return fsck.New(l.Binding().Origin, v, client.FileFetcher{Root: dir}, hashes, fsck.Opts{}).Check(t.Context())
}

// readTiles has torchwood's client prove every entry of a directory of tiles.
func readTiles(t testing.TB, l *Log, dir string, visit func(i int64, leaf []byte)) error {
	t.Helper()
	policy, err := l.Binding().Policy()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := torchwood.VerifyCheckpoint(raw, policy)
	if err != nil {
		return err
	}
	tiles, err := torchwood.NewTileFS(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := torchwood.NewClient(tiles)
	if err != nil {
		t.Fatal(err)
	}
	for i, leaf := range reader.AllEntries(t.Context(), c.Tree, 0) {
		visit(i, leaf)
	}
	return reader.Err()
}

// Two programs that others wrote accept the exported tiles, and find what was
// changed in them.
func TestOthersReadTheExportedTiles(t *testing.T) {
	for _, n := range []int{1, 255, 256, 257, 700, 65_536 + 300} {
		if n > 1000 && testing.Short() {
			continue
		}
		l := filled(t, n)
		dir := filepath.Join(t.TempDir(), "tiles")
		if err := l.ExportTiles(dir, l.Published(), nil); err != nil {
			t.Fatal(err)
		}
		if err := fsckTiles(t, l, dir); err != nil {
			t.Fatalf("%d entries: fsck: %v", n, err)
		}
		want := events(0, n)
		seen := 0
		err := readTiles(t, l, dir, func(i int64, leaf []byte) {
			if i != int64(seen) || !bytes.Equal(leaf, want[i]) {
				t.Fatalf("entry %d is another", i)
			}
			seen++
		})
		if err != nil || seen != n {
			t.Fatalf("%d entries: %d read, %v", n, seen, err)
		}
		if err := l.ExportTiles(dir, l.Published(), nil); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("an export over another: %v", err)
		}
		l.Close()

		if n < 256 {
			continue
		}
		bundle := filepath.Join(dir, "tile", "entries", "000") // control: both can fail
		raw, err := os.ReadFile(bundle)
		if err != nil {
			t.Fatal(err)
		}
		raw[70] ^= 1
		if err := os.WriteFile(bundle, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if readTiles(t, l, dir, func(int64, []byte) {}) == nil {
			t.Fatal("a changed entry was not found")
		}
		raw[70] ^= 1 // fsck of this version never returns from that; it gets another log's checkpoint
		if err := os.WriteFile(bundle, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		var other mark
		for i := range n {
			other.tree.add(int64(i), 0, tlog.RecordHash(nil), nil)
		}
		other.n = int64(n)
		forged, err := signCheckpoint(l.signer, &other)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "checkpoint"), forged.Note, 0o600); err != nil {
			t.Fatal(err)
		}
		if fsckTiles(t, l, dir) == nil {
			t.Fatal("another root was not found")
		}
	}
}

// An export that fails leaves nothing behind.
func TestAnExportOfWhatIsNotThisLogLeavesNothing(t *testing.T) {
	l := filled(t, 300)
	other := openLog(t, written(t, 300, true))
	foreign := Checkpoint{Tree: l.Published().Tree, Note: other.Published().Note}
	larger := l.Published()
	larger.N++
	parent := t.TempDir()
	for name, c := range map[string]Checkpoint{"no checkpoint": {}, "another root": {Tree: tlog.Tree{N: 200}, Note: foreign.Note}, "too large": larger} {
		if err := l.ExportTiles(filepath.Join(parent, "tiles"), c, nil); err == nil {
			t.Errorf("%s: exported", name)
		}
	}
	f, err := os.OpenFile(filepath.Join(string(l.folder.(osFolder)), segmentName(0)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteAt([]byte("X"), 100)
	if err := l.ExportTiles(filepath.Join(parent, "tiles"), l.Published(), nil); !errors.Is(err, ErrTampered) {
		t.Errorf("a damaged log: %v", err)
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("%s was left behind", left[0].Name())
	}
}

// After a power cut a name may be there and what it names may not, unless that was flushed
// first: every file and folder is, as it is in the end, before the export gets its name;
// and then the folder in which it stands.
func TestAnExportIsFlushedBeforeItGetsItsName(t *testing.T) {
	l := filled(t, 300)
	parent := t.TempDir()
	dir := filepath.Join(parent, "tiles")
	var mu sync.Mutex
	flushed := map[string]string{} // path below the export -> what was in it
	named := false
	look := func(path string) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := os.Lstat(dir)
		if path == parent {
			named = err == nil
			return nil
		}
		if err == nil {
			t.Errorf("%s is flushed after it got its name", path)
		}
		_, below, _ := strings.Cut(path, ".partial-")
		_, below, _ = strings.Cut(below, string(filepath.Separator))
		flushed[below] = content(t, path)
		return nil
	}
	if err := l.exportTiles(dir, l.Published(), nil, flusher{look, look}); err != nil {
		t.Fatal(err)
	}
	if !named {
		t.Error("the name is not flushed")
	}
	files := 0
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if below == "." {
			below = ""
		}
		if got, there := flushed[below]; !there || got != content(t, path) {
			t.Errorf("%q is not flushed as it is: %v", below, there)
		}
		files++
		return nil
	}); err != nil || files < 8 {
		t.Errorf("%d files and folders: %v", files, err)
	}
	broken := errors.New("the disk is broken")
	fine := func(string) error { return nil }
	for name, f := range map[string]flusher{
		"files": {func(string) error { return broken }, fine}, "folders": {fine, func(string) error { return broken }},
		"its name": {fine, func(path string) error {
			if path == parent {
				return broken
			}
			return nil
		}},
	} {
		if err := l.exportTiles(filepath.Join(parent, name), l.Published(), nil, f); !errors.Is(err, broken) {
			t.Errorf("%s cannot be flushed: %v", name, err)
		}
		if _, err := os.Lstat(filepath.Join(parent, name)); err == nil {
			t.Errorf("%s cannot be flushed, and the export is there", name)
		}
	}
}

// content is what a file holds, or the names in a folder.
func content(t *testing.T, path string) string {
	t.Helper()
	names, err := os.ReadDir(path)
	if err == nil {
		return fmt.Sprint(names)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(raw)
}
