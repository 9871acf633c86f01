package fib_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// A link that loses its carrier takes a group and its routes with it, in silence.
func TestBulkRepairsWhatVanishedWithItsGroup(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 300)
		r.set(2, 300, 600)
		time.Sleep(bulkSettled)
		r.k.SetLink(1, false)
		r.wantTable("without the link", [3]int{300, 600, 2})
		r.groups(2)
		time.Sleep(bulkSettled)
		synctest.Wait()
		r.wantStats("while the group is gone", fib.BulkStats{Routes: 600, Pending: 600, Waiting: 600, Written: 1200, Repaired: 600})
		r.wantUse("while the group is gone", 1, 2)
		r.k.SetLink(1, true)
		r.draw(1)
		r.groups(1, 2)
		r.wantTable("after its return", [3]int{0, 300, 1}, [3]int{300, 600, 2})

		// Gone and back before anybody looked: somebody who knows says so.
		time.Sleep(bulkSettled)
		r.k.SetLink(1, false)
		r.k.SetLink(1, true)
		r.draw(1)
		r.b.Invalidate("a group was made again")
		synctest.Wait()
		r.wantTable("made again", [3]int{0, 300, 1}, [3]int{300, 600, 2})
		r.wantStats("made again", fib.BulkStats{Routes: 1200, Written: 2400, Repaired: 1200})
	})
}

// bulkSettled is longer than the gap between two reads of the table.
const bulkSettled = 5 * time.Second

// What others did to our routes is found by the periodic look at the latest.
func TestBulkRepairsWhatOthersChanged(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 100)
		r.b.Sweep()
		synctest.Wait()
		ours := func(n int, metric, to uint32) fib.Route {
			return fib.Route{Table: 222, Dst: prefixOf(fib.IPv4, n), Metric: metric, Type: fib.RouteUnicast, NextHopID: to}
		}
		blackhole := ours(4, 20, 0)
		blackhole.Type = fib.RouteBlackhole
		if err := r.k.Stranger(
			fib.Op{Verb: fib.Delete, Object: ours(0, 20, 0), Protocol: 100},
			fib.Op{Verb: fib.Replace, Object: ours(1, 20, bulkGroup(2)), Protocol: 100},
			fib.Op{Verb: fib.Add, Object: ours(2, 21, bulkGroup(1)), Protocol: 100},
			fib.Op{Verb: fib.Add, Object: ours(200, 20, bulkGroup(1)), Protocol: 100},
			fib.Op{Verb: fib.Replace, Object: blackhole, Protocol: 100},
			fib.Op{Verb: fib.Add, Object: ours(300, 20, bulkGroup(1)), Protocol: 4},
			fib.Op{Verb: fib.Add, Object: ours(2, 22, bulkGroup(1)), Protocol: 4},
		); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		r.wantTable("after ten minutes", [3]int{0, 100, 1})
		r.wantStats("after ten minutes", fib.BulkStats{Routes: 200, Written: 204, Repaired: 4})
		text := r.k.Text()
		for _, foreign := range []string{
			"ip route add 20.1.44.0/24 nhid 2101 table 222 metric 20 proto 4\n",
			"ip route add 20.0.2.0/24 nhid 2101 table 222 metric 22 proto 4\n",
		} {
			if !strings.Contains(text, foreign) {
				t.Errorf("the foreign route %q was touched", foreign)
			}
		}
		if strings.Contains(text, "metric 21") {
			t.Error("a route of ours with another metric stays")
		}
	})
}

// A stranger's route in the place of ours is named, not touched, and costs no other
// route anything.
func TestBulkLeavesForeignRoutesInItsPlace(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		foreign := fib.Route{Table: 222, Dst: prefixOf(fib.IPv6, 3), Metric: 20, Type: fib.RouteUnicast, NextHopID: bulkGroup(9)}
		if err := r.k.Stranger(fib.Op{Verb: fib.Add, Object: foreign, Protocol: 12}); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.groups(1)
		r.set(1, 0, 10)
		time.Sleep(bulkSettled)
		synctest.Wait()
		if n := len(r.k.BulkTable(bulkOwner)); n != 19 {
			t.Errorf("%d routes, want 19", n)
		}
		stats := r.b.Stats()
		if stats.Routes != 19 || stats.Pending != 1 || !strings.Contains(stats.Error, "remove it with: ip -6 route del 2a00:3::/48 table 222 metric 20 proto bird") {
			t.Errorf("%+v", stats)
		}
		lists := r.k.BulkCalls()
		time.Sleep(5 * time.Minute)
		if n := r.k.BulkCalls() - lists; n > 8 {
			t.Errorf("%d calls in five minutes for one route that is refused", n)
		}
		if err := r.k.Stranger(fib.Op{Verb: fib.Delete, Object: foreign, Protocol: 12}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.wantTable("without the stranger", [3]int{0, 10, 1})
		if e := r.b.Stats().Error; e != "" {
			t.Errorf("error %q", e)
		}
	})
}

// Each call failing once, whichever it is, delays and changes nothing.
func TestBulkConvergesWhateverFails(t *testing.T) {
	story := func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 3)
		r.set(2, 1, 2)
		r.set(0, 2, 3)
		r.b.Sweep()
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	calls := 0
	bulkTest(t, func(r *bulkRig) { story(r); calls = r.k.BulkCalls() })
	if calls < 10 {
		t.Fatalf("only %d calls", calls)
	}
	for n := 1; n <= calls; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bulkTest(t, func(r *bulkRig) {
				r.k.FailBulkCall(n, errRefused)
				story(r)
				r.wantTable("then", [3]int{0, 1, 1}, [3]int{1, 2, 2})
				if s := r.b.Stats(); s.Pending != 0 || s.Error != "" {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// What the kernel refuses is kept with its reason and tried again when groups change,
// or after a while.
func TestBulkTriesAgain(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.b.Groups(map[uint32]uint32{bulkGroup(1): bulkGroup(1), 2120: 2120}) // 2120 is not there
		var routes []fib.BulkRoute
		for n := range 2000 {
			routes = append(routes, fib.BulkRoute{Prefix: prefixOf(fib.IPv4, n), Group: 2120})
		}
		if err := r.b.Set(r.t.Context(), routes); err != nil {
			t.Fatal(err)
		}
		r.set(1, 5000, 5010)
		r.wantTable("beside refused ones", [3]int{5000, 5010, 1})
		r.wantStats("refused", fib.BulkStats{Routes: 20, Pending: 2000, Written: 20, Failed: 2000, Error: "nexthop id 2120 does not exist: invalid argument (and 1999 more)"})
		apply(t, r.k, []fib.Op{{Verb: fib.Add, Object: fib.Group{
			ID: 2120, Type: fib.GroupHashThreshold, Members: []fib.Member{{NextHop: 1002, Weight: 1}},
		}, Protocol: owner.Protocol}})
		time.Sleep(bulkSettled)
		synctest.Wait()
		r.wantStats("after a while", fib.BulkStats{Routes: 2020, Written: 2020, Failed: r.b.Stats().Failed})

		// Refused for long, the next try would be far away; a group that comes brings it.
		r.b.Groups(map[uint32]uint32{bulkGroup(1): bulkGroup(1), 2120: 2120, 2121: 2121})
		if err := r.b.Set(r.t.Context(), []fib.BulkRoute{{Prefix: prefixOf(fib.IPv4, 9000), Group: 2121}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Minute + time.Millisecond)
		apply(t, r.k, []fib.Op{{Verb: fib.Add, Object: fib.Group{
			ID: 2121, Type: fib.GroupHashThreshold, Members: []fib.Member{{NextHop: 1002, Weight: 1}},
		}, Protocol: owner.Protocol}})
		r.b.Groups(map[uint32]uint32{bulkGroup(1): bulkGroup(1), 2120: 2120, 2121: 2121, 2122: 2122})
		synctest.Wait()
		r.wantStats("after the group has come", fib.BulkStats{Routes: 2021, Written: 2021, Failed: r.b.Stats().Failed})
	})
}

// Set waits while too much is unwritten, and no longer than its context.
func TestBulkSetWaits(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.groups(1)
		r.set(1, 0, 100_000) // two families
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
		defer cancel()
		one := []fib.BulkRoute{{Prefix: prefixOf(fib.IPv4, 200_000), Group: bulkGroup(1)}}
		began := time.Now()
		if err := r.b.Set(ctx, one); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		told := make(chan error)
		go func() { told <- r.b.Set(r.t.Context(), one) }()
		synctest.Wait()
		r.run()
		if err := <-told; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := len(r.k.BulkTable(bulkOwner)); n != 200_001 {
			t.Errorf("%d routes", n)
		}
	})
}

// What cannot be is refused in words, and nothing else is.
func TestBulkRefusesWhatCannotBe(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1)
		for _, wrong := range []fib.BulkRoute{
			{Group: bulkGroup(1)},
			{Prefix: fib.IPv4.Any(), Group: bulkGroup(1)},
			{Prefix: netip.MustParsePrefix("192.0.2.1/24"), Group: bulkGroup(1)},
			{Prefix: netip.MustParsePrefix("::ffff:192.0.2.0/120"), Group: bulkGroup(1)},
			{Prefix: prefixOf(fib.IPv4, 1), Group: 5},
			{Prefix: prefixOf(fib.IPv4, 1), Group: 1 << 31},
		} {
			right := fib.BulkRoute{Prefix: prefixOf(fib.IPv6, 1), Group: bulkGroup(1)}
			if err := r.b.Set(r.t.Context(), []fib.BulkRoute{wrong, right}); err == nil {
				t.Errorf("%v is taken", wrong)
			}
		}
		synctest.Wait()
		if n := len(r.k.BulkTable(bulkOwner)); n != 1 {
			t.Errorf("%d routes", n)
		}
	})
}

// silentKernel answers nothing while it is silent.
type silentKernel struct {
	*fibtest.Kernel
	silent atomic.Bool
	asked  atomic.Int32
}

func (k *silentKernel) ApplyBulk(ctx context.Context, o fib.BulkOwner, writes []fib.BulkWrite) []error {
	k.asked.Add(1)
	if !k.silent.Load() {
		errs := k.Kernel.ApplyBulk(ctx, o, writes)
		if errors.Join(errs...) == nil {
			return nil
		}
		return errs
	}
	errs := make([]error, len(writes))
	for i := range errs {
		errs[i] = unix.ENOBUFS
	}
	return errs
}

// A kernel that does not answer at all is asked less and less often, and gets all of
// it once it does.
func TestBulkDoesNotPressASilentKernel(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		k := &silentKernel{Kernel: r.k}
		k.silent.Store(true)
		r.kernel = k
		r.anew()
		r.run()
		r.groups(1)
		r.set(1, 0, 5000)
		time.Sleep(time.Minute)
		if n := k.asked.Load(); n > 10 {
			t.Errorf("asked %d times in a minute", n)
		}
		k.silent.Store(false)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		r.wantTable("then", [3]int{0, 5000, 1})
		r.wantUse("then", 1)
	})
}
