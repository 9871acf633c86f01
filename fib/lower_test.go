package fib_test

import (
	"fmt"
	"math/rand/v2"
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

// bucketSplit is nh_res_group_rebalance of net/ipv4/nexthop.c: the upper bounds
// are DIV_ROUND_CLOSEST of the cumulative weights.
func bucketSplit(buckets int, weights []int) []int {
	total := 0
	for _, w := range weights {
		total += w
	}
	out := make([]int, len(weights))
	sum, lower := 0, 0
	for i, w := range weights {
		sum += w
		upper := (buckets*sum + total/2) / total
		out[i] = upper - lower
		lower = upper
	}
	return out
}

func weightsOf(members []fib.Member) []int {
	var out []int
	for _, m := range members {
		out = append(out, m.Weight)
	}
	return out
}

func TestLowerScalesWeights(t *testing.T) {
	for _, tt := range []struct {
		name          string
		kind          fib.GroupType
		weights, want []int
	}{
		{"largest becomes 255", fib.GroupResilient, []int{2, 3}, []int{170, 255}},
		{"equal", fib.GroupResilient, []int{7, 7, 7}, []int{255, 255, 255}},
		{"small ones stay above zero", fib.GroupResilient, []int{1, 256}, []int{1, 255}},
		{"rounds to the nearest", fib.GroupResilient, []int{1, 7}, []int{36, 255}},
		{"single", fib.GroupResilient, []int{256}, []int{255}},
		{"plain groups keep what fits", fib.GroupHashThreshold, []int{2, 3}, []int{2, 3}},
		{"plain groups are capped", fib.GroupHashThreshold, []int{128, 256}, []int{128, 255}},
		{"wrong weights are put in range", fib.GroupHashThreshold, []int{0, -3, 255}, []int{1, 1, 255}},
		{"nothing but wrong weights", fib.GroupResilient, []int{0, 0}, []int{255, 255}},
		{"too large", fib.GroupResilient, []int{1000, 128}, []int{255, 128}},
	} {
		for _, f := range fib.Families {
			t.Run(fmt.Sprintf("%s/%s", tt.name, f), func(t *testing.T) {
				want, problems := fib.Lower(groupOf(f, tt.kind, 60, members(f, 0, tt.weights...)...), able(), owner, nil)
				if diff := cmp.Diff(tt.want, weightsOf(want.Groups[groupID(f)].Members)); diff != "" {
					t.Errorf("weights (-want +got):\n%s", diff)
				}
				wrong := slices.ContainsFunc(tt.weights, func(w int) bool { return w < 1 || w > fib.MaxWeight })
				if wrong != (len(problems) > 0) {
					t.Errorf("weights %v gave the problems %q", tt.weights, problems)
				}
			})
		}
	}
}

// subsets calls each with every subset of members, in order.
func subsets(members []fib.Member, each func([]fib.Member)) {
	for bits := range 1 << len(members) {
		var sub []fib.Member
		for i, m := range members {
			if bits&(1<<i) != 0 {
				sub = append(sub, m)
			}
		}
		each(sub)
	}
}

// standbyBuckets returns the buckets of the standbys of a group that consists of
// these members.
func standbyBuckets(buckets int, actives, standbys []fib.Member) int {
	sum := 0
	for _, n := range bucketSplit(buckets, weightsOf(slices.Concat(actives, standbys)))[len(actives):] {
		sum += n
	}
	return sum
}

func TestLowerStandbysOwnNoBucket(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	sizes := []uint16{1, 8, 32, 60, 64, 120, 127, 128, 129, 255, 1024}
	some := 0
	for range 3000 {
		f := fib.Families[rnd.IntN(2)]
		nActive, nStandby := 1+rnd.IntN(4), rnd.IntN(4)
		weights := make([]int, nActive+nStandby)
		for i := range weights {
			weights[i] = 1 + rnd.IntN(1<<rnd.IntN(9))
		}
		buckets := sizes[rnd.IntN(len(sizes))]
		want, problems := fib.Lower(groupOf(f, fib.GroupResilient, buckets, members(f, nStandby, weights...)...), able(), owner, nil)
		if len(problems) > 0 {
			t.Fatalf("weights %v: %q", weights, problems)
		}
		got := want.Groups[groupID(f)].Members
		actives, standbys := got[:nActive], got[nActive:]
		some += len(standbys)
		subsets(actives, func(live []fib.Member) {
			subsets(standbys, func(behind []fib.Member) {
				n := standbyBuckets(int(buckets), live, behind)
				switch {
				case len(behind) == 0:
				case len(live) > 0 && n != 0:
					t.Fatalf("weights %v, %d buckets: %d buckets for the standbys %v behind %v", weights, buckets, n, behind, live)
				case len(live) == 0 && n != int(buckets):
					t.Fatalf("weights %v, %d buckets: standbys %v alone get %d", weights, buckets, behind, n)
				}
			})
		})
		if len(standbys) == nStandby {
			continue
		}
		more := append(slices.Clone(standbys), fib.Member{Weight: 1})
		smallest := slices.MinFunc(actives, func(a, b fib.Member) int { return a.Weight - b.Weight })
		if standbyBuckets(int(buckets), []fib.Member{smallest}, more) == 0 {
			t.Fatalf("weights %v, %d buckets: only %d of %d standbys, although one more would have no bucket", weights, buckets, len(standbys), nStandby)
		}
	}
	if some == 0 {
		t.Fatal("no group had a standby: the test shows nothing")
	}
}

func TestLowerStandbysOfUsualSites(t *testing.T) {
	for _, tt := range []struct {
		name     string
		buckets  uint16
		weights  []int
		standbys int
		want     int // standbys in the kernel
	}{
		{"one active, one standby, small site", 60, []int{1, 1}, 1, 1},
		{"one active, one standby, large site", 120, []int{1, 1}, 1, 1},
		{"one active, two standbys, small site", 60, []int{1, 1, 1}, 2, 2},
		{"one active, two standbys, large site", 120, []int{1, 1, 1}, 2, 1},
		{"2:3 and a standby, small site", 60, []int{2, 3, 1}, 1, 1},
		{"2:3 and a standby, large site", 120, []int{2, 3, 1}, 1, 0},
		{"1:10 and a standby: the two protect each other", 60, []int{1, 10, 1}, 1, 0},
	} {
		for _, f := range fib.Families {
			t.Run(fmt.Sprintf("%s/%s", tt.name, f), func(t *testing.T) {
				want, _ := fib.Lower(groupOf(f, fib.GroupResilient, tt.buckets, members(f, tt.standbys, tt.weights...)...), able(), owner, nil)
				got := want.Groups[groupID(f)].Members
				if n := len(got) - (len(tt.weights) - tt.standbys); n != tt.want {
					t.Errorf("%d standbys, want %d: %v", n, tt.want, got)
				}
				for i := range tt.want {
					if m := got[len(got)-tt.want+i]; m.NextHop != hopID(len(tt.weights)-tt.standbys+i, f)+1 || m.Weight != 1 || m.Standby {
						t.Errorf("standby %d is %+v, want the twin with weight 1", i, m)
					}
				}
			})
		}
	}
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

func TestLNX_NH_15_WeightsFitEveryKernel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		f := fib.Families[rnd.IntN(2)]
		weights := []int{1 + rnd.IntN(fib.MaxWeight), 1 + rnd.IntN(fib.MaxWeight), fib.MaxWeight}
		for _, kind := range []fib.GroupType{fib.GroupResilient, fib.GroupHashThreshold} {
			d := groupOf(f, kind, 60, members(f, 0, weights...)...)
			want, _ := fib.Lower(d, able(), owner, nil)
			for _, w := range weightsOf(want.Groups[groupID(f)].Members) {
				if w < 1 || w > 255 {
					t.Fatalf("%v became weight %d in a %s group", weights, w, kind)
				}
			}
			want, _ = fib.Lower(d, fib.NewState(), owner, nil)
			for _, r := range want.Routes {
				for i, h := range r.Hops {
					if h.Weight != weights[i] {
						t.Fatalf("%v became weight %d in an inline route", weights, h.Weight)
					}
				}
			}
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

// TestLNX_RES_04_SharesOfBuckets shows what 60 and 120 buckets carry. The row asks
// for eight buckets per unit of the reduced weights; a table of fixed size gives
// that only up to a sum of 7 (60 buckets) and 15 (120). Up to there a share is
// exact where the sum divides the table, and less than a bucket off otherwise.
// Beyond, the rounding of weights to 255 adds to it: with weights up to 8 a share
// is off by less than a bucket and a half.
func TestLNX_RES_04_SharesOfBuckets(t *testing.T) {
	for _, buckets := range []int{60, 120} {
		for a := 1; a <= 8; a++ {
			for b := 1; b <= 8; b++ {
				for c := range 9 { // 0: no third member
					checkShares(t, buckets, slices.DeleteFunc([]int{a, b, c}, func(w int) bool { return w == 0 }))
				}
			}
		}
	}
}

func checkShares(t *testing.T, buckets int, weights []int) {
	t.Helper()
	sum := 0
	for _, w := range weights {
		sum += w
	}
	want, _ := fib.Lower(groupOf(fib.IPv4, fib.GroupResilient, uint16(buckets), members(fib.IPv4, 0, weights...)...), able(), owner, nil)
	for i, n := range bucketSplit(buckets, weightsOf(want.Groups[groupID(fib.IPv4)].Members)) {
		exact := float64(buckets*weights[i]) / float64(sum)
		off := max(float64(n)-exact, exact-float64(n))
		enough := 8*sum <= buckets
		if enough && (buckets%sum == 0 && off != 0 || off >= 1) || off >= 1.5 {
			t.Errorf("weights %v of %d buckets: member %d has %d, want %.2f", weights, buckets, i, n, exact)
		}
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
