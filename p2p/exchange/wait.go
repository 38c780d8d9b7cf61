package exchange

import "time"

// rough is how late Go's timers may be, and more: how late depends on the part of a
// millisecond at which the process fell idle, so that they tell how long it was busy.
const rough = 3 * time.Millisecond

// waitUntil returns at a time, as exactly as the system can.
func waitUntil(at time.Time) {
	time.Sleep(time.Until(at) - rough)
	preciseSleep(time.Until(at))
	time.Sleep(time.Until(at)) // where the system cannot, and in simulated time
}
