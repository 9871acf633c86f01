package fib_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// errRefused is what a kernel that was told to fail answers.
var errRefused = errors.New("refused by order")

// owner is whose objects the tests write. Its range of ids has room for 256
// uplinks in each quarter.
var owner = fib.Owner{
	Protocol: 99,
	NextHops: fib.Range{First: 1000, Last: 1000 + 4*2048 - 1},
	Rules:    fib.Range{First: 40, Last: 400},
}

const (
	balanceTable = 221
	groupBase    = 2024
	guardMetric  = 4278198272
	mainTable    = 254
	// stride is the distance between the candidate ids under owner.
	stride = 2048
)

// role is what a way of a site does.
type role int

const (
	active role = iota
	standby
	out
	gone
)

// way is one uplink of a site, in both families.
type way struct {
	device  int
	gateway int
	weight  int
	role    [2]role
	sources int
}

// site is a whole desired state in few numbers, drawn as the daemon draws it.
type site struct {
	ways    []way
	buckets uint16
	kind    fib.GroupType
}

// evenSite has n active ways of equal weight.
func evenSite(n int) site {
	s := site{buckets: 60, kind: fib.GroupResilient}
	if n > 6 {
		s.buckets = 120
	}
	for i := range n {
		s.ways = append(s.ways, way{device: i + 2, gateway: 1, weight: 1, sources: 1})
	}
	return s
}

// with returns a copy of s in which way n has role r in both families.
func (s site) with(n int, r role) site {
	s.ways = append([]way(nil), s.ways...)
	s.ways[n].role = [2]role{r, r}
	return s
}

func familyIndex(f fib.Family) int {
	if f == fib.IPv6 {
		return 1
	}
	return 0
}

func hopID(n int, f fib.Family) uint32 { return 1000 + uint32(4*n+2*familyIndex(f)) }
func groupID(f fib.Family) uint32      { return groupBase + uint32(familyIndex(f)) }
func device(index int) fib.Device      { return fib.Device{Index: index, Name: fmt.Sprintf("eth%d", index)} }

// addr returns the host-th address of net of family f.
func addr(f fib.Family, net, host int) netip.Addr {
	if f == fib.IPv6 {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(net), 15: byte(host)})
	}
	return netip.AddrFrom4([4]byte{10, 0, byte(net), byte(host)})
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func (s site) desired() fib.Desired {
	var d fib.Desired
	for _, f := range fib.Families {
		s.draw(f, &d)
	}
	return d
}

func (s site) draw(f fib.Family, d *fib.Desired) {
	group := fib.Group{ID: groupID(f), Type: s.kind, Buckets: s.buckets, IdleTimer: 120 * time.Second}
	d.Rules = append(d.Rules, fib.Rule{Family: f, Priority: 50, Table: mainTable, MinPrefixLen: 1})
	for i, w := range s.ways {
		table := uint32(1000 + i)
		for n := range w.sources {
			d.Rules = append(d.Rules, fib.Rule{Family: f, Priority: uint32(60 + i), From: hostPrefix(addr(f, w.device, 100+n)), Table: table})
		}
		d.Rules = append(d.Rules, fib.Rule{Family: f, Priority: uint32(200 + i), Mark: uint32(i+1) << 8, Mask: 0xff00, Table: table})
		d.Routes = append(d.Routes, fib.Route{Table: table, Dst: f.Any(), Metric: guardMetric, Type: fib.RouteProhibit})
		r := w.role[familyIndex(f)]
		if r == gone {
			continue
		}
		id := hopID(i, f)
		d.NextHops = append(d.NextHops, fib.NextHop{ID: id, Family: f, Device: device(w.device), Gateway: addr(f, w.device, w.gateway)})
		d.Routes = append(d.Routes, fib.Route{Table: table, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, NextHopID: id})
		if r != out {
			group.Members = append(group.Members, fib.Member{NextHop: id, Weight: w.weight, Standby: r == standby})
		}
	}
	if len(group.Members) > 0 {
		d.Groups = append(d.Groups, group)
		d.Routes = append(d.Routes, fib.Route{Table: balanceTable, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, NextHopID: group.ID})
	}
	d.Rules = append(d.Rules, fib.Rule{Family: f, Priority: 400, Table: balanceTable})
}

// usable reports whether the balanced table of f is to have a default.
func (s site) usable(f fib.Family) bool {
	for _, w := range s.ways {
		if r := w.role[familyIndex(f)]; r == active || r == standby {
			return true
		}
	}
	return false
}

// newRand returns numbers that are the same at every run.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// randomSite has up to six ways of any kind.
func randomSite(rnd *rand.Rand) site {
	s := site{buckets: 60, kind: fib.GroupResilient}
	for i := range rnd.IntN(7) {
		s.ways = append(s.ways, way{
			device: i + 2, gateway: 1 + rnd.IntN(2), weight: 1 + rnd.IntN(fib.MaxWeight),
			role: [2]role{role(rnd.IntN(4)), role(rnd.IntN(4))}, sources: rnd.IntN(3),
		})
	}
	rnd.Shuffle(len(s.ways), func(i, j int) { s.ways[i], s.ways[j] = s.ways[j], s.ways[i] })
	return s
}

// list reads k or ends the test.
func list(t testing.TB, k fib.Kernel) fib.State {
	t.Helper()
	s, err := k.List(context.Background(), owner)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return s
}

// wanted lowers d for k, which must be able to hold all of it.
func wanted(t testing.TB, k fib.Kernel, d fib.Desired) (want, actual fib.State) {
	t.Helper()
	actual = list(t, k)
	want, problems := fib.Lower(d, actual, owner, nil)
	for _, p := range problems {
		t.Errorf("problem: %s", p)
	}
	return want, actual
}

// apply executes ops one by one; none may fail.
func apply(t testing.TB, k fib.Kernel, ops []fib.Op) {
	t.Helper()
	for i, op := range ops {
		if err := k.Apply(context.Background(), []fib.Op{op})[0]; err != nil {
			t.Fatalf("op %d of %d, %s: %v", i+1, len(ops), op, err)
		}
	}
}

// builtText returns what a fresh kernel holds once it is brought to d.
func builtText(t testing.TB, d fib.Desired) string {
	t.Helper()
	k := fibtest.New()
	want, actual := wanted(t, k, d)
	apply(t, k, fib.Plan(want, actual, owner.Protocol))
	return k.Text()
}

// watchDefaults fails the test when a balanced default that was there vanishes
// although s wants one. It returns a function that checks once more.
func watchDefaults(t testing.TB, k *fibtest.Kernel, s site) (check func(when string)) {
	t.Helper()
	had := map[fib.Family]bool{}
	check = func(when string) {
		for _, f := range fib.Families {
			has := k.HasDefault(balanceTable, f)
			if had[f] && !has && s.usable(f) {
				t.Errorf("%s: no %s default although a way is usable", when, f)
			}
			had[f] = has
		}
	}
	check("before")
	k.AfterEach = func(op fib.Op) { check("after " + op.String()) }
	return check
}
