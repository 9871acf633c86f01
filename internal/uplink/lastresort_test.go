package uplink

import (
	"fmt"
	"slices"
	"testing"

	"github.com/multihomed/multihomed/fib"
)

// TestDGD_20: when every uplink is bad on soft evidence, what follows is what the
// configuration says, never what was left by accident. (The row has withdraw
// replace the group by a blackhole; here the group goes and a prohibit behind it
// answers: see TestFailClosedHasAGuard.)
func TestDGD_20(t *testing.T) {
	tests := []struct {
		mode      AllDead
		oneByOne  string // a dies, then b, then c
		together  string // all die in one decision
		returned  string // then b recovers
		afterHold string // and is live
	}{
		{
			KeepLast,
			"a dead standby, b dead active, c dead none", // c is of a higher tier and was never in use
			"a dead active, b dead active, c dead standby",
			"a dead standby, b held active, c dead none",
			"a dead standby, b live active, c dead none",
		}, {
			KeepAll,
			"a dead active, b dead active, c dead active",
			"a dead active, b dead active, c dead active",
			"a dead standby, b held active, c dead none",
			"a dead standby, b live active, c dead none",
		}, {
			FailClosed,
			"a dead none, b dead none, c dead none",
			"a dead none, b dead none, c dead none",
			"a dead standby, b held active, c dead none",
			"a dead standby, b live active, c dead none",
		},
	}
	for _, tt := range tests {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(fmt.Sprint(tt.mode), func(t *testing.T) {
				s := newStory(t, f, "a", "b", "c:2")
				s.policy.AllDead = tt.mode
				s.links()
				s.decide()
				s.tell("a", KindBFD, Down)
				s.decide()
				s.want("a dead none, b live active, c live standby")
				// c dies first among the two, so that b is the last in use.
				s.tell("c", KindBFD, Down)
				s.decide()
				s.want("a dead standby, b live active, c dead none")
				s.tell("b", KindBFD, Down)
				s.decide()
				s.want(tt.oneByOne)
				s.tell("b", KindBFD, Up)
				s.decide()
				s.want(tt.returned)
				s.pass(s.policy.HoldUp)
				s.want(tt.afterHold)

				s = newStory(t, f, "a", "b", "c:2")
				s.policy.AllDead = tt.mode
				s.links()
				s.decide()
				for _, name := range []string{"a", "b", "c"} {
					s.tell(name, KindBFD, Down)
				}
				s.decide()
				s.want(tt.together)
				want := reasonKept
				if tt.mode == FailClosed {
					want = reasonClosed
				}
				if got := s.of("a").Reasons[0]; got != want {
					t.Errorf("first reason %q, want %q", got, want)
				}
			})
		})
	}
}

// TestHardDeathOfTheLastWay: what the kernel cannot use is not kept in any mode.
func TestHardDeathOfTheLastWay(t *testing.T) {
	for _, mode := range []AllDead{KeepLast, KeepAll, FailClosed} {
		for _, kind := range []Kind{KindLink, KindAddress, KindGateway} {
			t.Run(fmt.Sprint(mode, kind), func(t *testing.T) {
				s := newStory(t, fib.IPv6, "a", "b")
				s.policy.AllDead = mode
				s.links()
				s.decide()
				s.tell("a", kind, Down)
				s.tell("b", kind, Down)
				s.decide()
				s.want("a dead none, b dead none")
				if got, want := s.of("a").Reasons, []string{kind.String() + ": told down"}; !slices.Equal(got, want) {
					t.Errorf("reasons %q, want %q", got, want)
				}
				// The link of one comes back: it is taken at once, whatever may be
				// awaited, because nothing is better.
				s.tell("b", kind, Up)
				s.decide()
				s.want("a dead none, b held active")
			})
		}
	}
}

// TestSoftDeadBeatsHardDead: if the last way in use loses its carrier, a way that
// soft evidence calls dead is the best guess left.
func TestSoftDeadBeatsHardDead(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b", "c:2")
	s.links()
	s.decide()
	for _, name := range []string{"b", "c"} {
		s.tell(name, KindICMP, Down)
	}
	s.decide()
	s.want("a live active, b dead standby, c dead none")
	s.tell("a", KindLink, Down)
	s.decide()
	s.want("a dead none, b dead active, c dead standby")
	// And it is not taken back on mere suspicion when a returns, equally bad.
	s.tell("a", KindLink, Up)
	s.tell("a", KindICMP, Down)
	s.decide()
	s.want("a dead standby, b dead active, c dead none")
}
