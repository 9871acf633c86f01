package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
)

// ISP describes one provider of a Site.
type ISP struct {
	// Name is the name of its host and how the methods of Site call it.
	Name string
	// PointToPoint makes the access a point-to-point link (a TUN device named
	// ppp…) in place of ethernet.
	PointToPoint bool
}

// SiteOptions describe a Site.
type SiteOptions struct {
	// ISPs, 1..64, in order.
	ISPs []ISP
	// Targets is the number of addresses per family of the internet host,
	// 1..200; 0 means 20.
	Targets int
}

// Site is the standard lab: a LAN behind an edge with several ISPs, and the
// internet behind all of them.
//
//	lan ── eth0 edge eth1 ── wan0 isp1 inet0 ── isp1
//	                 ppp2 ── wan0 isp2 inet0 ── isp2 internet (lo: all targets)
//
// Everybody forwards but the two ends. The edge has addresses and connected
// routes only: ways out are the business of whatever is tested there. The LAN's
// addresses are routed back over the first ISP that is in order.
type Site struct {
	Lab                 *Lab
	LAN, Edge, Internet *Host
	// LANDevice is the edge's device to the LAN.
	LANDevice string
	// Accesses in the order of SiteOptions.ISPs.
	Accesses []*Access

	targets [families][]netip.Addr
	mu      sync.Mutex
}

// Access is the edge's line to one ISP.
type Access struct {
	ISP
	Host *Host
	// Device is the edge's, FarDevice the ISP's device of the line;
	// InternetDevice is the internet's device to the ISP.
	Device, FarDevice, InternetDevice string
	// IPv4 and IPv6 are the addresses of the line.
	IPv4, IPv6 Line
	// Tunnel is the line of a point-to-point access, side A at the edge; nil for
	// ethernet.
	Tunnel *Tunnel

	number  int
	healthy bool
}

// Line is the addressing of an access in one family.
type Line struct {
	// Source is the edge's address, Gateway the ISP's.
	Source, Gateway netip.Addr
	// Subnet holds both. A point-to-point line does not have it on its device,
	// but the internet routes it to the ISP.
	Subnet netip.Prefix
}

// Line returns the addressing of one family.
func (a *Access) Line(ipv6 bool) Line {
	if ipv6 {
		return a.IPv6
	}
	return a.IPv4
}

const (
	families   = 2
	maxISPs    = 64
	maxTargets = 200
)

// The addresses of the LAN, the same in each site; the first one is the edge's.
var (
	siteLAN = [families]netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8:10::/64")}
	// everything is the default route of each family.
	everything = [families]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	// firstTarget is the first address of the internet host.
	firstTarget = [families]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:ffff::1")}
)

// lineSubnet is the subnet of the edge and ISP number n, from 0: /29 networks of
// 203.0.113.0/24, from the 33rd on of 198.18.0.0/24, and /64 networks of
// 2001:db8:1000::/36.
func lineSubnet(n int) [families]netip.Prefix {
	v4 := [4]byte{203, 0, 113, byte(n * 8)}
	if n >= 32 {
		v4 = [4]byte{198, 18, 0, byte((n - 32) * 8)}
	}
	return [families]netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4(v4), 29),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0x10, byte(n)}), 64),
	}
}

// transitSubnet is the subnet of ISP number n and the internet.
func transitSubnet(n int) [families]netip.Prefix {
	return [families]netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n * 4)}), 30),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0x20, byte(n)}), 64),
	}
}

// NewSite builds the site in l.
func NewSite(l *Lab, o SiteOptions) (*Site, error) {
	if o.Targets == 0 {
		o.Targets = 20
	}
	if len(o.ISPs) < 1 || len(o.ISPs) > maxISPs || o.Targets < 1 || o.Targets > maxTargets {
		return nil, fmt.Errorf("build site: %d ISPs with %d targets, want 1..%d and 1..%d", len(o.ISPs), o.Targets, maxISPs, maxTargets)
	}
	s := &Site{Lab: l, LANDevice: "eth0"}
	steps := []func() error{s.buildHosts, s.buildLAN, func() error { return s.buildTargets(o.Targets) }}
	for n, isp := range o.ISPs {
		steps = append(steps, func() error { return s.buildAccess(n, isp) })
	}
	for _, step := range append(steps, s.routeBack) {
		if err := step(); err != nil {
			return nil, fmt.Errorf("build site: %w", err)
		}
	}
	return s, nil
}

func (s *Site) buildHosts() error {
	for name, host := range map[string]**Host{"lan": &s.LAN, "edge": &s.Edge, "internet": &s.Internet} {
		h, err := s.Lab.Host(name)
		if err != nil {
			return err
		}
		*host = h
	}
	return s.Edge.Forward()
}

func (s *Site) buildLAN() error {
	errs := []error{s.Lab.Veth(s.Edge, s.LANDevice, s.LAN, "eth0")}
	for i, subnet := range siteLAN {
		edge, lan := nth(subnet, 1), nth(subnet, 2)
		errs = append(errs,
			s.Edge.AddAddress(s.LANDevice, edge),
			s.LAN.AddAddress("eth0", lan),
			s.LAN.AddRoute(everything[i], edge.Addr(), "eth0"))
	}
	return errors.Join(errs...)
}

func (s *Site) buildTargets(count int) error {
	for i, a := range firstTarget {
		for range count {
			if err := s.Internet.AddAddress("lo", hostPrefix(a)); err != nil {
				return err
			}
			s.targets[i] = append(s.targets[i], a)
			a = a.Next()
		}
	}
	return nil
}

// buildAccess adds ISP number n, from 0, with its lines to the edge and to the
// internet.
func (s *Site) buildAccess(n int, isp ISP) error {
	host, err := s.Lab.Host(isp.Name)
	if err != nil {
		return err
	}
	a := &Access{
		ISP: isp, Host: host, number: n, healthy: true,
		Device: fmt.Sprintf("eth%d", n+1), FarDevice: "wan0", InternetDevice: fmt.Sprintf("isp%d", n+1),
	}
	subnets := lineSubnet(n)
	for i, line := range a.lines() {
		*line = Line{Gateway: nth(subnets[i], 1).Addr(), Source: nth(subnets[i], 2).Addr(), Subnet: subnets[i]}
	}
	if isp.PointToPoint {
		a.Device = fmt.Sprintf("ppp%d", n+1)
		a.Tunnel, err = s.Lab.PointToPoint(s.Edge, a.Device, host, a.FarDevice)
	} else {
		err = s.Lab.Veth(s.Edge, a.Device, host, a.FarDevice)
	}
	err = errors.Join(err, host.Forward(), s.Lab.Veth(host, "inet0", s.Internet, a.InternetDevice))
	if err != nil {
		return err
	}
	s.Accesses = append(s.Accesses, a)
	transit := transitSubnet(n)
	for i, line := range a.lines() {
		near, far := nth(transit[i], 1), nth(transit[i], 2)
		err := errors.Join(
			s.addLine(a, *line),
			host.AddAddress("inet0", near),
			s.Internet.AddAddress(a.InternetDevice, far),
			host.AddRoute(everything[i], far.Addr(), "inet0"),
			host.AddRoute(siteLAN[i], line.lanVia(a), a.FarDevice),
			s.Internet.AddRoute(line.Subnet, near.Addr(), a.InternetDevice))
		if err != nil {
			return err
		}
	}
	return nil
}

// addLine gives both ends of the line their addresses.
func (s *Site) addLine(a *Access, l Line) error {
	if a.PointToPoint {
		return errors.Join(
			s.Edge.AddPeer(a.Device, l.Source, l.Gateway),
			a.Host.AddPeer(a.FarDevice, l.Gateway, l.Source))
	}
	return errors.Join(
		s.Edge.AddAddress(a.Device, netip.PrefixFrom(l.Source, l.Subnet.Bits())),
		a.Host.AddAddress(a.FarDevice, netip.PrefixFrom(l.Gateway, l.Subnet.Bits())))
}

// lanVia is the next hop of the ISP towards the LAN: none on a point-to-point
// line, so that the route survives a change of the edge's address.
func (l Line) lanVia(a *Access) netip.Addr {
	if a.PointToPoint {
		return netip.Addr{}
	}
	return l.Source
}

func (a *Access) lines() [families]*Line { return [families]*Line{&a.IPv4, &a.IPv6} }

// nth is the n-th address of a subnet with the length of the subnet; n is small.
func nth(subnet netip.Prefix, n int) netip.Prefix {
	a := subnet.Addr()
	for range n {
		a = a.Next()
	}
	return netip.PrefixFrom(a, subnet.Bits())
}
