package uplink

import (
	"slices"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// Adopt returns the verdicts that the groups found in the kernel imply, to be
// the previous verdicts of the first Decide: a restart must not put traffic on a
// way that was dead a moment ago, nor take it from one that carried it. A family
// without a group implies nothing, unless our guard alone is left of the balanced
// table: then every way was out of use.
//
// A way is recognised in the group by its device and gateway, as facts has them,
// and by its position in the configuration only where facts does not know: the
// file may have been reordered since.
//
// A member of the lowest tier that is missing was dead or held; of a way of a
// higher tier nothing is known, because standing by is its normal state. A way that
// the policy drains is in the group for its last flows, whatever its tier.
func (l Layout) Adopt(p Policy, actual fib.State, facts Facts, now time.Time) Verdicts {
	verdicts := Verdicts{}
	for _, f := range fib.Families {
		active, found := l.activeIn(actual, facts, f)
		if !found {
			continue
		}
		lowest := p.lowest(func(m Member) bool { return active[m.Way] && m.Drain == "" })
		role := Draining
		if lowest == 0 {
			lowest, role = p.lowest(func(m Member) bool { return active[m.Way] }), Active
		}
		for _, m := range p.Members {
			switch {
			case m.Family != f:
			case active[m.Way]:
				v := Verdict{State: Live, Role: Active, Since: now, Reasons: []string{"found in use at the start"}}
				if m.Drain != "" {
					v.Role = role
				}
				verdicts[m.Way] = v
			case m.Tier <= lowest || lowest == 0:
				verdicts[m.Way] = Verdict{State: Dead, Since: now, Reasons: []string{"found out of use at the start"}}
			}
		}
	}
	return verdicts
}

// lowest returns the lowest tier of the members that of accepts, 0 if it accepts
// none.
func (p Policy) lowest(of func(Member) bool) int {
	tier := 0
	for _, m := range p.Members {
		if of(m) && (tier == 0 || m.Tier < tier) {
			tier = m.Tier
		}
	}
	return tier
}

// activeIn returns the ways that are active members of the group that the
// balanced default of family f points at.
func (l Layout) activeIn(actual fib.State, facts Facts, f fib.Family) (active map[Way]bool, found bool) {
	r, ok := actual.Routes[fib.RouteKey{Table: l.BalanceTable, Dst: f.Any(), Metric: metricLive}]
	if !ok {
		guard := actual.Routes[fib.RouteKey{Table: l.BalanceTable, Dst: f.Any(), Metric: metricGuard}]
		return nil, guard.Type == fib.RouteProhibit
	}
	// Where the kernel lost every active member, the standbys have inherited
	// the traffic.
	for twin := range uint32(2) {
		active = map[Way]bool{}
		for n, u := range l.Uplinks {
			if l.carries(actual, r, facts, n, u, f, twin) {
				active[Way{u.Name, f}] = true
			}
		}
		if len(active) > 0 {
			return active, true
		}
	}
	return nil, false
}

// carries reports whether route r leads by uplink u, the n-th, or by its twin.
func (l Layout) carries(actual fib.State, r fib.Route, facts Facts, n int, u Place, f fib.Family, twin uint32) bool {
	id := l.hopID(n, f) + twin - l.NextHopBase
	fact := facts[Way{u.Name, f}]
	return slices.ContainsFunc(actual.Groups[r.NextHopID].Members, func(m fib.Member) bool {
		if hop, ok := actual.NextHops[m.NextHop]; ok && fact.Device.Index != 0 {
			return (m.NextHop-l.NextHopBase)%2 == twin && hop.Device.Index == fact.Device.Index &&
				(hop.Gateway.WithZone("") == fact.Gateway.WithZone("") || !facts.shared(fact.Device))
		}
		// Ids may be shifted by a multiple of a quarter of the range.
		return (m.NextHop-l.NextHopBase)%(idSpace/4) == id
	}) || slices.ContainsFunc(r.Hops, func(hop fib.Hop) bool {
		return l.routedBy(actual, u, f, hop)
	})
}

// routedBy reports whether hop is the way of uplink u, by u's own table. It
// serves kernels without next-hop objects.
func (l Layout) routedBy(actual fib.State, u Place, f fib.Family, hop fib.Hop) bool {
	own := actual.Routes[fib.RouteKey{Table: u.Table, Dst: f.Any(), Metric: metricLive}]
	return len(own.Hops) == 1 && own.Hops[0].Device.Index == hop.Device.Index && own.Hops[0].Gateway == hop.Gateway
}

// shared reports whether more than one uplink uses device d: then only gateways
// tell them apart.
func (f Facts) shared(d fib.Device) bool {
	users := map[string]bool{}
	for w, fact := range f {
		if fact.Device.Index == d.Index {
			users[w.Uplink] = true
		}
	}
	return len(users) > 1
}
