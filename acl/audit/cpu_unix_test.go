//go:build !windows

package audit

import "golang.org/x/sys/unix"

// cpuNanoseconds is the processor time that this process has used so far.
func cpuNanoseconds() int64 {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return r.Utime.Nano() + r.Stime.Nano()
}
