package netmon

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// gaps are the times between moments, rounded to 10 ms.
func gaps(at []time.Time) []time.Duration {
	var out []time.Duration
	for i := 1; i < len(at); i++ {
		out = append(out, at[i].Sub(at[i-1]).Round(10*time.Millisecond))
	}
	return out
}

// doubling are the pauses between n tries that fail at once.
func doubling(n int) []time.Duration {
	var out []time.Duration
	for pause := restartMin; len(out) < n-1; pause = min(2*pause, restartMax) {
		out = append(out, pause)
	}
	return out
}

// A panic in the goroutine that reads default routes is a reading that failed: the
// daemon lives, what is known is kept, and everything is read again with backoff.
func TestPanic_defaults(t *testing.T) {
	k := newFakeKernel()
	bubble(t, k, Config{LearnFrom: []string{"eth1"}}, func(r *fakeRun) {
		r.pass(time.Second, 0)
		before := snapshotOf(r)
		k.set(func() { k.routesPanic, k.routeReads, k.linkReads = "a bad route", nil, nil })
		r.mark(partDefaults)
		// Links are read all the time, which must not undo the backoff.
		r.pass(12*time.Second, partLinks)
		if diff := cmp.Diff(doubling(len(k.routeReads)), gaps(k.routeReads)); diff != "" || len(k.routeReads) < 7 {
			t.Errorf("time between readings (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(before, snapshotOf(r), compareSnapshots); diff != "" {
			t.Errorf("a panic changed the snapshot (-before +after):\n%s", diff)
		}
		if c := r.Counters(); c.Panics != uint64(len(k.routeReads)) || c.Failures != c.Panics {
			t.Errorf("%d panics and %d failures counted for %d readings", c.Panics, c.Failures, len(k.routeReads))
		}
		r.wantStack("a bad route", "fakeKernel).defaults")
		r.pass(restartMax, 0)
		k.set(func() { k.routesPanic, k.routes.defaults, k.linkList[0].MTU = "", nil, 9000 })
		r.pass(restartMax+time.Second, 0)
		if s := snapshotOf(r); len(s.Defaults) != 0 || s.Links["eth1"].MTU != 9000 {
			t.Errorf("after the panic the snapshot is %+v", s)
		}
	})
}

// wantStack checks that a panic was logged once, with where it came from.
func (r *fakeRun) wantStack(text, where string) {
	r.t.Helper()
	errs := slices.DeleteFunc(strings.Split(r.log.String(), "\n"), func(line string) bool { return !strings.Contains(line, "level=ERROR") })
	if len(errs) != 1 || !strings.Contains(errs[0], text) || !strings.Contains(errs[0], where) {
		r.t.Errorf("the log has %d errors, want one with %q from %q:\n%s", len(errs), text, where, strings.Join(errs, "\n"))
	}
}

// A panic in the first reading is no reading: there is no snapshot without routes.
func TestPanic_first(t *testing.T) {
	k := newFakeKernel()
	k.routesPanic = "a bad route"
	bubble(t, k, Config{LearnFrom: []string{"eth1"}}, func(r *fakeRun) {
		r.pass(10*time.Second, 0)
		if s, ok := r.Snapshot(); ok {
			t.Fatalf("a snapshot without default routes: %+v", s)
		}
		k.set(func() { k.routesPanic = "" })
		r.pass(restartMax+time.Second, 0)
		if s, ok := r.Snapshot(); !ok || len(s.Defaults) != 1 {
			t.Errorf("the snapshot is %+v", s)
		}
	})
}

// A panic in the loop itself: its second life knows the configuration, reads
// everything, and publishes nothing before that.
func TestPanic_loop(t *testing.T) {
	k := newFakeKernel()
	k.entries[fakeKey] = &fakeEntry{state: NUDReachable, answers: true}
	bubble(t, k, watchGateway, func(r *fakeRun) {
		r.pass(time.Second, 0)
		before := snapshotOf(r)
		pokes := len(r.pokes)
		k.set(func() { k.linksPanic, k.linkReads = "a bad link", nil })
		r.mark(partLinks)
		r.pass(12*time.Second, 0)
		if diff := cmp.Diff(doubling(len(k.linkReads)), gaps(k.linkReads)); diff != "" || len(k.linkReads) < 7 {
			t.Errorf("time between readings (-want +got):\n%s", diff)
		}
		if snapshotOf(r) != before || len(r.pokes) != pokes {
			t.Errorf("a panic changed the snapshot to %+v", snapshotOf(r))
		}
		r.wantStack("a bad link", "fakeKernel).links")
		k.set(func() { k.linksPanic, k.slow = "", 3*time.Second })
		r.pass(restartMax, 0)
		for range 50 {
			r.pass(100*time.Millisecond, 0)
			if s := snapshotOf(r); len(s.Defaults) != 1 {
				t.Fatalf("a snapshot before everything was read: %+v", s)
			}
		}
		s := snapshotOf(r)
		if n := s.Neighbours[fakeKey]; s == before || n.State != NUDReachable {
			t.Errorf("the second life sees %+v", s)
		}
	})
}

// A panic while the event socket is opened: tried again with backoff, and the
// backoff begins anew after a long life.
func TestPanic_listen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		m := newMonitor(Config{}, Options{}, newFakeKernel())
		var dialled []time.Time
		m.dial = func() (*conn, error) {
			dialled = append(dialled, time.Now())
			if len(dialled) == 8 {
				// A long life before the end.
				waitContext(ctx, restartMax+time.Second)
			}
			panic("a bad socket")
		}
		go func() {
			defer close(done)
			m.Run(ctx)
		}()
		waitContext(ctx, 25*time.Second)
		cancel()
		<-done
		want := append(doubling(8), restartMax+time.Second+restartMin, 2*restartMin)
		if got := gaps(dialled); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("time between tries %v, want %v", got, want)
		}
		if got := m.Counters().Panics; got != uint64(len(dialled)) {
			t.Errorf("%d panics counted, want %d", got, len(dialled))
		}
		if _, ok := m.Snapshot(); !ok {
			t.Error("no snapshot: the readings stopped with the events")
		}
	})
}

// A panic over an event, with a real socket: another is opened, everything is read,
// and events are heard again.
func TestPanic_event(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		gw := f.gateway.Addr()
		m := start(t, s.edge, watch(gw, 0))
		neighbour := func(mac string) {
			mustIP(t, s.edge, "neigh", "replace", gw.String(), "lladdr", mac, "dev", "eth1", "nud", "stale")
		}
		seen := func(mac string) {
			m.waitNeighbour(t, gw, mac+" is seen", func(n Neighbour) bool { return n.MAC == mac })
		}
		neighbour("02:00:00:00:00:01")
		seen("02:00:00:00:00:01")
		sound := m.interest.Load()
		waitFor(t, "the reader of events panics", func() bool {
			// The loop may have put its own there.
			m.interest.Store(nil)
			neighbour("02:00:00:00:00:04")
			neighbour("02:00:00:00:00:02")
			return m.Counters().Panics > 0
		})
		m.interest.Store(sound)
		seen("02:00:00:00:00:02")
		waitFor(t, "everything is read again and another socket is open", func() bool {
			return m.Counters().Resyncs >= 2 && m.events.Load() != nil
		})
		neighbour("02:00:00:00:00:03")
		seen("02:00:00:00:00:03")
	})
}

// A request whose answer cannot be digested costs the socket, which would otherwise
// be in the middle of a dump; and a panic on the thread of a namespace is an error.
func TestPanic_request(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var k netlinkKernel
	must(t, s.edge.Do(func() (err error) {
		k.ns, err = currentNamespace()
		return err
	}))
	t.Cleanup(func() { k.close(); _ = k.ns.Close() })
	err := contain(func() error {
		return k.request(unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfInfomsg), func(message) error { panic("a bad link") })
	})
	var p *panicError
	if !errors.As(err, &p) || k.c != nil {
		t.Errorf("the request ended with %v, and the socket is still open: %v", err, k.c != nil)
	}
	if links, err := k.links(); err != nil || len(links) != 2 {
		t.Errorf("the next reading gave %v, %v", links, err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := os.Readlink("/proc/thread-self/ns/net")
	must(t, err)
	if home, err := visit(k.ns, func() error { panic("a bad thread") }); !home || !errors.As(err, &p) {
		t.Errorf("a panic in a namespace gave %v, %v", home, err)
	}
	if now, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || now != here {
		t.Errorf("the thread came from %s and is in %s, %v", here, now, err)
	}
}
