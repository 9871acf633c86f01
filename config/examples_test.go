package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestExamplesLoadWithoutWarnings(t *testing.T) {
	files, err := filepath.Glob("../examples/*")
	if err != nil {
		t.Fatal(err)
	}
	formats := map[string]int{}
	for _, f := range files {
		format, ok := formatOf(f)
		if !ok {
			continue
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		formats[format]++
		c, err := Parse(f, data, nil)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		for _, w := range c.Warnings {
			t.Errorf("warning: %s", w)
		}
	}
	if formats["yaml"] < 4 || formats["toml"] < 1 || formats["json"] < 1 {
		t.Errorf("examples per format: %v", formats)
	}
}

// The classic script's numbers come out of its example.
func TestExampleOfTheClassicScript(t *testing.T) {
	c, err := Load("../examples/two-isps-ppp.yaml")
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Uplinks[0], c.Uplinks[1]
	got := []uint32{
		c.Rules.Main, c.Rules.Source, c.Rules.Balance, c.Tables.Balance, a.Table, b.Table, a.Mark, b.Mark, uint32(a.Weight), uint32(b.Weight),
	}
	if diff := cmp.Diff([]uint32{50, 201, 221, 221, 201, 202, 0x100, 0x200, 3, 2}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if b.Interface != "ppp0" || len(b.Gateways) != 0 || b.Neighbour != nil {
		t.Errorf("the PPP uplink is %+v", b)
	}
}

func TestReferenceIsTheExample(t *testing.T) {
	data, err := os.ReadFile("../examples/reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Reference(), string(data)); diff != "" {
		t.Errorf("examples/reference.yaml differs; run go generate ./config\n%s", diff)
	}
}

// commented finds keys of the reference that are commented out. Prose does not
// look like this: its words begin with a capital or have no colon.
var commented = regexp.MustCompile(`(?m)^( *)# ([a-z0-9-]+:(?: \S+| \[.+\])?)$`)

// The reference has every key that the decoder knows and none besides, also
// where it is commented out; both readings load.
func TestReferenceHasEveryKey(t *testing.T) {
	mustParse(t, "reference.yaml", Reference())
	whole := commented.ReplaceAllString(Reference(), "$1$2")
	// Two keys of bfd exclude each other: each goes with a choice of its own.
	reading := func(without string, choice ...string) *Config {
		line := regexp.MustCompile("(?m)^ *" + without + ": .*\n")
		return mustParse(t, "whole.yaml", strings.NewReplacer(choice...).Replace(line.ReplaceAllString(whole, "")))
	}
	// So do some of bgp.
	bgp := []string{"when: always", "when: interface", "mode: default", "mode: prefixes", "      multihop: 2\n", ""}
	c := reading("echo-source", append(bgp, "multihop: false", "multihop: true", `peer: [203.0.113.1, "fe80::1"]`, "peer: 192.0.2.9")...)
	echo := reading("min-ttl", append(bgp, "mode: async", "mode: echo")...).Uplinks[0].BFD
	if b := c.Uplinks[0].BGP; b.MaxPrefixes != 100 || b.LocalAS != 64499 || !b.HasMED || len(b.Communities) != 1 || c.BGP.RPKI == nil ||
		c.BGP.Announce[0].Interface != "lan0" || b.Import.MaxLength6 != defaultMaxLength6 {
		t.Errorf("what is commented out of bgp is not read: %+v, %+v", b, c.BGP)
	}
	if b := c.Uplinks[0].BFD; b.MinTTL != defaultBFDMinTTL || b.Auth == nil || b.Auth.KeyID != defaultBFDKeyID || len(echo.EchoSources) != 2 || len(echo.Peers) != 2 {
		t.Errorf("what is commented out of bfd does not follow its defaults: %+v, %+v", b, echo)
	}
	if m := c.Uplinks[0].ICMP; m.LossEnter != 0.4 || m.LossLeave != 0.4*lossLeaveShare ||
		m.LatencyLeave.Seconds() != m.LatencyEnter.Seconds()*latencyLeaveShare {
		t.Errorf("what is commented out does not follow its own defaults: %+v", m)
	}
	var values map[string]any
	if err := yaml.Unmarshal([]byte(whole), &values); err != nil {
		t.Fatal(err)
	}
	for _, k := range schema() {
		var v any = values
		for _, s := range k.steps {
			if s == "[]" {
				l, ok := v.([]any)
				if !ok || len(l) == 0 {
					t.Fatalf("%s: %v is no list with an entry", k, v)
				}
				v = l[0]
				continue
			}
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%s: %v is no section", k, v)
			}
			if v, ok = m[s]; !ok {
				t.Errorf("the reference does not explain %s", k)
				break
			}
		}
	}
}

// What the reference writes is what holds without it.
func TestReferenceWritesTheDefaults(t *testing.T) {
	short := mustParse(t, "short.yaml", `
bgp: {as: 64500, router-id: 192.0.2.1, announce: 198.51.100.0/24}
uplinks:
  - name: fiber
    interface: eth1
    gateway: [203.0.113.1, "fe80::1"]
    source: [203.0.113.2, "2001:db8:1::/48"]
    icmp: {}
    bfd: {}
    bgp: {peer-as: 64501, ttl-security: true}
  - {name: dsl, interface: ppp0, icmp: {}}
`)
	if diff := cmp.Diff(short, mustParse(t, "reference.yaml", Reference()), same); diff != "" {
		t.Errorf("(-defaults +reference)\n%s", diff)
	}
	// Each example of a value says so, and nothing else does.
	for _, line := range strings.Split(Reference(), "\n") {
		text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "- "))
		if strings.HasPrefix(text, "#") {
			continue
		}
		key, _, _ := strings.Cut(text, ":")
		inUplink := strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "  - ")
		required := inUplink && slices.Contains([]string{"name", "interface", "gateway", "source", "prefix", "peer-as", "ttl-security"}, key) ||
			key == "as" || key == "router-id"
		if marked := strings.HasSuffix(line, "# example"); marked != required {
			t.Errorf("%q: marked as an example: %v, want %v", line, marked, required)
		}
	}
}

// The page for operators has a row for every key.
func TestDocumentationHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range schema() {
		if !strings.Contains(string(data), "| `"+k.String()+"` |") {
			t.Errorf("docs/configuration.md has no row for %s", k)
		}
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z][a-z0-9.\\[\\]-]*)` \\|").FindAllStringSubmatch(string(data), -1)
	known := map[string]bool{}
	for _, k := range schema() {
		known[k.String()] = true
	}
	for _, row := range rows {
		if !known[row[1]] {
			t.Errorf("docs/configuration.md explains %s, which does not exist", row[1])
		}
	}
}
