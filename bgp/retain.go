package bgp

import (
	"fmt"
	"time"
)

// retention is what becomes of the paths of one family of a session that is lost.
// It is pure: time is an argument.
type retention struct {
	phase phase
	// until is when the paths that are marked go if nothing happens; zero where none
	// are.
	until time.Time
}

// phase is where a retention stands.
type phase uint8

// Phases.
const (
	// phaseFresh: nothing is marked.
	phaseFresh phase = iota
	// phaseHeld: the session is lost, and graceful restart keeps the paths.
	phaseHeld
	// phaseTidy: the session is lost without it. The paths are kept for a moment so
	// that a peer that flaps costs no rewriting, and nobody relies on them.
	phaseTidy
	// phaseReturned: after phaseHeld the session is back, and the table is not yet.
	phaseReturned
	// phaseRefreshed is that after phaseTidy.
	phaseRefreshed
)

// cut is what is to be done with paths that are marked.
type cut uint8

// Cuts.
const (
	cutNothing cut = iota
	// cutMarked removes the paths that are marked.
	cutMarked
	// cutAll removes all paths, which are all marked.
	cutAll
)

// retained says whether graceful restart keeps paths that the peer has not
// confirmed.
func (r retention) retained() bool { return r.phase == phaseHeld || r.phase == phaseReturned }

// lost notes the end of a session: graceful for how long the peer asks us to keep
// its paths, 0 for not at all. All paths are marked then. With graceful restart what
// was marked before and not confirmed since must go first (RFC 4724 section 4.2,
// consecutive restarts); without, nobody relies on it.
func (r *retention) lost(now time.Time, graceful time.Duration) cut {
	if graceful <= 0 {
		*r = retention{phaseTidy, now.Add(TidyTime)}
		return cutNothing
	}
	first := cutNothing
	if r.phase != phaseFresh {
		first = cutMarked
	}
	*r = retention{phaseHeld, now.Add(graceful)}
	return first
}

// back notes a new session. preserved says that the peer speaks the family and
// graceful restart for it, and has set the F bit: without that, what it announced
// before is void (RFC 4724 section 4.2).
func (r *retention) back(now time.Time, preserved bool, stale time.Duration) cut {
	switch r.phase {
	case phaseFresh:
		return cutNothing
	case phaseHeld, phaseReturned:
		if preserved {
			*r = retention{phaseReturned, now.Add(stale)}
			return cutNothing
		}
		*r = retention{}
		return cutMarked
	case phaseTidy, phaseRefreshed:
		*r = retention{phaseRefreshed, now.Add(stale)}
		return cutNothing
	default:
		panic(fmt.Sprintf("bgp: unhandled phase %d", uint8(r.phase)))
	}
}

// synced notes that the peer has sent its table: what it did not confirm goes.
func (r *retention) synced() cut {
	if r.phase == phaseFresh {
		return cutNothing
	}
	*r = retention{}
	return cutMarked
}

// expire says what goes because its time is over.
func (r *retention) expire(now time.Time) cut {
	if r.phase == phaseFresh || now.Before(r.until) {
		return cutNothing
	}
	gone := cutAll
	if r.phase == phaseReturned || r.phase == phaseRefreshed {
		gone = cutMarked
	}
	*r = retention{}
	return gone
}
