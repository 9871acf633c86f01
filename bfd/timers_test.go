package bfd

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// Whenever the session is not Up it advertises exactly one second, or more if that is
// configured.
func TestBFD_TM_01_BFD_CI_04(t *testing.T) {
	for _, c := range []struct{ configured, want time.Duration }{
		{10 * time.Millisecond, time.Second}, {time.Second, time.Second}, {10 * time.Second, 10 * time.Second},
	} {
		for _, what := range []string{"hears down", "hears admin-down", "expires", "is disabled", "loses its forwarding state"} {
			conf := v4.asyncConf()
			conf.DesiredMinTx = c.configured
			r := newRig(t, conf)
			r.bring(Up)
			n := len(r.wire.shots)
			r.happens(t, what)
			r.run(20 * time.Second)
			seen := 0
			for _, s := range r.shots(n) {
				if s.State == Up {
					continue
				}
				seen++
				if got := fromWire(s.DesiredMinTx); got != c.want {
					t.Errorf("%v, %s: %v", c.configured, what, s)
				}
			}
			if seen == 0 {
				t.Errorf("%v, %s: nothing was sent", c.configured, what)
			}
		}
	}
}

// intervals returns how far apart packets are.
func intervals(shots []shot) []time.Duration {
	var d []time.Duration
	for i := range shots[1:] {
		d = append(d, shots[i+1].at-shots[i].at)
	}
	return d
}

// No interval is longer than what was negotiated, none is shorter than 75 % of it, and
// each is independent.
func TestBFD_TM_02_BFD_TM_03_BFD_TM_04_Jitter(t *testing.T) {
	for _, c := range []struct {
		tx    time.Duration
		peer  uint32
		mult  int
		want  time.Duration
		upper float64
	}{
		{50 * time.Millisecond, 10_000, 3, 50 * time.Millisecond, 1},
		{50 * time.Millisecond, 200_000, 3, 200 * time.Millisecond, 1},
		{50 * time.Millisecond, 200_000, 1, 200 * time.Millisecond, 0.9},
		{time.Second, 50_000, 1, time.Second, 0.9},
		{3300 * time.Microsecond, 3_300, 255, 3300 * time.Microsecond, 1},
	} {
		t.Run(fmt.Sprintf("%v, peer %d us, multiplier %d", c.tx, c.peer, c.mult), func(t *testing.T) {
			conf := v4.asyncConf()
			conf.DesiredMinTx, conf.Multiplier = c.tx, c.mult
			r := newRig(t, conf)
			r.bring(Up)
			r.says.RequiredMinRx, r.says.DetectMult, r.says.DesiredMinTx = c.peer, 255, 100_000_000
			r.take()
			r.run(2 * c.want)
			n := len(r.wire.shots)
			r.keep(9000*c.want, 1000*c.want)
			all := intervals(r.shots(n))
			if len(all) < 9000 {
				t.Fatalf("%d intervals", len(all))
			}
			var sum float64
			parts := make([]float64, len(all))
			for i, d := range all {
				parts[i] = float64(d) / float64(c.want)
				sum += parts[i]
			}
			mean := sum / float64(len(parts))
			least, most := slices.Min(parts), slices.Max(parts)
			if least < 0.75-1e-6 || most > c.upper+1e-6 {
				t.Errorf("%.4f to %.4f of the interval, want 0.75 to %.2f", least, most, c.upper)
			}
			middle := (0.75 + c.upper) / 2
			if math.Abs(mean-middle) > 0.01 || most-least < 0.95*(c.upper-0.75) {
				t.Errorf("mean %.4f, want %.4f; %.4f to %.4f", mean, middle, least, most)
			}
			if r := correlation(parts, mean); math.Abs(r) > 0.05 {
				t.Errorf("consecutive intervals correlate by %.3f", r)
			}
		})
	}
}

// correlation of each value with the next.
func correlation(x []float64, mean float64) float64 {
	var both, one float64
	for i := range x[1:] {
		both += (x[i] - mean) * (x[i+1] - mean)
		one += (x[i] - mean) * (x[i] - mean)
	}
	return both / one
}

// The interval follows the peer's, in both directions, at once.
func TestBFD_TM_05_BFD_TM_15(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.says.DetectMult, r.says.DesiredMinTx = 255, 1_000_000
	r.take(func(p *Packet) { p.RequiredMinRx = 10_000_000 })
	r.run(30 * time.Second)
	n := len(r.wire.shots)
	last := r.last().at
	r.run(last + 3*time.Second - r.now)
	if len(r.wire.shots) != n {
		t.Fatal("sent faster than the peer allows")
	}
	// The new interval has passed since: now, not later.
	r.take(func(p *Packet) { p.RequiredMinRx = 50_000 })
	if got := r.shots(n); len(got) != 1 || got[0].at != r.now {
		t.Errorf("sent %v at %v", got, r.now)
	}
	if r.core.worstLateness != 0 {
		t.Errorf("late by %v, but nobody could be earlier", r.core.worstLateness)
	}
	// It has not passed: in time.
	r.run(10 * time.Second)
	last = r.last().at
	r.take(func(p *Packet) { p.RequiredMinRx = 400_000 })
	n = len(r.wire.shots)
	r.run(last + 299*time.Millisecond - r.now)
	if len(r.shots(n)) != 0 {
		t.Error("sent faster than the peer allows")
	}
	r.run(102 * time.Millisecond)
	if len(r.shots(n)) != 1 {
		t.Errorf("%d packets within the new interval", len(r.shots(n)))
	}
}

// A peer that wants no packets gets none, and gets them again when it does.
func TestBFD_TM_06(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.says.RequiredMinRx = 0
	r.take()
	n := len(r.wire.shots)
	r.keep(time.Minute, 100*time.Millisecond)
	if got := r.shots(n); len(got) != 0 {
		t.Errorf("sent %d packets, first %v", len(got), got[0])
	}
	if got := r.status().TxInterval; got != 0 {
		t.Errorf("interval shown as %v", got)
	}
	r.take(withPoll)
	if got := r.shots(n); len(got) != 1 || !got[0].Final {
		t.Errorf("a Poll is answered by %v", got)
	}
	r.says.RequiredMinRx = 50_000
	r.take()
	if got := r.shots(n + 1); len(got) != 1 || got[0].at != r.now {
		t.Errorf("sent %v at %v", got, r.now)
	}
	if r.core.worstLateness != 0 {
		t.Errorf("late by %v, but nothing was due", r.core.worstLateness)
	}
	r.mustBe(Up, DiagNone)
}

// What changed is told at once.
func TestBFD_TM_07(t *testing.T) {
	for what, want := range map[string]State{
		"hears down": Down, "hears admin-down": Down, "expires": Down, "is disabled": AdminDown, "loses its forwarding state": Down,
	} {
		r := newRig(t, v4.asyncConf())
		r.bring(Up)
		// The peer wants packets rarely: what changed cannot wait for that.
		r.take(func(p *Packet) { p.RequiredMinRx = 100_000_000 })
		n := len(r.wire.shots)
		var at instant
		if what == "expires" {
			at = r.core.deadline()
			r.run(time.Second)
		} else {
			at = r.now
			r.happens(t, what)
			r.settle()
		}
		got := r.shots(n)
		if len(got) == 0 || got[0].State != want || got[0].at != at {
			t.Errorf("%s at %v: sent %v", what, at, got)
		}
	}
	// Once, that is.
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	n := len(r.wire.shots)
	for range 5 {
		r.take(inState(Down))
		r.take(inState(Init))
	}
	if got := len(r.shots(n)); got != 10 {
		t.Errorf("%d packets for 10 changes", got)
	}
}

// The detection time is that of the formula, to the microsecond.
func TestBFD_TM_08_BFD_TM_09(t *testing.T) {
	for _, c := range []struct {
		rx   time.Duration
		tx   uint32
		mult uint8
		want time.Duration
	}{
		{50 * time.Millisecond, 50_000, 3, 150 * time.Millisecond},
		{50 * time.Millisecond, 20_000, 3, 150 * time.Millisecond},
		{50 * time.Millisecond, 70_000, 3, 210 * time.Millisecond},
		{300 * time.Millisecond, 10_000, 1, 300 * time.Millisecond},
		{10 * time.Millisecond, 3_333, 255, 2550 * time.Millisecond},
		{10 * time.Second, 10_000_000, 255, 2550 * time.Second},
		{10 * time.Millisecond, 0, 5, 50 * time.Millisecond},
	} {
		for _, s := range []State{Init, Up} {
			conf := v4.asyncConf()
			conf.RequiredMinRx, conf.Multiplier, conf.DesiredMinTx = c.rx, 77, 33*time.Millisecond
			r := newRig(t, conf)
			r.bring(s)
			keeps := map[State]State{Init: Down, Up: Up}[s]
			r.take(inState(keeps), func(p *Packet) { p.DesiredMinTx, p.DetectMult = c.tx, c.mult })
			if got := r.status().DetectionTime; got != c.want {
				t.Errorf("%+v: shown as %v", c, got)
			}
			diag := r.core.diag
			r.run(c.want - time.Microsecond)
			r.mustBe(s, diag)
			r.run(time.Microsecond)
			r.mustBe(Down, DiagTimeExpired)
		}
	}
}

// Asymmetrical ends: each has the detection time that follows from both.
func TestBFD_TM_08_Asymmetrical(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), func(a, b *Config) {
		a.DesiredMinTx, a.RequiredMinRx, a.Multiplier = 20*time.Millisecond, 300*time.Millisecond, 5
		b.DesiredMinTx, b.RequiredMinRx, b.Multiplier = 100*time.Millisecond, 40*time.Millisecond, 2
	})
	w.meet()
	w.run(time.Second)
	sa, sb := a.status(), b.status()
	for _, c := range []struct {
		name      string
		got, want time.Duration
	}{
		{"a sends", sa.TxInterval, 40 * time.Millisecond}, {"a expects", sa.RxInterval, 300 * time.Millisecond}, {"a detects", sa.DetectionTime, 600 * time.Millisecond},
		{"b sends", sb.TxInterval, 300 * time.Millisecond}, {"b expects", sb.RxInterval, 40 * time.Millisecond}, {"b detects", sb.DetectionTime, 200 * time.Millisecond},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
	a.events, b.events = nil, nil
	w.run(time.Hour)
	if len(a.events)+len(b.events) != 0 {
		t.Errorf("flaps in an hour: %v %v", a.events, b.events)
	}
}

// Intervals that are changed while Up are asked for by a Poll Sequence, and neither end
// flaps, whichever way they are changed, with long delays as well.
func TestBFD_TM_11_BFD_TM_18(t *testing.T) {
	for _, delay := range []time.Duration{time.Millisecond, 40 * time.Millisecond, 300 * time.Millisecond} {
		w, a, b := twoEnds(t, v4.asyncConf(), nil)
		a.wire.delay, b.wire.delay = delay, delay
		w.meet()
		a.events, b.events = nil, nil
		for _, tx := range []time.Duration{10, 1000, 20, 30, 3000, 50} {
			for _, rx := range []time.Duration{1000, 10, 50, 3000, 20} {
				n := len(a.wire.shots)
				a.reconfigure(func(c *Config) { c.DesiredMinTx, c.RequiredMinRx = tx*time.Millisecond, rx*time.Millisecond })
				if !w.until(20*time.Second, func() bool { return slices.ContainsFunc(a.shots(n), func(s shot) bool { return s.Poll }) }) {
					t.Fatalf("delay %v, tx %v ms, rx %v ms: no Poll Sequence", delay, int64(tx), int64(rx))
				}
				// Sometimes before it is through.
				w.run(tx * time.Millisecond)
				if rx != 10 && !w.until(60*time.Second, func() bool { return a.core.poll == pollIdle }) {
					t.Fatalf("delay %v, tx %v ms, rx %v ms: the Poll Sequence does not end", delay, int64(tx), int64(rx))
				}
				if rx != 10 && (a.core.pacing != tx*time.Millisecond || a.core.tolerance != rx*time.Millisecond) {
					t.Errorf("in use are %v and %v", a.core.pacing, a.core.tolerance)
				}
			}
		}
		if len(a.events)+len(b.events) != 0 {
			t.Errorf("delay %v: told %v, %v", delay, a.events, b.events)
		}
	}
}

// A lower receive interval is not what the session expires by before the peer has
// confirmed it.
func TestBFD_TM_13(t *testing.T) {
	conf := v4.asyncConf()
	conf.RequiredMinRx = 500 * time.Millisecond
	r := newRig(t, conf)
	r.bring(Up)
	r.reconfigure(func(c *Config) { c.RequiredMinRx = 20 * time.Millisecond })
	r.take()
	n := len(r.wire.shots)
	r.keep(20*time.Second, 500*time.Millisecond)
	r.mustBe(Up, DiagNone)
	if got := r.status().DetectionTime; got != 1500*time.Millisecond {
		t.Errorf("detection time %v before the Final", got)
	}
	for _, s := range r.shots(n) {
		if s.RequiredMinRx != 20_000 || !s.Poll {
			t.Fatalf("%v", s)
		}
	}
	r.take(withFinal)
	if got := r.status().DetectionTime; got != 150*time.Millisecond {
		t.Errorf("detection time %v after the Final, want that of the peer's 50 ms", got)
	}
	r.run(150 * time.Millisecond)
	r.mustBe(Down, DiagTimeExpired)
}

// A faster sender and a more patient receiver harm nobody: at once.
func TestBFD_TM_14(t *testing.T) {
	conf := v4.asyncConf()
	conf.DesiredMinTx = time.Second
	r := newRig(t, conf)
	r.bring(Up)
	r.says.DetectMult = 255
	r.take()
	r.run(3 * time.Second)
	r.run(r.core.nextTx() - r.now - 100*time.Millisecond)
	n := len(r.wire.shots)
	r.reconfigure(func(c *Config) { c.DesiredMinTx = 100 * time.Millisecond })
	r.settle()
	if got := r.shots(n); len(got) != 1 || got[0].at != r.now || got[0].DesiredMinTx != 100_000 || !got[0].Poll {
		t.Errorf("sent %v at %v", got, r.now)
	}
	r.run(time.Second)
	if got := len(r.shots(n)); got < 10 {
		t.Errorf("%d packets in a second", got)
	}
	r.reconfigure(func(c *Config) { c.RequiredMinRx = time.Second })
	if got := r.status().DetectionTime; got != 255*time.Second {
		t.Errorf("detection time %v before the Final", got)
	}
}

// A multiplier needs no Poll Sequence; it is told at once.
func TestBFD_TM_17(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	w.meet()
	w.run(time.Second)
	n := len(a.wire.shots)
	a.reconfigure(func(c *Config) { c.Multiplier = 20 })
	w.settle()
	if got := a.shots(n); len(got) != 1 || got[0].DetectMult != 20 || got[0].Poll {
		t.Errorf("sent %v", got)
	}
	w.run(time.Millisecond)
	if got := b.status().DetectionTime; got != time.Second {
		t.Errorf("the peer's detection time is %v", got)
	}
	for _, s := range a.shots(n) {
		if s.Poll {
			t.Errorf("%v", s)
		}
	}
}
