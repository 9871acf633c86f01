package bgp

import (
	"fmt"
	"strings"
)

// contender is a candidate with the name of its peer, for words about it.
type contender struct {
	candidate
	name string
}

// whyDefault is why a default route that was accepted has no rank.
const whyDefault = "accepted: default routes are not ranked against each other, the tiers and weights of the uplinks decide"

// explain returns the rank of contender i among all that offer the same prefix, which
// are accepted and in different slots, and why it has that, such as "first: shorter AS
// path than isp2 (2 against 4)".
func explain(rule ASPathRule, all []contender, i int) (Rank, string) {
	list := make([]candidate, len(all))
	for k := range all {
		list[k] = all[k].candidate
	}
	choice := choose(rule, list)
	rank := choice.Rank(list[i].slot)
	if len(all) == 1 {
		return rank, rank.String() + ": the only path"
	}
	var peers []string
	for k := range all {
		if k != i && choice.Rank(list[k].slot) == rank && rank != Rest {
			peers = append(peers, all[k].name)
		}
	}
	words := rank.String()
	if len(peers) > 0 {
		words += ", together with " + strings.Join(peers, " and ")
	}
	other, why := versus(rule, list, choice, i)
	if why == byNothing {
		return rank, words + ": all are equal"
	}
	return rank, words + ": " + difference(why, &all[i], &all[other], rank == First)
}

// versus returns against which path candidate i won or lost its place in the first
// rank, and by what.
func versus(rule ASPathRule, all []candidate, choice Choice, i int) (int, criterion) {
	if choice.Rank(all[i].slot) != First {
		return lostTo(rule, all, choice, i)
	}
	for _, rank := range [...]Rank{Second, Rest} {
		for k := range all {
			if choice.Rank(all[k].slot) != rank {
				continue
			}
			_, by := lostTo(rule, all, choice, k)
			if by == byMED && all[k].grade.neighbour != all[i].grade.neighbour {
				return k, byMEDOfOthers
			}
			return k, by
		}
	}
	return i, byNothing
}

// lostTo returns against which path candidate i, which is not of the first rank, lost
// its place there, and by what.
func lostTo(rule ASPathRule, all []candidate, choice Choice, i int) (int, criterion) {
	var everyone, firsts set
	for k := range all {
		everyone |= 1 << k
		if choice.Rank(all[k].slot) == First {
			firsts |= 1 << k
		}
	}
	first := leader(all, firsts)
	if _, by := compare(rule, all[i].grade, all[first].grade); by != byNothing {
		return first, by
	}
	if lower := lowerMED(all, equals(rule, all, everyone), i); lower >= 0 {
		return lower, byMED
	}
	return first, byOrder
}

// difference says in words what is better with a, if it won, or worse than with b.
func difference(by criterion, a, b *contender, won bool) string {
	x, y := a.grade, b.grade
	switch by {
	case byNothing:
		return "equal to " + b.name
	case byLast:
		if y.last {
			return b.name + " is drained or shuts down gracefully"
		}
		return "it is drained or shuts down gracefully, " + b.name + " is not"
	case byTier:
		return against(pick(x.tier < y.tier, "lower tier", "higher tier"), b.name, x.tier, y.tier)
	case byPreference:
		return against(pick(x.preference > y.preference, "higher preference", "lower preference"), b.name, x.preference, y.preference)
	case byLength:
		return against(pick(x.length < y.length, "shorter AS path", "longer AS path"), b.name, x.length, y.length)
	case byOrigin:
		return against(pick(x.origin < y.origin, "better origin", "worse origin"), b.name, originText(x.origin), originText(y.origin))
	case byMED:
		return against(pick(x.med < y.med, "lower MED", "higher MED"), b.name, x.med, y.med)
	case byMEDOfOthers:
		return b.name + " is as good but for its MED, which is higher than that of another path from its neighbouring AS"
	case byOrder:
		return fmt.Sprintf("as good as %s, but from another neighbouring AS, %s in the configuration",
			b.name, pick(won, "which comes first", "and that one comes first"))
	default:
		panic(fmt.Sprintf("bgp: unhandled criterion %d", uint8(by)))
	}
}

func pick(first bool, one, other string) string {
	if first {
		return one
	}
	return other
}

func against(what, name string, x, y any) string {
	return fmt.Sprintf("%s than %s (%v against %v)", what, name, x, y)
}
