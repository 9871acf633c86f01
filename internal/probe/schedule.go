package probe

import "time"

// jitterShare is how far, as a share of the interval, a probe may be off its
// slot in either direction, so that probes of many machines that were started
// together do not stay together.
const jitterShare = 0.05

// slot is the rhythm of one target: a fixed grid, and a due time that is off
// the grid by a jitter that does not add up.
type slot struct {
	interval time.Duration
	grid     time.Time // the grid point that due belongs to
	due      time.Time
}

// newSlot returns the rhythm of target i of n: one probe soon after now, so that
// the first opinion does not wait for the phase, then a grid within the interval
// on which the targets are evenly apart. phase is in [0,1), the same for all.
func newSlot(now time.Time, interval time.Duration, i, n int, phase float64) slot {
	share := (float64(i) + phase) / float64(n)
	offset := time.Duration(share * float64(interval))
	return slot{
		interval: interval,
		grid:     now.Add(offset - interval),
		due:      now.Add(min(offset, time.Duration(share*float64(firstSpread)))),
	}
}

// firstSpread is the time over which the very first probes are spread.
const firstSpread = 50 * time.Millisecond

// advance moves due to the next slot after now; slots that were missed are left
// out, because a burst would measure nothing. jitter is in [0,1).
func (s *slot) advance(now time.Time, jitter float64) {
	s.grid = s.grid.Add(s.interval)
	if behind := now.Sub(s.grid); behind >= 0 {
		s.grid = s.grid.Add((behind/s.interval + 1) * s.interval)
	}
	s.due = s.grid.Add(time.Duration((2*jitter - 1) * jitterShare * float64(s.interval)))
}
