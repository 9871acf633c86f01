package fib

import (
	"fmt"
	"iter"
	"slices"
	"sort"
)

// candidates is the number of ids that one desired object may use. Ids differ
// where a stranger occupies the first choice, or where the kernel cannot change
// an object in place (type or buckets of a group, net/ipv4/nexthop.c
// replace_nexthop) so that the new one must live beside the old one for a moment.
const candidates = 4

// twin is the distance from an active next hop to its standby twin.
const twin = 1

// lowering turns one Desired into the State that a kernel with given
// capabilities is to hold.
type lowering struct {
	desired Desired
	actual  State
	owner   Owner
	// skip holds the desired ids of next hops that the kernel refuses.
	skip map[uint32]bool

	// ids says what every desired id is used for.
	ids map[uint32]string
	// hops are the next hops that can be had, kept those that are refused but
	// whose predecessors the kernel still holds; both by desired id.
	hops map[uint32]NextHop
	kept map[uint32]NextHop

	groups   map[uint32]Group
	kernelID map[uint32]uint32
	want     State
	problems []string
}

// lower returns what the kernel is to hold for d, and what of d cannot be had
// there, in words. It leaves out the next hops of skip and whatever hangs on
// nothing but them; what the kernel still holds under their ids stays as it is,
// because an object that could not be replaced is better than none. It is pure.
func lower(d Desired, actual State, o Owner, skip map[uint32]bool) (State, []string) {
	l := lowered(d, actual, o, skip)
	return l.want, l.inWords(actual)
}

// inWords returns what of the desired state cannot be had, and what takes its
// place in actual.
func (l *lowering) inWords(actual State) []string {
	return slices.Concat(l.problems, shadows(l.want, actual.Intruders))
}

// lowered is lower with its working papers, which regroup can go on with.
func lowered(d Desired, actual State, o Owner, skip map[uint32]bool) *lowering {
	l := &lowering{
		desired: d, actual: actual, owner: o, skip: skip,
		ids:      make(map[uint32]string, 2*len(d.NextHops)+len(d.Groups)),
		hops:     make(map[uint32]NextHop, len(d.NextHops)),
		kept:     map[uint32]NextHop{},
		groups:   make(map[uint32]Group, len(d.Groups)),
		kernelID: make(map[uint32]uint32, 2*len(d.NextHops)+len(d.Groups)),
		want: State{
			NextHops:     make(map[uint32]NextHop, 2*len(d.NextHops)),
			Groups:       make(map[uint32]Group, len(d.Groups)),
			Routes:       make(map[RouteKey]Route, len(d.Routes)),
			Rules:        make(map[Rule]int, len(d.Rules)),
			Taken:        map[uint32]uint8{},
			Capabilities: actual.Capabilities,
		},
	}
	l.sortNextHops()
	l.lowerGroups()
	if actual.Capabilities.NextHops {
		l.lowerNextHops()
		l.assignGroups()
	}
	l.lowerRoutes()
	for _, r := range d.Rules {
		l.want.Rules[r.normal()] = 1
	}
	return l
}

func (l *lowering) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// sortNextHops finds out which next hops can be had.
func (l *lowering) sortNextHops() {
	for _, n := range l.desired.NextHops {
		if !l.claim("next hop", n.ID, 1+twin) {
			continue
		}
		if !l.skip[n.ID] {
			l.hops[n.ID] = n
		} else if _, ok := l.held(n.ID, n.Family); ok {
			l.kept[n.ID] = n
		}
	}
}

// claim reserves width ids from id on, and reports false if they cannot be had: an
// id outside of the first quarter of the owner's range would not be recognised
// as ours, or be the candidate of another object.
func (l *lowering) claim(kind string, id, width uint32) bool {
	first, last := l.owner.NextHops.First, l.owner.NextHops.First+l.owner.stride()-1
	if id < first || id+width-1 > last || l.owner.stride() == 0 {
		l.problem("%s %d lies outside of ids %d..%d, the first quarter of our range", kind, id, first, last)
		return false
	}
	for n := id; n < id+width; n++ {
		if other, taken := l.ids[n]; taken {
			l.problem("%s %d: a %s already uses id %d", kind, id, other, n)
			return false
		}
	}
	for n := id; n < id+width; n++ {
		l.ids[n] = kind
	}
	return true
}

// lowerGroups drops the members that cannot be had and gives each group the
// type, the weights and the standbys that the kernel can hold. Members keep their
// desired ids until assignGroups, standbys the ids of their twins.
func (l *lowering) lowerGroups() {
	for _, g := range l.desired.Groups {
		if !l.claim("group", g.ID, 1) {
			continue
		}
		active, draining, standby := l.members(g)
		if len(active) == 0 {
			if len(g.Members) > 0 {
				l.problem("group %d has no usable member", g.ID)
			}
			continue
		}
		sort.SliceStable(active, func(i, j int) bool { return active[i].NextHop < active[j].NextHop })
		if g.Type == GroupResilient && !l.actual.Capabilities.Resilient {
			g.Type = GroupHashThreshold
		}
		g = g.normal()
		if g.Type == GroupResilient {
			active = withoutBuckets(scaled(active, maxKernelWeight), draining, standby, int(g.Buckets))
		} else if l.actual.Capabilities.NextHops {
			active = capped(active)
		}
		g.Members = active
		l.groups[g.ID] = g
	}
}

// lowerNextHops gives each next hop its kernel id, and a standby twin if the
// kernel has resilient groups. Twins exist before they are needed and whether or
// not their way is in a group at present, so that a failover is one write.
func (l *lowering) lowerNextHops() {
	for _, n := range l.desired.NextHops {
		if first, ok := l.hops[n.ID]; ok {
			l.assignNextHop(first)
			if l.actual.Capabilities.Resilient {
				first.ID += twin
				l.assignNextHop(first)
			}
		} else if _, ok := l.kept[n.ID]; ok {
			l.keep(n.ID, n.Family)
			l.keep(n.ID+twin, n.Family)
		}
	}
}

// held returns the id under which the kernel holds something for the desired next
// hop id.
func (l *lowering) held(id uint32, f Family) (uint32, bool) {
	for c := range l.owner.candidates(id) {
		if have, ok := l.actual.NextHops[c]; ok && have.Family == f {
			return c, true
		}
	}
	return 0, false
}

// keep wants what the kernel holds for the desired next hop id.
func (l *lowering) keep(id uint32, f Family) {
	if c, ok := l.held(id, f); ok {
		l.kernelID[id] = c
		l.want.NextHops[c] = l.actual.NextHops[c]
	}
}

func (l *lowering) assignNextHop(n NextHop) {
	id, ok := l.assign(n.ID, func(id uint32) bool {
		have, ok := l.actual.NextHops[id]
		return ok && have.Family == n.Family
	})
	if !ok {
		l.problem("no free id for next hop %d: strangers hold every candidate", n.ID)
		return
	}
	l.kernelID[n.ID] = id
	n.ID = id
	l.want.NextHops[id] = n
}

// assignGroups gives each group its kernel id and its members theirs.
func (l *lowering) assignGroups() {
	for _, desired := range l.desired.Groups {
		g, ok := l.groups[desired.ID]
		if !ok {
			l.keepGroup(desired)
			continue
		}
		members := make([]Member, 0, len(g.Members))
		for _, m := range g.Members {
			if id, ok := l.kernelID[m.NextHop]; ok {
				m.NextHop = id
				members = append(members, m)
			}
		}
		id, ok := l.assign(g.ID, func(id uint32) bool {
			have, ok := l.actual.Groups[id]
			return ok && have.Type == g.Type && have.Buckets == g.Buckets
		})
		if len(members) == 0 {
			l.problem("group %d has no member with a free id", g.ID)
			continue
		}
		if !ok {
			l.problem("no free id for group %d: strangers hold every candidate", g.ID)
			continue
		}
		l.kernelID[g.ID] = id
		g.ID, g.Members = id, members
		l.want.Groups[id] = g
	}
}

// keepGroup wants the group that the kernel holds for g, with its members, where
// g cannot be had only because its next hops are refused: without a group there
// would be no route either.
func (l *lowering) keepGroup(g Group) {
	if !slices.ContainsFunc(g.Members, func(m Member) bool { return l.skip[m.NextHop] }) {
		return
	}
	for c := range l.owner.candidates(g.ID) {
		have, ok := l.actual.Groups[c]
		if !ok {
			continue
		}
		l.kernelID[g.ID] = c
		l.want.Groups[c] = have
		for _, m := range have.Members {
			if _, wanted := l.want.NextHops[m.NextHop]; !wanted {
				l.want.NextHops[m.NextHop] = l.actual.NextHops[m.NextHop]
			}
		}
		return
	}
}

// assign chooses the kernel id for a desired id: one that already holds an
// object that can be changed in place, else the first that is free.
func (l *lowering) assign(id uint32, reusable func(uint32) bool) (uint32, bool) {
	free := uint32(0)
	for c := range l.owner.candidates(id) {
		if reusable(c) {
			return c, true
		}
		_, hop := l.actual.NextHops[c]
		_, group := l.actual.Groups[c]
		_, taken := l.actual.Taken[c]
		if !hop && !group && !taken && free == 0 {
			free = c
		}
	}
	return free, free != 0
}

// stride is the distance between the candidate ids of one object.
func (o Owner) stride() uint32 { return (o.NextHops.Last - o.NextHops.First + 1) / candidates }

// candidates lists the ids that one desired object may use, first choice first.
func (o Owner) candidates(id uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for k := range uint32(candidates) {
			if !yield(id + k*o.stride()) {
				return
			}
		}
	}
}

// sameObject reports whether kernel is a candidate id of the desired next hop
// id, or of its twin.
func (o Owner) sameObject(id, kernel uint32) bool {
	return kernel >= id && (kernel-id)%o.stride() <= twin
}

func (l *lowering) lowerRoutes() {
	for _, r := range l.desired.Routes {
		if r.NextHopID != 0 && !l.pointRoute(&r) {
			continue
		}
		l.want.Routes[r.Key()] = r.normal()
	}
}

// pointRoute replaces the desired id of r by the kernel's, or by inline hops on
// a kernel without next-hop objects. It reports false if nothing is left to
// point at.
func (l *lowering) pointRoute(r *Route) bool {
	if _, ok := l.ids[r.NextHopID]; !ok {
		l.problem("route %s table %d metric %d points at id %d, which is not among the desired next hops and groups",
			destination(r.Dst), r.Table, r.Metric, r.NextHopID)
		return false
	}
	r.Hops = nil
	if l.actual.Capabilities.NextHops {
		id, ok := l.kernelID[r.NextHopID]
		r.NextHopID = id
		return ok
	}
	members := []Member{{NextHop: r.NextHopID, Weight: 1}}
	if g, ok := l.groups[r.NextHopID]; ok {
		members = g.Members
	}
	r.NextHopID = 0
	for _, m := range members {
		if n, ok := l.hops[m.NextHop]; ok {
			r.Hops = append(r.Hops, Hop{Device: n.Device, Gateway: n.Gateway, OnLink: n.OnLink, Weight: m.Weight})
		}
	}
	return len(r.Hops) > 0
}
