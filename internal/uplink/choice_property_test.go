package uplink

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// randomChoices returns choices of both families, with every code once.
func randomChoices(r *rand.Rand, uplinks int) (all []Choice) {
	for _, f := range fib.Families {
		for code := range uint16(1 + r.IntN(8)) {
			c := Choice{Family: f, Code: code + 1, Ranks: make([]uint8, r.IntN(uplinks+2))}
			for n := range c.Ranks {
				c.Ranks[n] = uint8(r.IntN(4))
			}
			all = append(all, c)
		}
	}
	return all
}

// TestChoicesOfRandomDays: whatever the verdicts and the choices are, no prefix is
// worse off than the default.
func TestChoicesOfRandomDays(t *testing.T) {
	l := layoutFor("a", "b", "c", "d")
	l.UnbalancedTimer = 2 * time.Minute
	ranked, defaulted, drained := 0, 0, 0
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 41))
		s := world(t, AllDead(seed%3), 10*time.Second)
		s.links()
		for range 40 {
			s.drainSome(r)
			shuffle(s, r.IntN)
			facts, choices := factsOf(s), randomChoices(r, len(l.Uplinks))
			d := l.Desired(facts, s.verdicts, choices)
			if complaint := faulty(l, facts, d); complaint != "" {
				t.Fatalf("seed %d: %s\n%s", seed, complaint, draw(d))
			}
			for _, c := range choices {
				j := judged{l, facts, s.verdicts, d, c}
				if complaint := j.worse(); complaint != "" {
					g, _ := groupOf(d, l.ChoiceID(c.Family, c.Code))
					t.Fatalf("seed %d: ranks %v: %s\nmembers %s\n%s", seed, c.Ranks, complaint, inWords(l, g.Members), draw(d))
				}
				switch g, ok := groupOf(d, l.ChoiceID(c.Family, c.Code)); {
				case !ok:
				case slices.ContainsFunc(g.Members, func(m fib.Member) bool { return m.Draining }):
					drained++
				case j.ranked():
					ranked++
				default:
					defaulted++
				}
			}
		}
	}
	if min(ranked, defaulted, drained) < 1000 {
		t.Errorf("%d follow their ranks, %d the default, %d have a draining member: the test proves little", ranked, defaulted, drained)
	}
}

// judged is a choice, what was drawn for it, and why.
type judged struct {
	l        Layout
	facts    Facts
	verdicts Verdicts
	d        fib.Desired
	c        Choice
}

func (j judged) rank(name string) uint8 {
	n := slices.IndexFunc(j.l.Uplinks, func(p Place) bool { return p.Name == name })
	if n >= len(j.c.Ranks) {
		return 0
	}
	return j.c.Ranks[n]
}

// best returns the lowest rank that has a live way which the kernel can send by.
func (j judged) best() (best uint8) {
	for _, u := range j.l.Uplinks {
		w := Way{u.Name, j.c.Family}
		if r := j.rank(u.Name); r > 0 && j.facts[w].Usable && j.verdicts[w].State == Live && (best == 0 || r < best) {
			best = r
		}
	}
	return best
}

func (j judged) ranked() bool { return j.best() > 0 }

// worse returns in what the prefixes of the choice are worse off than they need be,
// or "".
func (j judged) worse() string {
	def, hasDefault := groupOf(j.d, j.l.groupID(j.c.Family))
	g, ok := groupOf(j.d, j.l.ChoiceID(j.c.Family, j.c.Code))
	if ok != hasDefault {
		return fmt.Sprintf("drawn %t, the default %t", ok, hasDefault)
	}
	carries := func(members []fib.Member) (active, live, sound int) {
		for _, m := range members {
			w, _ := j.l.WayOf(m.NextHop)
			v := j.verdicts[w]
			if m.Standby || m.Draining {
				continue
			}
			active++
			if v.State == Live {
				live++
			}
			if v.State == Live || v.State == Held && v.Role == Active {
				sound++
			}
		}
		return active, live, sound
	}
	active, live, sound := carries(g.Members)
	defActive, defLive, _ := carries(def.Members)
	best := j.best()
	for _, m := range g.Members {
		w, _ := j.l.WayOf(m.NextHop)
		v, rank := j.verdicts[w], j.rank(w.Uplink)
		switch carrying := !m.Standby && !m.Draining; {
		case carrying && v.Role == Draining && defActive > 0:
			return w.Uplink + " carries new flows though it drains"
		case m.Draining && v.Role != Draining:
			return w.Uplink + " drains by nobody's word"
		case carrying && best > 0 && (rank == 0 || rank > best):
			return fmt.Sprintf("%s carries traffic, but rank %d is live", w.Uplink, best)
		}
	}
	switch {
	case defActive > 0 && active == 0:
		return "nothing carries the traffic, but the default's is carried"
	case defLive > 0 && sound < active:
		return "something dead carries traffic though a way is live"
	case best > 0 && live == 0 && sound == 0:
		return "nothing live carries traffic though it could"
	}
	return ""
}
