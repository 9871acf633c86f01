package engine

import (
	"reflect"
	"slices"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// policy returns the policy of the site with the drains of the moment.
func (p *peering) policy() uplink.Policy {
	e := p.engine
	policy := e.site.policy
	var members []uplink.Member
	for i, m := range policy.Members {
		why := e.drains.why(m.Way)
		if w := p.ways[m.Way]; why == "" && w != nil && !w.draining.IsZero() {
			why = ispDrains
		}
		if why == "" {
			continue
		}
		if members == nil {
			members = slices.Clone(policy.Members)
		}
		members[i].Drain = why
	}
	if members != nil {
		policy.Members = members
	}
	return policy
}

// act follows what was decided and written: a session is reset whose path failed, and
// the speaker is told what is wanted now.
func (p *peering) act(now time.Time) {
	if p.stop == nil {
		return
	}
	p.logHeard()
	p.reset()
	p.assign() // What is in use no more makes room.
	e := p.engine
	c, withheld := p.wanted(now)
	p.publish(c, withheld)
	p.mu.Lock()
	v, same := p.speaker, !p.fresh && reflect.DeepEqual(c, p.set)
	p.fresh = p.fresh && v == nil
	p.mu.Unlock()
	if v == nil || same {
		return
	}
	p.excuse(c, now)
	p.set = c
	if err := safely(func() error { v.Set(c); return nil }); err != nil {
		e.log.Error("cannot tell the BGP part what is wanted", "error", err)
	}
}

// flushed are the families of which a previous life left nothing.
func (p *peering) flushed() (all []bgp.Family) {
	for _, f := range fib.Families {
		if p.adopted && !p.forwards[f] {
			all = append(all, bgpFamily(f))
		}
	}
	return all
}

// wanted returns the whole of what the speaker is to do, and by session why less is
// announced than the configuration says.
func (p *peering) wanted(now time.Time) (c bgp.Config, withheld map[string]string) {
	e := p.engine
	t := e.site
	if t.config.BGP == nil {
		c = p.set // Who we are stays: it is said to nobody.
		c.Peers = nil
		return c, nil
	}
	c = t.bgpCommon(p.adopted || p.voiceCount() > 1)
	if p.voiceCount() <= 1 {
		c.Flushed = p.flushed() // A later speaker restarts beside us, who kept everything.
	}
	lacking, drained := map[uplink.Way]bool{}, map[uplink.Way]bool{}
	for w, m := range p.ways {
		lacking[w] = m.lacking
		one, ok := e.drains.of(w)
		drained[w] = ok && one.returning.IsZero()
	}
	p.unfit = refit(p.unfit, t.members, e.verdicts, e.facts, lacking)
	f := fitness{unfit: p.unfit, live: liveFamilies(e.verdicts), drained: drained}
	board := e.board.Snapshot()
	withheld = map[string]string{}
	for _, w := range p.wishes {
		if w.why != "" {
			continue
		}
		peer := w.conf
		peer.Slot = bgp.NoSlot
		if peer.Import.Mode != bgp.ImportDefault {
			peer.Slot = p.slots.of(peer.Name, peer.Families)
		}
		peer.Announce, withheld[peer.Name] = t.announcements(w, f, p.host)
		peer.Shutdown, _ = p.shutFor(w, board, now)
		// Not Drained: prefixes would be led elsewhere with the flows that run. Their
		// groups drain as that of the default does.
		c.Peers = append(c.Peers, peer)
	}
	return c, withheld
}

// reset ends the sessions over paths that BFD says have failed, once per failure (RFC
// 5882 section 4.2.1). The kernel has been written by then.
func (p *peering) reset() {
	for _, w := range p.wishes {
		failed := false
		for _, way := range w.ways {
			m := p.ways[way]
			n := p.engine.sessions.failuresOf(way)
			if n > m.failures {
				failed, m.anew = true, time.Time{}
			}
			m.failures = n
		}
		v := p.voice()
		if !failed || v == nil {
			continue
		}
		if peer, told := peerStatus(p.said, w.conf); told && peer.State != bgp.Established && peer.State != bgp.OpenSent && peer.State != bgp.OpenConfirm {
			continue // There is nothing to end.
		}
		p.engine.log.Warn("the path of a BGP session failed; it begins anew", "uplink", w.uplink, "peer", w.conf.Name, "reason", bfdDown)
		if err := safely(func() error { v.Reset(w.conf.Name, bfdDown); return nil }); err != nil {
			p.engine.log.Error("cannot reset a BGP session", "peer", w.conf.Name, "error", err)
		}
	}
}

// bfdDown is what a peer is told whose path failed (RFC 9384).
const bfdDown = "BFD Down"
