package uplink

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// drainSome now and then drains a way or ends that.
func (s *story) drainSome(r *rand.Rand) {
	if r.IntN(4) == 0 {
		m := &s.policy.Members[r.IntN(len(s.policy.Members))]
		if m.Drain == "" {
			m.Drain = drainWords
		} else {
			m.Drain = ""
		}
	}
}

// TestDrainsOfRandomDays: no way that drains carries traffic while a live one is
// there, none is without a role because it drains, a second look concludes the
// same, and in the end all is as if nobody had drained anything.
func TestDrainsOfRandomDays(t *testing.T) {
	const good = "a live active, b live active, c live standby, d live none, a live active, b live standby, c live standby, d live active"
	kept, draining := 0, 0
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 43))
		s := world(t, AllDead(seed%3), time.Duration(seed%2)*10*time.Second)
		s.links()
		for range 60 {
			s.drainSome(r)
			shuffle(s, r.IntN)
			if again, wake := Decide(s.policy, s.verdicts, s.evidence, s.now); !reflect.DeepEqual(s.verdicts, again) || !wake.Equal(s.wake) {
				t.Fatalf("seed %d: a second look differs:\n%s", seed, cmp.Diff(s.verdicts, again, desiredOptions))
			}
			if complaint := s.misdrained(); complaint != "" {
				t.Fatalf("seed %d: %s\n%s\n%q", seed, complaint, roles(s.policy, s.verdicts), s.reasons())
			}
			for _, m := range s.policy.Members {
				switch v := s.verdicts[m.Way]; {
				case v.Role == Draining:
					draining++
				case m.Drain != "" && v.Role == Active && v.State == Held:
					kept++
				}
			}
		}
		for kind := KindLink; kind <= KindBGP; kind++ {
			for i := range s.policy.Members {
				m := &s.policy.Members[i]
				m.Drain, s.family = "", m.Family
				s.tell(m.Uplink, kind, Up)
				s.probe(m.Uplink, Up, target1, target2, target3)
			}
		}
		s.decide()
		s.pass(4*time.Minute + time.Second)
		if got := roles(s.policy, s.verdicts); got != good || !s.wake.IsZero() {
			t.Fatalf("seed %d ends in\n     %s\nwant %s\n%q", seed, got, good, s.reasons())
		}
	}
	if kept < 100 || draining < 1000 {
		t.Errorf("a drained way was kept in use %d times and drained %d times: the test proves little", kept, draining)
	}
}

// misdrained returns what is wrong with the roles of drained ways, or "".
func (s *story) misdrained() string {
	for _, f := range fib.Families {
		fit := slices.ContainsFunc(s.policy.Members, func(m Member) bool {
			v := s.verdicts[m.Way]
			return m.Family == f && m.Drain == "" && v.Role == Active && (v.State == Live || v.State == Held)
		})
		live := slices.ContainsFunc(s.policy.Members, func(m Member) bool {
			return m.Family == f && m.Drain == "" && s.verdicts[m.Way].State == Live && s.known(m.Way)
		})
		for _, m := range s.policy.Members {
			v := s.verdicts[m.Way]
			if m.Family != f || !s.known(m.Way) {
				continue
			}
			switch {
			case m.Drain == "" && (v.Role == Draining || v.Drained):
				return m.Way.String() + " drains by nobody's word"
			case m.Drain == "":
			case v.State == Live:
				return m.Way.String() + " is live though it is drained"
			case v.Role == Active && live:
				return m.Way.String() + " carries traffic though it is drained and a live way is there"
			case v.Role == Draining && v.State != Held:
				return m.Way.String() + " drains though it is " + v.State.String()
			case v.State == Held && fit && v.Role != Draining:
				return m.Way.String() + " could drain and is " + v.Role.String()
			case !strings.Contains(v.Why(), drainWords):
				return m.Way.String() + " does not say that it is drained"
			}
		}
	}
	return ""
}

// known reports whether the link of w has been looked at.
func (s *story) known(w Way) bool { return s.evidence[Source{w, KindLink}].Opinion != Unknown }
