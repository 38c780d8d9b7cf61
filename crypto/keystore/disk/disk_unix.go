//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes a BSD lock, which belongs to the open file description; POSIX
// record locks belong to the process and vanish with any close of the file.
func lock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		default:
			return fmt.Errorf("locking: %w", err)
		}
	}
}

// SyncFolder makes names created, renamed or removed in a folder durable.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func rename(from, to string) error { return os.Rename(from, to) }

func private(path string, info fs.FileInfo, want string) error {
	if loose := info.Mode().Perm() & 0o077; loose != 0 {
		return fmt.Errorf("%s has mode %04o, so %w: run chmod %s %s", path, info.Mode().Perm(), ErrModes, want, path)
	}
	return nil
}
