package disk

import "io"

// Rewrite writes a file's bytes from one offset to before another once more, as they
// are. After a flush that failed they are in the system's cache, marked clean, and no
// further flush would carry them to the disk, not even that of another process.
func Rewrite(f interface {
	io.ReaderAt
	io.WriterAt
}, from, to int64) error {
	buf := make([]byte, 1<<18)
	for at := from; at < to; {
		part := buf[:min(int64(len(buf)), to-at)]
		if _, err := f.ReadAt(part, at); err != nil {
			return err
		}
		if _, err := f.WriteAt(part, at); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}
