package bfd

import (
	"reflect"
	"testing"
	"time"
)

// Every packet carries what the session is at that moment.
func TestBFD_PKT_05_BFD_PKT_06_BFD_PKT_09_BFD_PKT_13(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	steps := []struct {
		do   func()
		want Packet
	}{
		{func() {}, Packet{State: Down}},
		{func() { r.take(inState(Up)) }, Packet{State: Down, YourDiscriminator: peerDiscr}},
		{func() { r.take(inState(Down)) }, Packet{State: Init, YourDiscriminator: peerDiscr}},
		{func() { r.take(inState(Init)) }, Packet{State: Up, YourDiscriminator: peerDiscr}},
		{func() { r.take(inState(Down)) }, Packet{State: Down, Diag: DiagNeighborSignaledDown, YourDiscriminator: peerDiscr}},
		{func() { r.take(inState(Init)) }, Packet{State: Up, Diag: DiagNeighborSignaledDown, YourDiscriminator: peerDiscr}},
		{func() { r.table.forwardingReset(r.session, r.now) }, Packet{State: Down, Diag: DiagForwardingReset, YourDiscriminator: peerDiscr}},
		{func() { r.take(inState(Init)) }, Packet{State: Up, Diag: DiagForwardingReset, YourDiscriminator: peerDiscr}},
		{func() { r.run(time.Minute) }, Packet{State: Down, Diag: DiagTimeExpired}},
		{func() { r.table.setAdmin(r.session, true, r.now) }, Packet{State: AdminDown, Diag: DiagAdminDown}},
		{func() { r.table.setAdmin(r.session, false, r.now) }, Packet{State: Down, Diag: DiagAdminDown}},
	}
	for i, s := range steps {
		s.do()
		// The next packet, at once or not.
		n := len(r.wire.shots)
		r.until(2*time.Second, func() bool { return len(r.wire.shots) > n || i == 0 && n > 0 })
		got := r.last().Packet
		if got.MyDiscriminator != r.core.localDiscr || got.MyDiscriminator == 0 {
			t.Errorf("step %d: My Discriminator %d", i, got.MyDiscriminator)
		}
		if got.ControlPlaneIndependent || got.RequiredMinEchoRx != 0 || got.Demand {
			t.Errorf("step %d: %v claims what we are not", i, got)
		}
		got = Packet{Diag: got.Diag, State: got.State, YourDiscriminator: got.YourDiscriminator}
		if got != s.want {
			t.Errorf("step %d: %v, want %v", i, got, s.want)
		}
	}
}

// A zero interval is reserved on the wire: whatever configuration is valid never sends
// one, in any state.
func TestBFD_PKT_07_NeverZero(t *testing.T) {
	for _, interval := range []time.Duration{0, MinInterval, DefaultInterval, 10 * time.Second, MaxInterval} {
		conf := v4.asyncConf()
		conf.DesiredMinTx, conf.RequiredMinRx = interval, interval
		r := newRig(t, conf)
		r.bring(Up)
		r.reconfigure(func(c *Config) { c.Multiplier = 9 })
		r.settle()
		r.take(inState(AdminDown))
		for _, s := range r.wire.shots {
			if s.DesiredMinTx == 0 || s.RequiredMinRx == 0 {
				t.Errorf("interval %v: %v", interval, s)
			}
		}
	}
}

// The advertised interval is the new one while the old one is still in use.
func TestBFD_PKT_08_BFD_TM_12_Advertised(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.reconfigure(func(c *Config) { c.DesiredMinTx = time.Second })
	n := len(r.wire.shots)
	r.keep(5*time.Second, 20*time.Millisecond)
	shots := r.shots(n)
	if len(shots) < 100 {
		t.Errorf("%d packets in 5 s without a Final, want the rate of 50 ms", len(shots))
	}
	for _, s := range shots {
		if s.DesiredMinTx != 1_000_000 || !s.Poll {
			t.Fatalf("%v; want the new interval with P", s)
		}
	}
	r.take(withFinal)
	n = len(r.wire.shots)
	r.keep(5*time.Second, 20*time.Millisecond)
	if got := len(r.shots(n)); got < 5 || got > 7 {
		t.Errorf("%d packets in 5 s after the Final, want the rate of 1 s", got)
	}
}

// A Poll that comes while our own runs is answered without P, and ours goes on.
func TestBFD_PKT_10_TwoPolls(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.reconfigure(func(c *Config) { c.RequiredMinRx = 30 * time.Millisecond })
	r.run(60 * time.Millisecond)
	if !r.last().Poll {
		t.Fatalf("no Poll Sequence: %v", r.last())
	}
	n := len(r.wire.shots)
	r.take(withPoll)
	if got := r.shots(n); len(got) != 1 || !got[0].Final || got[0].Poll {
		t.Fatalf("answer %v, want one packet with F and without P", got)
	}
	r.run(60 * time.Millisecond)
	if got := r.shots(n + 1); len(got) == 0 || got[0].Final || !got[0].Poll {
		t.Errorf("then %v, want P and no F", got)
	}
}

// Over the life of a pair, every F answers a P, one to one, and P is set only while a
// Poll Sequence runs.
func TestBFD_PKT_11_BFD_PKT_10_Lifetime(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	a.wire.lose = func(n int, _ Packet) bool { return n%7 == 3 }
	b.wire.lose = func(n int, _ Packet) bool { return n%5 == 2 }
	arrived := map[*end]int{}
	for _, x := range []struct{ from, to *end }{{a, b}, {b, a}} {
		lose := x.from.wire.lose
		x.from.wire.lose = func(n int, p Packet) bool {
			lost := lose(n, p)
			if p.Poll && !lost {
				arrived[x.to]++
			}
			if p.Poll != (!p.Final && x.from.core.polling()) {
				t.Errorf("at %v: %v while polling is %t", w.now, p, x.from.core.polling())
			}
			return lost
		}
	}
	w.run(10 * time.Second)
	a.reconfigure(func(c *Config) { c.DesiredMinTx = 100 * time.Millisecond })
	b.reconfigure(func(c *Config) { c.RequiredMinRx = 20 * time.Millisecond })
	w.run(10 * time.Second)
	a.table.setAdmin(a.session, true, w.now)
	w.run(10 * time.Second)
	a.table.setAdmin(a.session, false, w.now)
	w.run(10 * time.Second)
	w.meet()
	for _, e := range w.ends {
		finals := 0
		for _, s := range e.wire.shots {
			if s.Poll && s.Final {
				t.Errorf("%v has both", s)
			}
			if s.Final {
				finals++
			}
		}
		// In AdminDown a Poll is dropped before it could be answered.
		unanswered := arrived[e] - int(e.status().Dropped[DropAdminDown])
		if finals > arrived[e] || finals < unanswered || finals == 0 {
			t.Errorf("%s: %d Finals for %d Polls, %d of them out of AdminDown", e.core.conf.Local, finals, arrived[e], unanswered)
		}
	}
}

// A reserved diagnostic is taken and shown.
func TestBFD_PKT_15_Session(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	for d := range Diag(32) {
		r.take(func(p *Packet) { p.Diag = d })
		if got := r.status().RemoteDiag; got != d {
			t.Errorf("diagnostic %d shown as %s", d, got)
		}
	}
	r.mustBe(Up, DiagNone)
	if got := r.status().RemoteDiag.String(); got != "unknown(31)" {
		t.Errorf("shown as %q", got)
	}
}

// The longest intervals do not overflow: no expiry too early, no negative time.
func TestBFD_PKT_17_Session(t *testing.T) {
	conf := v4.asyncConf()
	conf.DesiredMinTx, conf.RequiredMinRx, conf.Multiplier = MaxInterval, MaxInterval, 255
	r := newRig(t, conf)
	r.bring(Up)
	r.take(func(p *Packet) {
		p.DetectMult, p.DesiredMinTx, p.RequiredMinRx, p.RequiredMinEchoRx = 255, 0xffffffff, 0xffffffff, 0xffffffff
	})
	st := r.status()
	longest := 0xffffffff * time.Microsecond
	if want := 255 * longest; st.DetectionTime != want || st.TxInterval != longest {
		t.Errorf("detection time %v, interval %v; want %v, %v", st.DetectionTime, st.TxInterval, want, longest)
	}
	n := len(r.wire.shots)
	r.run(255*longest - time.Microsecond)
	r.mustBe(Up, DiagNone)
	if got := len(r.shots(n)); got < 255 || got > 341 {
		t.Errorf("%d packets in 255 intervals", got)
	}
	r.run(time.Microsecond)
	r.mustBe(Down, DiagTimeExpired)
	if got := r.last().DesiredMinTx; got != 4_000_000_000 {
		t.Errorf("Desired Min TX %d, want that of 4000 s", got)
	}
}

// variables are those of a session, without what it does not change itself: its
// configuration, its random numbers, its echo.
type variables struct {
	state, remoteState                   State
	diag, remoteDiag, pathDiag           Diag
	localDiscr, remoteDiscr              uint32
	remoteMinTx, remoteMinRx             time.Duration
	remoteMult                           int
	timers                               timers
	congestion                           congestion
	xmitSequence                         uint32
	signed                               Packet
	window                               sequence
	remoteDemand, heard, urgent, final   bool
	lastRx, forgetAt, lastTx, movedAt    instant
	fraction                             float64
	lateness, worstLateness, pacedByThen time.Duration
}

func snapshot(s *session) variables {
	c := &s.core
	return variables{
		c.state, c.remoteState, c.diag, c.remoteDiag, c.pathDiag, c.localDiscr, c.remoteDiscr,
		c.remoteMinTx, c.remoteMinRx, c.remoteMult, c.timers, c.congestion, c.xmitSequence, c.signed, c.window,
		c.remoteDemand, c.heard, c.urgent, c.final, c.lastRx, c.forgetAt, c.lastTx, c.movedAt, c.fraction,
		c.lateness, c.worstLateness, c.paced,
	}
}

// A variable that is added has to be added to what tests compare.
func TestSnapshotIsComplete(t *testing.T) {
	if got, want := reflect.TypeFor[core]().NumField(), reflect.TypeFor[variables]().NumField()+3; got != want {
		t.Errorf("a session has %d variables, %d are compared or left out", got, want)
	}
}
