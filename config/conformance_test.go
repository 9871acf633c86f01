package config

import (
	"fmt"
	"strings"
	"testing"
)

// warned returns the warnings of a configuration that must load.
func warned(t *testing.T, text string) string {
	t.Helper()
	return strings.Join(mustParse(t, "a.yaml", text).Warnings, "\n")
}

// An uplink that nothing watches is used without end in the absence of
// evidence: that must not happen in silence.
func TestDGD_03(t *testing.T) {
	base := "uplinks:\n  - {name: other, interface: eth9, gateway: 192.0.2.1, icmp: {}}\n"
	for uplink, want := range map[string]bool{
		"{name: dsl, interface: ppp0}":                                            true,
		"{name: dsl, interface: wg0}":                                             true,
		"{name: dsl, interface: eth0, neighbour: false}":                          true,
		"{name: dsl, interface: eth0, gateway: 198.51.100.1, neighbour: false}":   true,
		"{name: dsl, interface: ppp0, gateway: 198.51.100.1}":                     true,
		"{name: dsl, interface: ppp0, icmp: {}}":                                  false,
		"{name: dsl, interface: ppp0, bfd: {}}":                                   false,
		"{name: dsl, interface: ppp0, bfd: false}":                                true,
		"{name: dsl, interface: eth0}":                                            false,
		"{name: dsl, interface: eth0, gateway: 198.51.100.1}":                     false,
		"{name: dsl, interface: eth0, gateway: 'fe80::1'}":                        false,
		"{name: dsl, interface: tun0, gateway: 198.51.100.1, neighbour: {}}":      false,
		"{name: dsl, interface: eth0, neighbour: false, icmp: {interval: 500ms}}": false,
	} {
		got := warned(t, base+"  - "+uplink+"\n")
		text := "a.yaml:3: uplinks[1]: nothing but the link of dsl is watched; status shows it as not verified (DGD-03); add icmp targets"
		if want && got != text || !want && got != "" {
			t.Errorf("%s: warnings %q, want one: %v", uplink, got, want)
		}
	}
}

// The first hop is not to be pinged without end: default targets lie beyond
// it, and the gateway itself is refused with the reason and the way out. The
// gateway of another uplink is no first hop of this one.
func TestDGD_04(t *testing.T) {
	for _, gateway := range []string{"203.0.113.1", "2001:db8::1"} {
		text := fmt.Sprintf("uplinks:\n  - name: a\n    interface: eth0\n    gateway: %q\n    icmp:\n      targets: [192.0.2.1, %q]\n", gateway, gateway)
		problems := problemsOf(t, "a.yaml", text)
		for _, want := range []string{
			"a.yaml:6: uplinks[0].icmp.targets[1]: " + gateway, "RFC 1122 section 3.3.1.4", "write an address beyond it", "neighbour",
		} {
			if len(problems) != 1 || !strings.Contains(problems.Error(), want) {
				t.Errorf("%s: got\n%v\nwant %q", gateway, problems, want)
			}
		}
		mustParse(t, "a.yaml", text+fmt.Sprintf("  - {name: b, interface: eth1, icmp: {targets: [192.0.2.1, %q]}}\n", gateway), "MULTIHOMED_UPLINKS_A_ICMP_TARGETS=192.0.2.1")
	}
	for _, target := range defaultTargets {
		if !target.IsGlobalUnicast() || target.IsPrivate() {
			t.Errorf("the default target %v may be one hop away", target)
		}
	}
	// The defaults are targets like others.
	_ = problemsOf(t, "a.yaml", "uplinks: [{name: a, interface: eth0, gateway: 1.1.1.1, icmp: {}}]")
}

// Detection has to be quicker than the transports' own: what may take more than
// 30 seconds is a warning.
func TestDGD_09(t *testing.T) {
	for keys, want := range map[string]string{
		"icmp: {}":                           "",
		"icmp: {interval: 9s, timeout: 3s}":  "",
		"icmp: {interval: 10s, timeout: 1s}": "a.yaml:3: uplinks[0].icmp: an outage of a may go unseen for 31s",
		"icmp: {down: 30}":                   "may go unseen for 31s",
		"icmp: {down: 29}":                   "",
		"neighbour: {}":                      "",
		"neighbour: {interval: 27s}":         "",
		"neighbour: {interval: 28s}":         "a.yaml:3: uplinks[0].neighbour: an outage of a may go unseen for 31s",
		"neighbour: {tries: 4}":              "may go unseen for 32s",
		"bfd: {}":                            "",
		"bfd: {interval: 10s}":               "",
		"bfd: {interval: 10s, multiplier: 4}": "a.yaml:3: uplinks[0].bfd: an outage of a may go unseen for 40s, longer than connections wait (30s; DGD-09); " +
			"write a shorter interval or a smaller multiplier, or add icmp",
		"bfd: {interval: 10s, multiplier: 4}, icmp: {}": "",
		"bfd: {}, icmp: {down: 30}":                     "may go unseen for 31s",
	} {
		got := warned(t, "uplinks:\n  - {name: a, interface: eth0,\n     "+keys+"}\n  - {name: b, interface: eth1, icmp: {}}\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: warnings %q, want %q", keys, got, want)
		}
	}
}

// Several default gateways: 1, 2, 8 and 64, in each format and both families.
func TestDGD_17(t *testing.T) {
	for _, n := range []int{1, 2, 8, 64} {
		var yaml, toml strings.Builder
		yaml.WriteString("tables: {balance: 1000, uplinks: 1001}\nuplinks:\n")
		toml.WriteString("tables = {balance = 1000, uplinks = 1001}\n")
		var uplinks []string
		for i := range n {
			fmt.Fprintf(&yaml, "  - {name: u%d, interface: eth%d, gateway: [10.0.%d.1, 'fe80::%x']}\n", i, i, i, i+1)
			fmt.Fprintf(&toml, "[[uplinks]]\nname = 'u%d'\ninterface = 'eth%d'\ngateway = ['10.0.%d.1', 'fe80::%x']\n", i, i, i, i+1)
			uplinks = append(uplinks, fmt.Sprintf(`{"name": "u%d", "interface": "eth%d", "gateway": ["10.0.%d.1", "fe80::%x"]}`, i, i, i, i+1))
		}
		json := `{"tables": {"balance": 1000, "uplinks": 1001}, "uplinks": [` + strings.Join(uplinks, ",\n") + "]}"
		for name, text := range map[string]string{"a.yaml": yaml.String(), "a.toml": toml.String(), "a.json": json} {
			c := mustParse(t, name, text)
			if len(c.Uplinks) != n {
				t.Fatalf("%s: %d uplinks, want %d", name, len(c.Uplinks), n)
			}
			for i, u := range c.Uplinks {
				if u.Name != fmt.Sprintf("u%d", i) || len(u.Gateways) != 2 || u.Table != uint32(1001+i) || u.Mark != uint32(0x100*(i+1)) {
					t.Errorf("%s: uplink %d is %+v", name, i, u)
				}
			}
			if n > 1 && len(c.Warnings) > 0 {
				t.Errorf("%s: warnings with %d uplinks: %q", name, n, c.Warnings)
			}
		}
	}
	// With the default tables the 21st uplink meets the balance table; that must
	// not pass.
	var text strings.Builder
	text.WriteString("uplinks:\n")
	for i := range 21 {
		fmt.Fprintf(&text, "  - {name: u%d, interface: eth%d}\n", i, i)
	}
	problems := problemsOf(t, "a.yaml", text.String())
	if want := "a.yaml:22: uplinks[20].table: 221 is the table of tables.balance already"; len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
		t.Errorf("got\n%v\nwant %s", problems, want)
	}
}

// A list of default gateways with a preference, by hand.
func TestDGD_18(t *testing.T) {
	c := mustParse(t, "a.yaml", `
uplinks:
  - {name: a, interface: eth0, gateway: [192.0.2.1, "fe80::1"], weight: 3, tier: 1, icmp: {}}
  - {name: b, interface: eth1, gateway: [198.51.100.1, "fe80::1"], weight: 2, tier: 1, icmp: {}}
  - {name: c, interface: eth2, gateway: 203.0.113.1, tier: 9, icmp: {}}
`)
	for i, want := range []struct{ weight, tier int }{{3, 1}, {2, 1}, {1, 9}} {
		if u := c.Uplinks[i]; u.Weight != want.weight || u.Tier != want.tier {
			t.Errorf("uplink %s: weight %d tier %d, want %+v", u.Name, u.Weight, u.Tier, want)
		}
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

// Protocol numbers that others mark their routes with are refused, and the
// message says whose they are.
func TestLNX_RT_19(t *testing.T) {
	owners := map[int]string{
		8: "gated", 9: "ra", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted", 14: "xorp", 15: "ntk", 16: "dhcp",
		17: "mrouted", 18: "keepalived", 42: "babel", 84: "ovn", 99: "openr", 186: "bgp", 187: "isis", 188: "ospf",
		189: "rip", 192: "eigrp",
	}
	for n := -1; n <= 257; n++ {
		text := fmt.Sprintf("protocol: %d\n%s", n, two)
		owner, taken := owners[n]
		if n >= 5 && n <= 255 && !taken {
			if c := mustParse(t, "a.yaml", text); int(c.Protocol) != n {
				t.Errorf("%d became %d", n, c.Protocol)
			}
			continue
		}
		problems := problemsOf(t, "a.yaml", text)
		if len(problems) != 1 || problems[0].Path != "protocol" || problems[0].Line != 1 || !strings.Contains(problems[0].Message, owner) {
			t.Errorf("%d (%s): %v", n, owner, problems)
		}
	}
}

// A point-to-point device has no neighbour: watching it is refused where it is
// asked for, and not done by itself.
func TestLNX_NB_05(t *testing.T) {
	for _, device := range []string{"ppp0", "wg0", "tun3", "gre1"} {
		for _, neighbour := range []string{"{}", "true", "{interval: 5s}"} {
			problems := problemsOf(t, "a.yaml", "uplinks:\n  - name: a\n    interface: "+device+"\n    neighbour: "+neighbour+"\n")
			want := "a.yaml:4: uplinks[0].neighbour: " + device + " is a point-to-point device, which has no neighbour to watch; remove it and write icmp with targets"
			if problems.Error() != want {
				t.Errorf("%s, %s: got\n%v\nwant\n%s", device, neighbour, problems, want)
			}
		}
		for _, keys := range []string{"", "neighbour: false"} {
			c := mustParse(t, "a.yaml", "uplinks:\n  - name: a\n    interface: "+device+"\n    "+keys+"\n")
			if c.Uplinks[0].Neighbour != nil {
				t.Errorf("%s with %q is watched for a neighbour", device, keys)
			}
		}
	}
}

// There is no mode that spreads the packets of one flow over the uplinks, under
// whatever name.
func TestMP_02(t *testing.T) {
	for _, key := range []string{
		"mode: per-packet", "balance: per-packet", "balancing: round-robin", "per-packet: true", "hash-policy: none",
		"group: {mode: per-packet}", "group: {policy: random}", "tables: {mode: round-robin}",
	} {
		problems := problemsOf(t, "a.yaml", key+"\n"+two)
		if len(problems) != 1 || !strings.Contains(problems[0].Message, "unknown key") {
			t.Errorf("%s: %v", key, problems)
		}
	}
	for _, k := range schema() {
		if strings.HasPrefix(k.String(), "uplinks[].bfd.") || strings.HasPrefix(k.String(), "uplinks[].bgp.") {
			continue // How a session watches its path, and what it accepts, say nothing of flows.
		}
		for _, word := range []string{"mode", "packet", "robin", "hash", "policy"} {
			if strings.Contains(k.String(), word) {
				t.Errorf("the key %s looks like a mode of balancing", k)
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	uplink := func(i int, keys string) string {
		return fmt.Sprintf("  - {name: u%d, interface: eth%d, icmp: {}%s}\n", i, i, keys)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"none", uplink(0, "") + uplink(1, ""), ""},
		{"a single uplink", uplink(0, ""), "a.yaml:1: uplinks: there is only one; nothing can take over when u0 fails: add the second way out"},
		{"59 to 1", uplink(0, ", weight: 59") + uplink(1, ""), ""},
		{"60 to 1", uplink(0, ", weight: 60") + uplink(1, ""), "a.yaml:3: uplinks[1].weight: less than one of 60 buckets is left for u1 in tier 1"},
		{"60 to 1 in tiers", uplink(0, ", weight: 60") + uplink(1, ", tier: 2"), ""},
		{
			"seven share 120", uplink(0, ", weight: 100") + uplink(1, "") + uplink(2, "") + uplink(3, "") + uplink(4, "") + uplink(5, "") + uplink(6, ""), "",
		},
		{
			"too many", uplink(0, ", weight: 200") + uplink(1, "") + uplink(2, "") + uplink(3, "") + uplink(4, "") + uplink(5, "") + uplink(6, ""),
			"a.yaml:3: uplinks[1].weight: less than one of 120 buckets is left for u1, u2, u3 and 3 more in tier 1",
		},
		{
			"too often", "  - {name: a, interface: eth8, icmp: {interval: 99ms}}\n" + uplink(1, ""),
			"a.yaml:2: uplinks[0].icmp.interval: 99ms is so often that routers on the way may limit the answers",
		},
		{"often", "  - {name: a, interface: eth8, icmp: {interval: 100ms}}\n" + uplink(1, ""), ""},
		{
			"latency that cannot be", "  - {name: a, interface: eth8, icmp: {interval: 200ms, latency: 200ms}}\n" + uplink(1, ""),
			"a.yaml:2: uplinks[0].icmp.latency: 200ms can never be measured, since an answer is lost after 200ms",
		},
		{
			"one target", "  - {name: a, interface: eth8, icmp: {targets: [192.0.2.1, 192.0.2.2, '2001:db8::1']}}\n" + uplink(1, ""),
			"a.yaml:2: uplinks[0].icmp.targets: 2001:db8::1 is the only IPv6 target of a: if it fails, so does the uplink; add two more",
		},
	} {
		got := warned(t, "uplinks:\n"+tt.text)
		if (tt.want == "") != (got == "") || !strings.HasPrefix(got, tt.want) || strings.Contains(got, "\n") {
			t.Errorf("%s: warnings %q, want one: %q", tt.name, got, tt.want)
		}
	}
}
