package fib_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// able is what a kernel without objects and with all capabilities holds.
func able() fib.State {
	s := fib.NewState()
	s.Capabilities = fib.Capabilities{NextHops: true, Resilient: true}
	return s
}

// groupOf is a desired state with one group and its default in table 221.
func groupOf(f fib.Family, kind fib.GroupType, buckets uint16, members ...fib.Member) fib.Desired {
	d := fib.Desired{
		Groups: []fib.Group{{ID: groupID(f), Type: kind, Buckets: buckets, Members: members}},
		Routes: []fib.Route{{Table: balanceTable, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, NextHopID: groupID(f)}},
	}
	for i := range members {
		d.NextHops = append(d.NextHops, fib.NextHop{
			ID: members[i].NextHop, Family: f, Device: device(i + 2), Gateway: addr(f, i+2, 1),
		})
	}
	return d
}

// members gives the n-th way the n-th weight; the last standbys of them stand by.
func members(f fib.Family, standbys int, weights ...int) []fib.Member {
	out := make([]fib.Member, len(weights))
	for i, w := range weights {
		out[i] = fib.Member{NextHop: hopID(i, f), Weight: w, Standby: i >= len(weights)-standbys}
	}
	return out
}

func TestLowerTwins(t *testing.T) {
	for _, f := range fib.Families {
		d := groupOf(f, fib.GroupResilient, 60, members(f, 1, 1, 1)...)
		alone := fib.NextHop{ID: hopID(9, f), Family: f, Device: device(11)}
		d.NextHops = append(d.NextHops, alone)
		want, _ := fib.Lower(d, able(), owner, nil)
		second := alone
		second.ID++
		expected := map[uint32]fib.NextHop{alone.ID: alone, second.ID: second}
		for n := range 2 {
			for id := hopID(n, f); id <= hopID(n, f)+1; id++ {
				expected[id] = fib.NextHop{ID: id, Family: f, Device: device(n + 2), Gateway: addr(f, n+2, 1)}
			}
		}
		if diff := cmp.Diff(expected, want.NextHops, comparers); diff != "" {
			t.Errorf("%s next hops (-want +got):\n%s", f, diff)
		}
	}
}

func TestLowerUsesStandbysWhenNothingIsActive(t *testing.T) {
	for _, f := range fib.Families {
		want, problems := fib.Lower(groupOf(f, fib.GroupResilient, 60, members(f, 2, 2, 3)...), able(), owner, nil)
		expected := []fib.Member{{NextHop: hopID(0, f), Weight: 170}, {NextHop: hopID(1, f), Weight: 255}}
		if diff := cmp.Diff(expected, want.Groups[groupID(f)].Members); diff != "" || len(problems) > 0 {
			t.Errorf("%s: problems %q, members (-want +got):\n%s", f, problems, diff)
		}
	}
}

func TestLowerNothingUsable(t *testing.T) {
	for _, f := range fib.Families {
		d := groupOf(f, fib.GroupResilient, 60, members(f, 1, 1, 1)...)
		want, problems := fib.Lower(d, able(), owner, map[uint32]bool{hopID(0, f): true, hopID(1, f): true})
		if len(want.Groups)+len(want.Routes)+len(want.NextHops) != 0 {
			t.Errorf("%s: something is left: %+v", f, want)
		}
		if len(problems) != 1 || !strings.Contains(problems[0], "no usable member") {
			t.Errorf("%s: problems %q", f, problems)
		}
	}
}

func TestLowerKeepsWhatCannotBeReplaced(t *testing.T) {
	for _, f := range fib.Families {
		d := groupOf(f, fib.GroupResilient, 60, members(f, 0, 1, 1)...)
		d.Routes = append(d.Routes, fib.Route{Table: 1000, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, NextHopID: hopID(0, f)})
		actual, _ := fib.Lower(d, able(), owner, nil)
		d.NextHops[0].Gateway, d.NextHops[1].Gateway = addr(f, 2, 9), addr(f, 3, 9)

		t.Run("one refused/"+f.String(), func(t *testing.T) {
			want, _ := fib.Lower(d, actual, owner, map[uint32]bool{hopID(0, f): true})
			if got := want.NextHops[hopID(0, f)]; got != actual.NextHops[hopID(0, f)] {
				t.Errorf("the refused next hop became %+v", got)
			}
			if got := want.Groups[groupID(f)].Members; len(got) != 1 || got[0].NextHop != hopID(1, f) {
				t.Errorf("the group became %v, want only the other way", got)
			}
			if len(want.Routes) != 2 {
				t.Errorf("routes %v, want both", want.Routes)
			}
		})
		t.Run("all refused/"+f.String(), func(t *testing.T) {
			want, problems := fib.Lower(d, actual, owner, map[uint32]bool{hopID(0, f): true, hopID(1, f): true})
			if diff := cmp.Diff(actual, want, comparers); diff != "" || len(problems) != 1 {
				t.Errorf("problems %q, state (-before +wanted):\n%s", problems, diff)
			}
		})
	}
}

// taken returns a state in which strangers hold the first n candidates of id.
func taken(id uint32, n int) fib.State {
	s := able()
	for i := range n {
		s.Taken[id+uint32(i)*stride] = 11
	}
	return s
}

func TestLNX_NH_19_ForeignIdIsPassedOver(t *testing.T) {
	for _, f := range fib.Families {
		for n := range 5 {
			for _, id := range []uint32{hopID(0, f), hopID(0, f) + 1, groupID(f)} {
				want, problems := fib.Lower(groupOf(f, fib.GroupResilient, 60, members(f, 0, 1)...), taken(id, n), owner, nil)
				lowered := id + uint32(n)*stride
				_, hop := want.NextHops[lowered]
				_, group := want.Groups[lowered]
				if free := n < 4; free != (hop || group) || free != (len(problems) == 0) {
					t.Errorf("%s id %d with %d candidates taken: hop %t group %t problems %q", f, id, n, hop, group, problems)
				}
				for key, r := range want.Routes {
					if _, ok := want.Groups[r.NextHopID]; !ok {
						t.Errorf("%s id %d with %d candidates taken: route %v points at %d, which is no group", f, id, n, key, r.NextHopID)
					}
				}
				for _, g := range want.Groups {
					for _, m := range g.Members {
						if _, ok := want.NextHops[m.NextHop]; !ok {
							t.Errorf("%s id %d with %d candidates taken: member %d is no next hop", f, id, n, m.NextHop)
						}
					}
				}
			}
		}
	}
}

func TestLNX_NH_13_WhatCannotChangeInPlaceMovesToAnotherId(t *testing.T) {
	for _, f := range fib.Families {
		other := fib.IPv4 + fib.IPv6 - f
		id, hop := groupID(f), hopID(0, f)
		group := func(kind fib.GroupType, buckets uint16) fib.Group {
			return fib.Group{ID: id, Type: kind, Buckets: buckets, Members: []fib.Member{{NextHop: hop, Weight: 255}}}
		}
		for _, tt := range []struct {
			name      string
			fill      func(*fib.State)
			hop, want uint32
		}{
			{"nothing there", func(*fib.State) {}, hop, id},
			{"same group", func(s *fib.State) { s.Groups[id] = group(fib.GroupResilient, 60) }, hop, id},
			{"other bucket count", func(s *fib.State) { s.Groups[id] = group(fib.GroupResilient, 120) }, hop, id + stride},
			{"other type", func(s *fib.State) { s.Groups[id] = group(fib.GroupHashThreshold, 0) }, hop, id + stride},
			{"already moved", func(s *fib.State) {
				s.Groups[id+2*stride] = group(fib.GroupResilient, 60)
			}, hop, id + 2*stride},
			{"a next hop has the id of the group", func(s *fib.State) { s.NextHops[id] = fib.NextHop{ID: id, Family: f} }, hop, id + stride},
			{"a group has the id of the next hop", func(s *fib.State) {
				g := group(fib.GroupResilient, 60)
				g.ID = hop
				s.Groups[hop] = g
			}, hop + stride, id},
			{"next hop of the other family", func(s *fib.State) { s.NextHops[hop] = fib.NextHop{ID: hop, Family: other} }, hop + stride, id},
		} {
			t.Run(tt.name+"/"+f.String(), func(t *testing.T) {
				actual := able()
				tt.fill(&actual)
				want, problems := fib.Lower(groupOf(f, fib.GroupResilient, 60, members(f, 0, 1)...), actual, owner, nil)
				if len(problems) > 0 {
					t.Errorf("problems %q", problems)
				}
				if g, ok := want.Groups[tt.want]; !ok || len(want.Groups) != 1 || g.Members[0].NextHop != tt.hop {
					t.Errorf("groups %v, want %d with member %d", want.Groups, tt.want, tt.hop)
				}
				for _, r := range want.Routes {
					if r.NextHopID != tt.want {
						t.Errorf("route points at %d, want %d", r.NextHopID, tt.want)
					}
				}
			})
		}
	}
}

func TestLNX_NH_20_OlderKernels(t *testing.T) {
	for _, f := range fib.Families {
		d := groupOf(f, fib.GroupResilient, 60, members(f, 1, 2, 3, 1)...)
		d.Groups[0].IdleTimer = time.Minute
		d.Routes = append(d.Routes, fib.Route{Table: 1000, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, NextHopID: hopID(2, f)})
		t.Run("no resilient groups/"+f.String(), func(t *testing.T) {
			actual := fib.NewState()
			actual.Capabilities.NextHops = true
			want, problems := fib.Lower(d, actual, owner, nil)
			expected := map[uint32]fib.Group{groupID(f): {ID: groupID(f), Type: fib.GroupHashThreshold, Members: []fib.Member{
				{NextHop: hopID(0, f), Weight: 2}, {NextHop: hopID(1, f), Weight: 3},
			}}}
			if diff := cmp.Diff(expected, want.Groups); diff != "" || len(problems) > 0 {
				t.Errorf("problems %q, groups (-want +got):\n%s", problems, diff)
			}
			if len(want.NextHops) != 3 {
				t.Errorf("next hops %v, want three without twins", want.NextHops)
			}
		})
		t.Run("no next-hop objects/"+f.String(), func(t *testing.T) {
			want, problems := fib.Lower(d, fib.NewState(), owner, nil)
			expected := map[fib.RouteKey]fib.Route{
				{Table: balanceTable, Dst: f.Any(), Metric: 1}: {
					Table: balanceTable, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: []fib.Hop{
						{Device: device(2), Gateway: addr(f, 2, 1), Weight: 2}, {Device: device(3), Gateway: addr(f, 3, 1), Weight: 3},
					}},
				{Table: 1000, Dst: f.Any(), Metric: 1}: {
					Table: 1000, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: []fib.Hop{
						{Device: device(4), Gateway: addr(f, 4, 1), Weight: 1},
					}},
			}
			if diff := cmp.Diff(expected, want.Routes, comparers); diff != "" || len(problems) > 0 {
				t.Errorf("problems %q, routes (-want +got):\n%s", problems, diff)
			}
			if len(want.NextHops)+len(want.Groups) > 0 {
				t.Errorf("objects on a kernel without: %v %v", want.NextHops, want.Groups)
			}
		})
	}
}

func TestLowerRefusesIdsThatCannotBeOurs(t *testing.T) {
	for _, f := range fib.Families {
		base := groupOf(f, fib.GroupResilient, 60, members(f, 0, 1)...)
		for _, tt := range []struct {
			name, problem string
			owner         fib.Owner
			change        func(*fib.Desired)
		}{
			{"next hop below the range", "next hop 998 lies outside", owner, func(d *fib.Desired) { d.NextHops[0].ID = 998 }},
			{"twin behind the quarter", "lies outside of ids 1000..3047", owner, func(d *fib.Desired) { d.NextHops[0].ID = 3047 }},
			{"group in the second quarter", "group 3048 lies outside", owner, func(d *fib.Desired) { d.Groups[0].ID = 3048 }},
			{"group on a twin", "a next hop already uses", owner, func(d *fib.Desired) { d.Groups[0].ID = hopID(0, f) + 1 }},
			{"same next hop twice", "already uses id", owner, func(d *fib.Desired) { d.NextHops = append(d.NextHops, d.NextHops[0]) }},
			{"same group twice", "a group already uses id", owner, func(d *fib.Desired) { d.Groups = append(d.Groups, d.Groups[0]) }},
			{"route to nowhere", "points at id 5, which is not among", owner, func(d *fib.Desired) { d.Routes[0].NextHopID = 5 }},
			{"no range", "lies outside", fib.Owner{Protocol: 99}, func(*fib.Desired) {}},
			{"tiny range", "lies outside", fib.Owner{Protocol: 99, NextHops: fib.Range{First: 1000, Last: 1002}}, func(*fib.Desired) {}},
		} {
			t.Run(tt.name+"/"+f.String(), func(t *testing.T) {
				d := fib.Desired{NextHops: slices.Clone(base.NextHops), Groups: slices.Clone(base.Groups), Routes: slices.Clone(base.Routes)}
				tt.change(&d)
				_, problems := fib.Lower(d, able(), tt.owner, nil)
				if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, tt.problem) }) {
					t.Errorf("problems %q, want %q", problems, tt.problem)
				}
			})
		}
	}
}

// TestLowerNormalises: what the kernel gives back in another form would be
// written again at every read.
func TestLowerNormalises(t *testing.T) {
	for _, f := range fib.Families {
		d := groupOf(f, fib.GroupResilient, 60, members(f, 0, 1)...)
		d.Groups[0].IdleTimer, d.Groups[0].UnbalancedTimer = 1004*time.Millisecond, 1006*time.Millisecond
		d.Groups = append(d.Groups, fib.Group{
			ID: groupID(f) + 2, Type: fib.GroupHashThreshold, Buckets: 60, IdleTimer: time.Second, Members: members(f, 0, 3),
		})
		hops := []fib.Hop{{Device: device(2), Weight: 7}}
		d.Routes = []fib.Route{{Table: 1000, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: hops}}
		d.Rules = []fib.Rule{{Family: f, Priority: 60, From: f.Any(), To: f.Any(), Table: 1000}}

		want, problems := fib.Lower(d, able(), owner, nil)
		if len(problems) > 0 {
			t.Errorf("%s: problems %q", f, problems)
		}
		if g := want.Groups[groupID(f)]; g.IdleTimer != time.Second || g.UnbalancedTimer != 1010*time.Millisecond {
			t.Errorf("%s: timers %s and %s, want 1s and 1.01s", f, g.IdleTimer, g.UnbalancedTimer)
		}
		if g := want.Groups[groupID(f)+2]; g.Buckets != 0 || g.IdleTimer != 0 {
			t.Errorf("%s: a plain group with %d buckets and idle timer %s", f, g.Buckets, g.IdleTimer)
		}
		for _, r := range want.Routes {
			if r.Hops[0].Weight != 1 {
				t.Errorf("%s: a lone hop of weight %d", f, r.Hops[0].Weight)
			}
		}
		if hops[0].Weight != 7 {
			t.Errorf("%s: the caller's hops were changed", f)
		}
		if want.Rules[fib.Rule{Family: f, Priority: 60, Table: 1000}] != 1 {
			t.Errorf("%s: rules %v, want one without selectors", f, want.Rules)
		}
	}
}
