package fib_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// transition is something that happens to a kernel which holds before.
type transition struct {
	name string
	// before is nil where the kernel is empty.
	before *site
	after  site
	// withdraw wants nothing instead of after.
	withdraw bool
	// disturb is what happens to the kernel meanwhile, told to the writer.
	disturb func(*fibtest.Kernel)
	caps    fib.Capabilities
}

var everything = fib.Capabilities{NextHops: true, Resilient: true}

// reload is what a new configuration may change at once.
func reload() site {
	s := evenSite(4)
	s.ways[0].gateway, s.ways[1].weight, s.ways[1].sources = 9, 3, 2
	s.ways = append(s.ways[:2], s.ways[3]) // the third uplink goes, the fourth takes its numbers
	return s
}

func transitions() []transition {
	three := evenSite(3)
	one := evenSite(1)
	large := evenSite(3)
	large.buckets = 120
	plain := evenSite(3)
	plain.kind = fib.GroupHashThreshold
	other := evenSite(1)
	other.ways[0].gateway = 9
	swapped := evenSite(2)
	swapped.ways[0], swapped.ways[1] = swapped.ways[1], swapped.ways[0]
	two := evenSite(2)
	backup := two.with(1, standby)
	base := []transition{
		{name: "start", after: three},
		{name: "start with a standby", after: three.with(2, standby)},
		{name: "failover", before: &three, after: three.with(0, standby)},
		{name: "failover to the only standby", before: &backup, after: two.with(0, standby)},
		{name: "way vanishes", before: &three, after: three.with(1, gone)},
		{name: "way vanishes with its link", before: &three, after: three.with(1, gone),
			disturb: func(k *fibtest.Kernel) { k.SetLink(3, false) }},
		{name: "all but one way vanish", before: &three, after: three.with(1, gone).with(2, gone)},
		{name: "return", before: ptr(three.with(1, gone)), after: three},
		{name: "reload", before: &three, after: reload()},
		{name: "only gateway changes", before: &one, after: other},
		{name: "only uplink is another", before: ptr(evenSite(2).with(0, gone)), after: evenSite(2).with(1, gone)},
		{name: "uplinks swap places", before: &two, after: swapped},
		{name: "another number of buckets", before: &three, after: large},
		{name: "another type of group", before: &three, after: plain},
		{name: "withdraw", before: &three, after: evenSite(0), withdraw: true},
		{name: "drift: links bounced", before: &three, after: three, disturb: func(k *fibtest.Kernel) {
			for n := range 3 {
				k.SetLink(n+2, false)
				k.SetLink(n+2, true)
			}
		}},
		{name: "drift: rules, routes and groups changed", before: &three, after: three, disturb: drift},
	}
	var all []transition
	for name, caps := range map[string]fib.Capabilities{
		"resilient": everything, "plain": {NextHops: true}, "inline": {},
	} {
		for _, tr := range base {
			tr.name, tr.caps = name+"/"+tr.name, caps
			all = append(all, tr)
		}
	}
	return all
}

func ptr[T any](v T) *T { return &v }

// drift deletes and adds with our mark, in both families. On a kernel that lacks
// an object the deletion does nothing.
func drift(k *fibtest.Kernel) {
	var ops []fib.Op
	for _, f := range fib.Families {
		for _, o := range []fib.Object{
			fib.Rule{Family: f, Priority: 50, Table: mainTable, MinPrefixLen: 1},
			fib.Route{Table: 1000, Dst: f.Any(), Metric: 1},
			fib.NextHop{ID: hopID(1, f)},
		} {
			ops = append(ops, fib.Op{Verb: fib.Delete, Object: o, Protocol: owner.Protocol})
		}
		ops = append(ops, fib.Op{Verb: fib.Add, Protocol: owner.Protocol, Object: fib.Rule{Family: f, Priority: 45, Table: 7}})
	}
	if err := k.Stranger(ops...); err != nil {
		panic(err)
	}
}

// run brings a fresh kernel to tr.before, lets tr happen with the n-th call
// failing, and returns the kernel's text at the end and the number of calls.
func (tr transition) run(t *testing.T, n int, failure error) (text string, calls int) {
	t.Helper()
	b := newBench(t)
	b.k.SetCapabilities(tr.caps)
	if tr.before != nil {
		b.settle(tr.before.desired())
		b.pass(time.Minute)
	}
	if tr.disturb != nil {
		tr.disturb(b.k)
		b.w.Invalidate("something happened")
	}
	check := watchDefaults(t, b.k, tr.after)
	b.k.FailCall(n, failure)
	var d fib.Desired
	if !tr.withdraw {
		d = tr.after.desired()
	}
	b.settle(d)
	check("at the end")
	calls = b.k.Calls()
	state, known := b.w.Actual()
	if left := fib.Plan(list(t, b.k), state, owner.Protocol); !known || len(left) > 0 {
		t.Errorf("the writer's memory differs from the kernel by %q", commands(left))
	}
	return b.k.Text(), calls
}

// TestEveryCallFailsOnce makes each kernel call of each transition fail once: the
// end is the same as without the failure, and no default that is wanted vanishes
// on the way.
func TestEveryCallFailsOnce(t *testing.T) {
	for _, tr := range transitions() {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			want, calls := tr.run(t, 0, nil)
			if (want == "") != tr.withdraw || calls == 0 && tr.caps == everything {
				t.Fatalf("without a failure: %d calls, kernel:\n%s", calls, want)
			}
			for _, failure := range []error{unix.EINVAL, unix.ENOBUFS} {
				for n := 1; n <= calls; n++ {
					t.Run(fmt.Sprintf("call %d of %d %v", n, calls, failure), func(t *testing.T) {
						got, _ := tr.run(t, n, failure)
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("kernel (-without failure +with):\n%s", diff)
						}
					})
				}
			}
		})
	}
}

// TestRandomCallsFail lives through random sites while every k-th call fails, and
// then must find its way to the last one.
func TestRandomCallsFail(t *testing.T) {
	for seed := range uint64(60) {
		b := newBench(t)
		rnd := newRand(seed)
		var last site
		for range 6 {
			last = randomSite(rnd)
			check := watchDefaults(t, b.k, last)
			b.k.FailCall(1+rnd.IntN(30), errRefused)
			if rnd.IntN(3) == 0 {
				link := 2 + rnd.IntN(6)
				b.k.AfterEach = nil // The kernel's own removals are no fault of the writer.
				b.k.SetLink(link, false)
				b.k.SetLink(link, true)
				b.w.Invalidate("link bounced")
				check = func(string) {}
			}
			b.sync(last.desired())
			check("after a sync")
			b.pass(time.Duration(rnd.IntN(200)) * time.Millisecond)
		}
		b.k.AfterEach = nil
		b.k.FailCall(0, nil)
		b.w.Invalidate("look")
		b.pass(fib.RetryMost)
		b.settle(last.desired())
		b.holds(last.desired())
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestCancelledContext: a shutdown in the middle leaves the memory right.
func TestCancelledContext(t *testing.T) {
	b := newBench(t)
	k := &cancelling{Kernel: b.k}
	b.w = fib.NewWriter(k, owner)
	d := evenSite(3).desired()
	for n := range 12 {
		ctx, cancel := context.WithCancel(context.Background())
		k.left, k.cancel = n, cancel
		b.w.Sync(ctx, d, b.now)
		cancel()
		b.pass(time.Minute)
	}
	k.cancel = nil
	b.settle(d)
	b.holds(d)
}

// cancelling ends the context after some ops and then refuses everything, as a
// kernel does whose context has ended.
type cancelling struct {
	fib.Kernel
	left   int
	cancel context.CancelFunc
}

func (k *cancelling) Apply(ctx context.Context, ops []fib.Op) []error {
	errs := make([]error, len(ops))
	for i := range ops {
		if k.cancel != nil {
			if k.left--; k.left < 0 {
				k.cancel()
			}
		}
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = k.Kernel.Apply(ctx, ops[i:i+1])[0]
		}
	}
	return errs
}
