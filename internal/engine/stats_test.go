package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

func ruleOp(priority uint32) fib.Op {
	return fib.Op{Verb: fib.Add, Protocol: 221, Object: fib.Rule{Family: fib.IPv4, Priority: priority, Table: 221}}
}

const refused, tooFar = "the kernel refused a write", "not everything that is wanted can be had"

// TestStats_failures: what fails is logged once per change, shown as long as it lasts,
// and a pass that tries nothing says nothing.
func TestStats_failures(t *testing.T) {
	fail := func(err error, ops ...fib.Op) fib.Report {
		var rep fib.Report
		for _, op := range ops {
			rep.Failed = append(rep.Failed, fib.Failure{Op: op, Err: err})
		}
		return rep
	}
	idle := fib.Report{}
	fine := fib.Report{InSync: true, Read: true}
	tests := []struct {
		name                 string
		reports              []fib.Report
		warned, told, errors int
	}{
		{"once", []fib.Report{fail(unix.EPERM, ruleOp(1))}, 1, 0, 1},
		{"again and again", []fib.Report{fail(unix.EPERM, ruleOp(1)), fail(unix.EPERM, ruleOp(1)), fail(unix.EPERM, ruleOp(1))}, 1, 0, 1},
		{"with passes between the tries", []fib.Report{fail(unix.EPERM, ruleOp(1)), idle, fail(unix.EPERM, ruleOp(1)), idle}, 1, 0, 1},
		{"another cause", []fib.Report{fail(unix.EPERM, ruleOp(1)), fail(unix.EINVAL, ruleOp(1))}, 2, 0, 1},
		{"until it works", []fib.Report{fail(unix.EPERM, ruleOp(1)), fine, fine}, 1, 1, 0},
		{"and again", []fib.Report{fail(unix.EPERM, ruleOp(1)), fine, fail(unix.EPERM, ruleOp(1))}, 2, 1, 1},
		{"a link that is not ready is quiet", []fib.Report{fail(unix.ENETDOWN, ruleOp(1)), fine}, 0, 0, 0},
		{"and is shown all the same", []fib.Report{fail(unix.ENETDOWN, ruleOp(1), ruleOp(2))}, 0, 0, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s stats
			j := &journal{}
			for _, rep := range tt.reports {
				s.record(j.logger(), rep, epoch)
			}
			if got := j.count("level=WARN", refused); got != tt.warned {
				t.Errorf("warned %d times, want %d", got, tt.warned)
			}
			if got := j.count("takes all writes again"); got != tt.told {
				t.Errorf("told %d times that it works, want %d", got, tt.told)
			}
			if got := s.present(); len(got) != tt.errors {
				t.Errorf("errors are %q, want %d", got, tt.errors)
			}
		})
	}
}

// TestStats_problems: what cannot be had is shown until a pass finds that it can.
func TestStats_problems(t *testing.T) {
	var s stats
	j := &journal{}
	short := fib.Report{InSync: true, Read: true, Problems: []string{"no free id"}}
	for _, rep := range []fib.Report{short, {InSync: true}, {}, short} {
		s.record(j.logger(), rep, epoch)
		if got := s.present(); len(got) != 1 || got[0] != "no free id" {
			t.Errorf("errors are %q", got)
		}
	}
	if n := j.count(tooFar); n != 1 {
		t.Errorf("logged %d times", n)
	}
	s.record(j.logger(), fib.Report{InSync: true, Read: true}, epoch)
	if got := s.present(); len(got) != 0 || j.count("can be had again") != 1 {
		t.Errorf("errors are %q after all", got)
	}
}

// TestStats_reads: a kernel that cannot be read is logged once, shown until it was
// read, and hides nothing of what was written in the same pass.
func TestStats_reads(t *testing.T) {
	var s stats
	j := &journal{}
	broken := fib.Report{ReadErr: errTest, Done: []fib.Op{ruleOp(1)}, Failed: []fib.Failure{{Op: ruleOp(2), Err: unix.EPERM}}, InSync: true}
	s.record(j.logger(), broken, epoch)
	if s.writes != 1 || s.lastChange == "" || j.count("kernel write") != 1 || j.count(refused) != 1 {
		t.Errorf("the writes before the reading were lost: %+v", s)
	}
	for _, rep := range []fib.Report{{InSync: true}, {ReadErr: errTest}, {InSync: true}} {
		s.record(j.logger(), rep, epoch)
		if s.inSync || s.present()[0] != "told to fail" {
			t.Errorf("in sync %t, errors %q", s.inSync, s.present())
		}
	}
	if n := j.count("cannot read the kernel"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	s.record(j.logger(), fib.Report{InSync: true, Read: true}, epoch)
	if !s.inSync || len(s.present()) != 0 || s.resyncs != 1 || j.count("can be read again") != 1 {
		t.Errorf("after all: in sync %t, errors %q", s.inSync, s.present())
	}
}

// TestStats_drift: a repair names its cause and what was restored; the same one is
// logged once a minute however often it happens.
func TestStats_drift(t *testing.T) {
	var s stats
	j := &journal{}
	repair := fib.Report{Done: []fib.Op{ruleOp(7)}, Repairs: []fib.Op{ruleOp(7)}, Cause: "rule del 7 ipv4", Read: true, InSync: true}
	for i := range 100 {
		s.record(j.logger(), repair, epoch.Add(time.Duration(i)*100*time.Millisecond))
	}
	const want = "rule del 7 ipv4; restored with: ip rule add pref 7 lookup 221 protocol 221"
	if s.drifts != 100 || s.lastDrift != want || !s.lastDriftAt.Equal(epoch.Add(9900*time.Millisecond)) {
		t.Errorf("%d drifts, the last at %s: %s", s.drifts, s.lastDriftAt, s.lastDrift)
	}
	if j.count("level=WARN", "drift") != 1 || j.count("level=INFO", "kernel write") != 1 || j.count("level=DEBUG", "kernel write") != 99 {
		t.Error("a hundred repairs are logged a hundred times")
	}
	s.record(j.logger(), repair, epoch.Add(2*time.Minute))
	other := repair
	other.Repairs = []fib.Op{ruleOp(8)}
	s.record(j.logger(), other, epoch.Add(2*time.Minute))
	if n := j.count("level=WARN", "drift"); n != 3 {
		t.Errorf("%d warnings, want one more after a minute and one for another object", n)
	}
	if s.lastChange != "" {
		t.Errorf("a repair is no change of ours: %s", s.lastChange)
	}
}

func TestJoin(t *testing.T) {
	var ops []fib.Op
	for n, want := range []string{"", "pref 1", "; ", "; ", "; and 1 more", "; and 2 more"} {
		if got := join(ops); !strings.Contains(got, want) {
			t.Errorf("join of %d ops is %q", n, got)
		}
		ops = append(ops, ruleOp(uint32(n+1)))
	}
}

// TestDrift_endToEnd: the writer's repairs reach the statistics, a change of our own
// does not.
func TestDrift_endToEnd(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	b.pass(time.Second)
	if b.stats.drifts != 0 {
		t.Fatalf("%d drifts at the start", b.stats.drifts)
	}
	if err := b.fake.Stranger(fib.Op{Verb: fib.Delete, Protocol: 221, Object: fib.Rule{Family: fib.IPv4, Priority: 221, Table: 221}}); err != nil {
		t.Fatal(err)
	}
	b.writer.Invalidate("rule del 221 ipv4")
	b.pass(time.Second)
	if b.stats.drifts != 1 || !strings.HasPrefix(b.stats.lastDrift, "rule del 221 ipv4; restored with: ip rule add pref 221") {
		t.Errorf("%d drifts, the last %q", b.stats.drifts, b.stats.lastDrift)
	}
}

// TestStats_failingKernel: a kernel that refuses one op for long is complained of once,
// while the loop turns for other reasons as well.
func TestStats_failingKernel(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	b.opts.Kernel = stubborn{b.fake}
	b.writer = fib.NewWriter(b.opts.Kernel, b.site.owner)
	for range 50 {
		b.pass(100 * time.Millisecond)
	}
	if n := b.log.count(refused, "pref 50"); n != 2 {
		t.Errorf("logged %d times, want once per family", n)
	}
	if len(b.stats.present()) != 2 || b.stats.inSync {
		t.Errorf("in sync %t, errors %q", b.stats.inSync, b.stats.present())
	}
}

// stubborn refuses rules of priority 50.
type stubborn struct{ *fibtest.Kernel }

func (k stubborn) Apply(ctx context.Context, ops []fib.Op) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		if r, ok := op.Object.(fib.Rule); ok && r.Priority == 50 {
			errs[i] = fmt.Errorf("not that one: %w", unix.EPERM)
			continue
		}
		errs[i] = k.Kernel.Apply(ctx, []fib.Op{op})[0]
	}
	return errs
}
