package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// site is a configuration whose first uplink has the keys of bfd given, and
// gateways of both families.
func site(keys string) string {
	return "uplinks:\n  - name: a\n    interface: eth0\n    gateway: [192.0.2.1, 'fe80::1']\n    source: [192.0.2.2, '2001:db8:a::/48']\n    bfd: {" +
		keys + "}\n  - {name: b, interface: eth1, icmp: {}}\n"
}

func sessionOf(t *testing.T, keys string) *BFD {
	t.Helper()
	b := mustParse(t, "a.yaml", site(keys)).Uplinks[0].BFD
	if b == nil {
		t.Fatalf("bfd: {%s} makes no session", keys)
	}
	return b
}

// refused wants exactly one problem of a session, that begins so.
func refused(t *testing.T, keys, want string) {
	t.Helper()
	problems := problemsOf(t, "a.yaml", site(keys))
	if want = "a.yaml:6: uplinks[0].bfd." + want; len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
		t.Errorf("bfd: {%s}: got\n%v\nwant\n%s", keys, problems, want)
	}
}

func TestBFDSwitches(t *testing.T) {
	want := &BFD{Mode: BFDAsync, Interval: 50 * time.Millisecond, Multiplier: 3, MinTTL: 255}
	for line, on := range map[string]bool{
		"weight: 1": false, "bfd: false": false, "bfd: no": false, "bfd:": true, "bfd: {}": true, "bfd: true": true, "bfd: {mode: Async}": true,
		"bfd: {auth: false}": true, "bfd: {auth: {type: none}}": true, "bfd: {auth: {type: none, key-file: k}}": true,
	} {
		c := mustParse(t, "a.yaml", "uplinks:\n  - {name: a, interface: eth0, icmp: {}}\n  - name: b\n    interface: eth1\n    "+line+"\n")
		got := c.Uplinks[1].BFD
		if (got != nil) != on {
			t.Errorf("%q makes the session %+v", line, got)
		}
		if diff := cmp.Diff(want, got, same); on && diff != "" {
			t.Errorf("%q: (-want +got)\n%s", line, diff)
		}
		if len(c.Warnings) > 0 {
			t.Errorf("%q: warnings %q", line, c.Warnings)
		}
	}
	if d := want.DetectionTime(); d != 150*time.Millisecond {
		t.Errorf("the detection time is %v, want 150ms", d)
	}
}

// Variables reach every key of a session, switch it, and give paths that begin
// at the file's directory as well.
func TestBFDEnvironment(t *testing.T) {
	text := "uplinks: [{name: a, interface: eth0, icmp: {}}, {name: b, interface: eth1, bfd: {multiplier: 5, auth: {key-file: k}}}]"
	c := mustParse(t, "/etc/multihomed/a.yaml", text, "MULTIHOMED_UPLINKS_A_BFD=true", "MULTIHOMED_UPLINKS_0_BFD_PEER=192.0.2.9,2001:db8::9",
		"MULTIHOMED_UPLINKS_B_BFD_INTERVAL=100ms", "MULTIHOMED_UPLINKS_B_BFD_AUTH_KEY_FILE=keys/b", "MULTIHOMED_UPLINKS_B_BFD_AUTH_TYPE=md5")
	if a := c.Uplinks[0].BFD; a == nil || len(a.Peers) != 2 || len(c.Warnings) > 0 {
		t.Errorf("a has the session %+v, warnings %q", a, c.Warnings)
	}
	b := c.Uplinks[1].BFD
	if diff := cmp.Diff(&BFDAuth{Type: "md5", KeyID: 1, KeyFile: "/etc/multihomed/keys/b"}, b.Auth); diff != "" || b.Interval != 100*time.Millisecond || b.Multiplier != 5 {
		t.Errorf("b has the session %+v\n%s", b, diff)
	}
	if c := mustParse(t, "a.yaml", text, "MULTIHOMED_UPLINKS_B_BFD=false"); c.Uplinks[1].BFD != nil {
		t.Errorf("a variable did not switch the session off")
	}
	problems := problemsOf(t, "a.yaml", text, "MULTIHOMED_UPLINKS_B_BFD_MULTIPLIER=256")
	if want := "environment: MULTIHOMED_UPLINKS_B_BFD_MULTIPLIER: 256 is out of range; write 1 to 255"; problems.Error() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
}

// The interval is never 0, and fits 32 bits of microseconds.
func TestBFD_PKT_07_Config(t *testing.T) {
	for _, ok := range []string{"1ms", "1001us", "10ms", "4000s"} {
		want, _ := time.ParseDuration(ok)
		if got := sessionOf(t, "interval: "+ok).Interval; got != want || got%time.Microsecond != 0 {
			t.Errorf("%s became %v", ok, got)
		}
	}
	for bad, want := range map[string]string{
		"0":         "interval: 0s is too short; write 1ms or more",
		"0s":        "interval: 0s is too short; write 1ms or more",
		"-50ms":     "interval: -50ms is too short",
		"999us":     "interval: 999µs is too short",
		"4000001ms": "interval: 1h6m40.001s is too long; write 1h6m40s or less",
		"50":        `interval: 50 has no unit; write "50s" for seconds`,
		"1000001ns": "interval: 1.000001ms is not a whole number of microseconds, in which packets carry it (RFC 5880 section 4.1); write 1ms",
	} {
		refused(t, "interval: "+bad, want)
	}
}

func TestBFD_PKT_14_Config(t *testing.T) {
	for _, n := range []int{1, 2, 3, 254, 255} {
		if got := sessionOf(t, fmt.Sprintf("multiplier: %d", n)).Multiplier; got != n {
			t.Errorf("%d became %d", n, got)
		}
	}
	for _, n := range []int{-1, 0, 256} {
		refused(t, fmt.Sprintf("multiplier: %d", n), fmt.Sprintf("multiplier: %d is out of range; write 1 to 255", n))
	}
}

// The common intervals are all taken; only what is shorter than the tests reach
// is a warning.
func TestBFD_CI_01_Config(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"3.3ms": 3300 * time.Microsecond, "10ms": 10 * time.Millisecond, "20ms": 20 * time.Millisecond, "50ms": 50 * time.Millisecond,
		"100ms": 100 * time.Millisecond, "1s": time.Second,
	} {
		if got := sessionOf(t, "interval: "+text).Interval; got != want {
			t.Errorf("%s became %v", text, got)
		}
		warning := ""
		if text == "3.3ms" {
			warning = "a.yaml:6: uplinks[0].bfd.interval: 3.3ms is shorter than what is tested (10ms); a busy machine may be late, which looks like an outage of a; write 10ms or more"
		}
		if got := warned(t, site("interval: "+text)); got != warning {
			t.Errorf("%s: warnings %q, want %q", text, got, warning)
		}
	}
}

func TestBFD_CI_02_Config(t *testing.T) {
	b := sessionOf(t, "interval: 10s, multiplier: 255")
	if b.Interval != 10*time.Second || b.Multiplier != 255 || b.DetectionTime() != 2550*time.Second {
		t.Errorf("got %v times %d, %v", b.Interval, b.Multiplier, b.DetectionTime())
	}
}

// Of two ends one has to speak first; we do, unless told otherwise.
func TestBFD_ST_05_Config(t *testing.T) {
	if sessionOf(t, "").Passive || !sessionOf(t, "passive: true").Passive {
		t.Error("the default is not active, or passive cannot be had")
	}
}

// There is one session per family, and its peer is an address of a single host
// other than ourselves.
func TestBFD_SH_01_Config(t *testing.T) {
	for text, want := range map[string]int{"192.0.2.1": 1, "'fe80::1'": 1, "[192.0.2.9, '2001:db8::9']": 2} {
		b := sessionOf(t, "peer: "+text)
		if len(b.Peers) != want {
			t.Errorf("%s: %v", text, b.Peers)
		}
	}
	for text, want := range map[string]string{
		"[192.0.2.1, 192.0.2.9]":    "peer[1]: 192.0.2.9 is a second IPv4 peer beside 192.0.2.1; an uplink has one session per family",
		"['fe80::1', 'fe80::2']":    "peer[1]: fe80::2 is a second IPv6 peer beside fe80::1",
		"192.0.2.2":                 "peer[0]: 192.0.2.2 is an address of this uplink (source)",
		"224.0.0.1":                 "peer[0]: 224.0.0.1 is a multicast address",
		"'::'":                      "peer[0]: :: is the unspecified address",
		"'fe80::1%eth0'":            "peer[0]: fe80::1%eth0 names an interface",
		"router.example":            `peer[0]: "router.example" is not an IP address`,
		"[]":                        "peer: is an empty list",
		"'::1', echo-source: '::1'": "peer[0]: ::1 is a loopback address",
	} {
		keys := "peer: " + text
		if strings.Contains(text, "echo-source") {
			problems := problemsOf(t, "a.yaml", site("mode: echo, "+keys))
			if len(problems) != 2 || !strings.Contains(problems.Error(), want) {
				t.Errorf("%s: %v", keys, problems)
			}
			continue
		}
		refused(t, keys, want)
	}
}

// shared are two uplinks on one device, with the keys of bfd of each.
func shared(first, second string) string {
	return "uplinks:\n" +
		"  - {name: a, interface: eth0, gateway: [192.0.2.1, 'fe80::1'], source: 192.0.2.11, " + first + "}\n" +
		"  - {name: b, interface: eth0, gateway: [192.0.2.2, 'fe80::2'], source: 192.0.2.12, " + second + "}\n"
}

// Two sessions to one system on one link would be one.
func TestBFD_SH_02_Config(t *testing.T) {
	for _, tt := range []struct{ first, second, where, peer string }{
		{"bfd: {peer: 192.0.2.9}", "bfd: {peer: 192.0.2.9}", ".peer[0]", "192.0.2.9"},
		{"bfd: {peer: 'fe80::9'}", "bfd: {peer: [192.0.2.9, 'fe80::9']}", ".peer[1]", "fe80::9"},
		{"bfd: {}", "bfd: {peer: 192.0.2.1}", ".peer[0]", "192.0.2.1"},
		{"bfd: {peer: 'fe80::2'}", "bfd: {}", "", "fe80::2"},
		{"bfd: {mode: echo, peer: 192.0.2.9}", "bfd: {mode: echo, peer: 192.0.2.9}", ".peer[0]", "192.0.2.9"},
		{"bfd: {multihop: true, peer: 192.0.2.9, auth: {key-file: k}}", "bfd: {peer: 192.0.2.9}", ".peer[0]", "192.0.2.9"},
	} {
		problems := problemsOf(t, "a.yaml", shared(tt.first, tt.second))
		want := "a.yaml:3: uplinks[1].bfd" + tt.where + ": uplink a has a session with " + tt.peer + " on eth0 already, and uplink b would have another; there is one per path (RFC 5881 section 2"
		if len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
			t.Errorf("%s and %s: got\n%v\nwant\n%s", tt.first, tt.second, problems, want)
		}
	}
	for _, tt := range [][2]string{
		{"bfd: {}", "bfd: {}"}, {"bfd: {peer: 192.0.2.9}", "bfd: {}"}, {"bfd: {peer: 192.0.2.9}", "bfd: {peer: 192.0.2.10}"},
		{"bfd: {peer: 192.0.2.9}", "bfd: {peer: 'fe80::9'}"}, {"bfd: {peer: 192.0.2.9}", "icmp: {}"}, {"bfd: {}", "bfd: {mode: echo}"},
	} {
		mustParse(t, "a.yaml", shared(tt[0], tt[1]))
	}
	// A shared gateway is one mistake, and not two.
	text := strings.ReplaceAll(shared("bfd: {}", "bfd: {}"), "192.0.2.2,", "192.0.2.1,")
	if problems := problemsOf(t, "a.yaml", text); len(problems) != 1 || problems[0].Path != "uplinks[1].gateway[0]" {
		t.Errorf("a shared gateway: %v", problems)
	}
	// Link-local gateways are often the same, on links that are not.
	mustParse(t, "a.yaml", "uplinks: [{name: a, interface: eth0, gateway: 'fe80::1', bfd: {}}, {name: b, interface: eth1, gateway: 'fe80::1', bfd: {mode: echo}}]")
}

// Echo is no second opinion on a neighbour that runs BFD.
func TestBFD_UE_21_Config(t *testing.T) {
	for _, family := range []string{"192.0.2.9", "'fe80::9'"} {
		for _, modes := range [][2]string{{"async", "echo"}, {"echo", "async"}} {
			problems := problemsOf(t, "a.yaml", shared("bfd: {mode: "+modes[0]+", peer: "+family+"}", "bfd: {mode: "+modes[1]+", peer: "+family+"}"))
			want := "a.yaml:3: uplinks[1].bfd.peer[0]: uplink a has a session in mode " + modes[0] + " with " + strings.Trim(family, "'") +
				" on eth0 already, and uplink b would have another in mode " + modes[1] + "; a neighbour gets one or the other (RFC 9747 section 4)"
			if len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
				t.Errorf("%s, %v: got\n%v\nwant\n%s", family, modes, problems, want)
			}
		}
	}
}

// Our own packets, sent back by the neighbour, cross one hop.
func TestBFD_MH_02_BFD_UE_02_Config(t *testing.T) {
	refused(t, "mode: echo, multihop: true, peer: 198.51.100.1, auth: {key-file: k}", "multihop: does not go with mode: echo")
	refused(t, "mode: echo, passive: true", "passive: does not go with mode: echo, in which the neighbour never begins")
	b := sessionOf(t, "mode: ECHO, echo-source: [198.51.100.9, '2001:db8:a::9'], multihop: false, passive: false")
	if b.Mode != BFDEcho || len(b.EchoSources) != 2 {
		t.Errorf("got %+v", b)
	}
	for keys, want := range map[string]string{
		"echo-source: 198.51.100.9":                              "echo-source: has no effect without mode: echo",
		"mode: demand":                                           `mode: "demand" is not known; write async or echo`,
		"mode: echo, echo-source: 'fe80::9'":                     "echo-source[0]: fe80::9 is a link-local address, which no neighbour forwards",
		"mode: echo, echo-source: 192.0.2.1":                     "echo-source[0]: 192.0.2.1 is the neighbour's own address",
		"mode: echo, echo-source: 127.0.0.1":                     "echo-source[0]: 127.0.0.1 is a loopback address",
		"mode: echo, echo-source: 10.0.0.0/8":                    "echo-source[0]: 10.0.0.0/8 is a prefix; write an address such as 10.0.0.0",
		"mode: echo, echo-source: [10.0.0.1, 10.0.0.2]":          "echo-source[1]: 10.0.0.2 is a second IPv4 source beside 10.0.0.1",
		"mode: echo, peer: 192.0.2.1, echo-source: '2001:db8::'": "echo-source[0]: 2001:db8:: has no use: peer names no IPv6 address",
	} {
		refused(t, keys, want)
	}
}

// A pair of addresses has one session: two uplinks may meet at a far peer only
// if their sources tell the sessions apart.
func TestBFD_MH_03_Config(t *testing.T) {
	far := func(peer string) string { return "bfd: {multihop: true, peer: '" + peer + "', auth: {key-file: k}}" }
	mustParse(t, "a.yaml", shared(far("198.51.100.1"), far("198.51.100.1")))
	mustParse(t, "a.yaml", shared(far("2001:db8::1"), far("2001:db8::2")))
	problems := problemsOf(t, "a.yaml", shared(far("2001:db8::1"), far("2001:db8::1")))
	want := "a.yaml:3: uplinks[1].bfd.peer[0]: uplink a has a session with 2001:db8::1 on eth0 already, and uplink b would have another"
	if len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
		t.Errorf("got\n%v\nwant\n%s", problems, want)
	}
	text := strings.ReplaceAll(shared(far("198.51.100.1"), far("198.51.100.1")), "192.0.2.12", "192.0.2.11")
	if problems := problemsOf(t, "a.yaml", text); !strings.Contains(problems.Error(), "192.0.2.11/32 is a source of uplink a already") {
		t.Errorf("got\n%v", problems)
	}
	refused(t, "multihop: true, auth: {key-file: k}", "peer: is missing; a multihop session does not go to the gateway")
	refused(t, "multihop: true, peer: 'fe80::9', auth: {key-file: k}", "peer[0]: fe80::9 is a link-local address, one hop away at most")
}

// The least TTL can be chosen where routers stand between, and nowhere else.
func TestBFD_MH_06_Config(t *testing.T) {
	far := "multihop: true, peer: 198.51.100.1, auth: {key-file: k}"
	for _, n := range []int{1, 254, 255} {
		if got := sessionOf(t, fmt.Sprintf("%s, min-ttl: %d", far, n)).MinTTL; got != n {
			t.Errorf("%d became %d", n, got)
		}
	}
	if got := sessionOf(t, far).MinTTL; got != 254 {
		t.Errorf("the default is %d, want 254", got)
	}
	if got := sessionOf(t, "").MinTTL; got != 255 {
		t.Errorf("a single hop takes %d, want 255", got)
	}
	for _, n := range []int{0, 256} {
		refused(t, fmt.Sprintf("%s, min-ttl: %d", far, n), fmt.Sprintf("min-ttl: %d is out of range; write 1 to 255", n))
	}
	for _, n := range []int{0, 64, 254, 255} {
		refused(t, fmt.Sprintf("min-ttl: %d", n), "min-ttl: is for multihop; a single hop always requires 255 (RFC 5881 section 5)")
	}
}

// What may be forged from afar, or read on the way, is a warning.
func TestBFD_MH_05_BFD_GA_20_BFD_CG_03_Config(t *testing.T) {
	far := "multihop: true, peer: 198.51.100.1"
	missing := "a.yaml:6: uplinks[0].bfd.auth: is missing; whoever can reach this host may forge packets of a multihop session of a (RFC 5883 section 5)"
	clear := "a.yaml:6: uplinks[0].bfd.auth.type: simple sends the password in the clear"
	for keys, want := range map[string]string{
		"":                                  "",
		"auth: {key-file: k}":               "",
		"auth: {type: md5, key-file: k}":    "",
		"auth: {type: simple, key-file: k}": clear,
		far:                                 missing,
		far + ", auth: {type: none}":        missing,
		far + ", auth: {key-file: k}":       "",
		far + ", auth: {type: sha1, key-file: k}": "",
		"multiplier: 1": "a.yaml:6: uplinks[0].bfd.multiplier: 1 takes one lost packet for an outage of a",
		"multiplier: 2": "a.yaml:6: uplinks[0].bfd.multiplier: 2 takes one lost packet and a late one for an outage of a",
		"multiplier: 3": "",
	} {
		got := warned(t, site(keys))
		if (want == "") != (got == "") || !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
			t.Errorf("bfd: {%s}: warnings %q, want one: %q", keys, got, want)
		}
	}
}

// Both kinds of SHA1 can be had, and the others as well.
func TestBFD_AU_01_Config(t *testing.T) {
	for word, want := range map[string]string{
		"meticulous-sha1": "meticulous-sha1", "sha1": "sha1", "meticulous-md5": "meticulous-md5", "md5": "md5", "simple": "simple", "SHA1": "sha1",
	} {
		got := sessionOf(t, "auth: {type: '"+word+"', key-id: 0, key-file: /k}").Auth
		if diff := cmp.Diff(&BFDAuth{Type: want, KeyID: 0, KeyFile: "/k"}, got); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", word, diff)
		}
	}
	for keys, want := range map[string]string{
		"{type: sha256, key-file: k}": `auth.type: "sha256" is not known; write meticulous-sha1 or sha1 or meticulous-md5 or md5 or simple or none`,
		"{key-id: 256, key-file: k}":  "auth.key-id: 256 is out of range; write 0 to 255",
		"{key-id: -1, key-file: k}":   "auth.key-id: -1 is out of range",
		"{}":                          "auth.key-file: is missing; write the path of the file that holds the key (keys never stand in the configuration itself), or type: none",
		"true":                        "auth.key-file: is missing",
		"{type: sha1, key-file: ' '}": "auth.key-file: is missing",
		"sha1":                        `auth: "sha1" is neither a section nor true or false`,
	} {
		refused(t, "auth: "+keys, want)
	}
}

// A relative key file begins at the directory of the configuration, wherever the
// daemon was started; the file itself is not read here.
func TestBFDKeyFileIsAbsolute(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, file, want string }{
		{"/etc/multihomed/a.yaml", "k", "/etc/multihomed/k"},
		{"/etc/multihomed/a.yaml", "keys/../k", "/etc/multihomed/k"},
		{"/etc/multihomed/a.yaml", "../k", "/etc/k"},
		{"/etc/multihomed/a.yaml", "/run//k", "/run/k"},
		{"a.yaml", "k", filepath.Join(wd, "k")},
		{"conf/a.yaml", "k", filepath.Join(wd, "conf", "k")},
	} {
		got := mustParse(t, tt.name, site("auth: {key-file: "+tt.file+"}")).Uplinks[0].BFD.Auth.KeyFile
		if got != tt.want {
			t.Errorf("%s in %s became %s, want %s", tt.file, tt.name, got, tt.want)
		}
	}
	// The same by way of the file system.
	name := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(name, []byte(site("auth: {key-file: k}")), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Uplinks[0].BFD.Auth.KeyFile, filepath.Join(filepath.Dir(name), "k"); got != want {
		t.Errorf("loaded %s, want %s", got, want)
	}
}

// Keys as other daemons call them lead to ours, and a key in the open to the
// file that it belongs in.
func TestBFDSuggestions(t *testing.T) {
	for keys, want := range map[string]string{
		"auth: {key: hunter2, key-id: 1}":     `auth.key: unknown key; did you mean "key-file"?`,
		"auth: {password: hunter2}":           `auth.password: unknown key; did you mean "key-file"?`,
		"auth: {secret: hunter2}":             `auth.secret: unknown key; did you mean "key-file"?`,
		"auth: {key_file: k}":                 `auth.key_file: unknown key; did you mean "key-file"?`,
		"detect-multiplier: 3":                `detect-multiplier: unknown key; did you mean "multiplier"?`,
		"min-tx: 50ms":                        `min-tx: unknown key; did you mean "interval"?`,
		"receive-interval: 50ms":              `receive-interval: unknown key; did you mean "interval"?`,
		"minimum-ttl: 253":                    `minimum-ttl: unknown key; did you mean "min-ttl"?`,
		"multi-hop: true":                     `multi-hop: unknown key; did you mean "multihop"?`,
		"peers: 192.0.2.1":                    `peers: unknown key; did you mean "peer"?`,
		"type: echo":                          `type: unknown key; did you mean "mode"?`,
		"source: 192.0.2.1":                   `source: unknown key; did you mean "echo-source"?`,
		"required: true":                      `required: unknown key; did you mean "require"?`,
		"authentication: {type: sha1}":        `authentication: unknown key; did you mean "auth"?`,
		"targets: [192.0.2.1], multiplier: 3": "targets: unknown key; it belongs elsewhere: uplinks[].icmp.targets",
	} {
		refused(t, keys, want)
	}
	problems := problemsOf(t, "a.yaml", site("auth: {key: hunter2}"))
	if strings.Contains(problems.Error(), "hunter2") {
		t.Errorf("a secret is repeated: %v", problems)
	}
	problems = problemsOf(t, "a.yaml", "uplinks: [{name: a, interface: eth0, bdf: {}}]")
	if !strings.Contains(problems.Error(), `uplinks[0].bdf: unknown key; did you mean "bfd"?`) {
		t.Errorf("got %v", problems)
	}
}

// What only a Config that was built by hand can have.
func TestBFDValidate(t *testing.T) {
	for _, tt := range []struct {
		path, want string
		damage     func(b *BFD)
	}{
		{".mode", "is not set; use BFDAsync or BFDEcho", func(b *BFD) { b.Mode = 0 }},
		{".mode", "is not set", func(b *BFD) { b.Mode = 7 }},
		{".min-ttl", "is for multihop", func(b *BFD) { b.MinTTL = 254 }},
		{".min-ttl", "256 is out of range", func(b *BFD) {
			b.Multihop, b.Peers, b.MinTTL = true, []netip.Addr{netip.MustParseAddr("192.0.2.9")}, 256
		}},
		{".multiplier", "0 is out of range", func(b *BFD) { b.Multiplier = 0 }},
		{".interval", "0s is too short", func(b *BFD) { b.Interval = 0 }},
		{".peer[0]", "invalid IP is not an IP address", func(b *BFD) { b.Peers = []netip.Addr{{}} }},
		{".auth.type", `"none" is no kind of authentication`, func(b *BFD) { b.Auth = &BFDAuth{Type: "none", KeyFile: "/k"} }},
		{".auth.type", `"" is no kind of authentication; use one of [meticulous-sha1 sha1 meticulous-md5 md5 simple]`, func(b *BFD) { b.Auth = &BFDAuth{KeyFile: "/k"} }},
		{".auth.key-file", `"k" is not an absolute path`, func(b *BFD) { b.Auth = &BFDAuth{Type: "sha1", KeyFile: "k"} }},
	} {
		c := mustParse(t, "a.yaml", site(""))
		c.Uplinks[0].BFD.MinTTL = 0
		if err := c.Validate(); err != nil {
			t.Fatalf("the undamaged configuration: %v", err)
		}
		tt.damage(c.Uplinks[0].BFD)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "uplinks[0].bfd"+tt.path+": "+tt.want) {
			t.Errorf("%s, %s: got %v", tt.path, tt.want, err)
		}
	}
}
