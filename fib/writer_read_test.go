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
