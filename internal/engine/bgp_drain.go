package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// Times of drains.
const (
	// drainPoll is how often the kernel is asked which flows are left.
	drainPoll = time.Second
	// drainLeast is how long a session stands at least after it told the ISP of the
	// drain: the ISP needs some time to send what comes in another way (RFC 8326
	// section 4).
	drainLeast = 10 * time.Second
	// drainDefault is how long flows may go on where no uplink has BGP, which only the
	// status says.
	drainDefault = 5 * time.Minute
	// returnLimit is how long a way that was drained may wait for its session.
	returnLimit = time.Minute
)

// ispDrains is the reason of a drain that the other side asks for.
const ispDrains = "the ISP announces graceful shutdown (RFC 8326)"

// drain is a way that the operator empties.
type drain struct {
	since time.Time
	// until is when it ends by itself, zero if it does not.
	until time.Time
	// shut: its session is to be down.
	shut bool
	// returning is until when an undrained way waits for its session; zero while it
	// is drained.
	returning time.Time
	// again is until when a session that was ended is awaited, because the way has to
	// carry traffic although it is drained.
	again time.Time
	// busy is how many buckets lead this way, if that is known.
	busy  int
	known bool
}

// drains keeps the drains of the operator. Its methods may be called from any
// goroutine.
type drains struct {
	engine *Engine

	mu   sync.Mutex // guards what follows
	all  map[uplink.Way]*drain
	slot map[string][]string
	// asking: a question about buckets is not answered yet; asked is when the last
	// was begun.
	asking bool
	asked  time.Time

	// writing makes writes follow each other, with the latest state last.
	writing sync.Mutex
}

func newDrains(e *Engine, m memory) *drains {
	return &drains{engine: e, all: m.drains(), slot: m.Slots}
}

// Drain empties the ways of an uplink, of one family ("ipv4", "ipv6") or of both (""),
// until Undrain or, if d is not 0, for that long: no new flow takes them, the ISP is
// told (RFC 8326), and once no flow is left the session is ended. It returns when that
// is decided. A warning says what is not as it should be: that a restart would forget
// it.
func (e *Engine) Drain(_ context.Context, name, family string, d time.Duration) (warnings []string, err error) {
	ways, err := e.waysOf(name, family)
	if err != nil {
		return nil, err
	}
	e.drains.begin(ways, d, time.Now())
	return e.drains.told(), nil
}

// Undrain ends what Drain began. Where a session was ended it comes back first.
func (e *Engine) Undrain(_ context.Context, name, family string) (warnings []string, err error) {
	ways, err := e.waysOf(name, family)
	if err != nil {
		return nil, err
	}
	if !e.drains.end(ways, time.Now()) {
		warnings = append(warnings, name+" was not drained by an operator")
	}
	return append(warnings, e.drains.told()...), nil
}

// told makes the loop look, and returns what could not be remembered as a warning.
func (d *drains) told() []string {
	err := d.write()
	d.engine.board.Poke()
	if err != nil {
		d.engine.log.Warn("a restart would forget what is drained", "error", err)
		return []string{fmt.Sprintf("it is done, but a restart would forget it: %v", err)}
	}
	return nil
}

// waysOf returns the ways that a name and a family mean.
func (e *Engine) waysOf(name, family string) ([]uplink.Way, error) {
	var ways []uplink.Way
	for _, m := range e.shown.Load().site.members {
		if m.Uplink == name && (family == "" || family == m.Family.String()) {
			ways = append(ways, m.Way)
		}
	}
	if len(ways) == 0 {
		return nil, fmt.Errorf("drain %s %s: the configuration has no such uplink", name, family)
	}
	return ways, nil
}

func (d *drains) begin(ways []uplink.Way, limit time.Duration, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range ways {
		have := d.all[w]
		if have == nil || !have.returning.IsZero() {
			have = &drain{since: now}
			d.all[w] = have
		}
		have.until = time.Time{}
		if limit > 0 {
			have.until = now.Add(limit)
		}
	}
}

// end reports whether one of ways was drained.
func (d *drains) end(ways []uplink.Way, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	some := false
	for _, w := range ways {
		have := d.all[w]
		if have == nil || !have.returning.IsZero() {
			continue
		}
		some = true
		if have.shut {
			have.shut, have.returning = false, now.Add(returnLimit)
		} else {
			delete(d.all, w)
		}
	}
	return some
}

// write remembers what is drained.
func (d *drains) write() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	m := memory{Slots: d.slot}
	for w, one := range d.all {
		if one.returning.IsZero() {
			m.Drains = append(m.Drains, rememberedDrain{w.Uplink, w.Family.String(), one.since, one.until})
		}
	}
	d.mu.Unlock()
	slices.SortFunc(m.Drains, func(a, b rememberedDrain) int { return a.Since.Compare(b.Since) })
	return m.write(d.engine.opts.Memory)
}

// remember writes beside the loop, which waits for no disk.
func (d *drains) remember() {
	d.engine.tasks.Go(func() {
		if err := d.write(); err != nil {
			d.engine.log.Warn("a restart would forget what is drained", "error", err)
		}
	})
}

// keep notes the places of sessions to be remembered.
func (d *drains) keep(s slots) {
	d.mu.Lock()
	d.slot = s.remembered()
	for f, names := range d.slot {
		d.slot[f] = slices.Clone(names) // The loop goes on with its own.
	}
	d.mu.Unlock()
	d.remember()
}

// some reports whether anything is drained.
func (d *drains) some() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all) > 0
}

// of returns how w is drained; false if it is not.
func (d *drains) of(w uplink.Way) (drain, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if one := d.all[w]; one != nil {
		return *one, true
	}
	return drain{}, false
}

// why returns why w is to get no new flows because of the operator, in words; empty if
// it may.
func (d *drains) why(w uplink.Way) string {
	one, ok := d.of(w)
	switch {
	case !ok:
		return ""
	case !one.returning.IsZero():
		return "undrained: its BGP session is awaited until " + clockOf(one.returning)
	case one.until.IsZero():
		return "drained by the operator"
	default:
		return "drained by the operator until " + one.until.UTC().Round(time.Second).Format(time.DateTime) + " UTC"
	}
}

// rename lets an uplink that changed nothing but its name stay drained.
func (d *drains) rename(before, after uplink.Way) {
	d.mu.Lock()
	if one := d.all[before]; one != nil {
		d.all[after] = one
		delete(d.all, before)
	}
	d.mu.Unlock()
}

// retain forgets the drains of ways that are not there any more, and reports whether
// there was one.
func (d *drains) retain(members []member) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.all)
	maps.DeleteFunc(d.all, func(w uplink.Way, _ *drain) bool {
		return !slices.ContainsFunc(members, func(m member) bool { return m.Way == w })
	})
	return len(d.all) != before
}

// expire ends the drains whose time is over, and the waiting of those that were ended
// and have their session, as is says, or have waited long enough. It returns when it
// has to be called again.
func (d *drains) expire(now time.Time, is func(uplink.Way) bool) (wake time.Time) {
	var over []uplink.Way
	d.mu.Lock()
	for w, one := range d.all {
		switch {
		case !one.returning.IsZero():
			if !now.Before(one.returning) || is(w) {
				delete(d.all, w)
				continue
			}
			wake = earlier(wake, one.returning)
		case one.until.IsZero():
		case !now.Before(one.until):
			over = append(over, w)
		default:
			wake = earlier(wake, one.until)
		}
	}
	d.mu.Unlock()
	if d.end(over, now) {
		d.remember()
	}
	return wake
}

// advance moves each drain along: a session is ended once its way has no flow left, or
// after limit, and begun again if the way has to carry traffic because nothing else is
// left. It returns when it has to be called again.
func (d *drains) advance(verdicts uplink.Verdicts, limit time.Duration, now time.Time) (wake time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for w, one := range d.all {
		if !one.returning.IsZero() {
			continue
		}
		if verdicts[w].Role == uplink.Active {
			if one.shut {
				one.again = now.Add(returnLimit)
			}
			one.shut, one.known = false, false
			continue
		}
		latest := one.since.Add(limit)
		empty := one.known && one.busy == 0
		if at := one.since.Add(min(drainLeast, limit)); !now.Before(latest) || empty && !now.Before(at) {
			one.shut = true
		} else if wake = earlier(wake, latest); empty {
			wake = earlier(wake, at)
		}
	}
	return wake
}

// poll asks the kernel, beside the loop, how many buckets still lead by ways that are
// drained. groups are kernel ids by family. It returns when it has to be called again.
func (d *drains) poll(ctx context.Context, groups map[fib.Family][]uint32, verdicts uplink.Verdicts, now time.Time) time.Time {
	e := d.engine
	d.mu.Lock()
	defer d.mu.Unlock()
	var ways []uplink.Way
	for w, one := range d.all {
		if one.returning.IsZero() && !one.shut && verdicts[w].Role != uplink.Active {
			ways = append(ways, w)
		}
	}
	if len(ways) == 0 || e.opts.Buckets == nil {
		return time.Time{}
	}
	if due := d.asked.Add(drainPoll); d.asking || now.Before(due) {
		return due
	}
	d.asking, d.asked = true, now
	layout := e.site.layout
	e.tasks.Go(func() {
		busy, failed := map[uplink.Way]int{}, map[fib.Family]error{}
		for _, f := range fib.Families {
			of := slices.DeleteFunc(slices.Clone(ways), func(w uplink.Way) bool { return w.Family != f })
			failed[f] = safely(func() error { return e.countBuckets(ctx, layout, groups[f], of, busy) })
		}
		d.mu.Lock()
		d.asking = false
		for _, w := range ways {
			if one := d.all[w]; one != nil {
				one.busy, one.known = busy[w], failed[w.Family] == nil
			}
		}
		d.mu.Unlock()
		if err := errors.Join(slices.Collect(maps.Values(failed))...); err != nil && ctx.Err() == nil {
			e.log.Debug("cannot count the flows of a drained uplink", "error", err)
		}
		e.board.Poke()
	})
	return now.Add(drainPoll)
}

// countMost bounds the groups that are counted to the end: where there are more, the
// first flow that is found by a way is answer enough.
const countMost = 64

// countBuckets sets in busy how many buckets of groups lead by which of ways.
func (e *Engine) countBuckets(ctx context.Context, l uplink.Layout, groups []uint32, ways []uplink.Way, busy map[uplink.Way]int) error {
	idle := func(w uplink.Way) bool { return busy[w] == 0 }
	for i, g := range groups {
		if len(ways) == 0 || i >= countMost && !slices.ContainsFunc(ways, idle) {
			return nil
		}
		buckets, err := e.opts.Buckets(ctx, g)
		if err != nil {
			return err
		}
		for hop, n := range buckets {
			if w, ok := l.WayOf(hop); ok && slices.Contains(ways, w) {
				busy[w] += n
			}
		}
	}
	return nil
}

// drainTime returns how long flows of a drained uplink may go on.
func (t *site) drainTime() time.Duration {
	if t.config.BGP == nil {
		return drainDefault
	}
	return t.config.BGP.DrainTime
}

// drainGroups returns the kernel ids of the groups that carry the traffic of each
// family: that of its default first, then those of choices.
func drainGroups(l uplink.Layout, desired fib.Desired, held map[uint32]uint32) map[fib.Family][]uint32 {
	out := map[fib.Family][]uint32{}
	for _, r := range desired.Routes {
		if id, ok := held[r.NextHopID]; ok && r.Table == l.BalanceTable {
			f := fib.FamilyOf(r.Dst.Addr())
			out[f] = append(out[f], id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(held)) {
		if f, _, ok := l.ChoiceOf(id); ok {
			out[f] = append(out[f], held[id])
		}
	}
	return out
}
