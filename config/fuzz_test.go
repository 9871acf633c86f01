package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse holds that any text in any format either gives problems that print
// well, or a Config that is valid by itself. The last argument is one variable
// of the environment.
func FuzzParse(f *testing.F) {
	names := []string{"a.yaml", "a.toml", "a.json"}
	index := map[string]uint8{"yaml": 0, "toml": 1, "json": 2}
	files, err := filepath.Glob("../examples/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		format, ok := formatOf(file)
		if !ok {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(index[format], data, "")
	}
	for name, text := range full {
		format, _ := formatOf(name)
		f.Add(index[format], []byte(text), "UPLINKS_0_WEIGHT=3")
	}
	f.Add(uint8(0), []byte(two), "HOLD_UP=5s")
	f.Add(uint8(0), []byte("uplinks:\n  - &a {name: a, interface: b}\n  - {<<: *a, name: b, interface: c}\n"), "UPLINKS_B_ICMP=on")
	for _, short := range []string{
		"uplinks: [{name: a, interface: b}]", "hold: {up: 1s}", "protocol: 0x10\n", "a: &x [*x]", "hold: !!int 3", "? [a]\n: b", "<<: {protocol: 5}",
		"uplinks: [{name: a, interface: ppp0, neighbour: , icmp: {loss: .nan}}]", "marks: {base: 4294967295, mask: 0xffffffff}",
	} {
		f.Add(uint8(0), []byte(short), "UPLINKS_A_WEIGHT=0x3")
	}
	for _, short := range []string{"hold.up = '1s'", "[[uplinks]]\nname='a'\ninterface='b'", "[hold]\n[Hold]", "a = [\n# x\n1]", "[a]\n[[a.b]]\n[a.b.c]"} {
		f.Add(uint8(1), []byte(short), "HOLD_UP=1")
	}
	for _, short := range []string{`{"uplinks":[{"name":"a","interface":"b"}]}`, `{"hold":{"up":1,"UP":null}}`, `[]`, `{"protocol":1e2}`} {
		f.Add(uint8(2), []byte(short), "ON_EXIT=keep")
	}
	f.Add(uint8(0), []byte(site("multihop: true, peer: 198.51.100.1, min-ttl: 1, auth: {type: md5, key-file: k}")), "UPLINKS_0_BFD_MODE=echo")
	f.Add(uint8(0), []byte(shared("bfd: {mode: echo, echo-source: 10.0.0.1}", "bfd: {interval: 1ns}")), "UPLINKS_B_BFD_AUTH_KEY_FILE=k")
	for name, text := range allBGP {
		format, _ := formatOf(name)
		f.Add(index[format], []byte(text), "BGP_ANNOUNCE_1_WHEN=interface")
	}
	f.Add(uint8(0), []byte(isp("import: {prefixes: '::/0'}, multihop: 2, peer: 'fe80::9', communities: ['1:1', '1:1']")), "UPLINKS_A_BGP_IMPORT=full")
	f.Add(uint8(0), []byte(edge("announce: [10.0.0.0/8, {when: interface}], rpki: {}, listen: '::'", "families: [ipv4, ipv6], hold-time: 1ns")), "BGP_ROUTER_ID=::1")
	f.Add(uint8(2), []byte(`{"bgp": {"announce": [null, {}, 3], "as": {}}, "uplinks": [{"bgp": {"import": {"max-length": []}}}]}`), "BGP_ANNOUNCE=::/0")
	f.Add(uint8(1), []byte("a.b.c = [[1], {x = 2}]\n[[uplinks]]\n[uplinks.icmp]\n[[uplinks.x]]\n"), "UPLINKS_0_SOURCE=1.1.1.1,::1")
	f.Add(uint8(2), []byte(`{"Hold": {"up": 1}, "hold": [null, {}], "uplinks": [null, {"icmp": null}]}`), "HOLD=3")
	f.Fuzz(func(t *testing.T, format uint8, data []byte, variable string) {
		name := names[int(format)%len(names)]
		c, err := Parse(name, data, []string{envPrefix + variable})
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Fatalf("accepted, and yet:\n%v", err)
			}
			return
		}
		problems, ok := errors.AsType[Problems](err)
		if !ok || len(problems) == 0 || c != nil {
			t.Fatalf("got a %T (%v) and the configuration %v", err, err, c)
		}
		lines := strings.Count(string(data), "\n") + 1
		for i, p := range problems {
			if p.File != name && p.File != environmentFile {
				t.Errorf("%v: names the file %q", p, p.File)
			}
			// The YAML library counts other line ends, too, and names the line
			// behind the last one.
			if name != "a.yaml" && (p.Line < 0 || p.Line > lines+1) {
				t.Errorf("%v: the file has %d lines", p, lines)
			}
			if p.Message == "" || strings.Contains(p.Message, "%!") {
				t.Errorf("problem %d has the message %q", i, p.Message)
			}
			if utf8.Valid(data) && utf8.ValidString(variable) && !utf8.ValidString(p.String()) {
				t.Errorf("problem %d is not UTF-8: %q", i, p.String())
			}
		}
	})
}
