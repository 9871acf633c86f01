package fib

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestObjectsRoundTrip(t *testing.T) {
	s := newSite(t)
	var all []Object
	for n, f := range Families {
		base := uint32(1000 + 100*n)
		all = append(all, s.hop(base+2, f, 1), s.hop(base+4, f, 2))
		onLink := s.hop(base+6, f, 1)
		onLink.Gateway, onLink.OnLink = s.addr(f, 9, 9), true
		direct := s.hop(base+8, f, 2)
		direct.Gateway, direct.OnLink = onLink.Gateway, true
		pointToPoint := NextHop{ID: base + 10, Family: f, Device: s.dev[2]}
		all = append(all, onLink, direct, pointToPoint,
			Group{ID: base + 50, Type: GroupHashThreshold, Members: []Member{{NextHop: base + 2, Weight: 1}, {NextHop: base + 4, Weight: 255}}},
			Group{
				ID: base + 51, Type: GroupResilient, Members: []Member{{NextHop: base + 2, Weight: 7}, {NextHop: base + 4, Weight: 3}},
				Buckets: 120, IdleTimer: 15 * time.Second, UnbalancedTimer: 70 * time.Second,
			},
		)
		all = append(all, s.everyRoute(f, base)...)
		all = append(all, everyRule(s, f)...)
	}
	s.apply(Add, all...)
	s.wantState(all...)

	t.Run("iproute2 prints what the ops say", func(t *testing.T) {
		for n, f := range Families {
			base := uint32(1000 + 100*n)
			s.shows(s.ip(f, "nexthop show"),
				fmt.Sprintf("id %d via %s dev eth1 scope link proto 133", base+2, s.gateway(f, 1)),
				fmt.Sprintf("id %d dev eth2 scope", base+10))
			s.shows(s.ip(FamilyUnknown, "nexthop show"),
				fmt.Sprintf("id %d group %d/%d,255 proto 133", base+50, base+2, base+4),
				fmt.Sprintf("id %d group %d,7/%d,3 type resilient buckets 120 idle_timer 15 unbalanced_timer 70 unbalanced_time 0 proto 133", base+51, base+2, base+4))
			s.shows(s.ip(f, "route show table 221"),
				fmt.Sprintf("default nhid %d", base+51), "prohibit default", "metric 4278198272")
			s.shows(s.ip(f, "route show table 70000"), "weight 256", "weight 3")
			s.shows(s.ip(f, "rule show"),
				"49: from all to "+s.prefix(f, 1, 0).String()+" goto 220 proto 133",
				"50: from all lookup main suppress_prefixlength 0 proto 133",
				"201: from "+s.addr(f, 1, 1).String()+" lookup 202 proto 133",
				"211: from all fwmark 0x100/0xff00 lookup 70000 proto 133")
		}
	})
	t.Run("adding what is there succeeds", func(t *testing.T) { s.apply(Add, all...); s.wantState(all...) })
	t.Run("replacing with the same succeeds", func(t *testing.T) { s.apply(Replace, all...); s.wantState(all...) })
	t.Run("deleting all, twice", func(t *testing.T) {
		backwards := make([]Object, 0, len(all))
		for i := range all {
			backwards = append(backwards, all[len(all)-1-i])
		}
		s.apply(Delete, backwards...)
		s.wantState()
		s.apply(Delete, backwards...)
	})
}

// everyRoute has one route of each shape that encodeRoute knows.
func (s *site) everyRoute(f Family, base uint32) []Object {
	dst := s.prefix(f, 77, 0)
	routes := []Object{
		Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: base + 51},
		Route{Table: 221, Dst: f.Any(), Metric: 4278198272, Type: RouteProhibit},
		Route{Table: 221, Dst: f.Any(), Metric: 5, Type: RouteUnreachable},
		Route{Table: 221, Dst: f.Any(), Metric: 6, Type: RouteBlackhole},
		Route{Table: 221, Dst: dst, Metric: 1, Type: RouteUnicast, NextHopID: base + 50},
		Route{Table: 202, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: base + 2, Source: s.addr(f, 1, 1)},
		Route{Table: 203, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: base + 10},
		Route{Table: 202, Dst: s.prefix(f, 1, 0), Metric: 1, Type: RouteUnicast, Hops: []Hop{{Device: s.dev[1], Weight: 1}}},
		Route{Table: 203, Dst: f.Any(), Metric: 2, Type: RouteUnicast, Hops: []Hop{s.inline(f, 2, 1)}, Source: s.addr(f, 2, 1)},
		Route{Table: 203, Dst: f.Any(), Metric: 3, Type: RouteUnicast, Hops: []Hop{{Device: s.dev[2], Gateway: s.addr(f, 9, 9), OnLink: true, Weight: 1}}},
		Route{Table: 70000, Dst: f.Any(), Metric: 1, Type: RouteUnicast, Hops: []Hop{s.inline(f, 1, 256), s.inline(f, 2, 3)}},
		Route{Table: 70000, Dst: dst, Metric: 1, Type: RouteUnicast, Hops: []Hop{
			{Device: s.dev[1], Gateway: s.addr(f, 9, 9), OnLink: true, Weight: 2}, s.inline(f, 2, 1),
		}},
	}
	if f == IPv4 {
		routes = append(routes,
			Route{Table: 70001, Dst: f.Any(), Metric: 1, Type: RouteUnicast, Hops: []Hop{{Device: s.dev[1], Gateway: s.gateway(IPv6, 1), Weight: 1}}},
			Route{Table: 70001, Dst: f.Any(), Metric: 2, Type: RouteUnicast, Hops: []Hop{
				{Device: s.dev[1], Gateway: s.gateway(IPv6, 1), Weight: 1}, {Device: s.dev[2], Weight: 4},
			}})
	}
	return routes
}

func everyRule(s *site, f Family) []Object {
	return []Object{
		Rule{Family: f, Priority: 220, Table: 254, MinPrefixLen: 1},
		Rule{Family: f, Priority: 49, To: s.prefix(f, 1, 0).Masked(), Goto: 220},
		Rule{Family: f, Priority: 50, Table: 254, MinPrefixLen: 1},
		Rule{Family: f, Priority: 201, From: hostPrefix(s.addr(f, 1, 1)), Table: 202},
		Rule{Family: f, Priority: 201, From: hostPrefix(s.addr(f, 2, 1)), Table: 202},
		Rule{Family: f, Priority: 211, Mark: 0x100, Mask: 0xff00, Table: 70000},
		Rule{Family: f, Priority: 212, Mask: 0xff00, Table: 70000},
		Rule{Family: f, Priority: 221, Table: 221, MinPrefixLen: 17},
	}
}

// TestReplaceInPlace walks one key through every kind of content: each must take
// the place of the one before, with no moment without a route.
func TestReplaceInPlace(t *testing.T) {
	s := newSite(t)
	for n, f := range Families {
		base := uint32(1000 + 100*n)
		group := Group{ID: base + 50, Type: GroupHashThreshold, Members: []Member{{NextHop: base + 2, Weight: 1}, {NextHop: base + 4, Weight: 1}}}
		objects := []Object{s.hop(base+2, f, 1), s.hop(base+4, f, 2), group}
		s.apply(Add, objects...)
		key := Route{Table: 221, Dst: f.Any(), Metric: 1}
		contents := []Route{
			{Type: RouteProhibit},
			{Type: RouteUnicast, NextHopID: base + 50},
			{Type: RouteUnicast, Hops: []Hop{s.inline(f, 1, 1)}},
			{Type: RouteUnicast, Hops: []Hop{s.inline(f, 1, 1), s.inline(f, 2, 5)}},
			{Type: RouteUnicast, Hops: []Hop{s.inline(f, 2, 7), s.inline(f, 1, 2)}},
			{Type: RouteUnreachable},
			{Type: RouteUnicast, Hops: []Hop{{Device: s.dev[1], Weight: 1}}},
			{Type: RouteUnicast, NextHopID: base + 2},
			{Type: RouteBlackhole},
			{Type: RouteUnicast, Hops: []Hop{s.inline(f, 1, 1), s.inline(f, 2, 1)}},
			{Type: RouteUnicast, NextHopID: base + 4},
		}
		for _, r := range contents {
			r.Table, r.Dst, r.Metric = key.Table, key.Dst, key.Metric
			s.apply(Replace, r)
			got := s.list()
			if len(got.Routes) != 1 || len(got.Strays) != 0 || !got.Routes[r.Key()].equal(r) {
				t.Fatalf("%s: after replacing with %+v the kernel has %+v, strays %v", f, r, got.Routes, got.Strays)
			}
		}
		last := contents[len(contents)-1]
		last.Table, last.Dst, last.Metric = key.Table, key.Dst, key.Metric
		s.apply(Delete, last, group, objects[1], objects[0])
		s.wantState()
	}
}

func TestApplyKeepsTheKernelsWords(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		good := Route{Table: 221, Dst: f.Any(), Metric: 7, Type: RouteProhibit}
		bad := Route{Table: 221, Dst: f.Any(), Metric: 8, Type: RouteUnicast, NextHopID: 4242}
		errs := s.k.Apply(context.Background(), []Op{
			{Verb: Replace, Object: bad, Protocol: testOwner.Protocol},
			{Verb: Replace, Object: good, Protocol: testOwner.Protocol},
			{Verb: Add, Object: Group{ID: 1500, Type: GroupHashThreshold, Members: []Member{{NextHop: 4242, Weight: 1}}}, Protocol: testOwner.Protocol},
			{Verb: Add, Object: Route{Table: 221, Dst: f.Any(), Metric: 9, Type: RouteUnicast}, Protocol: testOwner.Protocol},
		})
		if errs[1] != nil {
			t.Errorf("an op behind a failing one: %v", errs[1])
		}
		for i, want := range map[int]string{
			0: fmt.Sprintf("replace %s route default metric 8 table 221: Nexthop id does not exist: invalid argument", f),
			2: "add group 1500: Invalid nexthop id: invalid argument",
			3: fmt.Sprintf("add %s route default metric 9 table 221: unicast needs either a next hop id or hops", f),
		} {
			if errs[i] == nil || errs[i].Error() != want {
				t.Errorf("op %d: error %v, want %q", i, errs[i], want)
			}
		}
		if !errors.Is(errs[0], unix.EINVAL) {
			t.Errorf("%v does not wrap EINVAL", errs[0])
		}
	}
}

// TestApplyBatches writes more than one batch, one op of which fails in the
// middle.
func TestApplyBatches(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		const n, wrong = 3*maxBatch + 5, maxBatch + 7
		ops := make([]Op, n)
		for i := range ops {
			r := Route{Table: 221, Dst: f.Any(), Metric: uint32(i + 1), Type: RouteBlackhole}
			if i == wrong {
				r.Type, r.NextHopID = RouteUnicast, 4242
			}
			ops[i] = Op{Verb: Add, Object: r, Protocol: testOwner.Protocol}
		}
		for i, err := range s.k.Apply(context.Background(), ops) {
			if (err != nil) != (i == wrong) {
				t.Errorf("%s: op %d: error %v", f, i, err)
			}
		}
		out := s.ip(f, "route show table 221")
		if got := strings.Count(out, "blackhole default"); got != n-1 {
			t.Errorf("%s: ip shows %d routes, want %d", f, got, n-1)
		}
		for i := range ops {
			ops[i].Verb = Delete
		}
		for i, err := range s.k.Apply(context.Background(), ops) {
			if err != nil {
				t.Errorf("%s: delete %d: %v", f, i, err)
			}
		}
		s.wantState()
	}
}

// A delete succeeds and leaves nothing although the kernel has taken a part of
// the route, or all of it, away meanwhile.
func TestDeleteAfterAHopHasGone(t *testing.T) {
	s := newSite(t)
	var objects []Object
	for n, f := range Families {
		id := uint32(1002 + 100*n)
		objects = append(objects, Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteUnicast, Hops: []Hop{s.inline(f, 2, 1), s.inline(f, 1, 1)}},
			Route{Table: 222, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: id}, s.hop(id, f, 2))
		s.apply(Add, objects[len(objects)-1], objects[len(objects)-2], objects[len(objects)-3])
	}
	s.ip(FamilyUnknown, "link del eth2")
	s.apply(Delete, objects...)
	s.wantState()
}

// An IPv6 route is deleted whole, also when somebody has added a hop to it: it is
// one object under one key. (IPv4 keeps such a hop as a route of its own, which
// List shows as a stray.)
func TestDeleteTakesAWholeIPv6Route(t *testing.T) {
	s := newSite(t)
	route := Route{Table: 221, Dst: IPv6.Any(), Metric: 1, Type: RouteUnicast, Hops: []Hop{s.inline(IPv6, 2, 1), s.inline(IPv6, 1, 1)}}
	s.apply(Add, route)
	s.ip(IPv6, "route append default via %s dev eth1 metric 1 table 221 proto 133", s.addr(IPv6, 1, 9))
	s.apply(Delete, route)
	s.wantState()
}
