package fib_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// drained are members of weights in which those of draining drain and the last
// standbys stand by.
func drained(f fib.Family, standbys int, draining map[int]bool, weights ...int) []fib.Member {
	out := members(f, standbys, weights...)
	for i := range out {
		out[i].Draining = draining[i]
	}
	return out
}

// A member that drains stays under its active id with no share, as long as that
// rounds to no bucket.
func TestLowerDraining(t *testing.T) {
	const out = -1
	for _, tt := range []struct {
		name     string
		kind     fib.GroupType
		buckets  uint16
		weights  []int
		draining map[int]bool
		standbys int
		// want are the weights by way, out for one that is not in the group, and after
		// them those of the standby twins.
		want []int
	}{
		{"one of two", fib.GroupResilient, 60, []int{1, 1}, map[int]bool{0: true}, 0, []int{1, 255, out, out}},
		{"one of two, large site", fib.GroupResilient, 120, []int{1, 1}, map[int]bool{0: true}, 0, []int{1, 255, out, out}},
		{"the smallest active member need not outweigh it", fib.GroupResilient, 60, []int{5, 10, 1}, map[int]bool{0: true}, 0, []int{1, 255, 26, out, out, out}},
		{"beside a standby", fib.GroupResilient, 60, []int{1, 1, 1}, map[int]bool{0: true}, 1, []int{1, 255, out, out, out, 1}},
		{"before a standby for which no room is left", fib.GroupResilient, 120, []int{1, 1, 1}, map[int]bool{0: true}, 1, []int{1, 255, out, out, out, out}},
		{"two, one of which would get a bucket", fib.GroupResilient, 120, []int{1, 1, 1}, map[int]bool{0: true, 1: true}, 0, []int{1, out, 255, out, out, out}},
		{"alone it is active", fib.GroupResilient, 60, []int{7}, map[int]bool{0: true}, 0, []int{255, out}},
		{"all drain", fib.GroupResilient, 60, []int{1, 2}, map[int]bool{0: true, 1: true}, 0, []int{128, 255, out, out}},
		{"before a standby it is active", fib.GroupResilient, 60, []int{1, 1}, map[int]bool{0: true}, 1, []int{255, out, out, 1}},
		{"who stands by cannot drain", fib.GroupResilient, 60, []int{1, 1}, map[int]bool{1: true}, 1, []int{255, out, out, 1}},
		{"plain groups leave it out", fib.GroupHashThreshold, 0, []int{2, 3}, map[int]bool{0: true}, 0, []int{out, 3, out, out}},
		{"plain groups of nothing else do not", fib.GroupHashThreshold, 0, []int{2, 3}, map[int]bool{0: true, 1: true}, 0, []int{2, 3, out, out}},
	} {
		for _, f := range fib.Families {
			t.Run(fmt.Sprintf("%s/%s", tt.name, f), func(t *testing.T) {
				want, problems := fib.Lower(groupOf(f, tt.kind, tt.buckets, drained(f, tt.standbys, tt.draining, tt.weights...)...), able(), owner, nil)
				weights := make([]int, 2*len(tt.weights))
				for i := range weights {
					weights[i] = out
				}
				for _, m := range want.Groups[groupID(f)].Members {
					n := int(m.NextHop-hopID(0, f)) / 4
					if (m.NextHop-hopID(0, f))%4 != 0 {
						n += len(tt.weights)
					}
					weights[n] = m.Weight
					if m.Draining || m.Standby {
						t.Errorf("%+v: the kernel has no roles", m)
					}
				}
				if diff := cmp.Diff(tt.want, weights); diff != "" {
					t.Errorf("weights (-want +got):\n%s", diff)
				}
				if len(problems) > 0 {
					t.Errorf("problems %q", problems)
				}
			})
		}
	}
}

// On a kernel without next hops, or without resilient groups, there is nothing that
// keeps flows where they are.
func TestLowerDrainingOnOldKernels(t *testing.T) {
	for _, f := range fib.Families {
		d := groupOf(f, fib.GroupResilient, 60, drained(f, 0, map[int]bool{0: true}, 1, 1)...)
		plain := able()
		plain.Capabilities.Resilient = false
		want, _ := fib.Lower(d, plain, owner, nil)
		if got := want.Groups[groupID(f)].Members; len(got) != 1 || got[0].NextHop != hopID(1, f) {
			t.Errorf("%s plain group of %v", f, got)
		}
		want, _ = fib.Lower(d, fib.NewState(), owner, nil)
		for _, r := range want.Routes {
			if len(r.Hops) != 1 || r.Hops[0].Device.Index != 3 {
				t.Errorf("%s inline route of %v", f, r.Hops)
			}
		}
	}
}

// Whatever the weights, a member that drains gets no bucket while all active ones
// are there, and neither does a standby while any of them is.
func TestDrainingGetsNoBucket(t *testing.T) {
	rnd := newRand(7)
	for range 3000 {
		f := fib.Families[rnd.IntN(2)]
		buckets := []uint16{60, 120}[rnd.IntN(2)]
		n, standbys := 2+rnd.IntN(5), rnd.IntN(3)
		weights := make([]int, n+standbys)
		draining := map[int]bool{}
		for i := range weights {
			weights[i] = 1 + rnd.IntN(fib.MaxWeight)
			draining[i] = i < n-1 && rnd.IntN(3) == 0 // one remains
		}
		want, _ := fib.Lower(groupOf(f, fib.GroupResilient, buckets, drained(f, standbys, draining, weights...)...), able(), owner, nil)
		got := want.Groups[groupID(f)].Members
		for i, b := range bucketSplit(int(buckets), weightsOf(got)) {
			way := int(got[i].NextHop-hopID(0, f)) / 4
			if idle := draining[way] || way >= n; idle && b != 0 {
				t.Fatalf("weights %v, draining %v, %d standbys, %d buckets: %+v gets %d", weights, draining, standbys, buckets, got[i], b)
			}
		}
	}
}

// Draining begins and ends by a change of weights under the same ids: one replaced
// group per family, from memory.
func TestWriterDrainsByRegrouping(t *testing.T) {
	with := func(draining bool) fib.Desired {
		d := evenSite(2).desired()
		for i := range d.Groups {
			d.Groups[i].Members[0].Draining = draining
		}
		return d
	}
	b := begun(t, with(false))
	for _, draining := range []bool{true, false} {
		rep := b.sync(with(draining))
		b.clean(rep)
		b.holds(with(draining))
		if len(rep.Done) != 2 || rep.Read {
			t.Errorf("draining %t: read %t, wrote %q", draining, rep.Read, commands(rep.Done))
		}
		for i, op := range rep.Done {
			weight := map[bool]int{true: 1, false: 255}[draining]
			g, ok := op.Object.(fib.Group)
			if !ok || !slices.Contains(g.Members, fib.Member{NextHop: hopID(0, fib.Families[i]), Weight: weight}) {
				t.Errorf("draining %t: wrote %s, want weight %d", draining, op, weight)
			}
		}
	}
}

func TestWriterGroupIDs(t *testing.T) {
	site := evenSite(2)
	b := newBench(t)
	if got := b.w.GroupIDs(); len(got) != 0 {
		t.Errorf("before the first Sync: %v", got)
	}
	b.clean(b.sync(site.desired()))
	both := map[uint32]uint32{groupID(fib.IPv4): groupID(fib.IPv4), groupID(fib.IPv6): groupID(fib.IPv6)}
	want := func(when string, ids map[uint32]uint32) {
		t.Helper()
		if diff := cmp.Diff(ids, b.w.GroupIDs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	want("then", both)
	b.clean(b.sync(site.with(0, out).desired()))
	want("after a failover", both)

	// A stranger takes the id while the group is away; it gets another.
	v6only := site.with(0, gone).with(1, gone)
	for i := range v6only.ways {
		v6only.ways[i].role[1] = active
	}
	b.clean(b.sync(v6only.desired()))
	want("without IPv4", map[uint32]uint32{groupID(fib.IPv6): groupID(fib.IPv6)})
	foreign := fib.NextHop{ID: groupID(fib.IPv4), Family: fib.IPv4, Device: device(9)}
	if err := b.k.Stranger(fib.Op{Verb: fib.Add, Object: foreign, Protocol: 4}); err != nil {
		t.Fatal(err)
	}
	b.w.Invalidate("a stranger")
	b.settle(v6only.desired())
	b.settle(site.desired())
	want("under another id", map[uint32]uint32{groupID(fib.IPv4): groupID(fib.IPv4) + stride, groupID(fib.IPv6): groupID(fib.IPv6)})

	// A group that the kernel lost and would not take back is not held.
	for i := 2; i <= 3; i++ {
		b.k.SetLink(i, false)
	}
	b.w.Invalidate("links down")
	b.now = b.now.Add(time.Minute)
	b.w.Sync(context.Background(), site.desired(), b.now)
	want("without links", map[uint32]uint32{})
}

// BenchmarkSyncGroups is the failover of a site with many groups for prefixes: each
// of them is replaced.
func BenchmarkSyncGroups(b *testing.B) {
	for _, n := range []int{3, 100, 2000} {
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			many := fib.Owner{Protocol: 99, NextHops: fib.Range{First: 1000, Last: 1000 + 1<<20 - 1}, Rules: owner.Rules}
			states := [2]fib.Desired{manyGroups(n, false), manyGroups(n, true)}
			w := fib.NewWriter(fibtest.New(), many)
			now := time.Unix(0, 0)
			w.Sync(context.Background(), states[0], now)
			b.ReportAllocs()
			for i := 1; b.Loop(); i++ {
				if rep := w.Sync(context.Background(), states[i%2], now); !rep.InSync || len(rep.Done) != n {
					b.Fatalf("%d done, %d failed", len(rep.Done), len(rep.Failed))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/group")
		})
	}
}

// manyGroups is a site of three ways with n groups over them, the first of which
// may have failed.
func manyGroups(n int, failed bool) fib.Desired {
	d := evenSite(3).desired()
	d.Groups = nil
	for i := range n {
		f := fib.Families[i%2]
		id := groupID(f)
		if i > 1 {
			id = 100_000 + uint32(i)
		}
		g := fib.Group{ID: id, Type: fib.GroupResilient, Buckets: 60, IdleTimer: time.Minute}
		for way := range 3 {
			g.Members = append(g.Members, fib.Member{NextHop: hopID(way, f), Weight: 1 + i%7, Standby: failed == (way == 0)})
		}
		d.Groups = append(d.Groups, g)
	}
	return d
}
