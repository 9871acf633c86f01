package fib

import (
	"strings"
	"testing"
)

// Inline multipath routes, IPv4 (01..15) and IPv6 (15..18).

func TestLNX_RT_01_CarrierLossKeepsTheShare(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.inlineDefault(f)
		s.wantShare("with both uplinks", f, balanced)
	}
	l := s.listen()
	s.carrier(1, false)
	l.wantHeard("on carrier loss", "")
	for _, f := range Families { // IPv6: LNX-RT-16
		s.wantLine("without carrier", s.ip(f, "route show default"), "eth1", "linkdown")
		s.wantShare("without carrier", f, balanced)
	}
}

func TestLNX_RT_02_IgnoredLinkdownBefore(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.set("net/"+settings[f]+"/conf/all/ignore_routes_with_linkdown", "1")
		s.set("net/"+settings[f]+"/conf/eth1/ignore_routes_with_linkdown", "1")
		s.inlineDefault(f)
	}
	s.carrier(1, false)
	for _, f := range Families {
		s.wantLine("without carrier", s.ip(f, "route show default"), "eth1", "dead linkdown")
		s.wantShare("without carrier", f, nothing)
	}
}

func TestLNX_RT_03_IgnoredLinkdownAfter(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.inlineDefault(f)
	}
	s.carrier(1, false)
	for _, f := range Families {
		s.set("net/"+settings[f]+"/conf/all/ignore_routes_with_linkdown", "1")
		s.set("net/"+settings[f]+"/conf/eth1/ignore_routes_with_linkdown", "1")
		s.wantShare("with the setting after the event", f, balanced)
	}
}

func TestLNX_RT_04_AdminDown(t *testing.T) {
	s := newSite(t)
	s.inlineDefault(IPv4)
	l := s.listen()
	s.ip(FamilyUnknown, "link set eth1 down")
	s.wantLine("with eth1 down", s.ip(IPv4, "route show default"), "eth1", "dead linkdown")
	s.wantShare("with eth1 down", IPv4, nothing)
	s.ip(FamilyUnknown, "link set eth2 down")
	s.wantLine("with both down", s.ip(IPv4, "route show default"), "default")
	l.wantHeard("when all hops are down", "")
	s.ip(FamilyUnknown, "link set eth1 up")
	s.ip(FamilyUnknown, "link set eth2 up")
	s.wantLine("with both up again", s.ip(IPv4, "route show default"), "default")
}

func TestLNX_RT_05_UpRevivesAHop(t *testing.T) {
	s := newSite(t)
	s.inlineDefault(IPv4)
	s.ip(FamilyUnknown, "link set eth1 down")
	s.wantShare("with eth1 down", IPv4, nothing)
	s.ip(FamilyUnknown, "link set eth1 up")
	eventually(t, "eth1 in use again", func() bool { return balanced(s.shareOf(IPv4, "")) })
	for _, f := range Families {
		s.set("net/"+settings[f]+"/conf/all/ignore_routes_with_linkdown", "1")
		s.set("net/"+settings[f]+"/conf/eth1/ignore_routes_with_linkdown", "1")
	}
	s.carrier(1, false)
	s.wantShare("without carrier", IPv4, nothing)
	s.carrier(1, true)
	eventually(t, "eth1 in use again", func() bool { return balanced(s.shareOf(IPv4, "")) })
}

func TestLNX_RT_06_DeviceDeleted(t *testing.T) {
	s := newSite(t)
	s.inlineDefault(IPv4)
	l := s.listen()
	s.ip(FamilyUnknown, "link del eth1")
	s.wantLine("without eth1", s.ip(IPv4, "route show default"), "default")
	l.wantHeard("when a device goes", "")
}

func TestLNX_RT_07_AddressRemoved(t *testing.T) {
	s := newSite(t)
	s.ip(IPv4, "address add 192.0.99.1/24 dev eth1")
	s.ip(IPv4, "route add default via 192.0.99.2 dev eth1 metric 1")
	s.ip(IPv4, "route add default via %s dev eth1 metric 2 table 221", s.gateway(IPv4, 1))
	l := s.listen()
	s.ip(IPv4, "address del 192.0.99.1/24 dev eth1")
	s.wantLine("without the subnet of its gateway", s.ip(IPv4, "route show default"), "default", "via 192.0.99.2")
	s.ip(IPv4, "address del %s dev eth1", s.prefix(IPv4, 1, 1))
	s.wantLine("without any address", s.ip(IPv4, "route show default"), "default")
	out, _ := s.tryIP(IPv4, "route show table 221") // The table may be gone with its route.
	s.wantLine("without any address", out, "default")
	l.wantHeard("on removal of the last address", "")
}

func TestLNX_RT_08_PreferredSourceRemoved(t *testing.T) {
	s := newSite(t)
	s.ip(IPv4, "address add 192.0.1.9/24 dev eth1")
	s.ip(IPv4, "route add default via %s src 192.0.1.9 metric 1", s.gateway(IPv4, 1))
	s.ip(IPv4, "route add default via %s src 192.0.1.9 metric 1 table 100", s.gateway(IPv4, 1))
	l := s.listen()
	s.ip(IPv4, "address del 192.0.1.9/24 dev eth1")
	s.wantLine("main", s.ip(IPv4, "route show default"), "default")
	s.wantLine("table 100", s.ip(IPv4, "route show table 100"), "default", "src 192.0.1.9")
	l.wantHeard("on removal of a preferred source", "route del ipv4")
}

func TestLNX_RT_09_RulesSurvive(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.ip(f, "rule add pref 201 from %s lookup 202", s.addr(f, 1, 1))
		s.ip(f, "address del %s dev eth1", s.prefix(f, 1, 1))
		s.wantLine("without the address", s.ip(f, "rule show"), "201:", s.addr(f, 1, 1).String())
	}
	s.ip(FamilyUnknown, "link del eth1")
	for _, f := range Families {
		s.wantLine("without the device", s.ip(f, "rule show"), "201:", s.addr(f, 1, 1).String())
	}
}

func TestLNX_RT_10_EmptyTableFallsThrough(t *testing.T) {
	s := newSite(t)
	way := func(f Family) (string, error) {
		dst := map[Family]string{IPv4: "203.0.113.1", IPv6: "2001:db8:ffff::1"}[f]
		return s.tryIP(f, "route get %s from %s", dst, s.addr(f, 1, 1))
	}
	for _, f := range Families {
		s.set("net/"+settings[f]+"/conf/all/ignore_routes_with_linkdown", "1")
		s.set("net/"+settings[f]+"/conf/eth1/ignore_routes_with_linkdown", "1")
		s.ip(f, "rule add pref 201 from %s lookup 202", s.addr(f, 1, 1))
		s.ip(f, "route add default via %s dev eth1 table 202", s.gateway(f, 1))
		s.ip(f, "route add default via %s dev eth2", s.gateway(f, 2))
		if out, err := way(f); err != nil || !strings.Contains(out, "dev eth1") {
			t.Fatalf("%s: %s, %v", f, out, err)
		}
	}
	s.carrier(1, false)
	for _, f := range Families {
		if out, err := way(f); err != nil || !strings.Contains(out, "dev eth2") {
			s.differs("%s: with the table's default ignored a packet takes %q, %v, not main's", f, out, err)
		}
		s.ip(f, "route add unreachable default metric 4278198272 table 202")
		if out, err := way(f); err == nil {
			s.differs("%s: past the guard a packet takes %q", f, out)
		}
	}
}

func TestLNX_RT_11_NeighbourState(t *testing.T) {
	s := newSite(t)
	s.inlineDefault(IPv4)
	s.neighbour(IPv4, 1, "failed")
	s.wantShare("with a failed neighbour", IPv4, balanced)
	s.set("net/ipv4/fib_multipath_use_neigh", "1")
	s.wantShare("with a failed neighbour and use_neigh", IPv4, nothing)
}

// A router keeps using a hop whose neighbour is dead, a host does not
// (net/ipv6/route.c, ip6_pol_route: RT6_LOOKUP_F_REACHABLE without forwarding).
// Carrier loss is in LNX-RT-01 and 03.
func TestLNX_RT_16_IPv6NeighbourState(t *testing.T) {
	s := newSite(t)
	s.inlineDefault(IPv6)
	s.neighbour(IPv6, 1, "failed")
	s.wantShare("on a host with a failed neighbour", IPv6, nothing)
	s.set("net/ipv6/conf/all/forwarding", "1")
	s.wantShare("on a router with a failed neighbour", IPv6, balanced)
}

func TestLNX_RT_13_KernelReplacesForeignRoutes(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.ip(f, "route add default via %s dev eth1 metric 1 proto static", s.gateway(f, 1))
		s.refuses(f, "File exists", "route add default via %s dev eth2 metric 1 proto 133", s.gateway(f, 2))
		s.ip(f, "route replace default via %s dev eth2 metric 1 proto 133", s.gateway(f, 2))
		s.wantLine("after the replace", s.ip(f, "route show default"), "default", "eth2", "proto 133")
		s.wantLine("after the replace", s.ip(f, "route show default"), "proto static")
	}
}

func TestLNX_RT_14_KernelDeletesForeignRoutes(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.ip(f, "route add default via %s dev eth1 metric 1 proto static", s.gateway(f, 1))
		s.refuses(f, "No such process", "route del default metric 1 proto 133")
		s.ip(f, "route del default metric 1")
		s.wantLine("after a delete without protocol", s.ip(f, "route show default"), "default")
	}
}

func TestLNX_RT_15_KernelJoinsIPv6Routes(t *testing.T) {
	s := newSite(t)
	s.ip(IPv6, "route add default via %s dev eth1 metric 1 proto static", s.gateway(IPv6, 1))
	s.ip(IPv6, "route append default via %s dev eth2 metric 1 proto 133", s.gateway(IPv6, 2))
	out := s.ip(IPv6, "route show default")
	if strings.Count(out, "default") != 1 || strings.Count(out, "nexthop") != 2 || !strings.Contains(out, "proto static") {
		s.differs("an appended IPv6 route does not join the one of the same metric:\n%s", out)
	}
	s.ip(IPv6, "route replace default via %s dev eth2 metric 1 proto 133", s.gateway(IPv6, 2))
	s.wantLine("after replacing the joint route", s.ip(IPv6, "route show default"), "eth1")
}

func TestLNX_RT_17_IPv6AdminDown(t *testing.T) {
	s := newSite(t)
	s.inlineDefault(IPv6)
	l := s.listen()
	s.ip(FamilyUnknown, "link set eth1 down")
	s.wantLine("with eth1 down", s.ip(IPv6, "route show default"), "eth1", "dead linkdown")
	l.heard()
	s.ip(FamilyUnknown, "link set eth2 down")
	s.wantLine("with both down", s.ip(IPv6, "route show default"), "default")
	if got := l.heard(); !strings.Contains(got, "route del ipv6") {
		s.differs("when all hops of an IPv6 route are down it notifies %q", got)
	}
}

func TestLNX_RT_18_IPv6AddressesVanish(t *testing.T) {
	s := newSite(t)
	s.ip(FamilyUnknown, "link set eth1 down")
	s.ip(FamilyUnknown, "link set eth1 up")
	s.wantLine("after down and up", s.ip(IPv6, "address show dev eth1"), s.addr(IPv6, 1, 1).String())
	s.wantLine("after down and up", s.ip(IPv4, "address show dev eth1"), s.addr(IPv4, 1, 1).String(), "scope global")
}

// IPv6 looks for the way to a gateway through the policy rules: a rule of ours in
// front of main, whose table has a default, makes the kernel refuse gateways that
// are on the link. A rule that looks up main first, without its default, is what
// keeps replacing next hops possible. IPv4 looks for connected routes only.
func TestKernelLooksForGatewaysThroughRules(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.ip(f, "route add default via %s dev eth1 table 221", s.gateway(f, 1))
		s.ip(f, "rule add pref 221 lookup 221")
		if f == IPv6 {
			s.refuses(f, "No route to host", "nexthop add id 1 via %s dev eth1", s.gateway(f, 1))
		}
		s.ip(f, "rule add pref 50 lookup main suppress_prefixlength 0")
		s.ip(f, "nexthop add id 1 via %s dev eth1", s.gateway(f, 1))
		s.ip(f, "nexthop del id 1")
	}
}
