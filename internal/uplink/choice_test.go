package uplink

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// verdictsOf reads verdicts of family f from words like "a live/active, b
// held/standby, c gone", and facts in which the kernel cannot send by what is
// gone. The uplinks are those of l, in its order.
func verdictsOf(t *testing.T, l Layout, f fib.Family, words string) (Facts, Verdicts) {
	t.Helper()
	facts, verdicts := Facts{}, Verdicts{}
	for n, said := range strings.Split(words, ", ") {
		name, what, _ := strings.Cut(said, " ")
		if l.Uplinks[n].Name != name {
			t.Fatalf("uplink %d is %s, not %s", n, l.Uplinks[n].Name, name)
		}
		w, fact := Way{name, f}, factFor(n, name, f)
		state, role, _ := strings.Cut(what, "/")
		v := Verdict{State: Dead, Reasons: []string{"told"}}
		for _, s := range []State{StateUnknown, Live, Held, Dead} {
			if s.String() == state {
				v.State = s
			}
		}
		for _, r := range []Role{RoleNone, Active, Standby, Draining} {
			if r.String() == role {
				v.Role = r
			}
		}
		fact.Usable = what != "gone"
		facts[w], verdicts[w] = fact, v
	}
	return facts, verdicts
}

// inWords returns the members of a group, as "a3 b1, draining c1, standby d1".
func inWords(l Layout, members []fib.Member) string {
	var active, draining, standby []string
	for _, m := range members {
		w, _ := l.WayOf(m.NextHop)
		words := fmt.Sprint(w.Uplink, m.Weight)
		switch {
		case m.Draining:
			draining = append(draining, words)
		case m.Standby:
			standby = append(standby, words)
		default:
			active = append(active, words)
		}
	}
	all := []string{strings.Join(active, " ")}
	if len(draining) > 0 {
		all = append(all, "draining "+strings.Join(draining, " "))
	}
	if len(standby) > 0 {
		all = append(all, "standby "+strings.Join(standby, " "))
	}
	return strings.Join(all, ", ")
}

func groupOf(d fib.Desired, id uint32) (fib.Group, bool) {
	for _, g := range d.Groups {
		if g.ID == id {
			return g, true
		}
	}
	return fib.Group{}, false
}

// TestChoice: which ways the prefixes of a choice follow. The weights of a to d are
// 1 to 4.
func TestChoice(t *testing.T) {
	const all = "a live/active, b live/active, c live/standby, d live/none"
	tests := []struct {
		name     string
		verdicts string
		ranks    []uint8
		want     string
	}{
		{"one offers them: the default stands by", all, []uint8{1, 0, 0, 0}, "a1, standby b2 c3"},
		{"two share them", all, []uint8{1, 1, 0, 0}, "a1 b2, standby c3"},
		{"the second rank before the default", all, []uint8{1, 0, 0, 2}, "a1, standby d4 b2 c3"},
		{"ranks in order", all, []uint8{3, 3, 2, 1}, "d4, standby c3 a1 b2"},
		{"a higher tier than the default's", all, []uint8{0, 0, 1, 1}, "c3 d4, standby a1 b2"},
		{"all share them", all, []uint8{1, 1, 1, 1}, "a1 b2 c3 d4"},
		{"nobody offers them any more: the default", all, []uint8{0, 0, 0, 0}, "a1 b2, standby c3"},
		{"ranks of fewer uplinks than there are", all, []uint8{0, 1}, "b2, standby a1 c3"},
		{"ranks of more", all, []uint8{0, 0, 0, 1, 1, 1}, "d4, standby a1 b2 c3"},

		{"one of two is dead", "a dead/none, b live/active, c live/standby, d live/none", []uint8{1, 1, 0, 2}, "b2, standby d4 c3"},
		{"the dead one stands by if it does for the default", "a dead/standby, b live/active, c dead/none, d gone", []uint8{1, 1, 2, 2}, "b2, standby a1"},
		{"the rank is dead: the next", "a dead/none, b dead/none, c live/active, d live/standby", []uint8{1, 1, 3, 2}, "d4, standby c3"},
		{"the rank is gone: the next", "a gone, b live/active, c live/standby, d live/none", []uint8{1, 2, 0, 3}, "b2, standby d4 c3"},
		{"no rank is left: the default", "a dead/none, b gone, c live/active, d live/standby", []uint8{1, 2, 0, 0}, "c3, standby d4"},
		{"all dead: the default's last resort", "a dead/active, b dead/standby, c dead/standby, d gone", []uint8{0, 1, 2, 0}, "a1, standby b2 c3"},
		{"all dead, and the last resort offers them", "a dead/active, b dead/active, c dead/standby, d gone", []uint8{1, 0, 0, 0}, "a1 b2, standby c3"},

		{"one waits after an outage", "a held/standby, b live/active, c dead/none, d gone", []uint8{1, 2, 0, 0}, "b2, standby a1"},
		{"what waits stands by behind what is live", "a live/active, b held/none, c live/standby, d live/none", []uint8{1, 2, 0, 3}, "a1, standby d4 c3 b2"},
		{"one waits, but serves", "a held/active, b live/active, c live/standby, d live/none", []uint8{1, 2, 0, 0}, "a1, standby b2 c3"},

		{"a drained one keeps its flows", "a held/draining, b live/active, c live/standby, d live/none", []uint8{1, 1, 0, 0}, "b2, draining a1, standby c3"},
		{"the drained one was the first rank", "a held/draining, b live/active, c live/standby, d live/none", []uint8{1, 2, 0, 3}, "b2, draining a1, standby d4 c3"},
		{"a drained one that had no flows", "a live/active, b held/draining, c live/standby, d live/none", []uint8{1, 2, 0, 0}, "a1, standby c3 b2"},
		{"drained, and did not offer them", "a live/active, b held/draining, c live/standby, d live/none", []uint8{1, 0, 0, 0}, "a1, standby c3 b2"},
		{"drained, and nobody else offers them", "a held/draining, b live/active, c live/standby, d gone", []uint8{1, 0, 0, 0}, "b2, draining a1, standby c3"},
		{"drained, but the last", "a held/active, b dead/standby, c gone, d gone", []uint8{1, 1, 1, 1}, "a1, standby b2"},
	}
	for _, tt := range tests {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(tt.name, func(t *testing.T) {
				l := layoutFor("a", "b", "c", "d")
				for n := range l.Uplinks {
					l.Uplinks[n].Weight = n + 1
				}
				facts, verdicts := verdictsOf(t, l, f, tt.verdicts)
				d := l.Desired(facts, verdicts, []Choice{{Family: f, Code: 7, Ranks: tt.ranks}})
				if complaint := faulty(l, facts, d); complaint != "" {
					t.Error(complaint)
				}
				g, ok := groupOf(d, l.ChoiceID(f, 7))
				if !ok {
					t.Fatal("no group is drawn")
				}
				if got := inWords(l, g.Members); got != tt.want {
					t.Errorf("\n got %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

// TestChoiceGroupNeverNeedsAnotherID: the kernel fixes the type and the buckets of
// a group for the life of its id, and routes point at the id.
func TestChoiceGroupNeverNeedsAnotherID(t *testing.T) {
	for _, count := range []int{1, 2, 6, 7, 64} {
		l, facts, verdicts := many(count)
		l.IdleTimer, l.UnbalancedTimer = 7*time.Second, time.Minute
		for _, f := range fib.Families {
			d := l.Desired(facts, verdicts, []Choice{{Family: f, Code: 65535, Ranks: []uint8{1}}})
			g, ok := groupOf(d, l.NextHopBase+1<<16+familyIndex(f)<<16+65535)
			if !ok {
				t.Fatalf("%d uplinks: no group with the id of before", count)
			}
			g.Members = nil
			want := fib.Group{ID: g.ID, Type: fib.GroupResilient, Buckets: 120, IdleTimer: 7 * time.Second, UnbalancedTimer: time.Minute}
			if diff := cmp.Diff(want, g); diff != "" {
				t.Errorf("%d uplinks (-want +got):\n%s", count, diff)
			}
		}
	}
}

// TestChoiceIDs: the id of a choice leads back to it, and no other id does.
func TestChoiceIDs(t *testing.T) {
	l := layoutFor("a", "b")
	for _, f := range fib.Families {
		for _, code := range []uint16{1, 2, 255, 256, 65535} {
			id := l.ChoiceID(f, code)
			if gotFamily, gotCode, ok := l.ChoiceOf(id); !ok || gotFamily != f || gotCode != code {
				t.Errorf("%d of %s leads to %d of %s, %t", code, f, gotCode, gotFamily, ok)
			}
			if w, ok := l.WayOf(id); ok {
				t.Errorf("%d of %s is taken for the next hop of %s", code, f, w)
			}
			if id-l.NextHopBase >= idSpace/4 {
				t.Errorf("%d of %s has id %d, outside of the first quarter", code, f, id)
			}
		}
		for _, id := range []uint32{0, l.hopID(1, f), l.groupID(f), l.ChoiceID(f, 0), l.NextHopBase + 3<<16} {
			if _, code, ok := l.ChoiceOf(id); ok {
				t.Errorf("id %d is taken for choice %d", id, code)
			}
		}
	}
}

// TestChoicesOfAbsentFamily: without a member there is no group; a choice of one
// family draws nothing in the other; what has no code or no family has no group.
func TestChoicesOfAbsentFamily(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		l := layoutFor("a", "b")
		other := fib.IPv4 + fib.IPv6 - f
		choices := []Choice{{Family: f, Code: 1, Ranks: []uint8{1, 2}}, {Family: other, Code: 1, Ranks: []uint8{1, 2}}, {Code: 2, Ranks: []uint8{1, 2}}}
		ids := func(words string) (drawn []uint32) {
			facts, verdicts := verdictsOf(t, l, f, words)
			for _, g := range l.Desired(facts, verdicts, choices).Groups {
				drawn = append(drawn, g.ID)
			}
			return drawn
		}
		if diff := cmp.Diff([]uint32{l.groupID(f), l.ChoiceID(f, 1)}, ids("a live/active, b live/active")); diff != "" {
			t.Errorf("groups (-want +got):\n%s", diff)
		}
		for _, words := range []string{"a gone, b gone", "a dead/none, b dead/none"} {
			if got := ids(words); len(got) > 0 {
				t.Errorf("%s: groups %v are drawn", words, got)
			}
		}
	})
}

// TestDefaultsComeFirst: the groups of the defaults are listed before those of
// choices, of whatever family, because many more flows hang on them.
func TestDefaultsComeFirst(t *testing.T) {
	l, facts, verdicts := many(3)
	d := l.Desired(facts, verdicts, manyChoices(l, 10))
	if len(d.Groups) != 12 || d.Groups[0].ID != l.groupID(fib.IPv4) || d.Groups[1].ID != l.groupID(fib.IPv6) {
		t.Errorf("%d groups, the first two are %d and %d", len(d.Groups), d.Groups[0].ID, d.Groups[1].ID)
	}
}

// TestWeightsOfTheDay: what the facts say of a weight goes before the
// configuration, in every group.
func TestWeightsOfTheDay(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		l := layoutFor("a", "b", "c")
		facts, verdicts := verdictsOf(t, l, f, "a live/active, b live/active, c held/draining")
		for name, weight := range map[string]int{"a": 255, "c": 17} {
			fact := facts[Way{name, f}]
			fact.Weight = weight
			facts[Way{name, f}] = fact
		}
		d := l.Desired(facts, verdicts, []Choice{{Family: f, Code: 1, Ranks: []uint8{1, 1, 1}}})
		for _, g := range d.Groups {
			var words []string
			for _, m := range g.Members {
				w, _ := l.WayOf(m.NextHop)
				words = append(words, fmt.Sprint(w.Uplink, m.Weight))
			}
			if got := strings.Join(words, " "); got != "a255 b1 c17" {
				t.Errorf("group %d has %s, want a255 b1 c17", g.ID, got)
			}
		}
		if len(d.Groups) != 2 {
			t.Errorf("%d groups", len(d.Groups))
		}
	})
}
