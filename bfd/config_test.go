package bfd

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// echoConf is an echo session from a to b.
func (f family) echoConf() Config {
	return Config{Mode: Echo, Peer: f.farB, Local: f.farA, Interface: "eth1", EchoSource: f.odd}
}

func TestValidate(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		other := families[0]
		unspecified, group := netip.IPv6Unspecified(), netip.MustParseAddr("ff02::1")
		if f.name == other.name {
			other, unspecified, group = families[1], netip.IPv4Unspecified(), netip.MustParseAddr("224.0.0.1")
		}
		for name, good := range map[string]Config{
			"async":    f.asyncConf(),
			"no local": {Peer: f.b, Interface: "eth1"},
			"zone":     {Peer: f.b.WithZone("eth1"), Interface: "eth1"},
			"p2p":      {Peer: f.a, Local: f.a, Interface: "ppp0", PointToPoint: true},
			"multihop": f.multihopConf(),
			"echo":     f.echoConf(),
			"ttl":      {Peer: f.b, Interface: "eth1", MinTTL: 255},
		} {
			if err := good.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, c := range []struct {
			want   string
			base   Config
			change func(*Config)
		}{
			{"mode 7: want 0 for async or 1 for echo", f.asyncConf(), func(c *Config) { c.Mode = 7 }},
			{"peer: missing", f.asyncConf(), func(c *Config) { c.Peer = netip.Addr{} }},
			{"peer " + unspecified.String() + ": not the address of a host", f.asyncConf(), func(c *Config) { c.Peer = unspecified }},
			{"peer " + group.String() + ": not the address of a host", f.asyncConf(), func(c *Config) { c.Peer = group }},
			{"local address " + unspecified.String() + ": not the address of a host", f.asyncConf(), func(c *Config) { c.Local = unspecified }},
			{"peer " + f.b.String() + ": that is the local address", f.asyncConf(), func(c *Config) { c.Local = c.Peer }},
			{"local address " + other.a.String() + ": not of the family of peer", f.asyncConf(), func(c *Config) { c.Local = other.a }},
			{"interface: missing", f.asyncConf(), func(c *Config) { c.Interface = "" }},
			{"min ttl 254: a single hop requires 255", f.asyncConf(), func(c *Config) { c.MinTTL = 254 }},
			{"desired min tx 999µs: want 1ms to 1h6m40s", f.asyncConf(), func(c *Config) { c.DesiredMinTx = 999 * time.Microsecond }},
			{"desired min tx -1s: want", f.asyncConf(), func(c *Config) { c.DesiredMinTx = -time.Second }},
			{"required min rx 1h6m41s: want", f.asyncConf(), func(c *Config) { c.RequiredMinRx = MaxInterval + time.Second }},
			{"required min rx 1.0005ms: want whole microseconds", f.asyncConf(), func(c *Config) { c.RequiredMinRx = 1_000_500 }},
			{"multiplier 256: want 1 to 255", f.asyncConf(), func(c *Config) { c.Multiplier = 256 }},
			{"multiplier -1: want", f.asyncConf(), func(c *Config) { c.Multiplier = -1 }},
			{"authentication sha1: no keys", f.asyncConf(), func(c *Config) { c.Auth.Type = AuthSHA1 }},
			{"min ttl 256: want 1 to 255", f.multihopConf(), func(c *Config) { c.MinTTL = 256 }},
			{"min ttl -1: want", f.multihopConf(), func(c *Config) { c.MinTTL = -1 }},
			{"local address: missing; a multihop session", f.multihopConf(), func(c *Config) { c.Local = netip.Addr{} }},
			{"point-to-point: not with multihop", f.multihopConf(), func(c *Config) { c.PointToPoint = true }},
			{"local address: missing; echo packets", f.echoConf(), func(c *Config) { c.Local = netip.Addr{} }},
			{"passive: the neighbour of an echo session never begins", f.echoConf(), func(c *Config) { c.Passive = true }},
			{"echo source " + other.odd.String() + ": not of the family", f.echoConf(), func(c *Config) { c.EchoSource = other.odd }},
		} {
			conf := c.base
			c.change(&conf)
			err := conf.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %s and nothing else", err, c.want)
			}
			if _, err := newTestTable(1).open(conf, nil, 0); err == nil {
				t.Errorf("opened: %s", c.want)
			}
		}
	})
	linkLocal := netip.MustParseAddr("fe80::9")
	for want, conf := range map[string]Config{
		"peer fe80::9: a link-local address is one hop away": {Multihop: true, Peer: linkLocal, Local: families[1].farA},
		"local address fe80::9: a neighbour does not":        {Mode: Echo, Peer: families[1].farB, Local: linkLocal, EchoSource: families[1].odd, Interface: "eth1"},
		"echo source fe80::9: a neighbour does not":          {Mode: Echo, Peer: families[1].farB, Local: families[1].farA, EchoSource: linkLocal, Interface: "eth1"},
	} {
		if err := conf.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	// All that is wrong is told at once, always in the same order.
	bad := Config{Multiplier: 300, DesiredMinTx: 1, RequiredMinRx: 1}
	first := bad.Validate().Error()
	if got := strings.Count(first, "\n"); got != 4 {
		t.Errorf("%d lines: %s", got+1, first)
	}
	for range 20 {
		if got := bad.Validate().Error(); got != first {
			t.Errorf("%q, before it was %q", got, first)
		}
	}
}

// What is left out has defaults, on the wire as well; 1 and 255 are multipliers.
func TestBFD_PKT_14_BFD_PKT_07_Defaults(t *testing.T) {
	for configured, want := range map[int]uint8{0: 3, 1: 1, 255: 255} {
		conf := v4.asyncConf()
		conf.Multiplier = configured
		r := newRig(t, conf)
		r.bring(Up)
		if p := r.last(); p.DetectMult != want || p.DesiredMinTx != 50_000 || p.RequiredMinRx != 50_000 {
			t.Errorf("multiplier %d: sent %v", configured, p)
		}
	}
	c := v4.multihopConf().withDefaults()
	if c.MinTTL != 254 {
		t.Errorf("least hop limit %d", c.MinTTL)
	}
	e := v4.echoConf()
	e.EchoSource = netip.Addr{}
	if got := e.withDefaults().EchoSource; got != e.Local {
		t.Errorf("echo source %s", got)
	}
	mapped := Config{Peer: netip.MustParseAddr("::ffff:203.0.113.9"), Interface: "eth1"}
	if got := mapped.withDefaults().Peer; got.String() != "203.0.113.9" {
		t.Errorf("peer %s", got)
	}
}

// Echo is for one hop, and multihop packets say so.
func TestBFD_MH_02_BFD_UE_02(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		c := f.echoConf()
		c.Multihop = true
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "multihop: echo is for one hop") {
			t.Error(err)
		}
		r := newRig(t, f.multihopConf())
		r.bring(Up)
		r.take(inState(Down), func(p *Packet) { p.RequiredMinEchoRx = 10_000 })
		r.run(5 * time.Second)
		for _, s := range r.wire.shots {
			if s.RequiredMinEchoRx != 0 {
				t.Errorf("%v", s)
			}
		}
	})
}
