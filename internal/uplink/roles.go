package uplink

import (
	"cmp"
	"fmt"

	"github.com/multihomed/multihomed/fib"
)

// Words that explain a role which the state alone does not.
const (
	reasonKept   = "in use all the same: nothing better is left"
	reasonServes = "in use already: to take its traffic away would improve nothing"
	reasonClosed = "not used: all uplinks are dead and the configuration says withdraw"
)

// casting gives the roles of one family.
type casting struct {
	Policy
	verdicts, previous Verdicts
	// members are the ways that the kernel can send by.
	members []Member
	// fixed are those of them that were not looked at yet: they count, but keep
	// the role that was found in the kernel.
	fixed map[Way]bool
}

// assignRoles decides, family by family, who carries the traffic and who stands
// by. heard is parallel to p.Members.
func (p Policy) assignRoles(verdicts, previous Verdicts, heard []hearing) {
	for _, family := range fib.Families {
		c := casting{Policy: p, verdicts: verdicts, previous: previous, fixed: map[Way]bool{}}
		for i, m := range p.Members {
			if m.Family != family {
				continue
			}
			v := verdicts[m.Way]
			switch {
			case !heard[i].known:
				c.fixed[m.Way] = true
				if v.Role != RoleNone {
					c.members = append(c.members, m)
				}
				continue
			case len(heard[i].hardDown) == 0:
				c.members = append(c.members, m)
			}
			v.Role = RoleNone
			verdicts[m.Way] = v
		}
		c.assign()
	}
}

// set gives m a role and puts words, if any, before its reasons.
func (c *casting) set(m Member, r Role, words string) {
	if c.fixed[m.Way] {
		return
	}
	v := c.verdicts[m.Way]
	v.Role = r
	if words != "" {
		v.Reasons = append([]string{words}, v.Reasons...)
	}
	c.verdicts[m.Way] = v
}

func (c *casting) assign() {
	active, words := c.fit(), ""
	if len(active) == 0 || c.verdicts[active[0].Way].State != Live {
		words = reasonKept
	}
	if len(active) == 0 {
		active = c.lastResort()
	}
	if len(active) == 0 {
		for _, m := range c.members {
			c.set(m, RoleNone, reasonClosed)
		}
		return
	}
	chosen := make(map[Way]bool, len(active))
	for _, m := range active {
		c.set(m, Active, words)
		chosen[m.Way] = true
	}
	tier := active[0].Tier
	for _, m := range c.members {
		if words == "" && m.Tier == tier && !chosen[m.Way] && c.serves(m) {
			c.set(m, Active, reasonServes)
			chosen[m.Way] = true
		}
	}
	for _, m := range best(c.members, func(m Member) (rank, bool) {
		return rank{c.verdicts[m.Way].State, m.Tier}, !chosen[m.Way]
	}) {
		c.set(m, Standby, "")
	}
}

// fit returns the best of the ways of which nothing bad is said.
func (c *casting) fit() []Member {
	return best(c.members, func(m Member) (rank, bool) {
		s := c.verdicts[m.Way].State
		return rank{s, m.Tier}, s == Live || s == Held
	})
}

// serves reports whether m, which waits after an outage, carries traffic already
// because there was nothing better. It goes on then, though another way's wait
// ended first: to move its flows away and back would improve nothing. A way that
// flaps does not go on.
func (c *casting) serves(m Member) bool {
	v := c.verdicts[m.Way]
	return v.State == Held && !v.Damped && c.previous[m.Way].Role == Active
}

// lastResort chooses who carries the traffic when every way is dead.
func (c *casting) lastResort() []Member {
	switch c.AllDead {
	case FailClosed:
		return nil
	case KeepAll:
		return c.members
	case KeepLast:
	default:
		panic(fmt.Sprintf("uplink: unhandled choice %d for when all are dead", uint8(c.AllDead)))
	}
	var last []Member
	for _, m := range c.members {
		if c.previous[m.Way].Role == Active {
			last = append(last, m)
		}
	}
	if len(last) > 0 {
		return last
	}
	return best(c.members, func(m Member) (rank, bool) { return rank{tier: m.Tier}, true })
}

// rank orders ways by what can be expected of them: live before held before
// dead, then by tier.
type rank struct {
	state State
	tier  int
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.state, o.state), cmp.Compare(r.tier, o.tier))
}

// best returns the members of the best rank among those that of accepts.
func best(members []Member, of func(Member) (rank, bool)) []Member {
	var out []Member
	var top rank
	for _, m := range members {
		r, ok := of(m)
		if !ok {
			continue
		}
		c := 0
		if len(out) > 0 {
			c = r.compare(top)
		}
		if len(out) == 0 || c < 0 {
			out, top = []Member{m}, r
		} else if c == 0 {
			out = append(out, m)
		}
	}
	return out
}
