package fib_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/lab"
)

// printable is a set of objects in which every word that a command may have
// occurs, in an order in which they can be added. The devices of their next hops
// are eth1 and eth2, and p2p, which has no gateway.
func printable(f fib.Family, eth1, eth2, p2p fib.Device) []fib.Object {
	id := func(n uint32) uint32 { return 1000 + 10*uint32(familyIndex(f)) + n }
	bits := map[fib.Family]int{fib.IPv4: 24, fib.IPv6: 48}[f]
	prefix := func(net int) netip.Prefix { return netip.PrefixFrom(addr(f, net, 0), bits) }
	return []fib.Object{
		fib.NextHop{ID: id(0), Family: f, Device: eth1, Gateway: addr(f, 1, 1)},
		fib.NextHop{ID: id(1), Family: f, Device: eth2, Gateway: addr(f, 77, 1), OnLink: true},
		fib.NextHop{ID: id(2), Family: f, Device: p2p},
		fib.Group{ID: id(3), Type: fib.GroupHashThreshold, Members: []fib.Member{{NextHop: id(0), Weight: 2}, {NextHop: id(1), Weight: 255}}},
		fib.Group{ID: id(4), Type: fib.GroupResilient, Members: []fib.Member{{NextHop: id(0), Weight: 255}, {NextHop: id(1), Weight: 1}},
			Buckets: 60, IdleTimer: 120 * time.Second, UnbalancedTimer: 600 * time.Second},
		fib.Group{ID: id(5), Type: fib.GroupResilient, Members: []fib.Member{{NextHop: id(2), Weight: 1}}, Buckets: 8},
		fib.Route{Table: 221, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, NextHopID: id(4)},
		fib.Route{Table: 201, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, NextHopID: id(0), Source: addr(f, 1, 2)},
		fib.Route{Table: 201, Dst: f.Any(), Metric: guardMetric, Type: fib.RouteProhibit},
		fib.Route{Table: 202, Dst: f.Any(), Metric: 5, Type: fib.RouteUnreachable},
		fib.Route{Table: 203, Dst: f.Any(), Metric: 5, Type: fib.RouteBlackhole},
		fib.Route{Table: 70000, Dst: prefix(9), Metric: 1, Type: fib.RouteUnicast, Hops: []fib.Hop{{Device: p2p, Weight: 1}}},
		fib.Route{Table: 204, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: []fib.Hop{
			{Device: eth2, Gateway: addr(f, 78, 1), OnLink: true, Weight: 1}}},
		fib.Route{Table: 205, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Source: addr(f, 1, 2), Hops: []fib.Hop{
			{Device: eth1, Gateway: addr(f, 1, 1), Weight: 3}, {Device: eth2, Gateway: addr(f, 2, 1), Weight: 256}}},
		fib.Rule{Family: f, Priority: 49, To: prefix(9), Goto: 60},
		fib.Rule{Family: f, Priority: 50, Table: mainTable, MinPrefixLen: 1},
		fib.Rule{Family: f, Priority: 60, From: hostPrefix(addr(f, 1, 2)), Table: 201},
		fib.Rule{Family: f, Priority: 61, From: prefix(8), To: prefix(9), Mark: 0x100, Mask: 0xff00, Table: 70000, MinPrefixLen: 25},
		fib.Rule{Family: f, Priority: 62, Mark: 0, Mask: 0xff00, Table: 201},
	}
}

var goldenCommands = map[fib.Family][]string{
	fib.IPv4: {
		"ip nexthop VERB id 1000 via 10.0.1.1 dev eth1 proto 99",
		"ip nexthop VERB id 1001 via 10.0.77.1 dev eth2 onlink proto 99",
		"ip nexthop VERB id 1002 dev p2p proto 99",
		"ip nexthop VERB id 1003 group 1000,2/1001,255 proto 99",
		"ip nexthop VERB id 1004 group 1000,255/1001,1 type resilient buckets 60 idle_timer 120 unbalanced_timer 600 proto 99",
		"ip nexthop VERB id 1005 group 1002,1 type resilient buckets 8 idle_timer 0 unbalanced_timer 0 proto 99",
		"ip route VERB default nhid 1004 table 221 metric 1 proto 99",
		"ip route VERB default nhid 1000 table 201 metric 1 proto 99 src 10.0.1.2",
		"ip route VERB prohibit default table 201 metric 4278198272 proto 99",
		"ip route VERB unreachable default table 202 metric 5 proto 99",
		"ip route VERB blackhole default table 203 metric 5 proto 99",
		"ip route VERB 10.0.9.0/24 dev p2p table 70000 metric 1 proto 99",
		"ip route VERB default via 10.0.78.1 dev eth2 onlink table 204 metric 1 proto 99",
		"ip route VERB default table 205 metric 1 proto 99 src 10.0.1.2 nexthop via 10.0.1.1 dev eth1 weight 3 nexthop via 10.0.2.1 dev eth2 weight 256",
		"ip rule VERB pref 49 to 10.0.9.0/24 goto 60 protocol 99",
		"ip rule VERB pref 50 lookup 254 suppress_prefixlength 0 protocol 99",
		"ip rule VERB pref 60 from 10.0.1.2/32 lookup 201 protocol 99",
		"ip rule VERB pref 61 from 10.0.8.0/24 to 10.0.9.0/24 fwmark 0x100/0xff00 lookup 70000 suppress_prefixlength 24 protocol 99",
		"ip rule VERB pref 62 fwmark 0x0/0xff00 lookup 201 protocol 99",
	},
	fib.IPv6: {
		"ip -6 nexthop VERB id 1010 via 2001:db8:1::1 dev eth1 proto 99",
		"ip -6 nexthop VERB id 1011 via 2001:db8:4d::1 dev eth2 onlink proto 99",
		"ip -6 nexthop VERB id 1012 dev p2p proto 99",
		"ip nexthop VERB id 1013 group 1010,2/1011,255 proto 99",
		"ip nexthop VERB id 1014 group 1010,255/1011,1 type resilient buckets 60 idle_timer 120 unbalanced_timer 600 proto 99",
		"ip nexthop VERB id 1015 group 1012,1 type resilient buckets 8 idle_timer 0 unbalanced_timer 0 proto 99",
		"ip -6 route VERB default nhid 1014 table 221 metric 1 proto 99",
		"ip -6 route VERB default nhid 1010 table 201 metric 1 proto 99 src 2001:db8:1::2",
		"ip -6 route VERB prohibit default table 201 metric 4278198272 proto 99",
		"ip -6 route VERB unreachable default table 202 metric 5 proto 99",
		"ip -6 route VERB blackhole default table 203 metric 5 proto 99",
		"ip -6 route VERB 2001:db8:9::/48 dev p2p table 70000 metric 1 proto 99",
		"ip -6 route VERB default via 2001:db8:4e::1 dev eth2 onlink table 204 metric 1 proto 99",
		"ip -6 route VERB default table 205 metric 1 proto 99 src 2001:db8:1::2 nexthop via 2001:db8:1::1 dev eth1 weight 3 nexthop via 2001:db8:2::1 dev eth2 weight 256",
		"ip -6 rule VERB pref 49 to 2001:db8:9::/48 goto 60 protocol 99",
		"ip -6 rule VERB pref 50 lookup 254 suppress_prefixlength 0 protocol 99",
		"ip -6 rule VERB pref 60 from 2001:db8:1::2/128 lookup 201 protocol 99",
		"ip -6 rule VERB pref 61 from 2001:db8:8::/48 to 2001:db8:9::/48 fwmark 0x100/0xff00 lookup 70000 suppress_prefixlength 24 protocol 99",
		"ip -6 rule VERB pref 62 fwmark 0x0/0xff00 lookup 201 protocol 99",
	},
}

func TestOpString(t *testing.T) {
	for _, f := range fib.Families {
		objects := printable(f, fib.Device{Index: 2, Name: "eth1"}, fib.Device{Index: 3, Name: "eth2"}, fib.Device{Index: 4, Name: "p2p"})
		for verb, word := range map[fib.Verb]string{fib.Add: "add", fib.Replace: "replace", fib.Delete: "del"} {
			var got, want []string
			for i, o := range objects {
				got = append(got, fib.Op{Verb: verb, Object: o, Protocol: 99}.String())
				command := strings.Replace(goldenCommands[f][i], "VERB", word, 1)
				if verb == fib.Delete && strings.Contains(command, " nexthop del ") {
					// ip deletes these by their ids alone.
					for _, content := range []string{" via ", " dev ", " group "} {
						command, _, _ = strings.Cut(command, content)
					}
				}
				want = append(want, command)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", verb, f, diff)
			}
		}
	}
}

func TestDeviceString(t *testing.T) {
	for want, d := range map[string]fib.Device{"eth0": {Index: 2, Name: "eth0"}, "if7": {Index: 7}} {
		if got := d.String(); got != want {
			t.Errorf("%+v prints as %q, want %q", d, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	var got []string
	for _, s := range []fmt.Stringer{
		fib.VerbUnknown, fib.GroupUnknown, fib.GroupHashThreshold, fib.GroupResilient, fib.RouteUnknown, fib.RouteUnicast,
		fib.RouteProhibit, fib.RouteUnreachable, fib.RouteBlackhole, fib.FamilyUnknown, fib.IPv4, fib.IPv6,
	} {
		got = append(got, s.String())
	}
	want := []string{"unknown", "unknown", "mpath", "resilient", "unknown", "unicast", "prohibit", "unreachable", "blackhole", "unknown", "ipv4", "ipv6"}
	if !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
}

// edge is a namespace with two ethernets and a link without gateway, and the
// kernel inside.
type edge struct {
	host            *lab.Host
	k               *fib.Netlink
	eth1, eth2, p2p fib.Device
}

func newEdge(t *testing.T) edge {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := lab.New(lab.Options{Name: t.Name()})
	must(err)
	t.Cleanup(func() { must(l.Close()) })
	h, err := l.Host("edge")
	must(err)
	isp, err := l.Host("isp")
	must(err)
	e := edge{host: h}
	for i, d := range []*fib.Device{&e.eth1, &e.eth2, &e.p2p} {
		d.Name = []string{"eth1", "eth2", "p2p"}[i]
		must(l.Veth(h, d.Name, isp, d.Name))
		d.Index, err = h.Index(d.Name)
		must(err)
		for _, f := range fib.Families {
			must(h.AddAddress(d.Name, netip.PrefixFrom(addr(f, i+1, 2), 24*(1+familyIndex(f)))))
			must(isp.AddAddress(d.Name, netip.PrefixFrom(addr(f, i+1, 1), 24*(1+familyIndex(f)))))
		}
	}
	must(h.Do(func() (err error) {
		e.k, err = fib.OpenNetlink()
		return err
	}))
	t.Cleanup(func() { must(e.k.Close()) })
	return e
}

// run executes the commands that ops print.
func (e edge) run(t *testing.T, ops []fib.Op) {
	t.Helper()
	for _, op := range ops {
		if _, err := e.host.IP(strings.Fields(op.String())[1:]...); err != nil {
			t.Errorf("ip refuses what op prints: %v", err)
		}
	}
}

// apply executes ops themselves.
func (e edge) apply(t *testing.T, ops []fib.Op) {
	t.Helper()
	for i, err := range e.k.Apply(context.Background(), ops) {
		if err != nil {
			t.Errorf("apply %s: %v", ops[i], err)
		}
	}
}

// state reads what is there, without what differs between two namespaces.
func (e edge) state(t *testing.T) fib.State {
	t.Helper()
	s, err := e.k.List(context.Background(), owner)
	if err != nil {
		t.Fatal(err)
	}
	number := map[int]fib.Device{e.eth1.Index: {Index: 1, Name: "eth1"}, e.eth2.Index: {Index: 2, Name: "eth2"}, e.p2p.Index: {Index: 3, Name: "p2p"}}
	for id, n := range s.NextHops {
		n.Device = number[n.Device.Index]
		s.NextHops[id] = n
	}
	for key, r := range s.Routes {
		r.Hops = slices.Clone(r.Hops)
		for i := range r.Hops {
			r.Hops[i].Device = number[r.Hops[i].Device.Index]
		}
		s.Routes[key] = r
	}
	return s
}

// TestPrintedCommandDoesWhatTheOpDoes adds, replaces and deletes by ip in one
// namespace and by netlink in another, and compares after each step.
func TestPrintedCommandDoesWhatTheOpDoes(t *testing.T) {
	said, done := newEdge(t), newEdge(t)
	for _, f := range fib.Families {
		step := func(name string, verb fib.Verb, change func(fib.Object) fib.Object) {
			ops := func(e edge) []fib.Op {
				var ops []fib.Op
				for _, o := range printable(f, e.eth1, e.eth2, e.p2p) {
					if o = change(o); o != nil {
						ops = append(ops, fib.Op{Verb: verb, Object: o, Protocol: owner.Protocol})
					}
				}
				if verb == fib.Delete {
					slices.Reverse(ops)
				}
				return ops
			}
			said.run(t, ops(said))
			done.apply(t, ops(done))
			want, got := done.state(t), said.state(t)
			if diff := cmp.Diff(want, got, comparers); diff != "" {
				t.Errorf("%s %s (-op +command):\n%s", name, f, diff)
			}
			if empty := len(want.NextHops)+len(want.Groups)+len(want.Routes)+len(want.Rules) == 0; empty != (verb == fib.Delete) {
				t.Errorf("%s %s: the kernel holds %+v", name, f, want)
			}
		}
		step("add", fib.Add, func(o fib.Object) fib.Object { return o })
		step("replace", fib.Replace, replacement)
		step("delete", fib.Delete, func(o fib.Object) fib.Object {
			if r := replacement(o); r != nil {
				return r
			}
			return o
		})
	}
}

// replacement returns o with other content under the same key, nil for a rule.
func replacement(o fib.Object) fib.Object {
	switch o := o.(type) {
	case fib.NextHop:
		if o.Gateway.IsValid() && !o.OnLink {
			o.Gateway = o.Gateway.Next().Next()
		}
		return o
	case fib.Group:
		o.Members = slices.Clone(o.Members)
		o.Members[0].Weight = 7
		return o
	case fib.Route:
		o.Source = netip.Addr{}
		return o
	default:
		return nil
	}
}
