package tabular

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

// ErrExists means that there is a file under the name already.
var ErrExists = errors.New("the file is there already")

// Output is a file on its way. Nothing is under its name before [Output.Commit]. The
// folder's other files are not touched, and a file that is there is replaced only if
// that was asked for.
type Output struct {
	*os.File
	path    string
	replace bool
	done    bool
}

// Create begins a file beside path, readable by its owner alone until it is committed.
func Create(path string, replace bool) (*Output, error) {
	old, err := os.Lstat(path)
	switch {
	case err == nil && !replace:
		return nil, fmt.Errorf("%s: %w", path, ErrExists)
	case err == nil && !old.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file, and only files are replaced", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".part-*")
	if err != nil {
		return nil, err
	}
	return &Output{File: f, path: path, replace: replace}, nil
}

// Flush makes the content durable, which is where a full disk shows at the latest.
func (o *Output) Flush() error { return o.Sync() }

// Commit puts the flushed file under its name, durably. Who commits several files
// flushes all of them first.
func (o *Output) Commit() error {
	if err := o.Close(); err != nil {
		return err
	}
	if !o.replace {
		// a link, so that what somebody else made meanwhile is not replaced; the rename is
		// for file systems without links
		if err := os.Link(o.Name(), o.path); err == nil {
			o.done = true
			return errors.Join(os.Remove(o.Name()), disk.SyncFolder(filepath.Dir(o.path)))
		} else if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", o.path, ErrExists)
		}
	}
	if err := os.Rename(o.Name(), o.path); err != nil {
		return err
	}
	o.done = true
	return disk.SyncFolder(filepath.Dir(o.path))
}

// Discard removes what was written, unless it was committed.
func (o *Output) Discard() {
	if o.done {
		return
	}
	o.Close()           // already closed by a Commit that failed, or not
	os.Remove(o.Name()) // of no use to anybody
}

// Undo removes a committed file that was new, when another one that belongs to it
// cannot be committed.
func (o *Output) Undo() {
	if o.done && !o.replace {
		os.Remove(o.path)
	}
}
