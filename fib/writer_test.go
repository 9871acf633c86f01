package fib_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// bench is a writer over a kernel in memory, in a time of its own.
type bench struct {
	t   testing.TB
	k   *fibtest.Kernel
	w   *fib.Writer
	now time.Time
}

func newBench(t testing.TB) *bench {
	k := fibtest.New()
	return &bench{t: t, k: k, w: fib.NewWriter(k, owner), now: time.Unix(1_000_000, 0)}
}

func (b *bench) sync(d fib.Desired) fib.Report {
	return b.w.Sync(context.Background(), d, b.now)
}

// settle calls Sync at every Wake until there is none, and returns the reports.
func (b *bench) settle(d fib.Desired) []fib.Report {
	b.t.Helper()
	var reports []fib.Report
	for range 100 {
		rep := b.sync(d)
		reports = append(reports, rep)
		if rep.Wake.IsZero() {
			if !rep.InSync {
				b.t.Errorf("no wake although not in sync: %+v", rep)
			}
			return reports
		}
		if !rep.Wake.After(b.now) {
			b.t.Fatalf("wake %s is not after now %s", rep.Wake, b.now)
		}
		b.now = rep.Wake
	}
	b.t.Fatal("no peace after 100 calls of Sync")
	return nil
}

// begun returns a bench whose kernel holds d.
func begun(t testing.TB, d fib.Desired) *bench {
	t.Helper()
	b := newBench(t)
	b.settle(d)
	b.k.Writes()
	b.pass(time.Minute)
	return b
}

func (b *bench) pass(d time.Duration) { b.now = b.now.Add(d) }

// clean fails the test unless rep reports success and peace.
func (b *bench) clean(rep fib.Report) {
	b.t.Helper()
	if !rep.InSync || !rep.Wake.IsZero() || len(rep.Failed) > 0 || len(rep.Problems) > 0 || rep.ReadErr != nil {
		b.t.Errorf("report is not clean: %+v", rep)
	}
}

// holds fails the test unless the kernel holds what a fresh one would for d.
func (b *bench) holds(d fib.Desired) {
	b.t.Helper()
	if diff := cmp.Diff(builtText(b.t, d), b.k.Text()); diff != "" {
		b.t.Errorf("kernel (-built anew +is):\n%s", diff)
	}
}

func TestWriterFirstSync(t *testing.T) {
	d := evenSite(3).desired()
	b := newBench(t)
	rep := b.sync(d)
	b.clean(rep)
	b.holds(d)
	if !rep.Read || len(rep.Repairs) > 0 {
		t.Errorf("read %t, repairs %q: want a read and no repair", rep.Read, commands(rep.Repairs))
	}
}

// TestWriterAdopts: a new writer over a kernel that already is as desired writes
// nothing, and an empty desired state is a state like any other.
func TestWriterAdopts(t *testing.T) {
	d := evenSite(3).desired()
	b := begun(t, d)
	b.w = fib.NewWriter(b.k, owner)
	rep := b.sync(d)
	b.clean(rep)
	if len(rep.Done) > 0 {
		t.Errorf("a restart wrote %q", commands(rep.Done))
	}
	b.w = fib.NewWriter(b.k, owner)
	b.clean(b.sync(fib.Desired{}))
	if left := b.k.Text(); left != "" {
		t.Errorf("withdrawal left\n%s", left)
	}
}

// TestWriterFailoverNeedsNoRead: a changed desired state is written from memory,
// in exactly as many calls as there are groups.
func TestWriterFailoverNeedsNoRead(t *testing.T) {
	site := evenSite(3)
	b := begun(t, site.desired())
	after := site.with(0, standby).desired()
	b.k.FailCall(0, nil)
	rep := b.sync(after)
	b.clean(rep)
	b.holds(after)
	if rep.Read || b.k.Calls() != 2 {
		t.Errorf("read %t, %d calls, want one per group: %q", rep.Read, b.k.Calls(), commands(rep.Done))
	}
	if rep = b.sync(after); len(rep.Done) > 0 || b.k.Calls() != 2 {
		t.Errorf("the same state again cost %d calls", b.k.Calls()-2)
	}
}

// TestWriterWritesBeforeItReads: even when the memory is known to be stale, what
// is desired anew goes first.
func TestWriterWritesBeforeItReads(t *testing.T) {
	site := evenSite(3)
	b := begun(t, site.desired())
	b.w.Invalidate("link 2 down")
	b.k.SetLink(2, false)
	after := site.with(0, gone).desired()
	b.k.FailCall(3, errRefused) // The two groups, then whatever comes third.
	rep := b.sync(after)
	if len(rep.Done) < 2 || len(rep.Failed)+len(rep.Done) == 0 || !rep.Read {
		t.Fatalf("report %+v", rep)
	}
	for i := range 2 {
		if _, ok := rep.Done[i].Object.(fib.Group); !ok {
			t.Errorf("write %d was %s, want a group", i, rep.Done[i])
		}
	}
	if rep.Cause != "link 2 down" {
		t.Errorf("cause %q", rep.Cause)
	}
	b.settle(after)
	b.holds(after)
}

// TestLNX_NH_02_CarrierReturns: the kernel takes the next hops of a dead link by
// itself and gives nothing back; the writer does, as soon as it is told to look.
func TestLNX_NH_02_CarrierReturns(t *testing.T) {
	d := evenSite(3).desired()
	b := begun(t, d)
	b.k.SetLink(3, false)
	b.w.Invalidate("link 3 down")
	rep := b.sync(d)
	if rep.InSync || len(rep.Failed) == 0 || rep.Wake.IsZero() {
		t.Errorf("in sync %t, failed %d, wake %s, want a refused next hop and a retry", rep.InSync, len(rep.Failed), rep.Wake)
	}
	for _, f := range rep.Failed {
		if !fib.NotReady(f) {
			t.Errorf("%v does not count as not ready", f)
		}
	}
	for _, f := range fib.Families {
		if g := list(t, b.k).Groups[groupID(f)]; len(g.Members) != 2 {
			t.Errorf("%s group has members %v, want the two that live", f, g.Members)
		}
	}
	b.pass(20 * time.Millisecond)
	b.k.SetLink(3, true)
	b.w.Invalidate("link 3 up")
	b.clean(b.sync(d))
	b.holds(d)
}

// TestWriterRefusedNextHop: a member that the kernel refuses costs nothing but
// itself; it is tried again ever more slowly, and comes back.
func TestWriterRefusedNextHop(t *testing.T) {
	d := evenSite(3).desired()
	b := newBench(t)
	b.k.SetLink(2, false)
	start := b.now
	rep := b.sync(d)
	for _, f := range fib.Families {
		if !b.k.HasDefault(balanceTable, f) {
			t.Errorf("no %s default because of one refused member", f)
		}
	}
	var waits []time.Duration
	for range 10 {
		if rep.InSync || rep.Wake.IsZero() {
			t.Fatalf("in sync %t, wake %s although a next hop is missing", rep.InSync, rep.Wake)
		}
		waits = append(waits, rep.Wake.Sub(b.now))
		b.now = rep.Wake
		rep = b.sync(d)
	}
	if took := b.now.Sub(start); took < 20*time.Second {
		t.Errorf("11 tries in %s: %v", took, waits)
	}
	if longest := slices.Max(waits); longest != fib.RetryMost {
		t.Errorf("longest wait %s, want %s", longest, fib.RetryMost)
	}
	b.k.SetLink(2, true)
	b.now = rep.Wake
	rep = b.sync(d)
	b.clean(rep)
	if len(rep.Repairs) > 0 {
		t.Errorf("repairs %q: it was never there", commands(rep.Repairs))
	}
	b.holds(d)

	// The next failure is a first one again.
	b.pass(time.Minute)
	b.k.SetLink(2, false)
	b.w.Invalidate("link 2 down")
	rep = b.sync(d)
	if wait := rep.Wake.Sub(b.now); rep.InSync || wait != fib.RetryFirst {
		t.Errorf("in sync %t, wait %s: want a first failure to wait %s", rep.InSync, wait, fib.RetryFirst)
	}
}

// failing is a kernel that refuses ops of a kind as long as it is told to.
type failing struct {
	fib.Kernel
	refuse func(fib.Op) bool
}

func (k *failing) Apply(ctx context.Context, ops []fib.Op) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		if k.refuse != nil && k.refuse(op) {
			errs[i] = errRefused
		} else {
			errs[i] = k.Kernel.Apply(ctx, ops[i:i+1])[0]
		}
	}
	return errs
}

// TestWriterFailuresStopNothingElse refuses one kind of op for good: everything
// that does not depend on it is written all the same.
func TestWriterFailuresStopNothingElse(t *testing.T) {
	d := evenSite(2).desired()
	for _, tt := range []struct {
		name   string
		refuse func(fib.Op) bool
		lines  []string // what the kernel must lack, all else it must have
	}{
		{"a rule", func(op fib.Op) bool { r, ok := op.Object.(fib.Rule); return ok && r.Priority == 60 }, []string{"pref 60 "}},
		{"a guard", func(op fib.Op) bool { r, ok := op.Object.(fib.Route); return ok && r.Metric == guardMetric }, []string{"prohibit"}},
		{"the balanced default", func(op fib.Op) bool { r, ok := op.Object.(fib.Route); return ok && r.Table == balanceTable }, []string{"table 221 metric"}},
		{"the groups", func(op fib.Op) bool { _, ok := op.Object.(fib.Group); return ok }, []string{" group ", "table 221 metric"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			k := &failing{b.k, tt.refuse}
			b.w = fib.NewWriter(k, owner)
			rep := b.sync(d)
			if len(rep.Failed) == 0 || rep.InSync || rep.Wake.IsZero() {
				t.Errorf("failed %d, in sync %t, wake %s", len(rep.Failed), rep.InSync, rep.Wake)
			}
			var want []string
			for line := range strings.Lines(builtText(t, d)) {
				if !slices.ContainsFunc(tt.lines, func(s string) bool { return strings.Contains(line, s) }) {
					want = append(want, line)
				}
			}
			if diff := cmp.Diff(strings.Join(want, ""), b.k.Text()); diff != "" {
				t.Errorf("kernel (-want +is):\n%s", diff)
			}
			k.refuse = nil
			b.now = rep.Wake
			b.settle(d)
			b.holds(d)
		})
	}
}

// TestWriterDeletesNothingWhoseSuccessorFailed moves the balanced table and
// refuses each part of the move in turn.
func TestWriterDeletesNothingWhoseSuccessorFailed(t *testing.T) {
	move := func(d fib.Desired, table, priority uint32) fib.Desired {
		d.Routes, d.Rules = slices.Clone(d.Routes), slices.Clone(d.Rules)
		for i := range d.Routes {
			if d.Routes[i].Table == balanceTable {
				d.Routes[i].Table = table
			}
		}
		for i := range d.Rules {
			if d.Rules[i].Table == balanceTable {
				d.Rules[i].Table, d.Rules[i].Priority = table, priority
			}
		}
		return d
	}
	before := evenSite(2).desired()
	after := move(before, 222, 399)
	for _, f := range fib.Families {
		for name, refuse := range map[string]func(fib.Op) bool{
			"route": func(op fib.Op) bool { r, ok := op.Object.(fib.Route); return ok && r.Table == 222 && r.Family() == f },
			"rule":  func(op fib.Op) bool { r, ok := op.Object.(fib.Rule); return ok && r.Table == 222 && r.Family == f },
		} {
			t.Run(name+"/"+f.String(), func(t *testing.T) {
				b := begun(t, before)
				k := &failing{b.k, refuse}
				b.w = fib.NewWriter(k, owner)
				rep := b.sync(after)
				state := list(t, b.k)
				for _, family := range fib.Families {
					stays := family == f
					if b.k.HasDefault(balanceTable, family) != stays {
						t.Errorf("old %s default: want it to stay %t", family, stays)
					}
					if there := state.Rules[fib.Rule{Family: family, Priority: 400, Table: balanceTable}] > 0; there != stays {
						t.Errorf("old %s rule: is there %t, want %t", family, there, stays)
					}
				}
				k.refuse = nil
				b.now = rep.Wake
				b.settle(after)
				b.holds(after)
			})
		}
	}
}

// TestWriterKeepsMembersOfAGroupThatCouldNotBeWritten: to delete a next hop that
// is still in a group would take the group and its routes.
func TestWriterKeepsMembersOfAGroupThatCouldNotBeWritten(t *testing.T) {
	site := evenSite(2).with(0, gone) // only way 1
	after := evenSite(2).with(1, gone)
	b := begun(t, site.desired())
	k := &failing{b.k, func(op fib.Op) bool { _, ok := op.Object.(fib.Group); return ok }}
	b.w = fib.NewWriter(k, owner)
	rep := b.sync(after.desired())
	for _, f := range fib.Families {
		if !b.k.HasDefault(balanceTable, f) {
			t.Errorf("no %s default after a group could not be written: %q", f, commands(rep.Done))
		}
	}
	k.refuse = nil
	b.now = rep.Wake
	b.settle(after.desired())
	b.holds(after.desired())
}

// TestWriterRepairsDrift: what a stranger did to ours is undone and named, once
// the writer is told to look.
func TestWriterRepairsDrift(t *testing.T) {
	d := evenSite(2).desired()
	for _, f := range fib.Families {
		group := list(t, begun(t, d).k).Groups[groupID(f)]
		group.Members = group.Members[:1]
		for _, tt := range []struct {
			name string
			op   fib.Op
			want []string
		}{
			{"rule deleted", fib.Op{Verb: fib.Delete, Protocol: 99, Object: fib.Rule{Family: f, Priority: 400, Table: balanceTable}},
				[]string{"rule add pref 400 lookup 221"}},
			{"default deleted", fib.Op{Verb: fib.Delete, Protocol: 99, Object: fib.Route{Table: balanceTable, Dst: f.Any(), Metric: 1}},
				[]string{"route add default nhid"}},
			{"group changed", fib.Op{Verb: fib.Replace, Protocol: 99, Object: group}, []string{"nexthop replace id"}},
			{"next hop deleted", fib.Op{Verb: fib.Delete, Protocol: 99, Object: fib.NextHop{ID: hopID(0, f)}},
				[]string{"nexthop add id", "nexthop replace id", "route add default nhid"}},
			{"rule with our mark added", fib.Op{Verb: fib.Add, Protocol: 99, Object: fib.Rule{Family: f, Priority: 45, Table: 7}},
				[]string{"rule del pref 45 lookup 7"}},
			{"route with our mark added", fib.Op{Verb: fib.Add, Protocol: 99, Object: fib.Route{Table: 7, Dst: f.Any(), Metric: 1, Type: fib.RouteBlackhole}},
				[]string{"route del blackhole default table 7"}},
		} {
			t.Run(tt.name+"/"+f.String(), func(t *testing.T) {
				b := begun(t, d)
				if err := b.k.Stranger(tt.op); err != nil {
					t.Fatal(err)
				}
				if rep := b.sync(d); len(rep.Done) > 0 {
					t.Fatalf("repaired without being told to look: %q", commands(rep.Done))
				}
				b.w.Invalidate("a stranger wrote")
				rep := b.sync(d)
				b.clean(rep)
				b.holds(d)
				if rep.Cause != "a stranger wrote" || !rep.Read {
					t.Errorf("cause %q, read %t", rep.Cause, rep.Read)
				}
				got := commands(rep.Repairs)
				if len(got) != len(tt.want) || len(rep.Done) != len(got) {
					t.Fatalf("repairs %q of %q, want %q", got, commands(rep.Done), tt.want)
				}
				for i := range got {
					if !strings.Contains(strings.Replace(got[i], "ip -6 ", "ip ", 1), tt.want[i]) {
						t.Errorf("repair %q, want %q", got[i], tt.want[i])
					}
				}
			})
		}
	}
}

func TestWriterDeletesStrays(t *testing.T) {
	d := evenSite(2).desired()
	b := begun(t, d)
	b.k.AddStray(fib.Stray{Text: "route with a tos"})
	b.w.Invalidate("route new")
	rep := b.sync(d)
	b.clean(rep)
	b.holds(d)
	if len(rep.Repairs) != 1 {
		t.Errorf("repairs %q, want the stray", commands(rep.Repairs))
	}
	b.pass(time.Second)
	b.w.Invalidate("once more")
	if rep = b.sync(d); len(rep.Done) > 0 {
		t.Errorf("the stray is gone, but: %q", commands(rep.Done))
	}
}

// TestWriterRepairsAtALimitedRate: whoever deletes our rule at once, every time,
// does not cost us a core.
func TestWriterRepairsAtALimitedRate(t *testing.T) {
	d := evenSite(2).desired()
	b := begun(t, d)
	rule := fib.Op{Verb: fib.Delete, Protocol: 99, Object: fib.Rule{Family: fib.IPv6, Priority: 400, Table: balanceTable}}
	repairs, end := 0, b.now.Add(30*time.Second)
	for b.now.Before(end) {
		if err := b.k.Stranger(rule); err != nil {
			t.Fatal(err)
		}
		b.w.Invalidate("a stranger wrote")
		rep := b.sync(d)
		repairs += len(rep.Repairs)
		b.pass(5 * time.Millisecond)
	}
	least := int(30 * time.Second / fib.RepairEvery)
	most := least + fib.RepairBurst
	if repairs < least || repairs > most {
		t.Errorf("%d repairs in 30 s, want %d to %d", repairs, least, most)
	}

	// A fight does not delay what is desired anew.
	b.k.FailCall(0, nil)
	after := evenSite(2).with(0, standby).desired()
	rep := b.sync(after)
	if len(rep.Done) < 2 {
		t.Errorf("a failover during a fight wrote %q", commands(rep.Done))
	}
}

// TestWriterReadFails: an error is not an empty list.
func TestWriterReadFails(t *testing.T) {
	d := evenSite(2).desired()
	b := begun(t, d)
	before := b.k.Text()
	b.w.Invalidate("look")
	b.k.FailCall(1, unix.EINTR)
	rep := b.sync(d)
	if !errors.Is(rep.ReadErr, unix.EINTR) || rep.InSync || rep.Wake.IsZero() || len(rep.Done) > 0 {
		t.Errorf("report %+v, want the error, a wake and no write", rep)
	}
	if diff := cmp.Diff(before, b.k.Text()); diff != "" {
		t.Errorf("a failed read changed the kernel (-before +after):\n%s", diff)
	}
	if state, known := b.w.Actual(); !known || len(state.NextHops) == 0 {
		t.Errorf("a failed read emptied the memory: known %t, %v", known, state)
	}
	b.now = rep.Wake
	b.clean(b.sync(d))

	// From memory, a failover needs no read.
	b.w.Invalidate("look")
	b.pass(time.Second)
	b.k.FailCall(3, unix.EINTR) // The two groups, then the read.
	after := evenSite(2).with(0, standby).desired()
	rep = b.sync(after)
	if rep.ReadErr == nil || len(rep.Done) != 2 {
		t.Errorf("error %v, done %q: want the failover and a failed read", rep.ReadErr, commands(rep.Done))
	}
	b.holds(after)
	b.settle(after)
}

// TestWriterReadsAtAPace: as long as the kernel cannot be read, calls of Sync do
// not become reads.
func TestWriterReadsAtAPace(t *testing.T) {
	d := evenSite(2).desired()
	for _, started := range []bool{false, true} {
		b := newBench(t)
		if started {
			b = begun(t, d)
			b.w.Invalidate("look")
		}
		k := &unreadable{Kernel: b.k}
		w := fib.NewWriter(k, owner)
		if started {
			k.fine = true
			w.Sync(context.Background(), d, b.now)
			w.Invalidate("look")
			k.fine, k.reads = false, 0
		}
		for range 10000 { // 100 s, more than FullRead
			b.pass(10 * time.Millisecond)
			rep := w.Sync(context.Background(), d, b.now)
			if rep.InSync || rep.Wake.IsZero() || !rep.Wake.After(b.now) {
				t.Fatalf("started %t: report %+v at %s", started, rep, b.now)
			}
			if next := w.Next(rep, b.now); next != rep.Wake.Sub(b.now) {
				t.Fatalf("started %t: next after %s, want %s", started, next, rep.Wake.Sub(b.now))
			}
		}
		if k.reads < 10 || k.reads > 20 {
			t.Errorf("started %t: %d reads in 100 s, want them to become rare", started, k.reads)
		}
		if started == (b.k.Text() == "") {
			t.Errorf("started %t, but the kernel holds\n%s", started, b.k.Text())
		}
		k.fine = true
		b.pass(fib.RetryMost)
		if rep := w.Sync(context.Background(), d, b.now); !rep.InSync {
			t.Errorf("started %t: readable again, but %+v", started, rep)
		}
	}
}

// unreadable is a kernel that cannot be listed until it is fine.
type unreadable struct {
	fib.Kernel
	fine  bool
	reads int
}

func (k *unreadable) List(ctx context.Context, o fib.Owner) (fib.State, error) {
	k.reads++
	if !k.fine {
		return fib.State{}, unix.ENOBUFS
	}
	return k.Kernel.List(ctx, o)
}

// TestWriterBurstsOfEvents: a thousand events within a moment are one or two
// reads.
func TestWriterBurstsOfEvents(t *testing.T) {
	d := evenSite(2).desired()
	b := begun(t, d)
	b.k.FailCall(0, nil)
	for range 1000 {
		b.w.Invalidate("event")
		b.sync(d)
		b.pass(20 * time.Microsecond) // 20 ms in all
	}
	if n := b.k.Calls(); n < 1 || n > 3 {
		t.Errorf("%d reads for 1000 events in 20 ms", n)
	}
	b.settle(d)
}

// TestWriterStaleMemory: the kernel lost the group and its routes in silence just
// before a failover; writing from memory fails, and the read behind it mends.
func TestWriterStaleMemory(t *testing.T) {
	site := evenSite(2)
	b := begun(t, site.desired())
	b.k.SetLink(2, false)
	b.k.SetLink(3, false)
	b.k.SetLink(3, true)
	after := site.with(0, gone).desired()
	reports := b.settle(after)
	b.holds(after)
	if len(reports[0].Repairs) == 0 {
		t.Errorf("what had vanished does not count as repaired: %+v", reports[0])
	}
}

// TestWriterLeavesForeignObjects goes through a life with strangers in the middle
// of our ranges and checks that they are as before.
func TestWriterLeavesForeignObjects(t *testing.T) {
	b := newBench(t)
	if err := b.k.Stranger(foreignOps()...); err != nil {
		t.Fatal(err)
	}
	before := b.k.Text()
	whole := evenSite(3)
	for _, s := range []site{whole, whole.with(0, standby), whole.with(1, gone), evenSite(0), whole} {
		b.settle(s.desired())
		b.w.Invalidate("look")
		b.pass(time.Second)
		b.settle(s.desired())
		for line := range strings.Lines(before) {
			if !strings.Contains(b.k.Text(), line) {
				t.Errorf("foreign %q is gone", line)
			}
		}
	}
	if state := list(t, b.k); len(state.Groups) != 2 || len(state.Taken) != 4 {
		t.Errorf("groups %v, taken %v: want ours beside the strangers'", state.Groups, state.Taken)
	}
	b.settle(fib.Desired{})
	if diff := cmp.Diff(before, b.k.Text()); diff != "" {
		t.Errorf("after withdrawal (-before +after):\n%s", diff)
	}
}

// TestWriterForeignKey: a stranger's route under our key is not overwritten.
func TestWriterForeignKey(t *testing.T) {
	for _, f := range fib.Families {
		b := newBench(t)
		foreign := fib.Route{Table: balanceTable, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, Hops: []fib.Hop{{Device: device(9), Weight: 1}}}
		if err := b.k.Stranger(fib.Op{Verb: fib.Add, Object: foreign, Protocol: 4}); err != nil {
			t.Fatal(err)
		}
		rep := b.sync(evenSite(2).desired())
		if len(rep.Failed) == 0 || !errors.Is(rep.Failed[0], unix.EEXIST) {
			t.Errorf("%s: failed %v, want EEXIST", f, rep.Failed)
		}
		if line := (fib.Op{Verb: fib.Add, Object: foreign, Protocol: 4}).String(); !strings.Contains(b.k.Text(), line) {
			t.Errorf("%s: %q is gone", f, line)
		}
	}
}

// TestWriterSetOwner: what was read under another rule is not written from.
func TestWriterSetOwner(t *testing.T) {
	d := evenSite(2).desired()
	b := begun(t, d)
	before := b.k.Text()
	other := owner
	other.Protocol = 98
	b.w.SetOwner(other)
	moved := fib.Desired{Rules: []fib.Rule{{Family: fib.IPv4, Priority: 45, Table: 7}}}
	rep := b.sync(moved)
	b.clean(rep)
	if len(rep.Done) != 1 || !rep.Read {
		t.Errorf("read %t, done %q: want one rule and nothing deleted", rep.Read, commands(rep.Done))
	}
	for line := range strings.Lines(before) {
		if !strings.Contains(b.k.Text(), line) {
			t.Errorf("%q of the former owner is gone", line)
		}
	}
}

// TestLNX_RT_24_PeriodicFullRead: a default that vanishes in silence is back
// within FullRead, driven by nothing but Next.
func TestLNX_RT_24_PeriodicFullRead(t *testing.T) {
	for name, vanish := range map[string]func(*fibtest.Kernel){
		"links bounce": func(k *fibtest.Kernel) {
			for n := range 2 {
				k.SetLink(n+2, false)
				k.SetLink(n+2, true)
			}
		},
		"group deleted": func(k *fibtest.Kernel) {
			for _, f := range fib.Families {
				k.Apply(context.Background(), []fib.Op{{Verb: fib.Delete, Protocol: 99, Object: fib.Group{ID: groupID(f)}}})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := evenSite(2).desired()
			b := newBench(t)
			rep := b.settle(d)[0]
			vanish(b.k)
			for _, f := range fib.Families {
				if b.k.HasDefault(balanceTable, f) {
					t.Fatalf("the %s default is still there: nothing to repair", f)
				}
			}
			start := b.now
			for !b.k.HasDefault(balanceTable, fib.IPv6) {
				if b.now.Sub(start) > fib.FullRead+time.Second {
					t.Fatalf("no default after %s", b.now.Sub(start))
				}
				b.pass(b.w.Next(rep, b.now))
				rep = b.sync(d)
			}
			b.holds(d)
			if b.now.Sub(start) < fib.FullRead-time.Second {
				t.Errorf("repaired after %s: something else than the periodic read did it", b.now.Sub(start))
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	for err, want := range map[error]bool{
		unix.ENETDOWN: true, unix.ENODEV: true, unix.ENETUNREACH: true, unix.EHOSTUNREACH: true,
		unix.EINVAL: false, unix.EEXIST: false, errRefused: false,
	} {
		if got := fib.NotReady(fib.Failure{Err: err}); got != want {
			t.Errorf("NotReady(%v) = %t, want %t", err, got, want)
		}
	}
}
