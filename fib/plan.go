package fib

import (
	"cmp"
	"net/netip"
	"slices"
)

// Plan returns the ops that turn actual into want, in an order that never takes
// a usable way before its replacement is there:
//
//  1. contents of groups whose members all exist: this is the failover, and
//     nothing stands before it;
//  2. next hops, then the groups that needed them;
//  3. routes, guards (prohibit and the like) before what they guard;
//  4. rules, in ascending priority: a rule that prefers main is there before the
//     one that takes everything else away from it;
//  5. deletions, the other way round.
//
// An object under an unchanged kernel key is replaced in place. Plan is pure; the
// same arguments give the same ops.
func Plan(want, actual State, protocol uint8) []Op {
	p := planner{want: want, actual: actual, protocol: protocol}
	p.groups(p.ready)
	p.nextHops()
	p.groups(func(g Group) bool { return !p.ready(g) })
	p.routes()
	p.rules()
	p.deletions()
	return p.ops
}

type planner struct {
	want, actual State
	protocol     uint8
	ops          []Op
}

func (p *planner) op(v Verb, o Object) {
	p.ops = append(p.ops, Op{Verb: v, Object: o, Protocol: p.protocol})
}

// ready reports whether g can be written before any next hop is: it exists and
// so do its members, as they are wanted.
func (p *planner) ready(g Group) bool {
	if _, ok := p.actual.Groups[g.ID]; !ok {
		return false
	}
	for _, m := range g.Members {
		have, ok := p.actual.NextHops[m.NextHop]
		if !ok || !have.equal(p.want.NextHops[m.NextHop]) {
			return false
		}
	}
	return true
}

func (p *planner) groups(which func(Group) bool) {
	for _, id := range changed(p.want.Groups, p.actual.Groups, Group.equal) {
		if g := p.want.Groups[id]; which(g) {
			p.op(verbFor(id, p.actual.Groups), g)
		}
	}
}

func (p *planner) nextHops() {
	for _, id := range changed(p.want.NextHops, p.actual.NextHops, NextHop.equal) {
		p.op(verbFor(id, p.actual.NextHops), p.want.NextHops[id])
	}
}

func (p *planner) routes() {
	keys := differing(p.want.Routes, p.actual.Routes, Route.equal)
	sortRoutes(keys, p.want.Routes)
	for _, key := range keys {
		p.op(verbFor(key, p.actual.Routes), p.want.Routes[key])
	}
}

func (p *planner) rules() {
	var missing []Rule
	for r := range p.want.Rules {
		if p.actual.Rules[r] == 0 {
			missing = append(missing, r)
		}
	}
	slices.SortFunc(missing, compareRules)
	for _, r := range missing {
		p.op(Add, r)
	}
}

func (p *planner) deletions() {
	var rules []Rule
	for r, n := range p.actual.Rules {
		for range n - p.want.Rules[r] {
			rules = append(rules, r)
		}
	}
	slices.SortFunc(rules, compareRules)
	for _, r := range slices.Backward(rules) {
		p.op(Delete, r)
	}
	routes := absent(p.actual.Routes, p.want.Routes)
	sortRoutes(routes, p.actual.Routes)
	for _, key := range slices.Backward(routes) {
		p.op(Delete, p.actual.Routes[key])
	}
	for _, s := range p.actual.Strays {
		p.op(Delete, s)
	}
	for _, id := range slices.Sorted(slices.Values(absent(p.actual.Groups, p.want.Groups))) {
		p.op(Delete, p.actual.Groups[id])
	}
	for _, id := range slices.Sorted(slices.Values(absent(p.actual.NextHops, p.want.NextHops))) {
		p.op(Delete, p.actual.NextHops[id])
	}
}

// differing returns the keys of want whose objects actual lacks or holds with
// other content, in no order. Only these are sorted later: mostly there are none.
func differing[K comparable, V any](want, actual map[K]V, equal func(V, V) bool) []K {
	var keys []K
	for k, v := range want {
		if have, ok := actual[k]; !ok || !equal(v, have) {
			keys = append(keys, k)
		}
	}
	return keys
}

// changed is differing, sorted.
func changed[K cmp.Ordered, V any](want, actual map[K]V, equal func(V, V) bool) []K {
	keys := differing(want, actual, equal)
	slices.Sort(keys)
	return keys
}

// absent returns the keys of actual that want lacks, in no order.
func absent[K comparable, V any](actual, want map[K]V) []K {
	var keys []K
	for k := range actual {
		if _, ok := want[k]; !ok {
			keys = append(keys, k)
		}
	}
	return keys
}

func verbFor[K comparable, V any](key K, actual map[K]V) Verb {
	if _, ok := actual[key]; ok {
		return Replace
	}
	return Add
}

// sortRoutes orders keys by the type of their routes (guards first), table,
// destination and metric.
func sortRoutes(keys []RouteKey, routes map[RouteKey]Route) {
	slices.SortFunc(keys, func(a, b RouteKey) int {
		return cmp.Or(
			boolCompare(routes[a].Type == RouteUnicast, routes[b].Type == RouteUnicast),
			cmp.Compare(a.Table, b.Table),
			comparePrefixes(a.Dst, b.Dst),
			cmp.Compare(a.Metric, b.Metric),
		)
	})
}

func compareRules(a, b Rule) int {
	return cmp.Or(
		cmp.Compare(a.Priority, b.Priority),
		cmp.Compare(a.Family, b.Family),
		comparePrefixes(a.From, b.From),
		comparePrefixes(a.To, b.To),
		cmp.Compare(a.Mark, b.Mark),
		cmp.Compare(a.Mask, b.Mask),
		cmp.Compare(a.Table, b.Table),
		cmp.Compare(a.Goto, b.Goto),
		cmp.Compare(a.MinPrefixLen, b.MinPrefixLen),
	)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// equal compares what the kernel sees: names of devices and zones of gateways
// (which the device implies) do not count.
func (n NextHop) equal(o NextHop) bool {
	return n.Family == o.Family && n.Device.Index == o.Device.Index &&
		n.Gateway.WithZone("") == o.Gateway.WithZone("") && n.OnLink == o.OnLink
}

func (g Group) equal(o Group) bool {
	return g.Type == o.Type && g.Buckets == o.Buckets &&
		g.IdleTimer == o.IdleTimer && g.UnbalancedTimer == o.UnbalancedTimer &&
		slices.EqualFunc(g.Members, o.Members, func(a, b Member) bool {
			return a.NextHop == b.NextHop && a.Weight == b.Weight
		})
}

func (h Hop) equal(o Hop) bool {
	return h.Device.Index == o.Device.Index && h.Gateway.WithZone("") == o.Gateway.WithZone("") &&
		h.OnLink == o.OnLink && h.Weight == o.Weight
}

func (r Route) equal(o Route) bool {
	return r.Key() == o.Key() && r.Type == o.Type && r.NextHopID == o.NextHopID && r.Source == o.Source &&
		slices.EqualFunc(sortedHops(r.Hops), sortedHops(o.Hops), Hop.equal)
}

// sortedHops makes the order of inline hops irrelevant: IPv6 lists them in an
// order of its own (net/ipv6/ip6_fib.c).
func sortedHops(hops []Hop) []Hop {
	if len(hops) < 2 {
		return hops
	}
	out := slices.Clone(hops)
	slices.SortFunc(out, func(a, b Hop) int {
		return cmp.Or(cmp.Compare(a.Device.Index, b.Device.Index), a.Gateway.Compare(b.Gateway), cmp.Compare(a.Weight, b.Weight))
	})
	return out
}

// Preview returns the ops that a Writer would begin with to bring actual to d,
// and what of d cannot be had there, or would be had in vain because an intruder
// wins over it, in words. It writes nothing.
func Preview(d Desired, actual State, o Owner) ([]Op, []string) {
	want, problems := lower(d, actual, o, nil)
	return Plan(want, actual, o.Protocol), problems
}
