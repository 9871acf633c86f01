package uplink

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// TestSRC_03: every source has a rule, and the rule a table with a default
// (RFC 1122 section 3.3.4.2), whatever the verdict.
func TestSRC_03(t *testing.T) {
	for _, role := range []Role{RoleNone, Standby, Active} {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			l := layoutFor("a", "b", "c")
			facts, verdicts := Facts{}, Verdicts{}
			for n, u := range l.Uplinks {
				fact := factFor(n, u.Name, f)
				extra := netip.PrefixFrom(fact.Preferred, fact.Preferred.BitLen()-8)
				fact.Sources = append(fact.Sources, extra)
				facts[Way{u.Name, f}] = fact
				verdicts[Way{u.Name, f}] = Verdict{Role: role}
			}
			d := l.Desired(facts, verdicts, nil)
			if complaint := faulty(l, facts, d); complaint != "" {
				t.Fatal(complaint)
			}
			for n, u := range l.Uplinks {
				for _, src := range facts[Way{u.Name, f}].Sources {
					want := fmt.Sprint("nhid ", l.hopID(n, f))
					if got := lookup(d, packet{from: src.Addr(), to: target1[f]}, nil); got != want {
						t.Errorf("%s as %s: %s goes to %q, want %q", u.Name, role, src, got, want)
					}
				}
			}
		})
	}
}

// TestSRC_08: two uplinks on one interface are told apart by nothing but the
// next hop, which Linux does not track (rule 5.5 of RFC 6724), so the default of
// each table names its source.
func TestSRC_08(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		l := layoutFor("a", "b")
		one := factFor(0, "vlan", f)
		two := one
		two.Gateway = target2[f]
		two.Preferred = one.Preferred.Next()
		two.Sources = []netip.Prefix{netip.PrefixFrom(two.Preferred, two.Preferred.BitLen())}
		facts := Facts{Way{"a", f}: one, Way{"b", f}: two}
		d := l.Desired(facts, in(f, map[string]Role{"a": Active, "b": Active}), nil)
		if complaint := faulty(l, facts, d); complaint != "" {
			t.Fatal(complaint)
		}
		got := map[uint32]netip.Addr{}
		for _, r := range d.Routes {
			if r.Dst == f.Any() && r.Metric == metricLive && r.Table != l.BalanceTable {
				got[r.Table] = r.Source
			}
		}
		want := map[uint32]netip.Addr{201: one.Preferred, 202: two.Preferred}
		if diff := cmp.Diff(want, got, desiredOptions); diff != "" {
			t.Errorf("preferred sources by table (-want +got):\n%s", diff)
		}
		// The subnet that both share is reached by one rule, and from each source
		// by its own table.
		to := one.Subnets[0].Addr().Next().Next().Next().Next()
		for _, src := range []netip.Addr{one.Preferred, two.Preferred} {
			if got := lookup(d, packet{from: src, to: to}, nil); got != "dev vlan0" {
				t.Errorf("%s goes to %q, want dev vlan0", src, got)
			}
		}
	})
}

// TestLNX_NH_14: IPv6 routes with a source prefix cannot use next-hop ids, so the
// table of a source is found by a rule in both families, and no route has a field
// for a source prefix at all.
func TestLNX_NH_14(t *testing.T) {
	for i := range reflect.TypeFor[fib.Route]().NumField() {
		f := reflect.TypeFor[fib.Route]().Field(i)
		if f.Type == reflect.TypeFor[netip.Prefix]() && f.Name != "Dst" {
			t.Errorf("fib.Route has a second prefix, %s", f.Name)
		}
	}
	l := layoutFor("a")
	fact := factFor(0, "a", fib.IPv6)
	fact.Sources = []netip.Prefix{prefix("2001:db8:a::/48")}
	d := l.Desired(Facts{{"a", fib.IPv6}: fact}, in(fib.IPv6, map[string]Role{"a": Active}), nil)
	want := fib.Rule{Family: fib.IPv6, Priority: 201, From: prefix("2001:db8:a::/48"), Table: 201}
	if !slices.Contains(d.Rules, want) {
		t.Errorf("no rule %+v in %+v", want, d.Rules)
	}
	for _, r := range d.Routes {
		if r.Table == 201 && r.Metric == metricLive && r.Dst.Bits() == 0 && r.NextHopID != l.hopID(0, fib.IPv6) {
			t.Errorf("default of the table points at %d", r.NextHopID)
		}
	}
}

// TestLocalAddressesBelongToNobody: a link-local or multicast prefix among the
// facts makes no rule and no route.
func TestLocalAddressesBelongToNobody(t *testing.T) {
	l := layoutFor("a")
	for f, prefixes := range map[fib.Family][]netip.Prefix{
		fib.IPv6: {prefix("fe80::/64"), prefix("fe80::5/128"), prefix("ff00::/8")},
		fib.IPv4: {prefix("224.0.0.0/4")},
	} {
		clean := Facts{Way{"a", f}: factFor(0, "a", f)}
		fact := clean[Way{"a", f}]
		fact.Sources = append(slices.Clone(fact.Sources), prefixes...)
		fact.Subnets = append(slices.Clone(fact.Subnets), prefixes...)
		v := in(f, map[string]Role{"a": Active})
		if diff := cmp.Diff(l.Desired(clean, v, nil), l.Desired(Facts{Way{"a", f}: fact}, v, nil), desiredOptions); diff != "" {
			t.Errorf("%s (-without +with local prefixes):\n%s", f, diff)
		}
	}
	// Providers do number links from 169.254.0.0/16.
	fact := factFor(0, "a", fib.IPv4)
	fact.Subnets = []netip.Prefix{prefix("169.254.7.0/30")}
	d := l.Desired(Facts{{"a", fib.IPv4}: fact}, nil, nil)
	if !slices.ContainsFunc(d.Rules, func(r fib.Rule) bool { return r.To == fact.Subnets[0] }) {
		t.Error("a link numbered from 169.254.0.0/16 has no rule")
	}
}

// TestUnmaskedPrefixes: the kernel refuses a route with bits behind its prefix.
func TestUnmaskedPrefixes(t *testing.T) {
	l := layoutFor("a")
	fact := factFor(0, "a", fib.IPv4)
	fact.Sources = []netip.Prefix{prefix("203.0.113.77/28")}
	fact.Subnets = []netip.Prefix{prefix("192.0.2.77/24")}
	facts := Facts{{"a", fib.IPv4}: fact}
	if complaint := faulty(l, facts, l.Desired(facts, nil, nil)); complaint != "" {
		t.Error(complaint)
	}
}
