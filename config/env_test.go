package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var reflectUplink = reflect.TypeFor[rawUplink]()

func TestEnvironment(t *testing.T) {
	c := mustParse(t, "a.yaml", two,
		"PATH=/bin", "MULTIHOMED_HOLD_UP=5s", "MULTIHOMED_ON_EXIT=withdraw", "MULTIHOMED_HOLD_PENALTY_HALF_LIFE=30s",
		"MULTIHOMED_MARKS_BASE=0x200", "MULTIHOMED_NEXT_HOPS_BASE=77", "MULTIHOMED_PROTOCOL=",
		"MULTIHOMED_UPLINKS_0_WEIGHT=7", "MULTIHOMED_UPLINKS_DSL_WEIGHT=8", "MULTIHOMED_UPLINKS_FIBER_ON_LINK=true",
		"MULTIHOMED_UPLINKS_1_ICMP_TARGETS=192.0.2.1, 192.0.2.2,192.0.2.3", "MULTIHOMED_UPLINKS_1_ICMP_LOSS=40%",
		"MULTIHOMED_UPLINKS_FIBER_NEIGHBOUR=false", "MULTIHOMED_UPLINKS_0_GATEWAY=203.0.113.9",
	)
	want := mustParse(t, "a.yaml", `
on-exit: withdraw
hold: {up: 5s, penalty-half-life: 30s}
marks: {base: 0x200}
next-hops: {base: 77}
uplinks:
  - {name: fiber, interface: eth1, gateway: 203.0.113.9, weight: 7, on-link: true, neighbour: false, icmp: {}}
  - {name: dsl, interface: ppp0, weight: 8, icmp: {targets: [192.0.2.1, 192.0.2.2, 192.0.2.3], loss: 40%}}
`)
	if diff := cmp.Diff(want, c, same); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

// A variable makes the sections that the file lacks, and wins over what the
// file has in their place; a section's switch does not undo its keys.
func TestEnvironmentMakesSections(t *testing.T) {
	c := mustParse(t, "a.yaml", "hold: {up: 1s, reuse: 500}\nuplinks: [{name: a, interface: eth0, neighbour: false}]\n",
		"MULTIHOMED_UPLINKS_A_ICMP_DOWN=9", "MULTIHOMED_UPLINKS_A_ICMP=true",
		"MULTIHOMED_UPLINKS_A_NEIGHBOUR_INTERVAL=9s", "MULTIHOMED_HOLD_UP=2s", "MULTIHOMED_RULES_MAIN=40")
	u := c.Uplinks[0]
	if u.ICMP == nil || u.ICMP.Down != 9 || u.Neighbour == nil || u.Neighbour.Interval != 9*time.Second {
		t.Errorf("icmp %+v, neighbour %+v", u.ICMP, u.Neighbour)
	}
	if c.Hold.Up != 2*time.Second || c.Hold.Reuse != 500 || c.Rules.Main != 40 {
		t.Errorf("hold %+v, rules %+v", c.Hold, c.Rules)
	}
}

func TestEnvironmentInEveryFormat(t *testing.T) {
	for name, text := range full {
		c := mustParse(t, name, text, "MULTIHOMED_UPLINKS_FIBER_1_ICMP_QUORUM=1", "MULTIHOMED_TABLES_BALANCE=5000")
		if c.Uplinks[0].ICMP.Quorum != 1 || c.Tables.Balance != 5000 {
			t.Errorf("%s: quorum %d, balance %d", name, c.Uplinks[0].ICMP.Quorum, c.Tables.Balance)
		}
	}
}

// A problem in a variable names the variable, also when it only shows in
// comparison with the file.
func TestEnvironmentProblems(t *testing.T) {
	for entry, want := range map[string]string{
		"MULTIHOMED_HOLD_UP=5":                    `environment: MULTIHOMED_HOLD_UP: "5" has no unit; write "5s" for seconds`,
		"MULTIHOMED_HOLD_REUSE=3000":              "environment: MULTIHOMED_HOLD_REUSE: 3000 is not less than hold.suppress (3000)",
		"MULTIHOMED_PROTOCOL=12":                  "environment: MULTIHOMED_PROTOCOL: 12 marks the routes of bird",
		"MULTIHOMED_UPLINKS_0_WEIGHT=0":           "environment: MULTIHOMED_UPLINKS_0_WEIGHT: 0 is out of range; write 1 to 256",
		"MULTIHOMED_UPLINKS_DSL_ICMP_TARGETS=1.1": `environment: MULTIHOMED_UPLINKS_DSL_ICMP_TARGETS: "1.1" is not an IP address`,
		"MULTIHOMED_UPLINKS_DSL_SOURCE=,":         "environment: MULTIHOMED_UPLINKS_DSL_SOURCE: is an empty list",
		"MULTIHOMED_UPLINKS_0_NEIGHBOUR=maybe":    `environment: MULTIHOMED_UPLINKS_0_NEIGHBOUR: "maybe" is neither`,
	} {
		problems := problemsOf(t, "a.yaml", two, entry)
		if len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
			t.Errorf("%s: got\n%v\nwant\n%s", entry, problems, want)
		}
	}
	ambiguous := "uplinks: [{name: a-b, interface: eth0}, {name: a_b, interface: eth1}]"
	problems := problemsOf(t, "a.yaml", ambiguous, "MULTIHOMED_UPLINKS_A_B_WEIGHT=3")
	if want := "environment: MULTIHOMED_UPLINKS_A_B_WEIGHT: means uplinks[0].weight and uplinks[1].weight; name the uplink by its position (from 0)"; problems.Error() != want {
		t.Errorf("got %v", problems)
	}
	if c := mustParse(t, "a.yaml", ambiguous, "MULTIHOMED_UPLINKS_1_WEIGHT=3"); c.Uplinks[1].Weight != 3 {
		t.Error("a position does not help where names are ambiguous")
	}
}

// A position is never taken for a name, and the other way round.
func TestEnvironmentPositionBeforeName(t *testing.T) {
	c := mustParse(t, "a.yaml", `uplinks: [{name: "1", interface: eth0}, {name: "0", interface: eth1}]`, "MULTIHOMED_UPLINKS_0_WEIGHT=3")
	if c.Uplinks[0].Weight != 3 || c.Uplinks[1].Weight != 1 {
		t.Errorf("weights %d and %d", c.Uplinks[0].Weight, c.Uplinks[1].Weight)
	}
}

func TestEnvironmentWarnings(t *testing.T) {
	c := mustParse(t, "a.yaml", two, "MULTIHOMED_SERVICE_HOST=10.0.0.1", "MULTIHOMED_HOLD_UPP=3s",
		"MULTIHOMED_UPLINKS_7_WEIGHT=3", "MULTIHOMED_UPLINKS_FIBRE_WEIGHT=2", "MULTIHOMED=1", "XMULTIHOMED_HOLD_UP=1s", "MULTIHOMED_UPLINKS=3", "multihomed_hold_up=1s")
	want := []string{
		"environment: MULTIHOMED_HOLD_UPP: changes nothing; did you mean MULTIHOMED_HOLD_UP?",
		"environment: MULTIHOMED_SERVICE_HOST: changes nothing; no key has this name",
		"environment: MULTIHOMED_UPLINKS: changes nothing; no key has this name",
		"environment: MULTIHOMED_UPLINKS_7_WEIGHT: changes nothing; the file has 2 uplinks, counted from 0",
		"environment: MULTIHOMED_UPLINKS_FIBRE_WEIGHT: changes nothing; did you mean MULTIHOMED_UPLINKS_FIBER_WEIGHT?",
	}
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.Hold.Up != defaultHoldUp {
		t.Errorf("hold.up became %v", c.Hold.Up)
	}
}

// Every key but the sections can be set by one variable, and no two keys share
// a name.
func TestEnvironmentReachesEveryKey(t *testing.T) {
	meant := map[string]bool{}
	for name, overrides := range targets([]string{"a"}, 1) {
		if len(overrides) != 1 {
			t.Errorf("%s means %d keys", name, len(overrides))
		}
		meant[overrides[0].path] = true
	}
	for _, k := range schema() {
		path := strings.ReplaceAll(k.String(), "[]", "[0]")
		wanted := !k.section || path == "uplinks[0].neighbour" || path == "uplinks[0].icmp" || path == "uplinks[0].bfd" || path == "uplinks[0].bgp"
		if meant[path] != wanted {
			t.Errorf("%s: has a variable: %v, want %v", path, meant[path], wanted)
		}
	}
}

// What the environment says of uplinks beyond the first must not leak.
func TestEnvironmentLeavesOthersAlone(t *testing.T) {
	var text strings.Builder
	text.WriteString("uplinks:\n")
	for i := range 12 {
		fmt.Fprintf(&text, "  - {name: u%d, interface: eth%d}\n", i, i)
	}
	c := mustParse(t, "a.yaml", text.String(), "MULTIHOMED_UPLINKS_1_SOURCE=192.0.2.1", "MULTIHOMED_UPLINKS_11_SOURCE=192.0.2.11")
	for i, u := range c.Uplinks {
		var want []netip.Prefix
		if i == 1 || i == 11 {
			want = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32)}
		}
		if diff := cmp.Diff(want, u.Sources, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("uplink %d: %s", i, diff)
		}
	}
}
