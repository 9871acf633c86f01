package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// isp is a configuration whose first uplink has the keys of bgp given beside a peer's
// AS and GTSM, and gateways of both families.
func isp(keys string) string { return edge("as: 64500, router-id: 192.0.2.9", keys) }

// edge is isp with the keys of the global section.
func edge(global, keys string) string {
	if !strings.Contains(keys, "peer-as") {
		keys = strings.Trim("peer-as: 64501, "+keys, ", ")
	}
	if !strings.Contains(keys, "ttl-security") && !strings.Contains(keys, "multihop") {
		keys += ", ttl-security: true"
	}
	return "bgp: {" + global + "}\nuplinks:\n  - name: a\n    interface: eth0\n    gateway: [192.0.2.1, 'fe80::1']\n    source: [192.0.2.2, '2001:db8:a::/48']\n    bgp: {" +
		keys + "}\n  - {name: b, interface: eth1, icmp: {}}\n"
}

func peerOf(t *testing.T, keys string) *UplinkBGP {
	t.Helper()
	b := mustParse(t, "/etc/a.yaml", isp(keys)).Uplinks[0].BGP
	if b == nil {
		t.Fatalf("bgp: {%s} makes no session", keys)
	}
	return b
}

// refusedPeer wants exactly one problem of a session, that begins so.
func refusedPeer(t *testing.T, keys, want string) {
	t.Helper()
	problems := problemsOf(t, "a.yaml", isp(keys))
	if want = "a.yaml:7: uplinks[0].bgp." + want; len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
		t.Errorf("bgp: {%s}: got\n%v\nwant\n%s", keys, problems, want)
	}
}

// refusedBGP is refusedPeer for the global section.
func refusedBGP(t *testing.T, global, want string) {
	t.Helper()
	problems := problemsOf(t, "a.yaml", edge(global, ""))
	if want = "a.yaml:1: bgp" + want; len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
		t.Errorf("bgp: {%s}: got\n%v\nwant\n%s", global, problems, want)
	}
}

// byDefault is a session of which nothing but the peer's AS is written.
func byDefault() *UplinkBGP {
	return &UplinkBGP{
		PeerAS: 64501, Port: 179, Import: Import{Mode: ImportDefault, MaxLength4: 24, MaxLength6: 48}, HoldTime: 90 * time.Second, TTLSecurity: true,
		GracefulRestart: GracefulRestart{Enabled: true, RestartTime: 120 * time.Second, StaleTime: 180 * time.Second},
		Weight:          WeightStatic, Preference: 100, Unfit: UnfitWithdraw,
	}
}

func TestBGPDefaults(t *testing.T) {
	c := mustParse(t, "a.yaml", isp(""))
	if diff := cmp.Diff(byDefault(), c.Uplinks[0].BGP, same); diff != "" {
		t.Errorf("the session (-want +got)\n%s", diff)
	}
	want := &BGP{
		AS: 64500, RouterID: netip.MustParseAddr("192.0.2.9"), Port: 179, ASPath: ASPathStrict, Deferral: 2 * time.Minute, Protocol: 222, DrainTime: 5 * time.Minute,
	}
	if diff := cmp.Diff(want, c.BGP, same); diff != "" {
		t.Errorf("all sessions (-want +got)\n%s", diff)
	}
	if len(c.Warnings) > 0 || c.Uplinks[1].BGP != nil || c.Tables.Prefixes != 222 {
		t.Errorf("warnings %q, the other session %+v, table %d", c.Warnings, c.Uplinks[1].BGP, c.Tables.Prefixes)
	}
	// The numbers that follow from others stay in their ranges.
	c = mustParse(t, "a.yaml", "protocol: 255\ntables: {balance: 4294967295}\n"+isp(""))
	if c.BGP.Protocol != 254 || c.Tables.Prefixes != 4294967294 {
		t.Errorf("protocol %d, table %d", c.BGP.Protocol, c.Tables.Prefixes)
	}
}

// allBGP has every key of bgp, in every format.
var allBGP = map[string]string{
	"all.yaml": `
tables: {prefixes: 300}
bgp:
  as: 4200000000
  router-id: 192.0.2.9
  listen: [192.0.2.9, "2001:db8::9"]
  port: 1790
  as-path: Relax
  announce:
    - {prefix: 198.51.100.0/24, communities: ["64501:70", no-export, GRACEFUL_SHUTDOWN], when: interface, interface: lan0}
    - "2001:db8:77::/48"
  allow-own-prefixes: true
  rpki: {servers: ["192.0.2.8:3323", "rpki.example.net:323"], reject-invalid: false}
  deferral: 30s
  protocol: 77
  drain-time: 0s
uplinks:
  - name: fiber
    interface: eth1
    gateway: [203.0.113.1, "2001:db8:f::1"]
    icmp: {}
    bgp:
      peer: "2001:db8:f::7"
      peer-as: 64501
      local-as: 64499
      families: [IPv4, ipv6]
      port: 1179
      import: {prefixes: [192.0.2.0/24, "::/0"], max-length: {ipv4: 28, ipv6: 56}, private-as: true, any-next-hop: true}
      max-prefixes: 5000
      hold-time: 30s
      password-file: fiber.password
      multihop: 3
      passive: true
      graceful-restart: {enabled: true, restart-time: 60s, stale-time: 90s}
      weight: bandwidth
      preference: 200
      med: 0
      prepend: 2
      communities: "64501:80"
      unfit: tag
`,
	"all.toml": `
[tables]
prefixes = 300
[bgp]
as = 4200000000
router-id = "192.0.2.9"
listen = ["192.0.2.9", "2001:db8::9"]
port = 1790
as-path = "relax"
allow-own-prefixes = true
deferral = "30s"
protocol = 77
drain-time = "0s"
[[bgp.announce]]
prefix = "198.51.100.0/24"
communities = ["64501:70", "no-export", "graceful-shutdown"]
when = "interface"
interface = "lan0"
[[bgp.announce]]
prefix = "2001:db8:77::/48"
[bgp.rpki]
servers = ["192.0.2.8:3323", "rpki.example.net:323"]
reject-invalid = false
[[uplinks]]
name = "fiber"
interface = "eth1"
gateway = ["203.0.113.1", "2001:db8:f::1"]
icmp = true
[uplinks.bgp]
peer = "2001:db8:f::7"
peer-as = 64501
local-as = 64499
families = ["ipv4", "ipv6"]
port = 1179
max-prefixes = 5000
hold-time = "30s"
password-file = "/etc/fiber.password"
multihop = 3
passive = true
weight = "bandwidth"
preference = 200
med = 0
prepend = 2
communities = ["64501:80"]
unfit = "tag"
[uplinks.bgp.import]
mode = "prefixes"
prefixes = ["192.0.2.0/24", "::/0"]
private-as = true
any-next-hop = true
[uplinks.bgp.import.max-length]
ipv4 = 28
ipv6 = 56
[uplinks.bgp.graceful-restart]
restart-time = "60s"
stale-time = "90s"
`,
	"all.json": `{
	"tables": {"prefixes": 300},
	"bgp": {
		"as": 4200000000, "router-id": "192.0.2.9", "listen": ["192.0.2.9", "2001:db8::9"], "port": 1790, "as-path": "relax",
		"announce": [
			{"prefix": "198.51.100.0/24", "communities": ["64501:70", "no-export", "65535:0"], "when": "interface", "interface": "lan0"},
			{"prefix": "2001:db8:77::/48"}
		],
		"allow-own-prefixes": true, "rpki": {"servers": ["192.0.2.8:3323", "rpki.example.net:323"], "reject-invalid": false},
		"deferral": "30s", "protocol": 77, "drain-time": 0
	},
	"uplinks": [{
		"name": "fiber", "interface": "eth1", "gateway": ["203.0.113.1", "2001:db8:f::1"], "icmp": {},
		"bgp": {
			"peer": "2001:db8:f::7", "peer-as": 64501, "local-as": 64499, "families": ["ipv4", "ipv6"], "port": 1179,
			"import": {"prefixes": ["192.0.2.0/24", "::/0"], "max-length": {"ipv4": 28, "ipv6": 56}, "private-as": true, "any-next-hop": true},
			"max-prefixes": 5000, "hold-time": "30s", "password-file": "fiber.password", "multihop": 3, "passive": true,
			"graceful-restart": {"restart-time": "60s", "stale-time": "90s"},
			"weight": "bandwidth", "preference": 200, "med": 0, "prepend": 2, "communities": "64501:80", "unfit": "tag"
		}
	}]
}`,
}

func TestBGPEveryKeyInEveryFormat(t *testing.T) {
	prefix := netip.MustParsePrefix
	wantAll := &BGP{
		AS: 4200000000, RouterID: netip.MustParseAddr("192.0.2.9"), Listen: []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")},
		Port: 1790, ASPath: ASPathRelax, AllowOwnPrefixes: true, RPKI: &RPKI{Servers: []string{"192.0.2.8:3323", "rpki.example.net:323"}},
		Announce: []Announce{
			{Prefix: prefix("198.51.100.0/24"), Communities: []uint32{64501<<16 | 70, 0xffffff01, 0xffff0000}, When: WhenInterface, Interface: "lan0"},
			{Prefix: prefix("2001:db8:77::/48"), When: WhenAlways},
		},
		Deferral: 30 * time.Second, Protocol: 77,
	}
	want := &UplinkBGP{
		Peers: []netip.Addr{netip.MustParseAddr("2001:db8:f::7")}, Families: []string{"ipv4", "ipv6"}, PeerAS: 64501, LocalAS: 64499, Port: 1179,
		Import: Import{
			Mode: ImportPrefixes, Prefixes: []netip.Prefix{prefix("192.0.2.0/24"), prefix("::/0")}, MaxLength4: 28, MaxLength6: 56,
			PrivateAS: true, AnyNextHop: true,
		},
		MaxPrefixes: 5000, HoldTime: 30 * time.Second, PasswordFile: "/etc/fiber.password", Multihop: 3, Passive: true,
		GracefulRestart: GracefulRestart{Enabled: true, RestartTime: time.Minute, StaleTime: 90 * time.Second},
		Weight:          WeightBandwidth, Preference: 200, HasMED: true, Prepend: 2, Communities: []uint32{64501<<16 | 80}, Unfit: UnfitTag,
	}
	for name, text := range allBGP {
		c := mustParse(t, "/etc/"+name, text)
		if diff := cmp.Diff(wantAll, c.BGP, same); diff != "" {
			t.Errorf("%s: all sessions (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff(want, c.Uplinks[0].BGP, same); diff != "" {
			t.Errorf("%s: the session (-want +got)\n%s", name, diff)
		}
		if c.Tables.Prefixes != 300 {
			t.Errorf("%s: the table is %d", name, c.Tables.Prefixes)
		}
	}
}

// What may be written in more than one way.
func TestBGPShortForms(t *testing.T) {
	imports := func(mode ImportMode, v4, v6 int, prefixes ...string) Import {
		m := Import{Mode: mode, MaxLength4: v4, MaxLength6: v6}
		for _, p := range prefixes {
			m.Prefixes = append(m.Prefixes, netip.MustParsePrefix(p))
		}
		return m
	}
	for text, want := range map[string]Import{
		"default": imports(ImportDefault, 24, 48), "Full": imports(ImportFull, 24, 48), "{mode: full}": imports(ImportFull, 24, 48),
		"{mode: full, max-length: 25}":              imports(ImportFull, 25, 48),
		"{mode: full, max-length: {ipv6: 64}}":      imports(ImportFull, 24, 64),
		"{prefixes: 192.0.2.0/24}":                  imports(ImportPrefixes, 24, 48, "192.0.2.0/24"),
		"{prefixes: 192.0.2.1, max-length: '0x1e'}": imports(ImportPrefixes, 30, 48, "192.0.2.1/32"),
	} {
		if diff := cmp.Diff(want, peerOf(t, "import: "+text).Import, same); diff != "" {
			t.Errorf("import: %s: (-want +got)\n%s", text, diff)
		}
	}
	for text, want := range map[string]bool{"true": true, "{}": true, "{enabled: yes}": true, "false": false, "off": false, "{enabled: false}": false} {
		if got := peerOf(t, "graceful-restart: "+text).GracefulRestart.Enabled; got != want {
			t.Errorf("graceful-restart: %s is %v", text, got)
		}
	}
	for text, want := range map[string]int{"198.51.100.0/24": 1, "[198.51.100.0/24, {prefix: 2001:db8::/32}]": 2, "{prefix: 198.51.100.0/24}": 1} {
		if got := mustParse(t, "a.yaml", edge("as: 1, router-id: 192.0.2.9, announce: "+text, "")).BGP.Announce; len(got) != want {
			t.Errorf("announce: %s makes %v", text, got)
		}
	}
	if m := peerOf(t, "med: 0"); !m.HasMED || peerOf(t, "").HasMED {
		t.Error("a MED of 0 is not told from none")
	}
	c := mustParse(t, "a.yaml", "uplinks: [{name: a, interface: eth0, icmp: {}, bgp: false}, {name: b, interface: eth1, icmp: {}}]")
	if c.BGP != nil || c.Uplinks[0].BGP != nil || len(c.Warnings) > 0 {
		t.Errorf("bgp: false makes %+v, warnings %q", c.Uplinks[0].BGP, c.Warnings)
	}
}

func TestBGPEnvironment(t *testing.T) {
	text := edge("announce: [198.51.100.0/24, {prefix: '2001:db8:7::/48', when: always}]", "peer-as: 64501, import: default")
	c := mustParse(t, "/etc/a.yaml", text, "MULTIHOMED_BGP_AS=64499", "MULTIHOMED_BGP_ROUTER_ID=192.0.2.7", "MULTIHOMED_BGP_LISTEN=192.0.2.7",
		"MULTIHOMED_BGP_ANNOUNCE_1_WHEN=any-uplink-live", "MULTIHOMED_BGP_RPKI_SERVERS=192.0.2.8:323,[2001:db8::8]:323", "MULTIHOMED_TABLES_PREFIXES=400",
		"MULTIHOMED_UPLINKS_A_BGP_IMPORT=full", "MULTIHOMED_UPLINKS_0_BGP_PASSWORD_FILE=k", "MULTIHOMED_UPLINKS_A_BGP_COMMUNITIES=64501:1,no-export",
		"MULTIHOMED_UPLINKS_A_BGP_GRACEFUL_RESTART_ENABLED=false", "MULTIHOMED_UPLINKS_A_BGP_FAMILIES=ipv4", "MULTIHOMED_UPLINKS_A_BGP_MED=7")
	want := byDefault()
	want.Import.Mode, want.PasswordFile, want.Families, want.MED, want.HasMED = ImportFull, "/etc/k", []string{"ipv4"}, 7, true
	want.GracefulRestart.Enabled, want.Communities = false, []uint32{64501<<16 | 1, 0xffffff01}
	if diff := cmp.Diff(want, c.Uplinks[0].BGP, same); diff != "" {
		t.Errorf("the session (-want +got)\n%s", diff)
	}
	if b := c.BGP; b.AS != 64499 || b.RouterID != netip.MustParseAddr("192.0.2.7") || len(b.Listen) != 1 || b.Announce[1].When != WhenAnyUplinkLive ||
		b.Announce[0].When != WhenAlways || len(b.RPKI.Servers) != 2 || c.Tables.Prefixes != 400 || len(c.Warnings) > 0 {
		t.Errorf("got %+v, table %d, warnings %q", b, c.Tables.Prefixes, c.Warnings)
	}
	// A list as a whole, a section of a word, a switch, and a length as a number.
	c = mustParse(t, "a.yaml", isp("import: full"), "MULTIHOMED_BGP_ANNOUNCE=198.51.100.0/24 2001:db8:7::/48", "MULTIHOMED_UPLINKS_A_BGP_IMPORT_MODE=full",
		"MULTIHOMED_UPLINKS_A_BGP_IMPORT_MAX_LENGTH=25")
	if len(c.BGP.Announce) != 2 || c.Uplinks[0].BGP.Import.Mode != ImportFull || c.Uplinks[0].BGP.Import.MaxLength4 != 25 {
		t.Errorf("got %+v and %+v", c.BGP, c.Uplinks[0].BGP)
	}
	if c := mustParse(t, "a.yaml", isp(""), "MULTIHOMED_UPLINKS_A_BGP=false"); c.BGP != nil || c.Uplinks[0].BGP != nil {
		t.Errorf("a variable did not switch the session off: %+v", c.Uplinks[0].BGP)
	}
	for _, tt := range [][2]string{
		{"MULTIHOMED_BGP_PORT=70000", "environment: MULTIHOMED_BGP_PORT: 70000 is out of range; write 0 to 65535"},
		{"MULTIHOMED_BGP_ANNOUNCE_0_PREFIX=10.0.0.0/8", "environment: MULTIHOMED_BGP_ANNOUNCE_0_PREFIX: 10.0.0.0/8 is address space that is private (RFC 1918)"},
		{"MULTIHOMED_UPLINKS_A_BGP_PEER_AS=0", "environment: MULTIHOMED_UPLINKS_A_BGP_PEER_AS: 0 is out of range"},
		// What makes a section of a word says so, where it would change the mode.
		{"MULTIHOMED_UPLINKS_A_BGP_IMPORT_PRIVATE_AS=true", "a.yaml:7: uplinks[0].bgp.import: does not say what is imported"},
	} {
		problems := problemsOf(t, "a.yaml", edge("as: 1, router-id: 192.0.2.9, announce: [198.51.100.0/24]", "import: full"), tt[0])
		if len(problems) != 1 || !strings.HasPrefix(problems.Error(), tt[1]) {
			t.Errorf("%s: got %v, want %s", tt[0], problems, tt[1])
		}
	}
	c = mustParse(t, "a.yaml", isp(""), "MULTIHOMED_BGP_ANNOUNCE_0_PREFIX=198.51.100.0/24")
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "changes nothing") {
		t.Errorf("a prefix that the file does not list: %q", c.Warnings)
	}
}

func TestBGPPasswordFileIsAbsolute(t *testing.T) {
	for file, want := range map[string]string{"k": "/etc/k", "../k": "/k", "/run//k": "/run/k"} {
		if got := peerOf(t, "password-file: "+file).PasswordFile; got != want || !filepath.IsAbs(got) {
			t.Errorf("%s became %s, want %s", file, got, want)
		}
	}
	refusedPeer(t, "password-file: ' '", "password-file: names no file")
}
