package uplink

import (
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// TestExcuseNeedsAnInnocentUplink: what else speaks against the uplink, or did
// so during its outage, is not excused with the target.
func TestExcuseNeedsAnInnocentUplink(t *testing.T) {
	tests := []struct {
		name  string
		other func(s *story) // happens to a while its target is dead
	}{
		{"its BFD session went down too", func(s *story) {
			s.tell("a", KindBFD, Down)
			s.decide()
			s.tell("a", KindBFD, Up)
		}},
		{"its carrier went", func(s *story) {
			s.tell("a", KindLink, Down)
			s.decide()
			s.tell("a", KindLink, Up)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory(t, fib.IPv4, "a", "b")
			s.links()
			s.probe("a", Up, target1)
			s.probe("b", Up, target1)
			s.tell("a", KindBFD, Up)
			s.decide()
			s.probe("a", Down, target1)
			s.decide()
			tt.other(s)
			s.decide()
			s.want("a dead standby, b live active")
			s.pass(time.Second)
			s.probe("b", Down, target1)
			s.decide()
			s.want("a held standby, b live active")
			if s.of("a").Penalty < 900 {
				t.Errorf("penalty %f: the outage was forgiven", s.of("a").Penalty)
			}
		})
	}
}

// TestExcuseDoesNotReleaseTheFlapping: an uplink that was held when its target
// died is held when the target is excused.
func TestExcuseDoesNotReleaseTheFlapping(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.links()
	s.probe("a", Up, target1)
	s.probe("b", Up, target1)
	s.decide()
	s.policy.HoldUp = 0
	for range 4 {
		s.tell("a", KindBFD, Down)
		s.decide()
		s.tell("a", KindBFD, Up)
		s.decide()
	}
	s.want("a held standby, b live active")
	s.probe("a", Down, target1)
	s.decide()
	s.want("a dead standby, b live active")
	s.probe("b", Down, target1)
	s.decide()
	s.want("a held standby, b live active")
}

// TestUnusableUplinkIsNoWitness: that a target is dead through an uplink without
// carrier says nothing about the target, neither while the carrier is away nor
// before the probes have seen it return.
func TestUnusableUplinkIsNoWitness(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "a", "b", "c")
		s.links()
		s.probe("a", Up, target1)
		s.probe("b", Up, target1)
		s.probe("c", Up, target2)
		s.decide()
		s.pass(time.Minute)
		s.tell("b", KindLink, Down)
		s.decide()
		s.pass(time.Second)
		s.probe("b", Down, target1)
		s.decide()
		s.pass(5 * time.Second)
		s.probe("a", Down, target1)
		s.decide()
		s.want("a dead standby, b dead none, c live active")
		s.pass(5 * time.Second)
		s.tell("b", KindLink, Up)
		s.decide()
		s.want("a dead standby, b dead standby, c live active")
		// Once b can send and its probes are lost again, it is a witness.
		s.probe("b", Unknown, target1)
		s.decide()
		s.probe("b", Down, target1)
		s.decide()
		s.want("a live active, b dead standby, c live active")
	})
}

// TestExcuseSurvivesTheWitness: nobody has seen the target alive, so it does not
// become a's fault because b no longer says anything of it.
func TestExcuseSurvivesTheWitness(t *testing.T) {
	for _, how := range []string{"unknown", "withdrawn", "carrier", "removed"} {
		t.Run(how, func(t *testing.T) {
			s := newStory(t, fib.IPv4, "a", "b")
			s.policy.AllDead = FailClosed
			s.links()
			s.probe("a", Down, target1)
			s.probe("b", Down, target1)
			s.decide()
			s.want("a live active, b live active")
			s.pass(time.Minute)
			switch how {
			case "unknown":
				s.probe("b", Unknown, target1)
			case "withdrawn":
				s.forget("b", KindICMP)
			case "carrier":
				s.tell("b", KindLink, Down)
			case "removed":
				s.policy.Members = s.policy.Members[:1]
			default:
				t.Fatalf("unhandled case %q", how)
			}
			s.decide()
			s.pass(time.Hour)
			if v := s.of("a"); v.State != Live || v.Role != Active {
				t.Errorf("a is %s %s, want live active: %q", v.State, v.Role, v.Reasons)
			}
		})
	}
}
