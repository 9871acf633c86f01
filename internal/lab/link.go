package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// memory is what was added to one device.
type memory struct {
	addresses []netlink.Addr
	routes    []netlink.Route
	// deaf devices have no IPv6 to put addresses and routes back to.
	deaf bool
}

// remember must be called with h.mu held.
func (h *Host) remember(dev string) *memory {
	m := h.memory[dev]
	if m == nil {
		m = &memory{}
		h.memory[dev] = m
	}
	return m
}

// AddAddress gives dev an address with its subnet. An IPv6 address skips
// duplicate address detection and is usable at once.
func (h *Host) AddAddress(dev string, prefix netip.Prefix) error {
	a := netlink.Addr{IPNet: ipNet(prefix), Flags: addressFlags(prefix.Addr())}
	if err := h.addAddress(dev, a); err != nil {
		return fmt.Errorf("add address %s to %s %s: %w", prefix, h.name, dev, err)
	}
	return nil
}

// AddPeer gives dev a point-to-point address: local here, peer at the far end.
func (h *Host) AddPeer(dev string, local, peer netip.Addr) error {
	a := netlink.Addr{IPNet: ipNet(hostPrefix(local)), Peer: ipNet(hostPrefix(peer)), Flags: addressFlags(local)}
	if err := h.addAddress(dev, a); err != nil {
		return fmt.Errorf("add address %s peer %s to %s %s: %w", local, peer, h.name, dev, err)
	}
	return nil
}

func (h *Host) addAddress(dev string, a netlink.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return err
	}
	if err := h.nl.AddrAdd(link, &a); err != nil {
		return err
	}
	m := h.remember(dev)
	m.addresses = append(m.addresses, a)
	return h.awaitUsable(link, a)
}

const (
	// usableWithin is far more than a busy machine needs.
	usableWithin = 10 * time.Second
	usablePoll   = 200 * time.Microsecond
)

// awaitUsable waits until an address that was added is one to talk to and from.
// The kernel adds the local route of an IPv6 address, and the route to the peer
// of a point-to-point one, later and on another thread, even without duplicate
// address detection (addrconf_dad_work in net/ipv6/addrconf.c, seen on Linux
// 6.18: ENETUNREACH right after the address was acknowledged). A device that is
// down has to wait for its SetUp.
func (h *Host) awaitUsable(link netlink.Link, a netlink.Addr) error {
	if a.IP.To4() != nil || link.Attrs().Flags&net.FlagUp == 0 {
		return nil
	}
	deadline := time.NewTimer(usableWithin)
	defer deadline.Stop()
	poll := time.NewTicker(usablePoll)
	defer poll.Stop()
	for {
		err := h.usable(link, a)
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return fmt.Errorf("wait %s until %s is usable: %w", usableWithin, a.IP, err)
		case <-poll.C:
		}
	}
}

// usable asks for the routes to the address and to its peer.
func (h *Host) usable(link netlink.Link, a netlink.Addr) error {
	options := &netlink.RouteGetOptions{OifIndex: link.Attrs().Index}
	routes, err := h.nl.RouteGetWithOptions(a.IP, options)
	switch {
	case err != nil:
		return err
	case len(routes) != 1 || routes[0].Type != unix.RTN_LOCAL:
		return fmt.Errorf("it has no local route but %v", routes)
	case a.Peer == nil:
		return nil
	}
	_, err = h.nl.RouteGetWithOptions(a.Peer.IP, options)
	return err
}

// AddRoute adds a route to table main. via may be the zero Addr (a route to the
// device), and of the other family than dst (RFC 8950); dev may be empty if via is
// enough to find it.
func (h *Host) AddRoute(dst netip.Prefix, via netip.Addr, dev string) error {
	if err := h.addRoute(dst, via, dev); err != nil {
		return fmt.Errorf("add route %s via %s dev %s to %s: %w", dst, via, dev, h.name, err)
	}
	return nil
}

func (h *Host) addRoute(dst netip.Prefix, via netip.Addr, dev string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := netlink.Route{Dst: ipNet(dst.Masked()), Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_STATIC}
	if !via.IsValid() && dst.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	switch {
	case !via.IsValid():
	case via.Is4() == dst.Addr().Is4():
		r.Gw = via.AsSlice()
	default:
		r.Via = &netlink.Via{AddrFamily: family(via), Addr: via.AsSlice()}
	}
	if dev != "" {
		link, err := h.nl.LinkByName(dev)
		if err != nil {
			return err
		}
		r.LinkIndex = link.Attrs().Index
	}
	if err := h.nl.RouteAdd(&r); err != nil {
		return err
	}
	if dev != "" {
		m := h.remember(dev)
		m.routes = append(m.routes, r)
	}
	return nil
}

// SetUp sets dev up and puts back what the kernel dropped when it went down: its
// IPv6 addresses and the routes over it that were added with AddRoute.
func (h *Host) SetUp(dev string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("set %s %s up: %w", h.name, dev, err)
	}
	if err := h.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s %s up: %w", h.name, dev, err)
	}
	// Addresses are usable from now on; restore looks at the flag.
	link.Attrs().Flags |= net.FlagUp
	if err := h.restore(link); err != nil {
		return fmt.Errorf("restore %s %s: %w", h.name, dev, err)
	}
	return nil
}

// restore puts back the addresses and routes of a device that is up. The caller
// holds h.mu.
func (h *Host) restore(link netlink.Link) error {
	m := h.memory[link.Attrs().Name]
	if m == nil {
		return nil
	}
	var errs []error
	for _, a := range m.addresses {
		if m.deaf && a.IP.To4() == nil {
			continue
		}
		if err := h.nl.AddrReplace(link, &a); err != nil {
			errs = append(errs, fmt.Errorf("add address %s: %w", a.IPNet, err))
			continue
		}
		if err := h.awaitUsable(link, a); err != nil {
			errs = append(errs, err)
		}
	}
	for _, r := range m.routes {
		if m.deaf && (r.Dst.IP.To4() == nil || r.Via != nil) {
			continue
		}
		if err := h.nl.RouteAdd(&r); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("add route %s: %w", r.Dst, err))
		}
	}
	return errors.Join(errs...)
}

// SetDown sets dev down, which takes the carrier from the far end of a veth.
func (h *Host) SetDown(dev string) error {
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("set %s %s down: %w", h.name, dev, err)
	}
	if err := h.nl.LinkSetDown(link); err != nil {
		return fmt.Errorf("set %s %s down: %w", h.name, dev, err)
	}
	return nil
}

// DeleteLink deletes dev; of a veth both ends vanish.
func (h *Host) DeleteLink(dev string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("delete %s %s: %w", h.name, dev, err)
	}
	if err := h.nl.LinkDel(link); err != nil {
		return fmt.Errorf("delete %s %s: %w", h.name, dev, err)
	}
	delete(h.memory, dev)
	return nil
}

// forget drops the memory of a device that vanished by other means.
func (h *Host) forget(dev string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.memory, dev)
}

// RemoveAddress takes an address away again; of a point-to-point address, name
// the local one with its full length.
func (h *Host) RemoveAddress(dev string, prefix netip.Prefix) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("remove address %s from %s %s: %w", prefix, h.name, dev, err)
	}
	same := func(a netlink.Addr) bool { return a.IPNet.String() == ipNet(prefix).String() }
	m := h.remember(dev)
	i := slices.IndexFunc(m.addresses, same)
	if i < 0 {
		return fmt.Errorf("remove address %s from %s %s: it was not added here", prefix, h.name, dev)
	}
	if err := h.nl.AddrDel(link, &m.addresses[i]); err != nil {
		return fmt.Errorf("remove address %s from %s %s: %w", prefix, h.name, dev, err)
	}
	m.addresses = slices.Delete(m.addresses, i, i+1)
	return nil
}

// Index is the interface index of dev.
func (h *Host) Index(dev string) (int, error) {
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return 0, fmt.Errorf("find %s %s: %w", h.name, dev, err)
	}
	return link.Attrs().Index, nil
}

// Counters are the packets that dev received and sent since it exists.
func (h *Host) Counters(dev string) (rxPackets, txPackets uint64, err error) {
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return 0, 0, fmt.Errorf("read counters of %s %s: %w", h.name, dev, err)
	}
	s := link.Attrs().Statistics
	if s == nil {
		return 0, 0, fmt.Errorf("read counters of %s %s: the kernel sent none", h.name, dev)
	}
	return s.RxPackets, s.TxPackets, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// addressFlags skip duplicate address detection; the flag means nothing to IPv4.
func addressFlags(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return unix.IFA_F_NODAD
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
