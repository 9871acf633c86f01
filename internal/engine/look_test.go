package engine

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// memberOf returns one way of a configuration of uplinks, given as YAML lists, and
// the site.
func memberOf(t *testing.T, uplinks string, w uplink.Way) (*site, member) {
	t.Helper()
	s := newSite(parseConfig(t, "uplinks: "+uplinks))
	for _, m := range s.members {
		if m.Way == w {
			return s, m
		}
	}
	t.Fatalf("no way %s", w)
	return nil, member{}
}

// said returns "opinion: reason" of one kind, "" if the view says nothing.
func said(v view, k uplink.Kind) string {
	for _, e := range v.evidence {
		if e.Kind == k {
			return e.Opinion.String() + ": " + e.Reason
		}
	}
	return ""
}

// eachFamily runs a test for both families. text has the IPv4 form of addresses;
// translate gives that of the family.
func eachFamily(t *testing.T, run func(t *testing.T, f fib.Family, translate func(string) string)) {
	t.Helper()
	// A /24 becomes a /64 and a host a /128; so do the words for them.
	to6 := strings.NewReplacer("203.0.113.0/24", "2001:db8:1::/64", "198.51.100.0/24", "2001:db8:2::/64", "10.9.0.0/24", "2001:db8:9::/64",
		"203.0.113.", "2001:db8:1::", "198.51.100.", "2001:db8:2::", "10.9.0.", "2001:db8:9::",
		"/24", "/64", "/32", "/128", "ipv4", "ipv6", "ARP", "neighbour discovery", "no default route", "no IPv6 default route",
		"configure gateway, or let the DHCP client install one", "configure gateway, or accept router advertisements (net.ipv6.conf.eth1.accept_ra)")
	for _, f := range fib.Families {
		t.Run(f.String(), func(t *testing.T) {
			run(t, f, func(text string) string {
				if f == fib.IPv4 {
					return text
				}
				return to6.Replace(text)
			})
		})
	}
}

const (
	ofGateway = `[{name: a, interface: eth1, gateway: "203.0.113.1", neighbour: {tries: 2}}]`
	ofLearned = `[{name: a, interface: eth1}]`
	ofSource  = `[{name: a, interface: eth1, gateway: "203.0.113.1", source: ["198.51.100.7/32"]}]`
	ofPrefix  = `[{name: a, interface: eth1, gateway: "203.0.113.1", source: ["198.51.100.0/24"]}]`
	ofBoth    = `[{name: a, interface: eth1, gateway: "203.0.113.1", source: ["198.51.100.7/32", "203.0.113.2/32"]}]`
)

// TestLook_evidence: every kind of hard evidence with its reason, on both sides of
// each decision.
func TestLook_evidence(t *testing.T) {
	const fine = "eth1 2 203.0.113.2/24"
	tests := []struct {
		name    string
		uplinks string
		host    []string
		kind    uplink.Kind
		want    string
		usable  bool
	}{
		{"no device", ofGateway, []string{"eth2 3"}, uplink.KindLink, "down: interface eth1 is not there", false},
		{"set down", ofGateway, []string{fine + " down"}, uplink.KindLink, "down: interface eth1 is set down (ip link set eth1 up)", false},
		{"no carrier", ofGateway, []string{fine + " nocarrier"}, uplink.KindLink, "down: no carrier on eth1", false},
		{"dormant", ofGateway, []string{fine + " dormant"}, uplink.KindLink, "down: eth1 is dormant: it waits for authentication or negotiation", false},
		{"state unknown", ofGateway, []string{fine + " unknown"}, uplink.KindLink, "up: carrier on eth1", true},
		{"carrier", ofGateway, []string{fine}, uplink.KindLink, "up: carrier on eth1", true},

		{"no address", ofGateway, []string{"eth1 2"}, uplink.KindAddress, "down: no global ipv4 address on eth1", false},
		{"only link-local", ofGateway, []string{"eth1 2 169.254.3.4/16 fe80::1/64"}, uplink.KindAddress, "down: no global ipv4 address on eth1", false},
		{"tentative", ofGateway, []string{"eth1 2 203.0.113.2/24,tentative"}, uplink.KindAddress, "down: 203.0.113.2 is not usable yet (duplicate address detection)", false},
		{"address", ofGateway, []string{fine}, uplink.KindAddress, "up: 203.0.113.2 is there", true},
		{"deprecated will do", ofGateway, []string{"eth1 2 203.0.113.2/24,deprecated"}, uplink.KindAddress, "up: 203.0.113.2 is there", true},
		{"source missing", ofSource, []string{fine}, uplink.KindAddress, "down: source 198.51.100.7 is on no interface", false},
		{"source tentative", ofSource, []string{fine, "lo 1 198.51.100.7/32,tentative"}, uplink.KindAddress, "down: 198.51.100.7 is not usable yet (duplicate address detection)", false},
		{"source on lo", ofSource, []string{fine, "lo 1 198.51.100.7/32"}, uplink.KindAddress, "up: 198.51.100.7 is there", true},
		{"one source of two", ofBoth, []string{fine}, uplink.KindAddress, "up: 203.0.113.2 is there", true},
		{"no source of two", ofBoth, []string{"eth1 2 203.0.113.9/24"}, uplink.KindAddress, "down: source 198.51.100.7 is on no interface", false},
		{"prefix", ofPrefix, []string{"eth1 2"}, uplink.KindAddress, "up: prefix 198.51.100.0/24 is configured", true},

		{"gateway configured", ofGateway, []string{fine}, uplink.KindGateway, "up: 203.0.113.1 (configured)", true},
		{"nothing to learn", ofLearned, []string{fine}, uplink.KindGateway, "down: no default route over eth1: configure gateway, or let the DHCP client install one", false},
		{"nothing to learn from", ofLearned, []string{"eth2 3"}, uplink.KindGateway, "down: no link eth1: it does not exist (yet)", false},
		{"point-to-point", ofLearned, []string{fine + " p2p"}, uplink.KindGateway, "up: eth1 is point-to-point and needs no gateway", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f fib.Family, translate func(string) string) {
				s, m := memberOf(t, translate(tt.uplinks), uplink.Way{Uplink: "a", Family: f})
				var links []string
				for _, l := range tt.host {
					links = append(links, translate(l))
				}
				v := s.look(m, hostOf(t, links...))
				if got := said(v, tt.kind); got != translate(tt.want) {
					t.Errorf("%s evidence is %q, want %q", tt.kind, got, translate(tt.want))
				}
				if v.fact.Usable != tt.usable {
					t.Errorf("usable %t, want %t", v.fact.Usable, tt.usable)
				}
			})
		})
	}
}

func TestLook_gateway(t *testing.T) {
	eachFamily(t, func(t *testing.T, f fib.Family, translate func(string) string) {
		a := uplink.Way{Uplink: "a", Family: f}
		gateway := netip.MustParseAddr(translate("203.0.113.254"))
		s, m := memberOf(t, ofLearned, a)
		h := learned(hostOf(t, translate("eth1 2 203.0.113.2/24")), "eth1", gateway.String())
		if v := s.look(m, h); v.fact.Gateway != gateway || !v.fact.Usable || v.watch != gateway {
			t.Errorf("learned %s, usable %t, watched %s", v.fact.Gateway, v.fact.Usable, v.watch)
		}
		h = learned(hostOf(t, translate("eth1 2 203.0.113.2/32 p2p")), "eth1", gateway.String())
		if v := s.look(m, h); v.fact.Gateway.IsValid() || !v.fact.Usable || v.watch.IsValid() {
			t.Errorf("a point-to-point link uses gateway %s, usable %t, watched %s", v.fact.Gateway, v.fact.Usable, v.watch)
		}
		s, m = memberOf(t, translate(ofGateway), a)
		h = learned(hostOf(t, translate("eth1 2 203.0.113.2/24")), "eth1", gateway.String())
		if v := s.look(m, h); v.fact.Gateway != netip.MustParseAddr(translate("203.0.113.1")) {
			t.Errorf("the configured gateway gave way to %s", v.fact.Gateway)
		}
	})
}

// TestLook_gatewayOfTheOtherFamily: an IPv4 default may have an IPv6 gateway (RFC
// 8950).
func TestLook_gatewayOfTheOtherFamily(t *testing.T) {
	s, m := memberOf(t, ofLearned, wayA)
	h := hostOf(t, "eth1 2 203.0.113.2/24")
	h.Defaults = append(h.Defaults, netmon.Default{LinkIndex: 2, Dst: fib.IPv4.Any(), Gateway: netip.MustParseAddr("fe80::1"), Table: 254})
	if v := s.look(m, h); !v.fact.Usable || v.fact.Gateway.String() != "fe80::1" || v.watch.String() != "fe80::1" {
		t.Errorf("got %+v", v.fact)
	}
}

// TestLook_neighbour: the gateway is watched where it can be, and what it says is
// evidence then.
func TestLook_neighbour(t *testing.T) {
	tests := []struct {
		name, uplinks, host string
		neighbour           *netmon.Neighbour
		want                string
	}{
		{"not looked at yet", ofGateway, "eth1 2 203.0.113.2/24", nil, "unknown: not looked at yet"},
		{"reachable", ofGateway, "eth1 2 203.0.113.2/24", &netmon.Neighbour{State: netmon.NUDReachable, Router: true, MAC: "02::1"}, "up: reachable, 02::1"},
		{"fewer rounds than tries", ofGateway, "eth1 2 203.0.113.2/24", &netmon.Neighbour{State: netmon.NUDFailed, Failures: 1}, "unknown: gateway 203.0.113.1 did not answer ARP yet (1 round of solicitations), trying again"},
		{"as many as tries", ofGateway, "eth1 2 203.0.113.2/24", &netmon.Neighbour{State: netmon.NUDFailed, Failures: 2}, "down: gateway 203.0.113.1 does not answer ARP (2 rounds of solicitations)"},
		{"switched off", `[{name: a, interface: eth1, gateway: "203.0.113.1", neighbour: false}]`, "eth1 2 203.0.113.2/24", &netmon.Neighbour{State: netmon.NUDFailed, Failures: 9}, ""},
		{"no carrier", ofGateway, "eth1 2 203.0.113.2/24 nocarrier", &netmon.Neighbour{State: netmon.NUDFailed, Failures: 9}, ""},
		{"noarp", ofGateway, "eth1 2 203.0.113.2/24 noarp", nil, ""},
		{"no gateway", ofLearned, "eth1 2 203.0.113.2/24", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f fib.Family, translate func(string) string) {
				s, m := memberOf(t, translate(tt.uplinks), uplink.Way{Uplink: "a", Family: f})
				h := hostOf(t, translate(tt.host))
				if tt.neighbour != nil {
					n := *tt.neighbour
					n.Address = netip.MustParseAddr(translate("203.0.113.1"))
					h.Neighbours[netmon.NeighbourKey{LinkIndex: 2, Address: n.Address}] = n
					// The same address behind another link is somebody else.
					h.Neighbours[netmon.NeighbourKey{LinkIndex: 3, Address: n.Address}] = netmon.Neighbour{Address: n.Address, State: netmon.NUDReachable}
				}
				v := s.look(m, h)
				if got := said(v, uplink.KindNeighbour); got != translate(tt.want) {
					t.Errorf("got %q, want %q", got, translate(tt.want))
				}
				if v.watch.IsValid() != (tt.want != "") {
					t.Errorf("watched %s", v.watch)
				}
			})
		})
	}
}

// TestLook_preferred: the source of packets that have none yet.
func TestLook_preferred(t *testing.T) {
	tests := []struct {
		name, uplinks string
		host          []string
		want          string
	}{
		{"the first of equals", ofGateway, []string{"eth1 2 203.0.113.2/24 203.0.113.3/24"}, "203.0.113.2"},
		{"lasting before temporary", ofGateway, []string{"eth1 2 203.0.113.2/24,temporary 203.0.113.3/24"}, "203.0.113.3"},
		{"temporary before deprecated", ofGateway, []string{"eth1 2 203.0.113.2/24,deprecated 203.0.113.3/24,temporary"}, "203.0.113.3"},
		{"deprecated before none", ofGateway, []string{"eth1 2 203.0.113.2/24,deprecated"}, "203.0.113.2"},
		{"tentative is none", ofGateway, []string{"eth1 2 203.0.113.2/24,tentative"}, ""},
		{"configured before others", ofBoth, []string{"eth1 2 203.0.113.9/24 203.0.113.2/24"}, "203.0.113.2"},
		{"configured but not there", ofBoth, []string{"eth1 2 203.0.113.9/24"}, "203.0.113.9"},
		{"configured and on lo", ofSource, []string{"eth1 2 203.0.113.9/24", "lo 1 198.51.100.7/32"}, "203.0.113.9"},
		{"configured, on lo, and nothing else", ofSource, []string{"eth1 2", "lo 1 198.51.100.7/32"}, "198.51.100.7"},
		{"within the prefix before others", ofPrefix, []string{"eth1 2 203.0.113.9/24 198.51.100.9/24"}, "198.51.100.9"},
		{"within the prefix on a LAN", ofPrefix, []string{"eth1 2", "lan1 5 198.51.100.20/24", "lan0 4 198.51.100.10/24"}, "198.51.100.10"},
		{"not within the prefix", ofPrefix, []string{"eth1 2", "lan0 4 10.9.0.1/24"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f fib.Family, translate func(string) string) {
				s, m := memberOf(t, translate(tt.uplinks), uplink.Way{Uplink: "a", Family: f})
				var links []string
				for _, l := range tt.host {
					links = append(links, translate(l))
				}
				var want netip.Addr
				if tt.want != "" {
					want = netip.MustParseAddr(translate(tt.want))
				}
				if got := s.look(m, hostOf(t, links...)).fact.Preferred; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		})
	}
}

// TestLook_sources: whose packets belong to the way.
func TestLook_sources(t *testing.T) {
	tests := []struct {
		name, uplinks, host string
		want                []string
	}{
		{"all global addresses, usable or not", ofGateway, "eth1 2 203.0.113.2/24 203.0.113.3/24,tentative 203.0.113.4/24,deprecated", []string{"203.0.113.2/32", "203.0.113.3/32", "203.0.113.4/32"}},
		{"once each", ofGateway, "eth1 2 203.0.113.2/24 203.0.113.2/32", []string{"203.0.113.2/32"}},
		{"no link-local", ofGateway, "eth1 2 169.254.1.1/16 fe80::1/64", nil},
		{"as configured, there or not", ofBoth, "eth1 2 203.0.113.9/24", []string{"198.51.100.7/32", "203.0.113.2/32", "203.0.113.9/32"}},
		{"no device", ofGateway, "eth2 3 203.0.113.2/24", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f fib.Family, translate func(string) string) {
				s, m := memberOf(t, translate(tt.uplinks), uplink.Way{Uplink: "a", Family: f})
				var got, want []string
				for _, p := range s.look(m, hostOf(t, translate(tt.host))).fact.Sources {
					got = append(got, p.String())
				}
				for _, p := range tt.want {
					want = append(want, translate(p))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

// TestLook_subnets: replies to hosts in these follow their source; what a LAN
// overlaps is left to the connected routes.
func TestLook_subnets(t *testing.T) {
	const two = `[{name: a, interface: eth1, gateway: "203.0.113.1"}, {name: b, interface: eth2, gateway: "198.51.100.1"}]`
	tests := []struct {
		name string
		host []string
		want []string
	}{
		{"one", []string{"eth1 2 203.0.113.2/24"}, []string{"203.0.113.0/24"}},
		{"once", []string{"eth1 2 203.0.113.2/24 203.0.113.3/24"}, []string{"203.0.113.0/24"}},
		{"two", []string{"eth1 2 203.0.113.2/24 10.9.0.2/24"}, []string{"203.0.113.0/24", "10.9.0.0/24"}},
		{"a LAN elsewhere", []string{"eth1 2 203.0.113.2/24", "lan0 4 10.9.0.1/24"}, []string{"203.0.113.0/24"}},
		{"the same LAN", []string{"eth1 2 203.0.113.2/24 10.9.0.2/24", "lan0 4 203.0.113.129/24"}, []string{"10.9.0.0/24"}},
		{"another uplink", []string{"eth1 2 203.0.113.2/24", "eth2 3 203.0.113.9/24"}, []string{"203.0.113.0/24"}},
		{"an address of ours on lo", []string{"eth1 2 203.0.113.2/24", "lo 1 203.0.113.77/32"}, []string{"203.0.113.0/24"}},
		{"a neighbour behind a peer", []string{"eth1 2 203.0.113.2/24", "tap0 4 10.9.0.1/32,peer=203.0.113.77"}, nil},
		{"a peer elsewhere", []string{"eth1 2 203.0.113.2/24", "tap0 4 203.0.113.77/32,peer=10.9.0.1"}, nil},
		{"single addresses", []string{"eth1 2 203.0.113.2/32"}, nil},
		{"point-to-point", []string{"eth1 2 203.0.113.2/24 p2p"}, nil},
		{"with a peer", []string{"eth1 2 203.0.113.2/24,peer=203.0.113.1"}, nil},
		{"link-local", []string{"eth1 2 169.254.1.1/16 fe80::1/64"}, nil},
		{"without a carrier", []string{"eth1 2 203.0.113.2/24 nocarrier"}, []string{"203.0.113.0/24"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f fib.Family, translate func(string) string) {
				s, m := memberOf(t, translate(two), uplink.Way{Uplink: "a", Family: f})
				var links, want, got []string
				for _, l := range tt.host {
					links = append(links, translate(l))
				}
				for _, p := range tt.want {
					want = append(want, translate(p))
				}
				for _, p := range s.look(m, hostOf(t, links...)).fact.Subnets {
					got = append(got, p.String())
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}
