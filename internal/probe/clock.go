package probe

import "time"

// clockStep is how far the wall clock and the monotonic clock may drift apart
// during one probe before the wall clock is taken to have been set. Slewing
// (adjtimex) moves it by 0.5 ms per second at most.
const clockStep = 50 * time.Millisecond

// roundTrip returns the time from sent to the arrival of the answer in the
// kernel. sent and read were taken in this process and carry both clocks; kernel
// is the wall clock of SO_TIMESTAMPNS, the zero Time if there was none.
func roundTrip(sent, kernel, read time.Time) time.Duration {
	user := read.Sub(sent)
	if kernel.IsZero() {
		return user
	}
	// Round(0) drops the monotonic reading.
	start := sent.Round(0)
	return settle(user, read.Round(0).Sub(start), kernel.Sub(start))
}

// settle chooses between the round trip by the monotonic clock, which includes
// the time until this process ran, and the one by the kernel's stamp, which does
// not but is on the wall clock. wall is user by the wall clock: if the two
// disagree, the wall clock was set meanwhile and the stamp means nothing. A
// stamp outside of the time that user spans means nothing either.
func settle(user, wall, stamped time.Duration) time.Duration {
	if (wall-user).Abs() > clockStep || stamped < 0 || stamped > user {
		return user
	}
	return stamped
}
