package bfd

import (
	"testing"
	"time"
)

// Disabled, the peer is told and confirms; enabled, both come back.
func TestBFD_AD_01_BFD_AD_02_Pair(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		w, a, b := twoEnds(t, f.asyncConf(), nil)
		w.meet()
		a.events, b.events = nil, nil
		n := len(a.wire.shots)
		a.table.setAdmin(a.session, true, w.now)
		w.run(time.Minute)
		a.mustBe(AdminDown, DiagAdminDown)
		b.mustBe(Down, DiagNeighborSignaledDown)
		if e := b.events[0]; e.Failure() || e.RemoteState != AdminDown || e.RemoteDiag != DiagAdminDown {
			t.Errorf("the peer was told %+v", e)
		}
		shots := a.shots(n)
		if shots[0].at != b.events[0].At.Sub(epoch)-time.Millisecond {
			t.Errorf("told at %v, sent at %v", b.events[0].At.Sub(epoch), shots[0].at)
		}
		// It goes on at the slow rate, so that the peer knows why.
		if len(shots) < 59 || len(shots) > 85 {
			t.Errorf("%d packets in a minute", len(shots))
		}
		for _, s := range shots {
			if s.State != AdminDown || s.DesiredMinTx < 1_000_000 {
				t.Errorf("%v", s)
			}
		}
		// What is disabled can be disabled again, without effect.
		a.table.setAdmin(a.session, true, w.now)
		if a.core.urgent || a.core.polling() {
			t.Error("disabled twice")
		}
		a.table.setAdmin(a.session, false, w.now)
		a.mustBe(Down, DiagAdminDown)
		w.meet()
	})
}

// A session that is closed goes on until the peer has confirmed that it knows, even if
// packets are lost, and for its detection time at most. Its interval does not matter.
func TestBFD_AD_02_BFD_AD_04_Close(t *testing.T) {
	for _, interval := range []time.Duration{50 * time.Millisecond, time.Second, 3 * time.Second} {
		for _, lost := range []int{0, 1, 2, 100} {
			w, a, b := twoEnds(t, v4.asyncConf(), func(a, b *Config) {
				a.DesiredMinTx, a.RequiredMinRx = interval, interval
				b.DesiredMinTx, b.RequiredMinRx = interval, interval
			})
			w.until(time.Minute, func() bool { return a.core.state == Up && a.core.poll == pollIdle && b.core.poll == pollIdle })
			w.run(time.Minute)
			a.events = nil
			n := len(a.wire.shots)
			a.wire.lose = func(i int, _ Packet) bool { return i < n+lost }
			a.table.close(a.session, w.now)
			closed := w.now
			w.until(time.Hour, func() bool { return a.session.place == removed })
			linger := 3 * max(interval, time.Second)
			got := len(a.shots(n))
			if lost < 3 {
				// At 50 ms a packet that is lost is one that came too late.
				diag := DiagNeighborSignaledDown
				if interval < time.Second && lost > 0 {
					diag = DiagTimeExpired
				}
				if b.core.remoteState != AdminDown || b.core.diag != diag || got != lost+1 {
					t.Errorf("interval %v, %d lost: the peer is %s by %s after %d packets", interval, lost, b.core.state, b.core.diag, got)
				}
				if took := w.now - closed; took > linger {
					t.Errorf("interval %v, %d lost: closed after %v", interval, lost, took)
				}
			} else if took := w.now - closed; took != linger || got < 3 {
				t.Errorf("interval %v, nothing arrives: closed after %v, want %v; %d packets", interval, took, linger, got)
			}
			for _, s := range a.shots(n) {
				if s.State != AdminDown {
					t.Errorf("%v", s)
				}
			}
			if len(a.events) != 0 {
				t.Errorf("told of a session that is closed: %v", a.events)
			}
		}
	}
}

// A Final that answers what was said before the session was closed confirms nothing.
func TestBFD_AD_04_LateFinal(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.reconfigure(func(c *Config) { c.RequiredMinRx = 70 * time.Millisecond })
	r.run(50 * time.Millisecond)
	if !r.last().Poll {
		t.Fatal("no Poll Sequence runs")
	}
	r.table.close(r.session, r.now)
	r.settle()
	if got := r.hear(withFinal); got != DropAdminDown {
		t.Fatal(got)
	}
	if r.session.place == removed {
		t.Fatal("gone by a Final of before")
	}
	if got := r.hear(); got != DropAdminDown {
		t.Fatal(got)
	}
	n := len(r.wire.shots)
	r.run(time.Second)
	if got := r.shots(n); len(got) != 1 || !got[0].Poll || got[0].State != AdminDown {
		t.Fatalf("sent %v", got)
	}
	if got := r.hear(withFinal, inState(Down)); got != DropAdminDown || r.session.place != removed {
		t.Errorf("%s; removed is %t", got, r.session.place == removed)
	}
}

// Who closes a session is told nothing more, not even what happened before.
func TestCloseIsSilent(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	if drop := r.hear(inState(Init)); drop != DropNone {
		t.Fatal(drop)
	}
	r.table.close(r.session, r.now)
	if got := r.table.take(); len(got) != 0 {
		t.Errorf("told of %v", got[0].Event)
	}
	// Nor has it a say.
	r.table.setAdmin(r.session, false, r.now)
	r.reconfigure(func(c *Config) { c.DesiredMinTx = time.Minute })
	r.table.forwardingReset(r.session, r.now)
	r.table.signalPath(r.session, DiagConcatenatedPathDown)
	r.mustBe(AdminDown, DiagAdminDown)
	if r.core.conf.DesiredMinTx == time.Minute {
		t.Error("a closed session was configured")
	}
	r.run(time.Minute)
	if r.session.place != removed {
		t.Fatal("not removed")
	}
	r.table.close(r.session, r.now)
	r.table.setAdmin(r.session, false, r.now)
	r.table.setAdmin(r.session, true, r.now)
	r.table.signalPath(r.session, DiagNone)
	r.table.attach(r.session, 7, &r.wire)
	r.reconfigure(func(c *Config) { c.DesiredMinTx = time.Minute })
	if len(r.table.byOrigin)+len(r.table.byIdentity)+len(r.table.byDiscriminator)+len(r.table.deadlines) != 0 {
		t.Error("something is left of it")
	}
	if r.table.wake() != never {
		t.Error("something is due")
	}
}

// No external news takes the session into AdminDown: who knows that the path failed
// tells it by a diagnostic, or resets it.
func TestBFD_AD_03_NotByItself(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.table.detach(r.session, "interface eth1: missing")
	r.run(time.Minute)
	r.mustBe(Down, DiagTimeExpired)
	if got := r.status().Problem; got != "interface eth1: missing" {
		t.Errorf("problem %q", got)
	}
	for _, e := range r.events {
		if e.New == AdminDown {
			t.Errorf("%v", e)
		}
	}
}

func TestBFD_FR_01(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	w.meet()
	b.events = nil
	n := len(a.wire.shots)
	a.table.forwardingReset(a.session, w.now)
	w.settle()
	a.mustBe(Down, DiagForwardingReset)
	if got := a.shots(n); len(got) != 1 || got[0].State != Down || got[0].Diag != DiagForwardingReset {
		t.Errorf("sent %v", got)
	}
	w.run(time.Millisecond)
	b.mustBe(Down, DiagNeighborSignaledDown)
	if got := b.events[0].RemoteDiag; got != DiagForwardingReset {
		t.Errorf("the peer was told of %s", got)
	}
	w.meet()
}

// A path beyond is signalled while the session stays Up.
func TestBFD_CP_01_BFD_CP_03(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	w.meet()
	a.events, b.events = nil, nil
	for _, d := range []Diag{DiagConcatenatedPathDown, DiagReverseConcatenatedPathDown, DiagNone, DiagConcatenatedPathDown} {
		n := len(a.wire.shots)
		a.table.signalPath(a.session, d)
		w.settle()
		if got := a.shots(n); len(got) != 1 || got[0].Diag != d || got[0].State != Up || got[0].Poll {
			t.Errorf("%s: sent %v", d, got)
		}
		w.run(time.Second)
		a.mustBe(Up, d)
		if b.core.state != Up || b.core.remoteDiag != d {
			t.Errorf("%s: the peer is %s and was told %s", d, b.core.state, b.core.remoteDiag)
		}
	}
	if len(a.events)+len(b.events) != 0 {
		t.Errorf("told %v, %v", a.events, b.events)
	}
	// A failure has its own diagnostic, and the path's is back with the session.
	b.wire.cut = true
	w.run(200 * time.Millisecond)
	a.mustBe(Down, DiagTimeExpired)
	b.wire.cut = false
	w.meet()
	a.mustBe(Up, DiagConcatenatedPathDown)
	if b.core.remoteDiag != DiagConcatenatedPathDown {
		t.Errorf("the peer was told %s", b.core.remoteDiag)
	}
	// While it is down, the word is kept for later.
	b.wire.cut = true
	w.run(200 * time.Millisecond)
	a.table.signalPath(a.session, DiagReverseConcatenatedPathDown)
	a.mustBe(Down, DiagTimeExpired)
	b.wire.cut = false
	w.meet()
	a.mustBe(Up, DiagReverseConcatenatedPathDown)
}

// In Demand mode the peer hears of it by a Poll Sequence.
func TestBFD_CP_02_BFD_DEM_03(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"path":       func(r *rig) { r.table.signalPath(r.session, DiagConcatenatedPathDown) },
		"multiplier": func(r *rig) { r.reconfigure(func(c *Config) { c.Multiplier = 9 }) },
		"interval":   func(r *rig) { r.reconfigure(func(c *Config) { c.RequiredMinRx = time.Second }) },
	} {
		r := newRig(t, v4.asyncConf())
		r.bring(Up)
		demand := func(p *Packet) { p.Demand = true }
		r.says.Demand = true
		r.take(demand)
		n := len(r.wire.shots)
		r.keep(time.Second, 50*time.Millisecond)
		if got := r.shots(n); len(got) != 0 {
			t.Fatalf("%s: sent %v in Demand mode", name, got)
		}
		change(r)
		r.keep(time.Second, 50*time.Millisecond)
		got := r.shots(n)
		if len(got) < 10 {
			t.Fatalf("%s: %d packets", name, len(got))
		}
		for _, s := range got {
			if !s.Poll || s.Diag != r.core.diag || s.DetectMult != uint8(r.core.conf.Multiplier) || s.RequiredMinRx != microseconds(r.core.minRx) { //nolint:gosec // 1..255
				t.Errorf("%s: %v", name, s)
			}
		}
		r.take(withFinal)
		n = len(r.wire.shots)
		r.keep(time.Second, 50*time.Millisecond)
		if got := r.shots(n); len(got) != 0 {
			t.Errorf("%s: sent %v after the Final", name, got)
		}
	}
}
