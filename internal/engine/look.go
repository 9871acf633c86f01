package engine

import (
	"fmt"
	"net/netip"

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
	v.fact.Sources = sources(m, link)
	v.fact.Preferred = preferred(m, addresses)
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
	if v.fact.Usable {
		v.fact.Subnets = t.subnets(m.Family, link, s)
	}
	if _, watched := m.neighbourInterval(); watched && gateway.IsValid() && !link.PointToPoint && !link.NoARP && linkOpinion == uplink.Up {
		v.watch = gateway
		o, reason := s.Neighbours[netmon.NeighbourKey{LinkIndex: link.Index, Address: gateway.WithZone("")}].Opinion(m.conf.Neighbour.Tries)
		say(uplink.KindNeighbour, neighbourOpinion(o), reason)
	}
	return v
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
// or every global address of the interface.
func sources(m member, l netmon.Link) []netip.Prefix {
	if len(m.sources) > 0 {
		return m.sources
	}
	var out []netip.Prefix
	seen := map[netip.Addr]bool{}
	for _, a := range l.Addresses {
		addr := a.Prefix.Addr()
		if fib.FamilyOf(addr) == m.Family && a.Global && !seen[addr] {
			seen[addr] = true
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return out
}

// preferred returns the source for packets that have none yet: a configured one
// that the interface has, else a lasting address of the interface.
func preferred(m member, addresses []netmon.Address) netip.Addr {
	for _, p := range m.sources {
		for _, a := range addresses {
			if p.IsSingleIP() && p.Addr() == a.Prefix.Addr() {
				return p.Addr()
			}
		}
	}
	var fallback netip.Addr
	for _, a := range addresses {
		if !a.Deprecated && !a.Temporary {
			return a.Prefix.Addr()
		}
		if !fallback.IsValid() {
			fallback = a.Prefix.Addr()
		}
	}
	return fallback
}

// addressEvidence says whether the source is there. Configured addresses may be
// on any interface: provider-independent ones often live on lo.
func addressEvidence(m member, s *netmon.Snapshot, l netmon.Link, addresses []netmon.Address) (uplink.Opinion, string) {
	var missing netip.Addr
	for _, p := range m.sources {
		switch {
		case !p.IsSingleIP():
			return uplink.Up, fmt.Sprintf("prefix %s is configured", p)
		case has(s, p.Addr()):
			return uplink.Up, p.Addr().String() + " is there"
		default:
			missing = p.Addr()
		}
	}
	if missing.IsValid() {
		return uplink.Down, fmt.Sprintf("source %s is on no interface", missing)
	}
	if len(addresses) > 0 {
		return uplink.Up, preferred(m, addresses).String() + " is there"
	}
	for _, a := range l.Addresses {
		if fib.FamilyOf(a.Prefix.Addr()) == m.Family && a.Global {
			return uplink.Down, fmt.Sprintf("%s is not usable yet (duplicate address detection)", a.Prefix.Addr())
		}
	}
	return uplink.Down, fmt.Sprintf("no global %s address on %s", m.Family, m.conf.Interface)
}

func has(s *netmon.Snapshot, a netip.Addr) bool {
	for _, l := range s.Links {
		for _, have := range l.Addresses {
			if have.Prefix.Addr() == a && have.Usable {
				return true
			}
		}
	}
	return false
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

func (t *site) overlapsElsewhere(p netip.Prefix, s *netmon.Snapshot) bool {
	for name, l := range s.Links {
		if t.interfaces[name] {
			continue
		}
		for _, a := range l.Addresses {
			if a.Prefix.Overlaps(p) {
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
