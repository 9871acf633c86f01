package bgp

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// slowChoice is choose in another way: it compares each with each, and knows nothing
// of sets and of order.
func slowChoice(rule ASPathRule, left map[Slot]grade) Choice {
	var c Choice
	rest := map[Slot]grade{}
	for s, g := range left {
		rest[s] = g
	}
	for _, rank := range []Rank{First, Second} {
		best := slowBest(rule, rest)
		for _, s := range best {
			c = c.With(s, rank)
			delete(rest, s)
		}
	}
	for s := range rest {
		c = c.With(s, Rest)
	}
	return c
}

func slowBest(rule ASPathRule, left map[Slot]grade) []Slot {
	cost := func(g grade) [5]int64 {
		v := [5]int64{0, int64(g.tier), -int64(g.preference), int64(g.length), int64(g.origin)}
		if g.last {
			v[0] = 1
		}
		if rule == ASPathIgnore {
			v[3] = 0
		}
		return v
	}
	var tied []Slot
	for s, g := range left {
		beaten := false
		for _, other := range left {
			a, b := cost(other), cost(g)
			beaten = beaten || slices.Compare(a[:], b[:]) < 0
		}
		if !beaten {
			tied = append(tied, s)
		}
	}
	var fit []Slot
	for _, s := range tied {
		removed := false
		for _, o := range tied {
			removed = removed || (left[o].neighbour == left[s].neighbour && left[o].med < left[s].med)
		}
		if !removed {
			fit = append(fit, s)
		}
	}
	if rule != ASPathStrict || len(fit) == 0 {
		return fit
	}
	lead := slices.Min(fit)
	return slices.DeleteFunc(fit, func(s Slot) bool { return left[s].neighbour != left[lead].neighbour })
}

// TestB_4271_16_RankingDoesNotDependOnOrder ranks the same candidates in every order,
// and as the slow model does.
func TestB_4271_16_RankingDoesNotDependOnOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 8000 {
		rule := ASPathRule(rnd.IntN(3))
		n := rnd.IntN(MaxSlots + 1)
		grades := map[Slot]grade{}
		var all []candidate
		for _, s := range rnd.Perm(MaxSlots)[:n] {
			g := someGrade(rnd)
			grades[Slot(s)] = g
			all = append(all, candidate{slot: Slot(s), grade: &g})
		}
		want := slowChoice(rule, grades)
		for range 3 {
			if got := choose(rule, all); got != want {
				t.Fatalf("rule %d, %+v: %x, want %x", rule, grades, got, want)
			}
			rnd.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		}
		sound(t, want, n)
	}
}

// sound shows what is promised of every Choice: each candidate has a rank, and no rank
// is left out.
func sound(t *testing.T, c Choice, n int) {
	t.Helper()
	var has [Rest + 1]int
	for s := range Slot(MaxSlots) {
		has[c.Rank(s)]++
	}
	if has[NoPath] != MaxSlots-n || (n > 0) != (has[First] > 0) || (has[Rest] > 0 && has[Second] == 0) {
		t.Fatalf("choice %x of %d: %v", c, n, has)
	}
}

// TestB_4271_16_B_4271_06_B_POL_14_Order goes down the steps of the comparison. Both
// sides differ in a later step the other way round. What is preferred is ours to say:
// LOCAL_PREF of the peer is not among attributes at all.
func TestB_4271_16_B_4271_06_B_POL_14_Order(t *testing.T) {
	g := func(change func(g *grade)) grade {
		g := grade{tier: 1, preference: 100, length: 3, origin: 1, med: 10, neighbour: 64501}
		change(&g)
		return g
	}
	for _, c := range []struct {
		name   string
		rule   ASPathRule
		grades []grade
		want   Choice
	}{
		{"graceful shutdown is behind every tier", ASPathStrict, []grade{
			g(func(g *grade) { g.last = true; g.tier = 0 }), g(func(g *grade) { g.tier = 9 }),
		}, ranks(Second, First)},
		{"a lower tier is before preference", ASPathStrict, []grade{
			g(func(g *grade) { g.preference = 900 }), g(func(g *grade) { g.tier = 0 }),
		}, ranks(Second, First)},
		{"preference is before length", ASPathStrict, []grade{
			g(func(g *grade) { g.length = 1 }), g(func(g *grade) { g.preference = 101 }),
		}, ranks(Second, First)},
		{"length is before origin", ASPathStrict, []grade{
			g(func(g *grade) { g.origin = 0 }), g(func(g *grade) { g.length = 2; g.origin = 2 }),
		}, ranks(Second, First)},
		{"length is before origin, relaxed too", ASPathRelax, []grade{
			g(func(g *grade) { g.origin = 0 }), g(func(g *grade) { g.length = 2; g.origin = 2 }),
		}, ranks(Second, First)},
		{"but not where it is ignored", ASPathIgnore, []grade{
			g(func(g *grade) { g.origin = 0; g.length = 9 }), g(func(g *grade) { g.length = 2; g.origin = 2 }),
		}, ranks(First, Second)},
		{"origin is before MED", ASPathStrict, []grade{
			g(func(g *grade) { g.med = 0 }), g(func(g *grade) { g.origin = 0 }),
		}, ranks(Second, First)},
		{"MED of one neighbour", ASPathStrict, []grade{
			g(func(g *grade) { g.med = 11 }), g(func(*grade) {}),
		}, ranks(Second, First)},
		{"MED of two neighbours says nothing", ASPathRelax, []grade{
			g(func(g *grade) { g.med = 11 }), g(func(g *grade) { g.neighbour = 64502 }),
		}, ranks(First, First)},
		{"one neighbour shares", ASPathStrict, []grade{
			g(func(*grade) {}), g(func(*grade) {}), g(func(g *grade) { g.length = 4 }),
		}, ranks(First, First, Second)},
		{"two neighbours share only if relaxed: strict", ASPathStrict, []grade{
			g(func(*grade) {}), g(func(g *grade) { g.neighbour = 64502 }), g(func(*grade) {}),
		}, ranks(First, Second, First)},
		{"two neighbours share only if relaxed: relax", ASPathRelax, []grade{
			g(func(*grade) {}), g(func(g *grade) { g.neighbour = 64502 }), g(func(g *grade) { g.length = 4 }),
		}, ranks(First, First, Second)},
		{"lengths share if ignored", ASPathIgnore, []grade{
			g(func(*grade) {}), g(func(g *grade) { g.neighbour = 64502; g.length = 7 }),
		}, ranks(First, First)},
		// Compared in pairs one after the other, the winner of these three would
		// depend on which came first: 1 removes 0 by MED, and yet loses to 2.
		{"MED in a circle", ASPathStrict, []grade{
			g(func(g *grade) { g.med = 20 }), g(func(g *grade) { g.neighbour = 64502 }), g(func(g *grade) { g.med = 10 }),
		}, ranks(Rest, First, Second)},
		{"the third and all behind it", ASPathStrict, []grade{
			g(func(g *grade) { g.length = 9 }), g(func(g *grade) { g.length = 8 }), g(func(g *grade) { g.length = 7 }),
			g(func(g *grade) { g.length = 6 }),
		}, ranks(Rest, Rest, Second, First)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []candidate
			grades := map[Slot]grade{}
			for i := range c.grades {
				all = append(all, candidate{slot: Slot(i), grade: &c.grades[i]})
				grades[Slot(i)] = c.grades[i]
			}
			if got := choose(c.rule, all); got != c.want {
				t.Errorf("choice %x, want %x", got, c.want)
			}
			if got := slowChoice(c.rule, grades); got != c.want {
				t.Errorf("the model says %x, want %x", got, c.want)
			}
		})
	}
}

// TestB_4271_20_EveryPathIsExplained shows the words for each place and reason.
func TestB_4271_20_EveryPathIsExplained(t *testing.T) {
	base := grade{tier: 1, preference: 100, length: 3, origin: 1, med: 10, neighbour: 64501}
	with := func(change func(g *grade)) grade {
		g := base
		change(&g)
		return g
	}
	for _, c := range []struct {
		rule   ASPathRule
		grades []grade
		want   []string
	}{
		{ASPathStrict, []grade{base}, []string{"first: the only path"}},
		{ASPathStrict, []grade{base, base}, []string{
			"first, together with isp2: all are equal", "first, together with isp1: all are equal",
		}},
		{ASPathStrict, []grade{with(func(g *grade) { g.length = 2 }), with(func(g *grade) { g.length = 4 })}, []string{
			"first: shorter AS path than isp2 (2 against 4)", "second: longer AS path than isp1 (4 against 2)",
		}},
		{ASPathStrict, []grade{with(func(g *grade) { g.last = true }), base}, []string{
			"second: it is drained or shuts down gracefully, isp2 is not", "first: isp1 is drained or shuts down gracefully",
		}},
		{ASPathStrict, []grade{with(func(g *grade) { g.tier = 0 }), base}, []string{
			"first: lower tier than isp2 (0 against 1)", "second: higher tier than isp1 (1 against 0)",
		}},
		{ASPathStrict, []grade{with(func(g *grade) { g.preference = 200 }), base}, []string{
			"first: higher preference than isp2 (200 against 100)", "second: lower preference than isp1 (100 against 200)",
		}},
		{ASPathStrict, []grade{with(func(g *grade) { g.origin = 2 }), base}, []string{
			"second: worse origin than isp2 (incomplete against EGP)", "first: better origin than isp1 (EGP against incomplete)",
		}},
		{ASPathStrict, []grade{with(func(g *grade) { g.med = 20 }), base, base}, []string{
			"second: higher MED than isp2 (20 against 10)",
			"first, together with isp3: lower MED than isp1 (10 against 20)",
			"first, together with isp2: lower MED than isp1 (10 against 20)",
		}},
		{ASPathStrict, []grade{base, with(func(g *grade) { g.neighbour = 64502 }), base}, []string{
			"first, together with isp3: as good as isp2, but from another neighbouring AS, which comes first in the configuration",
			"second: as good as isp1, but from another neighbouring AS, and that one comes first in the configuration",
			"first, together with isp1: as good as isp2, but from another neighbouring AS, which comes first in the configuration",
		}},
		{ASPathRelax, []grade{with(func(g *grade) { g.med = 20 }), with(func(g *grade) { g.neighbour = 64502 }), base}, []string{
			"second: higher MED than isp3 (20 against 10)",
			"first, together with isp3: isp1 is as good but for its MED, which is higher than that of another path from its neighbouring AS",
			"first, together with isp2: lower MED than isp1 (10 against 20)",
		}},
		{ASPathStrict, []grade{
			with(func(g *grade) { g.length = 7 }), base, with(func(g *grade) { g.length = 5 }), with(func(g *grade) { g.length = 7 }),
		}, []string{
			"rest: longer AS path than isp2 (7 against 3)", "first: shorter AS path than isp3 (3 against 5)",
			"second: longer AS path than isp2 (5 against 3)", "rest: longer AS path than isp2 (7 against 3)",
		}},
	} {
		var all []contender
		for i := range c.grades {
			all = append(all, contender{
				candidate: candidate{slot: Slot(i), grade: &c.grades[i]}, name: "isp" + string(rune('1'+i)),
			})
		}
		for i, want := range c.want {
			if _, got := explain(c.rule, all, i); got != want {
				t.Errorf("%d of %+v: %q, want %q", i+1, c.grades, got, want)
			}
		}
	}
}

// TestB_4271_20_ExplanationsHold shows for random paths that explain knows the rank,
// and that it names another peer unless all are equal.
func TestB_4271_20_ExplanationsHold(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		rule := ASPathRule(rnd.IntN(3))
		var all []contender
		var list []candidate
		for _, s := range rnd.Perm(MaxSlots)[:1+rnd.IntN(5)] {
			g := someGrade(rnd)
			list = append(list, candidate{slot: Slot(s), grade: &g})
			all = append(all, contender{candidate: list[len(list)-1], name: "isp" + string(rune('0'+s))})
		}
		choice := choose(rule, list)
		for i := range all {
			rank, words := explain(rule, all, i)
			if rank != choice.Rank(all[i].slot) || words == "" {
				t.Fatalf("rank %v, want %v: %s", rank, choice.Rank(all[i].slot), words)
			}
			other, by := versus(rule, list, choice, i)
			if by == byNothing {
				continue
			}
			won := rank == First
			if won == (choice.Rank(list[other].slot) == First) && by != byMED {
				t.Fatalf("rank %v compared with rank %v: %s", rank, choice.Rank(list[other].slot), words)
			}
			// What is said of the two is true of the two.
			if d, what := compare(rule, list[i].grade, list[other].grade); what != byNothing && (what != by || won != (d < 0)) {
				t.Fatalf("%s, but they differ in %d by %d", words, what, d)
			}
			if a, b := list[i].grade, list[other].grade; by == byMED && (a.neighbour != b.neighbour || won != (a.med < b.med)) {
				t.Fatalf("%s: %+v, %+v", words, a, b)
			}
		}
	}
}
