package fib

import (
	"fmt"
	"slices"
)

// firstDeletion returns the index of the first deletion in a plan: they stand
// together at the end.
func firstDeletion(ops []Op) int {
	i := slices.IndexFunc(ops, func(op Op) bool { return op.Verb == Delete })
	if i < 0 {
		return len(ops)
	}
	return i
}

// harmless returns those of deletions that take nothing that may be needed
// because a write failed before them; the others wait until it has succeeded.
//
// A route or rule that could not be written may be the successor of one that is
// to go, so the routes and rules of its family stay. A next hop or group stays as
// long as something that stays points at it, because the kernel would delete that
// too.
func harmless(deletions []Op, failed []Failure, actual State) []Op {
	if len(failed) == 0 {
		return deletions
	}
	h := holding{waiting: waitingFamilies(failed), used: map[uint32]bool{}}
	going := h.sift(deletions)
	leaving := map[RouteKey]bool{}
	for _, op := range going {
		if r, ok := op.Object.(Route); ok {
			leaving[r.Key()] = true
		}
	}
	for key, r := range actual.Routes {
		if !leaving[key] {
			h.used[r.NextHopID] = true
		}
	}
	return h.siftUsed(going, actual)
}

// holding knows what has to stay.
type holding struct {
	// waiting families have a route or rule that could not be written.
	waiting map[Family]bool
	// used ids are pointed at by something that stays.
	used map[uint32]bool
}

func waitingFamilies(failed []Failure) map[Family]bool {
	waiting := map[Family]bool{}
	for _, f := range failed {
		switch o := f.Op.Object.(type) {
		case Route:
			waiting[o.Family()] = true
		case Rule:
			waiting[o.Family] = true
		case NextHop, Group, Stray:
			// What they leave behind is held by what points at it.
		default:
			panic(fmt.Sprintf("fib: unhandled object %T", o))
		}
	}
	return waiting
}

// sift drops the routes and rules that have to stay.
func (h holding) sift(deletions []Op) []Op {
	return keepIf(deletions, func(op Op) bool {
		switch o := op.Object.(type) {
		case Route:
			return !h.waiting[o.Family()]
		case Rule:
			return !h.waiting[o.Family]
		case Stray:
			return len(h.waiting) == 0 // its family is not known
		case NextHop, Group:
			return true
		default:
			panic(fmt.Sprintf("fib: unhandled object %T", o))
		}
	})
}

// siftUsed drops the groups and next hops that have to stay. Groups stand before
// next hops in a plan, so what a staying group points at is known in time.
func (h holding) siftUsed(deletions []Op, actual State) []Op {
	leaving := map[uint32]bool{}
	for _, op := range deletions {
		if g, ok := op.Object.(Group); ok && !h.used[g.ID] {
			leaving[g.ID] = true
		}
	}
	for id, g := range actual.Groups {
		if leaving[id] {
			continue
		}
		for _, m := range g.Members {
			h.used[m.NextHop] = true
		}
	}
	return keepIf(deletions, func(op Op) bool {
		switch o := op.Object.(type) {
		case Group:
			return !h.used[o.ID]
		case NextHop:
			return !h.used[o.ID]
		case Route, Rule, Stray:
			return true
		default:
			panic(fmt.Sprintf("fib: unhandled object %T", o))
		}
	})
}

func keepIf(ops []Op, keep func(Op) bool) []Op {
	return slices.DeleteFunc(slices.Clone(ops), func(op Op) bool { return !keep(op) })
}
