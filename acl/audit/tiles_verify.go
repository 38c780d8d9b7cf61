package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// KindTiles is the kind of the statement that makes a directory of tiles say whose
// log it is.
const KindTiles statement.Kind = "audit-tiles"

// AboutName is the file of that statement, beside the checkpoint. Other tools do not
// look at it.
const AboutName = "about"

// about is the body of that statement. It is signed by the log's key, so that every
// byte of the directory is under a signature or under the root.
type about struct {
	_          struct{} `cbor:",toarray"`
	Binding    []byte
	Network    [][]byte // committee records, as in a bundle
	Checkpoint []byte   // the signed note, cosignatures and all
}

// about makes the file of that name of a directory of tiles for one of its checkpoints.
func (l *Log) about(c Checkpoint, network [][]byte) ([]byte, error) {
	s, err := statement.Sign(KindTiles, about{Binding: l.raw, Network: network, Checkpoint: c.Note}, l.signer.key)
	if err != nil {
		return nil, err
	}
	return s.Bytes(), nil
}

// VerifyTiles verifies a directory that [Log.ExportTiles] wrote, as [VerifyBundle]
// verifies a bundle, and proves the same. Every file is compared with what the entries
// under the checkpoint give, and no other file may be there. It hands no disclosures on,
// since there are none.
func VerifyTiles(dir fs.FS, c Check) (*Bundle, error) {
	b, err := c.about(dir)
	if err != nil {
		return nil, err
	}
	known, err := c.known(b)
	if err != nil {
		return nil, err
	}
	expected := map[string]bool{AboutName: true, checkpointName: true}
	look := tileReader{dir: dir, size: b.Checkpoint.N, known: known, expected: expected}
	root, err := look.read(nil)
	if err != nil {
		return nil, err
	}
	if root != b.Checkpoint.Hash {
		return nil, tamperedFile(checkpointName, "the entries do not give the root that the log signed")
	}
	if err := nothingElse(dir, expected); err != nil {
		return nil, err
	}
	if c.Record == nil {
		return b, nil
	}
	// Once more, now that it is known what they are under.
	if again, err := look.read(c.Record); err != nil || again != root {
		return nil, errors.Join(err, changedMeanwhile(again == root))
	}
	return b, nil
}

func changedMeanwhile(same bool) error {
	if same {
		return nil
	}
	return tamperedFile("tile", "the entries changed while they were read")
}

// about reads whose log it is and who signed the checkpoint.
func (c Check) about(dir fs.FS) (*Bundle, error) {
	raw, err := readTile(dir, AboutName, maxBundleHead)
	if err != nil {
		return nil, err
	}
	s, err := statement.Parse(raw)
	var a about
	if err == nil {
		err = s.Peek(KindTiles, &a)
	}
	if err != nil {
		return nil, tamperedFile(AboutName, "it does not say whose log it is")
	}
	b, err := c.begin(bundleHead{Binding: a.Binding, Checkpoint: a.Checkpoint, Network: a.Network})
	if err != nil {
		return nil, err
	}
	if err := s.Verify(KindTiles, []statement.PublicKey{b.Binding.Log}, 1); err != nil {
		return nil, tamperedFile(AboutName, "the log's key did not sign it")
	}
	shown, err := readTile(dir, checkpointName, maxCheckpoint)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(shown, a.Checkpoint) {
		return nil, tamperedFile(checkpointName, "it is another than the one that was exported")
	}
	return b, nil
}

// readTile reads a file of a directory of tiles. What is no file is not opened: opening
// a pipe waits for somebody to write into it.
func readTile(dir fs.FS, name string, most int64) ([]byte, error) {
	if err := isFile(dir, name); err != nil {
		return nil, err
	}
	f, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tamperedFile(name, "it is missing")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = tamperedFile(name, "it is longer than it may be")
	}
	return raw, err
}

// isFile refuses what is no file where one must be, and a folder above it that is none.
// A link to a file will do: what it leads to is verified.
func isFile(dir fs.FS, name string) error {
	for above := path.Dir(name); above != "."; above = path.Dir(above) {
		if info, err := fs.Stat(dir, above); err == nil && !info.IsDir() {
			return tamperedFile(above, "it is no folder")
		}
	}
	info, err := fs.Stat(dir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return tamperedFile(name, "it is missing")
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return tamperedFile(name, "it is no file")
	}
	return nil
}

// nothingElse refuses files that nothing vouches for, and folders without any that
// something does.
func nothingElse(dir fs.FS, expected map[string]bool) error {
	folders := map[string]bool{".": true}
	for name := range expected {
		for above := path.Dir(name); !folders[above]; above = path.Dir(above) {
			folders[above] = true
		}
	}
	return fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && folders[name] || !d.IsDir() && expected[name] {
			return err
		}
		return tamperedFile(name, "it does not belong to the log: take it out of the folder")
	})
}

// tileReader reads the entries of a directory and compares every tile with them.
type tileReader struct {
	dir      fs.FS
	size     int64
	known    []Checkpoint
	expected map[string]bool // takes the paths of the tiles
}

const maxEntryBundle = torchwood.TileWidth * (maxRecord + 2)

// read gives the root of the entries, each handed to fn.
func (t *tileReader) read(fn func(int64, []byte) error) (tlog.Hash, error) {
	var at mark
	var hashes []tlog.Hash
	w := tiler{put: t.compare}
	for at.n < t.size {
		width := int(min(t.size-at.n, torchwood.TileWidth))
		path := torchwood.TilePath(tlog.Tile{H: torchwood.TileHeight, L: -1, N: at.n / torchwood.TileWidth, W: width})
		rest, err := readTile(t.dir, path, maxEntryBundle)
		if err != nil {
			return tlog.Hash{}, located(err, at.n)
		}
		for range width {
			if err := t.live(&at); err != nil {
				return tlog.Hash{}, err
			}
			var leaf []byte
			if leaf, rest, err = torchwood.ReadTileEntry(rest); err != nil {
				return tlog.Hash{}, &TamperError{Index: at.n, File: path, Offset: -1, What: "it ends in the middle of the record"}
			}
			hashes = at.tree.add(at.n, 0, tlog.RecordHash(leaf), hashes[:0])
			if err := w.add(record{leaf: leaf, hashes: hashes}); err != nil {
				return tlog.Hash{}, err
			}
			if fn != nil {
				if err := fn(at.n, leaf); err != nil {
					return tlog.Hash{}, err
				}
			}
			at.n++
		}
	}
	if err := t.live(&at); err != nil {
		return tlog.Hash{}, err
	}
	return at.root(), w.rest()
}

// live holds the checkpoints that others kept.
func (t *tileReader) live(at *mark) error {
	for _, k := range t.known {
		if k.N == at.n && k.Hash != at.root() {
			return tamperedFile(checkpointName, fmt.Sprintf("the first %d records are not those that others know", at.n))
		}
	}
	return nil
}

// compare holds a tile in the directory to what it must be.
func (t *tileReader) compare(path string, want []byte) error {
	t.expected[path] = true
	got, err := readTile(t.dir, path, maxEntryBundle)
	if err == nil && !bytes.Equal(got, want) {
		err = tamperedFile(path, "it is not what the entries give")
	}
	return err
}

// located says which record is missing with a file.
func located(err error, index int64) error {
	var t *TamperError
	if errors.As(err, &t) {
		t.Index = index
	}
	return err
}
