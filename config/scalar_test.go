package config

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// Values arrive in the types that the three formats and the environment give.
func TestScalars(t *testing.T) {
	type want struct {
		value any    // nil if refused
		err   string // part of the message
	}
	num := func(v any) (any, error) { var n number; err := n.set(v); return n.value, err }
	flt := func(v any) (any, error) { var n fraction; err := n.set(v); return n.value, err }
	dur := func(v any) (any, error) { var n duration; err := n.set(v); return n.value, err }
	shr := func(v any) (any, error) { var n share; err := n.set(v); return n.value, err }
	txt := func(v any) (any, error) { var n text; err := n.set(v); return n.value, err }
	flg := func(v any) (any, error) { var n flag; err := n.set(v); return n.value, err }
	adr := func(v any) (any, error) { a, err := address(v); return a.String(), err }
	pfx := func(v any) (any, error) { p, err := prefixOf(v); return p.String(), err }
	for _, tt := range []struct {
		kind string
		set  func(any) (any, error)
		in   any
		want want
	}{
		{"number", num, 5, want{value: int64(5)}},
		{"number", num, int64(-5), want{value: int64(-5)}},
		{"number", num, uint64(7), want{value: int64(7)}},
		{"number", num, uint64(math.MaxUint64), want{err: "is too large"}},
		{"number", num, 22100000.0, want{value: int64(22100000)}},
		{"number", num, 1.5, want{err: "1.5 is not a whole number"}},
		{"number", num, 1e300, want{err: "is not a whole number"}},
		{"number", num, math.NaN(), want{err: "is not a whole number"}},
		{"number", num, "0x1F", want{value: int64(31)}},
		{"number", num, " 12 ", want{value: int64(12)}},
		{"number", num, "010", want{err: "begins with 0"}},
		{"number", num, "ten", want{err: `"ten" is not a whole number`}},
		{"number", num, "99999999999999999999", want{err: "is not a whole number"}},
		{"number", num, true, want{err: "true is not a whole number"}},
		{"number", num, []any{1}, want{err: "a list is not a whole number"}},
		{"number", num, map[string]any{}, want{err: "a section is not a whole number"}},
		{"number", num, nil, want{err: "has no value"}},
		{"fraction", flt, 750, want{value: 750.0}},
		{"fraction", flt, int64(750), want{value: 750.0}},
		{"fraction", flt, uint64(750), want{value: 750.0}},
		{"fraction", flt, "7.5", want{value: 7.5}},
		{"fraction", flt, math.Inf(1), want{err: "is not a number"}},
		{"fraction", flt, "NaN", want{err: "is not a number"}},
		{"fraction", flt, false, want{err: "is not a number"}},
		{"fraction", flt, nil, want{err: "has no value"}},
		{"duration", dur, "1m30s", want{value: 90 * time.Second}},
		{"duration", dur, " 5ms ", want{value: 5 * time.Millisecond}},
		{"duration", dur, "0", want{value: time.Duration(0)}},
		{"duration", dur, 0, want{value: time.Duration(0)}},
		{"duration", dur, "-1s", want{value: -time.Second}},
		{"duration", dur, "5", want{err: `"5" has no unit; write "5s"`}},
		{"duration", dur, 5, want{err: `5 has no unit; write "5s"`}},
		{"duration", dur, 0.5, want{err: `0.5 has no unit; write "0.5s"`}},
		{"duration", dur, "5 minutes", want{err: "is not a duration"}},
		{"duration", dur, "2d", want{err: "is not a duration"}},
		{"duration", dur, "9999999999h", want{err: "is not a duration"}},
		{"duration", dur, true, want{err: "true is not a duration"}},
		{"duration", dur, nil, want{err: "has no value"}},
		{"share", shr, "40%", want{value: 0.4}},
		{"share", shr, "0.5 %", want{value: 0.005}},
		{"share", shr, "100%", want{value: 1.0}},
		{"share", shr, 0.4, want{value: 0.4}},
		{"share", shr, "0.4", want{value: 0.4}},
		{"share", shr, 0, want{value: 0.0}},
		{"share", shr, 1, want{err: `write "1%" or "100%"`}},
		{"share", shr, 40, want{err: `write "40%"`}},
		{"share", shr, "101%", want{err: "write 0% to 100%"}},
		{"share", shr, "-1%", want{err: "write 0% to 100%"}},
		{"share", shr, "NaN%", want{err: "write 0% to 100%"}},
		{"share", shr, -0.1, want{err: "less than nothing"}},
		{"share", shr, "half", want{err: "is not a share"}},
		{"share", shr, nil, want{err: "has no value"}},
		{"text", txt, "keep", want{value: "keep"}},
		{"text", txt, 5, want{err: "write it in quotes"}},
		{"text", txt, true, want{err: "write it in quotes"}},
		{"text", txt, []any{}, want{err: "a list is not a word"}},
		{"text", txt, nil, want{err: "has no value"}},
		{"flag", flg, true, want{value: true}},
		{"flag", flg, "off", want{value: false}},
		{"flag", flg, "Yes", want{value: true}},
		{"flag", flg, "maybe", want{err: `"maybe" is neither true nor false`}},
		{"flag", flg, 1, want{err: "neither true nor false"}},
		{"flag", flg, nil, want{err: "has no value"}},
		{"address", adr, "192.0.2.1", want{value: "192.0.2.1"}},
		{"address", adr, " 2001:DB8::1 ", want{value: "2001:db8::1"}},
		{"address", adr, "::ffff:192.0.2.1", want{err: "write 192.0.2.1"}},
		{"address", adr, "fe80::1%eth0", want{err: "write fe80::1,"}},
		{"address", adr, "192.0.2.1/24", want{err: "is a prefix; write an address such as 192.0.2.1"}},
		{"address", adr, "example.net", want{err: "names are not looked up"}},
		{"address", adr, 1.1, want{err: "1.1 is not an IP address"}},
		{"address", adr, nil, want{err: "has no value"}},
		{"prefix", pfx, "192.0.2.1", want{value: "192.0.2.1/32"}},
		{"prefix", pfx, "2001:db8::1", want{value: "2001:db8::1/128"}},
		{"prefix", pfx, "2001:db8::/32", want{value: "2001:db8::/32"}},
		{"prefix", pfx, "2001:db8::1/32", want{err: "write 2001:db8::/32 for the network or 2001:db8::1 for the address"}},
		{"prefix", pfx, "192.0.2.0/33", want{err: "is not a prefix"}},
		{"prefix", pfx, "::ffff:192.0.2.0/120", want{err: "write 192.0.2.0"}},
		{"prefix", pfx, 5, want{err: "5 is not an IP address"}},
	} {
		t.Run(fmt.Sprintf("%s/%v", tt.kind, tt.in), func(t *testing.T) {
			got, err := tt.set(tt.in)
			switch {
			case tt.want.err == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want.err == "" && got != tt.want.value:
				t.Errorf("got %v (%T), want %v", got, got, tt.want.value)
			case tt.want.err != "" && err == nil:
				t.Errorf("accepted as %v", got)
			case tt.want.err != "" && !strings.Contains(err.Error(), tt.want.err):
				t.Errorf("got %q, want %q in it", err, tt.want.err)
			}
		})
	}
}

func TestListsAndPlaceholders(t *testing.T) {
	c := mustParse(t, "a.yaml", "uplinks: [{name: a, interface: eth0, gateway: fe80::1, source: 192.0.2.1}]")
	if u := c.Uplinks[0]; len(u.Gateways) != 1 || len(u.Sources) != 1 {
		t.Errorf("a scalar is not a list of one: %+v", u)
	}
	// The second mistake must keep its index although the first one could not
	// be read.
	problems := problemsOf(t, "a.yaml", "uplinks: [{name: a, interface: eth0, gateway: [], source: [x,\n 224.0.0.1,\n 5]}]")
	want := []string{"uplinks[0].gateway", "uplinks[0].source[0]", "uplinks[0].source[1]", "uplinks[0].source[2]"}
	for i, p := range problems {
		if i >= len(want) || p.Path != want[i] {
			t.Errorf("problem %d: %v", i, p)
		}
	}
	if len(problems) != len(want) || problems[3].Line != 3 {
		t.Errorf("got\n%v", problems)
	}
}

func TestAdvice(t *testing.T) {
	for name, want := range map[string]string{
		"neighbor": "neighbour", "intreface": "interface", "gatway": "gateway", "gw": "gateway", "dev": "interface",
		"metric": "tier", "priority": "tier", "wieght": "weight", "on_link": "on-link", "teir": "tier", "ping": "icmp",
		"sources": "source", "fwmark": "mark", "zzzzzz": "", strings.Repeat("weight", 20): "",
	} {
		meant, advice := advise(name, "uplinks[0]", keysOf(reflectUplink))
		if meant != want {
			t.Errorf("%s: advised %q (%s), want %q", name, meant, advice, want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"weight", "wieght", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}, {"ca", "abc", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance %q %q = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if distance(tt.a, tt.b) != distance(tt.b, tt.a) {
			t.Errorf("distance %q %q depends on the order", tt.a, tt.b)
		}
	}
}
