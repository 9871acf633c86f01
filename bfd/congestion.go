package bfd

import "time"

// Congestion control of sessions whose path is shared with others (RFC 5880 section
// 7 demands one, RFC 5883 section 3 for more than one hop).
const (
	// congestionWindow: a second failure within it is taken for congestion.
	congestionWindow = time.Minute
	// congestionCalm is how long a session must stay Up before its intervals
	// are halved again.
	congestionCalm = 2 * time.Minute
	// congestionMost bounds the factor.
	congestionMost = 8
)

// congestion stretches the intervals of a session that fails again and again.
type congestion struct {
	// factor is 1, 2, 4 or 8.
	factor int
	// lastFailure counts if there was one.
	everFailed  bool
	lastFailure instant
	// quietSince is when the factor changed last, or the session failed or came
	// up.
	quietSince instant
}

func (g *congestion) failed(now instant) {
	if g.everFailed && now-g.lastFailure < congestionWindow {
		g.factor = min(2*g.factor, congestionMost)
	}
	g.everFailed, g.lastFailure, g.quietSince = true, now, now
}

// calm relaxes the intervals when it is time, and reports whether it did.
func (g *congestion) calm(now instant, up bool) bool {
	if g.calmAt() > now {
		return false
	}
	g.quietSince = now
	if !up {
		return false
	}
	g.factor /= 2
	return true
}

// calmAt is when calm has something to do.
func (g *congestion) calmAt() instant {
	if g.factor <= 1 {
		return never
	}
	return g.quietSince + congestionCalm
}

func (g *congestion) stretch(d time.Duration) time.Duration {
	return min(time.Duration(g.factor)*d, MaxInterval)
}
