package uplink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// choiceScenes are pictures of testdata with prefixes: two uplinks, both families.
func choiceScenes(t *testing.T) map[string]struct {
	verdicts Verdicts
	choices  []Choice
} {
	t.Helper()
	l := classicLayout()
	said := func(words4, words6 string) Verdicts {
		_, v := verdictsOf(t, l, fib.IPv4, words4)
		_, v6 := verdictsOf(t, l, fib.IPv6, words6)
		maps.Copy(v, v6)
		return v
	}
	var choices []Choice
	for _, f := range fib.Families {
		choices = append(choices, Choice{f, 1, []uint8{1, 2}}, Choice{f, 2, []uint8{2, 1}}, Choice{f, 5, []uint8{1, 1}}, Choice{f, 9, []uint8{0, 1}})
	}
	type scene = struct {
		verdicts Verdicts
		choices  []Choice
	}
	return map[string]scene{
		"choices":          {said("isp1 live/active, isp2 live/active", "isp1 live/active, isp2 live/standby"), choices},
		"choices-failover": {said("isp1 dead/standby, isp2 live/active", "isp1 live/active, isp2 dead/standby"), choices},
		"choices-draining": {said("isp1 held/draining, isp2 live/active", "isp1 live/active, isp2 held/draining"), choices},
		"prefixes":         {said("isp1 live/active, isp2 live/active", "isp1 live/active, isp2 live/standby"), nil},
	}
}

// choiceDay returns the layout and the facts of choiceScenes.
func choiceDay() (Layout, Facts) {
	l, facts := classicLayout(), classicFacts()
	l.Prefixes, l.WithPrefixes = 222, true
	facts[Way{"isp1", fib.IPv6}], facts[Way{"isp2", fib.IPv6}] = factFor(1, "isp1", fib.IPv6), factFor(2, "isp2", fib.IPv6)
	return l, facts
}

// TestDesiredChoices holds the scenes with prefixes against their pictures.
func TestDesiredChoices(t *testing.T) {
	l, facts := choiceDay()
	for name, s := range choiceScenes(t) {
		t.Run(name, func(t *testing.T) {
			d := l.Desired(facts, s.verdicts, s.choices)
			golden(t, name, draw(d))
			if complaint := faulty(l, facts, d); complaint != "" {
				t.Error(complaint)
			}
		})
	}
}

// TestPrefixesChangeNothingElse: without WithPrefixes the table is not asked, and
// with it nothing but the rules before the balance table differs.
func TestPrefixesChangeNothingElse(t *testing.T) {
	l, facts := choiceDay()
	verdicts := choiceScenes(t)["prefixes"].verdicts
	with := l.Desired(facts, verdicts, nil)
	l.WithPrefixes = false
	without := l.Desired(facts, verdicts, nil)
	l.Prefixes = 0
	if diff := cmp.Diff(l.Desired(facts, verdicts, nil), without, desiredOptions); diff != "" {
		t.Errorf("the number of the table matters though it is not asked:\n%s", diff)
	}
	var gained, lost []string
	words := func(rules []fib.Rule) (all []string) {
		for _, r := range rules {
			all = append(all, fmt.Sprintf("%s %d table %d", r.Family, r.Priority, r.Table))
		}
		return all
	}
	before, after := words(without.Rules), words(with.Rules)
	for _, w := range after {
		if !slices.Contains(before, w) {
			gained = append(gained, w)
		}
	}
	for _, w := range before {
		if !slices.Contains(after, w) {
			lost = append(lost, w)
		}
	}
	if diff := cmp.Diff([]string{"ipv4 219 table 254", "ipv4 220 table 222", "ipv6 219 table 254", "ipv6 220 table 222"}, gained); diff != "" {
		t.Errorf("rules gained (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ipv4 220 table 254", "ipv6 220 table 254"}, lost); diff != "" {
		t.Errorf("rules lost (-want +got):\n%s", diff)
	}
	with.Rules, without.Rules = nil, nil
	if diff := cmp.Diff(without, with, desiredOptions); diff != "" {
		t.Errorf("more than rules differs:\n%s", diff)
	}
}

// TestPrefixLookups walks the rules as the kernel does, with two prefixes of ours
// beside the routes of main.
func TestPrefixLookups(t *testing.T) {
	main := map[string]string{
		"0.0.0.0/0": "default", "192.0.2.0/28": "eth1", "198.51.100.0/24": "eth2", "10.0.0.0/8": "lan",
	}
	l, facts := choiceDay()
	own1, lan, far, near2 := addr("192.0.2.2"), addr("10.1.1.1"), addr("8.8.8.8"), addr("198.51.100.9")
	hop1, hop2 := fmt.Sprint("nhid ", l.hopID(0, fib.IPv4)), fmt.Sprint("nhid ", l.hopID(1, fib.IPv4))
	group, choice := fmt.Sprint("nhid ", l.groupID(fib.IPv4)), fmt.Sprint("nhid ", l.ChoiceID(fib.IPv4, 1))
	tests := []struct {
		name string
		p    packet
		want string
	}{
		{"a prefix of ours", packet{from: lan, to: far}, choice},
		{"the host's own, without a source yet", packet{to: far}, choice},
		{"everything else", packet{from: lan, to: addr("9.9.9.9")}, group},
		{"a source leaves by its uplink", packet{from: own1, to: far}, hop1},
		{"a mark chooses", packet{from: lan, to: far, mark: 0x200}, hop2},
		{"the LAN is reached, whatever somebody announces", packet{from: addr("10.2.2.2"), to: lan}, "main lan"},
		{"a neighbour is reached, whatever somebody announces", packet{from: lan, to: near2}, "main eth2"},
		{"also by a reply that leaves by the uplink it came by", packet{from: own1, to: near2}, hop1},
	}
	for _, room := range []uint32{0, 1, 2, 6} { // Whatever there is for mark rules, and if there is none.
		tight := l
		tight.Priorities.Mark = l.Priorities.Balance - 2 - room
		for _, tt := range tests {
			t.Run(fmt.Sprint(tt.name, " with room ", room), func(t *testing.T) {
				s := choiceScenes(t)["choices"]
				d := tight.Desired(facts, s.verdicts, s.choices)
				if complaint := faulty(tight, facts, d); complaint != "" {
					t.Fatal(complaint)
				}
				for _, p := range []string{"8.8.8.0/24", "10.0.0.0/9", "198.51.100.0/25"} {
					d.Routes = append(d.Routes, fib.Route{
						Table: l.Prefixes, Dst: prefix(p), Metric: 1, Type: fib.RouteUnicast, NextHopID: l.ChoiceID(fib.IPv4, 1),
					})
				}
				if got := lookup(d, tt.p, main); got != tt.want {
					t.Errorf("goes to %q, want %q", got, tt.want)
				}
			})
		}
	}
}

// TestPrefixesLeaveTheGotoItsTarget: where no source has a rule and the configuration
// leaves no room, what a packet to an uplink's subnet jumps to is there all the same.
func TestPrefixesLeaveTheGotoItsTarget(t *testing.T) {
	for room := range uint32(4) {
		l, facts := choiceDay()
		l.Priorities.Mark = l.Priorities.Balance - 2 - room
		for w, fact := range facts {
			fact.Sources = nil
			facts[w] = fact
		}
		d := l.Desired(facts, nil, nil)
		if complaint := faulty(l, facts, d); complaint != "" {
			t.Errorf("room %d: %s", room, complaint)
		}
		for _, r := range d.Rules {
			if r.Table == l.Prefixes && r.Priority != l.Priorities.Balance-1 || max(r.Goto, r.Priority) > l.Priorities.Balance-3 && (r.Mask != 0 || r.Goto != 0) {
				t.Errorf("room %d: rule %+v is misplaced", room, r)
			}
		}
	}
}

// TestAdoptIgnoresChoices: what is in use by default is read off the default's
// group, on every kind of kernel that has groups, however many choices follow
// another way.
func TestAdoptIgnoresChoices(t *testing.T) {
	for _, kernel := range []string{"resilient groups", "plain groups"} {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(kernel, func(t *testing.T) {
				l := layoutFor("a", "b")
				s := newStory(t, f, "a", "b")
				facts, verdicts := verdictsOf(t, l, f, "a live/active, b dead/standby")
				d := l.Desired(facts, verdicts, nil)
				without := l.Adopt(s.policy, list(t, install(t, kernels[kernel], l, d), l), facts, start)
				// As a failover that was cut short might have left it.
				member := fib.Member{NextHop: l.hopID(1, f), Weight: 1}
				for code := range uint16(5) {
					d.Groups = append(d.Groups, fib.Group{
						ID: l.ChoiceID(f, code+1), Type: fib.GroupResilient, Members: []fib.Member{member}, Buckets: 120, IdleTimer: l.IdleTimer,
					})
				}
				k := install(t, kernels[kernel], l, d)
				if got := len(list(t, k, l).Groups); got != 6 {
					t.Fatalf("the kernel has %d groups, want 6", got)
				}
				with := l.Adopt(s.policy, list(t, k, l), facts, start)
				if diff := cmp.Diff(without, with); diff != "" {
					t.Errorf("(-without +with choices):\n%s", diff)
				}
				if with[Way{"a", f}].Role != Active || with[Way{"b", f}].State != Dead {
					t.Errorf("found %v", with)
				}
			})
		})
	}
}

// TestFailoverOfChoicesIsGroupsOnly: a death, a drain and a return change the
// members of groups and nothing else, so that the writer needs no more than one
// batch; and routes need not be touched, because the ids are the same.
func TestFailoverOfChoicesIsGroupsOnly(t *testing.T) {
	l, facts := choiceDay()
	all := choiceScenes(t)
	shape := func(d fib.Desired) fib.Desired {
		d.Groups = slices.Clone(d.Groups)
		for n := range d.Groups {
			d.Groups[n].Members = nil
		}
		return d
	}
	before := l.Desired(facts, all["choices"].verdicts, all["choices"].choices)
	for _, name := range []string{"choices-failover", "choices-draining"} {
		after := l.Desired(facts, all[name].verdicts, all[name].choices)
		if diff := cmp.Diff(shape(before), shape(after), desiredOptions); diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
		if cmp.Equal(before, after, desiredOptions) {
			t.Errorf("%s changes nothing", name)
		}
	}
}

// TestChoicesInTheKernel: the writer can hold every picture without a problem, on
// every kind of kernel, and goes from one to another by replacing groups.
func TestChoicesInTheKernel(t *testing.T) {
	for kernel, c := range kernels {
		t.Run(kernel, func(t *testing.T) {
			l, facts := choiceDay()
			k := fibtest.New()
			k.SetCapabilities(c)
			w, all := fib.NewWriter(k, l.Owner(protocol)), choiceScenes(t)
			sync := func(name string) fib.Report {
				t.Helper()
				rep := w.Sync(context.Background(), l.Desired(facts, all[name].verdicts, all[name].choices), start)
				if !rep.InSync || len(rep.Problems) > 0 || len(rep.Failed) > 0 {
					t.Fatalf("%s: %+v", name, rep)
				}
				return rep
			}
			sync("choices")
			if got := len(list(t, k, l).Groups); c.NextHops && got != 10 {
				t.Fatalf("the kernel has %d groups, want 10", got)
			}
			for _, name := range []string{"choices-failover", "choices", "choices-draining", "choices-failover", "choices-draining", "choices"} {
				for _, op := range sync(name).Done {
					if _, group := op.Object.(fib.Group); c.NextHops && (!group || op.Verb != fib.Replace) {
						t.Errorf("to %s: %s", name, op)
					}
				}
			}
		})
	}
}
