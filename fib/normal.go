package fib

import "net/netip"

// What the kernel gives back in another form than it was given would be written
// again at every read. Normal forms are those that it gives back.

// normal returns g without what its type does not have, with timers as fine as
// the kernel's.
func (g Group) normal() Group {
	if g.Type != GroupResilient {
		g.Buckets, g.IdleTimer, g.UnbalancedTimer = 0, 0, 0
	}
	g.IdleTimer = g.IdleTimer.Round(clockTick)
	g.UnbalancedTimer = g.UnbalancedTimer.Round(clockTick)
	return g
}

// normal returns r with weight 1 for a lone hop: the kernel keeps no weight
// there.
func (r Route) normal() Route {
	if len(r.Hops) == 1 && r.Hops[0].Weight != 1 {
		lone := r.Hops[0]
		lone.Weight = 1
		r.Hops = []Hop{lone}
	}
	return r
}

// normal returns r with one form for "everything": a prefix of length zero
// selects no less than none.
func (r Rule) normal() Rule {
	for _, p := range []*netip.Prefix{&r.From, &r.To} {
		if p.IsValid() && p.Bits() == 0 {
			*p = netip.Prefix{}
		}
	}
	return r
}
