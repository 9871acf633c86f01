package uplink

import (
	"math"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// TestDecay: the penalty halves in each half-life, in one step or in many (RFC
// 2439 section 4.8.6).
func TestDecay(t *testing.T) {
	d := Damping{HalfLife: time.Minute, Suppress: 3000, Reuse: 750}
	for lives, want := range []float64{4000, 2000, 1000, 500, 250} {
		if got := d.Decayed(4000, time.Duration(lives)*time.Minute); math.Abs(got-want) > 1e-9 {
			t.Errorf("after %d half-lives %f, want %f", lives, got, want)
		}
	}
	p := 4000.0
	for range 180 {
		p = d.Decayed(p, time.Second)
	}
	if math.Abs(p-500) > 1e-6 {
		t.Errorf("180 steps of 1 s leave %f, want 500", p)
	}
	if got := d.Decayed(1.5, time.Minute); got != 0 {
		t.Errorf("a rest of %f stays for ever", got)
	}
	if got := d.Decayed(1000, -time.Minute); got != 1000 {
		t.Errorf("a clock that went back makes %f of 1000", got)
	}
}

// TestReusable: at the promised time, and not before, the penalty is below the
// threshold.
func TestReusable(t *testing.T) {
	for _, half := range []time.Duration{time.Millisecond, time.Second, time.Minute, 24 * time.Hour} {
		for _, penalty := range []float64{750, 751, 1000, 3000, 12000} {
			d := Damping{HalfLife: half, Suppress: 3000, Reuse: 750}
			after := d.reusable(penalty)
			if got := d.Decayed(penalty, after); !d.reuses(got) {
				t.Errorf("half-life %s: %f is %f after %s, not below 750", half, penalty, got, after)
			}
			if early := after - 2*time.Millisecond; early > 0 && d.reuses(d.Decayed(penalty, early)) {
				t.Errorf("half-life %s: %f is released before %s", half, penalty, after)
			}
		}
	}
}

// TestSuppressAndReuse: the outage that lifts the penalty over Suppress holds the
// way; it is released when the penalty is below Reuse, at the time that wakeAt
// names, and not before.
func TestSuppressAndReuse(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "a", "b")
		s.policy.HoldUp = 0
		s.links()
		s.decide()
		for n := 1; n <= 4; n++ {
			s.tell("a", KindBFD, Down)
			s.decide()
			s.tell("a", KindBFD, Up)
			s.decide()
			if got, want := s.of("a").Damped, n == 4; got != want {
				t.Fatalf("after outage %d with a penalty of %f: damped is %t, want %t", n, s.of("a").Penalty, got, want)
			}
		}
		s.want("a held standby, b live active")
		// 4000 -> 750 takes log2(4000/750) half-lives.
		want := s.now.Add(time.Duration(math.Log2(4000.0/750) * float64(time.Minute)))
		if d := s.wake.Sub(want).Abs(); d > 2*time.Millisecond {
			t.Errorf("wakes at %s, want %s", s.wake, want)
		}
		words := s.of("a").Reasons[0]
		s.pass(s.wake.Sub(s.now) - 3*time.Millisecond)
		s.want("a held standby, b live active")
		if got := s.of("a").Reasons[0]; got != words {
			t.Errorf("the reason changes while nothing does: %q, then %q", words, got)
		}
		s.pass(3 * time.Millisecond)
		s.want("a live active, b live active")
	})
}

// TestPenaltyCeiling: however long a way flaps, once it is stable it is released
// after a time that the configuration bounds (RFC 2439 section 4.2).
func TestPenaltyCeiling(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.policy.HoldUp = 0
	s.links()
	s.decide()
	for range 1000 {
		s.tell("a", KindBFD, Down)
		s.decide()
		s.tell("a", KindBFD, Up)
		s.decide()
	}
	if got := s.of("a").Penalty; got != penaltyCeiling*3000 {
		t.Fatalf("penalty %f, want %d", got, penaltyCeiling*3000)
	}
	s.pass(4*time.Minute + time.Second) // log2(12000/750) = 4 half-lives
	s.want("a live active, b live active")
}

// TestFlapsOnWhileHeld: what goes on flapping stays held, though the flaps are
// further apart than HoldUp.
func TestFlapsOnWhileHeld(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.policy.HoldUp = time.Second
	s.links()
	s.decide()
	for range 60 {
		s.tell("a", KindBFD, Down)
		s.pass(time.Second)
		s.tell("a", KindBFD, Up)
		s.pass(14 * time.Second)
	}
	if got := s.changes["a"]; got > 12 {
		t.Errorf("%d changes of role in 15 minutes of flapping, want 12 at the most", got)
	}
	s.want("a held standby, b live active")
	s.pass(5 * time.Minute)
	s.want("a live active, b live active")
}

// TestZeroDamping never holds anything for flapping.
func TestZeroDamping(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.policy.HoldUp = 0
	s.policy.Damping = Damping{}
	s.links()
	s.decide()
	for range 100 {
		s.tell("a", KindBFD, Down)
		s.decide()
		s.tell("a", KindBFD, Up)
		s.decide()
		s.want("a live active, b live active")
		s.now = s.now.Add(time.Millisecond)
	}
}

// TestNoThresholdHoldsForEver: even a reuse threshold of zero is reached.
func TestNoThresholdHoldsForEver(t *testing.T) {
	for _, reuse := range []float64{0, 0.5, 1, 5000} {
		s := newStory(t, fib.IPv4, "a", "b")
		s.policy.Damping.Reuse = reuse
		s.links()
		s.decide()
		for range 10 {
			s.tell("a", KindBFD, Down)
			s.decide()
			s.tell("a", KindBFD, Up)
			s.pass(s.policy.HoldUp)
		}
		s.pass(time.Hour)
		if v := s.of("a"); v.State != Live || v.Role != Active {
			t.Errorf("reuse %v: %s %s, want live active", reuse, v.State, v.Role)
		}
		if !s.wake.IsZero() {
			t.Errorf("reuse %v: wakes at %s", reuse, s.wake)
		}
	}
}

// TestDGD_16: an input that flaps at 1 Hz for ten minutes changes the picture a
// bounded number of times, and the end is the stable state. An edge with NAT
// suffers from oscillation, whatever RFC 1122 section 3.3.1.5 saw.
func TestDGD_16(t *testing.T) {
	for _, tt := range []struct {
		name   string
		holdUp time.Duration
		most   int
	}{
		{"hold-up 10 s", 10 * time.Second, 2},
		{"hold-up 0", 0, 9},
	} {
		for _, kind := range []Kind{KindLink, KindICMP} {
			bothFamilies(t, func(t *testing.T, f fib.Family) {
				t.Run(tt.name+" "+kind.String(), func(t *testing.T) {
					s := newStory(t, f, "a", "b", "c:2")
					s.policy.HoldUp = tt.holdUp
					s.links()
					s.tell("a", kind, Up)
					s.decide()
					active := 0
					was := s.of("a").Role
					flip := func(o Opinion) {
						s.tell("a", kind, o)
						s.pass(500 * time.Millisecond)
						if r := s.of("a").Role; (r == Active) != (was == Active) {
							active++
							was = r
						}
					}
					for range 600 {
						flip(Down)
						flip(Up)
					}
					if active > tt.most {
						t.Errorf("%d changes between active and not, want %d at the most", active, tt.most)
					}
					if got := s.changes["b"] + s.changes["c"]; got > 2+2*tt.most {
						t.Errorf("%d changes of the others' roles", got)
					}
					s.pass(5 * time.Minute)
					s.want("a live active, b live active, c live standby")
				})
			})
		}
	}
}

// TestFlappingAlone: the only uplink is never taken out of use, however it flaps.
func TestFlappingAlone(t *testing.T) {
	s := newStory(t, fib.IPv4, "a")
	s.links()
	s.decide()
	for range 600 {
		s.tell("a", KindICMP, Down)
		s.pass(500 * time.Millisecond)
		s.tell("a", KindICMP, Up)
		s.pass(500 * time.Millisecond)
	}
	if got := s.changes["a"]; got != 1 {
		t.Errorf("%d changes of role, want the first one only", got)
	}
}
