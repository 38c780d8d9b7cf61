package daemon

import (
	"io"
	"os"

	"cerebrum.dev/cerebrum/node/object"
	"golang.org/x/sys/unix"
)

// writeback is how much is written before the kernel is asked to begin with the
// disk, so that the sync at the end finds little to do.
const writeback = 16 << 20

// copyFile copies content to a file and lets the disk work meanwhile.
func copyFile(f *os.File, content io.Reader, progress *object.Progress) (int64, error) {
	return io.CopyBuffer(progress.CountWriter(&eager{f: f}), content, make([]byte, copyBuffer))
}

// eager writes to a file and starts its way to the disk early.
type eager struct {
	f           *os.File
	done, begun int64
}

func (e *eager) Write(p []byte) (int, error) {
	n, err := e.f.Write(p)
	if e.done += int64(n); e.done-e.begun >= writeback {
		// Best effort: the sync at the end is what counts.
		_ = unix.SyncFileRange(int(e.f.Fd()), e.begun, e.done-e.begun, unix.SYNC_FILE_RANGE_WRITE)
		e.begun = e.done
	}
	return n, err
}

// syncTree makes a restored folder durable with one call for all of its files.
func syncTree(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}
