package bfd

import (
	"testing"
	"time"
)

// congest makes the session fail by silence, and brings it back.
func (r *rig) congest() {
	r.tb.Helper()
	r.run(r.core.deadline() - r.now)
	r.mustBe(Down, DiagTimeExpired)
	r.take(inState(Init))
	r.take(withFinal)
	r.take()
	r.mustBe(Up, DiagTimeExpired)
}

// multihopRig is a session over several hops that is Up.
func multihopRig(t *testing.T, f family) *rig {
	t.Helper()
	r := newRig(t, f.multihopConf())
	r.bring(Up)
	return r
}

// Failures that follow each other double the intervals, up to a limit; a long quiet
// time halves them.
func TestBFD_CG_01(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := multihopRig(t, f)
		for i, want := range []int{1, 2, 4, 8, 8, 8} {
			r.congest()
			r.run(10 * time.Millisecond)
			st := r.status()
			if st.Backoff != want || st.TxInterval != time.Duration(want)*DefaultInterval {
				t.Fatalf("after %d failures: factor %d, interval %v; want %d", i+1, st.Backoff, st.TxInterval, want)
			}
			if got := r.last(); got.DesiredMinTx != uint32(want)*50_000 || got.RequiredMinRx != uint32(want)*50_000 { //nolint:gosec // small
				t.Fatalf("after %d failures: sent %v, want %d times as much", i+1, got, want)
			}
			if st.DetectionTime != time.Duration(3*want)*DefaultInterval {
				t.Errorf("detection time %v", st.DetectionTime)
			}
		}
		up := r.now
		for want := 8; want >= 1; want /= 2 {
			r.keep(congestionCalm-time.Second, 100*time.Millisecond)
			if got := r.status().Backoff; got != want {
				t.Fatalf("factor %d after %v, want %d still", got, r.now-up, want)
			}
			r.keep(2*time.Second, 100*time.Millisecond)
			// The peer confirms the faster rate.
			if want > 1 && !r.last().Poll {
				t.Errorf("no Poll Sequence for the faster rate: %v", r.last())
			}
			r.take(withFinal)
			r.keep(200*time.Millisecond, 100*time.Millisecond)
			up = r.now
			r.core.quietSince = r.now
		}
		if st := r.status(); st.TxInterval != DefaultInterval || st.DetectionTime != 3*DefaultInterval || st.Backoff != 1 {
			t.Errorf("in the end %+v", st)
		}
	})
}

// What is no sign of congestion: one failure, failures far apart, a peer that says
// that it is down, and failures of one hop.
func TestBFD_CG_01_Not(t *testing.T) {
	t.Run("far apart", func(t *testing.T) {
		r := multihopRig(t, v4)
		for range 5 {
			r.congest()
			r.keep(congestionWindow, 50*time.Millisecond)
		}
		if got := r.status().Backoff; got != 1 {
			t.Errorf("factor %d", got)
		}
	})
	t.Run("signaled", func(t *testing.T) {
		r := multihopRig(t, v4)
		for range 5 {
			r.take(inState(Down))
			r.take(inState(Init))
			r.take(withFinal)
		}
		if got := r.status().Backoff; got != 1 {
			t.Errorf("factor %d", got)
		}
	})
	t.Run("one hop", func(t *testing.T) {
		r := newRig(t, v4.asyncConf())
		r.bring(Up)
		for range 5 {
			r.congest()
		}
		if got := r.status().Backoff; got != 1 {
			t.Errorf("factor %d", got)
		}
	})
}

// Only time that the session spent Up counts as quiet.
func TestBFD_CG_01_Quiet(t *testing.T) {
	r := multihopRig(t, v4)
	r.congest()
	r.congest()
	r.run(r.core.deadline() - r.now)
	r.run(10 * congestionCalm)
	if got := r.status().Backoff; got != 4 {
		t.Fatalf("factor %d after a long time down", got)
	}
	r.run(congestionCalm - time.Second)
	r.take(inState(Init))
	r.take(withFinal)
	r.keep(congestionCalm-100*time.Millisecond, 100*time.Millisecond)
	if got := r.status().Backoff; got != 4 {
		t.Errorf("factor %d before it was up for long", got)
	}
	r.keep(200*time.Millisecond, 100*time.Millisecond)
	if got := r.status().Backoff; got != 2 {
		t.Errorf("factor %d after it was up for long", got)
	}
}

// The longest intervals cannot grow, and do not overflow.
func TestBFD_CG_01_Bounded(t *testing.T) {
	g := congestion{factor: congestionMost}
	for _, d := range []time.Duration{time.Millisecond, MaxInterval / 8, MaxInterval/8 + 1, MaxInterval} {
		if got, want := g.stretch(d), min(8*d, MaxInterval); got != want {
			t.Errorf("%v became %v, want %v", d, got, want)
		}
	}
}

// Two ends over a path that cannot carry their packets: the rate goes down until it
// can, and comes back with the capacity.
func TestBFD_CG_01_Pair(t *testing.T) {
	w, a, b := twoEnds(t, v4.multihopConf(), nil)
	w.meet()
	// A bucket of 3 packets a second in each direction.
	for _, e := range []*end{a, b} {
		var tokens float64
		var filled instant
		e.wire.lose = func(int, Packet) bool {
			tokens = min(4, tokens+3*(w.now-filled).Seconds())
			filled = w.now
			if tokens < 1 {
				return true
			}
			tokens--
			return false
		}
	}
	w.run(2 * time.Minute)
	if a.core.congestion.factor < 4 && b.core.congestion.factor < 4 {
		t.Errorf("factors %d, %d", a.core.congestion.factor, b.core.congestion.factor)
	}
	n := len(a.events)
	w.run(90 * time.Second)
	if got := len(a.events) - n; got > 12 {
		t.Errorf("%d changes of state in 90 s at the reduced rate", got)
	}
	a.wire.lose, b.wire.lose = nil, nil
	w.run(10 * time.Minute)
	w.meet()
	if a.status().TxInterval != DefaultInterval || b.status().TxInterval != DefaultInterval {
		t.Errorf("intervals %v, %v afterwards", a.status().TxInterval, b.status().TxInterval)
	}
}
