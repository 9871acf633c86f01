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

	mu     sync.Mutex // guards advice
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
	wanted := map[uplink.Way]bool{}
	for _, m := range t.members {
		v := views[m.Way]
		c, why := probeConfig(m, v)
		if why != "" {
			p.quiet(m, why)
			continue
		}
		wanted[m.Way] = true
		have, ok := p.running[m.Way]
		if ok && have.config.Equal(c) && have.index == v.fact.Device.Index {
			have.prober.Poke()
			continue
		}
		if ok {
			have.stop()
		}
		p.start(ctx, m, c, v.fact.Device.Index)
	}
	for way, r := range p.running {
		if !wanted[way] {
			r.stop()
			delete(p.running, way)
		}
	}
	p.dropUnconfigured(t)
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
	prober := p.engine.opts.NewProber(c, func(r probe.Report) {
		if ctx.Err() == nil { // A prober that was replaced has no say any more.
			p.report(m, r)
		}
	})
	p.running[m.Way] = running{c, index, prober, stop}
	p.engine.supervise(ctx, "prober "+m.Way.String(), prober.Run)
}

// report puts what a prober says on the board.
func (p *probes) report(m member, r probe.Report) {
	p.mu.Lock()
	p.advice[m.Way] = r.Advice
	p.mu.Unlock()
	if len(m.targets) == 0 {
		return
	}
	e := uplink.Evidence{Source: uplink.Source{Way: m.Way, Kind: uplink.KindICMP}}
	if r.Err != nil {
		e.Reason = fmt.Sprintf("cannot probe: %v", r.Err)
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
		return probe.Config{}, "not probed: no source address on " + m.conf.Interface
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
	c := netmon.Config{OwnProtocol: t.config.Protocol}
	for _, u := range t.config.Uplinks {
		if len(u.Gateways) == 0 {
			c.LearnFrom = append(c.LearnFrom, u.Interface)
		}
	}
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

func equalWatch(a, b netmon.Config) bool {
	return a.OwnProtocol == b.OwnProtocol && slices.Equal(a.LearnFrom, b.LearnFrom) && slices.Equal(a.Neighbours, b.Neighbours)
}
