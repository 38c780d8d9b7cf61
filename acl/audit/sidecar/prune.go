package sidecar

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

// Prune removes the items of leaves before from out of the file at path, which nobody
// has open: the log no longer has those leaves. It replaces the file as a whole, and
// only where there is something to remove. Records that are damaged go with them.
func Prune(path string, from int64) error {
	if from == 0 {
		return nil
	}
	if err := disk.Regular(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	f := &File{disk: reading{in}}
	if _, err := f.load(info.Size(), 1<<62); err != nil {
		return err
	}
	if len(f.marks) == 0 || f.marks[0].index >= from { // the first record has a mark
		return nil
	}
	return disk.ReplaceWith(path, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<18)
		var buf []byte
		err := f.Scan(from, func(i int64, item []byte) (bool, error) {
			buf = appendRecord(buf[:0], i, i, item)
			_, err := out.Write(buf)
			return err == nil, err
		})
		if err != nil {
			return err
		}
		return out.Flush()
	})
}

// reading is a store that is only read.
type reading struct{ *os.File }

// Size is the size in bytes.
func (r reading) Size() (int64, error) {
	info, err := r.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
