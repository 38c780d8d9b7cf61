//go:build !windows

package detect

import (
	"testing"

	"golang.org/x/sys/unix"
)

// cpuSeconds is what this process has used of all cores, which holds on a busy machine too.
func cpuSeconds(b *testing.B) float64 {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}
