package uplink

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

const drainWords = "drained by the operator"

// drain drains name, or ends that, in every family of the story.
func (s *story) drain(name string, drained bool) {
	for i := range s.policy.Members {
		if m := &s.policy.Members[i]; m.Uplink == name {
			m.Drain = ""
			if drained {
				m.Drain = drainWords
			}
		}
	}
}

// at is one moment of a story of drains.
type at struct {
	do   func(s *story)
	want string
}

// TestDrain plays drains against outages, with a hold of 10 s after an outage.
func TestDrain(t *testing.T) {
	drain := func(name string) func(*story) { return func(s *story) { s.drain(name, true) } }
	undrain := func(name string) func(*story) { return func(s *story) { s.drain(name, false) } }
	down := func(name string) func(*story) { return func(s *story) { s.tell(name, KindBFD, Down) } }
	up := func(name string) func(*story) { return func(s *story) { s.tell(name, KindBFD, Up) } }
	cut := func(name string) func(*story) { return func(s *story) { s.tell(name, KindLink, Down) } }
	wait := func(d time.Duration) func(*story) { return func(s *story) { s.pass(d) } }
	tests := []struct {
		name  string
		ways  []string
		story []at
	}{
		{"there and back", []string{"a", "b"}, []at{
			{drain("a"), "a held draining, b live active"},
			{wait(time.Hour), "a held draining, b live active"},
			{undrain("a"), "a live active, b live active"},
		}},
		{"a better tier, too", []string{"a:1", "b:2"}, []at{
			{drain("a"), "a held draining, b live active"},
			{undrain("a"), "a live active, b live standby"},
		}},
		{"one that stands by", []string{"a:1", "b:2", "c:3"}, []at{
			{drain("b"), "a live active, b held draining, c live standby"},
			{cut("a"), "a dead none, b held draining, c live active"},
			{undrain("b"), "a dead none, b live active, c live standby"},
		}},
		{"the last usable one stays in use", []string{"a", "b"}, []at{
			{drain("a"), "a held draining, b live active"},
			{down("b"), "a held active, b dead standby"},
			{cut("b"), "a held active, b dead none"},
			{undrain("a"), "a live active, b dead none"},
		}},
		{"a single one, from the start", []string{"a"}, []at{
			{drain("a"), "a held active"},
			{undrain("a"), "a live active"},
		}},
		{"it gives its traffic away when the other one is trusted again, not before", []string{"a", "b"}, []at{
			{down("b"), "a live active, b dead standby"},
			{drain("a"), "a held active, b dead standby"},
			{up("b"), "a held active, b held standby"},
			{wait(9 * time.Second), "a held active, b held standby"},
			{wait(time.Second), "a held draining, b live active"},
		}},
		{"to one that serves while it waits, at once", []string{"a", "b"}, []at{
			{down("a"), "a dead standby, b live active"},
			{down("b"), "a dead standby, b dead active"},
			{up("b"), "a dead standby, b held active"},
			{drain("a"), "a dead standby, b held active"},
			{up("a"), "a held draining, b held active"},
		}},
		{"one that serves while it waits itself gives nothing to one that only waits", []string{"a", "b"}, []at{
			{down("a"), "a dead standby, b live active"},
			{down("b"), "a dead standby, b dead active"},
			{up("b"), "a dead standby, b held active"},
			{func(s *story) { s.pass(3 * time.Second); up("a")(s) }, "a held standby, b held active"},
			{drain("b"), "a held standby, b held active"},
			{wait(7 * time.Second), "a held standby, b held active"},
			{wait(3 * time.Second), "a live active, b held draining"},
		}},
		{"of those that wait, one that is not drained, whatever its tier", []string{"a", "b:2", "c:3"}, []at{
			{func(s *story) { down("a")(s); down("b")(s) }, "a dead standby, b dead none, c live active"},
			{func(s *story) { up("a")(s); up("b")(s) }, "a held standby, b held none, c live active"},
			{drain("a"), "a held draining, b held standby, c live active"},
			{cut("c"), "a held draining, b held active, c dead none"},
		}},
		{"all of them: the best tier stays in use", []string{"a:1", "b:1", "c:2"}, []at{
			{drain("a"), "a held draining, b live active, c live standby"},
			{drain("b"), "a held draining, b held draining, c live active"},
			{drain("c"), "a held active, b held active, c held standby"},
			{undrain("c"), "a held draining, b held draining, c live active"},
		}},
		{"a drained one dies: no role, as ever", []string{"a", "b", "c:2"}, []at{
			{drain("a"), "a held draining, b live active, c live standby"},
			{down("a"), "a dead none, b live active, c live standby"},
			{cut("a"), "a dead none, b live active, c live standby"},
		}},
		{"an outage while it is drained is waited for, drained or not", []string{"a", "b"}, []at{
			{drain("a"), "a held draining, b live active"},
			{down("a"), "a dead standby, b live active"},
			{up("a"), "a held draining, b live active"},
			{wait(4 * time.Second), "a held draining, b live active"},
			{undrain("a"), "a held standby, b live active"},
			{wait(6 * time.Second), "a live active, b live active"},
		}},
		{"an outage before the drain ends runs out beside it", []string{"a", "b"}, []at{
			{down("a"), "a dead standby, b live active"},
			{up("a"), "a held standby, b live active"},
			{drain("a"), "a held draining, b live active"},
			{wait(10 * time.Second), "a held draining, b live active"},
			{undrain("a"), "a live active, b live active"},
		}},
		{"all die: those that carried the traffic last go on", []string{"a", "b"}, []at{
			{drain("a"), "a held draining, b live active"},
			{func(s *story) { down("a")(s); down("b")(s) }, "a dead standby, b dead active"},
			{up("a"), "a held active, b dead standby"},
		}},
	}
	for _, tt := range tests {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(tt.name, func(t *testing.T) {
				s := newStory(t, f, tt.ways...)
				s.links()
				s.decide()
				for n, moment := range tt.story {
					moment.do(s)
					s.decide()
					if got := roles(s.policy, s.verdicts); got != moment.want {
						t.Fatalf("moment %d\n got %s\nwant %s\nreasons %q", n, got, moment.want, s.reasons())
					}
				}
			})
		})
	}
}

// TestDrainCostsNothing: however often a way is drained and taken back, and
// whatever the work on it does to it meanwhile, it has no penalty.
func TestDrainCostsNothing(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.links()
	s.decide()
	for range 10 {
		s.drain("a", true)
		s.pass(time.Second)
		for range 5 {
			s.tell("a", KindBGP, Down)
			s.pass(time.Second)
			s.tell("a", KindBGP, Up)
			s.pass(s.policy.HoldUp)
		}
		s.drain("a", false)
		s.pass(time.Second)
		s.want("a live active, b live active")
		if v := s.of("a"); v.Penalty != 0 || v.Damped || v.Drained || !v.Since.Equal(s.now.Add(-time.Second)) {
			t.Fatalf("after the drain: %+v", v)
		}
	}
	// And one that is held for flapping is not freed by a drain.
	for range 5 {
		s.tell("a", KindBGP, Down)
		s.pass(time.Second)
		s.tell("a", KindBGP, Up)
		s.pass(s.policy.HoldUp)
	}
	s.want("a held standby, b live active")
	s.drain("a", true)
	s.decide()
	s.drain("a", false)
	s.decide()
	s.want("a held standby, b live active")
	if !s.of("a").Damped {
		t.Error("a is no longer held for flapping")
	}
}

// TestDrainWords: who drains is said first, then what else is known.
func TestDrainWords(t *testing.T) {
	s := newStory(t, fib.IPv6, "a", "b")
	s.links()
	s.tell("a", KindBGP, Up)
	s.tell("b", KindBGP, Up)
	s.drain("a", true)
	check := func(want ...string) {
		t.Helper()
		s.decide()
		if diff := cmp.Diff(want, s.of("a").Reasons); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	check(drainWords, "bgp: told up")
	s.tell("b", KindBGP, Down)
	check(reasonKept, drainWords, "bgp: told up")
	s.tell("b", KindBGP, Up)
	s.pass(s.policy.HoldUp)
	s.tell("a", KindBGP, Down)
	check("bgp: told down", drainWords)
	s.tell("a", KindBGP, Up)
	check(drainWords, "good since 03:00:10 UTC, held until 03:00:20 UTC", "bgp: told up")
	s.drain("a", false)
	check("good since 03:00:10 UTC, held until 03:00:20 UTC", "bgp: told up")
}

// TestRestartWhileDrained: a restart finds a drained way in the group. It goes on
// draining, even before anybody has looked, its tier does not make the way that
// took over look out of place, and it is live when the drain ends.
func TestRestartWhileDrained(t *testing.T) {
	for _, ways := range [][]string{{"a", "b", "c"}, {"a:1", "b:2", "c:2"}} {
		for kernel, c := range kernels {
			bothFamilies(t, func(t *testing.T, f fib.Family) {
				t.Run(fmt.Sprint(ways, " on ", kernel), func(t *testing.T) {
					s := newStory(t, f, ways...)
					l := layoutFor("a", "b", "c")
					s.links()
					s.tell("c", KindBFD, Down)
					s.decide()
					s.drain("a", true)
					s.decide()
					before := roles(s.policy, s.verdicts)
					k := install(t, c, l, l.Desired(factsOf(s), s.verdicts, nil))
					evidence := s.evidence
					s.verdicts, s.evidence = l.Adopt(s.policy, list(t, k, l), factsOf(s), s.now), Snapshot{}
					if kernel == "resilient groups" && s.of("a").Role != Draining {
						t.Errorf("a is found %s", s.of("a").Role)
					}
					if s.of("b").Role != Active || s.of("c").State != Dead {
						t.Errorf("found %s", roles(s.policy, s.verdicts))
					}
					s.decide() // Nobody has looked.
					s.evidence = evidence
					s.decide()
					s.want(before)
					s.pass(s.policy.HoldUp) // What plain groups leave out was found out of use.
					s.drain("a", false)
					s.decide()
					if a := s.of("a"); a.State != Live || a.Role != Active || a.Penalty != 0 {
						t.Errorf("after the drain a is %+v", a)
					}
				})
			})
		}
	}
}

// TestRestartWithTheLastOneDrained: the drained way alone carried the traffic.
func TestRestartWithTheLastOneDrained(t *testing.T) {
	s := newStory(t, fib.IPv4, "a:1", "b:2")
	l := layoutFor("a", "b")
	s.links()
	s.tell("b", KindBFD, Down)
	s.drain("a", true)
	s.decide()
	s.want("a held active, b dead standby")
	k := install(t, kernels["resilient groups"], l, l.Desired(factsOf(s), s.verdicts, nil))
	s.verdicts = l.Adopt(s.policy, list(t, k, l), factsOf(s), s.now)
	s.want("a live active, b unknown none")
	s.decide()
	s.want("a held active, b dead standby")
}
