package uplink

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// TestDGD_02: detection goes on for whichever uplink is in use. Of three, the
// first dies, then the second: the third carries everything; whatever the order
// in which they come back, the end is the same.
func TestDGD_02(t *testing.T) {
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		for _, tiers := range [][]string{{"a", "b", "c"}, {"a:1", "b:2", "c:3"}} {
			bothFamilies(t, func(t *testing.T, f fib.Family) {
				t.Run(fmt.Sprint(tiers, order), func(t *testing.T) {
					s := newStory(t, f, tiers...)
					s.links()
					s.decide()
					before := roles(s.policy, s.verdicts)
					for _, name := range []string{"a", "b"} {
						s.tell(name, KindBFD, Down)
						s.decide()
						s.pass(time.Minute)
					}
					if s.of("c").Role != Active || s.of("a").Role == Active || s.of("b").Role == Active {
						t.Fatalf("with a and b dead: %s", roles(s.policy, s.verdicts))
					}
					for _, name := range order {
						s.tell(name, KindBFD, Up)
						s.decide()
						s.pass(time.Minute)
					}
					s.want(before)
				})
			})
		}
	}
}

// TestJA_02: of several alternatives, the first whose gateway is alive is used:
// the table of choices among tiers.
func TestJA_02(t *testing.T) {
	tests := []struct {
		dead []string
		want string
	}{
		{nil, "a1 live active, a2 live active, b live standby, c live none"},
		{[]string{"a1"}, "a1 dead none, a2 live active, b live standby, c live none"},
		{[]string{"a1", "a2"}, "a1 dead none, a2 dead none, b live active, c live standby"},
		{[]string{"a1", "a2", "b"}, "a1 dead standby, a2 dead standby, b dead none, c live active"},
		{[]string{"b"}, "a1 live active, a2 live active, b dead none, c live standby"},
		{[]string{"b", "c"}, "a1 live active, a2 live active, b dead standby, c dead none"},
		{[]string{"a1", "b"}, "a1 dead none, a2 live active, b dead none, c live standby"},
		{[]string{"a1", "b", "c"}, "a1 dead standby, a2 live active, b dead none, c dead none"},
	}
	for _, tt := range tests {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(strings.Join(tt.dead, " "), func(t *testing.T) {
				s := newStory(t, f, "a1:1", "a2:1", "b:2", "c:7")
				s.links()
				s.decide()
				for _, name := range tt.dead {
					s.tell(name, KindNeighbour, Down)
				}
				s.decide()
				s.want(tt.want)
			})
		})
	}
}

// TestStandbyDeathChangesNothingElse (law 12).
func TestStandbyDeathChangesNothingElse(t *testing.T) {
	for _, kind := range []Kind{KindLink, KindBFD} {
		t.Run(kind.String(), func(t *testing.T) {
			s := newStory(t, fib.IPv4, "a:1", "b:1", "c:2")
			s.links()
			s.decide()
			before := s.verdicts
			s.now = s.now.Add(time.Second)
			s.tell("c", kind, Down)
			s.decide()
			for _, name := range []string{"a", "b"} {
				w := Way{name, fib.IPv4}
				want := before[w]
				want.PenaltyAt = s.now
				if diff := cmp.Diff(want, s.verdicts[w]); diff != "" {
					t.Errorf("%s (-before +after):\n%s", name, diff)
				}
			}
		})
	}
}

// TestFamiliesAreApart: what happens to one family of an uplink changes nothing
// in the other.
func TestFamiliesAreApart(t *testing.T) {
	for _, f := range fib.Families {
		s := newStory(t, f, "a", "b")
		other := newStory(t, fib.IPv4+fib.IPv6-f, "a", "b")
		s.policy.Members = append(s.policy.Members, other.policy.Members...)
		for _, m := range s.policy.Members {
			src := Source{m.Way, KindLink}
			s.evidence[src] = Evidence{Source: src, Opinion: Up}
		}
		s.decide()
		s.tell("a", KindICMP, Down)
		s.decide()
		s.want("a dead standby, b live active, a live active, b live active")
	}
}

// TestHeldBeatsSoftDead: the evidence about a held way is good, that about the
// one in use is not, so the held one takes over without waiting.
func TestHeldBeatsSoftDead(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "a", "b")
		s.links()
		s.decide()
		s.tell("b", KindBFD, Down)
		s.decide()
		s.tell("b", KindBFD, Up)
		s.decide()
		s.want("a live active, b held standby")
		s.tell("a", KindBFD, Down)
		s.decide()
		s.want("a dead standby, b held active")
		if got, want := s.of("b").Reasons[0], reasonKept; got != want {
			t.Errorf("first reason %q, want %q", got, want)
		}
	})
}

// TestHeldOfWorseTierYieldsToLive: a held way does not stay beside a live one of
// a better tier, nor a live one of a worse tier behind it.
func TestHeldOfWorseTierYieldsToLive(t *testing.T) {
	s := newStory(t, fib.IPv4, "a:1", "b:2")
	s.links()
	s.decide()
	s.tell("a", KindBFD, Down)
	s.decide()
	s.tell("a", KindBFD, Up)
	s.decide()
	s.want("a held standby, b live active") // Live before held, whatever the tier.
	s.tell("b", KindBFD, Down)
	s.decide()
	s.want("a held active, b dead standby")
	s.tell("b", KindBFD, Up)
	s.decide()
	s.want("a held active, b held standby")
	s.pass(s.policy.HoldUp)
	s.want("a live active, b live standby")
}

// TestDoubleOutage: both die and both come back, one a little later. The first
// serves at once, because nothing is better; the second waits like anybody else.
func TestDoubleOutage(t *testing.T) {
	for _, tiers := range [][]string{{"a:1", "b:1"}, {"a:2", "b:1"}} {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(fmt.Sprint(tiers), func(t *testing.T) {
				s := newStory(t, f, tiers...)
				s.policy.AllDead = KeepAll
				s.links()
				s.decide()
				s.tell("a", KindBFD, Down)
				s.tell("b", KindBFD, Down)
				s.decide()
				s.want("a dead active, b dead active")
				s.pass(time.Minute)
				s.tell("a", KindBFD, Up)
				s.decide()
				s.want("a held active, b dead standby")
				s.pass(3 * time.Second)
				s.tell("b", KindBFD, Up)
				s.decide()
				s.want("a held active, b held standby")
				s.pass(7 * time.Second)
				s.want("a live active, b held standby")
				s.pass(3 * time.Second)
				if tiers[0] == "a:2" {
					s.want("a live standby, b live active")
					return
				}
				s.want("a live active, b live active")
				if diff := cmp.Diff(map[string]int{"a": 1, "b": 3}, s.changes); diff != "" {
					t.Errorf("changes of role (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestServesBesideALiveOne: a way that serves while it waits does not lose its
// traffic when another one of its tier is found to be live; it does to a better
// tier.
func TestServesBesideALiveOne(t *testing.T) {
	for tiers, want := range map[[2]string]string{
		{"a:1", "b:1"}: "a live active, b held active",
		{"a:1", "b:2"}: "a live active, b held standby",
		{"a:2", "b:1"}: "a live active, b held standby", // Live before held, whatever the tier.
	} {
		t.Run(fmt.Sprint(tiers), func(t *testing.T) {
			s := newStory(t, fib.IPv6, tiers[:]...)
			s.tell("b", KindLink, Up)
			s.decide()
			s.tell("b", KindBFD, Down)
			s.decide()
			s.tell("b", KindBFD, Up)
			s.decide()
			s.want("a unknown none, b held active")
			s.tell("a", KindLink, Up)
			s.decide()
			s.want(want)
			if b := s.of("b"); b.Role == Active && b.Reasons[0] != reasonServes {
				t.Errorf("first reason %q, want %q", b.Reasons[0], reasonServes)
			}
		})
	}
}

// TestFlappingWayDoesNotServe: a way that is held for flapping gives its traffic
// up as soon as something better is there.
func TestFlappingWayDoesNotServe(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.policy.HoldUp = time.Second
	s.links()
	s.decide()
	s.tell("a", KindBFD, Down)
	s.decide()
	for range 5 {
		s.tell("b", KindBFD, Down)
		s.decide()
		s.tell("b", KindBFD, Up)
		s.decide()
		s.pass(time.Second)
	}
	s.want("a dead standby, b held active")
	s.tell("a", KindBFD, Up)
	s.decide()
	s.want("a held active, b held active")
	s.pass(time.Second)
	s.want("a live active, b held standby")
}

// TestNotLookedAtCounts: a way that was found in use at the start and has not
// been looked at yet keeps its role, and the others do not act as if it were
// gone.
func TestNotLookedAtCounts(t *testing.T) {
	s := newStory(t, fib.IPv4, "a:1", "b:2")
	a, b := Way{"a", fib.IPv4}, Way{"b", fib.IPv4}
	s.verdicts = Verdicts{
		a: {State: Live, Role: Active, Since: start, Reasons: []string{"found"}},
		b: {State: Live, Role: Standby, Since: start, Reasons: []string{"found"}},
	}
	s.tell("b", KindLink, Up)
	s.decide()
	s.want("a live active, b live standby")
	s.tell("b", KindBFD, Down)
	s.decide()
	s.want("a live active, b dead standby")
	s.tell("a", KindLink, Up)
	s.decide()
	s.want("a live active, b dead standby")
	if diff := cmp.Diff([]string{unverified}, s.of("a").Reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

// TestNewMember: an uplink that joins by a reload joins without touching those
// that are there, and one that leaves takes its verdict with it.
func TestNewMember(t *testing.T) {
	s := newStory(t, fib.IPv6, "a", "b")
	s.links()
	s.decide()
	s.policy.Members = newStory(t, fib.IPv6, "b", "new").policy.Members
	s.decide()
	s.want("b live active, new unknown none")
	if _, ok := s.verdicts[Way{"a", fib.IPv6}]; ok {
		t.Error("the verdict of a removed uplink stays")
	}
	s.links()
	s.decide()
	s.want("b live active, new live active")
}

// TestJA_01: the configured intent survives every event of the link. Whatever
// goes and comes back, in whatever order, the end is the picture of the
// beginning.
func TestJA_01(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "a", "b", "c:2")
		l := layoutFor("a", "b", "c")
		s.links()
		s.decide()
		begin := l.Desired(factsOf(s), s.verdicts, nil)
		for _, kind := range []Kind{KindLink, KindAddress, KindGateway} {
			for _, names := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"b", "a", "c"}} {
				for _, n := range names {
					s.tell(n, kind, Down)
					s.decide()
				}
				s.pass(time.Hour)
				if diff := cmp.Diff(begin, l.Desired(factsOf(s), s.verdicts, nil), desiredOptions); diff == "" {
					t.Errorf("%s down of %v changes nothing", kind, names)
				}
				for _, n := range names {
					s.tell(n, kind, Up)
					s.decide()
				}
				s.pass(time.Hour)
				if diff := cmp.Diff(begin, l.Desired(factsOf(s), s.verdicts, nil), desiredOptions); diff != "" {
					t.Fatalf("after %s of %v (-begin +end):\n%s", kind, names, diff)
				}
			}
		}
	})
}

// TestDGD_14: when the current default fails, another one is there in the same
// pass, for existing and new flows: the one group of the family changes, and no
// route does. (The row speaks of the main table too; this design leaves the
// default of main alone, because the rules never come to it.)
func TestDGD_14(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "a", "b")
		l := layoutFor("a", "b")
		s.links()
		s.decide()
		before := l.Desired(factsOf(s), s.verdicts, nil)
		s.tell("a", KindICMP, Down)
		s.decide()
		after := l.Desired(factsOf(s), s.verdicts, nil)
		want := before
		want.Groups = slices.Clone(before.Groups)
		want.Groups[0].Members = []fib.Member{
			{NextHop: l.hopID(0, f), Weight: 1, Standby: true},
			{NextHop: l.hopID(1, f), Weight: 1},
		}
		if diff := cmp.Diff(want, after, desiredOptions); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
