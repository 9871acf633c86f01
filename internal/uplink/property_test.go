package uplink

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// shuffle does one random thing to the evidence of s, drawn by numbers from
// pick, and lets a random time pass.
func shuffle(s *story, pick func(n int) int) {
	m := s.policy.Members[pick(len(s.policy.Members))]
	s.family = m.Family
	o := Opinion(pick(3))
	switch what := pick(12); what {
	case 0, 1, 2, 3, 4, 5, 6:
		s.tell(m.Uplink, KindLink+Kind(what), o)
	case 7:
		s.forget(m.Uplink, KindLink+Kind(pick(7)))
	case 8, 9:
		s.probe(m.Uplink, o, target1)
	case 10:
		s.probe(m.Uplink, o, target1, target2, target3)
	case 11: // A target changes for everybody.
		for _, m := range s.policy.Members {
			s.family = m.Family
			s.probe(m.Uplink, o, target2)
		}
	default:
		panic("unhandled")
	}
	waits := []time.Duration{0, 0, time.Nanosecond, time.Second, 10 * time.Second, 30 * time.Second, time.Minute, time.Hour}
	s.pass(waits[pick(len(waits))])
}

// world is a story of several uplinks in both families.
func world(t *testing.T, mode AllDead, holdUp time.Duration) *story {
	s := newStory(t, fib.IPv4, "a:1", "b:1", "c:2", "d:3")
	s.policy.Members = append(s.policy.Members, newStory(t, fib.IPv6, "a:1", "b:2", "c:2", "d:1").policy.Members...)
	s.policy.Members[0].Quorum = 1
	s.policy.Members[5].Quorum = 3
	s.policy.AllDead, s.policy.HoldUp = mode, holdUp
	return s
}

// TestNoTerminalState: from wherever random evidence has led, good evidence ends
// in the picture of a good day, in the time that the configuration bounds; the
// invariants of wrong and faulty hold all along.
func TestNoTerminalState(t *testing.T) {
	const good = "a live active, b live active, c live standby, d live none, a live active, b live standby, c live standby, d live active"
	for _, mode := range []AllDead{KeepLast, KeepAll, FailClosed} {
		for _, holdUp := range []time.Duration{0, 10 * time.Second} {
			t.Run(fmt.Sprint(mode, holdUp), func(t *testing.T) {
				for seed := range uint64(40) {
					r := rand.New(rand.NewPCG(seed, uint64(mode)))
					s := world(t, mode, holdUp)
					for range 60 {
						shuffle(s, r.IntN)
					}
					for kind := KindLink; kind <= KindBGP; kind++ {
						for _, m := range s.policy.Members {
							s.family = m.Family
							s.tell(m.Uplink, kind, Up)
							s.probe(m.Uplink, Up, target1, target2, target3)
						}
					}
					s.decide()
					// The ceiling lies log2(4*3000/750) = 4 half-lives over Reuse.
					s.pass(max(4*time.Minute, holdUp) + time.Second)
					if got := roles(s.policy, s.verdicts); got != good {
						t.Fatalf("seed %d ends in\n     %s\nwant %s\n%q", seed, got, good, s.reasons())
					}
					if !s.wake.IsZero() {
						t.Fatalf("seed %d: wakes at %s on a good day", seed, s.wake)
					}
				}
			})
		}
	}
}

// TestSilenceIsNoTerminalState: as above, but every source loses its opinion
// instead; only the links are known. No way is lost for ever because nobody can
// probe it.
func TestSilenceIsNoTerminalState(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 77))
		s := world(t, KeepLast, 10*time.Second)
		for range 60 {
			shuffle(s, r.IntN)
		}
		for kind := KindLink; kind <= KindBGP; kind++ {
			for _, m := range s.policy.Members {
				s.family = m.Family
				if kind == KindLink {
					s.tell(m.Uplink, kind, Up)
				} else {
					s.tell(m.Uplink, kind, Unknown)
				}
			}
		}
		s.decide()
		s.pass(5 * time.Minute)
		for _, m := range s.policy.Members {
			if v := s.verdicts[m.Way]; v.State != Live || v.Verified {
				t.Fatalf("seed %d: %s is %s, verified %t: %q", seed, m.Way, v.State, v.Verified, v.Reasons)
			}
		}
	}
}

// TestWakeAtIsExact: between now and wakeAt nothing changes by itself, and at
// wakeAt something does.
func TestWakeAtIsExact(t *testing.T) {
	// What a caller acts on. Reasons round times to seconds, penalties decay.
	acts := func(v Verdicts) map[Way]string {
		out := map[Way]string{}
		for w, v := range v {
			out[w] = fmt.Sprint(v.State, v.Role, v.Damped, v.Excused, v.Since, len(v.Reasons))
		}
		return out
	}
	wakes := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := world(t, AllDead(seed%3), 10*time.Second)
		s.links()
		for range 40 {
			shuffle(s, r.IntN)
			if s.wake.IsZero() {
				continue
			}
			wakes++
			before := acts(s.verdicts)
			early, wake := Decide(s.policy, s.verdicts, s.evidence, s.wake.Add(-2*time.Millisecond))
			if left := s.wake.Sub(s.now); left > 2*time.Millisecond {
				if diff := cmp.Diff(before, acts(early)); diff != "" {
					t.Fatalf("seed %d: changes before wakeAt:\n%s", seed, diff)
				}
				if d := wake.Sub(s.wake).Abs(); d > 2*time.Millisecond {
					t.Fatalf("seed %d: wakeAt moved by %s", seed, d)
				}
			}
			then, _ := Decide(s.policy, s.verdicts, s.evidence, s.wake)
			if cmp.Equal(before, acts(then)) {
				t.Fatalf("seed %d: nothing changes at wakeAt, %s from now\n%q", seed, s.wake.Sub(s.now), s.reasons())
			}
		}
	}
	if wakes < 100 {
		t.Errorf("only %d times awaited anything: the test proves little", wakes)
	}
}

// TestDecideIsLevelTriggered: looking once more at the same evidence, at the same
// time, concludes the same.
func TestDecideIsLevelTriggered(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 6))
		s := world(t, AllDead(seed%3), time.Duration(seed%2)*10*time.Second)
		for range 40 {
			shuffle(s, r.IntN)
			again, wake := Decide(s.policy, s.verdicts, s.evidence, s.now)
			if !reflect.DeepEqual(s.verdicts, again) || !wake.Equal(s.wake) {
				t.Fatalf("seed %d: a second look differs, wakeAt %s then %s:\n%s", seed, s.wake, wake,
					cmp.Diff(s.verdicts, again, desiredOptions))
			}
		}
	}
}

// TestPicturesOfRandomDays: whatever the verdicts are, what is drawn is sound, and
// while a way can be used there is a default.
func TestPicturesOfRandomDays(t *testing.T) {
	l := layoutFor("a", "b", "c", "d")
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 9))
		s := world(t, AllDead(seed%3), 10*time.Second)
		l.FailClosed = s.policy.AllDead == FailClosed
		s.links()
		for range 40 {
			shuffle(s, r.IntN)
			facts := factsOf(s)
			d := l.Desired(facts, s.verdicts, nil)
			if complaint := faulty(l, facts, d); complaint != "" {
				t.Fatalf("seed %d: %s\n%s", seed, complaint, draw(d))
			}
			for _, f := range fib.Families {
				active := slices.ContainsFunc(s.policy.Members, func(m Member) bool {
					return m.Family == f && s.verdicts[m.Way].Role == Active && facts[m.Way].Usable
				})
				drawn := slices.ContainsFunc(d.Routes, func(r fib.Route) bool {
					return r.Table == l.BalanceTable && r.Dst == f.Any() && r.Type == fib.RouteUnicast
				})
				if active && !drawn {
					t.Fatalf("seed %d: %s has an active way and no default\n%s", seed, f, draw(d))
				}
			}
		}
	}
}

// FuzzDecide plays a story that the bytes tell. The invariants of wrong are
// checked at every decision.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0})
	f.Add([]byte("all of them up and down again, more than once"))
	f.Add([]byte{2, 1, 0, 0, 2, 5, 4, 1, 1, 7, 4, 2, 1, 8, 6, 3, 2, 11, 7, 2, 0, 11, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 400 {
			return
		}
		next := func(n int) int {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return int(b) % n
		}
		s := world(t, AllDead(next(3)), time.Duration(next(30))*time.Second)
		if next(2) == 0 {
			s.links()
		}
		l := layoutFor("a", "b", "c", "d")
		for len(script) > 0 {
			shuffle(s, next)
			facts := factsOf(s)
			if complaint := faulty(l, facts, l.Desired(facts, s.verdicts, nil)); complaint != "" {
				t.Fatal(complaint)
			}
		}
	})
}
