package exchange

import (
	"time"

	"golang.org/x/sys/unix"
)

// preciseSleep blocks a thread, for the few milliseconds that the caller leaves. A
// signal may end it early.
func preciseSleep(d time.Duration) {
	if d <= 0 || d > rough {
		return
	}
	ts := unix.NsecToTimespec(int64(d))
	unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
}
