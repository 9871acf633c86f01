package engine

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// peerWish is a session of BGP that is wanted.
type peerWish struct {
	uplink string
	// conf has everything but what changes with time: Slot, Announce and
	// Shutdown.
	conf bgp.Peer
	// ways are those that it serves.
	ways []uplink.Way
	// why says why it cannot be tried.
	why string
}

// wantsPrefixes reports whether an uplink imports more than a default.
func (t *site) wantsPrefixes() bool {
	return slices.ContainsFunc(t.config.Uplinks, func(u config.Uplink) bool { return u.BGP != nil && u.BGP.Import.Mode != config.ImportDefault })
}

// bulkOwner says which routes are those to prefixes, also where nobody wants any: a
// previous life may have.
func bulkOwner(c *config.Config, o fib.Owner) fib.BulkOwner {
	b := fib.BulkOwner{Protocol: c.Protocol + 1, Table: c.Tables.Prefixes, Metric: prefixMetric, NextHops: o.NextHops}
	switch {
	case c.BGP != nil:
		b.Protocol = c.BGP.Protocol
	case c.Protocol == math.MaxUint8:
		b.Protocol = c.Protocol - 1
	}
	return b
}

// prefixMetric is the metric of routes to prefixes: what others call the distance of
// external BGP. It has to be one, because IPv6 takes 0 for 1024.
const prefixMetric = 20

// peerWishes returns the sessions that the configuration and the host ask for, in the
// order of the configuration. It is pure. draws says whether a way that nobody asked
// for is there. What cannot be known at present, because the device or its address is
// away, stays as it is in old, by name: what returns as it was is no other session.
func (t *site) peerWishes(views map[uplink.Way]view, s *netmon.Snapshot, draws func(member) bool, old map[string]bgp.Peer) []peerWish {
	var out []peerWish
	for _, u := range t.config.Uplinks {
		if u.BGP == nil {
			continue
		}
		first := len(out)
		for _, f := range fib.Families {
			m, v := t.memberOf(u, f), views[uplink.Way{Uplink: u.Name, Family: f}]
			address := ofFamily(u.BGP.Peers, f)
			families := peerFamilies(u.BGP, f)
			switch {
			case len(families) == 0:
				continue
			case len(u.BGP.Peers) == 0 && (m == nil || !draws(*m)):
				continue // Nobody asked for the family, and the host does not have it.
			case len(u.BGP.Peers) > 0 && !address.IsValid():
				continue
			}
			link, there := s.Links[u.Interface]
			if len(u.BGP.Peers) == 0 {
				noBFD := *m
				noBFD.peer = netip.Addr{} // That of BFD is another.
				if there {
					address = sessionPeer(noBFD, v, link, s)
				}
			}
			w := t.peerWish(u, f, families, address, v, link, old)
			// Both families may have one gateway (RFC 8950): that is one session.
			if i := slices.IndexFunc(out[first:], func(o peerWish) bool { return o.why == "" && o.conf.Address == w.conf.Address }); i >= 0 && w.why == "" {
				one := &out[first+i]
				one.conf.Families = append(one.conf.Families, w.conf.Families...)
				one.ways = append(one.ways, w.ways...)
				continue
			}
			out = append(out, w)
		}
	}
	return out
}

// peerFamilies returns the families that the session of u's peer of family f carries;
// none if there is no such session.
func peerFamilies(b *config.UplinkBGP, f fib.Family) []bgp.Family {
	if len(b.Families) == 0 {
		return []bgp.Family{bgpFamily(f)}
	}
	if len(b.Peers) != 1 {
		if slices.Contains(b.Families, f.String()) {
			return []bgp.Family{bgpFamily(f)}
		}
		return nil
	}
	var out []bgp.Family
	for _, g := range fib.Families {
		if slices.Contains(b.Families, g.String()) {
			out = append(out, bgpFamily(g))
		}
	}
	return out
}

// peerWish describes the session of u with the peer of family f, whose address may
// not be known.
func (t *site) peerWish(u config.Uplink, f fib.Family, families []bgp.Family, address netip.Addr, v view, link netmon.Link, old map[string]bgp.Peer) peerWish {
	b := u.BGP
	w := peerWish{uplink: u.Name, conf: bgp.Peer{
		Name: u.Name + "/" + f.String(), Slot: bgp.NoSlot, Port: b.Port, AS: b.PeerAS, LocalAS: b.LocalAS, Families: families,
		Import: t.importOf(b), MaxPrefixes: b.MaxPrefixes, HoldTime: b.HoldTime, TTLSecurity: b.TTLSecurity,
		Multihop: b.Multihop, Passive: b.Passive, Tier: u.Tier, Preference: b.Preference,
		GracefulRestart: bgp.GracefulRestart{
			Enabled: b.GracefulRestart.Enabled, RestartTime: b.GracefulRestart.RestartTime, StaleTime: b.GracefulRestart.StaleTime,
		},
	}}
	for _, g := range families {
		way := uplink.Way{Uplink: u.Name, Family: fibFamily(g)}
		if t.memberOf(u, way.Family) != nil {
			w.ways = append(w.ways, way)
		}
	}
	direct := b.Multihop <= 1
	if direct {
		w.conf.Interface = u.Interface
	}
	if address.IsValid() {
		// Several hops are crossed with the source of the way; a neighbour knows us by
		// our address in its subnet. BFD asks for the same.
		w.conf.Local = zoned(sessionLocal(v, link, bfd.Config{Mode: bfd.Async, Peer: address.WithZone(""), Multihop: !direct}), u.Interface)
		w.conf.Address = zoned(address, u.Interface)
	}
	if have, ok := old[w.conf.Name]; ok && have.Interface == w.conf.Interface && have.Multihop == w.conf.Multihop {
		if !w.conf.Address.IsValid() {
			w.conf.Address = have.Address
		}
		if !w.conf.Local.IsValid() && have.Address == w.conf.Address {
			w.conf.Local = have.Local
		}
	}
	var why string
	w.conf.Password, why = t.passwordOf(u)
	switch {
	case !w.conf.Address.IsValid() && link.PointToPoint:
		w.why = fmt.Sprintf("the address of the other end of %s is not known: name it with bgp.peer", u.Interface)
	case !w.conf.Address.IsValid():
		w.why = "no gateway is known on " + u.Interface
	case !w.conf.Local.IsValid():
		w.why = fmt.Sprintf("no source address for %s on %s", w.conf.Address.WithZone(""), u.Interface)
	default:
		w.why = why
	}
	return w
}

// zoned gives a link-local address its zone.
func zoned(a netip.Addr, device string) netip.Addr {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return a.WithZone(device)
	}
	return a.WithZone("")
}

// memberOf returns the way of u in family f, nil if the configuration has none.
func (t *site) memberOf(u config.Uplink, f fib.Family) *member {
	for i := range t.members {
		if m := &t.members[i]; m.Uplink == u.Name && m.Family == f {
			return m
		}
	}
	return nil
}

func (t *site) importOf(b *config.UplinkBGP) bgp.Import {
	i := bgp.Import{
		Prefixes: b.Import.Prefixes, MaxLength4: b.Import.MaxLength4, MaxLength6: b.Import.MaxLength6,
		RejectInvalid: t.config.BGP.RPKI != nil && t.config.BGP.RPKI.RejectInvalid,
		Bandwidth:     b.Weight == config.WeightBandwidth,
		PrivateAS:     b.Import.PrivateAS, AnyNextHop: b.Import.AnyNextHop,
	}
	switch b.Import.Mode {
	case config.ImportDefault:
		i.Mode = bgp.ImportDefault
	case config.ImportPrefixes:
		i.Mode = bgp.ImportPrefixes
	case config.ImportFull:
		i.Mode = bgp.ImportFull
	default:
		panic(fmt.Sprintf("engine: unhandled import mode %d", uint8(b.Import.Mode)))
	}
	return i
}

// bgpCommon returns what all sessions have in common.
func (t *site) bgpCommon(restarting bool) bgp.Config {
	b := t.config.BGP
	c := bgp.Config{
		AS: b.AS, RouterID: b.RouterID, Listen: b.Listen, Port: b.Port, AllowOwn: b.AllowOwnPrefixes,
		Restarting: restarting, Deferral: b.Deferral,
	}
	for _, a := range b.Announce {
		if !slices.Contains(c.Own, a.Prefix) {
			c.Own = append(c.Own, a.Prefix)
		}
	}
	if b.RPKI != nil {
		c.RPKI = b.RPKI.Servers
	}
	switch b.ASPath {
	case config.ASPathStrict:
		c.ASPath = bgp.ASPathStrict
	case config.ASPathRelax:
		c.ASPath = bgp.ASPathRelax
	case config.ASPathIgnore:
		c.ASPath = bgp.ASPathIgnore
	default:
		panic(fmt.Sprintf("engine: unhandled rule for AS paths %d", uint8(b.ASPath)))
	}
	return c
}

func bgpFamily(f fib.Family) bgp.Family {
	switch f {
	case fib.IPv4:
		return bgp.IPv4
	case fib.IPv6:
		return bgp.IPv6
	case fib.FamilyUnknown:
		return bgp.FamilyUnknown
	default:
		panic(fmt.Sprintf("engine: unhandled family %d", uint8(f)))
	}
}

func fibFamily(f bgp.Family) fib.Family {
	switch f {
	case bgp.IPv4:
		return fib.IPv4
	case bgp.IPv6:
		return fib.IPv6
	case bgp.FamilyUnknown:
		return fib.FamilyUnknown
	default:
		panic(fmt.Sprintf("engine: unhandled family %d", uint8(f)))
	}
}
