package probe

import (
	"fmt"
	"time"
)

// outcome is what became of one probe.
type outcome uint8

const (
	outcomeUnknown outcome = iota
	flying
	answered
	lost
)

// sentProbe is one probe in the memory of a target.
type sentProbe struct {
	sequence uint64
	at       time.Time
	outcome  outcome
}

// flight remembers the last probes to one target in the order in which they were
// sent: those without an answer yet, and enough finished ones to count a streak
// and to tell a late or double answer from a foreign one.
type flight struct {
	probes []sentProbe
	next   int
	count  int
	flying int
}

// flightSpare is how many probes beyond the needed ones are remembered, only to
// give late and double answers their right name.
const flightSpare = 16

// newFlight returns a memory that no probe can leave while it is in flight: at
// most Timeout/Interval are, and a tenth more when jitter moves them together.
func newFlight(c Config) flight {
	inFlight := int(c.Timeout*11/(c.Interval*10)) + 1
	return flight{probes: make([]sentProbe, max(c.Down, c.Up)+inFlight+flightSpare)}
}

func (f *flight) add(sequence uint64, at time.Time) {
	f.probes[f.next] = sentProbe{sequence: sequence, at: at, outcome: flying}
	f.next = (f.next + 1) % len(f.probes)
	f.count = min(f.count+1, len(f.probes))
	f.flying++
}

func (f *flight) reset() { f.next, f.count, f.flying = 0, 0, 0 }

// back returns the i-th newest probe, 0 being the newest.
func (f *flight) back(i int) *sentProbe {
	return &f.probes[(f.next-1-i+2*len(f.probes))%len(f.probes)]
}

// find returns the probe with this sequence number, or nil. With short only the
// low 16 bits count, which is all that a truncated quote carries.
func (f *flight) find(sequence uint64, short bool) *sentProbe {
	for i := range f.count {
		p := f.back(i)
		if p.sequence == sequence || short && uint16(p.sequence) == uint16(sequence) {
			return p
		}
	}
	return nil
}

// finish sets the outcome of a probe that is in flight.
func (f *flight) finish(p *sentProbe, o outcome) {
	p.outcome = o
	f.flying--
}

// oldest returns the oldest probe in flight, or nil.
func (f *flight) oldest() *sentProbe {
	if f.flying == 0 {
		return nil
	}
	for i := f.count - 1; i >= 0; i-- {
		if p := f.back(i); p.outcome == flying {
			return p
		}
	}
	return nil
}

// streak counts the newest finished probes of one outcome. It goes by the order
// of sending, because a timeout longer than the interval lets a loss be noticed
// after the answer to a later probe, and that loss is no sign of a new failure.
func (f *flight) streak() (answers, losses int) {
	for i := range f.count {
		switch p := f.back(i); p.outcome {
		case flying:
		case answered:
			if losses > 0 {
				return answers, losses
			}
			answers++
		case lost:
			if answers > 0 {
				return answers, losses
			}
			losses++
		case outcomeUnknown:
			panic("probe: probe without an outcome in the flight")
		default:
			panic(fmt.Sprintf("probe: unhandled outcome %d", uint8(p.outcome)))
		}
	}
	return answers, losses
}
