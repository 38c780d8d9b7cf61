package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// exported is a directory of tiles that holds, and its files.
func exported(t *testing.T) (dir string, files []string) {
	t.Helper()
	l := filled(t, 300)
	dir = filepath.Join(t.TempDir(), "tiles")
	if err := l.ExportTiles(dir, l.Published(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyTiles(os.DirFS(dir), Check{}); err != nil {
		t.Fatal(err)
	}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir, files
}

// shows holds an error to be that of a file that was tampered with, or of one above it.
func shows(t *testing.T, what string, err error, name string) {
	t.Helper()
	var tampered *TamperError
	if !errors.As(err, &tampered) || tampered.File != name {
		t.Errorf("%s, at %s: %v", what, name, err)
	}
}

// A folder where a file was is a forgery, and no disk that fails; so is a file in the
// place of a folder.
func TestAFolderInThePlaceOfATileIsFound(t *testing.T) {
	dir, files := exported(t)
	for _, name := range append(files, "tile", "tile/entries") {
		at := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(at, at+".aside"); err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			err = os.WriteFile(at, nil, 0o600)
		} else {
			err = os.Mkdir(at, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = VerifyTiles(os.DirFS(dir), Check{})
		shows(t, "exchanged", err, name)
		if err := errors.Join(os.Remove(at), os.Rename(at+".aside", at)); err != nil {
			t.Fatal(err)
		}
	}
}

// piped is a folder in which one file is a pipe, which nobody writes into: who opens it
// waits for ever.
type piped struct {
	fs.FS
	t    *testing.T
	name string
}

func (p piped) Open(name string) (fs.File, error) {
	if name == p.name {
		p.t.Errorf("%s is opened, and is a pipe", name)
		return nil, fs.ErrClosed
	}
	return p.FS.Open(name)
}

func (p piped) Stat(name string) (fs.FileInfo, error) {
	if name == p.name {
		return pipeInfo(name), nil
	}
	return fs.Stat(p.FS, name)
}

type pipeInfo string

func (p pipeInfo) Name() string     { return string(p) }
func (pipeInfo) Size() int64        { return 0 }
func (pipeInfo) Mode() fs.FileMode  { return fs.ModeNamedPipe | 0o600 }
func (pipeInfo) ModTime() time.Time { return time.Time{} }
func (pipeInfo) IsDir() bool        { return false }
func (pipeInfo) Sys() any           { return nil }

func TestAPipeInThePlaceOfATileIsNotOpened(t *testing.T) {
	dir, files := exported(t)
	for _, name := range append(files, "tile") {
		_, err := VerifyTiles(piped{os.DirFS(dir), t, name}, Check{})
		shows(t, "a pipe", err, name)
	}
}

// An empty folder says nothing, and a name can be a message all the same.
func TestAnEmptyFolderMoreIsFound(t *testing.T) {
	dir, _ := exported(t)
	for _, name := range []string{"empty", "tile/9", "tile/entries/x001"} {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := VerifyTiles(os.DirFS(dir), Check{})
		shows(t, "a folder more", err, name)
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
	}
}

// Who keeps evidence in a store of its own may have links in its place: what they lead
// to is what is verified.
func TestALinkToATileHoldsAsTheTileDoes(t *testing.T) {
	dir, files := exported(t)
	aside := filepath.Join(t.TempDir(), "aside")
	for _, name := range files {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.Rename(at, aside); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(aside, at); err != nil {
			t.Skip(err)
		}
		if _, err := VerifyTiles(os.DirFS(dir), Check{}); err != nil {
			t.Errorf("a link to %s: %v", name, err)
		}
		if err := os.Rename(aside, at); err != nil {
			t.Fatal(err)
		}
	}
}
