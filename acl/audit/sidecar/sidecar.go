// Package sidecar is a file beside a log, with one item for each of the log's
// leaves: what belongs to the leaf but must not be in the tree, because it may have
// to be forgotten. It keeps opaque bytes; whoever wrote them has sealed them.
//
// # The file
//
// Records, appended (integers big endian):
//
//	 0  length  uint32, of the item
//	 4  index   uint64, of the leaf
//	12  first   uint64, the index of the first record of the same write
//	20  check   uint32, CRC-32C of bytes 0 to 20
//	24  body    uint32, CRC-32C of the item
//	28  item
//
// Indexes rise. They may skip: what damage or a crash took is missing, and
// [File.Lost] says so. There is no chain of hashes here, since the leaf commits to
// what is beside it.
//
// # With the log
//
// The log's writer calls [File.Append] with the leaves' items before it tells
// anybody that the leaves are durable, and [File.Sync] while it flushes its own
// file. A crash may leave one of the two files ahead of the other, only by leaves
// that nobody was told of. [Open], which is told how many leaves there are, cuts
// items without a leaf. A leaf without its item was never acknowledged, or its item
// was damaged; it is reported, and the log is as good a proof as before.
package sidecar

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

// MaxItem is the longest item, in bytes.
const MaxItem = 1 << 16

var (
	// ErrLost reports a leaf without an item: damaged, or not durable in a crash.
	ErrLost = errors.New("what belongs to this entry is lost")
	// ErrFailed reports a file that refuses to write because a write or flush
	// failed, until it is opened again.
	ErrFailed = errors.New("the file beside the audit log failed and writes nothing until it is opened again")
)

// store is the disk that a file needs; what was written is durable only once Sync
// returned nil.
type store interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
	Close() error
}

// Range are the leaves from From to before To.
type Range struct{ From, To int64 }

// File is the open file. One at a time writes, any number read.
type File struct {
	disk   store
	failed error // owned by the writer

	mu     sync.RWMutex // guards what follows
	end    int64        // bytes
	next   int64        // the lowest index that may come
	marks  []mark       // in their order
	since  int          // records since the last mark
	lost   []Range      // the first of them
	missed int64        // how many leaves have none, in all
}

// mark is where a record begins. Between two there are at most stride records.
type mark struct{ index, offset int64 }

const (
	stride  = 128
	maxLost = 256 // ranges that are listed
)

// Open opens the file at path, or creates it, for a log that has the leaves from one
// index to before n, and locks it. Items of leaves from n on are cut: they were never
// acknowledged. Damage does not keep it from opening; see [File.Lost].
func Open(path string, from, n int64) (*File, error) {
	d, err := disk.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := open(d, from, n)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func open(d store, from, n int64) (*File, error) {
	f := &File{disk: d, next: from}
	size, err := d.Size()
	if err != nil {
		return nil, err
	}
	last, err := f.load(size, n)
	if err != nil {
		return nil, err
	}
	f.miss(n)
	if f.end < size {
		if err := d.Truncate(f.end); err != nil {
			return nil, err
		}
	}
	// The process before may have ended because the flush of the last write failed.
	if err := disk.Rewrite(d, last, f.end); err != nil {
		return nil, err
	}
	return f, d.Sync()
}

// load reads the records of n leaves and gives where the last write began.
func (f *File) load(size, n int64) (last int64, err error) {
	s := newScanner(f.disk, 0, size)
	write := int64(-1)
	for {
		at := s.at
		h, _, err := s.next()
		var bad errBad
		switch {
		case errors.Is(err, io.EOF):
			return last, nil
		case errors.As(err, &bad) && h.whole: // the item is damaged, what follows is not
			continue
		case errors.As(err, &bad):
			next, found, err := findRecord(f.disk, at+1, size, f.next)
			if err != nil || !found {
				return last, err
			}
			s, f.since = newScanner(f.disk, next, size), stride // so that the next record gets a mark
			continue
		case err != nil:
			return last, err
		}
		if h.index >= n {
			return last, nil
		}
		if h.index < f.next {
			continue // an old sector came back: the index counts once
		}
		if h.first != write {
			write, last = h.first, at
		}
		f.took(h, at)
	}
}

// took counts a record that begins at an offset.
func (f *File) took(h head, at int64) {
	f.miss(h.index)
	if f.since%stride == 0 {
		f.marks, f.since = append(f.marks, mark{h.index, at}), 0
	}
	f.since++
	f.next, f.end = h.index+1, at+headSize+int64(h.length)
}

// miss notes that the leaves up to before i have no item, and goes on with i.
func (f *File) miss(i int64) {
	if f.next >= i {
		return
	}
	if len(f.lost) < maxLost {
		f.lost = append(f.lost, Range{f.next, i})
	}
	f.missed += i - f.next
	f.next = i
	f.since = 0 // a mark behind every gap
}

// Append writes the items of leaves first, first+1, ... It is durable after
// [File.Sync]. The caller appends for every leaf, an empty item where there is
// nothing to keep.
func (f *File) Append(first int64, items [][]byte) error {
	if f.failed != nil {
		return f.failed
	}
	if first < f.next {
		return fmt.Errorf("there is an item for entry %d already", first)
	}
	for _, item := range items {
		if len(item) > MaxItem {
			return fmt.Errorf("an item of %d bytes, at most %d", len(item), MaxItem)
		}
	}
	var buf []byte
	for i, item := range items {
		buf = appendRecord(buf, first+int64(i), first, item)
	}
	f.mu.RLock()
	at := f.end
	f.mu.RUnlock()
	if _, err := f.disk.WriteAt(buf, at); err != nil {
		f.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		return f.failed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, item := range items {
		f.took(head{length: len(item), index: first + int64(i), first: first}, at)
		at = f.end
	}
	return nil
}

// Sync makes what was appended durable.
func (f *File) Sync() error {
	if f.failed != nil {
		return f.failed
	}
	if err := f.disk.Sync(); err != nil {
		f.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return f.failed
}

// Read gives the item of a leaf, or [ErrLost].
func (f *File) Read(i int64) ([]byte, error) {
	var out []byte
	found := false
	err := f.Scan(i, func(at int64, item []byte) (bool, error) {
		if found = at == i; found {
			out = append([]byte{}, item...)
		}
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, ErrLost
	}
	return out, nil
}

// Scan reads the items of leaves from i on, in order, until there are no more or fn
// wants none. Lost ones are passed over. An item is valid until fn returns.
func (f *File) Scan(i int64, fn func(i int64, item []byte) (more bool, err error)) error {
	f.mu.RLock()
	end, next := f.end, f.next
	k := sort.Search(len(f.marks), func(k int) bool { return f.marks[k].index > i })
	marks := f.marks[max(k-1, 0):]
	f.mu.RUnlock()
	if i >= next || len(marks) == 0 {
		return nil
	}
	for len(marks) > 0 {
		s := newScanner(f.disk, marks[0].offset, end)
		marks = marks[1:]
		for {
			h, item, err := s.next()
			var bad errBad
			if errors.Is(err, io.EOF) {
				return nil
			}
			if errors.As(err, &bad) {
				if h.whole {
					continue
				}
				break // go on at the next mark, which is behind the damage
			}
			if err != nil {
				return err
			}
			if h.index < i {
				continue
			}
			i = h.index + 1
			if more, err := fn(h.index, item); err != nil || !more {
				return err
			}
		}
		for len(marks) > 1 && marks[1].index <= i {
			marks = marks[1:]
		}
	}
	return nil
}

// Lost tells which leaves had no item when the file was opened, the first ranges of
// them, and how many there are.
func (f *File) Lost() (ranges []Range, n int64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.lost, f.missed
}

// Close releases the file and flushes nothing.
func (f *File) Close() error { return f.disk.Close() }
