package engine

import (
	"slices"
	"strings"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// slots says which session has which place in a bgp.Choice, by family. A place stays
// with its session over reloads and restarts, because groups in the kernel are made
// from it.
type slots map[fib.Family]*[bgp.MaxSlots]string

func newSlots() slots {
	s := slots{}
	for _, f := range fib.Families {
		s[f] = &[bgp.MaxSlots]string{}
	}
	return s
}

// of returns the place that a session has in all of its families, NoSlot if it has none.
func (s slots) of(name string, families []bgp.Family) bgp.Slot {
	return slotWhere(func(i bgp.Slot) bool {
		return !slices.ContainsFunc(families, func(f bgp.Family) bool { return s[fibFamily(f)][i] != name })
	})
}

// slotWhere returns the first place of which is says true, NoSlot if there is none.
func slotWhere(is func(bgp.Slot) bool) bgp.Slot {
	for i := range bgp.Slot(bgp.MaxSlots) {
		if is(i) {
			return i
		}
	}
	return bgp.NoSlot
}

// assign gives places to those of wishes that import more than a default, and takes
// them from sessions that do not want them any more, or have another one by now, as soon
// as no choice in use names them. It returns the names of sessions for which there is no
// place, and whether something changed.
func (s slots) assign(wishes []peerWish, inUse []uplink.Choice) (without []string, changed bool) {
	changed = s.release(wishes, inUse)
	for _, w := range wishes {
		if w.conf.Import.Mode == bgp.ImportDefault {
			continue
		}
		slot := s.best(w.conf)
		if slot == bgp.NoSlot {
			without = append(without, w.conf.Name)
			continue
		}
		for _, f := range w.conf.Families {
			if have := &s[fibFamily(f)][slot]; *have != w.conf.Name {
				*have = w.conf.Name
				changed = true
			}
		}
	}
	return without, changed
}

// release takes the places that are of no use, and reports whether there was one.
func (s slots) release(wishes []peerWish, inUse []uplink.Choice) (changed bool) {
	used := newSlots()
	for _, w := range wishes {
		slot := s.of(w.conf.Name, w.conf.Families)
		if slot == bgp.NoSlot || w.conf.Import.Mode == bgp.ImportDefault {
			continue
		}
		for _, f := range w.conf.Families {
			used[fibFamily(f)][slot] = w.conf.Name
		}
	}
	for _, f := range fib.Families {
		for i, name := range s[f] {
			if name != used[f][i] && !named(inUse, f, bgp.Slot(i)) {
				s[f][i] = ""
				changed = true
			}
		}
	}
	return changed
}

// best returns the place that a session has; else one that it has in some of its families
// and can have in all; else the first that is free.
func (s slots) best(p bgp.Peer) bgp.Slot {
	slot := s.of(p.Name, p.Families)
	if slot == bgp.NoSlot {
		slot = slotWhere(func(i bgp.Slot) bool {
			return s.fits(i, p) && slices.ContainsFunc(p.Families, func(f bgp.Family) bool { return s[fibFamily(f)][i] == p.Name })
		})
	}
	if slot == bgp.NoSlot {
		slot = slotWhere(func(i bgp.Slot) bool { return s.fits(i, p) })
	}
	return slot
}

// forgotten stands in the place of a session whose name nobody remembers. It is that of
// no session, and of no uplink.
const forgotten = "/forgotten"

// forget keeps the places that choices name and of which nobody remembers whose they
// were: prefixes that a previous life led to those choices follow the default until they
// were told of anew. It reports whether there are some.
func (s slots) forget(l uplink.Layout, choices []uint32) (some bool) {
	for _, id := range choices {
		f, code, ok := l.ChoiceOf(id)
		if !ok {
			continue
		}
		for i := range bgp.Slot(bgp.MaxSlots) {
			if s[f][i] == "" && bgp.Choice(code).Rank(i) != bgp.NoPath {
				s[f][i] = forgotten
				some = true
			}
		}
	}
	return some
}

// fits reports whether a session can have a place in all of its families.
func (s slots) fits(i bgp.Slot, p bgp.Peer) bool {
	return !slices.ContainsFunc(p.Families, func(f bgp.Family) bool {
		have := s[fibFamily(f)][i]
		return have != "" && have != p.Name
	})
}

// named reports whether a choice in use names a place.
func named(inUse []uplink.Choice, f fib.Family, i bgp.Slot) bool {
	return slices.ContainsFunc(inUse, func(c uplink.Choice) bool {
		return c.Family == f && bgp.Choice(c.Code).Rank(i) != bgp.NoPath
	})
}

// choice returns what a code means to a layout: the ranks of its uplinks.
func (s slots) choice(l uplink.Layout, f fib.Family, code uint16) uplink.Choice {
	c := uplink.Choice{Family: f, Code: code, Ranks: make([]uint8, len(l.Uplinks))}
	for i, name := range s[f] {
		rank := uint8(bgp.Choice(code).Rank(bgp.Slot(i)))
		if rank == 0 || name == "" {
			continue
		}
		owner := uplinkOf(name)
		if n := slices.IndexFunc(l.Uplinks, func(p uplink.Place) bool { return p.Name == owner }); n >= 0 && (c.Ranks[n] == 0 || rank < c.Ranks[n]) {
			c.Ranks[n] = rank
		}
	}
	return c
}

// uplinkOf returns the uplink of a session by its name.
func uplinkOf(session string) string {
	if i := strings.LastIndexByte(session, '/'); i >= 0 {
		return session[:i]
	}
	return session
}

// rename lets an uplink that changed nothing but its name keep its places.
func (s slots) rename(before, after string) {
	for _, f := range fib.Families {
		for i, name := range s[f] {
			if name != "" && uplinkOf(name) == before {
				s[f][i] = after + name[len(before):]
			}
		}
	}
}

// defaultSlots returns the places that the sessions of a configuration have in a daemon
// that remembers none.
func (t *site) defaultSlots() slots {
	s := newSlots()
	var wishes []peerWish
	for _, u := range t.config.Uplinks {
		if u.BGP == nil || u.BGP.Import.Mode == config.ImportDefault {
			continue
		}
		for _, f := range fib.Families {
			families := peerFamilies(u.BGP, f)
			if len(families) == 0 || len(u.BGP.Peers) > 0 && !ofFamily(u.BGP.Peers, f).IsValid() || len(u.BGP.Peers) == 0 && t.memberOf(u, f) == nil {
				continue
			}
			wishes = append(wishes, peerWish{conf: bgp.Peer{Name: u.Name + "/" + f.String(), Families: families, Import: t.importOf(u.BGP)}})
		}
	}
	s.assign(wishes, nil)
	return s
}
