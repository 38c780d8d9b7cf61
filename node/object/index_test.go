package object

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
)

func file(path string) Entry {
	return Entry{Path: path, Mode: 0o644, Modified: 1, Size: 3, Address: []byte{1, 0x71}}
}

func folderEntry(path string) Entry { return Entry{Path: path, Folder: true, Mode: 0o755} }

// page encodes entries without the checks of WriteTree.
func page(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	raw, err := statement.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)
}

func many(n int) (out []Entry) {
	for i := range n {
		out = append(out, file(fmt.Sprintf("f%05d", i)))
	}
	return out
}

func TestTreeRoundTrip(t *testing.T) {
	for _, entries := range [][]Entry{
		nil, {file("a")}, {folderEntry("a"), file("a/b"), folderEntry("é"), file("é/ \n ü")},
		many(pageEntries - 1), many(pageEntries), many(pageEntries + 1), many(3 * pageEntries),
	} {
		var b bytes.Buffer
		if err := WriteTree(&b, entries); err != nil {
			t.Fatal(err)
		}
		got, err := ReadTree(&b)
		if err != nil || len(got) != len(entries) {
			t.Fatalf("%d entries, %v; want %d", len(got), err, len(entries))
		}
		for i, e := range got {
			if fmt.Sprint(e) != fmt.Sprint(entries[i]) {
				t.Fatalf("%v became %v", entries[i], e)
			}
		}
	}
}

// Whoever made the object may have written its index by hand.
func TestHostileTrees(t *testing.T) {
	setuid, sized, bare := file("a"), folderEntry("a"), file("a")
	setuid.Mode, sized.Size, bare.Address = 0o4755, 1, nil
	addressed := folderEntry("a")
	addressed.Address = []byte{1}
	hostile := map[string][]Entry{
		"parent":              {file("..")},
		"below the parent":    {file("../a")},
		"parent inside":       {file("a/../../b")},
		"clean parent inside": {file("a/../b")},
		"absolute":            {file("/etc/passwd")},
		"dot":                 {file(".")},
		"empty":               {file("")},
		"trailing slash":      {file("a/")},
		"double slash":        {file("a//b")},
		"NUL":                 {file("a\x00b")},
		"backslash":           {file(`..\a`)},
		"not UTF-8":           {file("a\xff")},
		"twice":               {file("a"), file("a")},
		"file and folder":     {folderEntry("a"), file("a")},
		"out of order":        {file("b"), file("a")},
		"setuid":              {setuid},
		"file without object": {bare},
		"folder with object":  {addressed},
		"folder with size":    {sized},
		"long name":           {file(strings.Repeat("x", maxPart+1))},
		"long path":           {file(strings.Repeat("x/", maxPath/2) + "x")},
	}
	for name, entries := range hostile {
		if _, err := ReadTree(bytes.NewReader(page(t, entries...))); !errors.Is(err, ErrTree) {
			t.Errorf("%s: read gives %v", name, err)
		}
		if err := WriteTree(io.Discard, entries); !errors.Is(err, ErrTree) {
			t.Errorf("%s: write gives %v", name, err)
		}
	}
	for _, harmless := range []string{"...", "..a", "a..", "-rf", "~", "a:b", strings.Repeat("x", maxPart)} { // the checks do not refuse everything
		if _, err := ReadTree(bytes.NewReader(page(t, file(harmless)))); err != nil {
			t.Errorf("%q: %v", harmless, err)
		}
	}
}

func TestDamagedPages(t *testing.T) {
	good := append(page(t, many(pageEntries)...), page(t, file("z"))...)
	if _, err := ReadTree(bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	boundary := len(page(t, many(pageEntries)...))
	for i := 1; i < len(good); i += 1 + i%97 {
		if i == boundary {
			continue // an index of one page
		}
		if _, err := ReadTree(bytes.NewReader(good[:i])); !errors.Is(err, ErrTree) {
			t.Fatalf("cut to %d of %d bytes: %v", i, len(good), err)
		}
	}
	for name, raw := range map[string][]byte{
		"huge page":               {0xff, 0xff, 0xff, 0xff, 0},
		"a little too large":      binary.BigEndian.AppendUint32(nil, maxPage+1),
		"claims more than it has": binary.BigEndian.AppendUint32(nil, maxPage),
		"no entries":              page(t),
		"empty page":              {0, 0, 0, 0},
		"too many entries":        page(t, many(pageEntries+1)...),
		"short page in between":   append(page(t, file("a")), page(t, file("b"))...),
		"order across pages":      append(page(t, many(pageEntries)...), page(t, file("a"))...),
		"no array":                {0, 0, 0, 1, 0xa0},
		"followed by something":   append(page(t, file("a")), 0),
	} {
		if _, err := ReadTree(bytes.NewReader(raw)); !errors.Is(err, ErrTree) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("network")
	if _, err := ReadTree(io.MultiReader(bytes.NewReader(good[:10]), errReader{broken})); !errors.Is(err, broken) || errors.Is(err, ErrTree) {
		t.Errorf("a reader that fails gives %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func FuzzReadTree(f *testing.F) {
	f.Add([]byte{})
	f.Add(page(f, file("a")))
	f.Add(page(f, folderEntry("a"), file("a/b")))
	f.Add(page(f, file("../a")))
	f.Add(append(page(f, many(pageEntries)...), page(f, file("z"))...))
	f.Add([]byte{0, 0x40, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := ReadTree(bytes.NewReader(raw))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := WriteTree(&again, entries); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if !bytes.Equal(again.Bytes(), raw) {
			t.Fatalf("%x became %x", raw, again.Bytes())
		}
	})
}
