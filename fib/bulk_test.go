package fib_test

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// bulkOwner is whose routes the tests of Bulk write.
var bulkOwner = fib.BulkOwner{Protocol: 100, Table: 222, Metric: 20, NextHops: owner.NextHops}

// bulkRig is a Bulk over a kernel in memory that holds groups. It runs in a bubble of
// synctest.
type bulkRig struct {
	t       *testing.T
	k       *fibtest.Kernel
	b       *fib.Bulk
	kernel  fib.BulkKernel
	changes int
	stop    func()
}

// bulkTest runs f in a bubble with a kernel in which group i, 1 to 9, has the id
// bulkGroup(i). Bulk does not run yet.
func bulkTest(t *testing.T, f func(r *bulkRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &bulkRig{t: t, k: fibtest.New(), stop: func() {}}
		r.kernel = r.k
		for i := 1; i <= 9; i++ {
			r.draw(i)
		}
		r.anew()
		defer func() { r.stop() }()
		f(r)
	})
}

func bulkGroup(i int) uint32 { return 2100 + uint32(i) }

// draw puts group i into the kernel, with a next hop of its own on device i.
func (r *bulkRig) draw(i int) {
	hop := fib.NextHop{ID: 1000 + 2*uint32(i), Family: fib.IPv6, Device: device(i)}
	apply(r.t, r.k, []fib.Op{
		{Verb: fib.Replace, Object: hop, Protocol: owner.Protocol},
		{Verb: fib.Replace, Object: fib.Group{
			ID: bulkGroup(i), Type: fib.GroupHashThreshold, Members: []fib.Member{{NextHop: hop.ID, Weight: 1}},
		}, Protocol: owner.Protocol},
	})
}

// anew forgets the Bulk and makes another.
func (r *bulkRig) anew() {
	r.stop()
	r.b = fib.NewBulk(r.kernel, bulkOwner, slog.New(slog.DiscardHandler))
	r.changes = 0
}

// run starts the Bulk and waits until it has nothing to do.
func (r *bulkRig) run() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.b.Run(ctx, func() { r.changes++ })
	}()
	r.stop = func() { cancel(); <-ended; r.stop = func() {} }
	synctest.Wait()
}

// groups tells which of the groups are in the kernel.
func (r *bulkRig) groups(numbers ...int) {
	m := map[uint32]uint32{}
	for _, i := range numbers {
		m[bulkGroup(i)] = bulkGroup(i)
	}
	r.b.Groups(m)
	synctest.Wait()
}

// prefixOf returns the n-th prefix of f.
func prefixOf(f fib.Family, n int) netip.Prefix {
	if f == fib.IPv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(n>>16), byte(n >> 8), byte(n), 0}), 24)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, byte(n >> 16), byte(n >> 8), byte(n)}), 48)
}

// set leads the prefixes from..to-1 of both families to group i, 0 for nowhere.
func (r *bulkRig) set(i, from, to int) {
	r.t.Helper()
	var routes []fib.BulkRoute
	for n := from; n < to; n++ {
		for _, f := range fib.Families {
			route := fib.BulkRoute{Prefix: prefixOf(f, n)}
			if i != 0 {
				route.Group = bulkGroup(i)
			}
			routes = append(routes, route)
		}
	}
	if err := r.b.Set(context.Background(), routes); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

// wantTable compares the kernel's table with ranges of prefixes: from, to, group.
func (r *bulkRig) wantTable(when string, ranges ...[3]int) {
	r.t.Helper()
	want := map[netip.Prefix]uint32{}
	for _, g := range ranges {
		for n := g[0]; n < g[1]; n++ {
			for _, f := range fib.Families {
				want[prefixOf(f, n)] = bulkGroup(g[2])
			}
		}
	}
	got := r.k.BulkTable(bulkOwner)
	if maps.Equal(got, want) {
		return
	}
	for p, g := range want {
		if got[p] != g {
			r.t.Fatalf("%s: %s leads to %d, want %d (%d routes, want %d)", when, p, got[p], g, len(got), len(want))
		}
	}
	r.t.Fatalf("%s: %d routes, want %d", when, len(got), len(want))
}

func (r *bulkRig) wantUse(when string, groups ...int) {
	r.t.Helper()
	want := make([]uint32, 0, len(groups))
	for _, i := range groups {
		want = append(want, bulkGroup(i))
	}
	if got, _ := r.b.InUse(); !slices.Equal(got, want) {
		r.t.Errorf("%s: in use are %v, want %v", when, got, want)
	}
}

func (r *bulkRig) wantStats(when string, want fib.BulkStats) {
	r.t.Helper()
	got := r.b.Stats()
	if !strings.Contains(got.Error, want.Error) || (got.Error == "") != (want.Error == "") {
		r.t.Errorf("%s: error %q, want %q", when, got.Error, want.Error)
	}
	got.Error, want.Error = "", ""
	if got != want {
		r.t.Errorf("%s: %+v, want %+v", when, got, want)
	}
}

// verbs counts the kernel's writes since it was asked last: created, replaced,
// removed.
func (r *bulkRig) verbs() (created, replaced, removed int) {
	for _, w := range r.k.BulkWrites() {
		switch {
		case w.NextHop == 0:
			removed++
		case w.Was == 0:
			created++
		default:
			replaced++
		}
	}
	return created, replaced, removed
}

func TestBulkWritesReplacesAndRemoves(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 1000)
		r.wantTable("after adding", [3]int{0, 1000, 1})
		r.set(2, 500, 1000)
		r.wantTable("after another choice", [3]int{0, 500, 1}, [3]int{500, 1000, 2})
		r.set(0, 0, 250)
		r.wantTable("after a withdrawal", [3]int{250, 500, 1}, [3]int{500, 1000, 2})
		r.wantStats("then", fib.BulkStats{Routes: 1500, Written: 2000 + 1000 + 500})
		if c, p, d := r.verbs(); c != 2000 || p != 1000 || d != 500 {
			t.Errorf("%d created, %d replaced, %d removed", c, p, d)
		}
		r.set(2, 500, 1000)
		r.set(0, 0, 250)
		if c, p, d := r.verbs(); c+p+d != 0 {
			t.Errorf("told the same again, it writes %d, %d, %d", c, p, d)
		}
		r.wantUse("then", 1, 2)
		r.set(2, 250, 500)
		r.wantUse("without the last prefix of group 1", 2)
		r.set(0, 250, 1000)
		r.wantUse("without prefixes")
		r.wantTable("without prefixes")
	})
}

// A prefix that is told three times before it is written is written once.
func TestBulkCoalesces(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.groups(1, 2, 3)
		r.set(1, 0, 100)
		r.set(2, 0, 100)
		r.set(3, 0, 100)
		r.set(1, 100, 200)
		r.set(0, 100, 200)
		r.wantStats("before it runs", fib.BulkStats{Pending: 400})
		r.run()
		r.wantTable("then", [3]int{0, 100, 3})
		if c, p, d := r.verbs(); c != 200 || p+d != 0 {
			t.Errorf("%d created, %d replaced, %d removed", c, p, d)
		}
		r.wantStats("then", fib.BulkStats{Routes: 200, Written: 200})
	})
}

// A prefix waits for its group, and nothing waits for the prefix.
func TestBulkWaitsForGroups(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1)
		before := r.changes
		r.set(2, 0, 100)
		r.set(1, 100, 200)
		r.wantTable("without group 2", [3]int{100, 200, 1})
		r.wantStats("without group 2", fib.BulkStats{Routes: 200, Pending: 200, Waiting: 200, Written: 200})
		if r.changes == before {
			t.Error("nobody was told that another group is in use")
		}
		r.wantUse("without group 2", 1, 2)
		r.set(1, 0, 50) // goes elsewhere meanwhile
		r.set(0, 50, 60)
		r.groups(1, 2)
		r.wantTable("with group 2", [3]int{0, 50, 1}, [3]int{60, 100, 2}, [3]int{100, 200, 1})
		r.wantStats("with group 2", fib.BulkStats{Routes: 380, Written: 380})
	})
}

// What flips between two groups of which one is not there does not pile up.
func TestBulkWaitingIsBounded(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1)
		for range 50 {
			r.set(2, 0, 300)
			r.set(1, 0, 300)
		}
		r.set(2, 0, 300)
		if n := r.b.ParkedKeys(bulkGroup(2)); n > 512 {
			t.Errorf("%d keys are kept for 600 prefixes", n)
		}
		r.wantStats("then", fib.BulkStats{Routes: 600, Pending: 600, Waiting: 600, Written: 600})
		r.groups(1, 2)
		r.wantTable("then", [3]int{0, 300, 2})
	})
}

// A group that InUse did not name may be removed, so nothing is led to it before
// Groups names it again.
func TestBulkUsesNoGroupThatMayBeGone(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 1)
		r.wantUse("at first", 1)
		r.set(2, 1, 2)
		r.wantTable("before Groups", [3]int{0, 1, 1})
		r.wantUse("then", 1, 2)
		r.groups(1, 2)
		r.wantTable("after Groups", [3]int{0, 1, 1}, [3]int{1, 2, 2})
	})
}

// The kernel knows a group under another id where a stranger has the first choice.
func TestBulkFollowsTheKernelsID(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		for i := 1; i <= 2; i++ {
			apply(t, r.k, []fib.Op{{Verb: fib.Add, Object: fib.Group{
				ID: bulkGroup(i) + stride, Type: fib.GroupHashThreshold, Members: []fib.Member{{NextHop: 1002, Weight: 1}},
			}, Protocol: owner.Protocol}})
		}
		r.run()
		r.b.Groups(map[uint32]uint32{bulkGroup(1): bulkGroup(1) + stride, bulkGroup(2): bulkGroup(2)})
		r.set(1, 0, 10)
		for p, id := range r.k.BulkTable(bulkOwner) {
			if id != bulkGroup(1)+stride {
				t.Fatalf("%s leads to %d", p, id)
			}
		}
		r.wantUse("under another id", 1)
		r.set(2, 10, 20)
		r.groups(1, 2) // now under its first choice
		r.wantTable("after the move", [3]int{0, 10, 1}, [3]int{10, 20, 2})
		if _, replaced, removed := r.verbs(); replaced != 20 || removed != 0 {
			t.Errorf("%d replaced, %d removed", replaced, removed)
		}
	})
}
