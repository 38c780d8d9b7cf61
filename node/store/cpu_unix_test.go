//go:build !windows

package store

import (
	"testing"

	"golang.org/x/sys/unix"
)

// cpuSeconds is what this process has used of all cores. What a block costs here
// is taken from the encryption and hashing that run beside it.
func cpuSeconds(b *testing.B) float64 {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}
