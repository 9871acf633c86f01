package fib_test

import (
	"context"
	"errors"
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
	t.Helper()
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
