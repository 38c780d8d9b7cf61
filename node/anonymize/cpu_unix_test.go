//go:build !windows

package anonymize_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// usage is what this process has used of all cores, in milliseconds, and the most
// memory it had, in MiB. Other work on the machine changes neither much.
func usage(b *testing.B) (cpu, memory float64) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	unit := 1 << 10 // Linux counts KiB, macOS bytes
	if runtime.GOOS == "darwin" {
		unit = 1 << 20
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e6, float64(r.Maxrss) / float64(unit)
}
