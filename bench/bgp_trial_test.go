package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

const testPrefixes = 700

func testBGPSetting(peers int, p bgptest.Preference, ipv6 bool) bgpSetting {
	return bgpSetting{
		prefixes: testPrefixes, peers: peers, preference: p, ipv6: ipv6, interval: 300 * time.Millisecond, multiplier: 5,
		startup: patience, loading: patience,
	}
}

func newBGPTrial(ctx context.Context, t *testing.T, c bgpCandidate, s bgpSetting) *bgpTrial {
	t.Helper()
	tr, err := startBGPTrial(ctx, c, s)
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

// wantColumns tells that a scenario makes what it has columns for, and nothing else.
func wantColumns(t *testing.T, s scenario, got sample) {
	t.Helper()
	for _, c := range s.columns {
		if _, ok := got[c.Key]; !ok {
			t.Errorf("%s: nothing makes %s", s.name, c.Key)
		}
	}
	if len(got) != len(s.columns) {
		t.Errorf("%s: %d figures in %d columns", s.name, len(got), len(s.columns))
	}
}

// newDaemon builds multihomed, which may take long where nothing is cached.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	d := &daemon{path: filepath.Join(t.TempDir(), reference)}
	if err := build(ctx, d.path); err != nil {
		t.Fatal(err)
	}
	return d
}

// Every candidate loads a table in both families and leads each prefix where its
// shortest path is.
func TestBGPLoad(t *testing.T) {
	t.Parallel()
	for _, c := range []bgpCandidate{frr{}, bird{}, fake{}, newDaemon(t)} {
		for _, ipv6 := range []bool{false, true} {
			t.Run(c.name()+" "+family(ipv6), func(t *testing.T) {
				t.Parallel()
				ctx := testContext(t)
				s, err := newBGPTrial(ctx, t, c, testBGPSetting(2, bgptest.PreferEach, ipv6)).load(ctx)
				if err != nil {
					t.Fatal(err)
				}
				t.Log(s.line(loadScenario.columns))
				wantColumns(t, loadScenario, s)
				if s[keyLoad] <= 0 || s[keySettle] < s[keyLoad] || s[keyCPUSum] <= 0 || s[keyPeak] < 1 || s[keyTogether] < 1 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// A candidate that takes a second for certain is not said to be faster.
func TestBGPLoad_slow(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	// Of ten full batches and the rest, all but the last pause come before the end.
	const pause, batches = 150 * time.Millisecond, testPrefixes/writeBatch - 1
	s, err := newBGPTrial(ctx, t, fake{Pause: pause}, testBGPSetting(1, bgptest.PreferEach, false)).load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := (batches * pause).Seconds(); s[keyLoad] < want || s[keySettle] < want {
		t.Errorf("%.3f s, settled %.3f s, want %.3f s or more", s[keyLoad], s[keySettle], want)
	}
}

// A single prefix that is missing is an error, and says how many are there.
func TestBGPLoad_missing(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := testBGPSetting(2, bgptest.PreferEach, false)
	s.loading = 3 * time.Second
	_, err := newBGPTrial(ctx, t, fake{Skip: 1}, s).load(ctx)
	if err == nil || !strings.Contains(err.Error(), "699 of 700 routes are there") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// A table that is there and leads elsewhere is no settled one.
func TestBGPLoad_astray(t *testing.T) {
	t.Parallel()
	for _, ipv6 := range []bool{false, true} {
		ctx := testContext(t)
		s := testBGPSetting(2, bgptest.PreferEach, ipv6)
		s.loading = 3 * time.Second
		_, err := newBGPTrial(ctx, t, fake{Astray: true}, s).load(ctx)
		if err == nil || !strings.Contains(err.Error(), "700 of 700 routes are there") || !strings.Contains(err.Error(), "leads elsewhere") {
			t.Errorf("%s: %v", family(ipv6), err)
		}
	}
}

// A candidate that dies is an error.
func TestBGPLoad_dies(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	tr := newBGPTrial(ctx, t, fake{}, testBGPSetting(1, bgptest.PreferEach, false))
	p := tr.near.processes()[0]
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	if _, err := tr.load(ctx); err == nil || !strings.Contains(err.Error(), "ended: signal: killed") {
		t.Errorf("%v", err)
	}
}

// A candidate that does not come up is an error.
func TestBGPTrial_notUp(t *testing.T) {
	t.Parallel()
	s := testBGPSetting(2, bgptest.PreferEach, false)
	s.startup = 2 * time.Second
	tr, err := startBGPTrial(testContext(t), fake{Deaf: true}, s)
	if err == nil {
		t.Fatal(errors.Join(errors.New("no error"), tr.stop()))
	}
	if !strings.Contains(err.Error(), "bring up fake") {
		t.Errorf("%v", err)
	}
}

func testBGPOptions() bgpOptions {
	return bgpOptions{flows: 40, destinations: 20, flowRate: 50, backWithin: patience, churnRate: 200, churnFor: time.Second, idleFor: time.Second}
}

// All flows fail over, in no less than the time that was waited for; a candidate that
// does nothing loses them all.
func TestFailover(t *testing.T) {
	t.Parallel()
	// BFD detects in at least four of five intervals.
	const detection, delay = 4 * 300 * time.Millisecond, time.Second
	for _, tc := range []struct {
		c      bgpCandidate
		ipv6   bool
		low    time.Duration
		never  float64
		within time.Duration
	}{
		{bird{}, false, detection, 0, patience},
		{frr{}, true, detection, 0, patience},
		{newDaemon(t), false, detection, 0, patience},
		{fake{Delay: delay}, true, detection + delay, 0, patience},
		{fake{Stay: true}, false, detection, 40, 3 * time.Second},
	} {
		t.Run(tc.c.name()+" "+family(tc.ipv6), func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			s, o := testBGPSetting(2, bgptest.PreferFirst, tc.ipv6), testBGPOptions()
			s.destinations, o.backWithin = o.destinations, tc.within
			got, err := newBGPTrial(ctx, t, tc.c, s).failover(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(got.line(failoverScenario.columns))
			wantColumns(t, failoverScenario, got)
			// A jittered interval and a packet every 20 ms may be missing at the begin.
			if low := milliseconds(tc.low) - 100; got[keyNever] != tc.never || got[keyFirstBack] < low || got[keyMedian] < low || got[keyLast] < got[keyMedian] {
				t.Errorf("%+v, want %.0f ms or more and %.0f lost", got, low, tc.never)
			}
		})
	}
}

// Every update of a churn changes a route, and none before it was sent.
func TestChurn(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	tr := newBGPTrial(ctx, t, bird{}, testBGPSetting(2, bgptest.PreferEach, false))
	if _, err := tr.load(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := tr.churn(ctx, testBGPOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(s.line(churnScenario.columns))
	wantColumns(t, churnScenario, s)
	if s[keyUnseen] > 20 || s[keyDelay50] <= 0 || s[keyDelay99] < s[keyDelay50] {
		t.Errorf("%+v", s)
	}
}

// A candidate that ignores updates changes no route.
func TestChurn_unseen(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	tr := newBGPTrial(ctx, t, fake{}, testBGPSetting(2, bgptest.PreferEach, true))
	if _, err := tr.load(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := tr.churn(ctx, testBGPOptions())
	if err != nil || s[keyUnseen] != 200 {
		t.Errorf("%+v, error %v, want that all 200 changed nothing", s, err)
	}
}

// The scenarios run from the command line.
func TestRun_bgp(t *testing.T) {
	t.Parallel()
	var out, progress bytes.Buffer
	args := []string{
		"-candidates", "bird", "-interval", "300ms", "-prefixes", "500", "-peers", "1", "-family", "both", "-idle-for", "1s", "-o", t.TempDir(),
		"bgp-load", "bgp-idle", "kernel-floor",
	}
	if code := run(args, io.Reader(nil), &out, &progress); code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, &progress, &out)
	}
	// A figure that is missing is a dash, and so is nothing else here.
	if strings.Contains(out.String(), "| – |") {
		t.Errorf("figures are missing in\n%s", &out)
	}
	for _, want := range []string{"| 500 prefixes from 1, IPv4 | bird |", "| 500 prefixes, IPv6 | bird |", "| 500 prefixes, IPv6 | kernel |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// A candidate that ends a session while it is measured is an error that says what it
// gave as the reason.
func TestBGPLoad_sessionEnds(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	tr := newBGPTrial(ctx, t, bird{}, testBGPSetting(2, bgptest.PreferEach, false))
	if _, err := tr.load(ctx); err != nil {
		t.Fatal(err)
	}
	r, ok := tr.near.(*birdRunning)
	if !ok {
		t.Fatalf("%T", tr.near)
	}
	if _, err := ask(ctx, "birdc", "-s", r.socket, "disable", "isp2"); err != nil {
		t.Fatal(err)
	}
	_, err := tr.meanwhile(ctx, func() error {
		return poll(ctx, func() (bool, error) { return false, tr.checkAll() })
	})
	if err == nil || !strings.Contains(err.Error(), "ISP 2") || !strings.Contains(err.Error(), "NOTIFICATION 6/2") {
		t.Errorf("%v", err)
	}
}
