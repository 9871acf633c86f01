package engine

import (
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// found is what the host turned out to have of what the configuration does not
// ask for.
type found struct {
	// seen are the ways that had an address or carried traffic.
	seen map[uplink.Way]bool
	// drawn are the families of which a previous life left something in the
	// kernel. They stay drawn, so that a restart while the host has no address
	// of a family does not take its guards away.
	drawn map[fib.Family]bool
}

func newFound() found {
	return found{seen: map[uplink.Way]bool{}, drawn: map[fib.Family]bool{}}
}

// draws reports whether m is to be in the kernel.
func (f found) draws(m member) bool { return !m.optional || f.seen[m.Way] || f.drawn[m.Family] }

// adopt returns what the state that a previous life left in the kernel implies.
// It is pure.
func (t *site) adopt(actual fib.State, s *netmon.Snapshot, now time.Time) (uplink.Verdicts, found) {
	facts := make(uplink.Facts, len(t.members))
	for _, m := range t.members {
		facts[m.Way] = t.look(m, s).fact
	}
	verdicts, f := t.layout.Adopt(t.policy, actual, facts, now), newFound()
	for w, v := range verdicts {
		if v.State == uplink.Live {
			f.seen[w] = true
		}
	}
	for key := range actual.Routes {
		f.drawn[fib.FamilyOf(key.Dst.Addr())] = true
	}
	return verdicts, f
}
