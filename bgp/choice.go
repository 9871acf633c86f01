package bgp

import "cmp"

// candidate is a path that was accepted from the peer in a slot.
type candidate struct {
	slot  Slot
	grade *grade
}

// set is some of the candidates, a bit each.
type set uint8

func (s set) has(i int) bool { return s&(1<<i) != 0 }

// choose ranks candidates, each of another slot. In which order they are given, or
// came, makes no difference.
//
// What is compared, in this order: what is last, the tier, the local preference, the
// length of the AS path, the origin, and MED among paths from one neighbouring AS (RFC
// 4271 section 9.1.2.2 a to c; paths are all external, and their next hops are all on
// links of ours, so d and e do not tell any from another). A path is removed for its
// MED if any path of the same neighbour is still there with a lower one, as in the
// pseudocode of that section, so the result is the one that other implementations call
// deterministic.
//
// Paths that are equal then share the traffic, as the rule allows. Where they may not,
// the peer in the lower slot wins, with those that may share with it: that is the order
// of the configuration. Steps f and g of RFC 4271, which take the lowest BGP identifier
// and address, are replaced by this because the one who runs an edge with two ISPs
// knows the order of the configuration, and has chosen it; identifiers of routers are
// accidents, which change when an ISP replaces a router. Nor does the path that came
// first stay the best one, as some implementations have it: after the same events in
// another order the ranks would differ.
func choose(rule ASPathRule, all []candidate) Choice {
	var c Choice
	left := set(1<<len(all) - 1)
	for rank := First; left != 0; rank++ {
		best := left
		if rank < Rest {
			best = bestOf(rule, all, left)
		}
		for i := range all {
			if best.has(i) {
				c = c.With(all[i].slot, rank)
			}
		}
		left &^= best
	}
	return c
}

// bestOf returns those of the candidates in left that share the best rank.
func bestOf(rule ASPathRule, all []candidate, left set) set {
	best := untouchedByMED(all, equals(rule, all, left))
	if rule != ASPathStrict {
		return best
	}
	lead := leader(all, best)
	for i := range all {
		if best.has(i) && all[i].grade.neighbour != all[lead].grade.neighbour {
			best &^= 1 << i
		}
	}
	return best
}

// equals returns those of the candidates in left that are best by all that is compared
// before MED.
func equals(rule ASPathRule, all []candidate, left set) set {
	var best set
	var lead *grade
	for i := range all {
		if !left.has(i) {
			continue
		}
		by := -1
		if lead != nil {
			by, _ = compare(rule, all[i].grade, lead)
		}
		switch {
		case by < 0:
			best, lead = 1<<i, all[i].grade
		case by == 0:
			best |= 1 << i
		}
	}
	return best
}

// untouchedByMED returns those of the candidates in s for which there is no lower MED
// from the same neighbouring AS.
func untouchedByMED(all []candidate, s set) set {
	best := s
	for i := range all {
		if s.has(i) && lowerMED(all, s, i) >= 0 {
			best &^= 1 << i
		}
	}
	return best
}

// lowerMED returns the candidate in s with the lowest MED of those that are lower than
// the one of candidate i and from the same neighbouring AS, or -1.
func lowerMED(all []candidate, s set, i int) int {
	lowest := -1
	med := all[i].grade.med
	for k := range all {
		g := all[k].grade
		if s.has(k) && g.neighbour == all[i].grade.neighbour && g.med < med {
			lowest, med = k, g.med
		}
	}
	return lowest
}

// leader returns the candidate in s with the lowest slot. s is not empty.
func leader(all []candidate, s set) int {
	lead := -1
	for i := range all {
		if s.has(i) && (lead < 0 || all[i].slot < all[lead].slot) {
			lead = i
		}
	}
	return lead
}

// criterion is what two paths differ in.
type criterion uint8

const (
	byNothing criterion = iota
	byLast
	byTier
	byPreference
	byLength
	byOrigin
	byMED
	// byMEDOfOthers: the other path lost to a third one.
	byMEDOfOthers
	byOrder
)

// compare returns a negative number if a is better than b by what is compared before
// MED, a positive one if it is worse, and by what.
func compare(rule ASPathRule, a, b *grade) (int, criterion) {
	switch {
	case a.last != b.last:
		if b.last {
			return -1, byLast
		}
		return 1, byLast
	case a.tier != b.tier:
		return cmp.Compare(a.tier, b.tier), byTier
	case a.preference != b.preference:
		return cmp.Compare(b.preference, a.preference), byPreference
	case a.length != b.length && rule != ASPathIgnore:
		return cmp.Compare(a.length, b.length), byLength
	case a.origin != b.origin:
		return cmp.Compare(a.origin, b.origin), byOrigin
	default:
		return 0, byNothing
	}
}
