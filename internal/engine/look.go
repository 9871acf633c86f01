package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// view is what a look at the host says about one way: the facts that the kernel
// state is drawn from, and the evidence of the kinds that the host itself gives.
type view struct {
	fact     uplink.Fact
	evidence []uplink.Evidence
	// present says that the way has an address at present.
	present bool
	// watch is the gateway to keep fresh as a neighbour; the zero Addr if there
	// is none to watch.
	watch netip.Addr
}

// look draws facts and hard evidence about m from s. It is pure; Since is left
// to the board.
func (t *site) look(m member, s *netmon.Snapshot) view {
	var v view
	link, there := s.Links[m.conf.Interface]
	say := func(kind uplink.Kind, o uplink.Opinion, reason string) {
		v.evidence = append(v.evidence, uplink.Evidence{
			Source: uplink.Source{Way: m.Way, Kind: kind}, Opinion: o, Reason: reason,
		})
	}
	linkOpinion, linkReason := linkEvidence(m.conf.Interface, link, there)
	say(uplink.KindLink, linkOpinion, linkReason)

	addresses := usableAddresses(link, m.Family)
	v.fact.Sources = t.sources(m, link)
	v.fact.Preferred = preferred(m, addresses, s)
	addressOpinion, addressReason := addressEvidence(m, s, link, addresses)
	say(uplink.KindAddress, addressOpinion, addressReason)
	v.present = there && addressOpinion == uplink.Up

	gateway, gatewayOpinion, gatewayReason := gatewayEvidence(m, s, link)
	say(uplink.KindGateway, gatewayOpinion, gatewayReason)

	if there {
		v.fact.Device = fib.Device{Index: link.Index, Name: link.Name}
	}
	v.fact.Gateway = gateway
	v.fact.Usable = linkOpinion == uplink.Up && addressOpinion == uplink.Up && gatewayOpinion == uplink.Up
	// Also where the kernel cannot send: main may still have the connected route,
	// without a carrier for instance, and replies of other uplinks must not take it.
	v.fact.Subnets = t.subnets(m.Family, link, s)
	v.hearNeighbour(m, s, link)
	return v
}

// hearNeighbour adds what the kernel says of the gateway as a neighbour, where that can
// be watched.
func (v *view) hearNeighbour(m member, s *netmon.Snapshot, l netmon.Link) {
	gateway := v.fact.Gateway
	up, _ := linkEvidence(l.Name, l, v.fact.Device.Index != 0)
	if _, watched := m.neighbourInterval(); !watched || !gateway.IsValid() || l.PointToPoint || l.NoARP || up != uplink.Up {
		return
	}
	v.watch = gateway
	n := s.Neighbours[netmon.NeighbourKey{LinkIndex: l.Index, Address: gateway.WithZone("")}]
	o, reason := n.Opinion(m.conf.Neighbour.Tries)
	if gateway.Is6() && n.State == netmon.NUDReachable && !n.Router {
		// RFC 4861 section 7.3.3; a learned one vanishes from the routes.
		reason += "; warning: it does not call itself a router"
	}
	v.evidence = append(v.evidence, uplink.Evidence{
		Source: uplink.Source{Way: m.Way, Kind: uplink.KindNeighbour}, Opinion: neighbourOpinion(o), Reason: reason,
	})
}

func linkEvidence(name string, l netmon.Link, there bool) (uplink.Opinion, string) {
	switch {
	case !there:
		return uplink.Down, fmt.Sprintf("interface %s is not there", name)
	case !l.AdminUp:
		return uplink.Down, fmt.Sprintf("interface %s is set down (ip link set %s up)", name, name)
	case !l.Carrier:
		return uplink.Down, fmt.Sprintf("no carrier on %s", name)
	case l.OperState == "dormant":
		return uplink.Down, fmt.Sprintf("%s is dormant: it waits for authentication or negotiation", name)
	default:
		return uplink.Up, "carrier on " + name
	}
}

// usableAddresses returns the addresses of l in family f that may be a source.
func usableAddresses(l netmon.Link, f fib.Family) []netmon.Address {
	var out []netmon.Address
	for _, a := range l.Addresses {
		if fib.FamilyOf(a.Prefix.Addr()) == f && a.Global && a.Usable {
			out = append(out, a)
		}
	}
	return out
}

// sources returns the prefixes whose packets belong to m: the configured ones,
// and every global address of the interface that no uplink claims by its
// configuration. Packets with such an address have no other way out either.
func (t *site) sources(m member, l netmon.Link) []netip.Prefix {
	out := slices.Clone(m.sources)
	if t.interfaces[l.Name] > 1 {
		return out // Nobody could tell whose the others are; the configuration names some.
	}
	seen := map[netip.Addr]bool{}
	for _, a := range l.Addresses {
		addr := a.Prefix.Addr()
		if fib.FamilyOf(addr) == m.Family && a.Global && !seen[addr] && !t.claimed(addr) {
			seen[addr] = true
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return out
}

// claimed reports whether a configured source of some uplink contains a.
func (t *site) claimed(a netip.Addr) bool {
	return slices.ContainsFunc(t.config.Uplinks, func(u config.Uplink) bool {
		return slices.ContainsFunc(u.Sources, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

// preferred returns the source for packets that have none yet: an address of the
// interface that the configuration names, else a lasting one of the interface,
// else an address of the configured sources that is on another interface. The zero
// Addr if there is none.
func preferred(m member, addresses []netmon.Address, s *netmon.Snapshot) netip.Addr {
	for _, p := range m.sources {
		if a := best(addresses, p); a.IsValid() {
			return a
		}
	}
	if a := best(addresses, m.Family.Any()); a.IsValid() {
		return a
	}
	for _, p := range m.sources {
		// Sorted, so that the answer is the same at every look.
		for _, name := range slices.Sorted(maps.Keys(s.Links)) {
			if a := best(usableAddresses(s.Links[name], m.Family), p); a.IsValid() {
				return a
			}
		}
	}
	return netip.Addr{}
}

// best returns the first of the addresses within p that will last longest: one
// that is deprecated is not for new connections (RFC 4862 section 5.5.4), and a
// temporary one soon will not be (RFC 8981).
func best(addresses []netmon.Address, p netip.Prefix) netip.Addr {
	var out netip.Addr
	worst := 3
	for _, a := range addresses {
		rank := 0
		switch {
		case a.Deprecated:
			rank = 2
		case a.Temporary:
			rank = 1
		}
		if rank < worst && p.Contains(a.Prefix.Addr()) {
			out, worst = a.Prefix.Addr(), rank
		}
	}
	return out
}

// addressEvidence says whether the source is there. Configured addresses may be
// on any interface: provider-independent ones often live on lo.
func addressEvidence(m member, s *netmon.Snapshot, l netmon.Link, addresses []netmon.Address) (uplink.Opinion, string) {
	missing := ""
	for _, p := range m.sources {
		there, usable := find(s, p.Addr())
		switch {
		case !p.IsSingleIP():
			return uplink.Up, fmt.Sprintf("prefix %s is configured", p)
		case usable:
			return uplink.Up, p.Addr().String() + " is there"
		case missing != "":
		case there:
			missing = unusable(p.Addr())
		default:
			missing = fmt.Sprintf("source %s is on no interface", p.Addr())
		}
	}
	if missing != "" {
		return uplink.Down, missing
	}
	if len(addresses) > 0 {
		return uplink.Up, best(addresses, m.Family.Any()).String() + " is there"
	}
	for _, a := range l.Addresses {
		if fib.FamilyOf(a.Prefix.Addr()) == m.Family && a.Global {
			return uplink.Down, unusable(a.Prefix.Addr())
		}
	}
	return uplink.Down, fmt.Sprintf("no global %s address on %s", m.Family, m.conf.Interface)
}

func unusable(a netip.Addr) string {
	return fmt.Sprintf("%s is not usable yet (duplicate address detection)", a)
}

// find looks for an address on any interface.
func find(s *netmon.Snapshot, a netip.Addr) (there, usable bool) {
	for _, l := range s.Links {
		for _, have := range l.Addresses {
			if have.Prefix.Addr() == a {
				there, usable = true, usable || have.Usable
			}
		}
	}
	return there, usable
}

// gatewayEvidence returns the gateway to use, the zero Addr for a device route.
func gatewayEvidence(m member, s *netmon.Snapshot, l netmon.Link) (netip.Addr, uplink.Opinion, string) {
	if m.gateway.IsValid() {
		return m.gateway, uplink.Up, m.gateway.String() + " (configured)"
	}
	gateway, _, reason, ok := netmon.LearnGateway(s, m.conf.Interface, m.Family == fib.IPv6)
	if !ok {
		return netip.Addr{}, uplink.Down, reason
	}
	if gateway.IsValid() && l.PointToPoint {
		// A point-to-point link needs no gateway, and pppd's may vanish first.
		gateway = netip.Addr{}
	}
	return gateway, uplink.Up, reason
}

// subnets returns the on-link prefixes of an uplink's interface that no
// interface of another purpose overlaps: replies to a host in one of them follow
// their source address instead of the connected route.
func (t *site) subnets(f fib.Family, l netmon.Link, s *netmon.Snapshot) []netip.Prefix {
	if l.PointToPoint {
		return nil
	}
	var out []netip.Prefix
	seen := map[netip.Prefix]bool{}
	for _, a := range l.Addresses {
		p := a.Prefix.Masked()
		if fib.FamilyOf(p.Addr()) != f || !a.Global || p.IsSingleIP() || a.Peer.IsValid() || seen[p] {
			continue
		}
		seen[p] = true
		if !t.overlapsElsewhere(p, s) {
			out = append(out, p)
		}
	}
	return out
}

// overlapsElsewhere reports whether an interface that is no uplink's has neighbours
// in p. A lone address, as on lo, has none: it is ours, and table local comes first.
func (t *site) overlapsElsewhere(p netip.Prefix, s *netmon.Snapshot) bool {
	for name, l := range s.Links {
		if t.interfaces[name] > 0 {
			continue
		}
		for _, a := range l.Addresses {
			lone := a.Prefix.IsSingleIP() && !a.Peer.IsValid()
			if !lone && (a.Prefix.Overlaps(p) || p.Contains(a.Peer)) {
				return true
			}
		}
	}
	return false
}

func neighbourOpinion(o netmon.Opinion) uplink.Opinion {
	switch o {
	case netmon.OpinionUp:
		return uplink.Up
	case netmon.OpinionDown:
		return uplink.Down
	case netmon.OpinionUnknown:
		return uplink.Unknown
	default:
		panic(fmt.Sprintf("engine: unhandled opinion %d", uint8(o)))
	}
}
