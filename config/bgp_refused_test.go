package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestBGPRefusedGlobally(t *testing.T) {
	id := "router-id: 192.0.2.9"
	for global, want := range map[string]string{
		id: ".as: is missing; write your AS number, such as 64500",
		"as: 64500": ".router-id: is missing; it is not guessed, because sessions end when it changes: write an IPv4 address that is this host's alone, " +
			"such as that of its LAN: router-id: 192.0.2.1",
		"as: 0, " + id:                                                                      ".as: 0 is out of range; write 1 to 4294967294",
		"as: 4294967295, " + id:                                                             ".as: 4294967295 is out of range",
		"as: 23456, " + id:                                                                  ".as: 23456 stands for AS numbers above 65535 where they do not fit (AS_TRANS, RFC 6793)",
		"as: 65535, " + id:                                                                  ".as: 65535 is reserved (RFC 7300)",
		"as: 1.10, " + id:                                                                   ".as: 1.1 is not a whole number",
		"as: 64501, " + id:                                                                  "", // The peer's: told where the peer is.
		"as: 1, router-id: 0.0.0.0":                                                         ".router-id: 0.0.0.0 names no host",
		"as: 1, router-id: 127.0.0.1":                                                       ".router-id: 127.0.0.1 names no host",
		"as: 1, router-id: '2001:db8::1'":                                                   ".router-id: 2001:db8::1 is not IPv4, which names a BGP speaker also where only IPv6 is spoken (RFC 6286)",
		"as: 1, router-id: router.example":                                                  `.router-id: "router.example" is not an IP address`,
		"as: 1, " + id + ", listen: 0.0.0.0":                                                ".listen[0]: 0.0.0.0 means all addresses; remove listen for that",
		"as: 1, " + id + ", listen: ['fe80::1']":                                            ".listen[0]: fe80::1 is a link-local address",
		"as: 1, " + id + ", listen: [192.0.2.9, 192.0.2.9]":                                 ".listen[1]: 192.0.2.9 is in the list already",
		"as: 1, " + id + ", listen: 192.0.2.9, port: 0":                                     ".listen: has no effect with port: 0",
		"as: 1, " + id + ", port: 65536":                                                    ".port: 65536 is out of range; write 0 to 65535",
		"as: 1, " + id + ", as-path: loose":                                                 `.as-path: "loose" is not known; write strict or relax or ignore`,
		"as: 1, " + id + ", deferral: 0s":                                                   ".deferral: 0s is too short; write 1s or more",
		"as: 1, " + id + ", deferral: 2h":                                                   ".deferral: 2h0m0s is too long",
		"as: 1, " + id + ", drain-time: 25h":                                                ".drain-time: 25h0m0s is too long",
		"as: 1, " + id + ", drain-time: 300":                                                `.drain-time: 300 has no unit; write "300s" for seconds`,
		"as: 1, " + id + ", protocol: 221":                                                  ".protocol: 221 is that of everything else (protocol); the routes to prefixes need another one",
		"as: 1, " + id + ", protocol: 186":                                                  ".protocol: 186 marks the routes of bgp (FRR)",
		"as: 1, " + id + ", rpki: {}":                                                       ".rpki.servers: is missing; write the caches that you trust",
		"as: 1, " + id + ", rpki: {servers: 192.0.2.8}":                                     `.rpki.servers[0]: "192.0.2.8" is not an address and a port; write it as 192.0.2.8:3323`,
		"as: 1, " + id + ", rpki: {servers: '192.0.2.8:0'}":                                 `.rpki.servers[0]: "192.0.2.8:0" is not an address and a port`,
		"as: 1, " + id + ", rpki: {servers: ['h:1', 'h:1']}":                                ".rpki.servers[1]: h:1 is in the list already",
		"as: 1, " + id + ", rpki: {server: 'h:1', servers: 'h:1'}":                          `.rpki.server: unknown key; did you mean "servers"?`,
		"as: 1, " + id + ", announce: []":                                                   ".announce: is an empty list",
		"as: 1, " + id + ", announce: {when: always}":                                       ".announce[0].prefix: is missing; write the prefix that is to be announced",
		"as: 1, " + id + ", announce: 0.0.0.0/0":                                            ".announce[0].prefix: 0.0.0.0/0 is a default route, by which an ISP would send us the traffic of others",
		"as: 1, " + id + ", announce: '::/0'":                                               ".announce[0].prefix: ::/0 is a default route",
		"as: 1, " + id + ", announce: 128.0.0.0/1":                                          ".announce[0].prefix: 128.0.0.0/1 is shorter than /8, which is more than anybody has",
		"as: 1, " + id + ", announce: 100.64.0.0/24":                                        ".announce[0].prefix: 100.64.0.0/24 is address space that is shared by carriers (RFC 6598)",
		"as: 1, " + id + ", announce: 'fd00:1::/48'":                                        ".announce[0].prefix: fd00:1::/48 is address space that is private (RFC 4193)",
		"as: 1, " + id + ", announce: '4000::/20'":                                          ".announce[0].prefix: 4000::/20 lies outside of 2000::/3",
		"as: 1, " + id + ", announce: 198.51.100.7/24":                                      ".announce[0]: 198.51.100.7/24 has bits beyond its length; write 198.51.100.0/24 for the network",
		"as: 1, " + id + ", announce: [198.51.100.0/24, 198.51.100.0/24]":                   ".announce[1].prefix: 198.51.100.0/24 is in the list already (bgp.announce[0])",
		"as: 1, " + id + ", announce: {prefix: 198.51.100.0/24, when: sometimes}":           `.announce[0].when: "sometimes" is not known; write always or any-uplink-live or interface`,
		"as: 1, " + id + ", announce: {prefix: 198.51.100.0/24, when: interface}":           ".announce[0].interface: is missing; when: interface looks at a device",
		"as: 1, " + id + ", announce: {prefix: 198.51.100.0/24, interface: lan0}":           ".announce[0].interface: has no effect without when: interface",
		"as: 1, " + id + ", announce: {prefix: 198.51.100.0/24, communities: [1, 2]}":       ".announce[0].communities[0]: 1 is not a community; write two numbers up to 65535",
		"as: 1, " + id + ", announce: {prefix: 198.51.100.0/24, communities: ['1:65536']}":  `.announce[0].communities[0]: "1:65536" is not a community`,
		"as: 1, " + id + ", announce: {prefix: 198.51.100.0/24, communities: ['1:2:3']}":    `.announce[0].communities[0]: "1:2:3" is an extended or a large community, which are not sent`,
		"as: 1, " + id + ", announce: {prefix: 198.51.100.0/24, communities: [no-exports]}": `.announce[0].communities[0]: "no-exports" is not a community`,
		"as: 1, " + id + ", announce: {prefix: 198.51.100.0/24, community: '1:1'}":          `.announce[0].community: unknown key; did you mean "communities"?`,
		"as: 1, " + id + ", networks: 198.51.100.0/24":                                      `.networks: unknown key; did you mean "announce"?`,
		"as: 1, " + id + ", neighbors: []":                                                  ".neighbors: unknown key",
		"as: 1, " + id + ", hold-time: 9s":                                                  ".hold-time: unknown key; it belongs elsewhere: uplinks[].bgp.hold-time",
	} {
		switch {
		case want == "":
		case strings.Contains(global, "communities: [1, 2]"):
			if problems := problemsOf(t, "a.yaml", edge(global, "")); len(problems) != 2 || !strings.Contains(problems.Error(), want) {
				t.Errorf("bgp: {%s}: got\n%v\nwant\n%s", global, problems, want)
			}
		default:
			refusedBGP(t, global, want)
		}
	}
	problems := problemsOf(t, "a.yaml", "uplinks: [{name: a, interface: eth0, bgp: {peer-as: 64501}}]")
	want := `a.yaml: bgp: is missing, and uplink a has bgp; write at the top of the file "bgp:" with your AS number and the address that names this host: {as: 64500, router-id: 192.0.2.1}`
	if len(problems) != 1 || problems.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", problems, want)
	}
}

func TestBGPRefusedSessions(t *testing.T) {
	for keys, want := range map[string]string{
		"peer-as: 0":               "peer-as: 0 is out of range",
		"peer-as: 23456":           "peer-as: 23456 stands for AS numbers above 65535",
		"peer-as: 64500":           "peer-as: 64500 is our own AS (bgp.as); internal BGP is not spoken: write the AS number of the ISP",
		"local-as: 64501":          "local-as: 64501 is the AS of the peer as well; internal BGP is not spoken",
		"local-as: 0":              "local-as: 0 is out of range",
		"local-as: 65535":          "local-as: 65535 is reserved",
		"port: 0":                  "port: 0 is out of range; write 1 to 65535",
		"hold-time: 0":             "hold-time: 0 is a session that never notices a dead peer, nor one that stopped reading (RFC 9687); write 3s or more, and bfd to notice sooner",
		"hold-time: 2s":            "hold-time: 2s is too short; write 3s or more",
		"hold-time: 65536s":        "hold-time: 18h12m16s is too long",
		"hold-time: 9500ms":        "hold-time: 9.5s is not a whole number of seconds, in which the session carries it; write 10s",
		"max-prefixes: 0":          "max-prefixes: 0 is out of range; write 1 to 10000000",
		"prepend: 11":              "prepend: 11 is out of range; write 0 to 10",
		"preference: 0":            "preference: 0 is out of range; write 1 to 4294967295",
		"med: 4294967296":          "med: 4294967296 is out of range",
		"weight: 5":                "weight: 5 is read as a number",
		"weight: dynamic":          `weight: "dynamic" is not known; write static or bandwidth`,
		"unfit: hide":              `unfit: "hide" is not known; write withdraw or prepend or tag or keep`,
		"multihop: 2":              "peer: is missing; a multihop session does not go to the gateway",
		"multihop: 1, passive: no": "multihop: 1 is a peer on the link itself; remove it",
		"multihop: 256":            "multihop: 256 is out of range; write 2 to 255",
		"multihop: 2, peer: 192.0.2.9, ttl-security: true": "ttl-security: does not go with multihop",
		"multihop: 2, peer: 'fe80::9'":                     "peer[0]: fe80::9 is a link-local address, one hop away at most",
		"peer: [192.0.2.1, 192.0.2.7]":                     "peer[1]: 192.0.2.7 is a second IPv4 peer beside 192.0.2.1",
		"peer: 192.0.2.2":                                  "peer[0]: 192.0.2.2 is an address of this uplink (source)",
		"peer: 'fe80::1%eth0'":                             "peer[0]: fe80::1%eth0 names an interface",
		"peer: 224.0.0.1":                                  "peer[0]: 224.0.0.1 is a multicast address",
		"families: [ipv4, ipv6]":                           "families: needs peer where one session carries both",
		"families: ipv5":                                   `families[0]: "ipv5" is not known; write ipv4 or ipv6`,
		"families: 4":                                      "families[0]: 4 is read as a number",
		"families: [ipv4, ipv4], peer: 192.0.2.1":          "families[1]: ipv4 is in the list already",
		"families: ipv4, peer: [192.0.2.1, 'fe80::1']":     "families: does not go with two peers",
		"graceful-restart: {restart-time: 4096s}":          "graceful-restart.restart-time: 1h8m16s is too long",
		"graceful-restart: {restart-time: 1500ms}":         "graceful-restart.restart-time: 1.5s is not a whole number of seconds",
		"graceful-restart: {stale-time: 0s}":               "graceful-restart.stale-time: 0s is too short",
		"import: all":                                      `import: "all" is not known; write default or prefixes or full`,
		"import: {}":                                       "import: does not say what is imported",
		"import:":                                          "import: has no value",
		"import: {private-as: true}":                       "import: does not say what is imported",
		"import: {mode: none, private-as: true}":           `import.mode: "none" is not known`,
		"import: prefixes":                                 "import.prefixes: is missing; write the prefixes that you want by this uplink, or mode: default or full",
		"import: {mode: full, prefixes: 192.0.2.0/24}":     "import.prefixes: does not go with mode: full",
		"import: {prefixes: 192.0.2.1/24}":                 "import.prefixes[0]: 192.0.2.1/24 has bits beyond its length",
		"import: {prefixes: ['::/0', '::/0']}":             "import.prefixes[1]: ::/0 is in the list already",
		"import: {prefixes: '::/0'}, families: ipv4":       "import.prefixes[0]: ::/0 cannot come, because no session of this uplink carries IPv6",
		"import: {mode: full, max-length: 33}":             "import.max-length: 33 is out of range; write 8 to 32",
		"import: {mode: full, max-length: {ipv6: 129}}":    "import.max-length.ipv6: 129 is out of range; write 16 to 128",
		"import: {mode: default, max-length: 24}":          "import.max-length: has no effect on a default route",
		"communities: 64501":                               "communities[0]: 64501 is not a community",
		"communities: ['1:1', '1:1']":                      "communities[1]: 1:1 is in the list already",
	} {
		if strings.HasSuffix(keys, "import:") {
			problems := problemsOf(t, "a.yaml", isp("import: "+"null"))
			if !strings.Contains(problems.Error(), want) {
				t.Errorf("%s: %v", keys, problems)
			}
			continue
		}
		refusedPeer(t, keys, want)
	}
	// What only shows in comparison.
	for _, tt := range [][3]string{
		{"as: 1, router-id: 192.0.2.9, port: 0", "passive: true", "a.yaml:7: uplinks[0].bgp.passive: waits for the peer to connect, and bgp.port is 0"},
	} {
		if problems := problemsOf(t, "a.yaml", edge(tt[0], tt[1])); len(problems) != 1 || !strings.HasPrefix(problems.Error(), tt[2]) {
			t.Errorf("%v: got %v", tt, problems)
		}
	}
	only4 := strings.Replace(isp("families: ipv6"), "[192.0.2.1, 'fe80::1']", "192.0.2.1", 1)
	if problems := problemsOf(t, "a.yaml", only4); len(problems) != 1 || !strings.Contains(problems.Error(), "bgp.families: asks for ipv6, of which the uplink has no gateway") {
		t.Errorf("got %v", problems)
	}
	only4 = strings.Replace(isp("peer: '2001:db8:a:1::1'"), "[192.0.2.1, 'fe80::1']", "192.0.2.1", 1)
	if problems := problemsOf(t, "a.yaml", only4); len(problems) != 1 || !strings.Contains(problems.Error(), "bgp.peer: brings ipv6, and the uplink has no gateway of that family") {
		t.Errorf("got %v", problems)
	}
}

// A password in the open is refused with the reason, and not repeated.
func TestBGPPasswordsAreNotInTheFile(t *testing.T) {
	for _, key := range []string{"password", "secret", "md5", "auth-key", "auth_key", "PassWord"} {
		refusedPeer(t, key+": hunter2", key+": unknown key; passwords do not stand in the configuration, which is shown to others; "+
			"write this one into a file of its own (chmod 600), and its path as password-file")
		if problems := problemsOf(t, "a.yaml", isp(key+": hunter2")); strings.Contains(problems.Error(), "hunter2") {
			t.Errorf("a secret is repeated: %v", problems)
		}
	}
}

// Keys as other daemons call them lead to ours.
func TestBGPSuggestions(t *testing.T) {
	for keys, want := range map[string]string{
		"gtsm: true": "ttl-security", "neighbor: 192.0.2.1": "peer", "maximum-prefix: 5": "max-prefixes", "ebgp-multihop: 3": "multihop",
		"localpref: 100": "preference", "metric: 5": "med", "holdtime: 9s": "hold-time", "filter: full": "import", "password-fil: k": "password-file",
		"communites: ['1:1']": "communities", "gracefull-restart: true": "graceful-restart", "asn: 5, peer-as: 5": "peer-as",
	} {
		key, _, _ := strings.Cut(keys, ":")
		refusedPeer(t, keys, fmt.Sprintf("%s: unknown key; did you mean %q?", key, want))
	}
	if problems := problemsOf(t, "a.yaml", isp("remote-as: 5")); !strings.Contains(problems.Error(), `remote-as: unknown key; did you mean "peer-as"?`) {
		t.Errorf("got %v", problems)
	}
}

// twoISPs are two uplinks with sessions.
func twoISPs(first, second string) string {
	return "bgp: {as: 64500, router-id: 192.0.2.9}\nuplinks:\n" +
		"  - {name: a, interface: eth0, " + first + "}\n  - {name: b, interface: eth1, " + second + "}\n"
}

// There is one session per address, and link-local addresses belong to their links.
func TestBGPOneSessionPerPeer(t *testing.T) {
	far := "bgp: {peer-as: 64501, multihop: 4, peer: 198.51.100.9, password-file: k}"
	near := func(gateway string) string {
		return "gateway: " + gateway + ", bgp: {peer-as: 64501, ttl-security: true}"
	}
	for _, tt := range [][3]string{
		{far, far, "uplinks[1].bgp.peer[0]: uplink a has a session with 198.51.100.9 already, and there is one per address"},
		{near("192.168.1.1"), near("192.168.1.1"), "uplinks[1].bgp: uplink a has a session with 192.168.1.1 already"},
	} {
		problems := problemsOf(t, "a.yaml", twoISPs(tt[0], tt[1]))
		if want := "a.yaml:4: " + tt[2]; len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
			t.Errorf("%v: got\n%v", tt, problems)
		}
	}
	mustParse(t, "a.yaml", twoISPs(near("'fe80::1'"), near("'fe80::1'")))
	mustParse(t, "a.yaml", twoISPs(far, near("192.168.1.1")))
	var many strings.Builder
	many.WriteString("tables: {uplinks: 1000}\nrules: {mark: 1000, balance: 2000}\nmarks: {mask: 0xfffff00}\nbgp: {as: 64500, router-id: 192.0.2.9}\nuplinks:\n")
	for i := range 33 {
		fmt.Fprintf(&many, "  - {name: u%d, interface: eth%d, bgp: {peer-as: 64501, ttl-security: true}}\n", i, i)
	}
	if problems := problemsOf(t, "a.yaml", many.String()); len(problems) != 1 || !strings.HasPrefix(problems.Error(), "a.yaml:38: uplinks[32].bgp: makes more than 64 sessions") {
		t.Errorf("got %v", problems)
	}
}

// What is only used with more than a default is only held against the rest then.
func TestBGPPrefixes(t *testing.T) {
	uplink := func(i int, mode, family string) string {
		return fmt.Sprintf("  - {name: u%d, interface: eth%d, icmp: {}, bgp: {peer-as: 64501, ttl-security: true, import: %s, families: %s}}\n", i, i, mode, family)
	}
	head := "bgp: {as: 64500, router-id: 192.0.2.9}\n"
	for _, tt := range []struct{ head, mode, want string }{
		{"tables: {balance: 1000, uplinks: 1001}\n", "default", ""},
		{"tables: {balance: 1000, uplinks: 1001}\n", "full", "uplinks: 1001}\n"},
		{"tables: {prefixes: 254}\n", "default", ""},
		{"tables: {prefixes: 254}\n", "full", "tables.prefixes: 254 is the kernel's table main"},
		{"tables: {prefixes: 221}\n", "{prefixes: 192.0.2.0/24}", "tables.prefixes: 221 is the table of tables.balance already; write another one"},
		{"tables: {prefixes: 202}\n", "full", "tables.prefixes: 202 is the table of uplink u1 already"},
		{"rules: {balance: 213}\n", "default", ""},
		{"rules: {balance: 213}\n", "full", "rules.balance: 213 leaves no room for the rule of the prefixes between the marks (211) and the balance; write at least 214"},
	} {
		text := tt.head + head + "uplinks:\n" + uplink(0, tt.mode, "ipv4") + uplink(1, "default", "ipv6")
		if tt.want == "" {
			mustParse(t, "a.yaml", text)
			continue
		}
		want := tt.want
		if strings.HasPrefix(want, "uplinks: 1001") {
			want = "tables.prefixes: 1001 is the table of uplink u0 already"
		}
		if problems := problemsOf(t, "a.yaml", text); len(problems) != 1 || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s, %s: got %v, want %s", tt.head, tt.mode, problems, want)
		}
	}
	for family, other := range map[string]string{"ipv4": "ipv6", "ipv6": "ipv4"} {
		text := "tables: {uplinks: 1000}\n" + head + "uplinks:\n"
		for i := range 8 {
			text += uplink(i, "full", family)
		}
		for i := range 8 {
			text += uplink(8+i, "full", other)
		}
		text = strings.Replace(text, head, "marks: {mask: 0xfff00}\nrules: {mark: 300, balance: 400}\n"+head, 1)
		mustParse(t, "a.yaml", text)
		problems := problemsOf(t, "a.yaml", text+uplink(16, "full", family))
		want := "uplinks[16].bgp.import: 9 uplinks import more than a default in " + family + " (u0, u1, u2 and 6 more); the choice between them has room for 8"
		if len(problems) != 1 || !strings.Contains(problems.Error(), want) {
			t.Errorf("got %v, want %s", problems, want)
		}
	}
}

// GTSM needs both ends and is off unless written; a session without any protection is
// a warning that says what to ask for.
func TestB_SEC_03_Config(t *testing.T) {
	if b := mustParse(t, "a.yaml", strings.Replace(isp(""), ", ttl-security: true", "", 1)).Uplinks[0].BGP; b.TTLSecurity {
		t.Error("GTSM is on by default")
	}
	direct := `a.yaml:7: uplinks[0].bgp.ttl-security: neither it nor a password protects the session of a from packets of strangers; ask the ISP for GTSM`
	far := "a.yaml:7: uplinks[0].bgp.password-file: is missing; whoever can reach this host may end a multihop session of a"
	for keys, want := range map[string]string{
		"ttl-security: false": direct, "ttl-security: true": "", "ttl-security: false, password-file: k": "", "ttl-security: true, password-file: k": "",
		"multihop: 2, peer: 198.51.100.9": far, "multihop: 2, peer: 198.51.100.9, password-file: k": "",
	} {
		if got := warned(t, isp(keys)); (want == "") != (got == "") || !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
			t.Errorf("%s: warnings %q, want %q", keys, got, want)
		}
	}
}

// The bandwidth that an ISP announces counts only where that was written.
func TestB_LBW_07_Config(t *testing.T) {
	if peerOf(t, "").Weight != WeightStatic || peerOf(t, "weight: bandwidth").Weight != WeightBandwidth {
		t.Error("the bandwidth counts without being asked for, or cannot be had")
	}
	session := func(weight string) string {
		return "icmp: {}, bgp: {peer-as: 64501, ttl-security: true, weight: " + weight + "}"
	}
	if got := warned(t, twoISPs(session("bandwidth"), session("bandwidth"))); got != "" {
		t.Errorf("warnings %q", got)
	}
	for _, other := range []string{session("static"), "icmp: {}"} {
		want := "a.yaml:3: uplinks[0].bgp.weight: bandwidth has no effect, because uplink b of the same tier (1) has none to compare with"
		if got := warned(t, twoISPs(session("bandwidth"), other)); !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
			t.Errorf("%s: warnings %q", other, got)
		}
		if got := warned(t, twoISPs(session("bandwidth"), "tier: 2, "+other)); got != "" {
			t.Errorf("%s in another tier: warnings %q", other, got)
		}
	}
}

// The time to wait for the tables of the peers can be chosen, and is bounded.
func TestB_GR_07_Config(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 120 * time.Second, ", deferral: 1s": time.Second, ", deferral: 1h": time.Hour} {
		if got := mustParse(t, "a.yaml", edge("as: 1, router-id: 192.0.2.9"+text, "")).BGP.Deferral; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestBGPWarnings(t *testing.T) {
	id := "as: 1, router-id: 192.0.2.9"
	for _, tt := range [][3]string{
		{id, "hold-time: 3s", "a.yaml:7: uplinks[0].bgp.hold-time: 3s is so short that a busy router looks dead; write 9s or more"},
		{id, "hold-time: 9s", ""},
		{id, "peer: 192.0.2.1, families: [ipv4, ipv6]", "a.yaml:7: uplinks[0].bgp.families: the next hops of IPv6 cannot be an IPv4 peer"},
		{id, "peer: 'fe80::1', families: [ipv4, ipv6]", ""},
		{id + ", announce: 198.51.100.0/25", "", "a.yaml:1: bgp.announce[0].prefix: 198.51.100.0/25 is longer than /24, which most of the world does not accept"},
		{id + ", announce: '2001:db8::/49'", "", "a.yaml:1: bgp.announce[0].prefix: 2001:db8::/49 is longer than /48"},
		{id + ", announce: {prefix: 198.51.100.1/32, communities: blackhole}", "", ""},
	} {
		if got := warned(t, edge(tt[0], tt[1])); (tt[2] == "") != (got == "") || !strings.HasPrefix(got, tt[2]) || strings.Contains(got, "\n") {
			t.Errorf("%v: warnings %q", tt, got)
		}
	}
	c := mustParse(t, "a.yaml", "bgp: {as: 64500, router-id: 192.0.2.9}\n"+strings.TrimPrefix(two, "\n"))
	if c.BGP != nil || len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], "a.yaml:1: bgp: has no effect, because no uplink has bgp") {
		t.Errorf("without sessions there is %+v, warnings %q", c.BGP, c.Warnings)
	}
	// A session is evidence, and a slow one where nothing else looks.
	alone := "neighbour: false, bgp: {peer-as: 64501, ttl-security: true}"
	want := "a.yaml:3: uplinks[0].bgp.hold-time: an outage of a may go unseen for 1m30s"
	if got := warned(t, twoISPs(alone, "icmp: {}")); !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
		t.Errorf("warnings %q, want %s", got, want)
	}
}

// What only a Config that was built by hand can have.
func TestBGPValidate(t *testing.T) {
	for _, tt := range []struct {
		want   string
		damage func(c *Config, b *UplinkBGP)
	}{
		{"bgp: is missing, and uplink a has bgp", func(c *Config, _ *UplinkBGP) { c.BGP = nil }},
		{"bgp.as: 0 is no AS (RFC 7607)", func(c *Config, _ *UplinkBGP) { c.BGP.AS = 0 }},
		{"bgp.as: 4294967295 is reserved", func(c *Config, _ *UplinkBGP) { c.BGP.AS = 4294967295 }},
		{"bgp.as-path: is not set", func(c *Config, _ *UplinkBGP) { c.BGP.ASPath = 0 }},
		{"bgp.announce[0].prefix: invalid Prefix is no prefix", func(c *Config, _ *UplinkBGP) { c.BGP.Announce = []Announce{{When: WhenAlways}} }},
		{"bgp.announce[0].when: is not set", func(c *Config, _ *UplinkBGP) {
			c.BGP.Announce = []Announce{{Prefix: netip.MustParsePrefix("198.51.100.0/24")}}
		}},
		{"bgp.announce[0].prefix: ::ffff:198.51.100.0/120 is IPv4 in IPv6 clothes", func(c *Config, _ *UplinkBGP) {
			c.BGP.Announce = []Announce{{Prefix: netip.MustParsePrefix("::ffff:198.51.100.0/120"), When: WhenAlways}}
		}},
		{"bgp.announce: there are 257 prefixes", func(c *Config, _ *UplinkBGP) { c.BGP.Announce = make([]Announce, 257) }},
		{"bgp.protocol: 0 is out of range", func(c *Config, _ *UplinkBGP) { c.BGP.Protocol = 0 }},
		{"uplinks[0].bgp.peer-as: 0 is no AS", func(_ *Config, b *UplinkBGP) { b.PeerAS = 0 }},
		{"uplinks[0].bgp.port: 0 is out of range", func(_ *Config, b *UplinkBGP) { b.Port = 0 }},
		{"uplinks[0].bgp.import: is not set", func(_ *Config, b *UplinkBGP) { b.Import.Mode = 0 }},
		{"uplinks[0].bgp.import.max-length: 0 is out of range", func(_ *Config, b *UplinkBGP) { b.Import.MaxLength4 = 0 }},
		{"uplinks[0].bgp.weight: is not set", func(_ *Config, b *UplinkBGP) { b.Weight = 0 }},
		{"uplinks[0].bgp.unfit: is not set", func(_ *Config, b *UplinkBGP) { b.Unfit = 0 }},
		{"uplinks[0].bgp.preference: 0 is out of range", func(_ *Config, b *UplinkBGP) { b.Preference = 0 }},
		{`uplinks[0].bgp.password-file: "k" is not an absolute path`, func(_ *Config, b *UplinkBGP) { b.PasswordFile = "k" }},
		{`uplinks[0].bgp.families[0]: "IPv4" is no family`, func(_ *Config, b *UplinkBGP) { b.Families = []string{"IPv4"} }},
		{"uplinks[0].bgp.communities: there are 65", func(_ *Config, b *UplinkBGP) {
			for i := range uint32(65) {
				b.Communities = append(b.Communities, i)
			}
		}},
	} {
		c := mustParse(t, "a.yaml", isp(""))
		if err := c.Validate(); err != nil {
			t.Fatalf("the undamaged configuration: %v", err)
		}
		tt.damage(c, c.Uplinks[0].BGP)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v", tt.want, err)
		}
	}
}
