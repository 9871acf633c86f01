package bfd

import (
	"testing"
	"time"
)

// authConf is a session with authentication and two keys.
func authConf(f family, kind AuthType) Config {
	c := f.asyncConf()
	c.Auth = Auth{Type: kind, KeyID: 1, Keys: []Key{{1, Secret("first")}, {2, Secret("second")}}}
	return c
}

// Sessions of each kind come up and keep up.
func TestBFD_AU_09_BFD_AU_10_Sessions(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for kind := AuthSimple; kind <= AuthMeticulousSHA1; kind++ {
			w, a, b := twoEnds(t, authConf(f, kind), nil)
			// A wrap on the way.
			a.core.xmitSequence = 0xffffff80
			w.meet()
			a.events, b.events = nil, nil
			w.run(time.Minute)
			if len(a.events)+len(b.events) != 0 {
				t.Errorf("%s: flaps: %v %v", kind, a.events, b.events)
			}
			if got := len(a.status().Dropped) + len(b.status().Dropped); got != 0 {
				t.Errorf("%s: dropped %v, %v", kind, a.status().Dropped, b.status().Dropped)
			}
			if kind.meticulous() && a.core.xmitSequence > 0xffff0000 {
				t.Errorf("%s: sequence number %#x: it did not wrap", kind, a.core.xmitSequence)
			}
		}
	})
}

// A forged first packet does not own the window.
func TestBFD_AU_10_Forged(t *testing.T) {
	r := newRig(t, sha1Conf(v4))
	r.settle()
	forged := r.auth
	forged.Keys = []Key{{1, Secret("guess")}}
	p := r.says
	p.YourDiscriminator = r.core.localDiscr
	if got := r.hearRaw(forged.sign(p.Append(nil), 1<<31)); got != DropAuthDigest || r.core.window.known {
		t.Fatalf("%s; the window is known: %t", got, r.core.window.known)
	}
	r.seq = 4
	r.take()
	if !r.core.window.known || r.core.window.last != 5 {
		t.Errorf("window %+v", r.core.window)
	}
	for seq, want := range map[uint32]Drop{5: DropAuthSequence, 4: DropAuthSequence, 15: DropAuthSequence, 14: DropNone} {
		r.core.window.last = 5
		r.seq = seq - 1
		if got := r.hear(); got != want {
			t.Errorf("number %d after 5, multiplier 3: %s, want %s", seq, got, want)
		}
	}
}

// Meticulous: each packet has the number that follows that of the one before, Finals
// included, around the end of 32 bits.
func TestBFD_AU_11(t *testing.T) {
	for _, kind := range []AuthType{AuthMeticulousMD5, AuthMeticulousSHA1} {
		r := newRig(t, authConf(v4, kind))
		r.core.xmitSequence = 0xfffffe00
		r.bring(Up)
		for i := range 1000 {
			r.run(20 * time.Millisecond)
			if i%3 == 0 {
				r.take(withPoll)
			} else {
				r.take()
			}
			if i%100 == 50 {
				r.table.signalPath(r.session, Diag(i/100%2)*DiagConcatenatedPathDown)
			}
		}
		finals := 0
		for i, s := range r.wire.shots {
			if want := uint32(0xfffffe01) + uint32(i); s.Auth.Sequence != want { //nolint:gosec // wraps on purpose
				t.Fatalf("%s: packet %d has number %#x, want %#x", kind, i, s.Auth.Sequence, want)
			}
			if s.Final {
				finals++
			}
		}
		if len(r.wire.shots) < 700 || finals < 300 {
			t.Errorf("%s: %d packets, %d Finals", kind, len(r.wire.shots), finals)
		}
	}
}

// Not meticulous: a new number when the content changes, P and F aside.
func TestBFD_AU_12(t *testing.T) {
	for _, kind := range []AuthType{AuthMD5, AuthSHA1} {
		r := newRig(t, authConf(v4, kind))
		r.bring(Up)
		r.take()
		number := r.last().Auth.Sequence
		still := func() {
			t.Helper()
			n := len(r.wire.shots)
			r.keep(time.Second, 50*time.Millisecond, withPoll)
			for _, s := range r.shots(n) {
				if s.Auth.Sequence != number {
					t.Fatalf("%s: %v, want number %d while nothing changes", kind, s, number)
				}
			}
		}
		still()
		for name, change := range map[string]func(){
			"diagnostic":    func() { r.table.signalPath(r.session, DiagConcatenatedPathDown) },
			"multiplier":    func() { r.reconfigure(func(c *Config) { c.Multiplier = 7 }) },
			"interval":      func() { r.reconfigure(func(c *Config) { c.DesiredMinTx = 40 * time.Millisecond }) },
			"discriminator": func() { r.says.MyDiscriminator++; r.take() },
		} {
			change()
			r.keep(100*time.Millisecond, 50*time.Millisecond)
			if got := r.last().Auth.Sequence; got != number+1 {
				t.Errorf("%s: number %d after a change of the %s, want %d", kind, got, name, number+1)
			}
			number = r.last().Auth.Sequence
			still()
		}
	}
}

// An attacker without the key cannot end, start or change anything by packets that are
// not authenticated, and a replay counts for nothing.
func TestBFD_AU_14_Downgrade(t *testing.T) {
	r := newRig(t, sha1Conf(v4))
	r.bring(Up)
	replay := r.from
	p := r.says
	p.YourDiscriminator = r.core.localDiscr
	replay.payload = r.sign(p.Append(nil))
	if got := r.give(replay); got != DropNone {
		t.Fatal(got)
	}
	for range 300 {
		r.run(10 * time.Millisecond)
		r.take()
		saved := r.auth
		r.auth = Auth{}
		for _, s := range []State{AdminDown, Down} {
			if got := r.hear(inState(s)); got != DropAuthMissing {
				t.Fatal(got)
			}
		}
		r.auth = saved
		if got := r.give(replay); got != DropAuthSequence {
			t.Fatal(got)
		}
	}
	r.mustBe(Up, DiagNone)
	for _, s := range r.wire.shots {
		if s.Auth.Type != AuthMeticulousSHA1 {
			t.Fatalf("sent %v", s)
		}
	}
}

// Keys are exchanged at one end after the other, in either order, without a flap.
func TestBFD_AU_15(t *testing.T) {
	for kind := AuthSimple; kind <= AuthMeticulousSHA1; kind++ {
		for order := range 2 {
			w, a, b := twoEnds(t, authConf(v4, kind), nil)
			w.meet()
			a.events, b.events = nil, nil
			first, second := a, b
			if order == 1 {
				first, second = b, a
			}
			keys := []Key{{1, Secret("first")}, {2, Secret("second")}, {3, Secret("third")}}
			for _, step := range []struct {
				id   uint8
				keys []Key
			}{{2, keys[:2]}, {2, keys[1:2]}, {2, keys[1:]}, {3, keys[1:]}, {3, keys[2:]}} {
				for _, e := range []*end{first, second} {
					e.reconfigure(func(c *Config) { c.Auth.KeyID, c.Auth.Keys = step.id, step.keys })
					w.run(time.Second)
				}
			}
			if len(a.events)+len(b.events) != 0 || len(a.status().Dropped)+len(b.status().Dropped) != 0 {
				t.Errorf("%s: %v %v, dropped %v %v", kind, a.events, b.events, a.status().Dropped, b.status().Dropped)
			}
			if a.last().Auth.KeyID != 3 || b.last().Auth.KeyID != 3 {
				t.Errorf("%s: sent with %v, %v", kind, a.last(), b.last())
			}
			// A key that only one end has is refused.
			first.reconfigure(func(c *Config) {
				c.Auth.KeyID, c.Auth.Keys = 4, []Key{{3, Secret("third")}, {4, Secret("fourth")}}
			})
			w.run(time.Second)
			second.mustBe(Down, DiagTimeExpired)
			if second.status().Dropped[DropAuthKey] == 0 {
				t.Errorf("%s: dropped %v", kind, second.status().Dropped)
			}
		}
	}
}
