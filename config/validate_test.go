package config

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// fresh returns a valid configuration of two uplinks that a test may damage.
func fresh(t *testing.T) *Config {
	t.Helper()
	return mustParse(t, "a.yaml", `
uplinks:
  - name: a
    interface: eth0
    gateway: [192.0.2.1, "fe80::1"]
    source: [192.0.2.2, "2001:db8:1::/48"]
    icmp: {targets: [198.51.100.1, 198.51.100.2, "2001:db8:f::1", "2001:db8:f::2"], loss: 40%, latency: 100ms}
  - name: b
    interface: eth1
    icmp: {}
`)
}

// Each row damages one thing and names the path and the words that must come.
func TestValidate(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	type row struct {
		path, want string
		damage     func(c *Config)
	}
	rows := []row{
		{"protocol", "4 is out of range; write 5 to 255", func(c *Config) { c.Protocol = 4 }},
		{"tables.balance", "0 is out of range", func(c *Config) { c.Tables.Balance = 0 }},
		{"tables.balance", "253 is the kernel's table default", func(c *Config) { c.Tables.Balance = 253 }},
		{"tables.balance", "254 is the kernel's table main", func(c *Config) { c.Tables.Balance = 254 }},
		{"tables.balance", "255 is the kernel's table local", func(c *Config) { c.Tables.Balance = 255 }},
		{"tables.uplinks", "0 is out of range", func(c *Config) { c.Tables.Uplinks = 0 }},
		{"uplinks[1].table", "is the kernel's table main", func(c *Config) { c.Uplinks[1].Table = 254 }},
		{"uplinks[1].table", "is the table of tables.balance already", func(c *Config) { c.Uplinks[1].Table = c.Tables.Balance }},
		{"uplinks[1].table", "is the table of uplink a already", func(c *Config) { c.Uplinks[1].Table = c.Uplinks[0].Table }},
		{"rules.main", "1 is out of range; write 2 to 32765", func(c *Config) { c.Rules.Main = 1 }},
		{"rules.source", "50 is not far enough behind rules.main (50); write at least 51", func(c *Config) { c.Rules.Source = 50 }},
		{"rules.mark", "201 is not far enough behind rules.source (201); write at least 202", func(c *Config) { c.Rules.Mark = 201 }},
		{"rules.balance", "212 is not far enough behind rules.mark (211); write at least 213", func(c *Config) { c.Rules.Balance = 212 }},
		{"rules.balance", "32766 is out of range", func(c *Config) { c.Rules.Balance = 32766 }},
		{"marks.base", "0 is out of range", func(c *Config) { c.Marks.Base = 0 }},
		{"marks.base", "has bits outside of the mask", func(c *Config) { c.Marks.Base = 0x101 }},
		{"marks.mask", "0 is out of range", func(c *Config) {
			c.Marks.Mask = 0
		}},
		{"uplinks[0].mark", "is 0, which every packet without a mark has", func(c *Config) { c.Uplinks[0].Mark = 0 }},
		{"uplinks[0].mark", "has bits outside of marks.mask", func(c *Config) { c.Uplinks[0].Mark = 0x10000 }},
		{"uplinks[1].mark", "is the mark of uplink a already", func(c *Config) { c.Uplinks[1].Mark = c.Uplinks[0].Mark }},
		{"next-hops.base", "0 is out of range", func(c *Config) { c.NextHops.Base = 0 }},
		{"next-hops.base", "is out of range", func(c *Config) { c.NextHops.Base = math.MaxUint32 }},
		{"on-exit", "is not set", func(c *Config) { c.OnExit = 0 }},
		{"on-exit", "is not set", func(c *Config) { c.OnExit = 9 }},
		{"all-dead", "is not set", func(c *Config) { c.AllDead = 0 }},
		{"hold.up", "-1s is too short; write 0s or more", func(c *Config) { c.Hold.Up = -time.Second }},
		{"hold.up", "is too long", func(c *Config) { c.Hold.Up = 25 * time.Hour }},
		{"hold.penalty-half-life", "0s is too short", func(c *Config) { c.Hold.PenaltyHalfLife = 0 }},
		{"hold.suppress", "0 is out of range", func(c *Config) { c.Hold.Suppress = 0 }},
		{"hold.suppress", "NaN is out of range", func(c *Config) { c.Hold.Suppress = math.NaN() }},
		{"hold.suppress", "+Inf is out of range", func(c *Config) { c.Hold.Suppress = math.Inf(1) }},
		{"hold.reuse", "0 is out of range", func(c *Config) { c.Hold.Reuse = 0 }},
		{"hold.reuse", "3000 is not less than hold.suppress (3000)", func(c *Config) { c.Hold.Reuse = 3000 }},
		{"group.idle-timer", "5ms is too short; write 10ms or more", func(c *Config) { c.Group.IdleTimer = 5 * time.Millisecond }},
		{"group.unbalanced-timer", "is too long", func(c *Config) { c.Group.UnbalancedTimer = 1000 * time.Hour }},
		{"group.idle-timer", "is too short", func(c *Config) { c.Group.IdleTimer = -1 }},
		{"uplinks", "there is none", func(c *Config) { c.Uplinks = nil }},
		{"uplinks", "there are 257; at most 256", func(c *Config) { c.Uplinks = make([]Uplink, 257) }},
		{"uplinks[1].name", "is missing", func(c *Config) { c.Uplinks[1].Name = "" }},
		{"uplinks[1].name", "is 33 bytes long", func(c *Config) { c.Uplinks[1].Name = strings.Repeat("x", 33) }},
		{"uplinks[1].name", "has ' ' in it", func(c *Config) { c.Uplinks[1].Name = "b c" }},
		{"uplinks[1].name", "has 'ö' in it", func(c *Config) { c.Uplinks[1].Name = "böse" }},
		{"uplinks[1].name", "is the name of another uplink already", func(c *Config) { c.Uplinks[1].Name = "A" }},
		{"uplinks[1].interface", "is missing", func(c *Config) { c.Uplinks[1].Interface = "" }},
		{"uplinks[1].interface", "is 16 bytes long", func(c *Config) { c.Uplinks[1].Interface = "abcdefghijklmnop" }},
		{"uplinks[1].interface", "cannot be a device", func(c *Config) { c.Uplinks[1].Interface = "a/b" }},
		{"uplinks[1].interface", "cannot be a device", func(c *Config) { c.Uplinks[1].Interface = "a b" }},
		{"uplinks[1].interface", "cannot be a device", func(c *Config) { c.Uplinks[1].Interface = ".." }},
		{"uplinks[1].interface", `write the device "eth0"`, func(c *Config) { c.Uplinks[1].Interface = "eth0:1" }},
		{"uplinks[1].interface", "is no way out", func(c *Config) { c.Uplinks[1].Interface = "lo" }},
		{"uplinks[1].interface", "belongs to uplink a as well", func(c *Config) { c.Uplinks[1].Interface = "eth0" }},
		{"uplinks[1].gateway[0]", "is the gateway of uplink a on the same device", func(c *Config) {
			c.Uplinks[1].Interface, c.Uplinks[1].Gateways = "eth0", []netip.Addr{addr("fe80::1")}
		}},
		{"uplinks[1].source", "two uplinks on one device need a source each", func(c *Config) {
			c.Uplinks[1].Interface, c.Uplinks[1].Gateways = "eth0", []netip.Addr{addr("192.0.2.9")}
		}},
		{"uplinks[1].weight", "0 is out of range; write 1 to 256", func(c *Config) { c.Uplinks[1].Weight = 0 }},
		{"uplinks[1].weight", "257 is out of range", func(c *Config) { c.Uplinks[1].Weight = 257 }},
		{"uplinks[1].tier", "0 is out of range; write 1 to 255", func(c *Config) { c.Uplinks[1].Tier = 0 }},
		{"uplinks[1].tier", "256 is out of range", func(c *Config) { c.Uplinks[1].Tier = 256 }},
		{"uplinks[0].gateway[0]", "is an address of this uplink", func(c *Config) { c.Uplinks[0].Gateways[0] = addr("192.0.2.2") }},
		{"uplinks[0].source[0]", "covers everything", func(c *Config) { c.Uplinks[0].Sources[0] = prefix("0.0.0.0/0") }},
		{"uplinks[0].source[0]", "is link-local", func(c *Config) { c.Uplinks[0].Sources[0] = prefix("fe80::/64") }},
		{"uplinks[0].source[0]", "is a multicast address", func(c *Config) { c.Uplinks[0].Sources[0] = prefix("ff0e::/16") }},
		{"uplinks[0].source[0]", "write 10.0.0.0/8", func(c *Config) { c.Uplinks[0].Sources[0] = prefix("10.0.0.1/8") }},
		{"uplinks[0].source[0]", "is neither an address nor a prefix", func(c *Config) { c.Uplinks[0].Sources[0] = netip.Prefix{} }},
		{"uplinks[0].source[1]", "is in the list already", func(c *Config) { c.Uplinks[0].Sources[1] = c.Uplinks[0].Sources[0] }},
		{"uplinks[1].source[0]", "is a source of uplink a already", func(c *Config) { c.Uplinks[1].Sources = c.Uplinks[0].Sources[1:] }},
		{"uplinks[1].source[0]", "is within 2001:db8:1::/48 of uplink a, whose rule comes first", func(c *Config) {
			c.Uplinks[1].Sources = []netip.Prefix{prefix("2001:db8:1:5::/64")}
		}},
		{"uplinks[0].neighbour.interval", "999ms is too short; write 1s or more", func(c *Config) { c.Uplinks[0].Neighbour.Interval = 999 * time.Millisecond }},
		{"uplinks[0].neighbour.tries", "0 is out of range", func(c *Config) { c.Uplinks[0].Neighbour.Tries = 0 }},
		{"uplinks[0].icmp.targets", "is an empty list", func(c *Config) { c.Uplinks[0].ICMP.Targets = nil }},
		{"uplinks[0].icmp.targets", "there are 33; write at most 32", func(c *Config) { c.Uplinks[0].ICMP.Targets = make([]netip.Addr, 33) }},
		{"uplinks[0].icmp.targets[1]", "is a target already", func(c *Config) { c.Uplinks[0].ICMP.Targets[1] = c.Uplinks[0].ICMP.Targets[0] }},
		{"uplinks[0].icmp.targets[1]", "is a link-local address", func(c *Config) { c.Uplinks[0].ICMP.Targets[1] = addr("fe80::9") }},
		{"uplinks[0].icmp.targets[1]", "is an address of this machine", func(c *Config) { c.Uplinks[0].ICMP.Targets[1] = addr("192.0.2.2") }},
		{"uplinks[0].icmp.quorum", "-1 is out of range", func(c *Config) { c.Uplinks[0].ICMP.Quorum = -1 }},
		{"uplinks[0].icmp.quorum", "3 is more than the number of IPv4 targets (2)", func(c *Config) { c.Uplinks[0].ICMP.Quorum = 3 }},
		{"uplinks[0].icmp.quorum", "2 is more than the number of IPv6 targets (1)", func(c *Config) {
			c.Uplinks[0].ICMP.Quorum, c.Uplinks[0].ICMP.Targets = 2, c.Uplinks[0].ICMP.Targets[:3]
		}},
		{"uplinks[0].icmp.interval", "9ms is too short; write 10ms or more", func(c *Config) { c.Uplinks[0].ICMP.Interval = 9 * time.Millisecond }},
		{"uplinks[0].icmp.timeout", "0s is too short", func(c *Config) { c.Uplinks[0].ICMP.Timeout = 0 }},
		{"uplinks[0].icmp.timeout", "3.001s is longer than interval times down (3s)", func(c *Config) { c.Uplinks[0].ICMP.Timeout = 3001 * time.Millisecond }},
		{"uplinks[0].icmp.down", "0 is out of range; write 1 to 100", func(c *Config) { c.Uplinks[0].ICMP.Down = 0 }},
		{"uplinks[0].icmp.up", "101 is out of range", func(c *Config) { c.Uplinks[0].ICMP.Up = 101 }},
		{"uplinks[0].icmp.loss", "1.1 is out of range", func(c *Config) { c.Uplinks[0].ICMP.LossEnter = 1.1 }},
		{"uplinks[0].icmp.loss", "NaN is out of range", func(c *Config) { c.Uplinks[0].ICMP.LossEnter = math.NaN() }},
		{"uplinks[0].icmp.loss-leave", "50% is out of range; write at most loss (40%)", func(c *Config) { c.Uplinks[0].ICMP.LossLeave = 0.5 }},
		{"uplinks[0].icmp.loss-leave", "is out of range", func(c *Config) { c.Uplinks[0].ICMP.LossLeave = -0.1 }},
		{"uplinks[0].icmp.loss-leave", "has no effect without loss", func(c *Config) { c.Uplinks[0].ICMP.LossEnter = 0 }},
		{"uplinks[0].icmp.latency", "is too short", func(c *Config) { c.Uplinks[0].ICMP.LatencyEnter = -1 }},
		{"uplinks[0].icmp.latency-leave", "101ms is out of range; write at most latency (100ms)", func(c *Config) { c.Uplinks[0].ICMP.LatencyLeave = 101 * time.Millisecond }},
		{"uplinks[0].icmp.latency-leave", "has no effect without latency", func(c *Config) { c.Uplinks[0].ICMP.LatencyEnter = 0 }},
	}
	for bad, why := range map[string]string{
		"0.0.0.0": "unspecified", "::": "unspecified", "224.0.0.1": "multicast", "ff02::1": "multicast",
		"127.0.0.1": "loopback", "::1": "loopback", "255.255.255.255": "broadcast", "::ffff:1.2.3.4": "IPv4 in IPv6",
	} {
		rows = append(rows,
			row{"uplinks[1].gateway[0]", why, func(c *Config) { c.Uplinks[1].Gateways = []netip.Addr{addr(bad)} }},
			row{"uplinks[1].icmp.targets[0]", why, func(c *Config) { c.Uplinks[1].ICMP.Targets[0] = addr(bad) }},
		)
	}
	rows = append(rows,
		row{"uplinks[1].gateway[1]", "is a second IPv4 gateway", func(c *Config) {
			c.Uplinks[1].Gateways = []netip.Addr{addr("10.0.0.1"), addr("10.0.0.2")}
		}},
		row{"uplinks[1].gateway[1]", "is a second IPv6 gateway", func(c *Config) {
			c.Uplinks[1].Gateways = []netip.Addr{addr("fe80::1"), addr("fe80::2")}
		}},
		row{"uplinks[1].gateway[0]", "is not an IP address", func(c *Config) { c.Uplinks[1].Gateways = []netip.Addr{{}} }},
		row{"uplinks[1].gateway[0]", "names an interface", func(c *Config) { c.Uplinks[1].Gateways = []netip.Addr{addr("fe80::1%eth1")} }},
	)
	for _, r := range rows {
		t.Run(r.path+"/"+r.want, func(t *testing.T) {
			c := fresh(t)
			if err := c.Validate(); err != nil {
				t.Fatalf("the undamaged configuration: %v", err)
			}
			r.damage(c)
			problems, ok := errors.AsType[Problems](c.Validate())
			if !ok {
				t.Fatal("accepted")
			}
			for _, p := range problems {
				if p.Path == r.path && strings.Contains(p.Message, r.want) {
					return
				}
			}
			t.Errorf("got\n%v\nwant %s: … %s …", problems, r.path, r.want)
		})
	}
}

// What is at the edge of what is allowed.
func TestValidateAccepts(t *testing.T) {
	prefix := netip.MustParsePrefix
	for name, change := range map[string]func(c *Config){
		"rules next to each other":  func(c *Config) { c.Rules = Rules{Main: 2, Source: 3, Mark: 4, Balance: 6} },
		"the last rules":            func(c *Config) { c.Rules = Rules{Main: 32761, Source: 32762, Mark: 32763, Balance: 32765} },
		"the last protocol":         func(c *Config) { c.Protocol = 255 },
		"a large table":             func(c *Config) { c.Uplinks[1].Table = math.MaxUint32 },
		"the highest mark":          func(c *Config) { c.Uplinks[1].Mark = 0xff00 },
		"no timers":                 func(c *Config) { c.Group = Group{} },
		"no hold":                   func(c *Config) { c.Hold.Up = 0 },
		"the extremes of an uplink": func(c *Config) { c.Uplinks[1].Weight, c.Uplinks[1].Tier = 256, 255 },
		"the longest timeout":       func(c *Config) { c.Uplinks[1].ICMP.Timeout = 3 * time.Second },
		"leave equals enter": func(c *Config) {
			c.Uplinks[0].ICMP.LossLeave, c.Uplinks[0].ICMP.LatencyLeave = 0.4, 100*time.Millisecond
		},
		"all must answer":           func(c *Config) { c.Uplinks[0].ICMP.Quorum = 2 },
		"the narrower source first": func(c *Config) { c.Uplinks[1].Sources = []netip.Prefix{prefix("2001:db8::/32")} },
		"the same start, narrower first": func(c *Config) {
			c.Uplinks[0].Sources[1] = prefix("2001:db8::/48")
			c.Uplinks[1].Sources = []netip.Prefix{prefix("2001:db8::/32")}
		},
		"wide and narrow in one":     func(c *Config) { c.Uplinks[0].Sources = append(c.Uplinks[0].Sources, prefix("2001:db8:1::1/128")) },
		"a target of two uplinks":    func(c *Config) { c.Uplinks[1].ICMP.Targets = c.Uplinks[0].ICMP.Targets },
		"another uplink's gateway":   func(c *Config) { c.Uplinks[1].Gateways = c.Uplinks[0].Gateways },
		"a mark outside of the base": func(c *Config) { c.Uplinks[1].Mark = 0x100 | 0x4200 },
		"one device, two gateways": func(c *Config) {
			c.Uplinks[1].Interface, c.Uplinks[1].Gateways = "eth0", []netip.Addr{netip.MustParseAddr("192.0.2.9")}
			c.Uplinks[0].Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.3/32")}
			c.Uplinks[1].Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.4/32")}
		},
	} {
		c := fresh(t)
		change(c)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Numbers that count with the uplinks must not wrap around.
func TestDerivedNumbersThatOverflow(t *testing.T) {
	text := "uplinks: [{name: a, interface: eth0}, {name: b,\n interface: eth1}]\n"
	for head, want := range map[string]string{
		"tables: {uplinks: 4294967295}\n":                 "uplinks[1].table: would be 4294967296, counted from tables.uplinks, and is too large",
		"marks: {base: 0x80000000, mask: 0xff000000}\n":   "uplinks[1].mark: would be 4294967296, counted from marks.base, and is too large",
		"marks: {base: 0x8000, mask: 0xff00}\n":           "uplinks[1].mark: 0x10000 has bits outside of marks.mask",
		"tables: {balance: 202}\n":                        "uplinks[1].table: 202 is the table of tables.balance already",
		"tables: {uplinks: 253}\nmarks: {base: 0x100}\n":  "uplinks[0].table: 253 is the kernel's table default",
		"tables: {balance: 5000000000}\n":                 "tables.balance: 5000000000 is out of range; write 1 to 4294967295",
		"protocol: 300\n":                                 "protocol: 300 is out of range; write 5 to 255",
		"rules: {main: -1}\n":                             "rules.main: -1 is out of range; write 2 to 32765",
		"hold: {suppress: 1000, reuse: 1000}\n":           "hold.reuse: 1000 is not less than hold.suppress (1000)",
		"uplinks2: 3\nall-dead: panic\non-exit: reboot\n": `all-dead: "panic" is not known; write keep-last or keep-all or withdraw`,
	} {
		problems := problemsOf(t, "a.yaml", head+text)
		if !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: got\n%v\nwant\n%s", head, problems, want)
		}
	}
}

func TestThresholdsOfZeroAreRefused(t *testing.T) {
	for icmp, want := range map[string]string{
		"{loss: 0%}":         "uplinks[0].icmp.loss: is 0; write more than 0",
		"{latency: 0s}":      "uplinks[0].icmp.latency: is 0; write more",
		"{loss-leave: 10%}":  "uplinks[0].icmp.loss-leave: has no effect without loss",
		"{latency-leave: 1}": `uplinks[0].icmp.latency-leave: 1 has no unit; write "1s"`,
	} {
		problems := problemsOf(t, "a.yaml", "uplinks: [{name: a, interface: eth0, icmp: "+icmp+"}]")
		if len(problems) != 1 || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: got\n%v\nwant\n%s", icmp, problems, want)
		}
	}
}
