package uplink

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/multihomed/multihomed/fib"
)

var update = flag.Bool("update", false, "write testdata anew")

// desiredOptions compares what fib.Desired holds.
var desiredOptions = gocmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}

const protocol = 76

// layoutFor returns the layout of the well-known script for two providers, with
// these uplinks, all of weight 1.
func layoutFor(names ...string) Layout {
	l := Layout{
		BalanceTable: 221,
		Priorities:   Priorities{Main: 50, Source: 201, Mark: 211, Balance: 221},
		MarkMask:     0xff00,
		NextHopBase:  7 << 20,
		IdleTimer:    10 * time.Second,
	}
	for n, name := range names {
		l.Uplinks = append(l.Uplinks, Place{Name: name, Table: 201 + uint32(n), Mark: 0x100 * uint32(n+1), Weight: 1})
	}
	return l
}

// factFor returns what the host knows of the n-th uplink in family f: an ethernet
// with a gateway.
func factFor(n int, name string, f fib.Family) Fact {
	base := netip.AddrFrom4([4]byte{10, 100, byte(n), 0})
	bits := 24
	if f == fib.IPv6 {
		base = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(n), 15: 0})
		bits = 64
	}
	subnet := netip.PrefixFrom(base, bits)
	gateway := base.Next()
	own := gateway.Next()
	fact := Fact{
		Device: fib.Device{Index: 10 + n, Name: name + "0"}, Usable: true, Gateway: gateway, Preferred: own,
		Sources: []netip.Prefix{netip.PrefixFrom(own, own.BitLen())}, Subnets: []netip.Prefix{subnet},
	}
	if f == fib.IPv6 {
		fact.Gateway = netip.MustParseAddr("fe80::1").WithZone(fact.Device.Name)
	}
	return fact
}

// factsOf returns facts that agree with the hard evidence of s.
func factsOf(s *story) Facts {
	facts := Facts{}
	for n, m := range s.policy.Members {
		fact := factFor(n, m.Uplink, m.Family)
		for _, kind := range []Kind{KindLink, KindAddress, KindGateway} {
			fact.Usable = fact.Usable && s.evidence[Source{m.Way, kind}].Opinion != Down
		}
		facts[m.Way] = fact
	}
	return facts
}

// draw returns d as ip commands, rules in the order in which the kernel asks
// them.
func draw(d fib.Desired) string {
	var out strings.Builder
	line := func(o fib.Object, remark string) {
		fmt.Fprintf(&out, "%s%s\n", fib.Op{Verb: fib.Add, Object: o, Protocol: protocol}, remark)
	}
	for _, n := range d.NextHops {
		line(n, "")
	}
	for _, g := range d.Groups {
		remark := ""
		for _, m := range g.Members {
			if m.Standby {
				remark += fmt.Sprintf(" # standby: %d", m.NextHop)
			}
			if m.Draining {
				remark += fmt.Sprintf(" # draining: %d", m.NextHop)
			}
		}
		line(g, remark)
	}
	for _, r := range d.Routes {
		line(r, "")
	}
	for _, r := range ordered(d.Rules) {
		line(r, "")
	}
	return out.String()
}

func ordered(rules []fib.Rule) []fib.Rule {
	return slices.SortedStableFunc(slices.Values(rules), func(a, b fib.Rule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority))
	})
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read the picture that is wanted: %v (go test -update draws it)", err)
	}
	if diff := gocmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// faulty returns what is wrong with d in itself, or "": what the kernel would
// refuse, and what the laws of the design forbid.
func faulty(l Layout, facts Facts, d fib.Desired) string {
	o := l.Owner(protocol)
	ids := map[uint32]bool{}
	for _, n := range d.NextHops {
		if n.ID%2 != 0 || !o.NextHops.Contains(n.ID) || ids[n.ID] || n.ID-l.NextHopBase >= idSpace/4 {
			return fmt.Sprintf("next hop id %d is odd, not ours or used twice", n.ID)
		}
		ids[n.ID] = true
	}
	for _, g := range d.Groups {
		drawn := map[uint32]bool{}
		if !o.NextHops.Contains(g.ID) || ids[g.ID] || ids[g.ID-1] || len(g.Members) == 0 || g.ID-l.NextHopBase >= idSpace/4 {
			return fmt.Sprintf("group id %d is not ours, used twice or the twin of a next hop, or the group is empty", g.ID)
		}
		for _, m := range g.Members {
			if !ids[m.NextHop] || m.Weight < 1 || m.Weight > fib.MaxWeight {
				return fmt.Sprintf("member %+v of group %d is no next hop, or its weight no weight", m, g.ID)
			}
			if drawn[m.NextHop] || m.Standby && m.Draining {
				return fmt.Sprintf("member %+v of group %d is in it twice, or in two roles", m, g.ID)
			}
			drawn[m.NextHop] = true
		}
		drains := slices.ContainsFunc(g.Members, func(m fib.Member) bool { return m.Draining })
		if l.UnbalancedTimer > 0 && drains != (g.UnbalancedTimer == 0) {
			return fmt.Sprintf("group %d (draining: %t) moves busy flows after %s", g.ID, drains, g.UnbalancedTimer)
		}
	}
	for _, g := range d.Groups {
		if ids[g.ID] {
			return fmt.Sprintf("group id %d is used twice", g.ID)
		}
		ids[g.ID] = true
	}
	if complaint := faultyRoutes(d, ids); complaint != "" {
		return complaint
	}
	if complaint := faultyRules(o, d); complaint != "" {
		return complaint
	}
	return faultyUplinks(l, facts, d)
}

func faultyRoutes(d fib.Desired, ids map[uint32]bool) string {
	keys := map[fib.RouteKey]bool{}
	for _, r := range d.Routes {
		switch {
		case keys[r.Key()]:
			return fmt.Sprintf("two routes with key %v", r.Key())
		case r.Metric == 0 || r.Dst != r.Dst.Masked():
			return fmt.Sprintf("the kernel would not hold %v as it is", r.Key())
		case r.NextHopID != 0 && !ids[r.NextHopID]:
			return fmt.Sprintf("%v points at nothing", r.Key())
		case r.Type == fib.RouteUnicast && r.NextHopID == 0 && len(r.Hops) == 0:
			return fmt.Sprintf("%v leads nowhere", r.Key())
		case r.Source.IsValid() && fib.FamilyOf(r.Source) != r.Family():
			return fmt.Sprintf("%v prefers a source of another family", r.Key())
		}
		keys[r.Key()] = true
	}
	return ""
}

var localPrefixes = []netip.Prefix{netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"), netip.MustParsePrefix("224.0.0.0/4")}

func faultyRules(o fib.Owner, d fib.Desired) string {
	seen := map[fib.Rule]bool{}
	at := map[fib.Family]map[uint32]bool{fib.IPv4: {}, fib.IPv6: {}}
	for _, r := range d.Rules {
		if seen[r] || !o.Rules.Contains(r.Priority) {
			return fmt.Sprintf("rule %+v is drawn twice, or not ours", r)
		}
		seen[r] = true
		at[r.Family][r.Priority] = true
	}
	for _, r := range d.Rules {
		if r.Goto != 0 && (r.Goto <= r.Priority || !at[r.Family][r.Goto]) {
			return fmt.Sprintf("rule %+v goes to where no rule is", r)
		}
		if r.Mask != 0 && r.Mark&r.Mask == 0 {
			return fmt.Sprintf("rule %+v takes packets without a mark", r)
		}
		for _, selector := range []netip.Prefix{r.From, r.To} {
			for _, l := range localPrefixes {
				if selector.IsValid() && selector.Overlaps(l) {
					return fmt.Sprintf("rule %+v takes link-local or multicast packets", r)
				}
			}
			if selector.IsValid() && selector != selector.Masked() {
				return fmt.Sprintf("rule %+v has bits behind its prefix", r)
			}
		}
	}
	return ""
}

// faultyUplinks checks what each uplink must have, in each family that is there.
func faultyUplinks(l Layout, facts Facts, d fib.Desired) string {
	routes := map[fib.RouteKey]fib.Route{}
	for _, r := range d.Routes {
		routes[r.Key()] = r
	}
	for _, f := range fib.Families {
		if !l.present(facts, f) {
			continue
		}
		for _, u := range l.Uplinks {
			fact := facts[Way{u.Name, f}]
			guard, guarded := routes[fib.RouteKey{Table: u.Table, Dst: f.Any(), Metric: metricGuard}]
			_, usable := routes[fib.RouteKey{Table: u.Table, Dst: f.Any(), Metric: metricLive}]
			marked := 0
			for _, r := range d.Rules {
				if r.Family == f && r.Mask == l.MarkMask && r.Mark == u.Mark && r.Table == u.Table {
					marked++
				}
			}
			switch {
			case !guarded || guard.Type != fib.RouteProhibit:
				return fmt.Sprintf("table %d has no guard in %s", u.Table, f)
			case usable != fact.Usable:
				return fmt.Sprintf("table %d: default in %s is %t, the kernel can send: %t", u.Table, f, usable, fact.Usable)
			case marked != 1:
				return fmt.Sprintf("%s has %d mark rules in %s", u.Name, marked, f)
			}
			for _, src := range owned(fact.Sources) {
				if !slices.ContainsFunc(d.Rules, func(r fib.Rule) bool { return r.From == src && r.Table == u.Table }) {
					return fmt.Sprintf("source %s of %s has no rule", src, u.Name)
				}
			}
		}
	}
	return ""
}

// packet is what a lookup is about.
type packet struct {
	from, to netip.Addr
	mark     uint32
}

// lookup walks the rules and tables of d as the kernel does and returns where
// p goes: the id of a next hop or group, "dev <device>", "main <what>", or the
// word of a route that refuses. main has the routes of the main table.
func lookup(d fib.Desired, p packet, main map[string]string) string {
	rules := slices.DeleteFunc(ordered(d.Rules), func(r fib.Rule) bool { return r.Family != fib.FamilyOf(p.to) })
	for i := 0; i < len(rules); i++ {
		r := rules[i]
		if r.From.IsValid() && (!p.from.IsValid() || !r.From.Contains(p.from)) || r.To.IsValid() && !r.To.Contains(p.to) ||
			p.mark&r.Mask != r.Mark {
			continue
		}
		if r.Goto != 0 {
			i = slices.IndexFunc(rules, func(o fib.Rule) bool { return o.Priority == r.Goto }) - 1
			continue
		}
		if found, bits := consult(d, r.Table, p.to, main); found != "" && bits >= r.MinPrefixLen {
			return found
		}
	}
	found, _ := consult(d, mainTable, p.to, main)
	return found
}

// consult returns the best route of one table.
func consult(d fib.Desired, table uint32, to netip.Addr, main map[string]string) (found string, bits int) {
	if table == mainTable {
		bits = -1
		for prefix, words := range main {
			if p := netip.MustParsePrefix(prefix); p.Contains(to) && p.Bits() > bits {
				found, bits = "main "+words, p.Bits()
			}
		}
		return found, bits
	}
	var top *fib.Route
	for i, r := range d.Routes {
		if r.Table == table && r.Dst.Contains(to) &&
			(top == nil || cmp.Or(cmp.Compare(top.Dst.Bits(), r.Dst.Bits()), cmp.Compare(r.Metric, top.Metric)) < 0) {
			top = &d.Routes[i]
		}
	}
	switch {
	case top == nil:
		return "", 0
	case top.Type != fib.RouteUnicast:
		return top.Type.String(), top.Dst.Bits()
	case top.NextHopID != 0:
		return fmt.Sprint("nhid ", top.NextHopID), top.Dst.Bits()
	default:
		return "dev " + top.Hops[0].Device.String(), top.Dst.Bits()
	}
}
