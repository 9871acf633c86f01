package uplink

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// TestDGD_06: advice from below and above is accepted, positive and negative, by
// one interface with three values (RFC 1122 section 3.3.1.4).
func TestDGD_06(t *testing.T) {
	for kind := KindLink; kind <= KindBGP; kind++ {
		t.Run(kind.String(), func(t *testing.T) {
			states := map[Opinion]State{}
			verified := map[Opinion]bool{}
			for _, o := range []Opinion{Unknown, Up, Down} {
				s := newStory(t, fib.IPv4, "a")
				s.links()
				s.tell("a", kind, o)
				s.decide()
				states[o], verified[o] = s.of("a").State, s.of("a").Verified
			}
			want := map[Opinion]State{Unknown: Live, Up: Live, Down: Dead}
			if kind == KindLink {
				want[Unknown] = StateUnknown // Not looked at yet: no conclusion at all.
			}
			if diff := cmp.Diff(want, states); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			wantVerified := map[Opinion]bool{Unknown: false, Up: !kind.Hard(), Down: false}
			if diff := cmp.Diff(wantVerified, verified); diff != "" {
				t.Errorf("verified (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDGD_07: a probe source that has no target yet has no opinion, and holds
// the way neither down nor up.
func TestDGD_07(t *testing.T) {
	s := newStory(t, fib.IPv6, "a", "b")
	s.links()
	s.tell("a", KindICMP, Unknown)
	s.decide()
	s.want("a live active, b live active")
	if s.of("a").Verified {
		t.Error("a source without a target verifies the way")
	}
	s.tell("a", KindNeighbour, Down)
	s.decide()
	s.want("a dead standby, b live active")
}

// TestDGD_19: any single source acts at once, without waiting for the others,
// though all of them still say up.
func TestDGD_19(t *testing.T) {
	for kind := KindLink; kind <= KindBGP; kind++ {
		t.Run(kind.String(), func(t *testing.T) {
			s := newStory(t, fib.IPv4, "a", "b")
			for other := KindLink; other <= KindBGP; other++ {
				s.tell("a", other, Up)
				s.tell("b", other, Up)
			}
			s.decide()
			s.pass(time.Second)
			s.tell("a", kind, Down)
			s.decide()
			if v := s.of("a"); v.State != Dead || v.Role == Active || !v.Since.Equal(s.now) {
				t.Errorf("%s %s since %s, want dead, not active, since %s", v.State, v.Role, v.Since, s.now)
			}
		})
	}
}

// TestDGD_15: while the backup is active, the better tier goes on being judged
// at the same rate, and takes over again by itself. (The row allows very slow
// checks; here the probes go on as before, because they do not use the decision
// that they feed.)
func TestDGD_15(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "fibre:1", "lte:2")
		s.links()
		s.probe("fibre", Up, target1)
		s.decide()
		s.want("fibre live active, lte live standby")
		s.probe("fibre", Down, target1)
		s.decide()
		s.want("fibre dead standby, lte live active")
		s.pass(time.Hour)
		s.probe("fibre", Up, target1)
		s.decide()
		s.want("fibre held standby, lte live active")
		s.pass(s.policy.HoldUp)
		s.want("fibre live active, lte live standby")
	})
}

// TestNUD_08_16 documents how Verified is used: it is told, and ranks nothing.
// The rows would have verified ways before unverified ones of equal rank; here
// the ways of a tier share the load, and one whose probes cannot be answered (or
// that has none configured) would never carry any. What RFC 7048 calls
// UNREACHABLE is Down by the neighbour source, and loses to every way that is
// not dead.
func TestNUD_08_16(t *testing.T) {
	s := newStory(t, fib.IPv6, "reachable", "stale", "unreachable")
	s.links()
	s.tell("reachable", KindNeighbour, Up)
	s.tell("stale", KindNeighbour, Unknown)
	s.tell("unreachable", KindNeighbour, Down)
	s.decide()
	s.want("reachable live active, stale live active, unreachable dead standby")
	for name, want := range map[string]bool{"reachable": true, "stale": false, "unreachable": false} {
		if got := s.of(name).Verified; got != want {
			t.Errorf("%s: verified is %t, want %t", name, got, want)
		}
	}
}

// TestWords: the words that logs, status and metrics share.
func TestWords(t *testing.T) {
	var got []string
	for k := KindUnknown; k <= KindBGP; k++ {
		got = append(got, k.String())
		if want := k == KindLink || k == KindAddress || k == KindGateway || k == KindNeighbour; k.Local() != want {
			t.Errorf("%s: local is %t, want %t", k, k.Local(), want)
		}
	}
	for _, o := range []Opinion{Unknown, Up, Down} {
		got = append(got, o.String())
	}
	for _, s := range []State{StateUnknown, Live, Held, Dead} {
		got = append(got, s.String())
	}
	for _, r := range []Role{RoleNone, Active, Standby} {
		got = append(got, r.String())
	}
	got = append(got, Way{"isp", fib.IPv6}.String(), Verdict{Reasons: []string{"a", "b"}}.Why())
	want := []string{
		"unknown", "link", "address", "gateway", "kernel", "neighbour", "icmp", "bfd", "bgp",
		"unknown", "up", "down", "unknown", "live", "held", "dead", "none", "active", "standby", "isp/ipv6", "a; b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEnumsPanic: a number that no constant names is a mistake in the program.
func TestEnumsPanic(t *testing.T) {
	for name, call := range map[string]func(){
		"kind":     func() { _ = Kind(99).String() },
		"hard":     func() { _ = Kind(99).Hard() },
		"opinion":  func() { _ = Opinion(99).String() },
		"state":    func() { _ = State(99).String() },
		"role":     func() { _ = Role(99).String() },
		"all dead": func() { Policy{AllDead: 99}.lastResort(nil) },
		"evidence": func() { Decide(newStory(t, fib.IPv4, "a").policy, nil, outlandish(), start) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			call()
		})
	}
}

func outlandish() Snapshot {
	link := Source{Way{"a", fib.IPv4}, KindLink}
	bfd := Source{Way{"a", fib.IPv4}, KindBFD}
	return Snapshot{link: {Source: link, Opinion: Up}, bfd: {Source: bfd, Opinion: 99}}
}
