package fib_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
)

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
