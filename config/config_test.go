package config

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// same compares configurations without their warnings, which name files.
var same = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
	cmpopts.IgnoreFields(Config{}, "Warnings"),
}

// two is the smallest configuration without warnings.
const two = `
uplinks:
  - {name: fiber, interface: eth1, gateway: 203.0.113.1, icmp: {}}
  - {name: dsl, interface: ppp0, icmp: {}}
`

func mustParse(t *testing.T, name, text string, environ ...string) *Config {
	t.Helper()
	c, err := Parse(name, []byte(text), environ)
	if err != nil {
		t.Fatalf("parse %s: %v\n%s", name, err, text)
	}
	return c
}

// problemsOf parses what must not parse.
func problemsOf(t *testing.T, name, text string, environ ...string) Problems {
	t.Helper()
	c, err := Parse(name, []byte(text), environ)
	if err == nil {
		t.Fatalf("%s was accepted as %+v\n%s", name, c, text)
	}
	problems, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("the error of %s is a %T, not Problems: %v", name, err, err)
	}
	if len(problems) == 0 {
		t.Fatalf("%s has an error without a problem", name)
	}
	return problems
}

func TestDefaults(t *testing.T) {
	v4 := netip.MustParseAddr("203.0.113.1")
	icmp := func() *ICMP {
		return &ICMP{
			Targets: []netip.Addr{
				netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("9.9.9.9"),
				netip.MustParseAddr("2606:4700:4700::1111"), netip.MustParseAddr("2001:4860:4860::8888"), netip.MustParseAddr("2620:fe::fe"),
			},
			Interval: time.Second, Timeout: time.Second, Down: 3, Up: 3,
		}
	}
	want := &Config{
		Protocol: 221,
		Tables:   Tables{Balance: 221, Uplinks: 201, Prefixes: 222},
		Rules:    Rules{Main: 50, Source: 201, Mark: 211, Balance: 221},
		Marks:    Marks{Base: 0x100, Mask: 0xff00},
		NextHops: NextHopIDs{Base: 22100000},
		OnExit:   Keep,
		AllDead:  KeepLast,
		Hold:     Hold{Up: 10 * time.Second, PenaltyHalfLife: time.Minute, Suppress: 3000, Reuse: 750},
		Group:    Group{IdleTimer: 10 * time.Second, UnbalancedTimer: 2 * time.Minute},
		Uplinks: []Uplink{
			{
				Name: "fiber", Interface: "eth1", Gateways: []netip.Addr{v4}, Weight: 1, Tier: 1, Table: 201, Mark: 0x100,
				Neighbour: &Neighbour{Interval: 5 * time.Second, Tries: 1}, ICMP: icmp(),
			},
			{Name: "dsl", Interface: "ppp0", Weight: 1, Tier: 1, Table: 202, Mark: 0x200, ICMP: icmp()},
		},
	}
	got := mustParse(t, "a.yaml", two)
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("warnings: %q", got.Warnings)
	}
}

// full sets every key to something that is not its default, in three formats.
var full = map[string]string{
	"full.yaml": `
protocol: 0xc8
tables: {balance: 1000, uplinks: 1001}
rules: {main: 100, source: 1000, mark: 2000, balance: 3000}
marks: {base: 0x10000, mask: 0xff0000}
next-hops: {base: 5000}
on-exit: withdraw
all-dead: keep-all
hold: {up: 5s, penalty-half-life: 2m, suppress: 4000.5, reuse: 500}
group: {idle-timer: 20s, unbalanced-timer: 0s}
uplinks:
  - name: Fiber-1
    interface: eth1.100
    gateway: [203.0.113.1, "fe80::1"]
    on-link: true
    source: [203.0.113.2, "2001:db8:1::/48"]
    weight: 3
    tier: 2
    table: 77
    mark: 0x770000
    neighbour: {interval: 3s, tries: 2}
    icmp:
      targets: [192.0.2.1, 192.0.2.2]
      quorum: 2
      interval: 200ms
      timeout: 300ms
      down: 4
      up: 5
      loss: 40%
      loss-leave: 0.1
      latency: 100ms
      latency-leave: 50ms
    bfd:
      peer: [198.51.100.9, "2001:db8:f::9"]
      interval: 3300us
      multiplier: 4
      multihop: true
      min-ttl: 250
      passive: true
      require: true
      auth: {type: sha1, key-id: 7, key-file: /etc/multihomed/fiber.key}
  - name: dsl
    interface: eth2
    neighbour: false
    icmp: true
    bfd: {mode: echo, echo-source: 203.0.113.9}
`,
	"full.toml": `
protocol = 0xc8
tables = {balance = 1000, uplinks = 1001}
rules.main = 100
rules.source = 1000
rules.mark = 2000
rules.balance = 3000
next-hops.base = 5000
on-exit = "withdraw"
all-dead = "keep-all"

[marks]
base = "0x10000"
mask = 0xff0000

[hold]
up = "5s"
penalty-half-life = "2m"
suppress = 4000.5
reuse = 500

[group]
idle-timer = "20s"
unbalanced-timer = "0s"

[[uplinks]]
name = "Fiber-1"
interface = "eth1.100"
gateway = ["203.0.113.1", "fe80::1"]
on-link = true
source = ["203.0.113.2", "2001:db8:1::/48"]
weight = 3
tier = 2
table = 77
mark = 0x770000
neighbour = {interval = "3s", tries = 2}

[uplinks.icmp]
targets = ["192.0.2.1", "192.0.2.2"]
quorum = 2
interval = "200ms"
timeout = "300ms"
down = 4
up = 5
loss = "40%"
loss-leave = 0.1
latency = "100ms"
latency-leave = "50ms"

[uplinks.bfd]
peer = ["198.51.100.9", "2001:db8:f::9"]
interval = "3.3ms"
multiplier = 4
multihop = true
min-ttl = 250
passive = true
require = true
[uplinks.bfd.auth]
type = "sha1"
key-id = 7
key-file = "/etc/multihomed/fiber.key"

[[uplinks]]
name = "dsl"
interface = "eth2"
neighbour = false
icmp = true
bfd = {mode = "echo", echo-source = "203.0.113.9"}
`,
	// Tabs on purpose: JSON allows them, YAML does not.
	"full.json": `{
	"protocol": 200,
	"tables": {"balance": 1000, "uplinks": 1001},
	"rules": {"main": 100, "source": 1000, "mark": 2000, "balance": 3000},
	"marks": {"base": "0x10000", "mask": "0xff0000"},
	"next-hops": {"base": 5000},
	"on-exit": "withdraw",
	"all-dead": "keep-all",
	"hold": {"up": "5s", "penalty-half-life": "2m", "suppress": 4000.5, "reuse": 500},
	"group": {"idle-timer": "20s", "unbalanced-timer": "0s"},
	"uplinks": [
		{
			"name": "Fiber-1",
			"interface": "eth1.100",
			"gateway": ["203.0.113.1", "fe80::1"],
			"on-link": true,
			"source": ["203.0.113.2", "2001:db8:1::/48"],
			"weight": 3,
			"tier": 2,
			"table": 77,
			"mark": "0x770000",
			"neighbour": {"interval": "3s", "tries": 2},
			"icmp": {
				"targets": ["192.0.2.1", "192.0.2.2"],
				"quorum": 2,
				"interval": "200ms", "timeout": "300ms",
				"down": 4, "up": 5,
				"loss": "40%", "loss-leave": 0.1,
				"latency": "100ms", "latency-leave": "50ms"
			},
			"bfd": {
				"peer": ["198.51.100.9", "2001:db8:f::9"],
				"interval": "3.3ms", "multiplier": 4,
				"multihop": true, "min-ttl": 250,
				"passive": true, "require": true,
				"auth": {"type": "sha1", "key-id": 7, "key-file": "/etc/multihomed/fiber.key"}
			}
		},
		{"name": "dsl", "interface": "eth2", "neighbour": false, "icmp": true, "bfd": {"mode": "echo", "echo-source": "203.0.113.9"}}
	]
}`,
}

func TestEveryKeyInEveryFormat(t *testing.T) {
	icmp := &ICMP{
		Targets: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")},
		Quorum:  2, Interval: 200 * time.Millisecond, Timeout: 300 * time.Millisecond, Down: 4, Up: 5,
		LossEnter: 0.4, LossLeave: 0.1, LatencyEnter: 100 * time.Millisecond, LatencyLeave: 50 * time.Millisecond,
	}
	want := &Config{
		Protocol: 200,
		Tables:   Tables{Balance: 1000, Uplinks: 1001, Prefixes: 1001},
		Rules:    Rules{Main: 100, Source: 1000, Mark: 2000, Balance: 3000},
		Marks:    Marks{Base: 0x10000, Mask: 0xff0000},
		NextHops: NextHopIDs{Base: 5000},
		OnExit:   Withdraw,
		AllDead:  KeepAll,
		Hold:     Hold{Up: 5 * time.Second, PenaltyHalfLife: 2 * time.Minute, Suppress: 4000.5, Reuse: 500},
		Group:    Group{IdleTimer: 20 * time.Second},
		Uplinks: []Uplink{
			{
				Name: "Fiber-1", Interface: "eth1.100", OnLink: true,
				Gateways: []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("fe80::1")},
				Sources:  []netip.Prefix{netip.MustParsePrefix("203.0.113.2/32"), netip.MustParsePrefix("2001:db8:1::/48")},
				Weight:   3, Tier: 2, Table: 77, Mark: 0x770000,
				Neighbour: &Neighbour{Interval: 3 * time.Second, Tries: 2}, ICMP: icmp,
				BFD: &BFD{
					Mode: BFDAsync, Peers: []netip.Addr{netip.MustParseAddr("198.51.100.9"), netip.MustParseAddr("2001:db8:f::9")},
					Interval: 3300 * time.Microsecond, Multiplier: 4, Multihop: true, MinTTL: 250, Passive: true, Require: true,
					Auth: &BFDAuth{Type: "sha1", KeyID: 7, KeyFile: "/etc/multihomed/fiber.key"},
				},
			},
			{
				Name: "dsl", Interface: "eth2", Weight: 1, Tier: 1, Table: 1002, Mark: 0x20000,
				ICMP: &ICMP{Targets: defaultTargets[:], Interval: time.Second, Timeout: time.Second, Down: 3, Up: 3},
				BFD: &BFD{
					Mode: BFDEcho, Interval: 50 * time.Millisecond, Multiplier: 3, MinTTL: 255,
					EchoSources: []netip.Addr{netip.MustParseAddr("203.0.113.9")},
				},
			},
		},
	}
	for name, text := range full {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, mustParse(t, name, text), same); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Keys are folded to lower case on their way; names are values and are not.
func TestCaseOfKeysAndNames(t *testing.T) {
	for name, text := range map[string]string{
		"a.yaml": "Uplinks:\n  - {NAME: FiBeR, Interface: Eth1, icmp: {Down: 7}}\n",
		"a.toml": "[[Uplinks]]\nNAME = \"FiBeR\"\nInterface = \"Eth1\"\nicmp = {Down = 7}\n",
		"a.json": `{"Uplinks": [{"NAME": "FiBeR", "Interface": "Eth1", "icmp": {"Down": 7}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			u := mustParse(t, name, text).Uplinks[0]
			if u.Name != "FiBeR" || u.Interface != "Eth1" || u.ICMP.Down != 7 {
				t.Errorf("got name %q, interface %q, down %d; want FiBeR, Eth1, 7", u.Name, u.Interface, u.ICMP.Down)
			}
		})
	}
}

func TestDerivedDefaults(t *testing.T) {
	parse := func(icmp string) *ICMP {
		return mustParse(t, "a.yaml", "uplinks: [{name: a, interface: eth0, icmp: "+icmp+"}]").Uplinks[0].ICMP
	}
	if got := parse("{interval: 200ms}").Timeout; got != 200*time.Millisecond {
		t.Errorf("timeout of interval 200ms is %v, want 200ms", got)
	}
	if got := parse("{interval: 5s}").Timeout; got != time.Second {
		t.Errorf("timeout of interval 5s is %v, want 1s", got)
	}
	if got := parse("{loss: 30%, latency: 100ms}"); got.LossLeave != 0.15 || got.LatencyLeave != 80*time.Millisecond {
		t.Errorf("leave at %v and %v, want 0.15 and 80ms", got.LossLeave, got.LatencyLeave)
	}
	if got := parse("{loss: 30%, loss-leave: 0%}").LossLeave; got != 0 {
		t.Errorf("loss-leave 0%% became %v", got)
	}
	for n, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 3} {
		if got := parse("{}").QuorumOf(n); got != want {
			t.Errorf("majority of %d is %d, want %d", n, got, want)
		}
	}
	if got := parse("{quorum: 3}").QuorumOf(5); got != 3 {
		t.Errorf("quorum 3 of 5 is %d", got)
	}
}

// The presence of a section that can be switched means something, in each of
// its spellings.
func TestSwitchedSections(t *testing.T) {
	parse := func(device, line string) Uplink {
		return mustParse(t, "a.yaml", "uplinks:\n  - name: a\n    interface: "+device+"\n    "+line+"\n").Uplinks[0]
	}
	for _, tt := range []struct {
		device, line    string
		neighbour, icmp bool
	}{
		{"eth0", "weight: 1", true, false},
		{"eth0", "icmp:", true, true},
		{"eth0", "icmp: {}", true, true},
		{"eth0", "icmp: on", true, true},
		{"eth0", "icmp: false", true, false},
		{"eth0", "neighbour:", true, false},
		{"eth0", "neighbour: true", true, false},
		{"eth0", "neighbour: no", false, false},
		{"wg0", "weight: 1", false, false},
		{"ppp0", "neighbour: false", false, false},
		{"tun0", "{gateway: 192.0.2.1, neighbour: true}", true, false},
	} {
		line := strings.Trim(strings.ReplaceAll(tt.line, ", ", "\n    "), "{}")
		if tt.line == "icmp: {}" {
			line = tt.line
		}
		u := parse(tt.device, line)
		if (u.Neighbour != nil) != tt.neighbour || (u.ICMP != nil) != tt.icmp {
			t.Errorf("%s with %q: neighbour %v, icmp %v; want %v, %v", tt.device, tt.line, u.Neighbour != nil, u.ICMP != nil, tt.neighbour, tt.icmp)
		}
	}
}

func TestEnumsPrintTheWordsOfTheFile(t *testing.T) {
	for want, got := range map[string]interface{ String() string }{
		"keep": Keep, "keep-last": KeepLast, "keep-all": KeepAll, "async": BFDAsync, "echo": BFDEcho,
	} {
		if got.String() != want {
			t.Errorf("%q prints as %q", want, got)
		}
	}
	if Withdraw.String() != "withdraw" || WithdrawAll.String() != "withdraw" {
		t.Errorf("withdraw prints as %q and %q", Withdraw, WithdrawAll)
	}
	if OnExit(0).String() != "unknown" || AllDead(0).String() != "unknown" || BFDMode(0).String() != "unknown" {
		t.Error("the zero value is not unknown")
	}
	for _, bad := range []interface{ String() string }{OnExit(99), AllDead(99), BFDMode(99)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%T 99 did not panic", bad)
				}
			}()
			_ = bad.String()
		}()
	}
}
