package uplink

import (
	"math"
	"time"
)

// Policy is what Decide weighs evidence by.
type Policy struct {
	// Members are the configured ways, in the order of the configuration.
	Members []Member
	// HoldUp is how long the evidence must have been good after an outage
	// before a way is live again.
	HoldUp  time.Duration
	Damping Damping
	AllDead AllDead
	// SameMoment is how far apart two uplinks may notice the death of one
	// target for it to count as one event, and its return: about twice the
	// slowest detection. 0 is half a minute.
	SameMoment time.Duration
}

// sameMoment returns the window in which deaths of one target are one event.
func (p Policy) sameMoment() time.Duration {
	if p.SameMoment > 0 {
		return p.SameMoment
	}
	return sameMoment
}

// Member is one configured way.
type Member struct {
	Way
	// Tier: the lowest one with a live way carries the traffic.
	Tier int
	// Weight is the share within the tier, 1..fib.MaxWeight.
	Weight int
	// Quorum is the number of probe targets that must answer; 0 is the
	// majority of those configured. It is lowered by one, down to one, for each
	// target that is dead through every uplink.
	Quorum int
	// Drain is why the way is to get no new flows, in words; empty if it may. It
	// is obeyed as long as another way of the family is fit.
	Drain string
}

// AllDead says what carries the traffic of a family when no way of it is live
// or held (RFC 1122 section 3.3.1.4 leaves that to us; it is never an accident).
type AllDead uint8

// What to do when all ways are dead on soft evidence.
const (
	// KeepLast keeps the ways that carried traffic last.
	KeepLast AllDead = iota
	// KeepAll uses every way that the kernel can still send by.
	KeepAll
	// FailClosed uses none.
	FailClosed
)

// Damping is the penalty for flapping (RFC 2439 section 4.2, in its decay and
// thresholds; the figure of merit is kept per way). The zero Damping never holds
// anything.
type Damping struct {
	// HalfLife is the time in which the penalty decays by half; 0 forgets it
	// at once.
	HalfLife time.Duration
	// Suppress is the penalty above which a way is held, Reuse the one below
	// which it is released.
	Suppress, Reuse float64
}

// outagePenalty is added for each outage (RFC 2439 section 4.2 leaves the unit
// open; 1000 is what routers use).
const outagePenalty = 1000

// penaltyCeiling bounds the penalty at this multiple of Suppress, and so the time
// that a way can be held after it has become stable.
const penaltyCeiling = 4

// Decayed returns penalty as it is after age.
func (d Damping) Decayed(penalty float64, age time.Duration) float64 {
	if penalty == 0 || age <= 0 {
		return penalty
	}
	p := penalty * math.Exp2(-age.Seconds()/d.HalfLife.Seconds())
	if p < 1 {
		return 0
	}
	return p
}

// add returns penalty after one more outage.
func (d Damping) add(penalty float64) float64 {
	return min(penalty+outagePenalty, penaltyCeiling*d.Suppress)
}

// reuses reports whether a way with this penalty is released. A penalty that has
// decayed to nothing always is, whatever the threshold.
func (d Damping) reuses(penalty float64) bool { return penalty < max(d.Reuse, 1) }

// reusable returns how long penalty takes to decay until it reuses.
func (d Damping) reusable(penalty float64) time.Duration {
	if d.reuses(penalty) {
		return 0
	}
	seconds := d.HalfLife.Seconds() * math.Log2(penalty/max(d.Reuse, 1))
	return time.Duration(seconds*float64(time.Second)) + time.Millisecond
}
