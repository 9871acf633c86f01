package netmon

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// LearnGateway finds the gateway of an uplink that has none configured, in one
// family: that of the best default route which somebody else (DHCP client, router
// advertisement, pppd, the administrator) has put over the link. Best is the lowest
// metric, then table main before others. deviceRoute means that the link needs no
// gateway: the best default route has none, or the link is point-to-point. An IPv4
// default may have an IPv6 gateway (RFC 8950).
//
// A route that was learned from router advertisements vanishes with its lifetime
// (RFC 4861 section 6.3.5), and ok with it. Without ok the reason says what to do.
func LearnGateway(s *Snapshot, link string, ipv6 bool) (gw netip.Addr, deviceRoute bool, reason string, ok bool) {
	l, found := s.Links[link]
	if !found {
		return netip.Addr{}, false, fmt.Sprintf("no link %s: it does not exist (yet)", link), false
	}
	best, found := bestDefault(s.Defaults, l.Index, ipv6)
	switch {
	case found && best.Gateway.IsValid():
		return best.Gateway, false, fmt.Sprintf("gateway %s from the default route over %s (%s)", best.Gateway, link, best.origin()), true
	case found:
		return netip.Addr{}, true, fmt.Sprintf("the default route over %s has no gateway (%s)", link, best.origin()), true
	case l.PointToPoint:
		return netip.Addr{}, true, fmt.Sprintf("%s is point-to-point and needs no gateway", link), true
	case ipv6:
		return netip.Addr{}, false, fmt.Sprintf("no IPv6 default route over %s: configure gateway, or accept router advertisements (net.ipv6.conf.%s.accept_ra)", link, link), false
	default:
		return netip.Addr{}, false, fmt.Sprintf("no default route over %s: configure gateway, or let the DHCP client install one", link), false
	}
}

// bestDefault is the default route over a link that the kernel would prefer.
func bestDefault(defaults []Default, index int, ipv6 bool) (Default, bool) {
	var candidates []Default
	for _, d := range defaults {
		if d.LinkIndex == index && d.Dst.Addr().Is6() == ipv6 {
			candidates = append(candidates, d)
		}
	}
	if len(candidates) == 0 {
		return Default{}, false
	}
	return slices.MinFunc(candidates, func(a, b Default) int {
		return cmp.Or(
			cmp.Compare(a.Metric, b.Metric),
			cmp.Compare(notMain(a.Table), notMain(b.Table)),
			cmp.Compare(a.Table, b.Table),
			a.Gateway.Compare(b.Gateway),
		)
	}), true
}

func notMain(table uint32) int {
	if table == unix.RT_TABLE_MAIN {
		return 0
	}
	return 1
}

// origin says where a route comes from, in the words of iproute2.
func (d Default) origin() string {
	words := map[uint8]string{
		unix.RTPROT_KERNEL: "proto kernel",
		unix.RTPROT_BOOT:   "proto boot",
		unix.RTPROT_STATIC: "proto static",
		unix.RTPROT_RA:     "proto ra",
		unix.RTPROT_DHCP:   "proto dhcp",
	}
	word, ok := words[d.Protocol]
	if !ok {
		word = fmt.Sprintf("proto %d", d.Protocol)
	}
	return fmt.Sprintf("%s metric %d", word, d.Metric)
}
