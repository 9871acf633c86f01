package fibtest_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

var owner = fib.Owner{Protocol: 99, NextHops: fib.Range{First: 10, Last: 49}, Rules: fib.Range{First: 50, Last: 60}}

func op(v fib.Verb, o fib.Object) fib.Op { return fib.Op{Verb: v, Object: o, Protocol: 99} }

func hop(f fib.Family, id uint32, dev int) fib.NextHop {
	return fib.NextHop{ID: id, Family: f, Device: fib.Device{Index: dev}}
}

func group(id uint32, members ...uint32) fib.Group {
	g := fib.Group{ID: id, Type: fib.GroupResilient, Buckets: 8}
	for _, m := range members {
		g.Members = append(g.Members, fib.Member{NextHop: m, Weight: 1})
	}
	return g
}

func route(f fib.Family, table, id uint32) fib.Route {
	return fib.Route{Table: table, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, NextHopID: id}
}

// fill builds two next hops on devices 1 and 2, a group of both, one of the
// first alone, and a route over each.
func fill(t *testing.T, k *fibtest.Kernel, f fib.Family) {
	t.Helper()
	for _, o := range []fib.Object{
		hop(f, 10, 1), hop(f, 11, 2), group(20, 10, 11), group(21, 10),
		route(f, 1, 20), route(f, 2, 21), route(f, 3, 10), fib.Rule{Family: f, Priority: 50, Table: 1},
	} {
		if err := k.Apply(context.Background(), []fib.Op{op(fib.Add, o)})[0]; err != nil {
			t.Fatalf("%s: %v", op(fib.Add, o), err)
		}
	}
}

func one(k *fibtest.Kernel, v fib.Verb, o fib.Object) error {
	return k.Apply(context.Background(), []fib.Op{op(v, o)})[0]
}

func TestRefuses(t *testing.T) {
	for _, f := range fib.Families {
		for _, tt := range []struct {
			name string
			verb fib.Verb
			o    fib.Object
			want error
		}{
			{"next hop that exists with other content", fib.Add, hop(f, 10, 2), unix.EEXIST},
			{"next hop under the id of a group", fib.Replace, hop(f, 20, 1), unix.EINVAL},
			{"next hop on a dead link", fib.Add, hop(f, 12, 9), unix.ENETDOWN},
			{"group under the id of a next hop", fib.Replace, group(10, 11), unix.EINVAL},
			{"group without members", fib.Add, group(22), unix.EINVAL},
			{"group with an unknown member", fib.Add, group(22, 99), unix.EINVAL},
			{"group with one member twice", fib.Add, group(22, 10, 10), unix.EINVAL},
			{"group without type", fib.Add, fib.Group{ID: 22, Members: group(1, 10).Members}, unix.EINVAL},
			{"resilient group without buckets", fib.Add, fib.Group{ID: 22, Type: fib.GroupResilient, Members: group(1, 10).Members}, unix.EINVAL},
			{"weight above 255", fib.Add, fib.Group{ID: 22, Type: fib.GroupHashThreshold, Members: []fib.Member{{NextHop: 10, Weight: 256}}}, unix.EINVAL},
			{"other number of buckets", fib.Replace, fib.Group{ID: 20, Type: fib.GroupResilient, Buckets: 9, Members: group(1, 10).Members}, unix.EINVAL},
			{"other type", fib.Replace, fib.Group{ID: 20, Type: fib.GroupHashThreshold, Members: group(1, 10).Members}, unix.EINVAL},
			{"route over nothing", fib.Add, route(f, 4, 99), unix.EINVAL},
			{"route that exists with other content", fib.Add, route(f, 1, 10), unix.EEXIST},
			{"route with metric 0", fib.Add, fib.Route{Table: 4, Dst: f.Any(), Type: fib.RouteProhibit}, unix.EINVAL},
			{"unicast without a hop", fib.Add, fib.Route{Table: 4, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast}, unix.EINVAL},
			{"hop on a dead link", fib.Add, fib.Route{Table: 4, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: []fib.Hop{{Device: fib.Device{Index: 9}, Weight: 1}}}, unix.ENETDOWN},
			{"hop of weight 257", fib.Add, fib.Route{Table: 4, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: []fib.Hop{{Weight: 257}}}, unix.EINVAL},
			{"goto backwards", fib.Add, fib.Rule{Family: f, Priority: 51, Goto: 50}, unix.EINVAL},
			{"new stray", fib.Add, fib.Stray{Text: "x"}, unix.EINVAL},
		} {
			t.Run(tt.name+"/"+f.String(), func(t *testing.T) {
				k := fibtest.New()
				fill(t, k, f)
				k.SetLink(9, false)
				before := k.Text()
				if err := one(k, tt.verb, tt.o); !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if diff := cmp.Diff(before, k.Text()); diff != "" {
					t.Errorf("a refused op changed the kernel (-before +after):\n%s", diff)
				}
			})
		}
	}
}

func TestIPv6RouteNeedsIPv6NextHop(t *testing.T) {
	k := fibtest.New()
	fill(t, k, fib.IPv4)
	if err := one(k, fib.Add, route(fib.IPv6, 9, 10)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("error %v, want EINVAL", err)
	}
	k = fibtest.New()
	fill(t, k, fib.IPv6)
	if err := one(k, fib.Add, route(fib.IPv4, 9, 10)); err != nil {
		t.Errorf("an IPv4 route over an IPv6 next hop: %v", err)
	}
}

// TestContract: adding what is there with equal content and deleting what is not
// there succeed.
func TestContract(t *testing.T) {
	for _, f := range fib.Families {
		k := fibtest.New()
		fill(t, k, f)
		before := k.Text()
		for _, o := range []fib.Object{hop(f, 10, 1), group(20, 10, 11), route(f, 1, 20), fib.Rule{Family: f, Priority: 50, Table: 1}} {
			if err := one(k, fib.Add, o); err != nil {
				t.Errorf("%s again: %v", op(fib.Add, o), err)
			}
		}
		for _, o := range []fib.Object{hop(f, 30, 1), group(31, 10), route(f, 9, 20), fib.Rule{Family: f, Priority: 55, Table: 1}, fib.Stray{Text: "x"}} {
			if err := one(k, fib.Delete, o); err != nil {
				t.Errorf("%s of nothing: %v", op(fib.Delete, o), err)
			}
		}
		if diff := cmp.Diff(before, k.Text()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", f, diff)
		}
	}
}

func TestLinkDownTakesWhatHangsOnIt(t *testing.T) {
	for _, f := range fib.Families {
		k := fibtest.New()
		fill(t, k, f)
		inline := fib.Route{Table: 5, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: []fib.Hop{{Device: fib.Device{Index: 1}, Weight: 1}}}
		if err := one(k, fib.Add, inline); err != nil {
			t.Fatal(err)
		}
		k.Writes()
		k.SetLink(1, false)
		s, err := k.List(context.Background(), owner)
		if err != nil {
			t.Fatal(err)
		}
		want := fib.NewState()
		want.Capabilities = fib.Capabilities{NextHops: true, Resilient: true}
		want.NextHops[11] = hop(f, 11, 2)
		want.Groups[20] = group(20, 11)
		want.Routes[route(f, 1, 20).Key()] = route(f, 1, 20)
		want.Rules[fib.Rule{Family: f, Priority: 50, Table: 1}] = 1
		equal := cmp.Options{
			cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		}
		if diff := cmp.Diff(want, s, equal); diff != "" {
			t.Errorf("%s after link down (-want +got):\n%s", f, diff)
		}
		before := k.Text()
		k.SetLink(1, true)
		if k.Text() != before || len(k.Writes()) != 0 {
			t.Errorf("%s: a link that returns restored something", f)
		}
		if !k.HasDefault(1, f) || k.HasDefault(2, f) {
			t.Errorf("%s: HasDefault is wrong", f)
		}
	}
}

func TestListTellsOursFromOthers(t *testing.T) {
	for _, f := range fib.Families {
		k := fibtest.New()
		foreign := func(o fib.Object) fib.Op { return fib.Op{Verb: fib.Add, Object: o, Protocol: 11} }
		if err := k.Stranger(
			foreign(hop(f, 12, 1)), foreign(group(22, 12)), foreign(hop(f, 99, 1)), foreign(route(f, 1, 12)),
			foreign(fib.Rule{Family: f, Priority: 50, Table: 1}), op(fib.Add, hop(f, 98, 1)), op(fib.Add, fib.Rule{Family: f, Priority: 70, Table: 1}),
		); err != nil {
			t.Fatal(err)
		}
		s, err := k.List(context.Background(), owner)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.NextHops)+len(s.Groups)+len(s.Routes)+len(s.Rules) != 0 {
			t.Errorf("%s: foreign objects listed as ours: %+v", f, s)
		}
		if diff := cmp.Diff(map[uint32]uint8{12: 11, 22: 11}, s.Taken); diff != "" {
			t.Errorf("%s: taken (-want +got):\n%s", f, diff)
		}
	}
}

func TestFailCall(t *testing.T) {
	refused := errors.New("refused")
	k := fibtest.New()
	var seen []string
	k.AfterEach = func(o fib.Op) { seen = append(seen, o.String()) }
	k.FailCall(2, refused)
	if _, err := k.List(context.Background(), owner); err != nil {
		t.Errorf("call 1: %v", err)
	}
	ops := []fib.Op{op(fib.Add, hop(fib.IPv4, 10, 1)), op(fib.Add, hop(fib.IPv6, 12, 1))}
	if errs := k.Apply(context.Background(), ops); !errors.Is(errs[0], refused) || errs[1] != nil {
		t.Errorf("calls 2 and 3: %v, want only the first to fail", errs)
	}
	if k.Calls() != 3 {
		t.Errorf("%d calls, want 3", k.Calls())
	}
	if w := k.Writes(); len(w) != 1 || len(seen) != 1 || w[0].String() != seen[0] || !strings.Contains(k.Text(), "id 12") || strings.Contains(k.Text(), "id 10") {
		t.Errorf("writes %v, seen %q, kernel:\n%s", w, seen, k.Text())
	}
	k.FailCall(1, refused)
	if _, err := k.List(context.Background(), owner); !errors.Is(err, refused) {
		t.Errorf("list: %v, want the failure", err)
	}
}

func TestWatch(t *testing.T) {
	k := fibtest.New()
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan string, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Watch(ctx, owner, func(why string) { heard <- why })
	}()
	for k.Watchers() == 0 {
		k.Notify("nobody listens yet")
	}
	if err := k.Stranger(op(fib.Add, fib.Stray{})); err == nil {
		t.Error("a stranger may do what the kernel refuses")
	}
	if err := k.Stranger(op(fib.Add, hop(fib.IPv4, 10, 1))); err != nil {
		t.Fatal(err)
	}
	for why := range heard {
		if why == "a stranger wrote" {
			break
		}
	}
	cancel()
	<-ended
	if k.Watchers() != 0 {
		t.Error("a watcher stays behind")
	}
}

func TestStrays(t *testing.T) {
	k := fibtest.New()
	a, b := fib.Stray{Text: "a", Request: "1"}, fib.Stray{Text: "b", Request: "2"}
	k.AddStray(a)
	k.AddStray(b)
	if err := one(k, fib.Delete, a); err != nil {
		t.Fatal(err)
	}
	s, err := k.List(context.Background(), owner)
	if err != nil || !cmp.Equal(s.Strays, []fib.Stray{b}) || !strings.Contains(k.Text(), "stray b") {
		t.Errorf("strays %v, error %v, kernel:\n%s", s.Strays, err, k.Text())
	}
}

// TestStrangersMetric: what only strangers write, and what the kernel makes of it.
func TestStrangersMetric(t *testing.T) {
	for f, want := range map[fib.Family]uint32{fib.IPv4: 0, fib.IPv6: 1024} {
		k := fibtest.New()
		r := fib.Route{Table: 7, Dst: f.Any(), Type: fib.RouteProhibit}
		if err := one(k, fib.Add, r); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: metric 0 of ours: %v, want EINVAL", f, err)
		}
		if err := k.Stranger(fib.Op{Verb: fib.Add, Object: r, Protocol: 4}); err != nil {
			t.Fatal(err)
		}
		r.Metric = want
		got, err := k.Intruders(context.Background(), owner, []uint32{7})
		if err != nil || len(got) != 1 || got[0].Protocol != 4 || got[0].Route.Key() != r.Key() {
			t.Errorf("%s: intruders %v, %v, want %v of protocol 4", f, got, err, r.Key())
		}
	}
}
