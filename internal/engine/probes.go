package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/uplink"
)

// probes keeps one prober per way that can be probed.
type probes struct {
	engine  *Engine
	running map[uplink.Way]running

	// mu guards advice, and makes the end of a prober and its last report one
	// after the other.
	mu     sync.Mutex
	advice map[uplink.Way]probe.Advice
}

// running is a prober and what it was started for. A device that returned under
// its name with another index is another device to a socket.
type running struct {
	config probe.Config
	index  int
	prober Prober
	stop   context.CancelFunc
}

func newProbes(e *Engine) *probes {
	return &probes{engine: e, running: map[uplink.Way]running{}, advice: map[uplink.Way]probe.Advice{}}
}

// update starts, replaces and stops probers so that exactly those run that the
// views ask for. A prober whose description did not change is left alone.
func (p *probes) update(ctx context.Context, t *site, views map[uplink.Way]view) {
	configured := map[uplink.Way]bool{}
	for _, m := range t.members {
		configured[m.Way] = true
		v := views[m.Way]
		c, why := probeConfig(m, v)
		have, runs := p.running[m.Way]
		if why == "" && runs && have.config.Equal(c) && have.index == v.fact.Device.Index {
			have.prober.Poke()
			continue
		}
		if runs {
			p.end(m.Way)
		}
		if why != "" {
			p.quiet(m, why)
			continue
		}
		p.start(ctx, m, c, v.fact.Device.Index)
	}
	for way := range p.running {
		if !configured[way] {
			p.end(way)
		}
	}
	p.dropUnconfigured(t)
}

// end stops a prober. What it reports from now on is not heard.
func (p *probes) end(w uplink.Way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[w].stop()
	delete(p.running, w)
	delete(p.advice, w)
}

// quiet says on the board why a way with targets is not probed.
func (p *probes) quiet(m member, why string) {
	if len(m.targets) > 0 {
		p.engine.board.Put(uplink.Evidence{
			Source: uplink.Source{Way: m.Way, Kind: uplink.KindICMP}, Reason: why,
		})
	}
}

// dropUnconfigured removes the evidence of ways that are probed no more.
func (p *probes) dropUnconfigured(t *site) {
	for src := range p.engine.board.Snapshot() {
		if src.Kind == uplink.KindICMP && !slices.ContainsFunc(t.members, func(m member) bool {
			return m.Way == src.Way && len(m.targets) > 0
		}) {
			p.engine.board.Drop(src)
		}
	}
}

func (p *probes) start(ctx context.Context, m member, c probe.Config, index int) {
	ctx, stop := context.WithCancel(ctx)
	p.quiet(m, "waiting for the first answers")
	// A prober that was stopped has no say any more: stopping takes the same
	// lock, so that no last word comes behind it.
	while := func(say func()) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if ctx.Err() == nil {
			say()
		}
	}
	prober := p.engine.opts.NewProber(c, func(r probe.Report) {
		while(func() { p.report(m, c, r) })
	})
	p.running[m.Way] = running{c, index, prober, stop}
	p.engine.supervise(ctx, "prober "+m.Way.String(), prober.Run, func(err error) {
		while(func() { p.quiet(m, "the prober stopped and is started again: "+err.Error()) })
	})
}

// report puts on the board what the prober with description c says. The caller
// holds the lock.
func (p *probes) report(m member, c probe.Config, r probe.Report) {
	p.advice[m.Way] = r.Advice
	if len(m.targets) == 0 {
		return
	}
	e := uplink.Evidence{Source: uplink.Source{Way: m.Way, Kind: uplink.KindICMP}}
	switch {
	case r.Err != nil:
		e.Reason = fmt.Sprintf("cannot probe: %v", r.Err)
	case len(c.Targets) == 0:
		e.Reason = fmt.Sprintf("the only target %s is the gateway, which is not pinged: configure targets beyond it", c.Gateway)
	}
	for _, t := range r.Targets {
		e.Targets = append(e.Targets, uplink.Target{
			Address: t.Address, Opinion: probeOpinion(t.Opinion), Since: t.Since, Reason: t.Reason, RTT: t.RTT, Loss: t.Loss,
		})
	}
	p.engine.board.Put(e)
}

func (p *probes) adviceFor(w uplink.Way) probe.Advice {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.advice[w]
}

// probeConfig describes the prober of m, or says why there can be none. A way
// without targets has one that only listens to its gateway.
func probeConfig(m member, v view) (probe.Config, string) {
	switch {
	case !v.fact.Usable:
		return probe.Config{}, "not probed: " + firstDown(v.evidence)
	case !v.fact.Preferred.IsValid():
		return probe.Config{}, "not probed: no source address, neither on " + m.conf.Interface + " nor of the configured sources"
	case len(m.targets) == 0 && !v.fact.Gateway.IsValid():
		return probe.Config{}, "nothing to probe"
	}
	c := probe.Config{
		Uplink: m.Uplink, Device: m.conf.Interface, Mark: m.conf.Mark,
		Source: v.fact.Preferred, Gateway: v.fact.Gateway,
	}
	if len(m.targets) == 0 {
		return c, ""
	}
	// A learned gateway may turn out to be a target; it is not pinged (RFC 1122
	// section 3.3.1.4).
	c.Targets = slices.DeleteFunc(slices.Clone(m.targets), func(a netip.Addr) bool { return a == v.fact.Gateway })
	i := m.conf.ICMP
	c.Interval, c.Timeout, c.Down, c.Up = i.Interval, i.Timeout, i.Down, i.Up
	c.LossEnter, c.LossLeave = i.LossEnter, i.LossLeave
	c.LatencyEnter, c.LatencyLeave = i.LatencyEnter, i.LatencyLeave
	return c, ""
}

func firstDown(evidence []uplink.Evidence) string {
	for _, e := range evidence {
		if e.Opinion == uplink.Down && e.Kind.Hard() {
			return e.Reason
		}
	}
	return "the kernel cannot send that way"
}

func probeOpinion(o probe.Opinion) uplink.Opinion {
	switch o {
	case probe.Up:
		return uplink.Up
	case probe.Down:
		return uplink.Down
	case probe.Unknown:
		return uplink.Unknown
	default:
		panic(fmt.Sprintf("engine: unhandled opinion %d", uint8(o)))
	}
}

// watch returns what the monitor is to watch, given the latest views (nil before
// the first look).
func (t *site) watch(views map[uplink.Way]view) netmon.Config {
	c := netmon.Config{OwnProtocol: t.config.Protocol, LearnFrom: t.learnFrom()}
	for _, m := range t.members {
		gateway := m.gateway
		if views != nil {
			gateway = views[m.Way].watch
		}
		if every, ok := m.neighbourInterval(); ok && gateway.IsValid() {
			c.Neighbours = append(c.Neighbours, netmon.Watch{Link: m.conf.Interface, Address: gateway.WithZone(""), Interval: every})
		}
	}
	return c
}

// learnFrom returns the interfaces of the uplinks that learn their gateways.
func (t *site) learnFrom() []string {
	var names []string
	for _, u := range t.config.Uplinks {
		if len(u.Gateways) == 0 && !slices.Contains(names, u.Interface) {
			names = append(names, u.Interface)
		}
	}
	return names
}

func equalWatch(a, b netmon.Config) bool {
	return a.OwnProtocol == b.OwnProtocol && slices.Equal(a.LearnFrom, b.LearnFrom) && slices.Equal(a.Neighbours, b.Neighbours)
}
