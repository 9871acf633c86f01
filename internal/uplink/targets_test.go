package uplink

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/multihomed/multihomed/fib"
)

// TestQuorum holds every mixture of answers of up to five targets against a
// second, naive statement of the rule. No target is shared, so that every death
// counts.
func TestQuorum(t *testing.T) {
	for total := 1; total <= 5; total++ {
		for quorum := 0; quorum <= total; quorum++ {
			for up := 0; up <= total; up++ {
				for down := 0; up+down <= total; down++ {
					var targets []Target
					for i := range total {
						o := Unknown
						switch {
						case i < up:
							o = Up
						case i < up+down:
							o = Down
						}
						targets = append(targets, Target{Address: target1[fib.IPv4], Opinion: o, Reason: "told"})
					}
					need := quorum
					if quorum == 0 {
						need = map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 3}[total]
					}
					want := Unknown
					if up >= need {
						want = Up
					} else if total-down < need {
						want = Down
					}
					got := quorum2(Member{Quorum: quorum}, targets)
					if got.opinion != want {
						t.Errorf("quorum %d of %d targets, %d up, %d down: %s, want %s", quorum, total, up, down, got.opinion, want)
					}
				}
			}
		}
	}
}

func quorum2(m Member, targets []Target) poll {
	return quorum(m, 0, targets, nil, nil, sameMoment, start)
}

// TestQuorumWords: what an operator reads.
func TestQuorumWords(t *testing.T) {
	a := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }
	dead := func(address netip.Addr) Target {
		return Target{Address: address, Opinion: Down, Since: start, Reason: "5 probes in a row lost"}
	}
	elsewhere := func(addresses ...netip.Addr) map[netip.Addr][]witness {
		all := map[netip.Addr][]witness{}
		for _, address := range addresses {
			all[address] = []witness{{1, Down, 0}}
		}
		return all
	}
	up := func(address netip.Addr) Target { return Target{Address: address, Opinion: Up} }
	tests := []struct {
		name    string
		targets []Target
		all     map[netip.Addr][]witness
		want    poll
	}{
		{"all answer", []Target{up(a(1)), up(a(2)), up(a(3))}, nil, poll{opinion: Up, reason: "3 of 3 targets answer, 2 needed"}},
		{
			"a lost minority is not worth a word",
			[]Target{dead(a(1)), up(a(2)), up(a(3))}, nil, poll{opinion: Up, reason: "2 of 3 targets answer, 2 needed"},
		},
		{
			"the first of the lost is named",
			[]Target{up(a(1)), dead(a(2)), dead(a(3))},
			nil,
			poll{opinion: Down, reason: "1 of 3 targets answer, 2 needed; 192.0.2.2: 5 probes in a row lost"},
		},
		{
			"a target's own fault",
			[]Target{up(a(1)), dead(a(2)), up(a(3))},
			elsewhere(a(2)),
			poll{
				opinion: Up, excused: []netip.Addr{a(2)},
				reason: "2 of 2 targets answer, 1 needed; 192.0.2.2 is dead through every uplink and not counted",
			},
		},
		{
			"a target's own fault, and a real loss that would have been tolerated",
			[]Target{dead(a(1)), dead(a(2)), up(a(3))},
			elsewhere(a(2)),
			poll{
				opinion: Up, excused: []netip.Addr{a(2)},
				reason: "1 of 2 targets answer, 1 needed; 192.0.2.2 is dead through every uplink and not counted",
			},
		},
		{
			"two targets at fault, the last one lost: a dead uplink is still found",
			[]Target{dead(a(1)), dead(a(2)), dead(a(3))},
			elsewhere(a(2), a(3)),
			poll{
				opinion: Down, excused: []netip.Addr{a(2), a(3)},
				reason: "0 of 1 targets answer, 1 needed; 192.0.2.1: 5 probes in a row lost; " +
					"192.0.2.2 is dead through every uplink and not counted; 192.0.2.3 is dead through every uplink and not counted",
			},
		},
		{
			"nothing left to count",
			[]Target{dead(a(1)), dead(a(2))},
			elsewhere(a(1), a(2)),
			poll{opinion: Unknown, excused: []netip.Addr{a(1), a(2)}, reason: "all targets (2) went dead through every uplink at once: their fault"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := quorum(Member{Way: Way{"isp", fib.IPv4}}, 0, tt.targets, tt.all, nil, sameMoment, start)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(poll{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestExcused holds each pair of observations of one target against the rule. The
// target died 1000 s ago through way 0.
func TestExcused(t *testing.T) {
	const died = 1000 * time.Second
	// word is what way says since so many seconds after the death.
	word := func(way int, o Opinion, after time.Duration) witness {
		return witness{way, o, died - after*time.Second}
	}
	tests := []struct {
		name   string
		before bool
		others []witness
		want   bool
		again  time.Duration
	}{
		{name: "nobody else probes it"},
		{name: "only the uplink itself", others: []witness{word(0, Down, 0)}},
		{name: "the same moment", others: []witness{word(1, Down, 0)}, want: true},
		{name: "30 s later", others: []witness{word(1, Down, 30)}, want: true},
		{name: "30 s earlier", others: []witness{word(1, Down, -30)}, want: true},
		{name: "31 s later: it was alive there", others: []witness{word(1, Down, 31)}},
		{name: "long dead there: cannot tell", others: []witness{word(1, Down, -31)}},
		{name: "one cannot tell, one agrees", others: []witness{word(1, Down, -9999), word(2, Down, 1)}, want: true},
		{name: "one agrees, one denies", others: []witness{word(1, Down, 0), word(2, Up, -99)}},
		{name: "one agrees, one agrees much later", others: []witness{word(1, Down, 0), word(2, Down, 40)}},
		{name: "never excused, seen alive just now", others: []witness{word(1, Up, 1000)}},
		{name: "excused, seen alive just now", before: true, others: []witness{word(1, Up, 990)}, want: true, again: 20 * time.Second},
		{name: "excused, seen alive for long", before: true, others: []witness{word(1, Up, 970)}},
		{
			name: "excused, seen alive by two", before: true, others: []witness{word(2, Up, 999), word(1, Up, 980), word(3, Up, 990)},
			want: true, again: 10 * time.Second,
		},
		{name: "excused, the others no longer say", before: true, want: true},
		{name: "excused, alive and dead again elsewhere", before: true, others: []witness{word(1, Down, 90)}, want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, again := excused(died, 0, tt.others, tt.before, sameMoment)
			if got != tt.want || again != tt.again {
				t.Errorf("excused %t again %s, want %t %s", got, again, tt.want, tt.again)
			}
		})
	}
}

// TestTargetsFault: a target that dies behind every uplink takes none of them
// down, in whatever order and at whatever pace they notice, and the one that
// noticed first gets its service back without a penalty and without a wait.
func TestTargetsFault(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Second, sameMoment} {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(skew.String(), func(t *testing.T) {
				s := newStory(t, f, "a", "b")
				s.links()
				s.probe("a", Up, target1)
				s.probe("b", Up, target1)
				s.decide()
				s.pass(time.Hour)

				s.probe("a", Down, target1)
				if skew > 0 {
					s.decide()
					s.want("a dead standby, b live active")
					s.pass(skew)
				}
				s.probe("b", Down, target1)
				s.decide()
				s.want("a live active, b live active")
				for _, name := range []string{"a", "b"} {
					v := s.of(name)
					if v.Penalty != 0 || v.Damped || v.Verified {
						t.Errorf("%s: penalty %f, damped %t, verified %t; want none", name, v.Penalty, v.Damped, v.Verified)
					}
					want := []string{unverified, "icmp: all targets (1) went dead through every uplink at once: their fault"}
					if diff := cmp.Diff(want, v.Reasons); diff != "" {
						t.Errorf("%s: reasons (-want +got):\n%s", name, diff)
					}
				}
				s.pass(time.Hour)
				s.want("a live active, b live active")

				// It comes back, and b notices much later than a, but in time.
				s.probe("a", Up, target1)
				s.decide()
				s.want("a live active, b live active")
				s.pass(sameMoment - time.Second)
				s.probe("b", Up, target1)
				s.decide()
				s.want("a live active, b live active")
				s.pass(time.Hour)
				s.want("a live active, b live active")
			})
		})
	}
}

// TestTargetsFaultEndsWithItsReturn: where the target comes back through one
// uplink and not through the other within sameMoment, the other one is dead.
func TestTargetsFaultEndsWithItsReturn(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.links()
	s.probe("a", Down, target1)
	s.probe("b", Down, target1)
	s.decide()
	s.want("a live active, b live active")
	s.pass(time.Hour)
	s.probe("a", Up, target1)
	s.decide()
	if want := s.now.Add(sameMoment); !s.wake.Equal(want) {
		t.Fatalf("wakes at %s, want %s", s.wake, want)
	}
	s.pass(sameMoment - time.Nanosecond)
	s.want("a live active, b live active")
	s.pass(time.Nanosecond)
	s.want("a live active, b dead standby")
}

// TestDeadUplinkIsNotExcusedByLaterDeath: an uplink that died alone is dead,
// though its target dies for everybody later.
func TestDeadUplinkIsNotExcusedByLaterDeath(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "a", "b", "c")
		s.links()
		for _, name := range []string{"a", "b", "c"} {
			s.probe(name, Up, target1)
		}
		s.decide()
		s.probe("a", Down, target1)
		s.decide()
		s.pass(sameMoment + time.Second)
		s.probe("b", Down, target1)
		s.probe("c", Down, target1)
		s.decide()
		// And the long dead one is no reason to call the others dead.
		s.want("a dead standby, b live active, c live active")
		s.pass(time.Hour)
		s.want("a dead standby, b live active, c live active")
	})
}

// TestOnlyVoiceCounts: with one uplink, or a target of its own, a death counts.
func TestOnlyVoiceCounts(t *testing.T) {
	s := newStory(t, fib.IPv6, "a")
	s.links()
	s.probe("a", Down, target1)
	s.decide()
	s.want("a dead active")

	s = newStory(t, fib.IPv6, "a", "b")
	s.links()
	s.probe("a", Down, target1)
	s.probe("b", Down, target2)
	s.decide()
	s.want("a dead active, b dead active")
}

// TestFamiliesOfTargetsAreApart: the same uplinks, probed in both families; what
// is a target's fault in one is an outage in the other.
func TestFamiliesOfTargetsAreApart(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b")
	s.policy.Members = append(s.policy.Members, newStory(t, fib.IPv6, "a", "b").policy.Members...)
	for _, m := range s.policy.Members {
		s.family = m.Family
		s.tell(m.Uplink, KindLink, Up)
		s.probe(m.Uplink, Down, target1)
	}
	s.family = fib.IPv6
	s.probe("b", Up, target1)
	s.decide()
	s.want("a live active, b live active, a dead standby, b live active")
}

// TestTargetsDieOneByOne: two targets die everywhere, and each uplink notices
// each at its own time. In the end no uplink is dead, nor waits.
func TestTargetsDieOneByOne(t *testing.T) {
	s := newStory(t, fib.IPv4, "a", "b", "c")
	s.links()
	for _, name := range []string{"a", "b", "c"} {
		s.probe(name, Up, target1, target2)
	}
	s.decide()
	for _, targets := range []map[fib.Family]netip.Addr{target1, target2} {
		for _, name := range []string{"a", "b", "c"} {
			s.pass(2 * time.Second)
			s.probe(name, Down, targets)
			s.decide()
		}
	}
	s.want("a live active, b live active, c live active")
	for _, name := range []string{"a", "b", "c"} {
		if v := s.of(name); v.Penalty != 0 || v.Damped {
			t.Errorf("%s: penalty %f, damped %t, want none", name, v.Penalty, v.Damped)
		}
	}
}

// TestThreeUplinksThreeTargets plays the common case whole: three uplinks, three
// targets, one target dies for all, then one uplink dies, then the target comes
// back, then the uplink.
func TestThreeUplinksThreeTargets(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "a", "b", "c")
		names := []string{"a", "b", "c"}
		s.links()
		for _, n := range names {
			s.probe(n, Up, target1, target2, target3)
		}
		s.decide()
		step := func(want string) {
			t.Helper()
			s.decide()
			s.want(want)
			s.pass(time.Minute)
			s.want(want)
		}
		for _, n := range names {
			s.probe(n, Down, target2)
		}
		step("a live active, b live active, c live active")
		s.probe("a", Down, target1, target3)
		step("a dead standby, b live active, c live active")
		for _, n := range names[1:] {
			s.probe(n, Up, target2)
		}
		step("a dead standby, b live active, c live active")
		s.probe("a", Up, target1, target2, target3)
		s.decide()
		s.want("a held standby, b live active, c live active")
		s.pass(s.policy.HoldUp)
		step("a live active, b live active, c live active")
		if got := fmt.Sprint(s.changes); got != "map[a:3 b:1 c:1]" {
			t.Errorf("changes of role: %s", got)
		}
	})
}
