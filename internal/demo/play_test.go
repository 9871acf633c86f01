package demo

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/internal/status"
)

// fake is a world with a history: each ISP carries 20 flows of each family or
// none, and a daemon that notices and moves after given times.
type fake struct {
	// moveAfter is when the flows leave a broken ISP, knowAfter when the daemon
	// says so, backAfter when both return; negative means never.
	moveAfter, knowAfter, backAfter time.Duration
	// stuckIPv6 keeps IPv6 on the broken ISP; lossy loses packets for ever
	// after a repair; liar keeps IPv6 away after the repair though the daemon
	// calls it live.
	stuckIPv6, lossy, liar bool
	// unprobed leaves out the evidence of the probes.
	unprobed bool
	// diesAfter is when the daemon ends, counted from the first failure; 0 is
	// never.
	diesAfter time.Duration
	actErr    error
	overrun   uint64

	history []event
	done    []action
}

// event is what happened to an ISP.
type event struct {
	isp    string
	at     time.Time
	broken bool
}

const fakeFlows = 40

func healthy() *fake {
	return &fake{moveAfter: 600 * time.Millisecond, knowAfter: 550 * time.Millisecond, backAfter: 3 * time.Second}
}

func (f *fake) act(a action) error {
	if f.actErr != nil {
		return f.actErr
	}
	f.done = append(f.done, a)
	broken := a.kind == cut || a.kind == unplug || a.kind == hangUp
	f.history = append(f.history, event{a.isp, time.Now(), broken})
	return nil
}

// passed is true if the delay after the event is over at a time.
func passed(e event, delay time.Duration, at time.Time) bool {
	return delay >= 0 && !at.Before(e.at.Add(delay))
}

// latest is the last event of an ISP until a time.
func (f *fake) latest(isp string, at time.Time) (event, bool) {
	for i := len(f.history) - 1; i >= 0; i-- {
		if e := f.history[i]; e.isp == isp && !e.at.After(at) {
			return e, true
		}
	}
	return event{}, false
}

// carries is what an ISP carries at a time, by family.
func (f *fake) carries(isp string, at time.Time) [2]int {
	e, ok := f.latest(isp, at)
	switch {
	case !ok:
		return [2]int{12, 8}
	case e.broken && !passed(e, f.moveAfter, at):
		return [2]int{12, 8}
	case e.broken && f.stuckIPv6:
		return [2]int{0, 8}
	case e.broken, !passed(e, f.backAfter, at):
		return [2]int{}
	case f.liar:
		return [2]int{12, 0}
	default:
		return [2]int{12, 8}
	}
}

func (f *fake) traffic(from, to time.Time) traffic {
	t := traffic{flows: fakeFlows, arriving: fakeFlows, by: map[string][2]int{}, overrun: f.overrun}
	for at := from; !at.After(to); at = at.Add(10 * time.Millisecond) {
		for _, isp := range []string{isp1, isp2} {
			now, seen := f.carries(isp, at), t.by[isp]
			t.by[isp] = [2]int{max(seen[0], now[0]), max(seen[1], now[1])}
			e, ok := f.latest(isp, at)
			if ok && (e.broken && now != [2]int{} || !e.broken && f.lossy) {
				t.lost += 20
				t.hit, t.arriving = 20, fakeFlows-20
				t.longest += 10 * time.Millisecond
			}
		}
	}
	return t
}

func (f *fake) status(context.Context) (status.Status, error) {
	now := time.Now()
	s := status.Status{Ready: true}
	for _, isp := range []string{isp1, isp2} {
		verdict, reason := live, "icmp: 2 of 2 targets answer"
		since := now.Add(-time.Hour)
		e, ok := f.latest(isp, now)
		if ok && e.broken && passed(e, f.knowAfter, now) {
			verdict, reason, since = "dead", "icmp: 0 of 2 targets answer", e.at.Add(f.knowAfter)
		} else if ok && !e.broken && !passed(e, f.backAfter, now) {
			verdict, reason, since = "held", "good for too short", e.at
		}
		u := status.Uplink{Name: isp}
		for _, family := range []string{"ipv4", "ipv6"} {
			w := status.Way{Family: family, Verdict: verdict, Since: since, Reasons: []string{reason}, Share: 0.5}
			if !f.unprobed {
				w.Evidence = []status.Evidence{{Kind: "link", Opinion: "up"}, {Kind: "icmp", Opinion: "up"}}
			}
			u.Ways = append(u.Ways, w)
		}
		s.Uplinks = append(s.Uplinks, u)
	}
	return s, nil
}

func (f *fake) alive() error {
	if f.diesAfter > 0 && len(f.history) > 0 && time.Since(f.history[0].at) > f.diesAfter {
		return errors.New("the daemon ended: exit status 2")
	}
	return nil
}

// playFake plays the usual trials in a bubble and returns what was written.
func playFake(t *testing.T, f *fake) (out string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		err = play(t.Context(), f, (&stage{ppp: true}).trials(false), defaultLimit, newPrinter(&b, false))
		out = b.String()
	})
	return out, err
}

func TestPlayTellsTheWholeStory(t *testing.T) {
	t.Parallel()
	f := healthy()
	out, err := playFake(t, f)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []action{{isp1, cut}, {isp1, uncut}, {isp2, hangUp}, {isp2, dial}, {isp1, unplug}, {isp1, plug}}
	if diff := cmp.Diff(want, f.done, cmp.AllowUnexported(action{})); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	for _, pattern := range []string{
		`s  ready +isp1 \(ipv4 live 50 %, ipv6 live 50 %\) .* \| 40 of 40 flows arrive, 20 by isp1, 20 by isp2`,
		`s  BREAK +isp1 drops everything`,
		`s  verdict +isp1 ipv4: live -> dead: icmp: 0 of 2 targets answer`,
		`s  verdict +isp1 ipv6: live -> dead`,
		`s  failover +all 40 flows arrive without isp1; 20 were hit, the longest outage was 600 ms, 1200 packets lost`,
		`s  REPAIR +isp1 forwards again`,
		`s  verdict +isp1 ipv4: dead -> held`,
		`s  verdict +isp1 ipv4: held -> live`,
		`s  return .*0 packets lost on the return`,
		`(?m)^PPP of isp2 hangs up +550 ms +20 of 40 +600 ms +1200 +\d+ ms +0$`,
		`s  done `,
	} {
		if !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("nothing like %q in\n%s", pattern, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colour without a terminal")
	}
}

// TestVerdictLinesCarryTheDaemonsTime: the failure came at a known time and the
// verdict 550 ms later, whenever the demo asked.
func TestVerdictLinesCarryTheDaemonsTime(t *testing.T) {
	t.Parallel()
	out, err := playFake(t, healthy())
	if err != nil {
		t.Fatal(err)
	}
	times := regexp.MustCompile(`([\d.]+)s  BREAK[^\n]*\n(?:.*status.*\n)* *([\d.]+)s  verdict`).FindStringSubmatch(out)
	if times == nil {
		t.Fatalf("no failure with a verdict in\n%s", out)
	}
	broke, errA := time.ParseDuration(times[1] + "s")
	knew, errB := time.ParseDuration(times[2] + "s")
	if d := (knew - broke).Round(10 * time.Millisecond); errA != nil || errB != nil || d != 550*time.Millisecond {
		t.Errorf("verdict %s after the failure, want 550 ms", d)
	}
}

func TestPlayFailsIfItDidNotReallyHappen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		bend func(*fake)
		want string
	}{
		{"the flows never move", func(f *fake) { f.moveAfter = -1 }, "isp1 drops silently: gave up after 30s waiting until the flows leave isp1"},
		{"one family does not move", func(f *fake) { f.stuckIPv6 = true }, "until the flows leave isp1"},
		{"the daemon never says so", func(f *fake) { f.knowAfter = -1 }, "until the daemon says so"},
		{"the ISP never carries again", func(f *fake) { f.backAfter = -1 }, "until isp1 carries flows again"},
		{"one family never returns", func(f *fake) { f.liar = true }, "until isp1 carries flows again"},
		{"packets are lost after the return", func(f *fake) { f.lossy = true }, "until isp1 carries flows again"},
		{"the daemon dies", func(f *fake) { f.diesAfter, f.moveAfter = 100*time.Millisecond, -1 }, "the daemon ended: exit status 2"},
		{"the lab refuses", func(f *fake) { f.actErr = errors.New("no such thing") }, "isp1 drops silently: no such thing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := healthy()
			c.bend(f)
			out, err := playFake(t, f)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if !strings.Contains(out, "FAILED") || strings.Contains(out, "s  done") {
				t.Errorf("the timeline does not say so:\n%s", out)
			}
		})
	}
}

func TestPlayWaitsForTheProbes(t *testing.T) {
	t.Parallel()
	f := healthy()
	f.unprobed = true
	_, err := playFake(t, f)
	if err == nil || !strings.Contains(err.Error(), "until everything is ready") || len(f.done) != 0 {
		t.Errorf("got %v after %d actions", err, len(f.done))
	}
}

func TestPlayTellsOfABusyMachine(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]bool{0: false, 7: true} {
		f := healthy()
		f.overrun = n
		out, err := playFake(t, f)
		if err != nil || strings.Contains(out, "too busy: 7 of the lost") != want {
			t.Errorf("%d packets, %v:\n%s", n, err, out)
		}
	}
}

// TestStatusLinesTellChangesOnly: nothing changes in 30 s of waiting but once.
func TestStatusLinesTellChangesOnly(t *testing.T) {
	t.Parallel()
	f := healthy()
	f.backAfter = -1
	out, err := playFake(t, f)
	if n := strings.Count(out, "s  status "); err == nil || n == 0 || n > 3 {
		t.Errorf("%d lines of status, %v:\n%s", n, err, out)
	}
}

// mute is a world whose daemon never answers.
type mute struct{ *fake }

func (mute) status(context.Context) (status.Status, error) {
	return status.Status{}, errors.New("no multihomed answers")
}

func TestPlayGivesUpOnAMuteDaemon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		err := play(t.Context(), mute{healthy()}, (&stage{}).trials(true), defaultLimit, newPrinter(&b, false))
		if err == nil || !strings.Contains(err.Error(), "until everything is ready: the daemon has not said anything | 40 of 40") {
			t.Errorf("got %v", err)
		}
	})
}

func TestPlayStopsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		asked := errors.New("interrupted by the user")
		time.AfterFunc(time.Second, func() { cancel(asked) })
		f := healthy()
		f.moveAfter = -1
		began := time.Now()
		err := play(ctx, f, (&stage{}).trials(true), defaultLimit, newPrinter(&bytes.Buffer{}, false))
		if !errors.Is(err, asked) || time.Since(began) > 2*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

// TestConditions holds each condition against traffic that misses it narrowly.
func TestConditions(t *testing.T) {
	t.Parallel()
	pl := &player{}
	for _, isp := range []string{isp1, isp2} {
		ways := []status.Way{{Verdict: live}, {Verdict: live}}
		pl.last.Uplinks = append(pl.last.Uplinks, status.Uplink{Name: isp, Ways: ways})
	}
	of := func(arriving, lost int, by1, by2 [2]int) traffic {
		return traffic{flows: 40, arriving: arriving, lost: lost, by: map[string][2]int{isp1: by1, isp2: by2}}
	}
	both, half := [2]int{20, 20}, [2]int{10, 10}
	for _, c := range []struct {
		name                string
		t                   traffic
		deserted, allCarry1 bool
	}{
		{"all by isp2", of(40, 0, [2]int{}, both), true, false},
		{"balanced", of(40, 0, half, half), false, true},
		{"all by isp1", of(40, 0, both, [2]int{}), false, true},
		{"still moving", of(40, 0, half, both), false, false},
		{"one flow does not arrive, all by isp2", of(39, 0, [2]int{}, both), false, false},
		{"one flow does not arrive, balanced", of(39, 0, half, half), false, false},
		{"one packet lost, all by isp2", of(40, 1, [2]int{}, both), false, false},
		{"one packet lost, balanced", of(40, 1, half, half), false, false},
		{"no IPv6 by isp1", of(40, 0, [2]int{10, 0}, [2]int{10, 20}), false, false},
		{"no IPv4 by isp1", of(40, 0, [2]int{0, 10}, [2]int{20, 10}), false, false},
		{"no traffic at all", traffic{}, false, false},
	} {
		if got := pl.deserted(c.t, isp1); got != c.deserted {
			t.Errorf("%s: deserted %t", c.name, got)
		}
		if got := pl.allCarry(c.t, []string{isp1}); got != c.allCarry1 {
			t.Errorf("%s: isp1 carries %t", c.name, got)
		}
	}
	pl.last.Uplinks[0].Ways[1].Verdict = "held"
	if pl.allCarry(of(40, 0, half, half), []string{isp1}) {
		t.Error("isp1 carries though the daemon holds its IPv6")
	}
}

// TestAnOldVerdictIsNoNews: an uplink that was not live before the failure, and
// is not live now, has not been noticed yet.
func TestAnOldVerdictIsNoNews(t *testing.T) {
	t.Parallel()
	began := time.Now()
	pl := &player{}
	ways := func(verdict string, since time.Time) {
		w := status.Way{Verdict: verdict, Since: since}
		pl.last.Uplinks = []status.Uplink{{Name: isp1, Ways: []status.Way{w, w}}}
	}
	for _, c := range []struct {
		verdict string
		since   time.Time
		want    bool
	}{
		{"dead", began.Add(time.Second), true},
		{"held", began.Add(time.Second), true},
		{"dead", began.Add(-time.Second), false},
		{live, began.Add(time.Second), false},
	} {
		ways(c.verdict, c.since)
		if got := pl.fallen(isp1, began); got != c.want {
			t.Errorf("%s since %s: %t", c.verdict, c.since.Sub(began), got)
		}
	}
	pl.last.Uplinks[0].Ways = pl.last.Uplinks[0].Ways[:1]
	if pl.fallen(isp1, began) || pl.live(isp1) || pl.fallen("isp9", began) {
		t.Error("judged an uplink that has not got both families")
	}
}
