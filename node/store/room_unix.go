//go:build !windows

package store

import "golang.org/x/sys/unix"

func diskFree(dir string) free {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return plenty
	}
	out := free{uint64(s.Bavail) * uint64(s.Bsize), uint64(s.Ffree)}
	if s.Files == 0 { // it makes them as it goes
		out.files = plenty.files
	}
	return out
}
