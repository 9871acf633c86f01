package engine

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
)

// TestSessionConfig: who is asked, by whom, and from where, in both families.
func TestSessionConfig(t *testing.T) {
	const ether = "eth1 2 203.0.113.2/24 2001:db8:1::2/64 fe80::2/64"
	const uplinks = "uplinks: [{name: a, interface: eth1, gateway: [203.0.113.1, '2001:db8:1::1'], bfd: {}}]"
	learn := func(t *testing.T) *netmon.Snapshot {
		t.Helper()
		return learned(learned(hostOf(t, ether), "eth1", "203.0.113.9"), "eth1", "fe80::9")
	}
	on := func(links ...string) func(*testing.T) *netmon.Snapshot {
		return func(t *testing.T) *netmon.Snapshot { t.Helper(); return hostOf(t, links...) }
	}
	tests := []struct {
		name, text string
		host       func(*testing.T) *netmon.Snapshot
		v4, v6     string // "" where no session is wanted
	}{
		{"gateways", uplinks, on(ether), "async 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3", "async 2001:db8:1::1%eth1 from 2001:db8:1::2, 50ms x 3"},
		{
			"learned gateways", "uplinks: [{name: a, interface: eth1, bfd: {passive: true, interval: 10ms, multiplier: 5}}]", learn,
			"async 203.0.113.9%eth1 from 203.0.113.2, 10ms x 5, passive", "async fe80::9%eth1 from fe80::2, 10ms x 5, passive",
		},
		{"one peer", strings.Replace(uplinks, "{}", "{peer: 203.0.113.7}", 1), on(ether), "async 203.0.113.7%eth1 from 203.0.113.2, 50ms x 3", ""},
		{
			"the address of the peer's subnet", uplinks, on("eth1 2 192.0.2.2/24 203.0.113.2/24 2001:db8:9::2/64 2001:db8:1::2/64"),
			"async 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3", "async 2001:db8:1::1%eth1 from 2001:db8:1::2, 50ms x 3",
		},
		{
			"multihop", "uplinks: [{name: a, interface: eth1, gateway: [203.0.113.1, '2001:db8:1::1'], bfd: {multihop: true, min-ttl: 250, peer: [192.0.2.1, '2001:db8::1']}}]", on(ether),
			"async 192.0.2.1%eth1 from 203.0.113.2, 50ms x 3, multihop ttl 250", "async 2001:db8::1%eth1 from 2001:db8:1::2, 50ms x 3, multihop ttl 250",
		},
		{
			"echo", strings.Replace(uplinks, "{}", "{mode: echo}", 1), on(ether, "lo 1 198.51.100.7/32 2001:db8:7::7/128"),
			"echo 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3, echoes from 198.51.100.7", "echo 2001:db8:1::1%eth1 from 2001:db8:1::2, 50ms x 3, echoes from 2001:db8:7::7",
		},
		{
			"echo with a source", strings.Replace(uplinks, "{}", "{mode: echo, echo-source: [192.0.2.77, '2001:db8:77::']}", 1), on(ether, "lo 1 198.51.100.7/32"),
			"echo 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3, echoes from 192.0.2.77", "echo 2001:db8:1::1%eth1 from 2001:db8:1::2, 50ms x 3, echoes from 2001:db8:77::",
		},
		{
			"peers of a point-to-point link", "uplinks: [{name: a, interface: ppp0, bfd: {}}]", on("ppp0 2 p2p 198.51.100.7/32peer=198.51.100.1 2001:db8:7::7/128peer=2001:db8:7::1"),
			"async 198.51.100.1%ppp0 from 198.51.100.7, 50ms x 3, point-to-point", "async 2001:db8:7::1%ppp0 from 2001:db8:7::7, 50ms x 3, point-to-point",
		},
		{
			"the other one of two", "uplinks: [{name: a, interface: ppp0, bfd: {}}]", on("ppp0 2 p2p 198.51.100.7/31 2001:db8:7::6/127"),
			"async 198.51.100.6%ppp0 from 198.51.100.7, 50ms x 3, point-to-point", "async 2001:db8:7::7%ppp0 from 2001:db8:7::6, 50ms x 3, point-to-point",
		},
		{
			"nobody knows who is there", "uplinks: [{name: a, interface: ppp0, bfd: {}}]", on("ppp0 2 p2p 198.51.100.7/32 2001:db8:7::7/128"),
			"the address of the other end of ppp0 is not known: name it with bfd.peer", "the address of the other end of ppp0 is not known: name it with bfd.peer",
		},
		{"no device", uplinks, on("eth2 3"), "interface eth1 is not there", "interface eth1 is not there"},
		{"no gateway", "uplinks: [{name: a, interface: eth1, bfd: {}}]", on(ether), "no gateway is known on eth1", "no gateway is known on eth1"},
		{"no address", uplinks, on("eth1 2"), "no source address for 203.0.113.1 on eth1", "no source address for 2001:db8:1::1 on eth1"},
		{"an address that is not usable yet", uplinks, on("eth1 2 203.0.113.2/24,tentative 2001:db8:1::2/64,tentative"), "no source address for 203.0.113.1 on eth1", "no source address for 2001:db8:1::1 on eth1"},
		{"off", strings.Replace(uplinks, "{}", "false", 1), on(ether), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			site, host := newSite(parseConfig(t, tt.text)), tt.host(t)
			for _, m := range site.members {
				want := map[fib.Family]string{fib.IPv4: tt.v4, fib.IPv6: tt.v6}[m.Family]
				got := ""
				if m.bfd != nil {
					c, why := site.sessionConfig(m, site.look(m, host), host, nil)
					if got = why; why == "" {
						got = describe(c)
						if err := c.Validate(); err != nil {
							t.Errorf("%s: %v", m.Way, err)
						}
						if c.Mark != m.conf.Mark {
							t.Errorf("%s: mark %#x", m.Way, c.Mark)
						}
					}
				}
				if got != want {
					t.Errorf("%s: %q, want %q", m.Way, got, want)
				}
			}
		})
	}
}

// TestEchoSource: the same host gives the same answer, what is in use stays, and
// nothing is taken that the neighbour would redirect or drop.
func TestEchoSource(t *testing.T) {
	const text = `uplinks: [{name: a, interface: eth1, gateway: [203.0.113.1, "2001:db8:1::1"]}, {name: b, interface: eth2, gateway: 198.51.100.1}]`
	site := newSite(parseConfig(t, text))
	tests := []struct {
		name          string
		links         []string
		present, want string
	}{
		{"nothing else", nil, "", "203.0.113.2"},
		{"another uplink", []string{"eth2 3 198.51.100.2/24"}, "", "198.51.100.2"},
		{"lo before uplinks", []string{"eth2 3 198.51.100.2/24", "lo 1 198.18.0.1/32"}, "", "198.18.0.1"},
		{"uplinks before others", []string{"eth0 4 198.18.0.1/24", "eth2 3 198.51.100.2/24"}, "", "198.51.100.2"},
		{"the present one stays", []string{"eth0 4 198.18.0.1/24", "eth2 3 198.51.100.2/24"}, "198.18.0.1", "198.18.0.1"},
		{"the present one, in the same subnet now", []string{"eth0 4 203.0.113.7/24", "lo 1 198.18.0.1/32"}, "203.0.113.7", "203.0.113.7"},
		{"the present one, on the uplink itself", []string{"lo 1 198.18.0.1/32"}, "203.0.113.2", "203.0.113.2"},
		{"the present one, not usable for a moment", []string{"eth2 3 198.51.100.2/24,tentative", "lo 1 198.18.0.1/32"}, "198.51.100.2", "198.51.100.2"},
		{"the present one is gone", []string{"eth2 3 198.51.100.2/24"}, "198.18.0.1", "198.51.100.2"},
		{"by name, then by address", []string{"eth9 9 198.18.0.1/24", "eth8 8 198.18.8.2/24 198.18.8.1/24"}, "", "198.18.8.1"},
		{"one of the same subnet", []string{"eth0 4 203.0.113.7/24"}, "", "203.0.113.2"},
		{"one that does not last", []string{"lo 1 198.18.0.1/32,deprecated", "eth0 4 198.18.9.1/24"}, "", "198.18.9.1"},
		{"only one that does not last", []string{"lo 1 198.18.0.1/32,deprecated"}, "", "198.18.0.1"},
		{"one that is not usable", []string{"lo 1 198.18.0.1/32,tentative"}, "", "203.0.113.2"},
		{"a private one", []string{"eth0 4 192.168.1.1/24 10.0.0.1/8"}, "", "203.0.113.2"},
		{"the other family", []string{"lo 1 2001:db8:7::7/128"}, "", "203.0.113.2"},
		{"IPv6: nothing else", []string{"eth2 3 198.51.100.2/24 fe80::7/64"}, "", "2001:db8:1::2"},
		{"IPv6: lo", []string{"eth2 3 2001:db8:2::2/64", "lo 1 2001:db8:7::7/128"}, "", "2001:db8:7::7"},
		{"IPv6: the present one stays", []string{"eth2 3 2001:db8:2::2/64", "lo 1 2001:db8:7::7/128"}, "2001:db8:2::2", "2001:db8:2::2"},
		{"IPv6: a temporary one", []string{"eth2 3 2001:db8:2::5/64,temporary 2001:db8:2::9/64"}, "", "2001:db8:2::9"},
		{"IPv6: unique local", []string{"lo 1 fd00::1/128"}, "", "2001:db8:1::2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := hostOf(t, append(tt.links, "eth1 2 203.0.113.2/24 2001:db8:1::2/64")...)
			local := netip.MustParseAddr("203.0.113.2")
			if strings.HasPrefix(tt.name, "IPv6") {
				local = netip.MustParseAddr("2001:db8:1::2")
			}
			var present netip.Addr
			if tt.present != "" {
				present = netip.MustParseAddr(tt.present)
			}
			for range 20 { // Maps have no order.
				if got := site.echoSource(local, "eth1", host, present); got.String() != tt.want {
					t.Fatalf("got %s, want %s", got, tt.want)
				}
			}
		})
	}
	// Private addresses may meet among themselves.
	host := hostOf(t, "eth1 2 10.1.0.2/24", "lo 1 10.255.0.1/32")
	if got := site.echoSource(netip.MustParseAddr("10.1.0.2"), "eth1", host, netip.Addr{}); got.String() != "10.255.0.1" {
		t.Errorf("beside a private local address: %s", got)
	}
}

// TestSessionConfig_keepsWhatIsAway: a device or an address that is away for a moment
// does not make another session.
func TestSessionConfig_keepsWhatIsAway(t *testing.T) {
	site := newSite(parseConfig(t, "uplinks: [{name: a, interface: ppp0, bfd: {}}, {name: b, interface: eth1, bfd: {mode: echo}}]"))
	full := learned(hostOf(t, "ppp0 2 p2p 198.51.100.7/32peer=198.51.100.1", "eth1 3 203.0.113.2/24", "lo 1 198.18.0.1/32"), "eth1", "203.0.113.1")
	for _, m := range site.members {
		if m.Family != fib.IPv4 {
			continue
		}
		before, why := site.sessionConfig(m, site.look(m, full), full, nil)
		if why != "" {
			t.Fatal(why)
		}
		for _, host := range []*netmon.Snapshot{
			hostOf(t, "lo 1 198.18.0.1/32"), hostOf(t, "ppp0 9 p2p", "eth1 8 nocarrier", "lo 1 198.18.0.1/32"), hostOf(t, "eth1 8 203.0.113.2/24", "lo 1 198.18.0.1/32"),
		} {
			after, why := site.sessionConfig(m, site.look(m, host), host, &before)
			if !before.SameSession(after) || why != "" {
				t.Errorf("%s: %s became %s: %s", m.Way, describe(before), describe(after), why)
			}
		}
	}
}

// TestOnePath: which sessions cannot stand beside each other.
func TestOnePath(t *testing.T) {
	four, six := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::1")
	other := netip.MustParseAddr("203.0.113.7")
	base := bfd.Config{Interface: "eth1", Peer: four, Local: other}
	with := func(change func(*bfd.Config)) bfd.Config { c := base; change(&c); return c }
	p2p := with(func(c *bfd.Config) { c.PointToPoint = true })
	hops := with(func(c *bfd.Config) { c.Multihop = true })
	for _, tt := range []struct {
		name string
		c, d bfd.Config
		want bool
	}{
		{"the same", base, base, true},
		{"another mode", base, with(func(c *bfd.Config) { c.Mode = bfd.Echo }), true},
		{"another local address", base, with(func(c *bfd.Config) { c.Local = four }), true},
		{"another peer", base, with(func(c *bfd.Config) { c.Peer = other }), false},
		{"another device", base, with(func(c *bfd.Config) { c.Interface = "eth2" }), false},
		{"multihop beside", base, hops, false},
		{"multihop by another device", hops, with(func(c *bfd.Config) { c.Multihop, c.Interface = true, "eth2" }), true},
		{"multihop from another address", hops, with(func(c *bfd.Config) { c.Multihop, c.Local = true, four }), false},
		{"point-to-point, another peer", p2p, with(func(c *bfd.Config) { c.PointToPoint, c.Peer = true, other }), true},
		{"point-to-point, the other family", p2p, with(func(c *bfd.Config) { c.PointToPoint, c.Peer = true, six }), false},
		{"point-to-point, another device", p2p, with(func(c *bfd.Config) { c.PointToPoint, c.Interface = true, "eth2" }), false},
	} {
		if onePath(tt.c, tt.d) != tt.want || onePath(tt.d, tt.c) != tt.want {
			t.Errorf("%s: want %t", tt.name, tt.want)
		}
	}
}
