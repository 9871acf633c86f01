package speaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bgp"
)

// speaking returns a rig whose first child speaks.
func speaking(t *testing.T) (*rig, *fakeVoice) {
	t.Helper()
	r := newRig(t, nil)
	r.run()
	r.Set(config("a"))
	synctest.Wait()
	return r, r.child(0).voice
}

// TestPaths: a long answer comes in parts and whole, a query arrives as it was asked,
// and what JSON has no word for does not hide the rest.
func TestPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := speaking(t)
		asked := full[bgp.Query](t)
		var want []bgp.PrefixPaths
		for n := range 600 {
			p := full[bgp.PrefixPaths](t)
			p.Prefix = prefix(n)
			p.Paths[0].ASPath = strings.Repeat("64501 ", 20)
			want = append(want, p)
		}
		v.answer = func(_ context.Context, q bgp.Query) ([]bgp.PrefixPaths, error) {
			if q != asked {
				t.Errorf("asked for %+v, want %+v", q, asked)
			}
			return want, nil
		}
		got, err := r.Paths(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		want = want[:1]
		want[0].Paths[0].Bandwidth = math.NaN()
		if got, err = r.Paths(t.Context(), asked); err != nil || len(got) != 1 || got[0].Paths[0].Bandwidth != 0 {
			t.Errorf("with a bandwidth that is no number: %v, %v", got, err)
		}
	})
}

// TestPaths_Beside: questions wait neither for one another nor for a configuration; one
// that is given up is given up by the child too; at the end of the child all get an
// error.
func TestPaths_Beside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := speaking(t)
		given := make(chan struct{}, 8)
		v.answer = func(ctx context.Context, q bgp.Query) ([]bgp.PrefixPaths, error) {
			switch q.Limit {
			case 1:
				return nil, errors.New("no such prefix")
			case 2:
				<-ctx.Done()
				given <- struct{}{}
				return nil, ctx.Err()
			default:
				return nil, nil
			}
		}
		setting := make(chan struct{})
		v.setting = func(bgp.Config) error { <-setting; return nil }
		r.Set(config("a", "b"))
		r.Reset("a", "x")
		if _, err := r.Paths(t.Context(), bgp.Query{Limit: 1}); err == nil || !strings.Contains(err.Error(), "no such prefix") {
			t.Errorf("paths: %v, want the error of the speaker", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Paths(ctx, bgp.Query{Limit: 2}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("paths: %v, want the deadline", err)
		}
		<-given

		// More than may be asked at once: the last ones wait, and give up waiting.
		answers := make(chan error, 6)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for n := range cap(answers) {
			waits := t.Context()
			if n >= r.limits.questions {
				waits = ctx
			}
			go func() {
				_, err := r.Paths(waits, bgp.Query{Limit: 2})
				answers <- err
			}()
			synctest.Wait()
		}
		for n := range cap(answers) {
			want := context.DeadlineExceeded
			if n == cap(answers)-r.limits.questions {
				close(setting)
				v.end <- errors.New("boom")
			}
			if n >= cap(answers)-r.limits.questions {
				want = ErrNobody
			}
			if err := <-answers; !errors.Is(err, want) {
				t.Errorf("answer %d: %v, want %v", n, err, want)
			}
		}
	})
}

// TestStatus_Pace: states are told at once, counters at most every 100 ms, and the last
// of them is told.
func TestStatus_Pace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := speaking(t)
		changes := 0
		r.opts.Changed = func() { changes++ }
		status := func(s bgp.State, received int) bgp.Status {
			return bgp.Status{Peers: []bgp.PeerStatus{{
				Name: "a", State: s, Families: []bgp.FamilyStatus{{
					Family: bgp.IPv4, Received: received, Bandwidth: math.Inf(1), Refused: map[bgp.Reason]int{bgp.Bogon: received},
				}},
			}}}
		}
		time.Sleep(time.Second)
		v.say(status(bgp.Established, 0))
		synctest.Wait()
		if got := r.Status().BGP.Peers[0]; got.State != bgp.Established {
			t.Errorf("state %v, want established at once", got.State)
		}
		changes = 0
		for n := range 1000 {
			v.say(status(bgp.Established, n+1))
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if changes < 9 || changes > 11 {
			t.Errorf("1000 changes of counters in a second were told %d times, want 10", changes)
		}
		v.say(status(bgp.Idle, 1000))
		time.Sleep(lookPace)
		synctest.Wait()
		if got := r.Status().BGP.Peers[0]; got.State != bgp.Idle {
			t.Errorf("state %v, want idle within %v", got.State, lookPace)
		}
		v.say(status(bgp.Idle, 1234))
		time.Sleep(counterPace)
		synctest.Wait()
		if got := r.Status().BGP.Peers[0].Families[0]; got.Received != 1234 || got.Refused[bgp.Bogon] != 1234 || got.Bandwidth != 0 {
			t.Errorf("%+v, want the last counters", got)
		}
	})
}

// TestStatus_NotBeforeTheConfiguration: a child that has not taken its configuration yet
// says nothing, so that it is not taken for one without sessions.
func TestStatus_NotBeforeTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := make(chan struct{})
		// The second child is slow to take it.
		r := newRig(t, func(n int, v *fakeVoice) func(context.Context, net.Conn, io.Writer) error {
			if n == 1 {
				v.setting = func(bgp.Config) error { <-taken; return nil }
			}
			return nil
		})
		r.run()
		r.Set(config("a"))
		synctest.Wait()
		r.child(0).voice.end <- errors.New("boom")
		time.Sleep(time.Second)
		synctest.Wait()
		if st := r.Status(); st.Starts != 2 || st.Speaking || len(st.BGP.Peers) != 1 {
			t.Errorf("%+v, want the sessions of the first child, and nobody who speaks", st)
		}
		close(taken)
		synctest.Wait()
		if st := r.Status(); !st.Speaking || len(st.BGP.Peers) != 1 || st.Trouble != "" {
			t.Errorf("%+v, want the second child to speak", st)
		}
	})
}

// TestServe_SetHangs: a speaker that does not take a configuration is ended.
func TestServe_SetHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := speaking(t)
		hang := make(chan struct{})
		v.setting = func(bgp.Config) error { <-hang; return nil }
		r.Set(config("a", "b"))
		time.Sleep(hangSteps*hangStep + time.Second)
		synctest.Wait()
		if st := r.Status(); st.Starts != 2 || !st.Speaking || !strings.Contains(r.logs.String(), "did not take a configuration for 1m0s") {
			t.Errorf("%+v, want another child, and why:\n%s", st, r.logs)
		}
		close(hang)
	})
}

// TestServe_Words: what the speaker cannot do is logged once, whatever the daemon asks
// again.
func TestServe_Words(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := speaking(t)
		v.setting = func(bgp.Config) error { return errors.New("port 179 is taken") }
		for n := range 3 {
			r.Set(config(fmt.Sprint(n)))
			synctest.Wait()
		}
		r.Reset("nobody", "x")
		synctest.Wait()
		text := r.logs.String()
		if strings.Count(text, "port 179 is taken") != 1 || !strings.Contains(text, "component=bgp") || !strings.Contains(text, "peer=nobody") {
			t.Errorf("want the trouble once, and the reset that failed:\n%s", text)
		}
	})
}
