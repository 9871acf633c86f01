package bfd

import "net/netip"

// identity tells sessions apart in the configuration: at most one for each path
// (RFC 5881 section 2, RFC 5883 section 4.1). An echo session has its own packets,
// but is not wanted beside another to the same neighbour (RFC 9747 section 4).
type identity struct {
	multihop     bool
	device       string
	peer         netip.Addr
	local        netip.Addr
	pointToPoint bool
}

func (c Config) identity() identity {
	switch {
	case c.Multihop:
		return identity{multihop: true, peer: c.Peer, local: c.Local}
	case c.PointToPoint:
		return identity{device: c.Interface, peer: anyOf(c.Peer), pointToPoint: true}
	default:
		return identity{device: c.Interface, peer: c.Peer}
	}
}

// anyOf stands for all addresses of the family of a.
func anyOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// origin is what a first packet is recognised by, one without Your Discriminator.
type origin struct {
	port port
	// link is the index of the interface, 0 for multihop.
	link int
	// src is the unspecified address where the source does not matter.
	src netip.Addr
	// dst is set for multihop only.
	dst netip.Addr
}

// port returns the kind of socket that the session's packets come by.
func (c Config) port() port {
	switch {
	case c.Mode == Echo:
		return portEcho
	case c.Multihop:
		return portMultihop
	default:
		return portSingleHop
	}
}

func (s *session) origin() origin {
	c := s.core.conf
	switch {
	case c.Multihop:
		return origin{port: portMultihop, src: c.Peer, dst: c.Local}
	case c.PointToPoint:
		return origin{port: portSingleHop, link: s.link, src: anyOf(c.Peer)}
	default:
		return origin{port: portSingleHop, link: s.link, src: c.Peer}
	}
}

// find returns the session that a packet is for (RFC 5880 sections 6.3 and 6.8.6).
// A packet that has a discriminator is known by it alone, except that it must have
// come by the port and the interface of the session, whose hop limit was checked.
func (t *table) find(p *Packet, d *datagram) (*session, Drop) {
	if d.port == portEcho {
		return t.findEcho(p, d)
	}
	if p.YourDiscriminator == 0 {
		if p.State != Down && p.State != AdminDown {
			return nil, DropState
		}
		return t.findByOrigin(d)
	}
	s := t.byDiscriminator[p.YourDiscriminator]
	if s == nil {
		return nil, DropNoSession
	}
	drop := s.belongs(d)
	return s, drop
}

func (s *session) belongs(d *datagram) Drop {
	switch {
	case s.core.conf.port() != d.port:
		return DropPort
	case !s.core.conf.Multihop && s.link != d.link:
		return DropInterface
	default:
		return DropNone
	}
}

func (t *table) findByOrigin(d *datagram) (*session, Drop) {
	o := origin{port: d.port, src: d.src}
	if d.port == portMultihop {
		o.dst = d.dst
	} else {
		o.link = d.link
	}
	s := t.byOrigin[o]
	if s == nil && d.port == portSingleHop {
		o.src = anyOf(d.src)
		s = t.byOrigin[o]
	}
	if s == nil {
		return nil, DropNoPeer
	}
	return s, DropNone
}

// findEcho recognises our own packet by our own discriminator, which it carries from
// the first one on (RFC 9747 section 2 leaves the choice for that one), and by its
// addresses.
func (t *table) findEcho(p *Packet, d *datagram) (*session, Drop) {
	s := t.byDiscriminator[p.MyDiscriminator]
	switch {
	case s == nil || p.YourDiscriminator != 0 && p.YourDiscriminator != p.MyDiscriminator:
		return nil, DropNoSession
	case p.YourDiscriminator == 0 && p.State != Down:
		return s, DropState
	}
	drop := s.belongs(d)
	return s, drop
}
