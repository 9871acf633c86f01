package uplink

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// kernels are the capabilities that a restart may meet.
var kernels = map[string]fib.Capabilities{
	"resilient groups": {NextHops: true, Resilient: true},
	"plain groups":     {NextHops: true},
	"inline multipath": {},
}

// install writes d into a new kernel.
func install(t *testing.T, c fib.Capabilities, l Layout, d fib.Desired) *fibtest.Kernel {
	t.Helper()
	k := fibtest.New()
	k.SetCapabilities(c)
	if rep := fib.NewWriter(k, l.Owner(protocol)).Sync(context.Background(), d, start); !rep.InSync {
		t.Fatalf("the kernel does not hold what was drawn: %+v", rep)
	}
	return k
}

func list(t *testing.T, k *fibtest.Kernel, l Layout) fib.State {
	t.Helper()
	s, err := k.List(context.Background(), l.Owner(protocol))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRestart: what was in use before a restart is in use after it, on every kind
// of kernel: before anybody has looked, when the sources have no opinion yet, and
// when they say again what they said before.
func TestRestart(t *testing.T) {
	tests := []struct {
		name   string
		ways   []string
		live   func(s *story) // evidence and time before the restart
		before string
		after  string // when nobody has an opinion yet
	}{
		{
			"all live", []string{"a", "b"}, func(*story) {},
			"a live active, b live active", "a live active, b live active",
		}, {
			"one dead", []string{"a", "b"}, func(s *story) { s.tell("b", KindICMP, Down) },
			"a live active, b dead standby", "a live active, b dead standby",
		}, {
			"one held", []string{"a", "b"}, func(s *story) {
				s.tell("b", KindICMP, Down)
				s.decide()
				s.tell("b", KindICMP, Up)
			},
			"a live active, b held standby", "a live active, b dead standby",
		}, {
			"one without carrier", []string{"a", "b"}, func(s *story) { s.tell("b", KindLink, Down) },
			"a live active, b dead none", "a live active, b dead none",
		}, {
			"tiers", []string{"a:1", "b:2", "c:3"}, func(*story) {},
			"a live active, b live standby, c live none", "a live active, b live standby, c live none",
		}, {
			"the second tier carries", []string{"a:1", "b:2", "c:3"}, func(s *story) { s.tell("a", KindICMP, Down) },
			"a dead none, b live active, c live standby", "a dead none, b live active, c live standby",
		}, {
			"kept in use", []string{"a", "b"}, func(s *story) {
				s.tell("b", KindICMP, Down)
				s.decide()
				s.tell("a", KindICMP, Down)
			},
			"a dead active, b dead standby", "a live active, b dead standby",
		},
	}
	for _, tt := range tests {
		for kernel, c := range kernels {
			bothFamilies(t, func(t *testing.T, f fib.Family) {
				t.Run(tt.name+" on "+kernel, func(t *testing.T) {
					s := newStory(t, f, tt.ways...)
					var names []string
					for _, m := range s.policy.Members {
						names = append(names, m.Uplink)
					}
					l := layoutFor(names...)
					s.links()
					for _, n := range names {
						s.tell(n, KindICMP, Up)
					}
					s.decide()
					tt.live(s)
					s.decide()
					s.want(tt.before)
					want := l.Desired(factsOf(s), s.verdicts, nil)
					k := install(t, c, l, want)

					adopted := l.Adopt(s.policy, list(t, k, l), nil, s.now)
					words := maps.Clone(s.evidence)
					same := func(when string) {
						t.Helper()
						if diff := cmp.Diff(want, l.Desired(factsOf(s), s.verdicts, nil), desiredOptions); diff != "" {
							t.Errorf("%s (-before +after the restart):\n%s", when, diff)
						}
					}
					for w, v := range adopted {
						if v.Role == Active != (s.verdicts[w].Role == Active) {
							t.Errorf("%s is found %s, was %s", w, v.Role, s.verdicts[w].Role)
						}
					}
					// Nobody has looked: what carried the traffic stays.
					s.verdicts, s.evidence = adopted, Snapshot{}
					s.decide()
					for w, v := range s.verdicts {
						if v.Role != adopted[w].Role {
							t.Errorf("%s is %s before anybody looked, want %s", w, v.Role, adopted[w].Role)
						}
					}
					// The links are known, the probes not yet.
					for src, e := range words {
						if !src.Kind.Hard() {
							e.Opinion = Unknown
						}
						s.evidence[src] = e
					}
					s.decide()
					s.want(tt.after)
					same("with unknown evidence")
					// They say what they said.
					maps.Copy(s.evidence, words)
					s.decide()
					same("with the evidence of before")
				})
			})
		}
	}
}

// TestDeadStaysDeadUntilVouchedFor: a way that was found out of use is not taken
// into use because nobody speaks against it, but waits for a source to vouch and
// then for HoldUp; and it is not lost if none ever does.
func TestDeadStaysDeadUntilVouchedFor(t *testing.T) {
	restarted := func(t *testing.T) *story {
		s := newStory(t, fib.IPv4, "a", "b")
		l := layoutFor("a", "b")
		s.links()
		s.tell("b", KindICMP, Down)
		s.decide()
		k := install(t, kernels["resilient groups"], l, l.Desired(factsOf(s), s.verdicts, nil))
		s.verdicts = l.Adopt(s.policy, list(t, k, l), nil, s.now)
		s.tell("b", KindICMP, Unknown)
		s.decide()
		s.want("a live active, b dead standby")
		return s
	}
	t.Run("vouched for", func(t *testing.T) {
		s := restarted(t)
		s.pass(3 * time.Second)
		s.want("a live active, b dead standby")
		s.tell("b", KindICMP, Up)
		s.decide()
		s.want("a live active, b held standby")
		s.pass(s.policy.HoldUp)
		s.want("a live active, b live active")
	})
	t.Run("nobody ever says anything", func(t *testing.T) {
		s := restarted(t)
		s.pass(patience + s.policy.HoldUp - time.Nanosecond)
		s.want("a live active, b held standby")
		s.pass(time.Nanosecond)
		s.want("a live active, b live active")
	})
}

// TestAdoptFamilies: what is found of one family implies nothing for the other.
func TestAdoptFamilies(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "a", "b")
		l := layoutFor("a", "b")
		facts := Facts{{"a", f}: factFor(0, "a", f), {"b", f}: factFor(1, "b", f)}
		k := install(t, kernels["resilient groups"], l, l.Desired(facts, in(f, map[string]Role{"a": Active, "b": Standby}), nil))
		s.policy.Members = append(s.policy.Members, newStory(t, fib.IPv4+fib.IPv6-f, "a", "b").policy.Members...)
		want := Verdicts{
			{"a", f}: {State: Live, Role: Active, Since: start, Reasons: []string{"found in use at the start"}},
			{"b", f}: {State: Dead, Since: start, Reasons: []string{"found out of use at the start"}},
		}
		if diff := cmp.Diff(want, l.Adopt(s.policy, list(t, k, l), nil, start)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestAdoptNothing: an empty kernel implies nothing, and everything unknown is
// live.
func TestAdoptNothing(t *testing.T) {
	for kernel, c := range kernels {
		t.Run(kernel, func(t *testing.T) {
			s := newStory(t, fib.IPv6, "a", "b")
			l := layoutFor("a", "b")
			k := fibtest.New()
			k.SetCapabilities(c)
			s.verdicts = l.Adopt(s.policy, list(t, k, l), nil, start)
			if len(s.verdicts) > 0 {
				t.Errorf("verdicts out of nothing: %v", s.verdicts)
			}
			s.links()
			s.decide()
			s.want("a live active, b live active")
		})
	}
}

// TestAdoptWhatTheKernelLeft: while nobody was awake, the kernel removed the
// next hops of a device without carrier, and a standby inherited the traffic.
func TestAdoptWhatTheKernelLeft(t *testing.T) {
	tests := []struct {
		ways  []string
		lost  []int // positions
		found map[string]Role
		after string // the links of the lost ones are down
	}{
		{[]string{"a", "b"}, []int{0}, map[string]Role{"a": RoleNone, "b": Active}, "a dead none, b live active"},
		{[]string{"a:1", "b:2"}, []int{0}, map[string]Role{"a": RoleNone, "b": Active}, "a dead none, b live active"},
		{[]string{"a:1", "b:2"}, []int{1}, map[string]Role{"a": Active}, "a live active, b dead none"},
		{[]string{"a:1", "b:1", "c:2"}, []int{0, 1}, map[string]Role{"a": RoleNone, "b": RoleNone, "c": Active}, "a dead none, b dead none, c live active"},
		{[]string{"a:1", "b:2"}, []int{0, 1}, nil, "a dead none, b dead none"},
	}
	for _, tt := range tests {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(fmt.Sprint(tt.ways, tt.lost), func(t *testing.T) {
				s := newStory(t, f, tt.ways...)
				var names []string
				for _, m := range s.policy.Members {
					names = append(names, m.Uplink)
				}
				l := layoutFor(names...)
				s.links()
				s.decide()
				k := install(t, kernels["resilient groups"], l, l.Desired(factsOf(s), s.verdicts, nil))
				for _, n := range tt.lost {
					k.SetLink(factFor(n, names[n], f).Device.Index, false)
					s.tell(names[n], KindLink, Down)
				}
				s.verdicts = l.Adopt(s.policy, list(t, k, l), nil, s.now)
				found := map[string]Role{}
				for w, v := range s.verdicts {
					found[w.Uplink] = v.Role
				}
				if diff := cmp.Diff(tt.found, found, cmp.Transformer("", func(m map[string]Role) string { return fmt.Sprint(m) })); diff != "" {
					t.Errorf("found (-want +got):\n%s", diff)
				}
				s.decide()
				s.want(tt.after)
			})
		})
	}
}

// TestAdoptShiftedIDs: where strangers hold our first choice of ids, the writer
// takes others, and a restart finds them.
func TestAdoptShiftedIDs(t *testing.T) {
	l := layoutFor("a", "b")
	s := newStory(t, fib.IPv4, "a", "b")
	facts := Facts{{"a", fib.IPv4}: factFor(0, "a", fib.IPv4), {"b", fib.IPv4}: factFor(1, "b", fib.IPv4)}
	k := fibtest.New()
	dev := facts[Way{"a", fib.IPv4}].Device
	for _, id := range []uint32{l.hopID(0, fib.IPv4), l.hopID(1, fib.IPv4), l.groupID(fib.IPv4)} {
		if err := k.Stranger(fib.Op{Verb: fib.Add, Object: fib.NextHop{ID: id, Family: fib.IPv4, Device: dev}, Protocol: 99}); err != nil {
			t.Fatal(err)
		}
	}
	d := l.Desired(facts, in(fib.IPv4, map[string]Role{"a": Standby, "b": Active}), nil)
	if rep := fib.NewWriter(k, l.Owner(protocol)).Sync(context.Background(), d, start); !rep.InSync {
		t.Fatalf("not in sync: %+v", rep)
	}
	v := l.Adopt(s.policy, list(t, k, l), nil, start)
	if a, b := v[Way{"a", fib.IPv4}], v[Way{"b", fib.IPv4}]; a.State != Dead || b.Role != Active {
		t.Errorf("a is found %s, b %s; want dead, active", a.State, b.Role)
	}
}
