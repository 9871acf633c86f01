package engine

import (
	"context"
	"time"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// newBGP makes the parts that have to do with BGP. None of them does anything while no
// uplink has it.
func (e *Engine) newBGP() {
	if e.opts.NewBGP == nil {
		e.opts.NewBGP = newRealBGP
	}
	m, err := readMemory(e.opts.Memory)
	if err != nil {
		e.log.Error("cannot read what is drained", "error", err)
	}
	e.bulk = newBulk(e, e.site)
	e.drains = newDrains(e, m)
	e.drains.retain(e.site.members)
	e.peering = newPeering(e, m)
}

// adoptBGP takes over what a previous life left in the kernel.
func (e *Engine) adoptBGP(actual fib.State) {
	e.bulk.adopt(actual)
	if e.peering.slots.forget(e.bulk.layout, e.bulk.found) {
		e.log.Warn("nobody remembers to which uplinks some prefixes led; they follow the default until the sessions tell of them", "memory", e.opts.Memory)
	}
	// Peers are told that we went on forwarding (RFC 4724 section 4.1): that is so if
	// there was a balanced default of the family, whose uplinks are in the verdicts.
	e.peering.forwards = map[fib.Family]bool{}
	for w, v := range e.verdicts {
		if v.State == uplink.Live {
			e.peering.adopted, e.peering.forwards[w.Family] = true, true
		}
	}
}

// hearBGP takes what the sessions say before anything is decided. It returns when it
// must be called again although nothing happens.
func (e *Engine) hearBGP(now time.Time) (wake time.Time) {
	wake = e.peering.hear(now)
	wake = earlier(wake, e.drains.expire(now, e.peering.back))
	e.facts = e.peering.bandwidths.into(e.facts)
	return wake
}

// actBGP follows what was decided and written.
func (e *Engine) actBGP(ctx context.Context, desired fib.Desired, rep fib.Report, now time.Time) (wake time.Time) {
	e.bulk.follow(ctx, rep, e.site.layout.WithPrefixes)
	wake = e.drains.advance(e.verdicts, e.site.drainTime(), now)
	if e.drains.some() {
		groups := drainGroups(e.site.layout, desired, e.writer.GroupIDs())
		wake = earlier(wake, e.drains.poll(ctx, groups, e.verdicts, now))
	}
	e.peering.act(now)
	return wake
}

// silence ends the sessions: with a word to the peers if the kernel will be cleaned up,
// and without one if it goes on forwarding.
func (e *Engine) silence() { e.peering.silence(e.site.config.OnExit == config.Withdraw) }

// back reports whether an undrained way has the session that it waits for, or waits for
// none.
func (p *peering) back(w uplink.Way) bool {
	m := p.ways[w]
	return m == nil || m.synced
}
