//go:build !linux

package disk

import "os"

// datasync is a full sync; on macOS the standard library asks the drive itself
// to flush (F_FULLFSYNC), which plain fsync there does not.
func datasync(f *os.File) error { return f.Sync() }
