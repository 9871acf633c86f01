package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const testInterval = 100 * time.Millisecond

func testSetting(sessions int, ipv6 bool) setting {
	return setting{sessions: sessions, ipv6: ipv6, interval: testInterval, multiplier: 3, startup: patience}
}

func newTestTrial(ctx context.Context, t *testing.T, c candidate, s setting) *trial {
	t.Helper()
	tr, err := startTrial(ctx, c, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(tr.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", tr.dir, err)
		}
	})
	return tr
}

// Every candidate comes up against the same far end, in both families, and the
// figures are of the order that so many sessions have to have.
func TestTrial(t *testing.T) {
	t.Parallel()
	for _, c := range []candidate{own{}, frr{}, bird{}} {
		for _, ipv6 := range []bool{false, true} {
			t.Run(c.name()+" "+family(ipv6), func(t *testing.T) {
				t.Parallel()
				const sessions = 4
				ctx := testContext(t)
				tr := newTestTrial(ctx, t, c, testSetting(sessions, ipv6))
				m, err := tr.measure(ctx, time.Second, nil)
				if err != nil {
					t.Fatal(err)
				}
				s := m.figures(sessions)
				t.Log(s.line(basics))
				if s[keyUp] != sessions || s[keyCPU] <= 0 || s[keyPeak] < 1 {
					t.Errorf("%+v", s)
				}
				// Two directions, with 12.5 % jitter on average: 23 for each session.
				if low, high := 10.0*sessions, 35.0*sessions; s[keyPackets] < low || s[keyPackets] > high {
					t.Errorf("%.1f packets per second, want %.0f to %.0f", s[keyPackets], low, high)
				}
			})
		}
	}
}

// A flap is in the figures of both sides.
func TestTrial_flaps(t *testing.T) {
	t.Parallel()
	for _, c := range []candidate{own{}, frr{}, bird{}} {
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			const sessions = 2
			ctx := testContext(t)
			tr := newTestTrial(ctx, t, c, testSetting(sessions, false))
			m, err := tr.measure(ctx, patience/10, func(context.Context) error { return tr.wire.far.Silence(true) })
			if err != nil {
				t.Fatal(err)
			}
			s := m.figures(sessions)
			if s[keyUp] != 0 || s[keyFlaps] != sessions || s[keyFarFlaps] != sessions {
				t.Errorf("%.0f up, %.0f and %.0f flaps, want 0 up and %d flaps on both sides", s[keyUp], s[keyFlaps], s[keyFarFlaps], sessions)
			}
		})
	}
}

// lame is a candidate that runs and serves one session less than it should.
type lame struct{ candidate }

func (l lame) start(ctx context.Context, t task) (running, error) {
	short := *t.wire
	short.pairs = short.pairs[1:]
	t.wire = &short
	return l.candidate.start(ctx, t)
}

// A candidate that does not come up is an error that says how far it got.
func TestTrial_notUp(t *testing.T) {
	t.Parallel()
	for _, c := range []candidate{own{}, bird{}} {
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			s := testSetting(3, false)
			s.startup = 3 * time.Second
			tr, err := startTrial(testContext(t), lame{c}, s)
			if err == nil {
				t.Fatal(errors.Join(errors.New("no error"), tr.stop()))
			}
			if want := "of 3 sessions at 100ms x 3; 10.0.0.0 is "; !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

// A candidate that ends at once is an error with its words.
func TestTrial_doesNotStart(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := startTrial(testContext(t), own{profiles: missing}, testSetting(1, false)); err == nil || !strings.Contains(err.Error(), "write profile: open "+missing) {
		t.Errorf("%v, want that there is no directory for profiles", err)
	}
}

// A candidate that runs with other timers than those that were asked for is one
// too: FRR keeps its default where it does not take a value.
func TestTrial_otherTimers(t *testing.T) {
	t.Parallel()
	s := testSetting(1, false)
	s.multiplier, s.startup = 1, 4*time.Second
	tr, err := startTrial(testContext(t), frr{}, s)
	if err == nil {
		t.Fatal(errors.Join(errors.New("no error"), tr.stop()))
	}
	if want := "0 of 1 sessions at 100ms x 1; 10.0.0.0 is up"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// A candidate that dies while it is measured is an error too.
func TestTrial_dies(t *testing.T) {
	t.Parallel()
	for _, c := range []candidate{own{}, bird{}} {
		ctx := testContext(t)
		tr := newTestTrial(ctx, t, c, testSetting(1, false))
		_, err := tr.measure(ctx, 10*testInterval, func(context.Context) error {
			p := tr.near.processes()[0]
			err := p.cmd.Process.Kill()
			<-p.done
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "ended: signal: killed") {
			t.Errorf("%s: %v", c.name(), err)
		}
	}
}

// A cancelled benchmark ends what it started and says that it was cancelled.
func TestTrial_cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := startTrial(ctx, bird{}, testSetting(1, false)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
}
