package uplink

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// said is one word of evidence in a table.
type said struct {
	kind    Kind
	opinion Opinion
	reason  string
}

const unverified = "nothing speaks against it, nothing vouches for it (not verified)"

// TestStep holds every kind of previous state against every kind of evidence,
// for one way that has nobody beside it.
func TestStep(t *testing.T) {
	ago := start.Add(-time.Hour)
	fit := said{KindLink, Up, "carrier"}
	tests := []struct {
		name     string
		previous Verdict
		evidence []said
		want     Verdict
		wake     time.Duration // after start; 0 is none
	}{
		{
			name: "nothing is known",
			want: Verdict{Reasons: []string{"link: not looked at yet"}},
		}, {
			name:     "an unknown link is not a link that is down",
			previous: Verdict{State: Live, Role: Active, Since: ago, Reasons: []string{"icmp: answers"}},
			evidence: []said{{KindLink, Unknown, "the monitor starts"}, {KindICMP, Down, "silent"}},
			want:     Verdict{State: Live, Role: Active, Since: ago, Reasons: []string{"icmp: answers"}},
		}, {
			name:     "new, nobody vouches",
			evidence: []said{fit},
			want:     Verdict{State: Live, Role: Active, Since: start, Reasons: []string{unverified}},
		}, {
			name:     "new, an undecided source",
			evidence: []said{fit, {KindICMP, Unknown, "asked, no answer yet"}},
			want:     Verdict{State: Live, Role: Active, Since: start, Reasons: []string{unverified, "icmp: asked, no answer yet"}},
		}, {
			name:     "new, two vouch",
			evidence: []said{fit, {KindBFD, Up, "session up"}, {KindNeighbour, Up, "reachable"}},
			want:     Verdict{State: Live, Role: Active, Since: start, Verified: true, Reasons: []string{"neighbour: reachable", "bfd: session up"}},
		}, {
			name:     "new and dead: no penalty, because nothing was interrupted",
			evidence: []said{fit, {KindBFD, Down, "detection time expired"}},
			want: Verdict{
				State: Dead, Role: Active, Since: start, Untried: true, Reasons: []string{reasonKept, "bfd: detection time expired"},
			},
		}, {
			name:     "new and dead by what the host itself says: that was not waiting for a first word",
			evidence: []said{fit, {KindGateway, Down, "none learned"}, {KindBGP, Down, "no session yet"}},
			want:     Verdict{State: Dead, Since: start, Reasons: []string{"gateway: none learned", "bgp: no session yet"}},
		}, {
			name:     "untried, then good: it had no outage",
			previous: Verdict{State: Dead, Role: Active, Since: ago, Untried: true, Reasons: []string{"x"}},
			evidence: []said{fit, {KindBGP, Up, "established"}},
			want:     Verdict{State: Live, Role: Active, Since: start, Verified: true, Reasons: []string{"bgp: established"}},
		}, {
			name:     "untried, and nobody says anything any more: no good word yet",
			previous: Verdict{State: Dead, Role: Active, Since: ago, Untried: true, Reasons: []string{"x"}},
			evidence: []said{fit, {KindBGP, Unknown, "nobody speaks"}},
			want: Verdict{
				State: Dead, Role: Active, Since: ago, Untried: true, GoodSince: start,
				Reasons: []string{reasonKept, "nothing speaks against it any more, nothing vouches for it yet, which is awaited until 03:00:30 UTC", "bgp: nobody speaks"},
			},
			wake: patience,
		}, {
			name:     "untried, and then without a carrier: that is an outage of the link",
			previous: Verdict{State: Dead, Role: Active, Since: ago, Untried: true, Reasons: []string{"x"}},
			evidence: []said{{KindLink, Down, "no carrier"}, {KindBGP, Down, "no session yet"}},
			want:     Verdict{State: Dead, Since: ago, Reasons: []string{"link: no carrier", "bgp: no session yet"}},
		}, {
			name:     "live, then a hard and a soft word against it",
			previous: Verdict{State: Live, Role: Active, Since: ago, Verified: true, Reasons: []string{"x"}},
			evidence: []said{{KindLink, Down, "no carrier"}, {KindNeighbour, Down, "failed"}, {KindICMP, Up, "answers"}},
			want: Verdict{
				State: Dead, Since: start, Verified: true, Penalty: 1000, Reasons: []string{"link: no carrier", "neighbour: failed"},
			},
		}, {
			name:     "a source without words still has a name",
			previous: Verdict{State: Live, Role: Active, Since: ago},
			evidence: []said{fit, {KindAddress, Down, ""}},
			want:     Verdict{State: Dead, Since: start, Penalty: 1000, Reasons: []string{"address: down"}},
		}, {
			name:     "dead and still dead: since when does not change",
			previous: Verdict{State: Dead, Role: Active, Since: ago, Reasons: []string{"x"}},
			evidence: []said{fit, {KindBGP, Down, "hold timer expired"}},
			want:     Verdict{State: Dead, Role: Active, Since: ago, Reasons: []string{reasonKept, "bgp: hold timer expired"}},
		}, {
			name:     "dead, then good: up waits",
			previous: Verdict{State: Dead, Since: ago, Reasons: []string{"x"}},
			evidence: []said{fit, {KindICMP, Up, "answers"}},
			want: Verdict{
				State: Held, Role: Active, Since: start, GoodSince: start, Verified: true,
				Reasons: []string{reasonKept, "good since 03:00:00 UTC, held until 03:00:10 UTC", "icmp: answers"},
			},
			wake: 10 * time.Second,
		}, {
			name:     "dead, and nobody says anything: patience",
			previous: Verdict{State: Dead, Since: ago, Reasons: []string{"x"}},
			evidence: []said{fit, {KindICMP, Unknown, "cannot send"}},
			want: Verdict{
				State: Dead, Role: Active, Since: ago, GoodSince: start,
				Reasons: []string{reasonKept, "nothing speaks against it any more, nothing vouches for it yet, which is awaited until 03:00:30 UTC", "icmp: cannot send"},
			},
			wake: patience,
		}, {
			name:     "dead, and patience is over",
			previous: Verdict{State: Dead, Since: ago, GoodSince: start.Add(-patience), Reasons: []string{"x"}},
			evidence: []said{fit, {KindICMP, Unknown, "cannot send"}},
			want: Verdict{
				State: Held, Role: Active, Since: start, GoodSince: start,
				Reasons: []string{reasonKept, "good since 03:00:00 UTC, held until 03:00:10 UTC", "icmp: cannot send"},
			},
			wake: 10 * time.Second,
		}, {
			name:     "dead, and there is no source that could vouch",
			previous: Verdict{State: Dead, Since: ago, Reasons: []string{"x"}},
			evidence: []said{fit},
			want: Verdict{
				State: Held, Role: Active, Since: start, GoodSince: start,
				Reasons: []string{reasonKept, "good since 03:00:00 UTC, held until 03:00:10 UTC"},
			},
			wake: 10 * time.Second,
		}, {
			name:     "held long enough",
			previous: Verdict{State: Held, Role: Active, Since: ago, GoodSince: start.Add(-10 * time.Second), Reasons: []string{"x"}},
			evidence: []said{fit, {KindICMP, Up, "answers"}},
			want:     Verdict{State: Live, Role: Active, Since: start, Verified: true, Reasons: []string{"icmp: answers"}},
		}, {
			name:     "held, and its source loses its opinion: waits on, does not fall",
			previous: Verdict{State: Held, Since: ago, GoodSince: start.Add(-4 * time.Second), Reasons: []string{"x"}},
			evidence: []said{fit, {KindICMP, Unknown, "cannot send"}},
			want: Verdict{
				State: Held, Role: Active, Since: ago, GoodSince: start.Add(-4 * time.Second),
				Reasons: []string{reasonKept, "good since 02:59:56 UTC, held until 03:00:06 UTC", "icmp: cannot send"},
			},
			wake: 6 * time.Second,
		}, {
			name: "held for flapping",
			previous: Verdict{
				State: Held, Since: ago, GoodSince: ago, Penalty: 1500, PenaltyAt: start, Damped: true, Reasons: []string{"x"},
			},
			evidence: []said{fit, {KindICMP, Up, "answers"}},
			want: Verdict{
				State: Held, Role: Active, Since: ago, GoodSince: ago, Penalty: 1500, Damped: true, Verified: true,
				Reasons: []string{reasonKept, "flapping: held until 03:01:00 UTC, when its penalty has fallen below 750", "icmp: answers"},
			},
			wake: time.Minute + time.Millisecond,
		}, {
			name:     "held, then bad again: the bounces of one outage cost nothing more",
			previous: Verdict{State: Held, Since: ago, GoodSince: ago, Penalty: 1000, PenaltyAt: start, Reasons: []string{"x"}},
			evidence: []said{fit, {KindICMP, Down, "silent"}},
			want:     Verdict{State: Dead, Role: Active, Since: start, Penalty: 1000, Reasons: []string{reasonKept, "icmp: silent"}},
		}, {
			name: "held for flapping, and flaps on: this costs",
			previous: Verdict{
				State: Held, Since: ago, GoodSince: ago, Penalty: 1500, PenaltyAt: start, Damped: true, Reasons: []string{"x"},
			},
			evidence: []said{fit, {KindICMP, Down, "silent"}},
			want: Verdict{
				State: Dead, Role: Active, Since: start, Penalty: 2500, Damped: true, Reasons: []string{reasonKept, "icmp: silent"},
			},
		},
	}
	for _, tt := range tests {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(tt.name, func(t *testing.T) {
				w := Way{"isp", f}
				p := newStory(t, f, "isp").policy
				evidence := Snapshot{}
				for _, e := range tt.evidence {
					src := Source{w, e.kind}
					evidence[src] = Evidence{Source: src, Opinion: e.opinion, Since: ago, Reason: e.reason}
				}
				previous := Verdicts{}
				if tt.previous.State != StateUnknown {
					previous[w] = tt.previous
				}
				saved := maps.Clone(previous)

				got, wake := Decide(p, previous, evidence, start)

				if tt.want.State != StateUnknown && evidence[Source{w, KindLink}].Opinion != Unknown {
					tt.want.PenaltyAt = start
				}
				if diff := cmp.Diff(Verdicts{w: tt.want}, got); diff != "" {
					t.Errorf("verdict (-want +got):\n%s", diff)
				}
				wantWake := time.Time{}
				if tt.wake != 0 {
					wantWake = start.Add(tt.wake)
				}
				if !wake.Equal(wantWake) {
					t.Errorf("wakeAt %s, want %s", wake, wantWake)
				}
				if diff := cmp.Diff(saved, previous); diff != "" {
					t.Errorf("Decide changed its argument (-before +after):\n%s", diff)
				}
			})
		})
	}
}

// TestDownAtOnceUpWaits plays one outage by each source: down in the same
// decision, up after exactly HoldUp of good evidence.
func TestDownAtOnceUpWaits(t *testing.T) {
	for kind := KindLink; kind <= KindBGP; kind++ {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(kind.String(), func(t *testing.T) {
				s := newStory(t, f, "a", "b")
				s.links()
				s.tell("a", kind, Up)
				s.decide()
				s.want("a live active, b live active")
				s.pass(time.Hour)
				s.tell("a", kind, Down)
				s.decide()
				down := s.now
				if kind.Hard() {
					s.want("a dead none, b live active")
				} else {
					s.want("a dead standby, b live active")
				}
				s.pass(time.Minute)
				s.tell("a", kind, Up)
				s.decide()
				s.want("a held standby, b live active")
				if want := s.now.Add(s.policy.HoldUp); !s.wake.Equal(want) {
					t.Fatalf("wakeAt is %s after the recovery, want %s", s.wake.Sub(s.now), s.policy.HoldUp)
				}
				s.pass(s.policy.HoldUp - time.Nanosecond)
				s.want("a held standby, b live active")
				s.pass(time.Nanosecond)
				s.want("a live active, b live active")
				if got, want := s.of("a").Since, down.Add(time.Minute+s.policy.HoldUp); !got.Equal(want) {
					t.Errorf("live since %s, want %s", got, want)
				}
				if !s.wake.IsZero() {
					t.Errorf("wakes at %s, though all is well", s.wake)
				}
			})
		})
	}
}

// TestBadAgainWhileHeldStartsTheWaitAnew: the wait is for evidence that was good
// all the time, not for a time since the first good word.
func TestBadAgainWhileHeldStartsTheWaitAnew(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.links()
	s.decide()
	s.tell("a", KindBFD, Down)
	s.decide()
	s.tell("a", KindBFD, Up)
	s.pass(9 * time.Second)
	s.tell("a", KindBFD, Down)
	s.decide()
	s.tell("a", KindBFD, Up)
	s.decide()
	s.pass(9999 * time.Millisecond)
	s.want("a held standby, b live active")
	s.pass(time.Millisecond)
	s.want("a live active, b live active")
	if got := s.changes["a"]; got != 3 {
		t.Errorf("%d changes of role, want 3: in, out, in", got)
	}
}

// TestUnknownKillsNobody: whatever source loses its opinion, or vanishes
// altogether, a live way stays live (law 5).
func TestUnknownKillsNobody(t *testing.T) {
	for kind := KindLink; kind <= KindBGP; kind++ {
		for _, how := range []string{"unknown", "withdrawn"} {
			t.Run(kind.String()+" "+how, func(t *testing.T) {
				s := newStory(t, fib.IPv6, "a", "b")
				s.links()
				s.tell("a", kind, Up)
				s.decide()
				if how == "unknown" {
					s.tell("a", kind, Unknown)
				} else {
					s.forget("a", kind)
				}
				s.decide()
				s.want("a live active, b live active")
				s.pass(time.Hour)
				s.want("a live active, b live active")
				if !s.wake.IsZero() {
					t.Errorf("wakes at %s, though nothing is awaited", s.wake)
				}
			})
		}
	}
}

// TestWithdrawnAccusation: a source that said down and is taken away (the
// neighbour's, when the gateway is no longer known) no longer speaks against the
// way, and does not vouch for it either.
func TestWithdrawnAccusation(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.links()
	s.tell("a", KindICMP, Unknown)
	s.tell("a", KindNeighbour, Down)
	s.decide()
	s.want("a dead standby, b live active")
	s.forget("a", KindNeighbour)
	s.decide()
	s.want("a dead standby, b live active")
	if want := s.now.Add(patience); !s.wake.Equal(want) {
		t.Fatalf("wakeAt %s, want %s", s.wake, want)
	}
	s.pass(patience)
	s.want("a held standby, b live active")
	s.pass(s.policy.HoldUp)
	s.want("a live active, b live active")
	if s.of("a").Verified {
		t.Error("verified, though nobody vouches for it")
	}
}
