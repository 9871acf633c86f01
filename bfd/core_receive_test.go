package bfd

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// malform makes a packet that violates a rule. A packet that violates two is dropped
// by the earlier one.
type malform struct {
	drop Drop
	do   func(b []byte) []byte
}

// malforms in the order of RFC 5880 section 6.8.6, for a session with SHA1 from a
// packet in Up that has its discriminator.
func malforms() []malform {
	at := func(drop Drop, i int, f func(byte) byte) malform {
		return malform{drop, func(b []byte) []byte { b[i] = f(b[i]); return b }}
	}
	return []malform{
		at(DropVersion, 0, func(x byte) byte { return x&0x1f | 2<<5 }),
		at(DropLength, 3, func(byte) byte { return 25 }),
		at(DropMultiplier, 2, func(byte) byte { return 0 }),
		at(DropMultipoint, 1, func(x byte) byte { return x | flagMultipoint }),
		{DropMyDiscriminator, func(b []byte) []byte { clear(b[4:8]); return b }},
		at(DropNoSession, 8, func(x byte) byte { return x ^ 0x80 }),
		at(DropAuthType, 24, func(byte) byte { return 3 }),
		at(DropAuthLength, 25, func(byte) byte { return 27 }),
		at(DropAuthKey, 26, func(byte) byte { return 9 }),
		at(DropAuthDigest, 51, func(x byte) byte { return x ^ 1 }),
	}
}

// sha1Conf is a session with meticulous SHA1.
func sha1Conf(f family) Config {
	c := f.asyncConf()
	c.Auth = Auth{Type: AuthMeticulousSHA1, KeyID: 1, Keys: []Key{{1, Secret("first")}, {2, Secret("second")}}}
	return c
}

// The first rule that is violated counts, alone, and nothing else changes.
func TestBFD_RX_00_BFD_RX_14_Order(t *testing.T) {
	r := newRig(t, sha1Conf(v4))
	r.bring(Up)
	good := func() []byte {
		p := r.says
		p.YourDiscriminator = r.core.localDiscr
		p.Diag, p.RequiredMinRx, p.Final = DiagPathDown, 77_000, true
		r.seq = r.core.window.last
		return r.sign(p.Append(nil))
	}
	rules := malforms()
	for i, first := range rules {
		for j, second := range rules[i:] {
			b := first.do(good())
			if j > 0 {
				b = second.do(b)
			}
			before := snapshot(r.session)
			if got := r.hearRaw(b); got != first.drop {
				t.Errorf("violates %s and %s: dropped as %s", first.drop, second.drop, got)
			}
			if after := snapshot(r.session); after != before {
				t.Errorf("violates %s and %s: the session changed: %+v, was %+v", first.drop, second.drop, after, before)
			}
		}
	}
	if got := r.hearRaw(good()); got != DropNone {
		t.Fatalf("the good one: %s", got)
	}
	if r.core.remoteMinRx != 77*time.Millisecond || r.core.remoteDiag != DiagPathDown {
		t.Error("the good one changed nothing")
	}
	// A replay is found last.
	replay := good()
	if got := r.hearRaw(replay); got != DropNone {
		t.Fatalf("the next one: %s", got)
	}
	if got := r.hearRaw(replay); got != DropAuthSequence {
		t.Errorf("a replay: %s", got)
	}
}

// Rules that the octets alone can violate, at a session.
func TestBFD_RX_01_BFD_RX_02_BFD_RX_03_BFD_RX_04_BFD_RX_05_BFD_RX_06(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	good := func() []byte {
		p := r.says
		p.YourDiscriminator = r.core.localDiscr
		return p.Append(nil)
	}
	check := func(name string, b []byte, want Drop) {
		t.Helper()
		before := snapshot(r.session)
		if got := r.hearRaw(b); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if want != DropNone && snapshot(r.session) != before {
			t.Errorf("%s: the session changed", name)
		}
	}
	for v := range byte(8) {
		b := good()
		b[0] = v<<5 | b[0]&0x1f
		want := DropVersion
		if v == 1 {
			want = DropNone
		}
		check("version", b, want)
	}
	for n := range 24 {
		check("datagram too short", good()[:n], DropShort)
	}
	for _, c := range []struct {
		length byte
		auth   bool
		want   Drop
	}{
		{0, false, DropLength}, {23, false, DropLength}, {24, false, DropNone}, {52, false, DropLength}, {255, false, DropLength},
		{25, true, DropLength}, {26, true, DropAuthUnexpected}, {100, true, DropAuthUnexpected}, {101, true, DropLength},
	} {
		b := good()
		b[3] = c.length
		if c.auth {
			b[1] |= flagAuth
			b = append(b, make([]byte, 76)...)
		}
		check("length", b, c.want)
	}
	for _, c := range []struct {
		i, n int
		set  byte
		want Drop
	}{{2, 1, 0, DropMultiplier}, {2, 1, 255, DropNone}, {4, 4, 0, DropMyDiscriminator}} {
		b := good()
		copy(b[c.i:], bytes.Repeat([]byte{c.set}, c.n))
		check("field", b, c.want)
	}
	b := good()
	b[1] |= flagMultipoint
	check("multipoint", b, DropMultipoint)
	check("trailing octets", append(good(), 1, 2, 3), DropNone)
	r.mustBe(Up, DiagNone)
}

// A Your Discriminator that is nobody's is dropped, although the source has a session,
// and 0 is for the beginning only.
func TestBFD_RX_07_BFD_RX_09_BFD_RX_11(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := newRig(t, f.asyncConf())
		r.settle()
		n := len(r.wire.shots)
		for _, s := range []State{AdminDown, Down, Init, Up} {
			if got := r.hear(inState(s), func(p *Packet) { p.YourDiscriminator = r.core.localDiscr + 1 }); got != DropNoSession {
				t.Errorf("unknown discriminator in %s: %s", s, got)
			}
		}
		zero := func(p *Packet) { p.YourDiscriminator = 0 }
		for _, s := range []State{Init, Up} {
			if got := r.hear(inState(s), zero); got != DropState {
				t.Errorf("no discriminator in %s: %s", s, got)
			}
		}
		// From somebody that there is no session with.
		before := r.from
		r.from.src = f.odd
		for _, s := range []State{AdminDown, Down} {
			if got := r.hear(inState(s), zero, withPoll); got != DropNoPeer {
				t.Errorf("stranger in %s: %s", s, got)
			}
		}
		r.settle()
		if len(r.wire.shots) != n || len(r.table.byIdentity) != 1 || len(r.table.byDiscriminator) != 1 {
			t.Error("a packet that was dropped had an effect")
		}
		r.from = before
		for _, s := range []State{AdminDown, Down} {
			if got := r.hear(inState(s), zero); got != DropNone {
				t.Errorf("no discriminator in %s: %s", s, got)
			}
		}
		if r.core.state != Init {
			t.Errorf("state %s", r.core.state)
		}
	})
}

// The discriminator alone tells the session, whatever the source.
func TestBFD_RX_08_KnownByDiscriminator(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := newRig(t, f.asyncConf())
		r.bring(Up)
		r.from.src = f.odd
		r.keep(time.Second, 50*time.Millisecond)
		r.mustBe(Up, DiagNone)
		if got := r.core.conf.Peer; got != f.b {
			t.Errorf("the peer became %s", got)
		}
	})
}

func TestBFD_RX_12_BFD_RX_13_BFD_AU_14(t *testing.T) {
	signed := sha1Conf(v4).Auth
	for _, c := range []struct {
		ours, theirs Auth
		want         Drop
	}{
		{Auth{}, signed, DropAuthUnexpected},
		{signed, Auth{}, DropAuthMissing},
		{signed, signed, DropNone},
		{Auth{}, Auth{}, DropNone},
	} {
		conf := v4.asyncConf()
		conf.Auth = c.ours
		r := newRig(t, conf)
		r.auth = c.theirs
		r.settle()
		// However often it is tried: nothing is switched on or off by it.
		for range 100 {
			if got := r.hear(); got != c.want {
				t.Fatalf("ours %s, theirs %s: %s, want %s", c.ours.Type, c.theirs.Type, got, c.want)
			}
		}
		if up := r.core.state == Init; up != (c.want == DropNone) {
			t.Errorf("ours %s, theirs %s: %s", c.ours.Type, c.theirs.Type, r.core.state)
		}
		if got := r.status().Dropped[c.want]; c.want != DropNone && got != 100 {
			t.Errorf("%d counted at the session", got)
		}
	}
}

// What a packet says is in the variables after it.
func TestBFD_RX_15_BFD_RX_16_BFD_RX_20(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.take(func(p *Packet) {
		p.MyDiscriminator, p.Demand, p.RequiredMinRx, p.DetectMult = 99, true, 123_000, 7
		p.Diag, p.DesiredMinTx = DiagPathDown, 60_000
	})
	st := r.status()
	if st.State != Up || st.RemoteDiscriminator != 99 || !st.RemoteDemand || st.RemoteMultiplier != 7 || st.RemoteDiag != DiagPathDown || st.RemoteState != Up {
		t.Errorf("%+v", st)
	}
	if r.core.remoteMinRx != 123*time.Millisecond || r.core.interval() != 123*time.Millisecond || st.DetectionTime != 420*time.Millisecond {
		t.Errorf("peer's receive interval %v, ours %v, detection time %v", r.core.remoteMinRx, r.core.interval(), st.DetectionTime)
	}
	r.says.MyDiscriminator = 100
	r.take()
	r.run(130 * time.Millisecond)
	if got := r.last().YourDiscriminator; got != 100 {
		t.Errorf("Your Discriminator %d after the peer changed it", got)
	}
	// A multiplier moves the expiry at once.
	heard := r.now
	r.take(func(p *Packet) { p.DetectMult = 1 })
	r.take(func(p *Packet) { p.DetectMult = 2 })
	if got, want := r.core.deadline(), heard+100*time.Millisecond; got != want {
		t.Errorf("deadline %v, want %v", got, want)
	}
	r.run(99 * time.Millisecond)
	r.mustBe(Up, DiagNone)
	r.run(time.Millisecond)
	r.mustBe(Down, DiagTimeExpired)
}

// A Final ends the Poll Sequence that runs, and is nothing otherwise.
func TestBFD_RX_18_BFD_RX_19(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.take()
	before := snapshot(r.session)
	r.take(withFinal)
	if after := snapshot(r.session); after != before {
		t.Errorf("a stray Final changed %+v to %+v", before, after)
	}
	r.reconfigure(func(c *Config) { c.DesiredMinTx = 100 * time.Millisecond })
	r.keep(60*time.Millisecond, 20*time.Millisecond)
	if !r.last().Poll || r.core.interval() != 50*time.Millisecond {
		t.Fatalf("interval %v, %v", r.core.interval(), r.last())
	}
	r.take(withFinal)
	if got := r.core.interval(); got != 100*time.Millisecond {
		t.Errorf("interval %v after the Final", got)
	}
	n := len(r.wire.shots)
	r.keep(time.Second, 20*time.Millisecond)
	if slices.ContainsFunc(r.shots(n), func(s shot) bool { return s.Poll }) {
		t.Error("P after the Final")
	}
}

// In AdminDown the variables follow, and nothing else happens.
func TestBFD_RX_21_BFD_ST_01_AdminDown(t *testing.T) {
	r := newRig(t, v4.asyncConf())
	r.bring(Up)
	r.table.setAdmin(r.session, true, r.now)
	r.settle()
	heard := r.core.lastRx
	n := len(r.wire.shots)
	r.run(10 * time.Millisecond)
	for _, s := range []State{AdminDown, Down, Init, Up} {
		if got := r.hear(inState(s), withPoll, func(p *Packet) { p.MyDiscriminator, p.RequiredMinRx = 98, 60_000 }); got != DropAdminDown {
			t.Errorf("in %s: %s", s, got)
		}
		if r.core.remoteState != s || r.core.remoteDiscr != 98 || r.core.remoteMinRx != 60*time.Millisecond {
			t.Errorf("variables in %s: %s, %d, %v", s, r.core.remoteState, r.core.remoteDiscr, r.core.remoteMinRx)
		}
	}
	r.settle()
	if r.core.lastRx != heard {
		t.Error("the detection timer was armed again")
	}
	if got := r.shots(n); len(got) != 0 {
		t.Errorf("answered %v", got)
	}
	r.mustBe(AdminDown, DiagAdminDown)
}

// A Poll is answered at once, in every state that takes packets, whatever else holds
// packets back.
func TestBFD_RX_25_BFD_TM_06_Final(t *testing.T) {
	for _, s := range []State{Down, Init, Up} {
		for _, quiet := range []string{"", "wants none", "demand", "passive"} {
			conf := v4.asyncConf()
			conf.Passive = quiet == "passive"
			r := newRig(t, conf)
			r.bring(s)
			n := len(r.wire.shots)
			lastTx := r.core.lastTx
			// The state that leaves ours as it is.
			says := map[State]State{Down: Up, Init: Down, Up: Up}[s]
			drop := r.hear(inState(says), withPoll, func(p *Packet) {
				if quiet == "wants none" {
					p.RequiredMinRx = 0
				}
				p.Demand = quiet == "demand"
			})
			got := r.shots(n)
			if drop != DropNone || len(got) != 1 || !got[0].Final || got[0].Poll || got[0].State != s || got[0].at != r.now {
				t.Errorf("%s %s: dropped as %s, answered %v", s, quiet, drop, got)
			}
			if r.core.lastTx != lastTx {
				t.Errorf("%s %s: the Final moved the transmit timer", s, quiet)
			}
		}
	}
}

// What is dropped does not feed the detection timer.
func TestBFD_RX_26_BFD_RX_27(t *testing.T) {
	r := newRig(t, sha1Conf(v4))
	r.bring(Up)
	deadline := r.core.deadline()
	rules := malforms()
	total := 0
	for r.now+time.Millisecond < deadline {
		r.run(time.Millisecond)
		for _, m := range rules {
			p := r.says
			p.YourDiscriminator = r.core.localDiscr
			for range 10 {
				if got := r.hearRaw(m.do(r.sign(p.Append(nil)))); got != m.drop {
					t.Fatalf("%s, want %s", got, m.drop)
				}
				total++
			}
		}
	}
	r.mustBe(Up, DiagNone)
	r.run(time.Millisecond)
	r.mustBe(Down, DiagTimeExpired)
	stats := r.table.stats()
	for _, m := range rules {
		if got := stats.Dropped[m.drop]; got != uint64(total/len(rules)) {
			t.Errorf("%s: %d counted, want %d", m.drop, got, total/len(rules))
		}
	}
	if total < 10_000 || len(stats.Dropped) != len(rules) {
		t.Errorf("%d packets, counted by %v", total, stats.Dropped)
	}
}
