package uplink

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/multihomed/multihomed/fib"
)

// Words that explain a role which the state alone does not.
const (
	reasonKept   = "in use all the same: nothing better is left"
	reasonServes = "in use already: to take its traffic away would improve nothing"
	reasonClosed = "not used: all uplinks are dead and the configuration says withdraw"
)

// candidate is a way that the kernel can send by. One that was not looked at yet
// counts, but keeps the role that was found in the kernel.
type candidate struct {
	*conclusion
	tier int
	// drained says that it is to get no new flows.
	drained bool
	given   Role
	// words explain given where the state does not.
	words string
}

// assignRoles decides, family by family, who carries the traffic and who stands
// by. concluded is parallel to p.Members.
func (p Policy) assignRoles(concluded []conclusion) {
	all := make([]candidate, 0, len(p.Members))
	for _, family := range fib.Families {
		all = all[:0]
		for i, m := range p.Members {
			if m.Family != family {
				continue
			}
			v := &concluded[i]
			found := v.Role != RoleNone
			if v.known {
				v.Role = RoleNone
			}
			if v.usable || !v.known && found {
				all = append(all, candidate{conclusion: v, tier: m.Tier, drained: m.Drain != ""})
			}
		}
		p.cast(all)
		for _, c := range all {
			if !c.known {
				continue
			}
			c.Role = c.given
			if c.words != "" {
				c.Reasons = append([]string{c.words}, c.Reasons...)
			}
		}
	}
}

// cast gives the candidates of one family their roles.
func (p Policy) cast(all []candidate) {
	active, words := fit(all), ""
	if len(active) == 0 || all[active[0]].State != Live {
		words = reasonKept
	}
	if len(active) == 0 {
		active = p.lastResort(all)
	}
	if len(active) == 0 {
		for i := range all {
			all[i].words = reasonClosed
		}
		return
	}
	for _, i := range active {
		all[i].given, all[i].words = Active, words
	}
	tier := all[active[0]].tier
	for i := range all {
		if c := &all[i]; c.tier == tier && c.given != Active && c.serves() {
			c.given, c.words = Active, reasonServes
		}
	}
	if slices.ContainsFunc(active, func(i int) bool { return !all[i].drained }) {
		for i := range all {
			if c := &all[i]; c.drained && c.State == Held {
				c.given = Draining
			}
		}
	}
	for _, i := range best(all, func(c candidate) (rank, bool) { return c.rank(), c.given == RoleNone }) {
		all[i].given = Standby
	}
}

// fit returns the best of the ways of which nothing bad is said.
func fit(all []candidate) []int {
	return best(all, func(c candidate) (rank, bool) { return c.rank(), c.State == Live || c.State == Held })
}

// serves reports whether c, which waits after an outage, carries traffic already
// because there was nothing better. It goes on then, though another way of its
// tier is live or a better one begins to wait: to move its flows away, and back,
// would improve nothing. A way that flaps does not go on, nor does one that is to
// give its traffic away.
func (c candidate) serves() bool { return c.State == Held && c.serving && !c.Damped && !c.drained }

// lastResort chooses who carries the traffic when every way is dead.
func (p Policy) lastResort(all []candidate) []int {
	rankOf := func(candidate) (rank, bool) { return rank{}, true }
	switch p.AllDead {
	case FailClosed:
		return nil
	case KeepAll:
	case KeepLast:
		if slices.ContainsFunc(all, func(c candidate) bool { return c.serving }) {
			rankOf = func(c candidate) (rank, bool) { return rank{}, c.serving }
		} else {
			rankOf = func(c candidate) (rank, bool) { return rank{tier: c.tier}, true }
		}
	default:
		panic(fmt.Sprintf("uplink: unhandled choice %d for when all are dead", uint8(p.AllDead)))
	}
	return best(all, rankOf)
}

// rank orders ways by what can be expected of them: live before held before
// dead, among the held those that serve before those that nothing but a drain
// holds before those that need not be trusted yet, then by tier.
type rank struct {
	state State
	held  int
	tier  int
}

func (c candidate) rank() rank {
	r := rank{state: c.State, tier: c.tier}
	switch {
	case c.State != Held || c.serves():
	case c.Drained || c.drained && c.serving && !c.Damped:
		r.held = 1
	case !c.drained:
		r.held = 2
	default:
		r.held = 3
	}
	return r
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.state, o.state), cmp.Compare(r.held, o.held), cmp.Compare(r.tier, o.tier))
}

// best returns the positions of the best rank among those that of accepts.
func best(all []candidate, of func(candidate) (rank, bool)) []int {
	out := make([]int, 0, len(all))
	var top rank
	for i, c := range all {
		r, ok := of(c)
		if !ok {
			continue
		}
		switch order := r.compare(top); {
		case len(out) == 0 || order < 0:
			out, top = append(out[:0], i), r
		case order == 0:
			out = append(out, i)
		}
	}
	return out
}
