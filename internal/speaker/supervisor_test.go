package speaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/multihomed/multihomed/bgp"
)

var same = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}

// TestSupervisor_CarriesEverything: what is set arrives, what is known comes back, and
// what is asked is answered.
func TestSupervisor_CarriesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.run()
		synctest.Wait()
		if st := r.Status(); st.Starts != 0 || st.Speaking || st.Known || st.Trouble == "" {
			t.Errorf("before the first configuration: %+v; want no child", st)
		}
		if _, err := r.Paths(t.Context(), bgp.Query{}); !errors.Is(err, ErrNobody) {
			t.Errorf("paths before the first configuration: %v, want ErrNobody", err)
		}
		want := full[bgp.Config](t)
		want.Restarting = false
		r.Set(want)
		synctest.Wait()
		v := r.child(0).voice
		if diff := cmp.Diff([]bgp.Config{want}, v.told(), same); diff != "" {
			t.Errorf("configuration: -want +got:\n%s", diff)
		}
		if st := r.Status(); !st.Speaking || !st.Known || st.PID == 0 || st.Starts != 1 || st.Trouble != "" || st.Since.IsZero() {
			t.Errorf("a child speaks: %+v", st)
		}
		status := full[bgp.Status](t)
		time.Sleep(3 * lookPace) // What Set changed has been looked at.
		v.say(status)
		synctest.Wait()
		if diff := cmp.Diff(status, r.Status().BGP, same); diff != "" {
			t.Errorf("status: -want +got:\n%s", diff)
		}

		r.Reset("a", "BFD Down")
		r.Reset("a", "BFD Down")
		synctest.Wait()
		// Whether the second comes before the first was taken is chance.
		if want := []resetOrder{{"a", "BFD Down"}}; !slices.Equal(slices.Compact(v.resets), want) {
			t.Errorf("resets %v, want %v", v.resets, want)
		}
		// The same once more is not told.
		r.Set(want)
		synctest.Wait()
		if n := len(v.told()); n != 1 {
			t.Errorf("%d configurations, want 1", n)
		}
		r.end()
		if st := r.Status(); st.Speaking || st.PID != 0 || !st.Known || st.BGP.Peers == nil {
			t.Errorf("after the end: %+v; want the last words, and nobody who speaks", st)
		}
		if n := len(v.told()); n != 1 {
			t.Errorf("%d configurations at an end without leave, want 1", n)
		}
	})
}

// TestSupervisor_Routes: routes arrive in order; a reader that is slow gets the last
// choice of each prefix once, the speaker is not asked for more than the window, and
// meanwhile everything else goes on.
func TestSupervisor_Routes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.run()
		r.Set(config("a"))
		synctest.Wait()
		v := r.child(0).voice
		var want []bgp.Route
		for n := range 3*maxRoutes + 7 {
			want = append(want, route(n))
		}
		v.route(false, want...)
		v.route(true)
		synctest.Wait()
		news, got, synced := r.told()
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("routes: -want +got:\n%s", diff)
		}
		if synced != 1 || !slices.Equal(news, []string{"begin", "routes"}) {
			t.Errorf("synced %d times, news %v; want once, and begin first", synced, news)
		}

		hold := make(chan struct{})
		r.mu.Lock()
		r.routes, r.hold = nil, hold
		r.mu.Unlock()
		// All of a window and what lies in between is taken; then it is one per prefix.
		for n := range 4 * window {
			v.route(false, bgp.Route{Prefix: prefix(n), Choice: 7})
			synctest.Wait()
		}
		for range 5 {
			for n := range 100 {
				v.route(false, bgp.Route{Prefix: prefix(1000 + n), Choice: 1})
			}
		}
		v.mu.Lock()
		before, waiting := v.nexts, len(v.order)
		v.mu.Unlock()
		if waiting < 100 || waiting > 100+4*window {
			t.Errorf("%d prefixes wait in the speaker, want one for each that was not taken", waiting)
		}
		// An hour in which nobody takes routes: the child is asked for nothing, lives, and tells.
		time.Sleep(time.Hour)
		v.say(bgp.Status{Error: "news"})
		synctest.Wait()
		if st := r.Status(); st.BGP.Error != "news" || st.Starts != 1 || !st.Speaking {
			t.Errorf("behind routes that nobody takes: %+v; want the news, of the same child", st)
		}
		v.mu.Lock()
		after := v.nexts
		v.mu.Unlock()
		if after != before {
			t.Errorf("%d calls of Next while nobody took routes", after-before)
		}
		if _, err := r.Paths(t.Context(), bgp.Query{Prefix: prefix(0)}); err != nil {
			t.Errorf("paths behind routes that nobody takes: %v", err)
		}
		close(hold)
		synctest.Wait()
		if _, got, _ := r.told(); len(got) != 4*window+100 {
			t.Errorf("%d routes, want %d: each once", len(got), 4*window+100)
		}
	})
}

// TestSupervisor_Restart: a child that died is followed by one that is told everything,
// and that it restarts; what was known stays known, and routes begin anew.
func TestSupervisor_Restart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.run()
		r.Set(config("a"))
		synctest.Wait()
		for n := range 3 {
			v := r.child(n).voice
			if got := v.told(); len(got) != 1 || got[0].Restarting != (n > 0) {
				t.Errorf("child %d was told %+v, want one configuration with restarting=%v", n, got, n > 0)
			}
			v.route(false, route(n))
			time.Sleep(time.Second)
			if n == 1 {
				r.Set(config("a", "b"))
				synctest.Wait()
				if got := v.told(); len(got) != 2 || !got[1].Restarting {
					t.Errorf("child 1 was told %+v, want two configurations, restarting both", got)
				}
			}
			v.end <- fmt.Errorf("boom %d", n)
			synctest.Wait()
			st := r.Status()
			if st.Speaking || !st.Known || st.PID != 0 || len(st.BGP.Peers) != 1+min(n, 1) || !strings.Contains(st.Trouble, fmt.Sprintf("boom %d", n)) {
				t.Errorf("after the end of child %d: %+v; want its status, and why it ended", n, st)
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
		}
		news, routes, _ := r.told()
		if want := []string{"begin", "routes", "begin", "routes", "begin", "routes"}; !slices.Equal(news, want) {
			t.Errorf("news %v, want %v", news, want)
		}
		if len(routes) != 3 {
			t.Errorf("%d routes, want 3", len(routes))
		}
		if st := r.Status(); st.Starts != 4 || !st.Speaking {
			t.Errorf("%+v, want the fourth child", st)
		}
	})
}

// TestSupervisor_Backoff: a child that dies at once is started again after 0.2 s, twice
// that, and so on up to 30 s; one that spoke for a minute begins anew. The log has one
// warning as long as the reason is the same.
func TestSupervisor_Backoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const healthyOne = 10
		r := newRig(t, func(n int, _ *fakeVoice) func(context.Context, net.Conn, io.Writer) error {
			if n == healthyOne {
				return nil
			}
			return func(context.Context, net.Conn, io.Writer) error { return errors.New("exit status 7") }
		})
		r.run()
		r.Set(config("a"))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := strings.Count(r.logs.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings of a crash loop, want 1:\n%s", n, r.logs)
		}
		for len(r.started) <= healthyOne {
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		crash := time.Now()
		r.child(healthyOne).voice.end <- errors.New("boom")
		time.Sleep(time.Second)
		synctest.Wait()
		var pauses []time.Duration
		for n := 1; n <= healthyOne; n++ {
			pauses = append(pauses, r.started[n].Sub(r.started[n-1]))
		}
		ms := time.Millisecond
		want := []time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 12800 * ms, 25600 * ms, 30000 * ms, 30000 * ms}
		if !slices.Equal(pauses, want) {
			t.Errorf("pauses %v, want %v", pauses, want)
		}
		if p := r.started[healthyOne+1].Sub(crash); p != 200*ms {
			t.Errorf("the pause after a healthy minute is %v, want 200ms", p)
		}
	})
}

// TestSupervisor_StartFails: what forbids a start is said, and the first child that
// comes after all is no restart.
func TestSupervisor_StartFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newFakeVoice()
		tries := 0
		s := NewSupervisor(Options{Start: func(context.Context) (Child, error) {
			if tries++; tries < 3 {
				return nil, errors.New("fork: resource temporarily unavailable")
			}
			return startFake(v, playVoice(v)), nil
		}})
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { s.Run(ctx); close(over) }()
		s.Set(config("a"))
		synctest.Wait()
		if st := s.Status(); st.Starts != 0 || !strings.Contains(st.Trouble, "temporarily unavailable") {
			t.Errorf("%+v, want the trouble", st)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if st := s.Status(); st.Starts != 1 || !st.Speaking || v.told()[0].Restarting {
			t.Errorf("%+v, want a child that does not restart", st)
		}
		stop()
		<-over
	})
}

// TestSupervisor_Silence: a child that does not answer is killed after 10 s and not
// much later; one that hangs while it starts, too.
func TestSupervisor_Silence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		greeting := frameOf(kindHello, hello{pid: 77}.append(nil))
		r := newRig(t, func(n int, _ *fakeVoice) func(context.Context, net.Conn, io.Writer) error {
			switch n {
			case 0:
				return playRaw(greeting)
			case 1:
				return playRaw(nil)
			default:
				return nil
			}
		})
		r.run()
		r.Set(config("a"))
		for n := range 2 {
			synctest.Wait()
			c := r.child(n)
			born := r.started[n]
			for !c.wasKilled() {
				time.Sleep(100 * time.Millisecond)
				if time.Since(born) > time.Minute {
					t.Fatalf("child %d lives", n)
				}
			}
			if d := time.Since(born); d < 9900*time.Millisecond || d > 12600*time.Millisecond {
				t.Errorf("child %d was killed after %v, want 10s to 12.5s", n, d)
			}
			synctest.Wait()
			if st := r.Status(); !strings.Contains(st.Trouble, "did not answer for 10s, and was killed") || st.Known {
				t.Errorf("%+v, want the reason", st)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := r.Status(); st.Starts != 3 || !st.Speaking {
			t.Errorf("%+v, want the third child, which answers for an hour", st)
		}
	})
}

// TestSupervisor_Leave: with Leave the end is a configuration without peers, and the
// child has until the sessions are gone; without, nothing is said.
func TestSupervisor_Leave(t *testing.T) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprintf("slow=%v", slow), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(_ int, v *fakeVoice) func(context.Context, net.Conn, io.Writer) error {
					v.setting = func(c bgp.Config) error {
						if slow && len(c.Peers) == 0 {
							time.Sleep(5 * time.Second)
						}
						return nil
					}
					return nil
				})
				r.run()
				r.Set(config("a", "b"))
				synctest.Wait()
				c := r.child(0)
				r.Leave()
				begin := time.Now()
				r.end()
				took := time.Since(begin)
				if slow {
					if took < leaveLimit || took >= r.limits.leave {
						t.Errorf("a speaker that hangs has %v to take leave, want %v", took, leaveLimit)
					}
				} else if got := c.voice.told(); len(got) != 2 || len(got[1].Peers) != 0 || got[1].AS != 64500 || took > time.Second {
					t.Errorf("told %+v within %v, want a last configuration without peers", got, took)
				}
				if c.wasKilled() {
					t.Error("a child that takes leave was killed")
				}
				time.Sleep(10 * time.Second) // Until the slow one has ended.
			})
		})
	}
}

// TestSupervisor_ReaderPanics: a panic of who takes the routes comes out of Run, where
// somebody may catch it, and the child does not stay behind.
func TestSupervisor_ReaderPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.opts.Routes = func(context.Context, bgp.Batch) { panic("oops") }
		caught := make(chan any, 1)
		go func() {
			defer func() { caught <- recover() }()
			r.Run(context.Background())
		}()
		r.Set(config("a"))
		synctest.Wait()
		r.child(0).voice.route(false, route(1))
		if got := <-caught; got != "oops" {
			t.Errorf("caught %v, want the panic", got)
		}
		if st := r.Status(); st.Speaking {
			t.Errorf("%+v, want nobody", st)
		}
	})
}
