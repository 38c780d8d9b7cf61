package daemon

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// writeback is how much is written before the kernel is asked to begin with the
// disk, so that the sync at the end finds little to do.
const writeback = 16 << 20

// copyFile copies content to a file and lets the disk work meanwhile.
func copyFile(f *os.File, content io.Reader) (int64, error) {
	buf := make([]byte, 1<<20)
	var done, begun int64
	for {
		n, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(content, writeback), buf)
		done += n
		if err != nil || n == 0 {
			return done, err
		}
		if done-begun >= writeback {
			// Best effort: the sync at the end is what counts.
			_ = unix.SyncFileRange(int(f.Fd()), begun, done-begun, unix.SYNC_FILE_RANGE_WRITE)
			begun = done
		}
	}
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
