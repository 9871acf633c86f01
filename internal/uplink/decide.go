package uplink

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// patience is how long a way that died waits for a source to vouch for it when
// none says anything at all. Unknown is not Down, so no way is lost for ever
// because a probe cannot be sent.
const patience = 30 * time.Second

// Decide concludes one verdict for each member of p from the latest evidence and
// the previous verdicts. wakeAt is when it must be called again although no
// evidence changes; the zero Time if it need not. Both are functions of the
// arguments alone, and none of the arguments is changed.
//
// A member without link evidence has not been looked at yet and keeps its
// previous verdict.
func Decide(p Policy, previous Verdicts, s Snapshot, now time.Time) (verdicts Verdicts, wakeAt time.Time) {
	heard := make([]hearing, len(p.Members))
	for i, m := range p.Members {
		heard[i] = hear(m.Way, s)
	}
	all := witnesses(heard, now)
	concluded := make([]conclusion, len(p.Members))
	for i, m := range p.Members {
		before := previous[m.Way]
		c := weigh(m, i, heard[i], s, all, before.Excused, p.sameMoment(), now)
		v, wake := p.step(m, before, c, now)
		concluded[i] = conclusion{v, before.Role == Active, heard[i].known, c.known && len(c.hardDown) == 0}
		wakeAt = earliest(wakeAt, earliest(wake, c.again))
	}
	p.assignRoles(concluded)
	verdicts = make(Verdicts, len(p.Members))
	for i, m := range p.Members {
		verdicts[m.Way] = concluded[i].Verdict
	}
	return verdicts, wakeAt
}

// conclusion is the verdict about one way, and what its role depends on.
type conclusion struct {
	Verdict
	// serving says that it was active so far.
	serving bool
	// known says that it was looked at, usable that the kernel can send by it.
	known, usable bool
}

// hearing is what must be known of every way before any of them can be weighed.
type hearing struct {
	// known is false until the link has been looked at.
	known    bool
	hardDown []string
	// hardSince is when the hard evidence last changed its opinion.
	hardSince time.Time
	icmp      Evidence
	probed    bool
}

func hear(w Way, s Snapshot) hearing {
	var h hearing
	for kind := KindLink; kind.Hard(); kind++ {
		e, ok := s[Source{w, kind}]
		if !ok {
			continue
		}
		h.known = h.known || kind == KindLink && e.Opinion != Unknown
		if e.Opinion == Down {
			h.hardDown = append(h.hardDown, e.words())
		}
		if e.Opinion != Unknown && e.Since.After(h.hardSince) {
			h.hardSince = e.Since
		}
	}
	h.icmp, h.probed = s[Source{w, KindICMP}]
	return h
}

// words returns what e says, with the name of its source.
func (e Evidence) words() string {
	if e.Reason == "" {
		return e.Kind.String() + ": " + e.Opinion.String()
	}
	return e.Kind.String() + ": " + e.Reason
}

// scales is the evidence about one way, sorted by what it weighs.
type scales struct {
	hearing
	softDown, up []string
	// unsure are the words of soft sources without an opinion.
	unsure []string
	// targetsDown says that the down among softDown is that of probe targets.
	targetsDown bool
	excused     []netip.Addr
	again       time.Time
}

// softKinds are the kinds that are not hard, in the order of reports.
var softKinds = [...]Kind{KindKernel, KindNeighbour, KindICMP, KindBFD, KindBGP}

func weigh(m Member, way int, h hearing, s Snapshot, all map[netip.Addr][]witness, before []netip.Addr, window time.Duration, now time.Time) scales {
	c := scales{hearing: h}
	for _, kind := range softKinds {
		e, ok := h.icmp, h.probed
		if kind != KindICMP {
			e, ok = s[Source{m.Way, kind}]
		} else if len(e.Targets) > 0 {
			q := quorum(m, way, e.Targets, all, before, window, now)
			e.Opinion, e.Reason, c.excused, c.again = q.opinion, q.reason, q.excused, q.again
			c.targetsDown = q.opinion == Down
		}
		if !ok {
			continue
		}
		switch e.Opinion {
		case Down:
			c.softDown = append(c.softDown, e.words())
		case Up:
			c.up = append(c.up, e.words())
		case Unknown:
			c.unsure = append(c.unsure, e.words())
		default:
			panic(fmt.Sprintf("uplink: unhandled opinion %d", uint8(e.Opinion)))
		}
	}
	return c
}

// onlyTargets reports whether nothing but probe targets speaks against the way.
func (c scales) onlyTargets() bool {
	return c.targetsDown && len(c.softDown) == 1 && len(c.hardDown) == 0
}

// step moves the way of m from its previous verdict to the next, roles aside.
func (p Policy) step(m Member, before Verdict, c scales, now time.Time) (Verdict, time.Time) {
	v := before
	if !c.known {
		if len(v.Reasons) == 0 {
			v.Reasons = []string{"link: not looked at yet"}
		}
		return v, time.Time{}
	}
	if v.Drained {
		v.State, v.Drained = Live, false // As if nobody had drained it.
	}
	v.Penalty = p.Damping.Decayed(v.Penalty, now.Sub(v.PenaltyAt))
	v.PenaltyAt = now
	v.Verified = len(c.up) > 0
	wrongly := v.State == Dead && v.TargetsOnly && !subset(c.excused, v.Excused)
	v.Excused = c.excused
	var wake time.Time
	switch {
	case len(c.hardDown)+len(c.softDown) > 0:
		p.die(&v, m.Drain != "", c)
	case v.State == StateUnknown || v.State == Live || v.Untried && len(c.up) > 0:
		v.live(c)
	case wrongly:
		// It was declared dead for a target that turns out to be dead
		// everywhere: no outage, so no penalty and no wait.
		v.Penalty = max(0, v.Penalty-outagePenalty)
		v.live(c)
	default:
		wake = p.recover(&v, c, now)
	}
	if m.Drain != "" {
		v.drain(m.Drain)
	}
	if v.Since = now; v.State == before.State {
		v.Since = before.Since
	}
	return v, wake
}

// drain holds a way that is to get no new flows. What else is said of it goes on
// beside: without the drain it is at once what it would have been.
func (v *Verdict) drain(why string) {
	switch v.State {
	case Live:
		v.State, v.Drained = Held, true
		v.Reasons = append([]string{why}, v.Reasons...)
	case Held:
		v.Reasons = append([]string{why}, v.Reasons...)
	case Dead:
		v.Reasons = append(slices.Clip(v.Reasons), why)
	case StateUnknown:
	}
}

// subset reports whether all of a are in b.
func subset(a, b []netip.Addr) bool {
	return !slices.ContainsFunc(a, func(x netip.Addr) bool { return !slices.Contains(b, x) })
}

// die handles a way of which something bad is said. An outage costs a penalty
// when the way was in service, and also while it is held for flapping: what goes
// on flapping stays held (RFC 2439 section 4.2). The bounces of a way that waits
// after one outage are that outage, and what happens to one that is drained was
// to be expected.
func (p Policy) die(v *Verdict, drained bool, c scales) {
	if v.State == Live && !drained || v.State == Held && v.Damped {
		v.Penalty = p.Damping.add(v.Penalty)
		v.Damped = v.Damped || v.Penalty > p.Damping.Suppress
	}
	v.TargetsOnly = c.onlyTargets() && (v.TargetsOnly || v.State == StateUnknown || v.State == Live)
	v.Untried = len(c.hardDown) == 0 && (v.Untried || v.State == StateUnknown)
	v.State = Dead
	v.GoodSince = time.Time{}
	v.Reasons = slices.Concat(c.hardDown, c.softDown)
}

func (v *Verdict) live(c scales) {
	v.State = Live
	v.GoodSince, v.Damped, v.TargetsOnly, v.Untried = time.Time{}, false, false, false
	v.Reasons = c.up
	if len(c.up) == 0 {
		v.Reasons = append([]string{"nothing speaks against it, nothing vouches for it (not verified)"}, c.unsure...)
	}
}

// recover handles a way that was dead and of which nothing bad is said now.
func (p Policy) recover(v *Verdict, c scales, now time.Time) (wake time.Time) {
	if v.GoodSince.IsZero() {
		v.GoodSince = now
	}
	if v.State == Dead && len(c.unsure) > 0 && len(c.up) == 0 {
		if until := v.GoodSince.Add(patience); now.Before(until) {
			v.Reasons = append([]string{"nothing speaks against it any more, nothing vouches for it yet, which is awaited until " + clock(until)}, c.unsure...)
			return until
		}
	}
	if v.State == Dead {
		v.GoodSince = now
		v.State = Held
	}
	v.TargetsOnly = false
	v.Damped = v.Damped && !p.Damping.reuses(v.Penalty)
	v.Reasons = nil
	if v.Damped {
		wake = now.Add(p.Damping.reusable(v.Penalty))
		v.Reasons = append(v.Reasons, "flapping: held until "+clock(wake)+", when its penalty has fallen below "+
			strconv.FormatFloat(p.Damping.Reuse, 'f', -1, 64))
	}
	if until := v.GoodSince.Add(p.HoldUp); now.Before(until) {
		v.Reasons = append(v.Reasons, "good since "+clock(v.GoodSince)+", held until "+clock(until))
		wake = earliest(wake, until)
	}
	if len(v.Reasons) == 0 {
		v.live(c)
		return time.Time{}
	}
	v.Reasons = slices.Concat(v.Reasons, c.up, c.unsure)
	return wake
}

// clock returns the time of day as reasons name it. It is rounded, so that a
// reason does not change while the time that it names does not.
func clock(t time.Time) string { return t.UTC().Round(time.Second).Format(time.TimeOnly) + " UTC" }
