package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
)

// wantBFD notes what the configuration says of BFD in the family of m: a session with
// the configured peer, or with whoever turns out to be the gateway.
func (m *member) wantBFD() {
	b := m.conf.BFD
	if b == nil {
		return
	}
	m.peer = ofFamily(b.Peers, m.Family)
	if len(b.Peers) == 0 || m.peer.IsValid() {
		m.bfd = b
	}
}

// ofFamily returns the address of a family, the zero Addr if there is none.
func ofFamily(addresses []netip.Addr, f fib.Family) netip.Addr {
	for _, a := range addresses {
		if fib.FamilyOf(a) == f {
			return a
		}
	}
	return netip.Addr{}
}

// sessionConfig describes the session of m but for its authentication, or says why
// there can be none. It is pure. What cannot be known at present, because the device
// or its address is away, stays as it is in old: the session follows its device by
// name, and what returns as it was is no other session.
func (t *site) sessionConfig(m member, v view, s *netmon.Snapshot, old *bfd.Config) (bfd.Config, string) {
	b := m.bfd
	c := bfd.Config{
		Mode: bfdMode(b.Mode), Interface: m.conf.Interface, Mark: m.conf.Mark,
		Multihop: b.Multihop, MinTTL: b.MinTTL, DesiredMinTx: b.Interval, RequiredMinRx: b.Interval,
		Multiplier: b.Multiplier, Passive: b.Passive,
	}
	link, there := s.Links[m.conf.Interface]
	if there {
		c.PointToPoint = link.PointToPoint && !c.Multihop && c.Mode == bfd.Async
		c.Peer = sessionPeer(m, v, link, s)
		c.Local = sessionLocal(v, link, c)
	}
	var source netip.Addr
	if old != nil && old.Interface == c.Interface && old.Mode == c.Mode && old.Multihop == c.Multihop {
		source = old.EchoSource
		if !there {
			c.PointToPoint = old.PointToPoint
		}
		if !c.Peer.IsValid() && (!m.peer.IsValid() || old.Peer == m.peer) {
			c.Peer = old.Peer
		}
		if !c.Local.IsValid() {
			c.Local = old.Local
		}
	}
	if c.Mode == bfd.Echo && c.Local.IsValid() {
		if c.EchoSource = ofFamily(b.EchoSources, m.Family); !c.EchoSource.IsValid() {
			c.EchoSource = t.echoSource(c.Local, c.Interface, s, source)
		}
	}
	return c, impossible(m, link, there, c)
}

// impossible says why there can be no session c, "" if there can.
func impossible(m member, link netmon.Link, there bool, c bfd.Config) string {
	switch {
	case !c.Peer.IsValid() && !there:
		return fmt.Sprintf("interface %s is not there", c.Interface)
	case !c.Peer.IsValid() && link.PointToPoint:
		return fmt.Sprintf("the address of the other end of %s is not known: name it with bfd.peer", c.Interface)
	case !c.Peer.IsValid():
		return "no gateway is known on " + c.Interface
	case !c.Local.IsValid():
		return fmt.Sprintf("no source address for %s on %s", c.Peer, c.Interface)
	case c.Mode == bfd.Echo && c.Local.Is4() != c.Peer.Is4():
		return fmt.Sprintf("the gateway %s is not of family %s: its echoes would not come back; name a peer with bfd.peer", c.Peer, m.Family)
	default:
		return ""
	}
}

// sessionPeer returns the configured peer, the gateway, or what is known of the other
// end of a point-to-point link; the zero Addr if nothing is. An address is not
// guessed there: a packet to a wrong one would be forwarded to a stranger.
func sessionPeer(m member, v view, l netmon.Link, s *netmon.Snapshot) netip.Addr {
	if m.peer.IsValid() {
		return m.peer.WithZone("")
	}
	if v.fact.Gateway.IsValid() || !l.PointToPoint {
		return v.fact.Gateway.WithZone("")
	}
	for _, a := range l.Addresses {
		if fib.FamilyOf(a.Prefix.Addr()) == m.Family && a.Peer.IsValid() {
			return a.Peer.WithZone("")
		}
	}
	if gateway, _, _, ok := netmon.LearnGateway(s, l.Name, m.Family == fib.IPv6); ok && gateway.IsValid() {
		return gateway.WithZone("")
	}
	for _, a := range l.Addresses {
		if other := otherOf(a.Prefix); fib.FamilyOf(a.Prefix.Addr()) == m.Family && other.IsValid() {
			return other
		}
	}
	return netip.Addr{}
}

// otherOf returns the only other address of a subnet that has two (RFC 3021, RFC
// 6164).
func otherOf(p netip.Prefix) netip.Addr {
	if p.Bits() != p.Addr().BitLen()-1 {
		return netip.Addr{}
	}
	if first := p.Masked().Addr(); first != p.Addr() {
		return first
	}
	return p.Addr().Next()
}

// sessionLocal returns the source address of the session with c.Peer. Echo
// packets come back to the preferred source of the way, and several hops are crossed
// with it. A neighbour knows us by our address in its subnet (RFC 5881 section 6), and
// a link-local one by ours.
func sessionLocal(v view, l netmon.Link, c bfd.Config) netip.Addr {
	if !c.Peer.IsValid() {
		return netip.Addr{}
	}
	if c.Multihop || c.Mode == bfd.Echo {
		return v.fact.Preferred
	}
	var near []netmon.Address
	for _, a := range l.Addresses {
		own := a.Prefix.Addr()
		in := a.Prefix.Contains(c.Peer) || a.Peer == c.Peer || c.Peer.IsLinkLocalUnicast() && own.IsLinkLocalUnicast()
		if a.Usable && own.Is4() == c.Peer.Is4() && in {
			near = append(near, a)
		}
	}
	slices.SortStableFunc(near, func(a, b netmon.Address) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	if slices.ContainsFunc(near, func(a netmon.Address) bool { return a.Prefix.Addr() == v.fact.Preferred }) {
		return v.fact.Preferred
	}
	family := fib.FamilyOf(c.Peer)
	if a := best(near, family.Any()); a.IsValid() {
		return a
	}
	if fib.FamilyOf(v.fact.Preferred) == family && v.fact.Preferred.IsValid() && !c.Peer.IsLinkLocalUnicast() {
		return v.fact.Preferred
	}
	return netip.Addr{}
}

// echoSource chooses the source of echo packets that come back to local by an
// interface: an address of this host outside the subnets of that interface, because a
// neighbour that sends packets back to where they come from tells the sender to leave
// that out (RFC 5881 section 4). Addresses that last come first, of those the ones
// of lo, then of other uplinks; a private one is not taken beside a public local
// address, because no provider's filter lets it pass. Where there is none it is local
// itself. The present one, if it is valid, stays while the host has it at all: the
// neighbour is known to send its packets back, which of another one is not known. It
// is pure.
func (t *site) echoSource(local netip.Addr, device string, s *netmon.Snapshot, present netip.Addr) netip.Addr {
	if hasAddress(s, present) {
		return present
	}
	type candidate struct {
		netip.Addr
		passing, place int
		link           string
	}
	near := func(a netip.Addr) bool {
		return slices.ContainsFunc(s.Links[device].Addresses, func(n netmon.Address) bool {
			return n.Prefix.Contains(a) || n.Peer == a
		})
	}
	var all []candidate
	for name, l := range s.Links {
		for _, a := range usableAddresses(l, fib.FamilyOf(local)) {
			own := a.Prefix.Addr()
			if name == device || near(own) || own.IsPrivate() && !local.IsPrivate() {
				continue
			}
			c := candidate{Addr: own, link: name, place: 2}
			if a.Deprecated || a.Temporary {
				c.passing = 1
			}
			if name == "lo" {
				c.place = 0
			} else if t.interfaces[name] > 0 {
				c.place = 1
			}
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return local
	}
	return slices.MinFunc(all, func(a, b candidate) int {
		return cmp.Or(a.passing-b.passing, a.place-b.place, cmp.Compare(a.link, b.link), a.Compare(b.Addr))
	}).Addr
}

// hasAddress reports whether a device of the host has an address, usable or not.
func hasAddress(s *netmon.Snapshot, a netip.Addr) bool {
	for _, l := range s.Links {
		if slices.ContainsFunc(l.Addresses, func(n netmon.Address) bool { return n.Prefix.Addr() == a }) {
			return true
		}
	}
	return false
}

// otherLiveness reports whether something else that is configured tells whether the
// way works: probe targets, or the gateway watched as a neighbour.
func otherLiveness(m member, v view, s *netmon.Snapshot) bool {
	l := s.Links[m.conf.Interface]
	_, watched := m.neighbourInterval()
	return len(m.targets) > 0 || watched && v.fact.Gateway.IsValid() && !l.PointToPoint && !l.NoARP
}

func bfdMode(mode config.BFDMode) bfd.Mode {
	switch mode {
	case config.BFDAsync:
		return bfd.Async
	case config.BFDEcho:
		return bfd.Echo
	default:
		panic(fmt.Sprintf("engine: unhandled mode %s", mode))
	}
}

// onePath reports whether c and d are sessions of the same path, which can have only
// one (RFC 5882 section 2). Multihop sessions are told apart by both addresses (RFC
// 5883 section 4.1), one of a point-to-point link is the only one of its family there.
func onePath(c, d bfd.Config) bool {
	switch {
	case c.Multihop != d.Multihop:
		return false
	case c.Multihop:
		return c.Peer == d.Peer && c.Local == d.Local
	case c.PointToPoint && d.PointToPoint:
		return c.Interface == d.Interface && c.Peer.Is4() == d.Peer.Is4()
	default:
		return c.Interface == d.Interface && c.Peer == d.Peer
	}
}
