package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNormalise(t *testing.T) {
	t.Parallel()
	good := func() Config {
		return Config{
			AS: ourAS, RouterID: netip.MustParseAddr("10.0.0.1"), Own: []netip.Prefix{prefix("203.0.113.0/24")},
			Peers: []Peer{
				{Name: "a", Slot: 0, Address: netip.MustParseAddr("192.0.2.1"), AS: 64501, Families: []Family{IPv4}},
				{Name: "b", Slot: 0, Address: netip.MustParseAddr("2001:db8::1"), AS: 64501, Families: []Family{IPv6}},
			},
		}
	}
	if c, refused, ok, err := normalise(good()); err != nil || !ok || len(refused) != 0 || len(c.Peers) != 2 {
		t.Fatalf("%v %v", refused, err)
	} else if p := c.Peers[0]; p.LocalAS != ourAS || p.Port != 179 || p.HoldTime != 90*time.Second || p.Preference != 100 ||
		p.GracefulRestart.RestartTime != 120*time.Second || p.GracefulRestart.MaxRestartTime != 300*time.Second || c.Deferral != DefaultDeferral {
		t.Errorf("%+v", p)
	}
	// Nothing can be had at all.
	for want, change := range map[string]func(c *Config){
		"AS: 0 is reserved":       func(c *Config) { c.AS = 0 },
		"AS: 23456 is reserved":   func(c *Config) { c.AS = 23456 },
		"RFC 7300":                func(c *Config) { c.AS = 4294967295 },
		"router ID":               func(c *Config) { c.RouterID = netip.MustParseAddr("::1") },
		"other than 0.0.0.0":      func(c *Config) { c.RouterID = netip.MustParseAddr("0.0.0.0") },
		"listen address":          func(c *Config) { c.Listen = []netip.Addr{{}} },
		"has bits behind":         func(c *Config) { c.Own = []netip.Prefix{prefix("203.0.113.1/24")} },
		"rule for AS paths":       func(c *Config) { c.ASPath = 9 },
		"must be host:port":       func(c *Config) { c.RPKI = []string{"rtr.example.net"} },
		"RPKI cache \"a:0\"":      func(c *Config) { c.RPKI = []string{"a:0"} },
		"deferral":                func(c *Config) { c.Deferral = 2 * time.Hour },
		"there may be 64":         func(c *Config) { c.Peers = make([]Peer, 65) },
		"57 peers without a slot": func(c *Config) { c.Peers = slices.Repeat([]Peer{{Slot: NoSlot}}, 57) },
	} {
		c := good()
		change(&c)
		if _, _, ok, err := normalise(c); ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	// Only one peer cannot be had.
	for want, change := range map[string]func(p *Peer){
		"no name":                  func(p *Peer) { p.Name = "" },
		"another one of that name": func(p *Peer) { p.Name = "b" },
		"the same address":         func(p *Peer) { p.Address = netip.MustParseAddr("2001:db8::1") },
		"the same slot":            func(p *Peer) { p.Families = []Family{IPv4, IPv6} },
		"slot 8":                   func(p *Peer) { p.Slot = 8 },
		"slot -2":                  func(p *Peer) { p.Slot = -2 },
		"only external BGP":        func(p *Peer) { p.AS = ourAS },
		"AS: 0":                    func(p *Peer) { p.AS = 0 },
		"local AS: 23456":          func(p *Peer) { p.LocalAS = 23456 },
		"it has no family":         func(p *Peer) { p.Families = nil },
		"once":                     func(p *Peer) { p.Families = []Family{IPv4, IPv4} },
		"each may be ipv4":         func(p *Peer) { p.Families = []Family{7} },
		"max prefixes -1":          func(p *Peer) { p.MaxPrefixes = -1 },
		"hold time 2s":             func(p *Peer) { p.HoldTime = 2 * time.Second },
		"hold time 18h12m16s":      func(p *Peer) { p.HoldTime = 65536 * time.Second },
		"whole seconds":            func(p *Peer) { p.HoldTime = 3500 * time.Millisecond },
		"it has 81 octets":         func(p *Peer) { p.Password = Secret(strings.Repeat("x", 81)) },
		"they have 129 octets":     func(p *Peer) { p.Shutdown = strings.Repeat("x", 129) },
		"exclude each other":       func(p *Peer) { p.TTLSecurity, p.Multihop = true, 2 },
		"must be an IPv4 or IPv6":  func(p *Peer) { p.Address = netip.MustParseAddr("224.0.0.1") },
		"unicast address":          func(p *Peer) { p.Address = netip.MustParseAddr("::ffff:192.0.2.1") },
		"needs its interface":      func(p *Peer) { p.Address = netip.MustParseAddr("fe80::1") },
		"its interface is not":     func(p *Peer) { p.Address, p.Interface = netip.MustParseAddr("fe80::1%eth0"), "eth1" },
		"of the family of":         func(p *Peer) { p.Local = netip.MustParseAddr("::2") },
		"is that of the peer":      func(p *Peer) { p.Local = p.Address },
		"import mode 9":            func(p *Peer) { p.Import.Mode = 9 },
		"names none":               func(p *Peer) { p.Import.Mode = ImportPrefixes },
		"import prefix":            func(p *Peer) { p.Import.Prefixes = []netip.Prefix{{}} },
		"max length 33":            func(p *Peer) { p.Import.MaxLength4 = 33 },
		"max length 129":           func(p *Peer) { p.Import.MaxLength6 = 129 },
		"restart time 1h8m16s":     func(p *Peer) { p.GracefulRestart.RestartTime = 4096 * time.Second },
		"stale time 1ms":           func(p *Peer) { p.GracefulRestart.StaleTime = time.Millisecond },
		"longest restart time":     func(p *Peer) { p.GracefulRestart.MaxRestartTime = time.Millisecond },
		"is not one of our own":    func(p *Peer) { p.Announce = []Announcement{{Prefix: prefix("198.51.100.0/24")}} },
		"nor part of one":          func(p *Peer) { p.Announce = []Announcement{{Prefix: prefix("203.0.112.0/23")}} },
		"prepend 11":               func(p *Peer) { p.Announce = []Announcement{{Prefix: prefix("203.0.113.0/24"), Prepend: 11}} },
		"announced twice":          func(p *Peer) { p.Announce = slices.Repeat([]Announcement{{Prefix: prefix("203.0.113.0/24")}}, 2) },
		"does not have its family": func(p *Peer) {
			p.Families, p.Slot = []Family{IPv6}, 3
			p.Announce = []Announcement{{Prefix: prefix("203.0.113.0/24")}}
		},
		"announce invalid Prefix to": func(p *Peer) { p.Announce = []Announcement{{}} },
	} {
		c := good()
		c.Peers[0], c.Peers[1] = c.Peers[1], c.Peers[0]
		change(&c.Peers[1])
		c, _, ok, err := normalise(c)
		if !ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
		if len(c.Peers) == 0 || c.Peers[0].Name != "b" {
			t.Errorf("%q: the other peer is gone", want)
		}
	}
	// Nothing is wanted, whatever else is said.
	if _, _, ok, err := normalise(Config{}); err != nil || !ok {
		t.Error(err)
	}
}

// TestNormalise_sameLinkLocal is about peers that policies could not tell apart.
func TestNormalise_sameLinkLocal(t *testing.T) {
	t.Parallel()
	own := []netip.Prefix{prefix("2001:db8::/32")}
	peer := func(name, address, local string, slot Slot) Peer {
		p := Peer{Name: name, Slot: slot, Address: netip.MustParseAddr(address), AS: 64501, Families: []Family{IPv6}}
		if local != "" {
			p.Local = netip.MustParseAddr(local)
		}
		return p
	}
	c := Config{AS: ourAS, RouterID: netip.MustParseAddr("10.0.0.1"), Own: own, Peers: []Peer{
		peer("a", "fe80::1%eth0", "fe80::a", 0), peer("b", "fe80::1%eth1", "", 1), peer("c", "fe80::1%eth2", "fe80::c", 2), peer("d", "fe80::1%eth3", "fe80::a", 3),
	}}
	c.Peers[0].Announce = []Announcement{{Prefix: own[0]}}
	c, refused, _, err := normalise(c)
	if err == nil || len(refused) != 2 || refused["b"] == "" || refused["d"] == "" {
		t.Errorf("%v %v", refused, err)
	}
	e := newExports(&c, func(*Peer, Family) bool { return true })
	s := e.request().Policies[1].Statements
	if len(s) != 1 || !slices.Equal(s[0].Conditions.NextHopInList, []string{"fe80::a"}) {
		t.Errorf("%v", s)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	if s := Secret("x").String(); s != "***" {
		t.Error(s)
	}
	if Secret("").String() != "" || Secret("x").LogValue().String() != "***" {
		t.Error("a secret is told")
	}
}
