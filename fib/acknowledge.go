package fib

import (
	"fmt"
	"slices"
)

// acknowledge changes s as the kernel did when it accepted op.
func (s *State) acknowledge(op Op) {
	gone := op.Verb == Delete
	switch o := op.Object.(type) {
	case NextHop:
		set(s.NextHops, o.ID, o, gone)
	case Group:
		set(s.Groups, o.ID, o, gone)
	case Route:
		set(s.Routes, o.Key(), o, gone)
	case Rule:
		if !gone {
			s.Rules[o] = 1
		} else if s.Rules[o]--; s.Rules[o] <= 0 {
			delete(s.Rules, o)
		}
	case Stray:
		s.Strays = slices.DeleteFunc(slices.Clone(s.Strays), func(have Stray) bool { return have == o })
	default:
		panic(fmt.Sprintf("fib: unhandled object %T", o))
	}
}

// agrees reports whether s already held what op brought about: then op undid a
// change that was not ours.
func (s State) agrees(op Op) bool {
	held := false
	switch o := op.Object.(type) {
	case NextHop:
		have, ok := s.NextHops[o.ID]
		held = ok && (op.Verb == Delete || have.equal(o))
	case Group:
		have, ok := s.Groups[o.ID]
		held = ok && (op.Verb == Delete || have.equal(o))
	case Route:
		have, ok := s.Routes[o.Key()]
		held = ok && (op.Verb == Delete || have.equal(o))
	case Rule:
		held = s.Rules[o] > 0
	case Stray:
		held = slices.Contains(s.Strays, o)
	default:
		panic(fmt.Sprintf("fib: unhandled object %T", o))
	}
	return held == (op.Verb != Delete)
}

func set[K comparable, V any](m map[K]V, k K, v V, gone bool) {
	if gone {
		delete(m, k)
	} else {
		m[k] = v
	}
}
