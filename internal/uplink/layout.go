package uplink

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// Layout is where things go in the kernel: the numbers of the configuration. It
// changes only with the configuration.
type Layout struct {
	BalanceTable uint32
	// Prefixes is the table of the routes that lead to the groups of choices, and
	// WithPrefixes says that it is asked, just before BalanceTable.
	Prefixes     uint32
	WithPrefixes bool
	// Priorities leave room: Mark is less than Balance-1, and less than Balance-2
	// WithPrefixes.
	Priorities Priorities
	// MarkMask is the part of the firewall mark that is ours.
	MarkMask uint32
	// NextHopBase is the first id of ours; even.
	NextHopBase uint32
	// IdleTimer and UnbalancedTimer are those of the groups.
	IdleTimer, UnbalancedTimer time.Duration
	// FailClosed puts a guard behind the balanced default too.
	FailClosed bool
	// Uplinks in the order of the configuration, which numbers next hops.
	Uplinks []Place
}

// Priorities are the rule priorities of the configuration.
type Priorities struct{ Main, Source, Mark, Balance uint32 }

// Place is where one uplink goes.
type Place struct {
	Name   string
	Table  uint32
	Mark   uint32
	Weight int
	OnLink bool
}

// Fact is what the host knows about a way at present.
type Fact struct {
	// Device is the interface; Index 0 if it is not there.
	Device fib.Device
	// Weight is the share of the way if it is not that of its Place, 1..fib.MaxWeight;
	// 0 if it is.
	Weight int
	// Usable says that the kernel takes a next hop over Device: it is there, up
	// and has its carrier, an address and, unless point-to-point, a gateway.
	Usable bool
	// Gateway is the next router; the zero Addr for a device route.
	Gateway netip.Addr
	// Sources are the addresses and prefixes whose packets belong to the way.
	Sources []netip.Prefix
	// Preferred is the source address for packets that have none yet; it must
	// be an address of the host. The zero Addr leaves the choice to the kernel.
	Preferred netip.Addr
	// Subnets are the on-link prefixes of Device that no other interface of the
	// host overlaps.
	Subnets []netip.Prefix
}

// Facts holds a Fact for every way that the host has. A family of which no way is
// there gets no state in the kernel at all.
type Facts map[Way]Fact

// Metrics of the routes in our tables. The live default is found before the
// guard; the guard's number is the one that the kernel's VRF documentation uses
// for the same purpose (Documentation/networking/vrf.rst).
const (
	metricLive  = 1
	metricGuard = 4278198272
)

// Room for ids: each uplink has four (two families, active and standby), groups
// begin behind the largest number of uplinks.
const (
	idsPerUplink = 4
	// MaxUplinks bounds the number of uplinks.
	MaxUplinks = 256
	groupIDs   = idsPerUplink * MaxUplinks
	// idSpace is the length of the range of ids: package fib may shift an id by
	// a multiple of a quarter of it.
	idSpace = 1 << 20
)

// rulePriorities is where rules of ours are recognised: everywhere between the
// kernel's own (0, 32766 and 32767), so that a configuration with other
// priorities cleans up after the one before it.
var rulePriorities = fib.Range{First: 1, Last: 32765}

// Owner returns the rule by which what this layout draws is recognised.
func (l Layout) Owner(protocol uint8) fib.Owner {
	return fib.Owner{
		Protocol: protocol,
		NextHops: fib.Range{First: l.NextHopBase, Last: l.NextHopBase + idSpace - 1},
		Rules:    rulePriorities,
	}
}

func familyIndex(f fib.Family) uint32 {
	if f == fib.IPv6 {
		return 1
	}
	return 0
}

func (l Layout) hopID(n int, f fib.Family) uint32 {
	return l.NextHopBase + uint32(n)*idsPerUplink + 2*familyIndex(f)
}

// WayOf returns the way that the next hop with this id stands for, in either of
// its two objects and whatever candidate id package fib chose, and false if it is
// none of ours.
func (l Layout) WayOf(id uint32) (Way, bool) {
	offset := (id - l.NextHopBase) % (idSpace / 4)
	n := int(offset / idsPerUplink)
	if id < l.NextHopBase || n >= len(l.Uplinks) {
		return Way{}, false
	}
	return Way{l.Uplinks[n].Name, fib.Families[offset%idsPerUplink/2]}, true
}

func (l Layout) groupID(f fib.Family) uint32 {
	return l.NextHopBase + groupIDs + familyIndex(f)
}

// buckets returns the size of the bucket tables. It must not depend on weights
// or verdicts, because the kernel fixes it for the life of a group. Both sizes
// divide evenly by the usual ratios and leave a standby of weight 1 beside one
// active member of weight 255 without a bucket; see docs/design.md.
func (l Layout) buckets() uint16 {
	if len(l.Uplinks) <= 6 {
		return 60
	}
	return 120
}

// Desired draws the whole state that the kernel is to hold, with a group for each
// of choices that has a member. No two of choices may have the same id. The result
// shares memory between groups: it must not be changed.
func (l Layout) Desired(facts Facts, verdicts Verdicts, choices []Choice) fib.Desired {
	var d fib.Desired
	painters := make([]painter, 0, len(fib.Families))
	for _, f := range fib.Families {
		if l.present(facts, f) {
			painters = append(painters, painter{Layout: l, family: f, facts: facts, verdicts: verdicts, d: &d, firstSource: l.firstMark()})
			painters[len(painters)-1].paint()
		}
	}
	// The defaults of all families come before the first of many prefixes.
	d.Groups = slices.Grow(d.Groups, len(choices))
	for i := range painters {
		painters[i].choices(choices)
	}
	return d
}

// firstMark returns the priority of the first mark rule and lastMark that of the
// last: behind it are those of balance.
func (l Layout) firstMark() uint32 { return min(l.Priorities.Mark, l.lastMark()) }

func (l Layout) lastMark() uint32 {
	if l.WithPrefixes {
		return l.Priorities.Balance - 3
	}
	return l.Priorities.Balance - 2
}

func (l Layout) present(facts Facts, f fib.Family) bool {
	for w := range facts {
		if w.Family == f {
			return true
		}
	}
	return false
}

// painter draws one family.
type painter struct {
	Layout
	family   fib.Family
	facts    Facts
	verdicts Verdicts
	d        *fib.Desired
	group    []fib.Member
	// offers are what the uplinks can do for a choice, in their order.
	offers  []offer
	subnets []netip.Prefix
	// firstSource is the lowest priority of a source rule drawn so far.
	firstSource uint32
}

func (p *painter) paint() {
	n := len(p.Uplinks)
	p.d.NextHops = slices.Grow(p.d.NextHops, n)
	p.d.Routes = slices.Grow(p.d.Routes, 3*n+2)
	p.d.Rules = slices.Grow(p.d.Rules, 3*n+3)
	p.group = make([]fib.Member, 0, n)
	p.subnets = make([]netip.Prefix, 0, n)
	p.offers = make([]offer, n)
	for n, u := range p.Uplinks {
		fact := p.facts[Way{u.Name, p.family}]
		p.uplink(n, u, fact)
		p.sources(n, u, fact)
		p.rule(fib.Rule{Priority: p.at(p.firstMark(), n, p.lastMark()), Mark: u.Mark, Mask: p.MarkMask, Table: u.Table})
	}
	p.balance()
}

// at returns first+n, but no more than last: rules that share a priority select
// different packets, so their order does not matter.
func (p *painter) at(first uint32, n int, last uint32) uint32 {
	return min(first+uint32(n), last)
}

func (p *painter) rule(r fib.Rule) {
	r.Family = p.family
	p.d.Rules = append(p.d.Rules, r)
}

// uplink draws the table of one uplink, whatever its verdict, and its next hop.
func (p *painter) uplink(n int, u Place, fact Fact) {
	guard := fib.Route{Table: u.Table, Dst: p.family.Any(), Metric: metricGuard, Type: fib.RouteProhibit}
	p.d.Routes = append(p.d.Routes, guard)
	subnets := owned(fact.Subnets)
	// Also without a carrier: main may still have the subnet, and replies of
	// other uplinks to it must not follow main.
	p.subnets = append(p.subnets, subnets...)
	if !fact.Usable {
		return
	}
	id := p.hopID(n, p.family)
	hopFamily := p.family
	if fact.Gateway.IsValid() {
		hopFamily = fib.FamilyOf(fact.Gateway) // IPv4 over an IPv6 gateway: RFC 8950.
	}
	p.d.NextHops = append(p.d.NextHops, fib.NextHop{
		ID: id, Family: hopFamily, Device: fact.Device, Gateway: fact.Gateway, OnLink: u.OnLink && fact.Gateway.IsValid(),
	})
	p.d.Routes = append(p.d.Routes, fib.Route{
		Table: u.Table, Dst: p.family.Any(), Metric: metricLive, Type: fib.RouteUnicast, NextHopID: id, Source: fact.Preferred,
	})
	for _, subnet := range subnets {
		p.d.Routes = append(p.d.Routes, fib.Route{
			Table: u.Table, Dst: subnet, Metric: metricLive, Type: fib.RouteUnicast,
			Hops: []fib.Hop{{Device: fact.Device, Weight: 1}},
		})
	}
	v := p.verdicts[Way{u.Name, p.family}]
	member := fib.Member{NextHop: id, Weight: cmp.Or(fact.Weight, u.Weight)}
	p.offers[n] = offerOf(v, member)
	switch v.Role {
	case Active:
		p.group = append(p.group, member)
	case Standby:
		member.Standby = true
		p.group = append(p.group, member)
	case Draining:
		member.Draining = true
		p.group = append(p.group, member)
	case RoleNone:
	}
}

func (p *painter) sources(n int, u Place, fact Fact) {
	for _, src := range owned(fact.Sources) {
		priority := p.at(p.Priorities.Source, n, p.firstMark()-1)
		p.firstSource = min(p.firstSource, priority)
		p.rule(fib.Rule{Priority: priority, From: src, Table: u.Table})
	}
}

// owned returns those of prefixes that an uplink can own, as the kernel holds
// them. Link-local and multicast ones occur on every interface (RFC 4291 section
// 2.5.6). 169.254.0.0/16 is not left out, because providers number their links
// from it.
func owned(prefixes []netip.Prefix) []netip.Prefix {
	fine := func(p netip.Prefix) bool {
		a := p.Addr()
		return !a.IsMulticast() && (a.Is4() || !a.IsLinkLocalUnicast())
	}
	if !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return !fine(p) || p != p.Masked() }) {
		return prefixes
	}
	out := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if fine(p) {
			out = append(out, p.Masked())
		}
	}
	return out
}

// patience is how long the busy buckets of a group with these members may stay
// where they should not be. Those of a member that drains stay until they are idle:
// what the kernel would move by force are the flows that a drain is for.
func (p *painter) patience(members []fib.Member) time.Duration {
	if slices.ContainsFunc(members, func(m fib.Member) bool { return m.Draining }) {
		return 0
	}
	return p.UnbalancedTimer
}

// balance draws the group, its default and the rules that belong to no uplink.
func (p *painter) balance() {
	if len(p.group) > 0 {
		id := p.groupID(p.family)
		p.d.Groups = append(p.d.Groups, fib.Group{
			ID: id, Type: fib.GroupResilient, Members: p.group,
			Buckets: p.buckets(), IdleTimer: p.IdleTimer, UnbalancedTimer: p.patience(p.group),
		})
		p.d.Routes = append(p.d.Routes, fib.Route{
			Table: p.BalanceTable, Dst: p.family.Any(), Metric: metricLive, Type: fib.RouteUnicast, NextHopID: id,
		})
	}
	if p.FailClosed {
		p.d.Routes = append(p.d.Routes, fib.Route{
			Table: p.BalanceTable, Dst: p.family.Any(), Metric: metricGuard, Type: fib.RouteProhibit,
		})
	}
	p.rule(fib.Rule{Priority: p.Priorities.Main, Table: mainTable, MinPrefixLen: 1})
	p.rule(fib.Rule{Priority: p.Priorities.Balance, Table: p.BalanceTable})
	// The kernel follows a goto only if a rule has exactly that priority; the
	// first mark rule always exists.
	seen := make(map[netip.Prefix]bool, len(p.subnets))
	for _, subnet := range p.subnets {
		if !seen[subnet] {
			seen[subnet] = true
			p.rule(fib.Rule{Priority: p.Priorities.Main - 1, To: subnet, Goto: p.firstSource})
		}
	}
	if len(seen) > 0 {
		p.rule(fib.Rule{Priority: p.lastMark() + 1, Table: mainTable, MinPrefixLen: 1})
	}
	if p.WithPrefixes {
		p.rule(fib.Rule{Priority: p.Priorities.Balance - 1, Table: p.Prefixes})
	}
}

// mainTable is RT_TABLE_MAIN.
const mainTable = 254
