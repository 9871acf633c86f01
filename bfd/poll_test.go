package bfd

import (
	"slices"
	"testing"
	"time"
)

// A Poll Sequence costs no packets of its own.
func TestBFD_POLL_01(t *testing.T) {
	count := func(change bool) int {
		r := newRig(t, v4.asyncConf())
		r.bring(Up)
		r.take()
		n := len(r.wire.shots)
		if change {
			r.reconfigure(func(c *Config) { c.RequiredMinRx = 40 * time.Millisecond })
		}
		r.keep(10*time.Second, 50*time.Millisecond)
		polls := 0
		for _, s := range r.shots(n) {
			if s.Poll {
				polls++
			}
		}
		if change != (polls == len(r.shots(n))) || !change && polls != 0 {
			t.Errorf("%d of %d packets with P", polls, len(r.shots(n)))
		}
		return len(r.shots(n))
	}
	if with, without := count(true), count(false); with != without {
		t.Errorf("%d packets with a Poll Sequence, %d without", with, without)
	}
}

// P is repeated until a Final arrives, however many are lost, and no longer.
func TestBFD_POLL_02(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	w.meet()
	w.run(2 * time.Second)
	lost := 0
	b.wire.lose = func(_ int, p Packet) bool {
		if p.Final && lost < 5 {
			lost++
			return true
		}
		return false
	}
	n := len(a.wire.shots)
	a.reconfigure(func(c *Config) { c.RequiredMinRx = 40 * time.Millisecond })
	w.run(time.Second)
	got := a.shots(n)
	last := -1
	for i, s := range got {
		if s.Poll {
			if i != last+1 {
				t.Errorf("P was clear before packet %d: %v", i, s)
			}
			last = i
		}
	}
	if last != 5 || lost != 5 {
		t.Errorf("%d packets with P, %d Finals lost", last+1, lost)
	}
}

// Two changes need two sequences, and the second must not be ended by what answers the
// first: it waits for a packet without F, or for longer than a round trip.
func TestBFD_TM_16(t *testing.T) {
	change := func(r *rig, rx time.Duration) {
		r.reconfigure(func(c *Config) { c.RequiredMinRx = rx * time.Millisecond })
	}
	begin := func() *rig {
		r := newRig(t, v4.asyncConf())
		r.bring(Up)
		r.take()
		return r
	}
	sent := func(r *rig) shot {
		n := len(r.wire.shots)
		r.until(time.Second, func() bool { return len(r.wire.shots) > n })
		return r.last()
	}
	t.Run("one packet tells both", func(t *testing.T) {
		r := begin()
		change(r, 40)
		r.run(time.Millisecond)
		change(r, 30)
		if s := sent(r); !s.Poll || s.RequiredMinRx != 30_000 {
			t.Fatalf("sent %v", s)
		}
		r.take(withFinal)
		if sent(r).Poll || r.core.tolerance != 30*time.Millisecond {
			t.Errorf("a second sequence; %v in use", r.core.tolerance)
		}
	})
	t.Run("a Final of before", func(t *testing.T) {
		r := begin()
		change(r, 40)
		sent(r)
		change(r, 30)
		r.take(withFinal)
		if r.core.tolerance != 50*time.Millisecond {
			t.Error("confirmed by a Final of before")
		}
		r.says.DetectMult = 200
		// No packet without F: the second sequence waits for a second.
		from := r.now
		for r.now < from+990*time.Millisecond {
			if s := sent(r); s.Poll && s.at < from+time.Second {
				t.Fatalf("%v, %v after the Final", s, s.at-from)
			}
			r.take(withFinal)
		}
		r.run(100 * time.Millisecond)
		if !r.last().Poll {
			t.Fatalf("sent %v", r.last())
		}
		r.take(withFinal)
		if r.core.tolerance != 30*time.Millisecond {
			t.Error("not confirmed by its own Final")
		}
	})
	t.Run("a packet without F", func(t *testing.T) {
		r := begin()
		change(r, 40)
		sent(r)
		change(r, 30)
		r.take(withFinal)
		if sent(r).Poll {
			t.Error("begins at once")
		}
		r.take()
		if !sent(r).Poll {
			t.Error("does not begin")
		}
	})
	t.Run("a second Final after the first", func(t *testing.T) {
		// P was sent twice before the answer came: there are two.
		r := begin()
		change(r, 40)
		sent(r)
		sent(r)
		r.take(withFinal)
		if r.core.tolerance != 40*time.Millisecond {
			t.Fatal("not confirmed")
		}
		change(r, 30)
		r.take(withFinal)
		sent(r)
		r.take(withFinal)
		if r.core.tolerance != 40*time.Millisecond {
			t.Error("confirmed by a Final that answers what was said before")
		}
		r.take()
		if !sent(r).Poll {
			t.Fatal("the second sequence does not begin")
		}
		r.take(withFinal)
		if r.core.tolerance != 30*time.Millisecond {
			t.Error("not confirmed by its own Final")
		}
	})
	t.Run("a Final before P was sent", func(t *testing.T) {
		r := begin()
		change(r, 40)
		r.take(withFinal)
		if r.core.tolerance != 50*time.Millisecond || !sent(r).Poll {
			t.Error("confirmed by a Final that answers nothing")
		}
	})
}

// Many changes at random times over a slow and lossy link: what is in use in the end
// is what was asked for last, at both ends.
func TestBFD_TM_16_Converges(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), func(a, b *Config) { a.Multiplier, b.Multiplier = 50, 50 })
	a.wire.delay, b.wire.delay = 80*time.Millisecond, 130*time.Millisecond
	w.meet()
	a.events, b.events = nil, nil
	a.wire.lose = func(n int, _ Packet) bool { return n%4 == 1 }
	b.wire.lose = func(n int, _ Packet) bool { return n%3 == 1 }
	for i := range 300 {
		x := time.Duration(20+(i*37)%200) * time.Millisecond
		e := w.ends[i%2]
		e.reconfigure(func(c *Config) { c.DesiredMinTx, c.RequiredMinRx = x, 220*time.Millisecond-x })
		w.run(time.Duration(i*i%400) * time.Millisecond)
	}
	w.meet()
	w.run(time.Second)
	if len(a.events)+len(b.events) != 0 {
		t.Errorf("flaps: %v, %v", a.events, b.events)
	}
	for _, x := range []struct{ from, to *end }{{a, b}, {b, a}} {
		c, p := &x.from.core, &x.to.core
		if c.pacing != c.conf.DesiredMinTx || c.tolerance != c.conf.RequiredMinRx || p.remoteMinTx != c.conf.DesiredMinTx || p.remoteMinRx != c.conf.RequiredMinRx {
			t.Errorf("in use %v, %v; the peer knows %v, %v; configured %v, %v", c.pacing, c.tolerance, p.remoteMinTx, p.remoteMinRx, c.conf.DesiredMinTx, c.conf.RequiredMinRx)
		}
	}
}

// Who is in Demand mode gets packets for a Poll Sequence only.
func TestBFD_POLL_03_BFD_DEM_04_BFD_RX_24(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.says.Demand = true
	r.take()
	n := len(r.wire.shots)
	r.keep(time.Minute, 50*time.Millisecond)
	if got := r.shots(n); len(got) != 0 {
		t.Fatalf("sent %d packets, first %v", len(got), got[0])
	}
	if st := r.status(); st.TxInterval != 0 || !st.RemoteDemand {
		t.Errorf("%+v", st)
	}
	r.reconfigure(func(c *Config) { c.RequiredMinRx = 40 * time.Millisecond })
	r.keep(time.Second, 50*time.Millisecond)
	got := r.shots(n)
	if len(got) < 20 || len(got) > 28 {
		t.Errorf("%d packets in a second of a Poll Sequence", len(got))
	}
	if slices.ContainsFunc(got, func(s shot) bool { return !s.Poll }) {
		t.Error("a packet without P")
	}
	r.take(withFinal)
	n = len(r.wire.shots)
	r.keep(time.Minute, 50*time.Millisecond)
	if got := r.shots(n); len(got) != 0 {
		t.Errorf("sent %d packets after the Final, first %v", len(got), got[0])
	}
	if r.core.worstLateness > 0 {
		t.Errorf("late by %v, but nothing was due", r.core.worstLateness)
	}
}

// D is never set by us, in any state, whatever the peer does: Demand mode is obeyed,
// not asked for.
func TestBFD_DEM_01_BFD_DEM_02_BFD_DEM_09(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	for _, s := range []State{Down, Init, Up, AdminDown} {
		for _, demand := range []bool{false, true} {
			r.hear(inState(s), withPoll, func(p *Packet) { p.Demand = demand })
			r.settle()
			r.run(2 * time.Second)
		}
	}
	r.table.setAdmin(r.session, true, r.now)
	r.run(2 * time.Second)
	if len(r.wire.shots) < 20 {
		t.Fatalf("%d packets", len(r.wire.shots))
	}
	for _, s := range r.wire.shots {
		if s.Demand {
			t.Errorf("%v", s)
		}
	}
}

// Demand is in force only while both ends are Up and the peer asks for it.
func TestBFD_DEM_05(t *testing.T) {
	for name, resume := range map[string]func(r *rig){
		"D is clear":        func(r *rig) { r.says.Demand = false; r.take() },
		"the peer is Init":  func(r *rig) { r.says.State = Init; r.take() },
		"the peer is Down":  func(r *rig) { r.says.State = Down; r.take() },
		"reset":             func(r *rig) { r.table.forwardingReset(r.session, r.now) },
		"disabled":          func(r *rig) { r.table.setAdmin(r.session, true, r.now) },
		"silence":           func(r *rig) { r.run(3 * time.Second) },
		"disabled, enabled": func(r *rig) { r.table.setAdmin(r.session, true, r.now); r.table.setAdmin(r.session, false, r.now) },
	} {
		r := newRig(t, v4.asyncConf())
		r.bring(Up)
		r.says.Demand = true
		r.keep(10*time.Second, 50*time.Millisecond)
		n := len(r.wire.shots)
		from := r.now
		resume(r)
		r.settle()
		got := r.shots(n)
		if len(got) == 0 || got[0].at > from+150*time.Millisecond {
			t.Errorf("%s: sent %v since %v", name, got, from)
			continue
		}
		r.run(10 * time.Second)
		if got := r.shots(n); len(got) < 9 {
			t.Errorf("%s: %d packets in 10 s", name, len(got))
		}
		if r.core.worstLateness > 0 {
			t.Errorf("%s: late by %v, but nothing was due", name, r.core.worstLateness)
		}
	}
}

// While the peer wants silence of us, it is still watched: no false expiry, no false
// survival.
func TestBFD_DEM_08(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.says.Demand = true
	r.keep(time.Minute, 140*time.Millisecond)
	r.mustBe(Up, DiagNone)
	r.run(150*time.Millisecond - time.Microsecond)
	r.mustBe(Up, DiagNone)
	r.run(time.Microsecond)
	r.mustBe(Down, DiagTimeExpired)
}
