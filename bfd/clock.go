package bfd

import "time"

// clockSource reads both clocks at once: the monotonic one as an instant, and the
// wall clock in nanoseconds since 1970.
type clockSource func() (now instant, wall int64)

// systemClock is the clocks of this machine, from start on.
func systemClock(start time.Time) clockSource {
	return func() (instant, int64) {
		t := time.Now()
		return t.Sub(start), t.UnixNano()
	}
}

// clockStep is by how much the two clocks may move against each other between two
// readings, of which there is one each second at least. More is a step of the wall
// clock: slewing moves it by half a millisecond in that time (adjtimex(2)).
const clockStep = 10 * time.Millisecond

// clock watches the wall clock, by which the kernel stamps packets, for steps.
type clock struct {
	source clockSource
	offset time.Duration
	// steps counts those that were noticed.
	steps uint32
}

func newClock(source clockSource) *clock {
	c := &clock{source: source}
	now, wall := source()
	c.offset = time.Duration(wall) - now
	return c
}

// reading is what the clocks said.
type reading struct {
	now    instant
	offset time.Duration
	steps  uint32
}

func (c *clock) read() reading {
	now, wall := c.source()
	offset := time.Duration(wall) - now
	if (offset - c.offset).Abs() > clockStep {
		c.steps++
	}
	c.offset = offset
	return reading{now, offset, c.steps}
}

// arrival returns when a packet arrived that was stamped by the wall clock, 0 for no
// stamp, and was read at r from a socket that had been empty at the reading empty. It
// came in between; and if the wall clock was set meanwhile its stamp says nothing,
// and the latest possible moment is the one that ends no session by mistake.
func (r reading) arrival(stamp int64, empty reading) instant {
	if stamp == 0 || r.steps != empty.steps {
		return r.now
	}
	return min(max(time.Duration(stamp)-r.offset, empty.now), r.now)
}
