package bgp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// model is what a rib is to be, slow and obviously right: all is kept as it was put,
// and found by looking at everything.
type model struct {
	rule    ASPathRule
	columns [maxColumns]map[netip.Prefix]*modelPath
	told    map[netip.Prefix]Choice
}

type modelPath struct {
	grade grade
	why   Reason
	stale bool
}

func newModel(rule ASPathRule) *model {
	m := &model{rule: rule, told: map[netip.Prefix]Choice{}}
	for i := range m.columns {
		m.columns[i] = map[netip.Prefix]*modelPath{}
	}
	return m
}

func (m *model) choice(p netip.Prefix) Choice {
	if p.Bits() == 0 {
		return 0
	}
	grades := map[Slot]grade{}
	for s := range Slot(MaxSlots) {
		if path := m.columns[s][p]; path != nil && path.why == Accepted {
			grades[s] = path.grade
		}
	}
	return slowChoice(m.rule, grades)
}

func (m *model) counts(col int) counts {
	var n counts
	for p, path := range m.columns[col] {
		n.received++
		if path.stale {
			n.stale++
		}
		if path.why != Accepted {
			n.refused[path.why]++
		} else {
			n.accepted++
			if path.grade.draining {
				n.draining++
			}
		}
		if p.Bits() == 0 {
			n.fallback = DefaultRoute{
				Received: true, Accepted: path.why == Accepted, Refused: path.why,
				Draining: path.grade.draining && path.why == Accepted,
			}
		}
	}
	return n
}

// take returns what is to be told, all of it.
func (m *model) take() map[netip.Prefix]Choice {
	now := map[netip.Prefix]Choice{}
	for s := range MaxSlots {
		for p := range m.columns[s] {
			if c := m.choice(p); c != 0 {
				now[p] = c
			}
		}
	}
	news := map[netip.Prefix]Choice{}
	for p, c := range now {
		if m.told[p] != c {
			news[p] = c
		}
	}
	for p := range m.told {
		if now[p] == 0 {
			news[p] = 0
		}
	}
	m.told = now
	return news
}

// someGrade returns one of a few grades.
func someGrade(rnd *rand.Rand) grade {
	return grade{
		tier: int16(rnd.IntN(2)), preference: uint32(100 + 100*rnd.IntN(2)), length: uint16(1 + rnd.IntN(3)),
		origin: uint8(rnd.IntN(2)), med: uint32(rnd.IntN(3)), neighbour: uint32(64501 + rnd.IntN(3)),
		last: rnd.IntN(8) == 0, draining: rnd.IntN(8) == 0,
	}
}

// somePrefix returns one of n prefixes, or now and then the default route.
func somePrefix(rnd *rand.Rand, f Family, n int) netip.Prefix {
	if rnd.IntN(50) == 0 {
		return fallbackOf(f)
	}
	p := numbered(f, rnd.IntN(n))
	if rnd.IntN(4) == 0 {
		return netip.PrefixFrom(p.Addr(), p.Bits()-1-rnd.IntN(8)).Masked()
	}
	return p
}

// step does the same random thing to both.
func step(rnd *rand.Rand, f Family, r *rib, m *model, prefixes int) {
	col := rnd.IntN(10)
	if col >= MaxSlots {
		col = []int{MaxSlots, maxColumns - 1}[col-MaxSlots]
	}
	p := somePrefix(rnd, f, prefixes)
	switch do := rnd.IntN(1000); {
	case do < 600:
		g, why := someGrade(rnd), Accepted
		if rnd.IntN(4) == 0 {
			why = Reason(1 + rnd.IntN(reasons-1))
			g = grade{}
		}
		r.put(col, p, g, why)
		m.columns[col][p] = &modelPath{grade: g, why: why}
	case do < 900:
		r.withdraw(col, p)
		delete(m.columns[col], p)
	case do < 950:
		again := do < 925
		if again {
			r.remark(col)
		} else {
			r.mark(col)
		}
		for p, path := range m.columns[col] {
			if path.stale && !again {
				delete(m.columns[col], p)
			}
			path.stale = true
		}
	case do < 970:
		r.sweep(col)
		for p, path := range m.columns[col] {
			if path.stale {
				delete(m.columns[col], p)
			}
		}
	case do < 985:
		r.drop(col)
		m.columns[col] = map[netip.Prefix]*modelPath{}
	case do < 990:
		r.again()
		m.told = map[netip.Prefix]Choice{}
	case do < 995:
		m.rule = ASPathRule(rnd.IntN(3))
		r.setRule(m.rule)
	default:
		r.rerank()
	}
}

// TestB_4271_08_RandomOperationsAgreeWithTheModel does the same random things to a rib
// and to its model. New paths replace old ones, and what is withdrawn is gone.
func TestB_4271_08_RandomOperationsAgreeWithTheModel(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f Family) {
		for seed := range uint64(12) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			rule := ASPathRule(seed % 3)
			r, m := newRIB(f, rule), newModel(rule)
			prefixes := []int{3, 40, 400}[seed/3%3]
			for n := range 4000 {
				step(rnd, f, r, m, prefixes)
				if n%23 == 0 {
					got, want := takeAll(r), m.take()
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Fatalf("seed %d step %d: told %v, want %v", seed, n, got, want)
					}
				}
				if n%97 == 0 {
					agree(t, r, m)
				}
			}
			emptied(t, r)
		}
	})
}

func agree(t *testing.T, r *rib, m *model) {
	t.Helper()
	for col := range maxColumns {
		if got, want := r.counts(col), m.counts(col); got != want {
			t.Fatalf("column %d: counts\n%+v, want\n%+v", col, got, want)
		}
		for p, path := range m.columns[col] {
			want := known{grade: path.grade, why: path.why, stale: path.stale}
			if got, ok := r.path(col, p); !ok || got != want {
				t.Fatalf("column %d, %v: %+v %v, want %+v", col, p, got, ok, want)
			}
			if got, want := r.choice(p), m.choice(p); got != want {
				t.Fatalf("%v: choice %x, want %x", p, got, want)
			}
		}
	}
	entries := map[netip.Prefix]bool{}
	for col := range m.columns {
		for p := range m.columns[col] {
			entries[p] = true
		}
	}
	all := r.within(fallbackOf(r.family), 1<<20)
	if len(all) != len(entries) || !slices.IsSortedFunc(all, netip.Prefix.Compare) {
		t.Fatalf("within: %d prefixes, want %d, in order", len(all), len(entries))
	}
}

// emptied shows that nothing is left behind when all paths are gone.
func emptied(t *testing.T, r *rib) {
	t.Helper()
	for col := range maxColumns {
		r.drop(col)
	}
	takeAll(r)
	if r.changed() || r.entries.live != 0 || len(r.grades.ids) != 0 || r.size() > 1<<16 {
		t.Fatalf("empty, but: %d entries, %d grades, %d octets", r.entries.live, len(r.grades.ids), r.size())
	}
}
