package uplink

import (
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// TestFirstStart: a way of which a session was not heard yet had no outage when it
// comes up; one that served had. What the host itself says does not count as not
// heard.
func TestFirstStart(t *testing.T) {
	for _, kind := range []Kind{KindNeighbour, KindICMP, KindBFD, KindBGP} {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(kind.String(), func(t *testing.T) {
				s := newStory(t, f, "a", "b")
				s.links()
				s.tell("a", kind, Down)
				s.decide()
				s.want("a dead standby, b live active")
				s.pass(time.Minute)
				s.tell("a", kind, Up)
				s.decide()
				s.want("a live active, b live active")
				if v := s.of("a"); v.Penalty != 0 || v.Untried || !v.Since.Equal(s.now) || !s.wake.IsZero() {
					t.Errorf("it came up as %+v, to be looked at again at %s", v, s.wake)
				}
				s.pass(time.Second)
				s.tell("a", kind, Down)
				s.pass(time.Second)
				s.tell("a", kind, Up)
				s.decide()
				s.want("a held standby, b live active")
				if s.of("a").Penalty == 0 {
					t.Error("the outage cost nothing")
				}
			})
		})
	}
	for _, kind := range []Kind{KindLink, KindAddress, KindGateway} {
		t.Run(kind.String(), func(t *testing.T) {
			s := newStory(t, fib.IPv4, "a", "b")
			s.links()
			s.tell("a", kind, Down)
			s.tell("a", KindBGP, Down)
			s.pass(time.Second)
			s.tell("a", kind, Up)
			s.pass(time.Second)
			s.want("a dead standby, b live active")
			s.tell("a", KindBGP, Up)
			s.decide()
			s.want("a held standby, b live active")
		})
	}
	t.Run("nobody vouched for it for a long time", func(t *testing.T) {
		s := newStory(t, fib.IPv6, "a", "b")
		s.links()
		s.tell("a", KindBGP, Down)
		s.pass(time.Second)
		s.tell("a", KindBGP, Unknown)
		s.pass(patience + time.Second)
		s.want("a held standby, b live active")
		s.tell("a", KindBGP, Up)
		s.decide()
		s.want("a live active, b live active")
	})
	t.Run("drained before it ever came up", func(t *testing.T) {
		s := newStory(t, fib.IPv4, "a", "b")
		s.links()
		s.drain("a", true)
		s.tell("a", KindBGP, Down)
		s.pass(time.Second)
		s.tell("a", KindBGP, Up)
		s.decide()
		s.want("a held draining, b live active")
		s.drain("a", false)
		s.decide()
		s.want("a live active, b live active")
	})
}

// TestBGPWords: what a session says stands in the reasons behind the name of its
// source, as other evidence does, and last among it.
func TestBGPWords(t *testing.T) {
	w := Way{"a", fib.IPv4}
	evidence := func(kind Kind, o Opinion, words string) Snapshot {
		return Snapshot{
			Source{w, KindLink}: {Source: Source{w, KindLink}, Opinion: Up},
			Source{w, KindBFD}:  {Source: Source{w, KindBFD}, Opinion: o, Reason: "the other"},
			Source{w, kind}:     {Source: Source{w, kind}, Opinion: o, Reason: words},
		}
	}
	p := newStory(t, fib.IPv4, "a").policy
	for o, want := range map[Opinion]string{
		Up:      "bfd: the other; bgp: established, 2 prefixes accepted",
		Down:    reasonKept + "; bfd: the other; bgp: established, 2 prefixes accepted",
		Unknown: unverified + "; bfd: the other; bgp: established, 2 prefixes accepted",
	} {
		v, _ := Decide(p, nil, evidence(KindBGP, o, "established, 2 prefixes accepted"), start)
		if got := v[w].Why(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", o, got, want)
		}
	}
}
