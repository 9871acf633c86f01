package fib_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// keeper is a Keep that runs inside a synctest bubble.
type keeper struct {
	k       *fibtest.Kernel
	desired chan fib.Desired
	stop    func()
	mu      sync.Mutex
	reports []fib.Report
}

func startKeep(t *testing.T) *keeper {
	ctx, cancel := context.WithCancel(t.Context())
	p := &keeper{k: fibtest.New(), desired: make(chan fib.Desired)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		fib.Keep(ctx, p.k, owner, p.desired, func(rep fib.Report) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.reports = append(p.reports, rep)
		})
	}()
	p.stop = func() {
		cancel()
		<-done
	}
	return p
}

// taken returns the reports since the last call, once Keep rests.
func (p *keeper) taken() []fib.Report {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.reports
	p.reports = nil
	return out
}

// pass lets the time of the bubble pass.
func pass(d time.Duration) { <-time.After(d) }

func TestKeepWritesAndRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startKeep(t)
		defer p.stop()
		d := evenSite(2).desired()
		p.desired <- d
		if got := p.taken(); len(got) != 1 || !got[0].InSync {
			t.Fatalf("reports %+v, want one in sync", got)
		}
		if diff := cmp.Diff(builtText(t, d), p.k.Text()); diff != "" {
			t.Errorf("kernel (-built anew +is):\n%s", diff)
		}

		rule := fib.Rule{Family: fib.IPv6, Priority: 400, Table: balanceTable}
		if err := p.k.Stranger(fib.Op{Verb: fib.Delete, Object: rule, Protocol: owner.Protocol}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for len(list(t, p.k).Rules) != len(d.Rules) && time.Since(began) < time.Second {
			pass(time.Millisecond)
			synctest.Wait()
		}
		got := p.taken()
		if len(got) != 1 || len(got[0].Repairs) != 1 || got[0].Cause != "a stranger wrote" {
			t.Errorf("reports %+v, want one repair and its cause", got)
		}
		if took := time.Since(began); took > 2*fib.ReadGap {
			t.Errorf("the repair took %s", took)
		}
	})
}

// TestKeepWritesNothingUnasked: events before the first desired state, however
// many, neither read nor write, least of all delete.
func TestKeepWritesNothingUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startKeep(t)
		defer p.stop()
		apply(t, p.k, bringOps(t, evenSite(2).desired()))
		p.k.Writes()
		synctest.Wait()
		p.k.Notify("link 2 up")
		pass(3 * fib.FullRead)
		if got := p.taken(); len(got) > 0 || len(p.k.Writes()) > 0 {
			t.Errorf("reports %+v before anything was desired", got)
		}
		p.desired <- fib.Desired{}
		p.taken()
		if left := p.k.Text(); left != "" {
			t.Errorf("an empty desired state left\n%s", left)
		}
	})
}

// bringOps returns the ops that build d in an empty kernel.
func bringOps(t testing.TB, d fib.Desired) []fib.Op {
	t.Helper()
	want, actual := wanted(t, fibtest.New(), d)
	return fib.Plan(want, actual, owner.Protocol)
}

// TestKeepReadsPeriodically: what vanished without any event is back within
// FullRead.
func TestKeepReadsPeriodically(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startKeep(t)
		defer p.stop()
		d := evenSite(2).desired()
		p.desired <- d
		p.taken()
		p.k.SetLink(2, false)
		p.k.SetLink(2, true)
		pass(fib.FullRead + time.Second)
		got := p.taken()
		if len(got) != 1 || len(got[0].Repairs) == 0 || got[0].Cause != "periodic full read" {
			t.Errorf("reports %+v, want the repairs of a periodic read", got)
		}
		if diff := cmp.Diff(builtText(t, d), p.k.Text()); diff != "" {
			t.Errorf("kernel (-built anew +is):\n%s", diff)
		}
		// And an untouched kernel costs one read per period.
		p.k.FailCall(0, nil)
		pass(10*fib.FullRead + time.Second)
		synctest.Wait()
		if n := p.k.Calls(); n < 9 || n > 11 {
			t.Errorf("%d calls in ten periods", n)
		}
	})
}

// TestKeepRetries: a refused next hop comes back by itself, and a kernel that
// cannot be read is asked ever more rarely.
func TestKeepRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startKeep(t)
		defer p.stop()
		p.k.FailCall(1, errRefused)
		d := evenSite(2).desired()
		p.desired <- d
		if got := p.taken(); len(got) != 1 || got[0].ReadErr == nil {
			t.Fatalf("reports %+v, want a failed read", got)
		}
		p.k.SetLink(2, false)
		pass(fib.RetryFirst + time.Second)
		if got := p.taken(); len(got) < 3 || got[len(got)-1].InSync || len(got) > 10 {
			t.Fatalf("%d reports, want a few with a refused next hop", len(got))
		}
		p.k.SetLink(2, true)
		pass(fib.RetryMost)
		got := p.taken()
		if len(got) == 0 || !got[len(got)-1].InSync {
			t.Fatalf("reports %+v, want to end in sync", got)
		}
		if diff := cmp.Diff(builtText(t, d), p.k.Text()); diff != "" {
			t.Errorf("kernel (-built anew +is):\n%s", diff)
		}
	})
}

// TestKeepNeverSpins: with a kernel that can never be read or written, an hour
// costs few calls.
func TestKeepNeverSpins(t *testing.T) {
	for name, k := range map[string]*broken{
		"unreadable": {list: true}, "unwritable": {apply: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k.Kernel = fibtest.New()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				desired := make(chan fib.Desired, 1)
				desired <- evenSite(2).desired()
				fib.Keep(ctx, k, owner, desired, nil)
				if k.lists < 100 || k.lists > 1000 {
					t.Errorf("%d reads in an hour", k.lists)
				}
			})
		})
	}
}

// broken is a kernel that can never be read, or written.
type broken struct {
	*fibtest.Kernel
	list, apply bool
	lists       int
}

func (k *broken) List(ctx context.Context, o fib.Owner) (fib.State, error) {
	k.lists++
	if k.list {
		return fib.State{}, errRefused
	}
	return k.Kernel.List(ctx, o)
}

func (k *broken) Apply(ctx context.Context, ops []fib.Op) []error {
	if !k.apply {
		return k.Kernel.Apply(ctx, ops)
	}
	errs := make([]error, len(ops))
	for i := range errs {
		errs[i] = errRefused
	}
	return errs
}

// TestKeepEnds: with its context or its channel, leaving the kernel as it is and
// no watcher behind.
func TestKeepEnds(t *testing.T) {
	for name, end := range map[string]func(*keeper){
		"context": func(p *keeper) { p.stop() },
		"channel": func(p *keeper) { close(p.desired) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startKeep(t)
				p.desired <- evenSite(2).desired()
				p.taken()
				before := p.k.Text()
				end(p)
				synctest.Wait()
				if p.k.Watchers() != 0 {
					t.Error("somebody still watches")
				}
				if before == "" || p.k.Text() != before {
					t.Errorf("kernel was\n%s\nand is\n%s", before, p.k.Text())
				}
				p.stop()
			})
		})
	}
}

func TestChanges(t *testing.T) {
	c := fib.NewChanges()
	if c.Take() != "" {
		t.Error("a reason before the first")
	}
	c.Put("first")
	c.Put("second") // Must not block.
	<-c.C()
	if got := c.Take(); got != "first" {
		t.Errorf("reason %q, want the first", got)
	}
	select {
	case <-c.C():
		t.Error("two puts before a take are one change")
	default:
	}
	c.Put("third")
	<-c.C()
	if got := c.Take(); got != "third" {
		t.Errorf("reason %q, want the third", got)
	}
}
