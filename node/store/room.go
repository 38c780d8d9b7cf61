package store

import (
	"errors"
	"fmt"
)

// ErrFull reports that a disk has no room for more blocks. Nothing is wrong with the
// store, and nothing of what was refused is in it: once there is room it takes them.
var ErrFull = errors.New("no space left on the disk")

// Reserve is what blocks leave free on the disk, so that what must be written, such as
// revocations and the log, can be, and so that a disk which fills up does not fail. A
// zero field reserves nothing.
type Reserve struct {
	Bytes uint64
	Files uint64 // as many as the file system can still make, where it counts them
}

// free is what a disk has left. Where the system does not say it is plenty.
type free struct {
	bytes, files uint64
}

var plenty = free{1 << 62, 1 << 62}

// Room says whether there is room for n bytes of blocks, and if not why: [ErrFull].
func (s *Store) Room(n int) error {
	if s.reserve == (Reserve{}) {
		return nil
	}
	left := s.free(s.dir)
	switch {
	case left.bytes < s.reserve.Bytes+uint64(n):
		return fmt.Errorf("%w: %d MiB are left, of which %d are kept for what must be written", ErrFull, left.bytes>>20, s.reserve.Bytes>>20)
	case left.files < s.reserve.Files:
		return fmt.Errorf("%w: it can make %d more files, and %d are kept for what must be written", ErrFull, left.files, s.reserve.Files)
	}
	return nil
}
