package main

import (
	"context"
	"os"
	"strings"
	"testing"
)

// swapped is the same wire seen from the far host.
func (w *wire) swapped() *wire {
	s := &wire{lab: w.lab, near: w.far, far: w.near}
	for _, p := range w.pairs {
		s.pairs = append(s.pairs, pair{near: p.far, far: p.near})
	}
	return s
}

func startTest(ctx context.Context, t *testing.T, c candidate, w *wire) running {
	t.Helper()
	r, err := c.start(ctx, task{wire: w, dir: t.TempDir(), interval: testInterval, multiplier: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		for _, p := range r.processes() {
			if p.check() == nil {
				t.Errorf("%s outlived its stop", p.name)
			}
		}
	})
	return r
}

// TestDaemons lets FRR and BIRD talk to each other, so that the two starters are
// seen to work without the help of package bfd: sessions come up, what was
// configured is what they do, and each flap is counted once on each side.
func TestDaemons(t *testing.T) {
	t.Parallel()
	for _, ipv6 := range []bool{false, true} {
		t.Run(family(ipv6), func(t *testing.T) {
			t.Parallel()
			const sessions = 3
			ctx := testContext(t)
			w := newTestWire(t, sessions, ipv6)
			sides := map[string]running{
				"frr":  startTest(ctx, t, frr{}, w),
				"bird": startTest(ctx, t, bird{}, w.swapped()),
			}
			up := func(want int) func() (bool, error) {
				return func() (bool, error) {
					for _, r := range sides {
						if n, err := r.up(ctx); n != want || err != nil {
							return false, err
						}
					}
					return true, nil
				}
			}
			eventually(ctx, t, "all sessions are up", up(sessions))
			before := map[string]int{}
			for name, r := range sides {
				n, err := r.flaps()
				if err != nil {
					t.Fatal(err)
				}
				before[name] = n
			}
			if err := w.far.Silence(true); err != nil {
				t.Fatal(err)
			}
			eventually(ctx, t, "all sessions are down", up(0))
			for name, r := range sides {
				if n, err := r.flaps(); n-before[name] != sessions || err != nil {
					t.Errorf("%s counts %d flaps, want %d; error %v", name, n-before[name], sessions, err)
				}
				u, err := measureUsage(r)
				if err != nil || u.cpu <= 0 || u.peak < 1<<20 || u.peak > 1<<30 {
					t.Errorf("%s used %+v, error %v", name, u, err)
				}
			}
		})
	}
}

func TestCandidate_version(t *testing.T) {
	for _, tc := range []struct {
		candidate candidate
		prefix    string
	}{
		{own{}, "multihomed "}, {frr{}, "FRR "}, {bird{}, "BIRD 2."},
	} {
		v, err := tc.candidate.version(testContext(t))
		if err != nil || !strings.HasPrefix(v, tc.prefix) || strings.Contains(v, "\n") {
			t.Errorf("%s: version %q, error %v, want it to begin with %q", tc.candidate.name(), v, err, tc.prefix)
		}
	}
}

// A daemon that ends at its start is an error with its words.
func TestDaemons_refuseConfiguration(t *testing.T) {
	w := newTestWire(t, 1, false)
	r, err := bird{}.start(testContext(t), task{wire: w, dir: t.TempDir(), interval: testInterval, multiplier: -1})
	if err == nil {
		t.Error("bird started with a multiplier of -1")
		err = r.stop()
	}
	if err == nil || !strings.Contains(err.Error(), "bird.conf:") {
		t.Errorf("%v, want the place of the mistake", err)
	}
}

// A question to a daemon that is gone is answered by an error at once, with what
// it wrote last, and never by a number.
func TestDaemons_died(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	for _, c := range []candidate{frr{}, bird{}} {
		r := startTest(ctx, t, c, newTestWire(t, 1, false))
		last := r.processes()[len(r.processes())-1]
		if err := last.cmd.Process.Signal(os.Kill); err != nil {
			t.Fatal(err)
		}
		<-last.done
		if _, err := r.up(ctx); err == nil || !strings.Contains(err.Error(), "ended: signal: killed") {
			t.Errorf("%s: up says %v", c.name(), err)
		}
		if _, err := measureUsage(r); err == nil {
			t.Errorf("%s: its usage has no error", c.name())
		}
	}
}

func TestBirdUp(t *testing.T) {
	out := `BIRD 2.0.12 ready.
bfd1:
IP address                Interface  State      Since         Interval  Timeout
10.0.0.1                  wire0      Up         23:34:27.146    0.050    0.150
10.0.0.3                  wire0      Down       23:34:27.146    1.000    0.000
10.0.0.5                  wire0      Up         23:34:27.146    0.050    0.150
`
	if n := birdUp(out); n != 2 {
		t.Errorf("%d are up, want 2", n)
	}
	if n := birdUp("bfd1: not found\n"); n != 0 {
		t.Errorf("%d are up, want none", n)
	}
}
