package bfd

import (
	"slices"
	"testing"
	"time"
)

// Going Up is a change of the interval.
func TestBFD_TM_19(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.settle()
	r.take(inState(Init))
	r.says.State = Up
	r.keep(5*time.Second, 100*time.Millisecond)
	up := 0
	for _, s := range r.wire.shots {
		if s.State != Up {
			continue
		}
		up++
		if !s.Poll || s.DesiredMinTx != 50_000 {
			t.Fatalf("%v", s)
		}
	}
	if up < 100 {
		t.Errorf("%d packets in Up within 5 s: the faster rate waits", up)
	}
	r.take(withFinal)
	n := len(r.wire.shots)
	r.keep(time.Second, 100*time.Millisecond)
	for _, s := range r.shots(n) {
		if s.Poll {
			t.Errorf("%v", s)
		}
	}
}

// The news is told by a Final, but the Poll that goes with it does not wait either.
func TestBFD_TM_19_BFD_TM_07_Final(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.settle()
	n := len(r.wire.shots)
	r.take(inState(Init), withPoll)
	got := r.shots(n)
	if len(got) != 2 || !got[0].Final || got[0].State != Up || got[1].Final || !got[1].Poll || got[1].at != r.now {
		t.Errorf("sent %v", got)
	}
}

// What a Final carries is heeded like any other.
func TestBFD_TM_20(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.reconfigure(func(c *Config) { c.DesiredMinTx = 60 * time.Millisecond })
	r.run(60 * time.Millisecond)
	r.take(withFinal, func(p *Packet) { p.RequiredMinRx, p.DesiredMinTx, p.DetectMult = 90_000, 400_000, 4 })
	st := r.status()
	if st.TxInterval != 90*time.Millisecond || st.DetectionTime != 1600*time.Millisecond || st.Polling {
		t.Errorf("%+v", st)
	}
}

// A packet that arrived in time wins over the expiry that was due before it was read.
func TestBFD_TM_22_PacketWins(t *testing.T) {
	for _, c := range []struct {
		name  string
		early time.Duration
		up    bool
	}{
		{"just before", time.Microsecond, true},
		{"long before", 100 * time.Millisecond, true},
		{"too late", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, v4.asyncConf())
			r.bring(Up)
			deadline := r.core.deadline()
			// The process was stopped for long; nothing that arrived after the
			// last read is known.
			seen := r.now
			r.now = deadline + 70*time.Millisecond
			r.drive(seen)
			r.mustBe(Up, DiagNone)
			if r.table.wake() > r.now+1 {
				t.Error("the expiry is not due any more")
			}
			if c.early > 0 {
				d := r.from
				p := r.says
				p.YourDiscriminator = r.core.localDiscr
				d.payload, d.arrived = p.Append(nil), deadline-c.early
				if got := r.give(d); got != DropNone {
					t.Fatal(got)
				}
			}
			r.now++
			r.drive(r.now)
			// It is the arrival that counts, not when it was read.
			if up := r.core.state == Up; up != (c.up && r.core.deadline() > r.now) {
				t.Errorf("up is %t, deadline %v, now %v", up, r.core.deadline(), r.now)
			}
			if c.early > 0 && r.core.lastRx != deadline-c.early {
				t.Errorf("heard at %v", r.core.lastRx)
			}
		})
	}
}

// A sudden stop of the process is no failure of the path, however long it was and
// however many sessions there are: what lies in the sockets is read first.
func TestBFD_TM_22_Stop(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	w.meet()
	for range 20 {
		w.run(777 * time.Millisecond)
		a.events = nil
		// a stands still, b does not.
		from := w.now
		var queue []flight
		for w.now < from+100*time.Millisecond {
			w.now += time.Millisecond
			for _, f := range w.flights {
				if f.to == b && f.at <= w.now {
					b.table.input(&f.d, w.now)
				}
			}
			w.flights = slices.DeleteFunc(w.flights, func(f flight) bool {
				if f.to == a && f.at <= w.now {
					queue = append(queue, f)
				}
				return f.at <= w.now
			})
			b.drive(w.now)
		}
		a.drive(from)
		for _, f := range queue {
			a.table.input(&f.d, w.now)
		}
		a.drive(w.now)
		a.mustBe(Up, DiagNone)
		b.mustBe(Up, DiagNone)
	}
	if late := a.table.stats().WorstLateness; late < 50*time.Millisecond || late > 100*time.Millisecond {
		t.Errorf("late by %v after stops of 100 ms", late)
	}
	// A new measurement shows what is less than the worst of before.
	worst := a.status().WorstLateness
	a.table.resetLateness()
	w.run(time.Second)
	if late := a.table.stats().WorstLateness; late != 0 {
		t.Errorf("late by %v after the reset", late)
	}
	w.now = a.core.nextTx() + 13*time.Millisecond
	w.settle()
	if late := a.table.stats().WorstLateness; late != 13*time.Millisecond {
		t.Errorf("late by %v, want 13ms", late)
	}
	if got := a.status().WorstLateness; got != worst {
		t.Errorf("the worst of the session went from %v to %v", worst, got)
	}
}

// The common intervals, each with a session that comes up, keeps up and fails in time.
func TestBFD_CI_01_BFD_CI_02_BFD_CI_03(t *testing.T) {
	ms := time.Millisecond
	for _, interval := range []time.Duration{3300 * time.Microsecond, 10 * ms, 20 * ms, 50 * ms, 100 * ms, time.Second, 10 * time.Second} {
		for _, mult := range []int{1, 3, 255} {
			w, a, b := twoEnds(t, v4.asyncConf(), func(a, b *Config) {
				a.DesiredMinTx, a.RequiredMinRx, a.Multiplier = interval, interval, mult
				b.DesiredMinTx, b.RequiredMinRx, b.Multiplier = interval, interval, mult
			})
			if !w.until(10*interval+10*time.Second, func() bool {
				return a.core.state == Up && b.core.state == Up && a.core.poll == pollIdle && b.core.poll == pollIdle
			}) {
				t.Fatalf("%v x %d: not up", interval, mult)
			}
			w.run(100 * interval)
			a.mustBe(Up, DiagNone)
			if got := a.status(); got.TxInterval != interval || got.DetectionTime != time.Duration(mult)*interval {
				t.Errorf("%v x %d: %v, %v", interval, mult, got.TxInterval, got.DetectionTime)
			}
			b.wire.cut = true
			w.run(2 * time.Millisecond)
			want := a.core.lastRx + time.Duration(mult)*interval
			w.run(want - w.now - time.Microsecond)
			a.mustBe(Up, DiagNone)
			w.run(time.Microsecond)
			a.mustBe(Down, DiagTimeExpired)
		}
	}
	// Intervals that no other system supports are no reason to change ours.
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.take(func(p *Packet) { p.DesiredMinTx, p.RequiredMinRx = 3_333, 7_777 })
	if st := r.status(); st.TxInterval != 50*ms || st.RxInterval != 50*ms {
		t.Errorf("%v, %v", st.TxInterval, st.RxInterval)
	}
}

// RFC 7419 appendix B: the peer does not support what we ask for, says so with its
// Final, and asks for something else itself.
func TestBFD_CI_05(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.run(30 * time.Millisecond)
	r.reconfigure(func(c *Config) { c.DesiredMinTx, c.RequiredMinRx = 10*time.Millisecond, 10*time.Millisecond })
	r.run(30 * time.Millisecond)
	if got := r.last(); !got.Poll || got.DesiredMinTx != 10_000 {
		t.Fatalf("sent %v", got)
	}
	r.says.DesiredMinTx, r.says.RequiredMinRx = 100_000, 100_000
	r.take(withFinal)
	n := len(r.wire.shots)
	r.take(withPoll)
	if got := r.shots(n); len(got) != 1 || !got[0].Final {
		t.Fatalf("answered %v", got)
	}
	n = len(r.wire.shots)
	r.keep(time.Minute, 90*time.Millisecond)
	r.mustBe(Up, DiagNone)
	if st := r.status(); st.TxInterval != 100*time.Millisecond || st.DetectionTime != 300*time.Millisecond || st.Polling {
		t.Errorf("%+v", st)
	}
	for _, s := range r.shots(n) {
		if s.Poll || s.Final {
			t.Fatalf("it goes on: %v", s)
		}
	}
}
