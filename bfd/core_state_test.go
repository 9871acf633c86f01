package bfd

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Two ends, one direction is cut: each end tells its own reason, and the end that
// failed cannot rise while the other still says Up.
func TestBFD_ST_02_BFD_SH_03_OneWayLoss(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, conf := range []Config{f.asyncConf(), f.multihopConf()} {
			t.Run(conf.port().name(), func(t *testing.T) {
				w, a, b := twoEnds(t, conf, nil)
				w.meet()
				if first := a.wire.shots[0]; first.YourDiscriminator != 0 || first.State != Down {
					t.Errorf("first packet %v", first)
				}
				a.events, b.events = nil, nil
				a.wire.cut = true
				cutAt := w.now
				w.watch = func() {
					if a.core.state == Up && b.core.state != Up && b.core.remoteState == Up && w.now > cutAt+160*time.Millisecond {
						t.Errorf("at %v: one end stays up 10 ms after the other failed", w.now)
					}
				}
				// b hears nothing, says so, and a believes it.
				if !w.until(time.Second, func() bool { return b.core.state == Down }) {
					t.Fatal("silence was not noticed")
				}
				if took := w.now - cutAt; took > 151*time.Millisecond || took < 100*time.Millisecond {
					t.Errorf("noticed after %v", took)
				}
				b.mustBe(Down, DiagTimeExpired)
				a.mustBe(Up, DiagNone)
				w.run(time.Millisecond)
				a.mustBe(Down, DiagNeighborSignaledDown)
				if e := a.events[0]; e.RemoteState != Down || e.RemoteDiag != DiagTimeExpired || !e.Failure() {
					t.Errorf("told %+v", e)
				}
				// b stays Down for as long as it hears nothing; a goes to Init, and
				// stays there because b hears nothing of it.
				w.run(time.Minute)
				b.mustBe(Down, DiagTimeExpired)
				if a.core.state != Init {
					t.Errorf("%s, want init", a.core.state)
				}
				if b.core.remoteDiscr != 0 || a.core.remoteDiscr != b.core.localDiscr {
					t.Error("discriminators after silence")
				}
				a.wire.cut = false
				w.watch = nil
				w.meet()
				if got := b.trace(); got != "up>down down>up" && got != "up>down down>init init>up" {
					t.Errorf("b: %s", got)
				}
				if got := a.trace(); got != "up>down down>init init>up" {
					t.Errorf("a: %s", got)
				}
			})
		}
	})
}

func (p port) name() string {
	switch p {
	case portSingleHop:
		return "single hop"
	case portMultihop:
		return "multihop"
	case portEcho:
		return "echo"
	default:
		panic(fmt.Sprintf("unhandled port %d", p))
	}
}

// A session that is Down does not rise by packets in Up, however many: the peer has
// to leave Up first.
func TestBFD_ST_02_StaleUp(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.run(time.Second)
	r.mustBe(Down, DiagTimeExpired)
	r.keep(time.Minute, 50*time.Millisecond, inState(Up))
	r.mustBe(Down, DiagTimeExpired)
	for _, s := range r.shots(len(r.wire.shots) - 10) {
		if s.State != Down {
			t.Fatalf("%v", s)
		}
	}
	r.take(inState(Down))
	r.mustBe(Init, DiagTimeExpired)
	r.take(inState(Up))
	r.mustBe(Up, DiagTimeExpired)
}

// Going down takes both ends as well: nobody stays Up against a peer that left.
func TestBFD_ST_02_BothDirections(t *testing.T) {
	for _, loss := range []int{1, 2, 3, 5} {
		w, a, b := twoEnds(t, v4.asyncConf(), nil)
		w.meet()
		rng := rand.New(rand.NewPCG(uint64(loss), 9))
		lossy := func(int, Packet) bool { return rng.IntN(10) < loss }
		a.wire.lose, b.wire.lose = lossy, lossy
		lag := func(int) time.Duration { return time.Duration(rng.IntN(120)) * time.Millisecond }
		a.wire.lag, b.wire.lag = lag, lag
		apart := instant(0)
		w.watch = func() {
			if (a.core.state == Up) == (b.core.state == Up) {
				apart = w.now
			}
			// A detection time at the slow rate, for each end.
			if w.now-apart > 7*time.Second {
				t.Fatalf("at %v: %s and %s", w.now, a.core.state, b.core.state)
			}
		}
		w.run(5 * time.Minute)
		a.wire.lose, b.wire.lose, a.wire.lag, b.wire.lag, w.watch = nil, nil, nil, nil, nil
		w.run(10 * time.Second)
		w.meet()
		w.run(time.Minute)
		if a.core.state != Up || b.core.state != Up {
			t.Errorf("loss of %d0 %%: %s and %s afterwards", loss, a.core.state, b.core.state)
		}
	}
}

func TestBFD_ST_03_Active(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.run(time.Hour)
	shots := r.wire.shots
	if shots[0].at > time.Second || shots[0].YourDiscriminator != 0 {
		t.Errorf("first packet %v", shots[0])
	}
	if len(shots) < 3600 || len(shots) > 4800 {
		t.Errorf("%d packets in an hour, want one a second", len(shots))
	}
}

func TestBFD_ST_04_Passive(t *testing.T) {
	conf := v4.asyncConf()
	conf.Passive = true
	r := newRig(t, conf)
	r.run(time.Hour)
	if len(r.wire.shots) != 0 {
		t.Fatalf("sent %v", r.wire.shots)
	}
	r.take(inState(Down), func(p *Packet) { p.YourDiscriminator = 0 })
	if got := r.last(); got.at != r.now || got.State != Init || got.YourDiscriminator != peerDiscr {
		t.Errorf("woken, it sent %v", got)
	}
	r.bring0(t)
	r.run(160 * time.Millisecond)
	r.mustBe(Down, DiagTimeExpired)
	n := len(r.wire.shots)
	r.run(time.Hour)
	if got := r.shots(n); len(got) != 0 {
		t.Errorf("after silence it sent %d packets, first %v", len(got), got[0])
	}
	r.take(inState(Down))
	if got := r.last(); got.at != r.now || got.State != Init {
		t.Errorf("woken again, it sent %v", got)
	}
}

// bring0 takes a session that is in Init to Up.
func (r *rig) bring0(t *testing.T) {
	t.Helper()
	r.says.State, r.says.DesiredMinTx = Up, 50_000
	r.take(withFinal)
	r.mustBe(Up, DiagNone)
}

// Two passive ends never meet, one active end is enough.
func TestBFD_ST_05_OneActive(t *testing.T) {
	for passive := range 4 {
		w, a, b := twoEnds(t, v4.asyncConf(), func(a, b *Config) { a.Passive, b.Passive = passive&1 != 0, passive&2 != 0 })
		up := w.until(10*time.Second, func() bool { return a.core.state == Up && b.core.state == Up })
		if up != (passive != 3) {
			t.Errorf("passive ends %02b: up is %t", passive, up)
		}
	}
	if (Config{}).Passive {
		t.Error("passive by default")
	}
}

func TestBFD_ST_08_BFD_ST_09_BFD_ST_10_Start(t *testing.T) {
	sequences := map[uint32]bool{}
	for seed := range uint64(100) {
		w := newWorld(t)
		e := w.add(seed, sha1Conf(v4))
		c := e.core
		if c.state != Down || c.remoteState != Down || c.remoteDiscr != 0 || c.diag != 0 || c.remoteDemand || c.window.known || c.heard {
			t.Fatalf("starts as %+v", snapshot(e.session))
		}
		if c.remoteMinRx != time.Microsecond {
			t.Errorf("peer's receive interval starts as %v", c.remoteMinRx)
		}
		if c.minTx != time.Second || c.minRx != DefaultInterval {
			t.Errorf("intervals start as %v, %v", c.minTx, c.minRx)
		}
		sequences[c.xmitSequence] = true
		w.run(time.Minute)
		for _, s := range e.wire.shots {
			if s.DesiredMinTx != 1_000_000 {
				t.Fatalf("%v", s)
			}
		}
	}
	if len(sequences) < 99 {
		t.Errorf("only %d numbers to start from in 100 sessions", len(sequences))
	}
}

// Silence makes the peer's discriminator unknown, at the detection time and not
// before, in every state.
func TestBFD_ST_11_BFD_ST_15_Silence(t *testing.T) {
	for _, s := range []State{Down, Init, Up, AdminDown} {
		for _, wish := range []uint32{0, 10_000_000} {
			t.Run(fmt.Sprintf("%s, peer wants %d us", s, wish), func(t *testing.T) {
				r := newRig(t, v4.asyncConf())
				change := func(p *Packet) { p.RequiredMinRx, p.DesiredMinTx = wish, 100_000 }
				switch s {
				case Down:
					r.bring(Down)
					r.take(inState(Up), change)
				case Init:
					r.bring(Down)
					r.take(inState(Down), change)
				case Up:
					r.bring(Up)
					r.take(change)
				case AdminDown:
					r.bring(Up)
					r.take(change)
					r.table.setAdmin(r.session, true, r.now)
				}
				if r.core.state != s {
					t.Fatal(r.core.state)
				}
				r.run(299 * time.Millisecond)
				if r.core.remoteDiscr != peerDiscr {
					t.Fatal("forgotten too early")
				}
				n := len(r.wire.shots)
				r.run(time.Millisecond)
				if r.core.remoteDiscr != 0 || r.core.remoteMinRx != time.Microsecond || r.core.remoteDemand {
					t.Errorf("after silence: discriminator %d, interval %v", r.core.remoteDiscr, r.core.remoteMinRx)
				}
				r.run(10 * time.Second)
				got := r.shots(n)
				if len(got) < 9 || len(got) > 14 {
					t.Fatalf("%d packets in 10 s, want the rate of 1 s", len(got))
				}
				for _, s := range got {
					if s.YourDiscriminator != 0 {
						t.Errorf("%v", s)
					}
				}
			})
		}
	}
}

// A peer that is passive and starts anew while the session is disabled gets packets
// that it can take when the session is enabled.
func TestBFD_ST_11_Enable(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.table.setAdmin(r.session, true, r.now)
	r.run(time.Hour)
	if got := r.hear(func(p *Packet) { p.RequiredMinRx = 0 }); got != DropAdminDown {
		t.Fatal(got)
	}
	if r.core.remoteDiscr != peerDiscr {
		t.Fatal("the discriminator does not follow in admin-down")
	}
	r.run(time.Hour)
	r.table.setAdmin(r.session, false, r.now)
	n := len(r.wire.shots)
	r.run(2 * time.Second)
	got := r.shots(n)
	if len(got) == 0 || got[0].YourDiscriminator != 0 || got[0].State != Down {
		t.Errorf("sent %v", got)
	}
}

// The peer's sequence number is forgotten after twice the detection time.
func TestBFD_ST_12(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  Drop
	}{
		{225 * time.Millisecond, DropAuthSequence},
		{300*time.Millisecond - 1, DropAuthSequence},
		{300 * time.Millisecond, DropNone},
		{time.Hour, DropNone},
	} {
		r := newRig(t, sha1Conf(v4))
		r.seq = 1 << 20
		r.bring(Up)
		r.run(c.after)
		r.seq = 5
		if got := r.hear(inState(Down)); got != c.want {
			t.Errorf("a peer that starts anew after %v: %s, want %s", c.after, got, c.want)
		}
	}
}

// A session that is closed and opened again within a detection time is the same one.
func TestBFD_ST_13(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	w.meet()
	before := snapshot(a.session)
	a.table.close(a.session, w.now)
	w.settle()
	var told []Event
	s, err := a.table.open(a.core.conf, func(e Event) { told = append(told, e) }, w.now)
	if err != nil {
		t.Fatal(err)
	}
	if s != a.session {
		t.Fatal("another session")
	}
	after := snapshot(a.session)
	if after.localDiscr != before.localDiscr || after.remoteDiscr != before.remoteDiscr || after.remoteMinRx != before.remoteMinRx ||
		after.lastRx != before.lastRx || after.timers.minRx != before.timers.minRx || after.xmitSequence != before.xmitSequence {
		t.Errorf("variables %+v, were %+v", after, before)
	}
	w.meet()
	if len(told) == 0 || told[0].Old != AdminDown || told[0].New != Down || told[len(told)-1].New != Up {
		t.Errorf("told %v", told)
	}
	if st := a.status(); st.Ups != 1 || !st.EverUp {
		t.Errorf("counts %d ups of its new life", st.Ups)
	}
	for _, e := range append(told, b.events...) {
		if e.Failure() {
			t.Errorf("%v is taken for a failure", e)
		}
	}
	// Much later it is another one.
	a.table.close(a.session, w.now)
	w.run(time.Minute)
	if s, err = a.table.open(a.core.conf, nil, w.now); err != nil || s == a.session {
		t.Errorf("after a minute: the same is %t, %v", s == a.session, err)
	}
}

func TestBFD_ST_14(t *testing.T) {
	r := newRig(t, sha1Conf(v4))
	r.bring(Up)
	before := r.core
	r.run(200 * time.Millisecond)
	r.mustBe(Down, DiagTimeExpired)
	sent := uint32(len(r.wire.shots)) //nolint:gosec // few
	first := r.wire.shots[0].Auth.Sequence
	r.take(inState(Down))
	r.take(inState(Up), withFinal)
	r.mustBe(Up, DiagTimeExpired)
	if r.core.localDiscr != before.localDiscr || r.core.xmitSequence < first+sent-1 || r.core.xmitSequence > first+sent+5 {
		t.Error("a flap changed variables that are not its own")
	}
}

// There is no hold-down in the session: it rises as soon as it may.
func TestBFD_ST_16_NoHold(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	for range 10 {
		r.take(inState(Down))
		r.mustBe(Down, DiagNeighborSignaledDown)
		r.take(inState(Init))
		r.mustBe(Up, DiagNeighborSignaledDown)
	}
}
