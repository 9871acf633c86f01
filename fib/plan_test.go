package fib_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// comparers let cmp look into the types of netip.
var comparers = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// bring brings k to d by a plan and returns its ops.
func bring(t testing.TB, k fib.Kernel, d fib.Desired) []fib.Op {
	t.Helper()
	want, actual := wanted(t, k, d)
	ops := fib.Plan(want, actual, owner.Protocol)
	apply(t, k, ops)
	return ops
}

func commands(ops []fib.Op) []string {
	out := make([]string, len(ops))
	for i, op := range ops {
		out[i] = op.String()
	}
	return out
}

// TestPlanBetweenRandomStates applies the plan between two random sites op by op:
// nothing fails, no wanted default vanishes on the way, the end is what a fresh
// kernel would have been brought to, and nothing is left to do.
func TestPlanBetweenRandomStates(t *testing.T) {
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		k := fibtest.New()
		for range 4 {
			s := randomSite(rnd)
			d := s.desired()
			want, actual := wanted(t, k, d)
			ops := fib.Plan(want, actual, owner.Protocol)
			if again := fib.Plan(want, actual, owner.Protocol); !slices.Equal(commands(ops), commands(again)) {
				t.Fatalf("seed %d: the same arguments gave another plan", seed)
			}
			watchDefaults(t, k, s)
			checkTables(t, k, want, actual, ops)
			if left := bring(t, k, d); len(left) > 0 {
				t.Fatalf("seed %d: a second plan: %q", seed, commands(left))
			}
			if diff := cmp.Diff(builtText(t, d), k.Text()); diff != "" {
				t.Fatalf("seed %d (-built anew +planned):\n%s", seed, diff)
			}
			if t.Failed() {
				t.Fatalf("seed %d, plan:\n%q", seed, commands(ops))
			}
		}
	}
}

// checkTables applies ops and checks that every unicast route that was there and
// is wanted was there all the time.
func checkTables(t *testing.T, k *fibtest.Kernel, want, actual fib.State, ops []fib.Op) {
	t.Helper()
	for _, op := range ops {
		apply(t, k, []fib.Op{op})
		now := list(t, k)
		for key := range actual.Routes {
			if _, wanted := want.Routes[key]; !wanted {
				continue
			}
			if _, there := now.Routes[key]; !there {
				t.Fatalf("after %s route %v is gone although it is wanted", op, key)
			}
		}
	}
}

// TestPlanMovesBetweenKindsOfGroup changes what the kernel cannot change in place.
func TestPlanMovesBetweenKindsOfGroup(t *testing.T) {
	small, large, plain := evenSite(3), evenSite(3), evenSite(3)
	large.buckets = 120
	plain.kind = fib.GroupHashThreshold
	k := fibtest.New()
	for i, s := range []site{small, large, plain, small, plain, large, small} {
		watchDefaults(t, k, s)
		bring(t, k, s.desired())
		if left := bring(t, k, s.desired()); len(left) > 0 {
			t.Errorf("step %d: a second plan: %q", i, commands(left))
		}
		state := list(t, k)
		if len(state.Groups) != 2 {
			t.Errorf("step %d: groups %v, want one per family", i, state.Groups)
		}
		for _, g := range state.Groups {
			if g.Type != s.kind {
				t.Errorf("step %d: a %s group, want %s", i, g.Type, s.kind)
			}
		}
	}
}

func TestPlanFailoverStartsWithTheGroup(t *testing.T) {
	before := evenSite(3)
	for _, tt := range []struct {
		name  string
		after site
		ops   int
	}{
		{"a way becomes a standby", before.with(1, standby), 2},
		{"a way leaves the group", before.with(1, out), 2},
		{"a way vanishes", before.with(1, gone), 2 + 2*3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := fibtest.New()
			bring(t, k, before.desired())
			watchDefaults(t, k, tt.after)
			ops := bring(t, k, tt.after.desired())
			if len(ops) != tt.ops {
				t.Errorf("%d ops, want %d: %q", len(ops), tt.ops, commands(ops))
			}
			for _, op := range ops[:2] {
				if _, ok := op.Object.(fib.Group); !ok || op.Verb != fib.Replace {
					t.Errorf("%s stands before the failover", op)
				}
			}
			if left := len(bring(t, k, before.desired())); left == 0 {
				t.Error("the way back needed no op: nothing was tested")
			}
		})
	}
}

// kindOf is the rank of an op in the documented order of a plan.
func kindOf(op fib.Op, early map[uint32]bool) int {
	rank := map[bool]map[string]int{
		false: {"group": 2, "hop": 1, "guard": 3, "route": 4, "rule": 5},
		true:  {"rule": 6, "route": 7, "guard": 8, "stray": 9, "group": 10, "hop": 11},
	}[op.Verb == fib.Delete]
	switch o := op.Object.(type) {
	case fib.NextHop:
		return rank["hop"]
	case fib.Group:
		if early[o.ID] && op.Verb == fib.Replace {
			return 0
		}
		return rank["group"]
	case fib.Route:
		if o.Type != fib.RouteUnicast {
			return rank["guard"]
		}
		return rank["route"]
	case fib.Rule:
		return rank["rule"]
	case fib.Stray:
		return rank["stray"]
	default:
		panic(fmt.Sprintf("unhandled object %T", o))
	}
}

func TestPlanOrder(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		k := fibtest.New()
		bring(t, k, randomSite(rnd).desired())
		k.AddStray(fib.Stray{Text: "route with a tos"})
		want, actual := wanted(t, k, randomSite(rnd).desired())
		ops := fib.Plan(want, actual, owner.Protocol)
		early := map[uint32]bool{}
		for id, g := range want.Groups {
			early[id] = !slices.ContainsFunc(g.Members, func(m fib.Member) bool {
				return actual.NextHops[m.NextHop] != want.NextHops[m.NextHop]
			})
		}
		if !slices.IsSortedFunc(ops, func(a, b fib.Op) int { return kindOf(a, early) - kindOf(b, early) }) {
			t.Fatalf("seed %d: out of order: %q", seed, commands(ops))
		}
		checkRuleOrder(t, ops)
	}
}

// checkRuleOrder: rules are added in ascending and deleted in descending
// priority.
func checkRuleOrder(t *testing.T, ops []fib.Op) {
	t.Helper()
	last := map[fib.Verb]uint32{fib.Delete: 1<<32 - 1}
	for _, op := range ops {
		r, ok := op.Object.(fib.Rule)
		if !ok {
			continue
		}
		if op.Verb == fib.Delete && r.Priority > last[op.Verb] || op.Verb == fib.Add && r.Priority < last[op.Verb] {
			t.Fatalf("%s comes behind priority %d", op, last[op.Verb])
		}
		last[op.Verb] = r.Priority
	}
}

// TestLNX_RT_21_MakeBeforeBreak: an object under an unchanged key is replaced in
// one op; one under a new key is there before the old one goes.
func TestLNX_RT_21_MakeBeforeBreak(t *testing.T) {
	for _, f := range fib.Families {
		route := fib.Route{Table: 221, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: []fib.Hop{{Device: device(2), Gateway: addr(f, 2, 1), Weight: 1}}}
		rule := fib.Rule{Family: f, Priority: 100, Table: 221}
		for _, tt := range []struct {
			name   string
			change func(*fib.Route, *fib.Rule)
			want   []fib.Verb
		}{
			{"nothing", func(*fib.Route, *fib.Rule) {}, nil},
			{"other hop", func(r *fib.Route, _ *fib.Rule) { r.Hops = []fib.Hop{{Device: device(3), Weight: 1}} }, []fib.Verb{fib.Replace}},
			{"other source", func(r *fib.Route, _ *fib.Rule) { r.Source = addr(f, 2, 2) }, []fib.Verb{fib.Replace}},
			{"other metric", func(r *fib.Route, _ *fib.Rule) { r.Metric = 2 }, []fib.Verb{fib.Add, fib.Delete}},
			{"other table", func(r *fib.Route, u *fib.Rule) { r.Table, u.Table = 222, 222 }, []fib.Verb{fib.Add, fib.Add, fib.Delete, fib.Delete}},
			{"other priority", func(_ *fib.Route, u *fib.Rule) { u.Priority = 101 }, []fib.Verb{fib.Add, fib.Delete}},
		} {
			t.Run(tt.name+"/"+f.String(), func(t *testing.T) {
				k := fibtest.New()
				bring(t, k, fib.Desired{Routes: []fib.Route{route}, Rules: []fib.Rule{rule}})
				newRoute, newRule := route, rule
				tt.change(&newRoute, &newRule)
				var got []fib.Verb
				for _, op := range bring(t, k, fib.Desired{Routes: []fib.Route{newRoute}, Rules: []fib.Rule{newRule}}) {
					got = append(got, op.Verb)
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("verbs %v, want %v", got, tt.want)
				}
			})
		}
	}
}

func TestPlanDeletesDuplicateRules(t *testing.T) {
	for _, f := range fib.Families {
		r := fib.Rule{Family: f, Priority: 100, Table: 221}
		for have := range 4 {
			for want := range 2 {
				actual, wanted := fib.NewState(), fib.NewState()
				actual.Rules[r] = have
				if want > 0 {
					wanted.Rules[r] = want
				}
				ops := fib.Plan(wanted, actual, 99)
				adds := max(0, want-have)
				deletes := max(0, have-want)
				if len(ops) != adds+deletes || slices.ContainsFunc(ops, func(op fib.Op) bool { return (op.Verb == fib.Add) != (adds > 0) }) {
					t.Errorf("%s: %d there, %d wanted: %q", f, have, want, commands(ops))
				}
			}
		}
	}
}

// TestPlanIgnoresWhatTheKernelDoesNotSee: names, zones and the order of inline
// hops are no difference.
func TestPlanIgnoresWhatTheKernelDoesNotSee(t *testing.T) {
	gw := netip.MustParseAddr("fe80::1")
	hops := func(zone, name string) []fib.Hop {
		return []fib.Hop{
			{Device: fib.Device{Index: 2, Name: name}, Gateway: gw.WithZone(zone), Weight: 1},
			{Device: fib.Device{Index: 3, Name: name}, Gateway: gw, Weight: 2},
		}
	}
	build := func(zone, name string, reverse bool) fib.State {
		s := fib.NewState()
		s.NextHops[1000] = fib.NextHop{ID: 1000, Family: fib.IPv6, Device: fib.Device{Index: 2, Name: name}, Gateway: gw.WithZone(zone)}
		r := fib.Route{Table: 1, Dst: fib.IPv6.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: hops(zone, name)}
		if reverse {
			slices.Reverse(r.Hops)
		}
		s.Routes[r.Key()] = r
		return s
	}
	if ops := fib.Plan(build("eth2", "eth2", false), build("", "", true), 99); len(ops) > 0 {
		t.Errorf("ops for no difference: %q", commands(ops))
	}
	other := build("", "", false)
	for key, r := range other.Routes {
		r.Hops[1].Weight = 3
		other.Routes[key] = r
	}
	if ops := fib.Plan(other, build("", "", false), 99); len(ops) != 1 || ops[0].Verb != fib.Replace {
		t.Errorf("another weight gave %q, want one replace", commands(ops))
	}
}

// TestPlanLeavesForeignObjects: what List does not show is in no op, even if
// everything of ours goes.
func TestPlanLeavesForeignObjects(t *testing.T) {
	k := fibtest.New()
	foreign := foreignOps()
	if err := k.Stranger(foreign...); err != nil {
		t.Fatal(err)
	}
	before := k.Text()
	bring(t, k, evenSite(2).desired())
	if k.Text() == before {
		t.Fatal("nothing was written")
	}
	bring(t, k, fib.Desired{})
	if diff := cmp.Diff(before, k.Text()); diff != "" {
		t.Errorf("foreign objects (-before +after):\n%s", diff)
	}
}

// foreignOps builds what strangers keep in the middle of our ranges: next hops
// and a group on our first choices of ids, routes in our tables, rules.
func foreignOps() []fib.Op {
	var ops []fib.Op
	add := func(o fib.Object) { ops = append(ops, fib.Op{Verb: fib.Add, Object: o, Protocol: 11}) }
	for _, f := range fib.Families {
		add(fib.NextHop{ID: hopID(0, f), Family: f, Device: device(90), Gateway: addr(f, 90, 1)})
		add(fib.Group{ID: groupID(f), Type: fib.GroupHashThreshold, Members: []fib.Member{{NextHop: hopID(0, f), Weight: 1}}})
		add(fib.Route{Table: balanceTable, Dst: f.Any(), Metric: 77, Type: fib.RouteUnicast, NextHopID: groupID(f)})
		add(fib.Rule{Family: f, Priority: 400, Table: 500})
	}
	return ops
}

// TestApplyContinuesBehindAFailure guards the contract of Kernel in the fake.
func TestApplyContinuesBehindAFailure(t *testing.T) {
	k := fibtest.New()
	r := func(table uint32) fib.Op {
		return fib.Op{Verb: fib.Add, Protocol: 99, Object: fib.Route{Table: table, Dst: fib.IPv4.Any(), Metric: 1, Type: fib.RouteProhibit}}
	}
	k.FailCall(2, errRefused)
	errs := k.Apply(context.Background(), []fib.Op{r(1), r(2), r(3)})
	if errs[0] != nil || !errors.Is(errs[1], errRefused) || errs[2] != nil {
		t.Errorf("errors %v, want only the second", errs)
	}
}
