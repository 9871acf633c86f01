package netmon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var watchGateway = Config{
	Neighbours: []Watch{{Link: "eth1", Address: fakeGateway, Interval: 5 * time.Second}},
	LearnFrom:  []string{"eth1"},
}

// The rounds of a silent gateway as they are really asked for: three seconds of
// solicitations and then 1, 3, 9, 27, 60, 60 s of patience.
func TestNUD_13_loop(t *testing.T) {
	bubble(t, newFakeKernel(), watchGateway, func(r *fakeRun) {
		r.pass(4*time.Minute, partNeighbours)
		s := time.Second
		if diff := cmp.Diff([]time.Duration{4 * s, 6 * s, 12 * s, 30 * s, 63 * s, 63 * s}, r.waits()); diff != "" {
			t.Errorf("time between rounds (-want +got):\n%s", diff)
		}
		snap, _ := r.Snapshot()
		n := snap.Neighbours[fakeKey]
		if n.Failures != 7 {
			t.Errorf("%d failures, want 7", n.Failures)
		}
		r.k.set(func() { r.k.entries[fakeKey].state, r.k.entries[fakeKey].changed = NUDReachable, time.Now() })
		r.pass(time.Second, partNeighbours)
		snap, _ = r.Snapshot()
		if n := snap.Neighbours[fakeKey]; n.Failures != 0 || n.State != NUDReachable {
			t.Errorf("after an answer: %+v", n)
		}
	})
}

// Nothing is asked while the link is down, has no carrier or does not exist, and the
// neighbour is asked at once when it is back.
func TestNUD_15(t *testing.T) {
	for name, breakLink := range map[string]func(*fakeKernel){
		"down":       func(k *fakeKernel) { k.linkList[0].AdminUp, k.linkList[0].Carrier = false, false },
		"no carrier": func(k *fakeKernel) { k.linkList[0].Carrier = false },
		"gone":       func(k *fakeKernel) { k.linkList = nil },
	} {
		t.Run(name, func(t *testing.T) {
			k := newFakeKernel()
			healthy := k.linkList[0]
			bubble(t, k, watchGateway, func(r *fakeRun) {
				r.pass(30*time.Second, partNeighbours)
				k.set(func() { breakLink(k); delete(k.entries, fakeKey) })
				r.mark(partLinks)
				synctest.Wait()
				before := len(r.waits())
				r.pass(10*time.Minute, partLinks|partNeighbours)
				if got := len(r.waits()); got != before {
					t.Errorf("%d solicitations over a dead link", got-before)
				}
				k.set(func() { k.linkList = []Link{healthy} })
				r.pass(time.Second, partLinks)
				if got := len(r.waits()); got != before+1 {
					t.Errorf("%d solicitations after the link is back, want 1 at once", got-before)
				}
			})
		})
	}
}

// With a gateway that answers, the work per interval is one question and one answer.
func TestIdle(t *testing.T) {
	k := newFakeKernel()
	k.entries[fakeKey] = &fakeEntry{answers: true}
	bubble(t, k, watchGateway, func(r *fakeRun) {
		r.pass(10*time.Minute, 0)
		c := r.Counters()
		if c.Solicitations < 115 || c.Solicitations > 121 {
			t.Errorf("%d solicitations in 10 minutes at 5 s", c.Solicitations)
		}
		if len(k.linkReads) > 12 || len(k.routeReads) > 12 {
			t.Errorf("%d readings of links and %d of routes in 10 minutes of silence", len(k.linkReads), len(k.routeReads))
		}
		if c.Reads > 2*c.Solicitations+30 {
			t.Errorf("%d readings for %d solicitations", c.Reads, c.Solicitations)
		}
	})
}

// Events that nobody saw are made good by the next full reading.
func TestFullReading(t *testing.T) {
	k := newFakeKernel()
	bubble(t, k, Config{LearnFrom: []string{"eth1"}}, func(r *fakeRun) {
		k.set(func() {
			k.linkList[0].Carrier = false
			k.routes.defaults = nil
		})
		r.pass(fullEvery-time.Second, 0)
		if s, _ := r.Snapshot(); !s.Links["eth1"].Carrier || len(s.Defaults) != 1 {
			t.Fatal("the change was seen without an event: this test proves nothing")
		}
		r.pass(2*time.Second, 0)
		if s, _ := r.Snapshot(); s.Links["eth1"].Carrier || len(s.Defaults) != 0 {
			t.Errorf("after a minute the snapshot is %+v", s)
		}
	})
}

// The first event is looked at without delay, the following ones at most every 10
// ms, and the last is not lost.
func TestCoalescing(t *testing.T) {
	k := newFakeKernel()
	bubble(t, k, Config{}, func(r *fakeRun) {
		r.pass(time.Second, 0)
		k.set(func() { k.linkReads = nil })
		began := time.Now()
		for i := range 1000 {
			k.set(func() { k.linkList[0].MTU = i })
			r.mark(partLinks)
			waitContext(context.Background(), 100*time.Microsecond)
		}
		r.pass(time.Second, 0)
		if len(k.linkReads) == 0 || !k.linkReads[0].Equal(began) {
			t.Errorf("the first event was not looked at at once: %v", k.linkReads)
		}
		if n := len(k.linkReads); n < 10 || n > 12 {
			t.Errorf("%d readings for a burst of 100 ms, want one per 10 ms", n)
		}
		if s, _ := r.Snapshot(); s.Links["eth1"].MTU != 999 {
			t.Errorf("the last change is missing: MTU %d", s.Links["eth1"].MTU)
		}
	})
}

// No snapshot and no poke without a change.
func TestPokes(t *testing.T) {
	k := newFakeKernel()
	bubble(t, k, Config{LearnFrom: []string{"eth1"}}, func(r *fakeRun) {
		before := len(r.pokes)
		if before == 0 {
			t.Fatal("no poke for the first snapshot")
		}
		r.pass(5*time.Second, partAll)
		if n := len(r.pokes) - before; n != 0 {
			t.Errorf("%d pokes without a change", n)
		}
		r.Configure(Config{LearnFrom: []string{"eth1"}})
		r.pass(time.Second, 0)
		if n := len(r.pokes) - before; n != 1 {
			t.Errorf("%d pokes for a new configuration that changes nothing, want 1", n)
		}
	})
}

// There is no snapshot until everything was read, and what cannot be read is kept.
func TestFailingReadings(t *testing.T) {
	broken := errors.New("broken")
	k := newFakeKernel()
	k.linksErr, k.routesErr = broken, broken
	bubble(t, k, Config{LearnFrom: []string{"eth1"}}, func(r *fakeRun) {
		r.pass(10*time.Second, 0)
		if _, ok := r.Snapshot(); ok {
			t.Fatal("a snapshot without links")
		}
		k.set(func() { k.linksErr = nil })
		r.pass(10*time.Second, 0)
		if _, ok := r.Snapshot(); ok {
			t.Fatal("a snapshot without default routes")
		}
		k.set(func() { k.routesErr = nil })
		r.pass(10*time.Second, 0)
		first, ok := r.Snapshot()
		if !ok {
			t.Fatal("no snapshot although everything can be read")
		}
		k.set(func() { k.linksErr, k.routesErr = broken, broken; k.linkList, k.routes.defaults = nil, nil })
		r.pass(10*time.Second, partAll)
		if diff := cmp.Diff(first, snapshotOf(r), compareSnapshots); diff != "" {
			t.Errorf("an error changed the snapshot (-before +after):\n%s", diff)
		}
		if failures := r.Counters().Failures; failures < 2 {
			t.Errorf("%d failures counted", failures)
		}
	})
}

// compareSnapshots compares addresses by value.
var compareSnapshots = cmp.Options{
	cmp.Comparer(func(a, b Address) bool { return a == b }),
	cmp.Comparer(func(a, b Default) bool { return a == b }),
	cmp.Comparer(func(a, b Neighbour) bool { return a == b }),
}

func snapshotOf(r *fakeRun) *Snapshot {
	s, _ := r.Snapshot()
	return s
}

// News of links do not wait for a long reading of routes, and a change of routes
// during the reading is read again.
func TestSlowRoutes(t *testing.T) {
	k := newFakeKernel()
	bubble(t, k, Config{LearnFrom: []string{"eth1"}}, func(r *fakeRun) {
		r.pass(time.Second, 0)
		k.set(func() { k.slow = 20 * time.Second })
		r.mark(partDefaults)
		r.pass(time.Second, 0)
		k.set(func() { k.linkList[0].Carrier = false; k.routes.defaults = nil })
		r.mark(partLinks | partDefaults)
		synctest.Wait()
		if s := snapshotOf(r); s.Links["eth1"].Carrier || len(s.Defaults) != 1 {
			t.Errorf("during the reading the snapshot is %+v", s)
		}
		r.pass(45*time.Second, 0)
		if s := snapshotOf(r); len(s.Defaults) != 0 {
			t.Errorf("after two readings the defaults are %+v", s.Defaults)
		}
		// A reading of 20 s is not repeated every minute.
		reads := len(k.routeReads)
		r.pass(20*time.Minute, 0)
		if n := len(k.routeReads) - reads; n > 0 {
			t.Errorf("%d costly readings in 20 minutes without an event", n)
		}
	})
}

// A new configuration keeps the last snapshot until the routes were read for it, and
// a result for the old configuration is not taken for the new one.
func TestConfigureHoldsSnapshot(t *testing.T) {
	k := newFakeKernel()
	second := Link{Name: "eth2", Index: 3, AdminUp: true, Carrier: true}
	k.linkList = append(k.linkList, second)
	bubble(t, k, Config{LearnFrom: []string{"eth1"}}, func(r *fakeRun) {
		r.pass(time.Second, 0)
		k.set(func() { k.slow = 5 * time.Second })
		r.mark(partDefaults)
		r.pass(time.Second, 0)
		pokes := len(r.pokes)
		k.set(func() {
			k.routes.defaults = append([]Default{{LinkIndex: 3, Dst: prefix("::/0"), Gateway: addr("fe80::1")}}, k.routes.defaults...)
		})
		r.Configure(Config{LearnFrom: []string{"eth2", "eth1", "eth2"}})
		r.pass(5*time.Second, 0)
		if len(r.pokes) != pokes {
			t.Errorf("a snapshot before the routes of the new configuration were read: %+v", snapshotOf(r))
		}
		r.pass(5*time.Second, 0)
		if s := snapshotOf(r); len(s.Defaults) != 2 {
			t.Errorf("the defaults are %+v", s.Defaults)
		}
		if diff := cmp.Diff([]int{3, 2}, k.indices); diff != "" {
			t.Errorf("links read (-want +got):\n%s", diff)
		}
		// An error ends the waiting, and keeps the routes.
		k.set(func() { k.routesErr = errors.New("broken"); k.linkList[0].MTU = 9000 })
		r.Configure(Config{LearnFrom: []string{"eth1"}})
		r.pass(6*time.Second, 0)
		if s := snapshotOf(r); s.Links["eth1"].MTU != 9000 || len(s.Defaults) != 2 {
			t.Errorf("after an error the snapshot is %+v", s)
		}
	})
}

// A neighbour that stays configured keeps its history; one that goes is forgotten.
func TestConfigureNeighbours(t *testing.T) {
	bubble(t, newFakeKernel(), watchGateway, func(r *fakeRun) {
		r.pass(10*time.Second, partNeighbours)
		before := snapshotOf(r).Neighbours[fakeKey]
		if before.Failures == 0 {
			t.Fatal("no failures: this test proves nothing")
		}
		r.Configure(Config{Neighbours: []Watch{
			{Link: "eth1", Address: fakeGateway, Interval: time.Minute},
			{Link: "eth1", Address: addr("192.0.2.99")},
			{Link: "eth9", Address: addr("192.0.2.99"), Interval: time.Second},
		}})
		r.pass(time.Second, 0)
		s := snapshotOf(r)
		if got := s.Neighbours[fakeKey].Failures; got < before.Failures {
			t.Errorf("%d failures after a reload, %d before", got, before.Failures)
		}
		if n, ok := s.Neighbours[NeighbourKey{2, addr("192.0.2.99")}]; !ok || n.State != NUDAbsent || n.Address != addr("192.0.2.99") {
			t.Errorf("the neighbour that is only looked at is %+v, %v", n, ok)
		}
		if len(s.Neighbours) != 2 || len(s.Defaults) != 0 {
			t.Errorf("the snapshot is %+v", s)
		}
		r.Configure(Config{})
		r.pass(time.Second, 0)
		if s := snapshotOf(r); len(s.Neighbours) != 0 {
			t.Errorf("neighbours that are not watched: %+v", s.Neighbours)
		}
	})
}

// A route with a lifetime is looked at when the lifetime ends.
func TestExpiry(t *testing.T) {
	k := newFakeKernel()
	k.routes.expires = time.Date(2000, 1, 1, 0, 0, 20, 0, time.UTC) // synctest begins at midnight
	bubble(t, k, Config{LearnFrom: []string{"eth1"}}, func(r *fakeRun) {
		k.set(func() { k.routes = defaultsRead{} })
		r.pass(19*time.Second, 0)
		if len(snapshotOf(r).Defaults) != 1 {
			t.Fatal("the route went early")
		}
		r.pass(2*time.Second, 0)
		if s := snapshotOf(r); len(s.Defaults) != 0 {
			t.Errorf("the lifetime is over, the defaults are %+v", s.Defaults)
		}
	})
}

// A device that comes back with another index is the same link, with its history,
// and its neighbours are looked for under the new index.
func TestNewIndex(t *testing.T) {
	k := newFakeKernel()
	bubble(t, k, watchGateway, func(r *fakeRun) {
		r.pass(12*time.Second, partNeighbours)
		before := snapshotOf(r).Neighbours[fakeKey].Failures
		k.set(func() { k.linkList[0].Index = 7 })
		r.pass(time.Second, partLinks)
		key := NeighbourKey{7, fakeGateway}
		s := snapshotOf(r)
		if n, ok := s.Neighbours[key]; !ok || n.Failures != before || len(s.Neighbours) != 1 {
			t.Errorf("neighbours %+v, want one with %d failures", s.Neighbours, before)
		}
		if _, ok := r.interest.Load().neighbours[key]; !ok {
			t.Errorf("events of the new index are not heard: %+v", r.interest.Load())
		}
	})
}
