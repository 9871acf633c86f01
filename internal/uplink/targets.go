package uplink

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// sameMoment is how far apart two uplinks may notice the death of one target for
// it to count as one event. Uplinks probe at their own pace; half a minute covers
// the slow ones and is short enough that two outages seldom meet in it.
const sameMoment = 30 * time.Second

// witness is what one way says of one target.
type witness struct {
	uplink  string
	opinion Opinion
	since   time.Time
}

// witnesses collects what the ways say of every target. A way that the kernel
// cannot send by says nothing of targets, and what went dead through it before
// it could send again was its own fault.
func witnesses(members []Member, heard []hearing) map[netip.Addr][]witness {
	all := map[netip.Addr][]witness{}
	for i, h := range heard {
		if len(h.hardDown) > 0 {
			continue
		}
		for _, t := range h.icmp.Targets {
			if t.Opinion == Up || t.Opinion == Down && !t.Since.Before(h.hardSince) {
				list := all[t.Address]
				if list == nil {
					list = make([]witness, 0, len(members))
				}
				all[t.Address] = append(list, witness{members[i].Uplink, t.Opinion, t.Since})
			}
		}
	}
	return all
}

// excused reports whether the death of target t through uplink name is the
// target's own fault: it went dead through every uplink that can tell, at the
// same moment. An uplink where it had been dead for long cannot tell. before says
// that it was excused already: then it stays so until another uplink has seen it
// alive for the same length of time, because its return is not noticed by all
// at once either. again is when the answer may change by the mere passing of
// time.
func excused(t Target, name string, all []witness, before bool, now time.Time) (ok bool, again time.Time) {
	ok = before
	for _, w := range all {
		if w.uplink == name {
			continue
		}
		switch w.opinion {
		case Up:
			until := w.since.Add(sameMoment)
			if !before || !now.Before(until) {
				return false, time.Time{}
			}
			again = earliest(again, until)
		case Down:
			later := w.since.Sub(t.Since)
			if later > sameMoment && !before {
				return false, time.Time{}
			}
			ok = ok || later >= -sameMoment
		case Unknown:
		}
	}
	return ok, again
}

// poll is the opinion of a set of targets.
type poll struct {
	opinion Opinion
	reason  string
	excused []netip.Addr
	again   time.Time
}

// quorum draws the opinion about one way from its targets. An excused target
// lowers the number that must answer, so that as many of the others may be lost
// as before; but one must always answer.
func quorum(m Member, targets []Target, all map[netip.Addr][]witness, before []netip.Addr, now time.Time) poll {
	var p poll
	up, down, unknown := 0, 0, 0
	var lost, faulty string
	for _, t := range targets {
		switch t.Opinion {
		case Up:
			up++
		case Unknown:
			unknown++
		case Down:
			ok, again := excused(t, m.Uplink, all[t.Address], slices.Contains(before, t.Address), now)
			if ok {
				p.excused = append(p.excused, t.Address)
				p.again = earliest(p.again, again)
				faulty += "; " + t.Address.String() + " is dead through every uplink and not counted"
				continue
			}
			down++
			if lost == "" {
				lost = "; " + t.Address.String() + ": " + t.Reason
			}
		}
	}
	counted := up + down + unknown
	if counted == 0 {
		p.reason = fmt.Sprintf("all targets (%d) went dead through every uplink at once: their fault", len(targets))
		return p
	}
	need := m.Quorum
	if need == 0 {
		need = len(targets)/2 + 1
	}
	need = max(1, min(need-len(p.excused), counted))
	switch {
	case up >= need:
		p.opinion, lost = Up, ""
	case up+unknown < need:
		p.opinion = Down
	}
	p.reason = fmt.Sprintf("%d of %d targets answer, %d needed%s%s", up, counted, need, lost, faulty)
	return p
}

// earliest returns the earlier of two times, of which the zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
