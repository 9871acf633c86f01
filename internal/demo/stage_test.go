package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("gave up waiting until %s", what)
		case <-tick.C:
		}
	}
}

// script writes a program that stands in for multihomed: run is what it does
// after it said its arguments, status what it answers.
func script(t *testing.T, run, status string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "multihomed")
	text := "#!/bin/sh\ncase $1 in\nrun) echo \"$@\"\n" + run + "\n;;\nstatus) " + status + "\n;;\nesac\n"
	must(t, os.WriteFile(path, []byte(text), 0o700))
	return path
}

// obedient runs until it is asked to stop.
const obedient = "trap 'echo stopped; exit 0' TERM; while :; do sleep 0.05; done"

func newTestStage(t *testing.T, exe string) *stage {
	t.Helper()
	s, err := newStage(t.Context(), exe, newPrinter(io.Discard, false))
	must(t, err)
	t.Cleanup(func() { must(t, s.close(true)) })
	return s
}

// sendBy does the daemon's work by hand: both families by one ISP.
func sendBy(t *testing.T, s *stage, isp string) {
	t.Helper()
	a, err := s.site.Access(isp)
	must(t, err)
	for _, family := range []string{"-4", "-6"} {
		_, err := s.site.Edge.IP(family, "route", "replace", "default", "via",
			a.Line(family == "-6").Gateway.String(), "dev", a.Device, "onlink")
		must(t, err)
	}
}

func recent(s *stage) traffic { return (&player{world: s}).recent() }

func TestStageTellsTheTruth(t *testing.T) {
	t.Parallel()
	const all = 2 * flowsPerFamily
	s := newTestStage(t, script(t, obedient, `echo '{"ready":true}'`))
	if !s.ppp {
		t.Fatal("no point-to-point link: this test needs /dev/net/tun")
	}
	waitFor(t, "nothing arrives without a route", func() bool {
		r := recent(s)
		return r.flows == all && r.arriving == 0 && r.hit == all && r.carried(isp1)+r.carried(isp2) == 0
	})
	only := func(isp, not string) func() bool {
		return func() bool {
			r := recent(s)
			return r.arriving == all && r.lost == 0 && r.by[isp] == [2]int{flowsPerFamily, flowsPerFamily} && r.carried(not) == 0
		}
	}
	sendBy(t, s, isp1)
	waitFor(t, "all by isp1", only(isp1, isp2))
	for _, a := range []struct{ fail, repair action }{
		{action{isp1, cut}, action{isp1, uncut}},
		{action{isp1, unplug}, action{isp1, plug}},
	} {
		must(t, s.act(a.fail))
		waitFor(t, "all flows are hit", func() bool { r := recent(s); return r.hit == all && r.arriving == 0 })
		must(t, s.act(a.repair))
		sendBy(t, s, isp1)
		waitFor(t, "all by isp1 again", only(isp1, isp2))
	}

	sendBy(t, s, isp2)
	waitFor(t, "all by isp2", only(isp2, isp1))
	a, err := s.site.Access(isp2)
	must(t, err)
	old := a.IPv4.Source
	must(t, s.act(action{isp2, hangUp}))
	waitFor(t, "all flows are hit", func() bool { r := recent(s); return r.hit == all && r.arriving == 0 })
	must(t, s.act(action{isp2, dial}))
	if a.IPv4.Source == old {
		t.Error("the new session has the old address")
	}
	sendBy(t, s, isp2)
	waitFor(t, "all by isp2 again", only(isp2, isp1))
}

func TestStageRunsAndAsksTheDaemon(t *testing.T) {
	t.Parallel()
	exe := script(t, obedient, `[ "$2$4$5" = --socket-ojson ] && echo '{"ready":true,"config":"'$3'"}'`)
	s := newTestStage(t, exe)
	waitFor(t, "the daemon said its arguments", func() bool { return s.daemon.logTail() != "" })
	want := "run --config " + s.dir + "/multihomed.yaml --socket " + s.dir + "/socket --log-level info"
	if got := s.daemon.logTail(); got != want {
		t.Errorf("started as %q, want %q", got, want)
	}
	got, err := s.status(t.Context())
	must(t, err)
	if !got.Ready || got.Config != s.dir+"/socket" {
		t.Errorf("got %+v", got)
	}
	must(t, s.alive())
	must(t, s.daemon.stop())
	if log := s.daemon.logTail(); !strings.HasSuffix(log, "stopped") {
		t.Errorf("it was not stopped in order: %q", log)
	}
	if s.alive() == nil {
		t.Error("alive after its end")
	}
	if text := s.trouble(); !strings.Contains(text, s.dir) || !strings.Contains(text, "stopped") {
		t.Errorf("trouble: %q", text)
	}
	must(t, s.close(true))
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	s.daemon, s.flows, s.taps = nil, nil, nil
}

func TestDaemonThatAnswersNonsense(t *testing.T) {
	t.Parallel()
	for want, answer := range map[string]string{
		"read status":                     "echo nonsense",
		"ask daemon: exit status 3: oops": "echo oops >&2; exit 3",
	} {
		d := &daemon{exe: script(t, "", answer)}
		if _, err := d.status(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestRunReportsADaemonThatEnds goes all the way through Run.
func TestRunReportsADaemonThatEnds(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := Run(t.Context(), Options{Out: &b, Exe: script(t, "echo no idea what to do; exit 4", "exit 1"), Limit: 20 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "run demo: the daemon ended: exit status 4") {
		t.Errorf("got %v", err)
	}
	_, after, found := strings.Cut(b.String(), "configuration and log are kept in ")
	dir, _, _ := strings.Cut(after, ";")
	if !found || !strings.Contains(after, "no idea what to do") {
		t.Fatalf("the log is not shown:\n%s", b.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "multihomed.yaml")); err != nil {
		t.Errorf("the configuration was not kept: %v", err)
	}
	must(t, os.RemoveAll(dir))
}

// TestRunStopsWithItsContext: nothing stays behind of a demo that was stopped.
func TestRunStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	stopper := writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte("traffic")) {
			cancel()
		}
		return len(b), nil
	})
	var b bytes.Buffer
	err := Run(ctx, Options{Out: io.MultiWriter(&b, stopper), Exe: script(t, obedient, "exit 1")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	_, after, _ := strings.Cut(b.String(), "configuration ")
	path, _, found := strings.Cut(after, "\n")
	if _, err := os.Stat(filepath.Dir(path)); !found || !errors.Is(err, os.ErrNotExist) || strings.Contains(b.String(), "trouble") {
		t.Errorf("%q is still there (%v):\n%s", filepath.Dir(path), err, b.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestRunReportsAMissingProgram(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := Run(t.Context(), Options{Out: &b, Exe: "/nonexistent/multihomed"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	s := newTestStage(t, script(t, obedient, "exit 1"))
	got, err := configuration(s.site)
	must(t, err)
	want := configurationHead + `  - name: isp1
    interface: eth1
    gateway: ["203.0.113.1", "2001:db8:1000::1"]
    weight: 3
    icmp:
      targets: ["198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8:ffff::1", "2001:db8:ffff::2", "2001:db8:ffff::3"]
      interval: 200ms
      timeout: 200ms
      down: 3
      up: 3
  - name: isp2
    interface: ppp2
    weight: 2
    icmp:
      targets: ["198.51.100.4", "198.51.100.5", "198.51.100.6", "2001:db8:ffff::4", "2001:db8:ffff::5", "2001:db8:ffff::6"]
      interval: 200ms
      timeout: 200ms
      down: 3
      up: 3
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := list([]netip.Addr{}); got != "[]" {
		t.Errorf("got %q", got)
	}
}

func TestColor(t *testing.T) {
	yes, no := true, false
	var b bytes.Buffer
	f, err := os.Open(os.DevNull)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	for _, c := range []struct {
		out  io.Writer
		wish *bool
		want bool
	}{{&b, nil, false}, {f, nil, false}, {&b, &yes, true}, {f, &no, false}} {
		if got := useColor(c.out, c.wish); got != c.want {
			t.Errorf("%T wish %v: %t", c.out, c.wish, got)
		}
	}
	newPrinter(&b, true).line(time.Now(), red, "BREAK", "x")
	if got := b.String(); got != "   0.00s  \x1b[31mBREAK    \x1b[0m x\n" {
		t.Errorf("got %q", got)
	}
}

// TestTrialsWithoutPPP: a machine without TUN devices still has two failures.
func TestTrialsWithoutPPP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ppp, quick bool
		want       []kind
	}{
		{true, true, []kind{cut, hangUp}},
		{false, true, []kind{cut, unplug}},
		{true, false, []kind{cut, hangUp, unplug}},
	} {
		var got []kind
		for _, tr := range (&stage{ppp: c.ppp}).trials(c.quick) {
			got = append(got, tr.failure.kind)
			if tr.failure.isp != tr.repair.isp {
				t.Errorf("%s repairs another ISP", tr.title)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("ppp %t quick %t (-want +got):\n%s", c.ppp, c.quick, diff)
		}
	}
}
