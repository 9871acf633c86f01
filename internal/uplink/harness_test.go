package uplink

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// start is the time at which every story begins.
var start = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// The targets of the stories, by family.
var (
	target1 = map[fib.Family]netip.Addr{fib.IPv4: netip.MustParseAddr("198.51.100.1"), fib.IPv6: netip.MustParseAddr("2001:db8:ffff::1")}
	target2 = map[fib.Family]netip.Addr{fib.IPv4: netip.MustParseAddr("198.51.100.2"), fib.IPv6: netip.MustParseAddr("2001:db8:ffff::2")}
	target3 = map[fib.Family]netip.Addr{fib.IPv4: netip.MustParseAddr("198.51.100.3"), fib.IPv6: netip.MustParseAddr("2001:db8:ffff::3")}
)

// bothFamilies runs a test once for each family.
func bothFamilies(t *testing.T, run func(t *testing.T, f fib.Family)) {
	t.Helper()
	for _, f := range fib.Families {
		t.Run(f.String(), func(t *testing.T) { run(t, f) })
	}
}

// story plays evidence against Decide as the engine does: it looks again when
// evidence changes and at every wakeAt.
type story struct {
	t        *testing.T
	family   fib.Family
	policy   Policy
	evidence Snapshot
	verdicts Verdicts
	now      time.Time
	wake     time.Time
	// changes counts the changes of roles, by uplink.
	changes map[string]int
}

// newStory returns a story with one way per name in family f, all of weight 1. A
// name may end in its tier: "lte:2".
func newStory(t *testing.T, f fib.Family, names ...string) *story {
	t.Helper()
	s := &story{
		t: t, family: f, now: start, evidence: Snapshot{}, verdicts: Verdicts{}, changes: map[string]int{},
		policy: Policy{HoldUp: 10 * time.Second, Damping: Damping{HalfLife: time.Minute, Suppress: 3000, Reuse: 750}},
	}
	for _, n := range names {
		name, tier, found := strings.Cut(n, ":")
		m := Member{Way: Way{name, f}, Tier: 1, Weight: 1}
		if found {
			if _, err := fmt.Sscan(tier, &m.Tier); err != nil {
				t.Fatal(err)
			}
		}
		s.policy.Members = append(s.policy.Members, m)
	}
	return s
}

// tell replaces the word of one source, without deciding.
func (s *story) tell(name string, kind Kind, o Opinion) {
	src := Source{Way{name, s.family}, kind}
	old, ok := s.evidence[src]
	e := Evidence{Source: src, Opinion: o, Since: s.now, Reason: "told " + o.String()}
	if ok && old.Opinion == o {
		e.Since = old.Since
	}
	s.evidence[src] = e
}

// forget takes the word of one source away.
func (s *story) forget(name string, kind Kind) { delete(s.evidence, Source{Way{name, s.family}, kind}) }

// probe replaces what the targets say through name, without deciding.
func (s *story) probe(name string, o Opinion, targets ...map[fib.Family]netip.Addr) {
	src := Source{Way{name, s.family}, KindICMP}
	e := s.evidence[src]
	e.Source, e.Since = src, s.now
	e.Targets = append([]Target(nil), e.Targets...)
	for _, by := range targets {
		next := Target{Address: by[s.family], Opinion: o, Since: s.now, Reason: "told " + o.String()}
		found := false
		for i, t := range e.Targets {
			if t.Address == next.Address {
				found = true
				if t.Opinion != o {
					e.Targets[i] = next
				}
			}
		}
		if !found {
			e.Targets = append(e.Targets, next)
		}
	}
	s.evidence[src] = e
}

// links says of every way that its link is up.
func (s *story) links() {
	for _, m := range s.policy.Members {
		s.tell(m.Uplink, KindLink, Up)
	}
}

// decide looks at the evidence once and checks what must hold of every
// decision.
func (s *story) decide() {
	s.t.Helper()
	next, wake := Decide(s.policy, s.verdicts, s.evidence, s.now)
	if complaint := wrong(s.policy, s.verdicts, next, s.evidence, wake, s.now); complaint != "" {
		s.t.Fatalf("%s: %s\nbefore %s\nafter  %s", s.now.Format(time.TimeOnly), complaint, roles(s.policy, s.verdicts), roles(s.policy, next))
	}
	for _, m := range s.policy.Members {
		if s.verdicts[m.Way].Role != next[m.Way].Role {
			s.changes[m.Uplink]++
		}
	}
	s.verdicts, s.wake = next, wake
}

// pass looks at the evidence and lets d go by, looking again whenever Decide
// asked for it and at the end.
func (s *story) pass(d time.Duration) {
	s.t.Helper()
	s.decide()
	end := s.now.Add(d)
	for n := 0; !s.wake.IsZero() && !s.wake.After(end); n++ {
		if n > 1000 {
			s.t.Fatalf("Decide asked to be called %d times within %s", n, d)
		}
		s.now = s.wake
		s.decide()
	}
	s.now = end
	s.decide()
}

// roles returns the state and role of every member, as "a live active, b dead standby".
func roles(p Policy, v Verdicts) string {
	var words []string
	for _, m := range p.Members {
		words = append(words, m.Uplink+" "+v[m.Way].State.String()+" "+v[m.Way].Role.String())
	}
	return strings.Join(words, ", ")
}

// want fails unless the states and roles are those, in the words of roles.
func (s *story) want(words string) {
	s.t.Helper()
	if got := roles(s.policy, s.verdicts); got != words {
		s.t.Fatalf("at %s\n got %s\nwant %s\nreasons %q", s.now.Sub(start), got, words, s.reasons())
	}
}

func (s *story) reasons() (all []string) {
	for _, m := range s.policy.Members {
		all = append(all, m.Uplink+": "+strings.Join(s.verdicts[m.Way].Reasons, "; "))
	}
	return all
}

func (s *story) of(name string) Verdict { return s.verdicts[Way{name, s.family}] }

// wrong returns what of a decision breaks a rule that always holds, or "".
func wrong(p Policy, before, after Verdicts, s Snapshot, wake, now time.Time) string {
	if !wake.IsZero() && !wake.After(now) {
		return fmt.Sprintf("wakeAt %s is not after now %s", wake, now)
	}
	for _, f := range fib.Families {
		usable, active, looked := 0, 0, true
		for _, m := range p.Members {
			v, ok := after[m.Way]
			link, known := s[Source{m.Way, KindLink}]
			known = known && link.Opinion != Unknown
			hard := false
			for _, k := range []Kind{KindLink, KindAddress, KindGateway} {
				hard = hard || s[Source{m.Way, k}].Opinion == Down
			}
			switch {
			case !ok:
				return m.Way.String() + " has no verdict"
			case len(v.Reasons) == 0 || strings.TrimSpace(v.Reasons[0]) == "":
				return m.Way.String() + " has no reason"
			case v.Since.After(now) || v.GoodSince.After(now) || v.PenaltyAt.After(now):
				return m.Way.String() + " has a time in the future"
			case known && hard && v.Role != RoleNone:
				return m.Way.String() + " has a role, but the kernel cannot send by it"
			case known && hard && v.State != Dead:
				return m.Way.String() + " is not dead, but the kernel cannot send by it"
			case !known && (v.Role != before[m.Way].Role || v.State != before[m.Way].State):
				return m.Way.String() + " changed before anybody looked"
			case v.Penalty < 0 || v.Penalty > penaltyCeiling*p.Damping.Suppress:
				return fmt.Sprintf("%s has a penalty of %f", m.Way, v.Penalty)
			}
			if m.Family != f {
				continue
			}
			looked = looked && known
			if known && !hard {
				usable++
			}
			if v.Role == Active {
				active++
			}
		}
		if looked && usable > 0 && active == 0 && p.AllDead != FailClosed {
			return f.String() + " has no active way, although one is usable"
		}
	}
	return ""
}
