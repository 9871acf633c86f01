package uplink

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// in returns verdicts with these roles, in family f.
func in(f fib.Family, roles map[string]Role) Verdicts {
	v := Verdicts{}
	for name, r := range roles {
		v[Way{name, f}] = Verdict{State: Live, Role: r}
	}
	return v
}

// classicFacts are those of the script for two providers: one ethernet with a
// subnet each, IPv4.
func classicFacts() Facts {
	return Facts{
		{"isp1", fib.IPv4}: {
			Device: fib.Device{Index: 3, Name: "eth1"}, Usable: true, Gateway: addr("192.0.2.1"), Preferred: addr("192.0.2.2"),
			Sources: []netip.Prefix{prefix("192.0.2.2/32")}, Subnets: []netip.Prefix{prefix("192.0.2.0/28")},
		},
		{"isp2", fib.IPv4}: {
			Device: fib.Device{Index: 4, Name: "eth2"}, Usable: true, Gateway: addr("198.51.100.1"), Preferred: addr("198.51.100.2"),
			Sources: []netip.Prefix{prefix("198.51.100.2/32"), prefix("203.0.113.0/28")},
			Subnets: []netip.Prefix{prefix("198.51.100.0/24")},
		},
	}
}

func classicLayout() Layout {
	l := layoutFor("isp1", "isp2")
	l.Uplinks[0].Weight, l.Uplinks[1].Weight = 2, 3
	return l
}

// scenes are the pictures of testdata.
func scenes() map[string]struct {
	layout   Layout
	facts    Facts
	verdicts Verdicts
} {
	type scene = struct {
		layout   Layout
		facts    Facts
		verdicts Verdicts
	}
	both := in(fib.IPv4, map[string]Role{"isp1": Active, "isp2": Active})

	dual := classicFacts()
	dual[Way{"isp1", fib.IPv6}] = factFor(1, "isp1", fib.IPv6)
	dual[Way{"isp2", fib.IPv6}] = factFor(2, "isp2", fib.IPv6)
	dualVerdicts := in(fib.IPv6, map[string]Role{"isp1": Active, "isp2": Standby})
	for w, v := range both {
		dualVerdicts[w] = v
	}

	p2p := classicFacts()
	p2p[Way{"isp2", fib.IPv4}] = Fact{
		Device: fib.Device{Index: 9, Name: "ppp0"}, Usable: true, Preferred: addr("198.51.100.77"),
		Sources: []netip.Prefix{prefix("198.51.100.77/32")},
	}

	hardDown := classicFacts()
	f := hardDown[Way{"isp1", fib.IPv4}]
	f.Usable = false
	hardDown[Way{"isp1", fib.IPv4}] = f

	nothing := classicFacts()
	for w, f := range nothing {
		f.Usable = false
		nothing[w] = f
	}
	closed := classicLayout()
	closed.FailClosed = true

	onlink := classicLayout()
	onlink.Uplinks[0].OnLink = true
	onlink.Uplinks[1].OnLink = true

	tiers := Facts{}
	for n, name := range []string{"fibre", "cable", "lte"} {
		tiers[Way{name, fib.IPv4}] = factFor(n, name, fib.IPv4)
	}

	overIPv6 := classicFacts()
	f = overIPv6[Way{"isp2", fib.IPv4}]
	f.Gateway = addr("fe80::1%eth2")
	overIPv6[Way{"isp2", fib.IPv4}] = f

	return map[string]scene{
		"over-ipv6":     {classicLayout(), overIPv6, both},
		"classic":       {classicLayout(), classicFacts(), both},
		"dual":          {classicLayout(), dual, dualVerdicts},
		"p2p":           {classicLayout(), p2p, both},
		"onlink":        {onlink, p2p, both},
		"hard-down":     {classicLayout(), hardDown, in(fib.IPv4, map[string]Role{"isp2": Active})},
		"all-hard-down": {classicLayout(), nothing, in(fib.IPv4, nil)},
		"fail-closed":   {closed, classicFacts(), in(fib.IPv4, nil)},
		"tiers": {
			layoutFor("fibre", "cable", "lte"), tiers,
			in(fib.IPv4, map[string]Role{"fibre": Active, "cable": Standby, "lte": RoleNone}),
		},
	}
}

// TestDesired holds each scene against its picture, which people read and
// approve, and against the rules that every picture keeps.
func TestDesired(t *testing.T) {
	for name, s := range scenes() {
		t.Run(name, func(t *testing.T) {
			d := s.layout.Desired(s.facts, s.verdicts, nil)
			golden(t, name, draw(d))
			if complaint := faulty(s.layout, s.facts, d); complaint != "" {
				t.Error(complaint)
			}
			if diff := cmp.Diff(d, s.layout.Desired(s.facts, s.verdicts, nil), desiredOptions); diff != "" {
				t.Errorf("drawn twice, it differs:\n%s", diff)
			}
		})
	}
}

// TestLookups walks the rules of the classic script as the kernel does.
func TestLookups(t *testing.T) {
	main := map[string]string{
		"0.0.0.0/0": "default", "192.0.2.0/28": "eth1", "198.51.100.0/24": "eth2", "10.0.0.0/8": "lan",
	}
	l := classicLayout()
	hop1, hop2 := fmt.Sprint("nhid ", l.hopID(0, fib.IPv4)), fmt.Sprint("nhid ", l.hopID(1, fib.IPv4))
	group := fmt.Sprint("nhid ", l.groupID(fib.IPv4))
	far, near1, near2 := addr("8.8.8.8"), addr("192.0.2.9"), addr("198.51.100.9")
	own1, own2, customer2, lan := addr("192.0.2.2"), addr("198.51.100.2"), addr("203.0.113.5"), addr("10.1.1.1")
	tests := []struct {
		name  string
		scene string
		p     packet
		want  string
	}{
		{"new traffic is balanced", "classic", packet{from: lan, to: far}, group},
		{"the host's own, without a source yet", "classic", packet{to: far}, group},
		{"a source leaves by its uplink", "classic", packet{from: own1, to: far}, hop1},
		{"the other source by the other", "classic", packet{from: own2, to: far}, hop2},
		{"and so does its prefix", "classic", packet{from: customer2, to: far}, hop2},
		{"a mark chooses", "classic", packet{from: lan, to: far, mark: 0x200}, hop2},
		{"bits of others in the mark do not matter", "classic", packet{from: lan, to: far, mark: 0xabc00102&^0xff00 | 0x100}, hop1},
		{"the LAN is reached", "classic", packet{from: own1, to: lan}, "main lan"},
		{"a neighbour on the link of its own uplink", "classic", packet{from: own1, to: near1}, "dev eth1"},
		{"a host in the other uplink's subnet is answered by the uplink it asked", "classic", packet{from: own1, to: near2}, hop1},
		{"a stranger's packet to a neighbour", "classic", packet{from: lan, to: near2}, "main eth2"},
		{"a source without its uplink is refused", "hard-down", packet{from: own1, to: far}, "prohibit"},
		{"also by mark", "hard-down", packet{from: lan, to: far, mark: 0x100}, "prohibit"},
		{"the rest goes by what is left", "hard-down", packet{from: lan, to: far}, group},
		{"a reply into the dead link's subnet goes around by the uplink it came by", "hard-down", packet{from: own2, to: near1}, hop2},
		{"nothing is left: main decides", "all-hard-down", packet{from: lan, to: far}, "main default"},
		{"nothing is left, and nothing leaks", "all-hard-down", packet{from: own2, to: far}, "prohibit"},
		{"closed", "fail-closed", packet{from: lan, to: far}, "prohibit"},
		{"closed, but the LAN is reached", "fail-closed", packet{from: lan, to: lan.Next()}, "main lan"},
		{"closed, but a source still leaves by its uplink", "fail-closed", packet{from: own1, to: far}, hop1},
		{"by a point-to-point link", "p2p", packet{from: addr("198.51.100.77"), to: far}, hop2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, ok := scenes()[tt.scene]
			if !ok {
				t.Fatalf("no scene %q", tt.scene)
			}
			if got := lookup(s.layout.Desired(s.facts, s.verdicts, nil), tt.p, main); got != tt.want {
				t.Errorf("goes to %q, want %q", got, tt.want)
			}
		})
	}
}

// TestLNX_RT_10 and TestRA_17: the table of an uplink that is gone has its guard
// and nothing else, and its sources still lead to it, so that no packet leaks out
// of another uplink. (RFC 8475 speaks of unreachable; the guard says prohibit, so
// that people can tell it from a network that is really unreachable.)
func TestLNX_RT_10(t *testing.T) { testNoLeak(t) }

func TestRA_17(t *testing.T) { testNoLeak(t) }

func testNoLeak(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		l := layoutFor("a", "b")
		facts := Facts{Way{"a", f}: factFor(0, "a", f), Way{"b", f}: factFor(1, "b", f)}
		gone := facts[Way{"a", f}]
		gone.Usable = false
		facts[Way{"a", f}] = gone
		d := l.Desired(facts, in(f, map[string]Role{"b": Active}), nil)
		var own []fib.Route
		for _, r := range d.Routes {
			if r.Table == l.Uplinks[0].Table {
				own = append(own, r)
			}
		}
		want := []fib.Route{{Table: 201, Dst: f.Any(), Metric: 4278198272, Type: fib.RouteProhibit}}
		if diff := cmp.Diff(want, own, desiredOptions); diff != "" {
			t.Errorf("table of the dead uplink (-want +got):\n%s", diff)
		}
		if got := lookup(d, packet{from: gone.Preferred, to: target1[f]}, map[string]string{f.Any().String(): "default"}); got != "prohibit" {
			t.Errorf("its source goes to %q, want prohibit", got)
		}
	})
}

// TestFailClosedHasAGuard: with fail-closed, what no live way can take is
// refused, instead of falling through to the default of main.
func TestFailClosedHasAGuard(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		main := map[string]string{f.Any().String(): "default"}
		for _, usable := range []bool{true, false} {
			l := layoutFor("a")
			fact := factFor(0, "a", f)
			fact.Usable = usable
			facts := Facts{Way{"a", f}: fact}
			l.FailClosed = true
			p := packet{to: target1[f]}
			if got := lookup(l.Desired(facts, in(f, nil), nil), p, main); got != "prohibit" {
				t.Errorf("usable %t: goes to %q, want prohibit", usable, got)
			}
			l.FailClosed = false
			if got := lookup(l.Desired(facts, in(f, nil), nil), p, main); got != "main default" {
				t.Errorf("usable %t: goes to %q, want main default", usable, got)
			}
		}
	})
}

// TestNoWaysNoState: a family of which the host has no way gets no state at all,
// and an empty configuration none.
func TestNoWaysNoState(t *testing.T) {
	l := layoutFor("a")
	d := l.Desired(Facts{{"a", fib.IPv6}: factFor(0, "a", fib.IPv6)}, nil, nil)
	for _, r := range d.Rules {
		if r.Family != fib.IPv6 {
			t.Errorf("rule of an absent family: %+v", r)
		}
	}
	for _, r := range d.Routes {
		if r.Family() != fib.IPv6 {
			t.Errorf("route of an absent family: %+v", r)
		}
	}
	if diff := cmp.Diff(fib.Desired{}, l.Desired(nil, nil, nil), desiredOptions); diff != "" {
		t.Errorf("without facts (-want +got):\n%s", diff)
	}
}

// TestGotoTargetFollowsTheSources: the goto rules lead to the first rule that
// exists, whichever uplinks have a source at the moment.
func TestGotoTargetFollowsTheSources(t *testing.T) {
	for _, tt := range []struct {
		with []string
		want uint32
	}{
		{[]string{"a", "b"}, 201},
		{[]string{"b"}, 202},
		{nil, 211},
	} {
		l := layoutFor("a", "b")
		facts := Facts{}
		for n, u := range l.Uplinks {
			fact := factFor(n, u.Name, fib.IPv6)
			if !slices.Contains(tt.with, u.Name) {
				fact.Sources = nil
			}
			facts[Way{u.Name, fib.IPv6}] = fact
		}
		d := l.Desired(facts, nil, nil)
		if complaint := faulty(l, facts, d); complaint != "" {
			t.Error(complaint)
		}
		n := 0
		for _, r := range d.Rules {
			if r.Goto != 0 {
				n++
				if r.Goto != tt.want || r.Priority != 49 {
					t.Errorf("with sources of %v: rule %+v, want goto %d at 49", tt.with, r, tt.want)
				}
			}
		}
		if n != 2 {
			t.Errorf("%d goto rules, want 2", n)
		}
	}
}

// TestManyUplinks: the numbers hold for as many uplinks as there may be, though
// their rules share the last priority.
func TestManyUplinks(t *testing.T) {
	for _, count := range []int{6, 7, MaxUplinks} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			l, facts, verdicts := many(count)
			d := l.Desired(facts, verdicts, nil)
			if complaint := faulty(l, facts, d); complaint != "" {
				t.Fatal(complaint)
			}
			if got, want := len(d.NextHops), 2*count; got != want {
				t.Errorf("%d next hops, want %d", got, want)
			}
			want := uint16(60)
			if count > 6 {
				want = 120
			}
			for _, g := range d.Groups {
				if g.Buckets != want || len(g.Members) != count {
					t.Errorf("group %d has %d buckets and %d members, want %d and %d", g.ID, g.Buckets, len(g.Members), want, count)
				}
			}
			for n, u := range l.Uplinks {
				if n > 12 && n%31 != 0 && n != count-1 {
					continue // Enough of each kind; a lookup here is slow.
				}
				for _, f := range fib.Families {
					fact := facts[Way{u.Name, f}]
					want := fmt.Sprint("nhid ", l.hopID(n, f))
					for _, p := range []packet{{from: fact.Preferred, to: target1[f]}, {to: target1[f], mark: u.Mark}} {
						if got := lookup(d, p, nil); got != want {
							t.Errorf("%+v goes to %q, want %q", p, got, want)
						}
					}
				}
			}
		})
	}
}

// many returns a layout of count uplinks in both families, all active.
func many(count int) (Layout, Facts, Verdicts) {
	names := make([]string, count)
	for n := range names {
		names[n] = fmt.Sprintf("isp%03d", n)
	}
	l := layoutFor(names...)
	l.MarkMask = 0xffff00
	l.BalanceTable = 1000
	facts, verdicts := Facts{}, Verdicts{}
	for n := range l.Uplinks {
		l.Uplinks[n].Table = 1001 + uint32(n) // Table 254 is main.
		for _, f := range fib.Families {
			facts[Way{names[n], f}] = factFor(n, names[n], f)
			verdicts[Way{names[n], f}] = Verdict{State: Live, Role: Active}
		}
	}
	return l, facts, verdicts
}

// TestNumbersFollowTheConfiguration: neither facts nor verdicts move an id, so a
// restart draws the same picture.
func TestNumbersFollowTheConfiguration(t *testing.T) {
	l, facts, verdicts := many(5)
	whole := l.Desired(facts, verdicts, nil)
	id := map[string]uint32{}
	for _, n := range whole.NextHops {
		id[fmt.Sprint(n.Device.Name, n.Family)] = n.ID
	}
	delete(facts, Way{"isp000", fib.IPv4})
	delete(verdicts, Way{"isp001", fib.IPv6})
	for _, n := range l.Desired(facts, verdicts, nil).NextHops {
		if want := id[fmt.Sprint(n.Device.Name, n.Family)]; n.ID != want {
			t.Errorf("%s has id %d, had %d", n.Device, n.ID, want)
		}
	}
}

// TestOwner: everything that could be drawn with other numbers is recognised as
// ours if it bears our protocol number, but never the kernel's own three rules.
func TestOwner(t *testing.T) {
	want := fib.Owner{
		Protocol: 76, NextHops: fib.Range{First: 7 << 20, Last: 7<<20 + 1<<20 - 1}, Rules: fib.Range{First: 1, Last: 32765},
	}
	if diff := cmp.Diff(want, layoutFor("a").Owner(76)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
