//go:build !linux

package daemon

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cerebrum.dev/cerebrum/node/object"
)

// copyFile copies content to a file.
func copyFile(f *os.File, content io.Reader, progress *object.Progress) (int64, error) {
	return io.CopyBuffer(progress.CountWriter(f), content, make([]byte, copyBuffer))
}

// syncTree makes a restored folder durable, file by file.
func syncTree(path string) error {
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		err = f.Sync()
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		return err
	})
}
