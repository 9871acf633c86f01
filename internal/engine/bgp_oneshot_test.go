package engine

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
	"github.com/multihomed/multihomed/internal/status"
	"github.com/multihomed/multihomed/internal/uplink"
)

// TestPlan_prefixes: a plan shows the rule of the prefixes, and beside a daemon it shows
// nothing, groups of prefixes included.
func TestPlan_prefixes(t *testing.T) {
	b := newBench(t, fullBGP, hostOf(t, hostA, hostB, hostC))
	ops := strings.Join(planned(t, b, fullBGP), "\n")
	if !strings.Contains(ops, "pref 220 lookup 222") {
		t.Errorf("the plan lacks the rule:\n%s", ops)
	}
	b.turn()
	b.allUp()
	b.voice().tells(true, table)
	await(t, "the prefixes", func() bool { b.turn(); return len(b.fake.BulkTable(prefixOwner(t))) == 3 })
	if got := planned(t, b, fullBGP); len(got) != 0 {
		t.Errorf("beside a daemon: %q", got)
	}
	b.tell("a", fib.IPv4, uplink.Down)
	if got := planned(t, b, fullBGP); len(got) != 0 {
		t.Errorf("beside a daemon that has a dead uplink: %q", got)
	}
}

// TestWithdraw_prefixes: prefixes go in batches before their groups, whatever fails once.
func TestWithdraw_prefixes(t *testing.T) {
	fill := func() *fibtest.Kernel {
		k := fibtest.New()
		synctest.Test(t, func(t *testing.T) { full(t, k).end(t) })
		k.Writes()
		k.BulkWrites()
		return k
	}
	for n := range 12 {
		k := fill()
		if n > 0 {
			k.FailBulkCall(n, errTest)
		}
		if _, err := Withdraw(t.Context(), parseConfig(t, fullBGP), k); err != nil {
			t.Errorf("call %d fails: %v", n, err)
		}
		if text := k.Text(); text != "" || len(k.BulkWrites()) != 3 {
			t.Errorf("call %d fails: left\n%s", n, text)
		}
	}
}

// TestRoutes: each path has its uplink, and what became of it.
func TestRoutes(t *testing.T) {
	b := speaks(t, fullBGP, hostA, hostB, hostC)
	if _, err := b.Routes(t.Context(), status.RouteQuery{}); err == nil {
		t.Error("an answer without paths")
	}
	b.voice().paths = []bgp.PrefixPaths{{Prefix: prefix("8.8.0.0/16"), Choice: aFirst, Paths: []bgp.PathInfo{
		{Peer: "a/ipv4", NextHop: addr("203.0.113.1"), ASPath: "64501 15169", MED: 7, HasMED: true, Rank: bgp.First, Why: "shorter AS path"},
		{Peer: "c/ipv4", ASPath: "64503 1 15169", Rank: bgp.Second, Why: "longer AS path"},
		{Peer: "c/ipv6", Rank: bgp.NoPath, Why: "refused: bogon"},
	}}}
	routes := func() []status.Path {
		t.Helper()
		got, err := b.Routes(t.Context(), status.RouteQuery{Prefix: prefix("8.8.0.0/16"), Longer: true, Limit: 5})
		if err != nil || len(got) != 1 || got[0].Prefix != "8.8.0.0/16" || len(got[0].Paths) != 3 {
			t.Fatalf("%+v, %v", got, err)
		}
		return got[0].Paths
	}
	p := routes()
	if q := b.voice().asked[len(b.voice().asked)-1]; q != (bgp.Query{Prefix: prefix("8.8.0.0/16"), Longer: true, Limit: 5}) {
		t.Errorf("asked %+v", q)
	}
	if p[0].Uplink != "a" || p[0].Peer != "203.0.113.1" || *p[0].MED != 7 || p[0].Rank != "first" || !p[0].Used || p[1].Used || p[2].Used {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(p[1].Why, "longer AS path; not used: a path of rank first is") || p[2].Why != "refused: bogon" {
		t.Errorf("why: %q, %q", p[1].Why, p[2].Why)
	}
	b.tell("a", fib.IPv4, uplink.Down)
	if p = routes(); p[0].Used || !p[1].Used || !strings.Contains(p[0].Why, "told so") {
		t.Errorf("with a dead: %+v", p)
	}
	b.voice().dies("killed")
	b.turn()
	if _, err := b.Routes(t.Context(), status.RouteQuery{}); !strings.Contains(fmt.Sprint(err), "killed") {
		t.Errorf("nobody speaks: %v", err)
	}
	plain := newBench(t, twoUplinks, twoLinks(t))
	plain.turn()
	if _, err := plain.Routes(t.Context(), status.RouteQuery{}); err != status.ErrNoBGP { //nolint:errorlint // It is this one.
		t.Errorf("no BGP: %v", err)
	}
}
