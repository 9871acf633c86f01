package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/multihomed/multihomed/internal/status"
)

// world is what the demo plays in: the network with its traffic, and the daemon.
type world interface {
	// act breaks or repairs something.
	act(a action) error
	// traffic tells about the packets that were sent from from until to.
	traffic(from, to time.Time) traffic
	// status is the daemon's word; an error means that it did not answer yet.
	status(ctx context.Context) (status.Status, error)
	// alive is an error once the daemon ended.
	alive() error
}

// traffic is what the wire says about a window of time.
type traffic struct {
	// flows is how many there are, arriving how many lost nothing and had
	// packets arrive.
	flows, arriving int
	// by counts the flows that each ISP carried, by family (IPv4, IPv6). After a
	// change within the window a flow counts with both.
	by map[string][2]int
	// hit is the number of flows that lost packets, lost the packets, longest
	// the longest outage of one flow.
	hit, lost int
	longest   time.Duration
	// overrun counts the packets, of all time, that this machine was too slow
	// to send or to receive.
	overrun uint64
}

// carried is how many flows an ISP carried.
func (t traffic) carried(isp string) int { return t.by[isp][0] + t.by[isp][1] }

// action is one thing that is done to an ISP.
type action struct {
	isp  string
	kind kind
}

// kind is what is done.
type kind uint8

const (
	kindUnknown kind = iota
	// cut makes the ISP drop everything silently, uncut ends that.
	cut
	uncut
	// unplug takes the carrier from the edge's device, plug gives it back.
	unplug
	plug
	// hangUp ends a PPP session with its device, dial begins a new one with
	// another address.
	hangUp
	dial
)

// trial is one failure and its repair.
type trial struct {
	// title is for the table, broken and repaired for the timeline.
	title, broken, repaired string
	failure, repair         action
}

// outcome is what came of a trial; durations count from the failure, and from the
// repair in backAfter.
type outcome struct {
	title                            string
	verdictAfter, longest, backAfter time.Duration
	flows, hit, lost, lostOnReturn   int
}

const (
	// lookEvery is how often the wire is looked at, askEvery the daemon.
	lookEvery = 50 * time.Millisecond
	askEvery  = 250 * time.Millisecond
	// tellEvery is how often a waiting demo says how things are, if they changed.
	tellEvery = time.Second
	// calm is the window in which nothing may be lost before a change counts as
	// done; flight is left to packets on their way.
	calm   = 400 * time.Millisecond
	flight = 100 * time.Millisecond
	// before is added in front of a failure, so that the last packets sent
	// before it count, which were still on their way.
	before = 20 * time.Millisecond
)

// player is a running demo.
type player struct {
	world
	limit    time.Duration
	p        *printer
	verdicts map[way]status.Way
	last     status.Status
}

// way is one uplink in one family.
type way struct{ uplink, family string }

// play runs the trials in order and writes the table; the error says what did not
// happen.
func play(ctx context.Context, w world, trials []trial, limit time.Duration, p *printer) error {
	pl := &player{world: w, limit: limit, p: p, verdicts: map[way]status.Way{}}
	var names []string
	for _, t := range trials {
		names = append(names, t.failure.isp)
	}
	err := pl.wait(ctx, "everything is ready", func(t traffic) bool {
		return pl.last.Ready && pl.allCarry(t, names) && pl.probed(names)
	})
	if err != nil {
		return err
	}
	pl.p.line(time.Now(), green, "ready", "%s", pl.describe(pl.recent()))
	var outcomes []outcome
	for _, t := range trials {
		o, err := pl.try(ctx, t)
		if err != nil {
			label := "FAILED"
			if ctx.Err() != nil {
				label = "stopped"
			}
			pl.p.line(time.Now(), red, label, "%v", err)
			return fmt.Errorf("%s: %w", t.title, err)
		}
		outcomes = append(outcomes, o)
	}
	pl.p.table(outcomes)
	if n := pl.recent().overrun; n > 0 {
		pl.p.line(time.Now(), yellow, "note", "this machine was too busy: %d of the lost packets are its own fault, not that of a failover", n)
	}
	pl.p.line(time.Now(), green, "done", "every failover and every return happened, as seen on the wire")
	return nil
}

// try breaks an ISP, waits for the failover, repairs it and waits for the return.
func (pl *player) try(ctx context.Context, t trial) (outcome, error) {
	o := outcome{title: t.title}
	isp := t.failure.isp
	began := time.Now()
	if err := pl.act(t.failure); err != nil {
		return o, err
	}
	pl.p.line(began, red, "BREAK", "%s", t.broken)
	err := pl.wait(ctx, "the flows leave "+isp, func(tr traffic) bool { return pl.deserted(tr, isp) })
	if err != nil {
		return o, err
	}
	// The verdict is asked for afterwards: the kernel may be faster.
	err = pl.wait(ctx, "the daemon says so", func(traffic) bool { return pl.fallen(isp, began) })
	if err != nil {
		return o, err
	}
	o.verdictAfter = pl.fellAfter(isp, began)
	seen := pl.traffic(began.Add(-before), time.Now().Add(-flight))
	o.flows, o.hit, o.lost, o.longest = seen.flows, seen.hit, seen.lost, seen.longest
	pl.p.line(time.Now(), green, "failover", "all %d flows arrive without %s; %d were hit, the longest outage was %s, %d packets lost",
		o.flows, isp, o.hit, milliseconds(o.longest), o.lost)

	repaired := time.Now()
	if err := pl.act(t.repair); err != nil {
		return o, err
	}
	pl.p.line(repaired, yellow, "REPAIR", "%s", t.repaired)
	err = pl.wait(ctx, isp+" carries flows again", func(tr traffic) bool { return pl.allCarry(tr, []string{isp}) })
	if err != nil {
		return o, err
	}
	now := time.Now()
	o.backAfter = now.Sub(repaired)
	o.lostOnReturn = pl.traffic(repaired, now.Add(-flight)).lost
	pl.p.line(now, green, "return", "%s; %d packets lost on the return", pl.describe(pl.recent()), o.lostOnReturn)
	return o, nil
}

// wait looks until the condition holds for recent traffic. It asks the daemon and
// tells about changes meanwhile.
func (pl *player) wait(ctx context.Context, what string, condition func(traffic) bool) error {
	began := time.Now()
	ask, tell, told := began, began.Add(tellEvery), ""
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		now := time.Now()
		if !now.Before(ask) {
			pl.ask(ctx)
			ask = time.Now().Add(askEvery)
		}
		t := pl.recent()
		if condition(t) {
			return nil
		}
		if err := pl.alive(); err != nil {
			return err
		}
		if now.Sub(began) > pl.limit {
			return fmt.Errorf("gave up after %s waiting until %s: %s", pl.limit, what, pl.describe(t))
		}
		if !now.Before(tell) {
			if words := pl.describe(t); words != told {
				pl.p.note("status", "%s", words)
				told = words
			}
			tell = tell.Add(tellEvery)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stopped while waiting until %s: %w", what, context.Cause(ctx))
		case <-look.C:
		}
	}
}

// recent is the traffic just now.
func (pl *player) recent() traffic {
	to := time.Now().Add(-flight)
	return pl.traffic(to.Add(-calm), to)
}

// ask hears the daemon and writes down changed verdicts. A daemon that does not
// answer is not there yet, or alive tells.
func (pl *player) ask(ctx context.Context) {
	s, err := pl.status(ctx)
	if err != nil {
		return
	}
	pl.last = s
	for _, u := range s.Uplinks {
		for _, w := range u.Ways {
			key := way{u.Name, w.Family}
			old, known := pl.verdicts[key]
			pl.verdicts[key] = w
			if old.Verdict == w.Verdict {
				continue
			}
			if !known {
				old.Verdict = "unknown"
			}
			pl.p.line(w.Since, verdictPaint(w.Verdict), "verdict", "%s %s: %s -> %s: %s",
				u.Name, w.Family, old.Verdict, w.Verdict, strings.Join(w.Reasons, "; "))
		}
	}
}

// deserted is true if everything arrives and an ISP has no part in it.
func (pl *player) deserted(t traffic, isp string) bool {
	return t.flows > 0 && t.arriving == t.flows && t.lost == 0 && t.carried(isp) == 0
}

// allCarry is true if everything arrives, each of the ISPs carries flows of both
// families, no flow moves any more, and the daemon calls the ISPs live.
func (pl *player) allCarry(t traffic, names []string) bool {
	if t.flows == 0 || t.arriving != t.flows || t.lost != 0 {
		return false
	}
	carried := 0
	for isp := range t.by {
		carried += t.carried(isp)
	}
	if carried != t.flows {
		return false
	}
	for _, isp := range names {
		if t.by[isp][0] == 0 || t.by[isp][1] == 0 || !pl.live(isp) {
			return false
		}
	}
	return true
}

const live = "live"

// live is true if the daemon calls an uplink live in both families.
func (pl *player) live(isp string) bool {
	ways := pl.ways(isp)
	return len(ways) == 2 && !slices.ContainsFunc(ways, func(w status.Way) bool { return w.Verdict != live })
}

// probed is true if echo probes vouch for the uplinks in both families: before
// that, nobody would notice a silent failure.
func (pl *player) probed(names []string) bool {
	for _, isp := range names {
		for _, w := range pl.ways(isp) {
			if !slices.ContainsFunc(w.Evidence, func(e status.Evidence) bool { return e.Kind == "icmp" && e.Opinion == "up" }) {
				return false
			}
		}
	}
	return true
}

// fallen is true if the daemon no longer calls an uplink live in either family.
func (pl *player) fallen(isp string, began time.Time) bool {
	ways := pl.ways(isp)
	return len(ways) == 2 && !slices.ContainsFunc(ways, func(w status.Way) bool {
		return w.Verdict == live || w.Since.Before(began.Add(-before))
	})
}

// fellAfter is how long after the failure the last family fell.
func (pl *player) fellAfter(isp string, began time.Time) time.Duration {
	var after time.Duration
	for _, w := range pl.ways(isp) {
		after = max(after, w.Since.Sub(began))
	}
	return after
}

func (pl *player) ways(isp string) []status.Way {
	for _, u := range pl.last.Uplinks {
		if u.Name == isp {
			return u.Ways
		}
	}
	return nil
}

// describe puts the daemon's word and the wire side by side.
func (pl *player) describe(t traffic) string {
	var said, saw []string
	for _, u := range pl.last.Uplinks {
		var ways []string
		for _, w := range u.Ways {
			ways = append(ways, fmt.Sprintf("%s %s %.0f %%", w.Family, w.Verdict, w.Share*100))
		}
		said = append(said, u.Name+" ("+strings.Join(ways, ", ")+")")
	}
	for _, isp := range slices.Sorted(maps.Keys(t.by)) {
		saw = append(saw, fmt.Sprintf("%d by %s", t.carried(isp), isp))
	}
	if len(said) == 0 {
		said = []string{"the daemon has not said anything"}
	}
	return fmt.Sprintf("%s | %d of %d flows arrive, %s", strings.Join(said, " "), t.arriving, t.flows, strings.Join(saw, ", "))
}
