//go:build !linux

package exchange

import "time"

// preciseSleep does nothing: here Go's timers must do.
func preciseSleep(time.Duration) {}
