package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

// Names inside a log's folder.
const (
	segmentPrefix  = "entries-" // and the index of its first record, 16 hexadecimal digits
	hashesName     = "hashes"
	checkpointName = "checkpoint"
	cosignedName   = "cosigned"
	bindingName    = "binding"
	lockName       = "lock"
	oldName        = "entries" // of logs before they were Merkle trees
)

// ErrOldFormat reports a folder with a log of a version before this one.
var ErrOldFormat = errors.New("the folder holds an audit log of an earlier format, which this version does not read")

// file is an open file of the log. What was written is durable only once Sync
// returned nil; after an error of WriteAt, Truncate or Sync nothing is known.
type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
	Close() error
}

// folder is the disk that the log needs.
type folder interface {
	// open opens a file for reading and writing. One that it creates is still
	// there, empty, after a power cut.
	open(name string) (file, error)
	// view opens a file for reading; fs.ErrNotExist where there is none.
	view(name string) (file, error)
	// replace gives a file new content, durably, or leaves the old one.
	replace(name string, content []byte) error
	// remove removes a file for good; fs.ErrNotExist where there is none.
	remove(name string) error
	names() ([]string, error)
}

// osFolder is a folder of the operating system.
type osFolder string

func (d osFolder) path(name string) string { return filepath.Join(string(d), name) }

func (d osFolder) open(name string) (file, error) {
	f, err := disk.Open(d.path(name))
	if err != nil {
		return nil, err // and no pointer in the interface
	}
	return f, nil
}

func (d osFolder) view(name string) (file, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, err
	}
	return viewed{f}, nil
}

func (d osFolder) replace(name string, content []byte) error {
	return disk.Replace(d.path(name), content)
}

func (d osFolder) remove(name string) error {
	if err := os.Remove(d.path(name)); err != nil {
		return err
	}
	return disk.SyncFolder(string(d))
}

func (d osFolder) names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// viewed is a file that is only read.
type viewed struct{ *os.File }

// Size is the size in bytes.
func (f viewed) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func segmentName(first int64) string { return fmt.Sprintf("%s%016x", segmentPrefix, first) }

// segments lists the segments of a log by the index of their first record, in
// order. A name that is nearly one is refused: what it holds would be ignored.
func segments(d folder) ([]int64, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	var out []int64
	for _, name := range names {
		if name == oldName {
			return nil, ErrOldFormat
		}
		digits, ok := strings.CutPrefix(name, segmentPrefix)
		if !ok {
			continue
		}
		first, err := strconv.ParseInt(digits, 16, 64)
		if err != nil || segmentName(first) != name {
			return nil, fmt.Errorf("%s is no segment of a log: move it away", name)
		}
		out = append(out, first)
	}
	slices.Sort(out)
	return out, nil
}

// read gives a small file, nil where there is none.
func read(d folder, name string, most int64) ([]byte, error) {
	f, err := d.view(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, fmt.Errorf("%s has %d bytes, at most %d", name, size, most)
	}
	out := make([]byte, size)
	if n, err := f.ReadAt(out, 0); int64(n) < size {
		return nil, err
	}
	return out, nil
}

// held are the open logs of this process, by the real path of their folders. The lock on the
// file is enough on most systems; where it is emulated and belongs to the process
// (some network file systems), a second log here would pass it.
var held = struct {
	sync.Mutex
	paths map[string]bool
}{paths: map[string]bool{}}

// hold takes a folder for one log, until release: from this process and from
// others. It fails with [ErrLocked].
func hold(dir string) (release func() error, err error) {
	path, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	held.Lock()
	defer held.Unlock()
	if held.paths[path] {
		return nil, ErrLocked
	}
	lock, err := disk.Open(filepath.Join(path, lockName))
	if err != nil {
		return nil, err
	}
	held.paths[path] = true
	return sync.OnceValue(func() error {
		held.Lock()
		defer held.Unlock()
		delete(held.paths, path)
		return lock.Close()
	}), nil
}
