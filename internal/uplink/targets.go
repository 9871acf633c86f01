package uplink

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// sameMoment is, where the policy says nothing, how far apart two uplinks may
// notice the death of one target for it to count as one event. Uplinks probe at
// their own pace; half a minute covers the slow ones.
const sameMoment = 30 * time.Second

// witness is what one way says of one target: whose word it is, by position in
// Policy.Members, and how old the opinion is. Addresses tell the family, so that
// all witnesses of a target speak of one family.
type witness struct {
	way     int
	opinion Opinion
	age     time.Duration
}

// witnesses collects what the ways say of every target. A way that the kernel
// cannot send by says nothing of targets, and what went dead through it before
// it could send again was its own fault.
func witnesses(heard []hearing, now time.Time) map[netip.Addr][]witness {
	all := map[netip.Addr][]witness{}
	for i, h := range heard {
		if len(h.hardDown) > 0 {
			continue
		}
		for _, t := range h.icmp.Targets {
			if t.Opinion == Up || t.Opinion == Down && !t.Since.Before(h.hardSince) {
				list := all[t.Address]
				if list == nil {
					list = make([]witness, 0, len(heard))
				}
				all[t.Address] = append(list, witness{i, t.Opinion, now.Sub(t.Since)})
			}
		}
	}
	return all
}

// excused reports whether the death of a target, of that age, through one way is
// the target's own fault: it went dead through every uplink that can tell, at the
// same moment. An uplink where it had been dead for long cannot tell. before says
// that it was excused already: then it stays so until another uplink has seen it
// alive for the same length of time, because its return is not noticed by all
// at once either. again is after how long the answer changes by the mere passing
// of time; 0 if it does not.
func excused(age time.Duration, way int, all []witness, before bool, window time.Duration) (ok bool, again time.Duration) {
	ok = before
	for _, w := range all {
		if w.way == way {
			continue
		}
		switch w.opinion {
		case Up:
			left := window - w.age
			if !before || left <= 0 {
				return false, 0
			}
			if again == 0 || left < again {
				again = left
			}
		case Down:
			switch later := age - w.age; {
			case later > window && !before:
				return false, 0
			case later >= -window:
				ok = true
			}
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
func quorum(m Member, way int, targets []Target, all map[netip.Addr][]witness, before []netip.Addr, window time.Duration, now time.Time) poll {
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
			ok, again := excused(now.Sub(t.Since), way, all[t.Address], slices.Contains(before, t.Address), window)
			if ok {
				p.excused = append(p.excused, t.Address)
				if again > 0 {
					p.again = earliest(p.again, now.Add(again))
				}
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
		p.reason = "all targets (" + strconv.Itoa(len(targets)) + ") went dead through every uplink at once: their fault"
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
	p.reason = strconv.Itoa(up) + " of " + strconv.Itoa(counted) + " targets answer, " + strconv.Itoa(need) + " needed" + lost + faulty
	return p
}

// earliest returns the earlier of two times, of which the zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
