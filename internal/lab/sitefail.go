package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Access finds an access by the name of its ISP.
func (s *Site) Access(isp string) (*Access, error) {
	for _, a := range s.Accesses {
		if a.Name == isp {
			return a, nil
		}
	}
	return nil, fmt.Errorf("no ISP %q in this site", isp)
}

// Destinations are all addresses of the internet host, of one family.
func (s *Site) Destinations(ipv6 bool) []netip.Addr {
	if ipv6 {
		return s.targets[1]
	}
	return s.targets[0]
}

// targetsPerFamily is how many addresses Targets gives of each family: with three,
// a majority can do without one.
const targetsPerFamily = 3

// Targets are addresses of the internet host to probe an ISP by, three of
// each family. As far as the site has enough of them, ISPs share none.
func (s *Site) Targets(isp string) ([]netip.Addr, error) {
	a, err := s.Access(isp)
	if err != nil {
		return nil, err
	}
	var targets []netip.Addr
	for _, all := range s.targets {
		for i := range min(targetsPerFamily, len(all)) {
			targets = append(targets, all[(a.number*targetsPerFamily+i)%len(all)])
		}
	}
	return targets, nil
}

// CutSilently makes the ISP drop everything that it should route, while the
// carrier stays and the gateway itself still answers.
func (s *Site) CutSilently(isp string, on bool) error {
	return s.change(isp, !on, func(a *Access) error { return a.Host.Blackhole(on) })
}

// Silence makes the ISP drop everything, for itself as well, while the carrier
// stays.
func (s *Site) Silence(isp string, on bool) error {
	return s.change(isp, !on, func(a *Access) error { return a.Host.Silence(on) })
}

// Carrier sets or takes the carrier of the edge's device to the ISP.
func (s *Site) Carrier(isp string, on bool) error {
	return s.change(isp, on, func(a *Access) error {
		switch {
		case a.Tunnel != nil:
			return a.Tunnel.SetCarrier(SideA, on)
		case on:
			return a.Host.SetUp(a.FarDevice)
		default:
			return a.Host.SetDown(a.FarDevice)
		}
	})
}

// DeletePPP ends the session of a point-to-point access: the edge's device is
// gone.
func (s *Site) DeletePPP(isp string) error {
	return s.change(isp, false, func(a *Access) error {
		if a.Tunnel == nil {
			return errors.New("not a point-to-point access")
		}
		return a.Tunnel.Delete(SideA)
	})
}

// CreatePPP begins a new session: the edge's device returns with another index.
// addresses, at most one per family and inside of the access' subnets, become the
// edge's own; without one the family keeps its address.
func (s *Site) CreatePPP(isp string, addresses ...netip.Addr) error {
	return s.change(isp, true, func(a *Access) error {
		if a.Tunnel == nil {
			return errors.New("not a point-to-point access")
		}
		for _, address := range addresses {
			if err := a.renumber(address); err != nil {
				return err
			}
		}
		if err := a.Tunnel.Recreate(SideA); err != nil {
			return err
		}
		var errs []error
		for _, l := range a.lines() {
			errs = append(errs, s.Edge.AddPeer(a.Device, l.Source, l.Gateway))
		}
		return errors.Join(errs...)
	})
}

// renumber tells the ISP about a new address of the edge.
func (a *Access) renumber(address netip.Addr) error {
	line := &a.IPv4
	if address.Is6() {
		line = &a.IPv6
	}
	if !line.Subnet.Contains(address) || address == line.Gateway {
		return fmt.Errorf("address %s is not one of %s for the edge", address, line.Subnet)
	}
	if address == line.Source {
		return nil
	}
	gateway := hostPrefix(line.Gateway)
	if err := a.Host.RemoveAddress(a.FarDevice, gateway); err != nil {
		return err
	}
	line.Source = address
	return a.Host.AddPeer(a.FarDevice, line.Gateway, address)
}

// change does something to an access, and lets the answers to the LAN take
// another way while this one is out of order.
func (s *Site) change(isp string, healthy bool, do func(*Access) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.Access(isp)
	if err != nil {
		return err
	}
	if err := do(a); err != nil {
		return fmt.Errorf("change %s: %w", isp, err)
	}
	a.healthy = healthy
	return s.routeBack()
}

// routeBack points the internet's routes to the LAN at the first access that is in
// order, or leaves them if none is.
func (s *Site) routeBack() error {
	for _, a := range s.Accesses {
		if !a.healthy {
			continue
		}
		index, err := s.Internet.Index(a.InternetDevice)
		if err != nil {
			return err
		}
		for i, near := range transitSubnet(a.number) {
			r := netlink.Route{
				Dst: ipNet(siteLAN[i]), Gw: nth(near, 1).Addr().AsSlice(), LinkIndex: index,
				Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_STATIC,
			}
			if err := s.Internet.nl.RouteReplace(&r); err != nil {
				return fmt.Errorf("route the LAN back by %s: %w", a.Name, err)
			}
		}
		return nil
	}
	return nil
}
