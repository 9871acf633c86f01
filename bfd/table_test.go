package bfd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// far returns the configuration of the nth of many sessions.
func far(n int) Config {
	c := v4.multihopConf()
	c.Peer = netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}) //nolint:gosec // cut on purpose
	return c
}

// Discriminators are not 0, unique among all kinds of sessions, and random.
func TestBFD_ST_06_BFD_ST_07(t *testing.T) {
	first := newTestTable(1)
	seen := map[uint32]bool{}
	for n := range 100_000 {
		d := first.discriminator()
		if d == 0 || seen[d] {
			t.Fatalf("the %dth is %d, seen before is %t", n, d, seen[d])
		}
		seen[d] = true
		first.byDiscriminator[d] = nil
	}
	other := newTestTable(2)
	for range 100 {
		if seen[other.discriminator()] {
			t.Error("two speakers have one discriminator in common at least")
		}
	}
	tb := newTestTable(1)
	var all []uint32
	for n := range 3000 {
		c := far(n)
		switch n % 3 {
		case 0:
			c.Multihop, c.Interface = false, "eth1"
		case 1:
			c.Mode, c.Multihop, c.Interface = Echo, false, "eth1"
		}
		s, err := tb.open(c, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s.core.localDiscr)
	}
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 3000 || all[0] == 0 {
		t.Errorf("%d discriminators, the least is %d", n, all[0])
	}
}

// zeros is a source of random numbers that repeats itself, and begins with 0.
type zeros struct{ n uint64 }

func (z *zeros) Uint64() uint64 {
	z.n++
	return (z.n / 3) << 32
}

// Whatever the source of random numbers yields: 0 and what is taken are passed over.
func TestBFD_ST_06_PoorSource(t *testing.T) {
	tb := newTable(rand.New(&zeros{}), epoch.Add)
	for n := range 50 {
		s, err := tb.open(far(n), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if s.core.localDiscr == 0 || tb.byDiscriminator[s.core.localDiscr] != s {
			t.Fatalf("discriminator %d", s.core.localDiscr)
		}
	}
	if len(tb.byDiscriminator) != 50 {
		t.Errorf("%d discriminators of 50 sessions", len(tb.byDiscriminator))
	}
}

// A path has one session. What is the same path depends on the kind.
func TestBFD_SH_02_BFD_GA_01_BFD_UE_21_OneSession(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		base, multi := f.asyncConf(), f.multihopConf()
		with := func(c Config, change func(*Config)) Config { change(&c); return c }
		for _, c := range []struct {
			name        string
			one, two    Config
			isDuplicate bool
		}{
			{"the same", base, base, true},
			{"another local address", base, with(base, func(c *Config) { c.Local = f.odd }), true},
			{"another mark", base, with(base, func(c *Config) { c.Mark = 9 }), true},
			{"other intervals", base, with(base, func(c *Config) { c.DesiredMinTx = time.Second }), true},
			{"a zone", base, with(base, func(c *Config) { c.Peer = c.Peer.WithZone("eth1") }), true},
			{"echo to the same neighbour", base, with(base, func(c *Config) { c.Mode, c.Local = Echo, f.farA }), true},
			{"another interface", base, with(base, func(c *Config) { c.Interface = "eth2" }), false},
			{"another neighbour", base, with(base, func(c *Config) { c.Peer = f.odd }), false},
			{"multihop the same", multi, multi, true},
			{"multihop from another address", multi, with(multi, func(c *Config) { c.Local = f.odd }), false},
			{"multihop to another address", multi, with(multi, func(c *Config) { c.Peer = f.odd }), false},
			{"multihop by an interface", multi, with(multi, func(c *Config) { c.Interface = "eth1" }), true},
			{"point-to-point to another address", with(base, func(c *Config) { c.PointToPoint = true }),
				with(base, func(c *Config) { c.PointToPoint, c.Peer = true, f.odd }), true},
		} {
			tb := newTestTable(1)
			if _, err := tb.open(c.one, nil, 0); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			_, err := tb.open(c.two, nil, 0)
			if (err != nil) != c.isDuplicate {
				t.Errorf("%s: %v", c.name, err)
			}
			if err != nil && !strings.Contains(err.Error(), "open session with ") {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		// IPv4 and IPv6 on one interface are two paths.
		tb := newTestTable(1)
		for _, g := range families {
			if _, err := tb.open(g.asyncConf(), nil, 0); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestUpdateRefuses(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	before := snapshot(r.session)
	for name, change := range map[string]func(*Config){
		"peer":           func(c *Config) { c.Peer = v4.odd },
		"local":          func(c *Config) { c.Local = v4.odd },
		"interface":      func(c *Config) { c.Interface = "eth2" },
		"point-to-point": func(c *Config) { c.PointToPoint = true },
		"mode":           func(c *Config) { c.Mode = Echo },
		"interval":       func(c *Config) { c.DesiredMinTx = time.Microsecond },
		"multiplier":     func(c *Config) { c.Multiplier = 256 },
		"key":            func(c *Config) { c.Auth.Type = AuthSHA1 },
	} {
		c := r.core.conf
		change(&c)
		if err := r.table.update(r.session, c); err == nil || !strings.HasPrefix(err.Error(), "update session") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if snapshot(r.session) != before {
		t.Error("something changed")
	}
}

// What the network refuses is told, and tried again with the next packet.
func TestSendFails(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.wire.refuse = errors.New("send: no such device")
	sent := r.status().Sent
	r.keep(time.Second, 50*time.Millisecond)
	if st := r.status(); st.Problem != "send: no such device" || st.Sent != sent || st.State != Up {
		t.Errorf("%q, %d sent, %s", st.Problem, st.Sent-sent, st.State)
	}
	r.wire.refuse = nil
	r.keep(time.Second, 50*time.Millisecond)
	if st := r.status(); st.Problem != "" || st.Sent < sent+15 {
		t.Errorf("%q, %d sent", st.Problem, st.Sent-sent)
	}
}

// Without sockets the session goes on: what it would have sent is not owed afterwards.
func TestDetach(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	w.meet()
	n := len(a.wire.shots)
	a.table.detach(a.session, "gone")
	w.run(100 * time.Millisecond)
	if len(a.shots(n)) != 0 {
		t.Error("sent without sockets")
	}
	a.table.attach(a.session, 9, &a.wire)
	a.link = 9
	w.run(time.Second)
	a.mustBe(Up, DiagNone)
	b.mustBe(Up, DiagNone)
	if got := a.status().Problem; got != "" {
		t.Error(got)
	}
}

func TestStatus(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	st := a.status()
	if st.State != Down || !st.Since.Equal(epoch) || st.EverUp || st.DetectionTime != 0 || st.RxInterval != 0 || !st.LastReceived.IsZero() ||
		st.TxInterval != time.Second || st.Backoff != 1 || st.LocalDiscriminator == 0 || st.Config.Multiplier != DefaultMultiplier {
		t.Errorf("new: %+v", st)
	}
	w.meet()
	w.run(time.Second)
	up := a.events[len(a.events)-1]
	st = a.status()
	want := Status{
		Config: a.core.conf, State: Up, Since: up.At, EverUp: true, RemoteState: Up,
		LocalDiscriminator: a.core.localDiscr, RemoteDiscriminator: b.core.localDiscr,
		TxInterval: 50 * time.Millisecond, RxInterval: 50 * time.Millisecond, DetectionTime: 150 * time.Millisecond,
		RemoteMultiplier: 3, Sent: uint64(len(a.wire.shots)), Received: a.received, Dropped: map[Drop]uint64{},
		LastReceived: epoch.Add(a.core.lastRx), Ups: 1, Backoff: 1,
	}
	if got, want := fmt.Sprintf("%+v", st), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("up: %s\nwant %s", got, want)
	}
	b.wire.cut = true
	w.run(time.Minute)
	st = a.status()
	if st.State != Down || st.Diag != DiagTimeExpired || st.Failures != 1 || st.DetectionTime != 0 || !st.EverUp || st.RemoteDiscriminator != 0 {
		t.Errorf("failed: %+v", st)
	}
	stats := a.table.stats()
	if stats.Sessions != 1 || stats.Sent != st.Sent || stats.Received != st.Received {
		t.Errorf("%+v", stats)
	}
}

// consistent fails unless the heap is one, and everything in the table belongs to it.
func (t *table) consistent(tb testing.TB, now instant) {
	tb.Helper()
	for i, s := range t.deadlines {
		if s.place != i {
			tb.Fatalf("session at %d believes to be at %d", i, s.place)
		}
		if up := (i - 1) / 2; i > 0 && t.deadlines[up].at > s.at {
			tb.Fatalf("%v at %d is above %v at %d", t.deadlines[up].at, up, s.at, i)
		}
		if s.at > max(s.due(), now+1) {
			tb.Fatalf("session %d is looked at at %v, but something is due at %v", i, s.at, s.due())
		}
		if t.byDiscriminator[s.core.localDiscr] != s || (t.byIdentity[s.core.conf.identity()] == s) == s.replaced {
			tb.Fatalf("session %d is not found", i)
		}
	}
	if n := len(t.deadlines); len(t.byDiscriminator) != n || len(t.byIdentity) > n || len(t.byOrigin) > n {
		tb.Fatalf("%d sessions, %d discriminators, %d identities, %d origins",
			n, len(t.byDiscriminator), len(t.byIdentity), len(t.byOrigin))
	}
	for o, s := range t.byOrigin {
		if s.origin() != o || s.sender == nil {
			tb.Fatalf("%+v leads to a session without sockets", o)
		}
	}
}

// Many sessions at once: each sends at its time, and a call does not look at all.
func TestAdvanceIsBounded(t *testing.T) {
	tb := newTestTable(1)
	w := newWorld(t)
	wires := make([]*wire, 1000)
	for n := range wires {
		s, err := tb.open(far(n), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		wires[n] = &wire{w: w}
		tb.attach(s, 0, wires[n])
	}
	calls := 1
	for ; tb.advance(0, 0); calls++ {
		tb.consistent(t, w.now)
	}
	if calls < 1000/perCall || calls > 1000/perCall+1 {
		t.Errorf("%d calls for 1000 sessions", calls)
	}
	for now := instant(0); now < 10*time.Second; now = tb.wake() {
		w.now = now
		for tb.advance(now, now) {
		}
	}
	tb.consistent(t, w.now)
	for n, x := range wires {
		if len(x.shots) < 9 || len(x.shots) > 15 {
			t.Errorf("session %d sent %d packets in 10 s", n, len(x.shots))
		}
	}
	if late := tb.stats().WorstLateness; late != 0 {
		t.Errorf("late by %v", late)
	}
}

// A failure is told before other sessions are looked at, and sessions whose expiry
// waits for the sockets do not hold the others back.
func TestFailureFirst(t *testing.T) {
	tb := newTestTable(1)
	w := newWorld(t)
	var told []netip.Addr
	var all []*session
	for n := range 600 {
		c := far(n)
		s, err := tb.open(c, func(e Event) {
			if e.New == Down {
				told = append(told, e.Peer)
			}
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		tb.attach(s, 0, &wire{w: w})
		all = append(all, s)
		p := Packet{State: Init, DetectMult: 3, MyDiscriminator: 1, YourDiscriminator: s.core.localDiscr, DesiredMinTx: 50_000, RequiredMinRx: 50_000}
		tb.input(&datagram{payload: p.Append(nil), src: c.Peer, dst: c.Local, ttl: 255, port: portMultihop}, 0)
	}
	for tb.advance(0, 0) {
	}
	deliver := func() {
		for _, n := range tb.take() {
			n.notify(n.Event)
		}
	}
	deliver()
	now := 200 * time.Millisecond
	w.now = now
	// Nothing was read since 100 ms: nobody has failed, and everybody sends.
	for i := 0; tb.advance(now, 100*time.Millisecond); i++ {
		if i > 2*600/perCall {
			t.Fatal("it does not end")
		}
	}
	tb.consistent(t, w.now)
	for i, s := range all {
		if s.core.state != Up || s.core.lastTx != now {
			t.Fatalf("session %d: %s, sent at %v", i, s.core.state, s.core.lastTx)
		}
	}
	now++
	for i := 1; tb.advance(now, now); i++ {
		deliver()
		if i <= 600 && len(told) != i {
			t.Fatalf("after call %d %d failures were told", i, len(told))
		}
	}
	deliver()
	if len(told) != 600 {
		t.Errorf("%d failures of 600", len(told))
	}
}

// Who waits for sessions to end knows how many there are, and for how long.
func TestLingering(t *testing.T) {
	w, a, _ := twoEnds(t, v4.asyncConf(), nil)
	w.meet()
	if n, _ := a.table.lingering(); n != 0 {
		t.Errorf("%d linger", n)
	}
	a.wire.cut = true
	a.table.close(a.session, w.now)
	if n, until := a.table.lingering(); n != 1 || until != w.now+3*time.Second {
		t.Errorf("%d linger until %v, now %v", n, until, w.now)
	}
	w.run(3 * time.Second)
	if n, _ := a.table.lingering(); n != 0 {
		t.Errorf("%d linger", n)
	}
}

// Half an hour of two sessions: nothing is ever late or early.
func TestHalfHour(t *testing.T) {
	w, a, b := twoEnds(t, v4.asyncConf(), nil)
	w.meet()
	a.events = nil
	// Not once a millisecond: the heap is lazy.
	w.watch = func() {
		if len(a.wire.shots)%1000 == 0 {
			a.table.consistent(t, w.now)
		}
	}
	w.run(time.Hour / 2)
	if len(a.events) != 0 || a.core.state != Up || b.core.state != Up {
		t.Error(a.events)
	}
	want := float64(time.Hour/2) / (0.875 * float64(50*time.Millisecond))
	if got := float64(len(a.wire.shots)); got < 0.99*want || got > 1.01*want {
		t.Errorf("%.0f packets in half an hour, want about %.0f", got, want)
	}
	if late := a.table.stats().WorstLateness; late != 0 {
		t.Errorf("late by %v", late)
	}
}
