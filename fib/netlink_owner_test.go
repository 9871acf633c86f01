package fib

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// refused fails unless err is EEXIST and names who is in the way.
func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, unix.EEXIST) {
		t.Errorf("error %v, want EEXIST", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// A stranger's route under our key is neither overwritten nor taken for ours.
func TestLNX_RT_13_ForeignRouteIsNotReplaced(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.ip(f, "route add default via %s dev eth1 metric 1 table 221 proto static", s.gateway(f, 1))
		before := s.ip(f, "route show table 221")
		ours := Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteProhibit}
		for _, v := range []Verb{Add, Replace} {
			refused(t, s.try(v, ours)[0], "foreign route", "proto static", "default metric 1 table 221",
				"remove it with: "+strings.Join(ip(f), " ")+" route del default table 221 metric 1 proto static")
		}
		if after := s.ip(f, "route show table 221"); after != before {
			t.Errorf("%s: the stranger's route changed from %q to %q", f, before, after)
		}
	}
	s.wantState()
}

// The same among many: a bulk of additions names the one that is taken, and one
// that we hold with other content.
func TestAddOfWhatIsThere(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.ip(f, "route add blackhole default metric 5 table 221 proto bird")
		var objects []Object
		for metric := uint32(1); metric <= 150; metric++ {
			objects = append(objects, Route{Table: 221, Dst: f.Any(), Metric: metric, Type: RouteProhibit})
		}
		s.apply(Add, Route{Table: 221, Dst: f.Any(), Metric: 7, Type: RouteUnreachable}, objects[8])
		for i, err := range s.try(Add, objects...) {
			switch i + 1 {
			case 5:
				refused(t, err, "proto bird")
			case 7:
				refused(t, err, "other content")
			default:
				if err != nil {
					t.Errorf("%s metric %d: %v", f, i+1, err)
				}
			}
		}
	}
}

// A delete that names our protocol leaves a stranger's route of the same key.
func TestLNX_RT_14_DeleteCarriesProtocol(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		for metric, line := range map[int]string{
			1: fmt.Sprintf("default via %s dev eth1", s.gateway(f, 1)),
			2: "prohibit default",
		} {
			s.ip(f, "route add %s metric %d table 221 proto static", line, metric)
		}
		before := s.ip(f, "route show table 221")
		s.apply(Delete,
			Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteUnicast, Hops: []Hop{s.inline(f, 1, 1)}},
			Route{Table: 221, Dst: f.Any(), Metric: 2, Type: RouteProhibit},
			Route{Table: 221, Dst: f.Any(), Metric: 1})
		if after := s.ip(f, "route show table 221"); after != before {
			t.Errorf("%s: a stranger's routes changed from %q to %q", f, before, after)
		}
	}
}

// An IPv6 route of ours never joins a stranger's of the same metric.
func TestLNX_RT_15_NeverAppends(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.ip(f, "route add default via %s dev eth1 metric 1 table 221 proto static", s.gateway(f, 1))
		before := s.ip(f, "route show table 221")
		for _, v := range []Verb{Add, Replace} {
			refused(t, s.try(v, Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteUnicast, Hops: []Hop{s.inline(f, 2, 1)}})[0])
		}
		if after := s.ip(f, "route show table 221"); after != before {
			t.Errorf("%s: the stranger's route changed from %q to %q", f, before, after)
		}
	}
}

// Ids of our range that strangers hold are reported, and nothing of theirs is
// replaced or deleted, although the kernel would do either by id alone.
func TestLNX_NH_19_ForeignIdsAreTaken(t *testing.T) {
	s := newSite(t)
	s.ip(IPv4, "nexthop add id 1002 via %s dev eth1 proto zebra", s.gateway(IPv4, 1))
	s.ip(IPv6, "nexthop add id 1004 via %s dev eth1", s.gateway(IPv6, 1))
	s.ip(FamilyUnknown, "nexthop add id 1050 group 1002/1004 proto bird")
	s.ip(IPv4, "nexthop add id 999 via %s dev eth1 proto 133", s.gateway(IPv4, 1))
	before := s.ip(FamilyUnknown, "nexthop show")

	got := s.list()
	if diff := cmp.Diff(map[uint32]uint8{1002: unix.RTPROT_ZEBRA, 1004: 0, 1050: unix.RTPROT_BIRD}, got.Taken); diff != "" {
		t.Errorf("taken ids (-want +got):\n%s", diff)
	}
	if len(got.NextHops)+len(got.Groups) != 0 {
		t.Errorf("strangers' next hops are listed as ours: %+v", got)
	}
	for _, v := range []Verb{Add, Replace} {
		refused(t, s.try(v, s.hop(1002, IPv4, 2))[0], "next hop 1002", "proto zebra")
		refused(t, s.try(v, s.hop(1004, IPv6, 2))[0], "next hop 1004")
		refused(t, s.try(v, Group{ID: 1050, Type: GroupHashThreshold, Members: []Member{{NextHop: 1002, Weight: 9}}})[0], "group 1050", "proto bird")
	}
	s.apply(Delete, s.hop(1002, IPv4, 2), s.hop(1004, IPv6, 2), Group{ID: 1050})
	if after := s.ip(FamilyUnknown, "nexthop show"); after != before {
		t.Errorf("strangers' next hops changed from\n%sto\n%s", before, after)
	}
}

// A next hop of a bridge's forwarding database is nobody's route, even with our
// protocol and an id of our range.
func TestLNX_NH_18_FDBNextHopsAreSkipped(t *testing.T) {
	s := newSite(t)
	s.ip(FamilyUnknown, "nexthop add id 1002 via %s fdb proto 133", s.gateway(IPv4, 1))
	got := s.list()
	if len(got.NextHops) != 0 || got.Taken[1002] != testOwner.Protocol {
		t.Fatalf("an fdb next hop is listed as %+v, taken %v", got.NextHops, got.Taken)
	}
	refused(t, s.try(Replace, s.hop(1002, IPv4, 1))[0])
	s.apply(Delete, s.hop(1002, IPv4, 1))
	s.shows(s.ip(FamilyUnknown, "nexthop show"), "id 1002 via "+s.gateway(IPv4, 1).String()+" scope link proto 133 fdb")
}

// Objects with our protocol outside of our ranges are somebody else's.
func TestListKeepsToTheOwner(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.ip(f, "rule add pref 39 lookup 221 proto 133")
		s.ip(f, "rule add pref 231 lookup 221 proto 133")
		s.ip(f, "rule add pref 100 lookup 221 proto static")
		s.ip(f, "rule add pref 101 lookup 221 iif eth1 proto static")
		s.ip(f, "route add prohibit default metric 9 table 221 proto 134")
	}
	s.wantState()
}

// strangeObjects makes objects with our mark that nobody here writes.
func (s *site) strangeObjects() {
	s.t.Helper()
	for n, f := range Families {
		id := uint32(1002 + 100*n)
		s.ip(f, "nexthop add id %d blackhole proto 133", id)
		s.ip(f, "route add throw default metric 3 table 221 proto 133")
		s.ip(f, "route add default via %s dev eth1 metric 4 table 221 proto 133 mtu 1400", s.gateway(f, 1))
	}
	s.ip(IPv4, "route add default via %s dev eth1 tos 0x10 metric 5 table 221 proto 133", s.gateway(IPv4, 1))
	s.ip(IPv4, "route add default via %s dev eth1 metric 6 table 221 proto 133", s.gateway(IPv4, 1))
	s.ip(IPv4, "route append default via %s dev eth2 metric 6 table 221 proto 133", s.gateway(IPv4, 2))
	s.ip(IPv6, "route add default from 2001:db8:5::/48 via %s dev eth1 metric 5 table 221 proto 133", s.gateway(IPv6, 1))
	for _, f := range Families {
		s.ip(f, "rule add pref 100 iif eth1 lookup 222 proto 133")
		s.ip(f, "rule add pref 101 oif eth1 lookup 222 proto 133")
		s.ip(f, "rule add pref 102 to %s unreachable proto 133", s.prefix(f, 77, 0))
		s.ip(f, "rule add pref 103 not from %s lookup 222 proto 133", s.addr(f, 1, 1))
		s.ip(f, "rule add pref 104 tos 0x10 lookup 222 proto 133")
		s.ip(f, "rule add pref 105 ipproto tcp dport 80-90 lookup 222 proto 133")
		s.ip(f, "rule add pref 106 uidrange 1-5 lookup 222 proto 133")
	}
}

// What carries our mark in a shape of its own is listed so that a plan sees it:
// under its key if that can be expressed, as a stray if not; and it can be
// removed without touching its neighbours.
func TestStrangeObjectsOfOurs(t *testing.T) {
	s := newSite(t)
	s.strangeObjects()
	got := s.list()
	for n, f := range Families {
		id := uint32(1002 + 100*n)
		if h, ok := got.NextHops[id]; !ok || h.Family != FamilyUnknown {
			t.Errorf("%s: a blackhole next hop is listed as %+v", f, h)
		}
		for _, metric := range []uint32{3, 4} {
			key := RouteKey{221, f.Any(), metric}
			if r, ok := got.Routes[key]; !ok || r.Type != RouteUnknown || len(r.Hops) != 0 {
				t.Errorf("%s: a route that nobody here writes is listed as %+v", f, r)
			}
		}
	}
	if len(got.Rules) != 0 {
		t.Errorf("rules that Rule cannot express are listed as %v", got.Rules)
	}
	var texts []string
	for _, stray := range got.Strays {
		texts = append(texts, stray.Text)
	}
	all := strings.Join(texts, "\n")
	if len(got.Strays) != 2*7+2+1 {
		t.Errorf("%d strays, want 17:\n%s", len(got.Strays), all)
	}
	for _, want := range []string{
		"rule 100 (ipv4): iif eth1", "rule 101 (ipv6): oif eth1", "rule 102 (ipv4): action 7", "rule 103 (ipv6): not",
		"route default metric 5 table 221: tos 0x10", "route default metric 6 table 221: a second route under the same key",
		"route default metric 5 table 221: a source prefix of length 48",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no stray %q among\n%s", want, all)
		}
	}

	t.Run("replaced in place", func(t *testing.T) {
		for n, f := range Families {
			s.apply(Replace, s.hop(uint32(1002+100*n), f, 1), Route{Table: 221, Dst: f.Any(), Metric: 3, Type: RouteProhibit})
		}
		now := s.list()
		for n, f := range Families {
			if now.NextHops[uint32(1002+100*n)].Family != f || now.Routes[RouteKey{221, f.Any(), 3}].Type != RouteProhibit {
				t.Errorf("%s: not replaced: %+v", f, now)
			}
		}
	})
	t.Run("deleted", func(t *testing.T) {
		now := s.list()
		var objects []Object
		for _, stray := range now.Strays {
			objects = append(objects, stray)
		}
		s.apply(Delete, objects...)
		s.apply(Delete, objects...) // What is gone is gone.
		if left := s.list(); len(left.Strays) != 0 || len(left.Routes) != len(now.Routes) {
			t.Errorf("after deleting strays: %v left, routes %v", left.Strays, left.Routes)
		}
		objects = nil
		for _, r := range now.Routes {
			objects = append(objects, r)
		}
		for _, h := range now.NextHops {
			objects = append(objects, h)
		}
		s.apply(Delete, objects...)
		s.wantState()
	})
}

// The kernel deletes the first rule that agrees with what a delete says. Ours
// takes the meant one, and the others stay, also where they come first.
func TestDeleteOfARuleIsExact(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		wide := Rule{Family: f, Priority: 201, Table: 202}
		narrow := Rule{Family: f, Priority: 201, Table: 202, From: hostPrefix(s.addr(f, 1, 1)), MinPrefixLen: 1}
		marked := Rule{Family: f, Priority: 201, Table: 202, Mark: 1, Mask: 1}
		s.ip(f, "rule add pref 201 lookup 202 from %s proto static", s.addr(f, 1, 1))
		s.ip(f, "rule add pref 201 lookup 202 iif eth1 proto 133")
		s.apply(Add, narrow, marked, wide)
		s.apply(Delete, wide)
		got := s.list()
		if got.Rules[narrow] != 1 || got.Rules[marked] != 1 || got.Rules[wide] != 0 {
			t.Errorf("%s: after deleting the wide rule: %v", f, got.Rules)
		}
		s.apply(Delete, wide)
		s.shows(s.ip(f, "rule show"), "201: from "+s.addr(f, 1, 1).String()+" lookup 202 proto static")
		errs := s.k.Apply(context.Background(), []Op{
			{Verb: Add, Object: wide, Protocol: testOwner.Protocol},
			{Verb: Delete, Object: marked, Protocol: testOwner.Protocol},
			{Verb: Delete, Object: wide, Protocol: testOwner.Protocol},
		})
		if err := errors.Join(errs...); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if got := s.list(); len(got.Rules) != 1 || got.Rules[narrow] != 1 {
			t.Errorf("%s: left: %v", f, got.Rules)
		}
		s.apply(Delete, narrow)
	}
}

// A rule counts as ours by its protocol: an equal one of a stranger neither
// satisfies an addition nor suffers from a delete; copies are counted.
func TestRulesOfStrangersAndCopies(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		rule := Rule{Family: f, Priority: 201, Table: 202}
		s.ip(f, "rule add pref 201 lookup 202 proto static")
		s.apply(Delete, rule)
		s.apply(Add, rule)
		if got := s.list(); got.Rules[rule] != 1 {
			t.Errorf("%s: rules %v", f, got.Rules)
		}
		twice := request{unix.RTM_NEWRULE, unix.NLM_F_ACK | unix.NLM_F_CREATE, func() []byte {
			w := &builder{}
			encodeRuleBody(w, rule, testOwner.Protocol)
			return w.b
		}()}
		s.must(s.k.ask(context.Background(), &s.k.writer, []request{twice}, func(_ int, _ header, _ []byte, err error) { s.must(err) }))
		if got := s.list(); got.Rules[rule] != 2 {
			t.Errorf("%s: two copies are counted as %v", f, got.Rules)
		}
		s.apply(Delete, rule, rule)
		s.shows(s.ip(f, "rule show"), "201: from all lookup 202 proto static")
	}
	s.wantState()
}
