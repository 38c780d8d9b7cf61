package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// freezer is the file system as pebble sees it.
//
// Pebble treats an error on its log or its list of files as the end of the
// process: it calls Logger.Fatalf, which exits by default and otherwise goes on
// with locks held, or it panics. A daemon that a full disk kills cannot serve,
// tell, or shut down in order. So pebble never hears of such an error. The first
// one trips the breaker, and from then on the disk is frozen: nothing that pebble
// does changes a byte of it.
//
//   - Logs, lists of files and markers: writes and syncs report success and do
//     nothing. The caller of the store still gets ErrReadOnly, because every write
//     checks the breaker after pebble says that it is done.
//   - New files are made in memory, so that a flush can finish and no writer waits
//     for one. They are few: no write enters once the breaker has tripped.
//   - Tables half written to the disk when it failed report the error; pebble
//     tries again and gets a new file, in memory.
//   - Compactions fail, for they would write much. Pebble repeats a failing one
//     without a pause, so each is made to wait a little first; it cannot wait for
//     Close, since pebble waits for compactions while it opens.
//   - Files that pebble deletes stay.
//
// On disk this is a crash at the moment of the failure, which pebble is built to
// recover from when the store is opened again. What remains beyond our reach are
// pebble's own assertions, which still panic: then its memory cannot be trusted.
type freezer struct {
	vfs.FS // the disk
	broken *breaker
	memory *vfs.MemFS    // files made after the failure
	ended  chan struct{} // closed by release
	once   sync.Once
}

func newFreezer(disk vfs.FS, b *breaker) *freezer {
	return &freezer{FS: disk, broken: b, memory: vfs.NewMem(), ended: make(chan struct{})}
}

// release ends the pauses of compactions, because the store closes.
func (f *freezer) release() { f.once.Do(func() { close(f.ended) }) }

// Unwrap is part of vfs.FS: there is no plain disk beneath that pebble may use.
func (f *freezer) Unwrap() vfs.FS { return nil }

var errFrozen = errors.New("the disk failed before")

// retryPause bounds how often pebble repeats a compaction on a frozen disk.
const retryPause = 100 * time.Millisecond

// make runs a call that makes a file, on the disk or in memory.
func (f *freezer) make(op, name string, category vfs.DiskWriteCategory, onDisk func() (vfs.File, error)) (vfs.File, error) {
	if !f.broken.tripped() {
		file, err := onDisk()
		if err == nil {
			return &frozenFile{File: file, disk: f, name: filepath.Base(name)}, nil
		}
		f.broken.trip(op+" "+filepath.Base(name), err)
	}
	if strings.Contains(string(category), "compaction") || strings.Contains(string(category), "rewrite") {
		select {
		case <-time.After(retryPause):
		case <-f.ended:
		}
		return nil, errFrozen
	}
	if err := f.memory.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	return f.memory.Create(name, category)
}

// Create implements vfs.FS.
func (f *freezer) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.make("create", name, category, func() (vfs.File, error) { return f.FS.Create(name, category) })
}

// ReuseForWrite implements vfs.FS.
func (f *freezer) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.make("reuse", newname, category, func() (vfs.File, error) {
		return f.FS.ReuseForWrite(oldname, newname, category)
	})
}

// OpenReadWrite implements vfs.FS.
func (f *freezer) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.make("open", name, category, func() (vfs.File, error) {
		return f.FS.OpenReadWrite(name, category, opts...)
	})
}

// Open implements vfs.FS.
func (f *freezer) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if f.broken.tripped() {
		if file, err := f.memory.Open(name, opts...); err == nil {
			return file, nil
		}
	}
	return f.FS.Open(name, opts...)
}

// OpenDir implements vfs.FS.
func (f *freezer) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &frozenFile{File: file, disk: f, name: filepath.Base(name)}, nil
}

// Stat implements vfs.FS.
func (f *freezer) Stat(name string) (vfs.FileInfo, error) {
	if f.broken.tripped() {
		if info, err := f.memory.Stat(name); err == nil {
			return info, nil
		}
	}
	return f.FS.Stat(name)
}

// change runs a call that changes names. Frozen, it touches memory at most.
func (f *freezer) change(op, name string, onDisk, inMemory func() error) error {
	if !f.broken.tripped() {
		err := onDisk()
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			return err
		}
		f.broken.trip(op+" "+filepath.Base(name), err)
	}
	if err := inMemory(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Remove implements vfs.FS.
func (f *freezer) Remove(name string) error {
	return f.change("remove", name, func() error { return f.FS.Remove(name) }, func() error { return f.memory.Remove(name) })
}

// RemoveAll implements vfs.FS.
func (f *freezer) RemoveAll(name string) error {
	return f.change("remove", name, func() error { return f.FS.RemoveAll(name) }, func() error { return f.memory.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (f *freezer) Rename(from, to string) error {
	return f.change("rename", to, func() error { return f.FS.Rename(from, to) }, func() error { return f.memory.Rename(from, to) })
}

// Link implements vfs.FS.
func (f *freezer) Link(from, to string) error {
	return f.change("link", to, func() error { return f.FS.Link(from, to) }, func() error { return f.memory.Link(from, to) })
}

// MkdirAll implements vfs.FS.
func (f *freezer) MkdirAll(dir string, perm os.FileMode) error {
	return f.change("make folder", dir, func() error { return f.FS.MkdirAll(dir, perm) }, func() error { return f.memory.MkdirAll(dir, perm) })
}

// Lock implements vfs.FS; it is pebble's own lock, beside the [Lock] of a home.
func (f *freezer) Lock(name string) (io.Closer, error) { return f.FS.Lock(name) }

// frozenFile is a file or folder on the disk.
type frozenFile struct {
	vfs.File
	disk *freezer
	name string
}

// write runs a call that should reach the disk. The caller that learns of an
// error is a table; all others are told that it went well.
func (f *frozenFile) write(op string, onDisk func() error) error {
	if !f.disk.broken.tripped() {
		err := onDisk()
		if err == nil {
			return nil
		}
		f.disk.broken.trip(op+" "+f.name, err)
	}
	if ext := filepath.Ext(f.name); ext == ".sst" || ext == ".blob" {
		return f.disk.broken.check()
	}
	return nil
}

// Write implements vfs.File.
func (f *frozenFile) Write(p []byte) (int, error) {
	err := f.write("write", func() error { _, err := f.File.Write(p); return err })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteAt implements vfs.File.
func (f *frozenFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.write("write", func() error { _, err := f.File.WriteAt(p, off); return err })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Sync implements vfs.File.
func (f *frozenFile) Sync() error { return f.write("sync", f.File.Sync) }

// SyncData implements vfs.File.
func (f *frozenFile) SyncData() error { return f.write("sync", f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *frozenFile) SyncTo(length int64) (full bool, err error) {
	err = f.write("sync", func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}

// Preallocate implements vfs.File. It is an optimisation that some file systems
// lack; on a full disk the write that follows says so.
func (f *frozenFile) Preallocate(offset, length int64) error {
	if !f.disk.broken.tripped() {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

// Close implements vfs.File. Some file systems report a failed write only here.
func (f *frozenFile) Close() error {
	err := f.File.Close()
	return f.write("close", func() error { return err })
}
