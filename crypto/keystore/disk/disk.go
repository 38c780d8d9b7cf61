// Package disk holds the few file operations on which "it is saved" rests: an
// exclusive lock, a flush that reaches the medium, and a replacement that is
// either the old file or the new one after a power cut, never a mixture.
//
// # What is durable when
//
//   - [Replace] returns nil only after the new content, its name and the folder
//     that holds the name were flushed.
//   - [Open] flushes the folder when it creates the file, so that an empty file
//     does not vanish either.
//   - [SyncFile] and [SyncFolder] flush what was written by other ways, such as the files
//     of a tree before it gets its name.
//   - [File.Sync] flushes the data and whatever metadata is needed to read it
//     back (fdatasync where the system has it).
//
// An error of any of them means: unknown. The caller must not try again on the
// same file, because an operating system may drop the pages that it failed to
// write and report success the next time. It stops writing until it has opened
// and read the file again.
//
// # Locks
//
// A lock belongs to an open file, not to a process: a second [Open] of the same
// path fails with [ErrLocked] in the same process too. It ends with the file or
// with the process. Network file systems that emulate such locks by process
// weaken the first half of that promise; a home does not belong there.
//
// # Example
//
//	f, err := disk.Open(path)      // locked, mode 0600
//	if errors.Is(err, disk.ErrLocked) { ... another node uses it ... }
//	_, err = f.WriteAt(record, end)
//	err = f.Sync()                 // now it may be acknowledged
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Errors that callers branch on.
var (
	// ErrLocked reports a file that another holder has open.
	ErrLocked = errors.New("file is in use by another process")
	// ErrModes reports a file or folder that others on this machine may open.
	ErrModes = errors.New("others on this machine may open it")
)

// File is an open file under an exclusive lock.
type File struct{ f *os.File }

// Open opens a private file for reading and writing, creates it empty where it
// is missing, and locks it. It fails with [ErrLocked] when somebody else holds
// it, with [ErrModes] when it is open to others, and on anything that is not a
// regular file.
func Open(path string) (*File, error) {
	_, err := os.Lstat(path)
	created := errors.Is(err, fs.ErrNotExist)
	if err != nil && !created {
		return nil, err
	}
	if !created {
		if err := Regular(path); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if created {
		if err := SyncFolder(filepath.Dir(path)); err != nil {
			f.Close()
			return nil, err
		}
	}
	return &File{f}, nil
}

// ReadAt is [os.File.ReadAt].
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// WriteAt is [os.File.WriteAt]; nothing is durable before Sync.
func (f *File) WriteAt(p []byte, off int64) (int, error) { return f.f.WriteAt(p, off) }

// Truncate sets the size; it is not durable before Sync.
func (f *File) Truncate(size int64) error { return f.f.Truncate(size) }

// Sync makes everything written so far durable.
func (f *File) Sync() error { return datasync(f.f) }

// Size is the size in bytes.
func (f *File) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close releases the lock and the file. It flushes nothing.
func (f *File) Close() error { return f.f.Close() }

// Replace gives path the content data, mode 0600, durably on return. The
// temporary file has a fixed name beside path, so that a crash leaves at most
// one behind and the next Replace takes it over; callers serialise.
func Replace(path string, data []byte) error {
	return ReplaceWith(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// ReplaceWith is [Replace] with what fill writes.
func ReplaceWith(path string, fill func(io.Writer) error) error {
	temp := path + ".tmp"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(temp, fill); err != nil {
		os.Remove(temp)
		return err
	}
	if err := rename(temp, path); err != nil {
		os.Remove(temp)
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// writeNew writes and flushes a file that must not exist yet.
func writeNew(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := fill(f); err != nil {
		f.Close()
		return err
	}
	// A full sync, not datasync: the name of the file is about to become the
	// only way to its content.
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// SyncFile makes the content of a file durable that was written and closed before.
func SyncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Regular refuses anything but a regular file that only its owner may open:
// symbolic links, which may lead out of the home, pipes, which may hang the
// reader, and loose modes.
func Regular(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	return private(path, info, "600")
}

// Folder refuses anything but a folder that only its owner may enter.
func Folder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", path)
	}
	return private(path, info, "700")
}
