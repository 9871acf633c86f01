package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/status"
	"github.com/multihomed/multihomed/internal/uplink"
)

// shown is what the loop last did, immutable, for readers on other goroutines.
type shown struct {
	site         *site
	facts        uplink.Facts
	verdicts     uplink.Verdicts
	seen         map[uplink.Way]bool
	stats        stats
	capabilities fib.Capabilities
	known        bool
	ready        bool
}

// show publishes the state of the loop.
func (e *Engine) show() {
	actual, known := e.writer.Actual()
	seen := make(map[uplink.Way]bool, len(e.found.seen))
	for w := range e.found.seen {
		seen[w] = true
	}
	e.shown.Store(&shown{
		site: e.site, facts: e.facts, verdicts: e.verdicts, seen: seen, stats: e.stats,
		capabilities: actual.Capabilities, known: known, ready: e.ready,
	})
	if e.opts.Changed != nil {
		e.opts.Changed()
	}
}

// Status describes the daemon as of now. It may be called from any goroutine.
func (e *Engine) Status() status.Status {
	v := e.shown.Load()
	now := time.Now()
	s := status.Status{
		Version: e.opts.Version, Started: e.started, Now: now, Config: e.opts.Path, Ready: v.ready,
		Kernel: v.kernel(), Warnings: slices.Clone(v.site.config.Warnings),
	}
	if v.stats.configError != nil {
		s.ConfigError = v.stats.configError.Error()
	}
	evidence := e.board.Snapshot()
	v.poll(evidence, now)
	for _, u := range v.site.config.Uplinks {
		su := status.Uplink{Name: u.Name, Interface: u.Interface, Weight: u.Weight, Tier: u.Tier, Table: u.Table, Mark: u.Mark}
		for _, m := range v.site.members {
			if m.Uplink == u.Name && !v.hidden(m) {
				su.Ways = append(su.Ways, e.wayStatus(v, m, evidence, now))
			}
		}
		s.Uplinks = append(s.Uplinks, su)
	}
	e.addBFD(v, &s)
	e.addBGP(v, &s)
	return s
}

func (v *shown) kernel() status.Kernel {
	k := status.Kernel{
		Mode: "not read yet", InSync: v.stats.inSync, Errors: v.stats.present(),
		Drifts: v.stats.drifts, LastDrift: v.stats.lastDrift, LastDriftAt: v.stats.lastDriftAt,
		Writes: v.stats.writes, LastChange: v.stats.lastChange, LastChangeAt: v.stats.lastChangeAt,
		Resyncs: v.stats.resyncs,
	}
	switch {
	case !v.known:
	case v.capabilities.Resilient:
		k.Mode = "resilient groups"
	case v.capabilities.NextHops:
		k.Mode = "groups"
	default:
		k.Mode = "multipath routes"
	}
	return k
}

// hidden reports whether m is a family that nobody asked for and the host does
// not have. IPv4 is shown if neither family is there.
func (v *shown) hidden(m member) bool {
	if !m.optional || v.seen[m.Way] {
		return false
	}
	return m.Family == fib.IPv6 || v.seen[uplink.Way{Uplink: m.Uplink, Family: fib.IPv6}]
}

func (e *Engine) wayStatus(v *shown, m member, evidence uplink.Snapshot, now time.Time) status.Way {
	verdict, fact := v.verdicts[m.Way], v.facts[m.Way]
	w := status.Way{
		Family: m.Family.String(), Verdict: verdict.State.String(), Role: verdict.Role.String(),
		Since: verdict.Since, Reasons: verdict.Reasons, Verified: verdict.Verified,
		Share:   v.share(m),
		Penalty: v.site.policy.Damping.Decayed(verdict.Penalty, now.Sub(verdict.PenaltyAt)),
	}
	if fact.Gateway.IsValid() {
		w.Gateway = fact.Gateway.String()
	}
	for _, p := range fact.Sources {
		if p.IsSingleIP() {
			w.Sources = append(w.Sources, p.Addr().String())
		} else {
			w.Sources = append(w.Sources, p.String())
		}
	}
	for src, ev := range evidence {
		if src.Way == m.Way {
			w.Evidence = append(w.Evidence, evidenceStatus(ev))
		}
	}
	slices.SortFunc(w.Evidence, func(a, b status.Evidence) int {
		return cmp.Compare(kindOrder[a.Kind], kindOrder[b.Kind])
	})
	if a := e.probes.adviceFor(m.Way); a.Redirects+a.Unreachables > 0 {
		w.Advice = &status.Advice{Redirects: a.Redirects, Unreachables: a.Unreachables, Last: a.Last, LastAt: a.LastAt}
	}
	return w
}

// kindOrder is the order in which evidence is shown.
var kindOrder = func() map[string]int {
	order := map[string]int{}
	for k := uplink.KindLink; k <= uplink.KindBGP; k++ {
		order[k.String()] = int(k)
	}
	return order
}()

// share is the part of the family's new flows that m carries.
func (v *shown) share(m member) float64 {
	if v.verdicts[m.Way].Role != uplink.Active {
		return 0
	}
	sum := 0
	for _, o := range v.site.members {
		if o.Family == m.Family && v.verdicts[o.Way].Role == uplink.Active {
			sum += v.weight(o)
		}
	}
	return float64(v.weight(m)) / float64(sum)
}

// weight is the one in use.
func (v *shown) weight(m member) int { return cmp.Or(v.facts[m.Way].Weight, m.Weight) }

// poll replaces the evidence of probe targets by what Decide concludes from it,
// with its quorum and its excuses: it weighs it here as if no other soft source
// said anything.
func (v *shown) poll(evidence uplink.Snapshot, now time.Time) {
	before := make(uplink.Verdicts, len(v.verdicts))
	for w, verdict := range v.verdicts {
		before[w] = uplink.Verdict{Excused: verdict.Excused}
	}
	only := uplink.Snapshot{}
	for src, e := range evidence {
		if src.Kind.Hard() || src.Kind == uplink.KindICMP {
			only[src] = e
		}
	}
	verdicts, _ := uplink.Decide(v.site.policy, before, only, now)
	for src, e := range only {
		if src.Kind != uplink.KindICMP || len(e.Targets) == 0 {
			continue
		}
		opinion, reason := conclusion(verdicts[src.Way], e)
		e.Opinion = opinion
		if e.Reason == "" {
			e.Reason = reason
		}
		evidence[src] = e
	}
}

// conclusion takes the opinion on probe targets out of a verdict that weighed
// nothing else that is soft.
func conclusion(v uplink.Verdict, e uplink.Evidence) (uplink.Opinion, string) {
	reason, said := "", false
	for _, r := range v.Reasons {
		if words, ok := strings.CutPrefix(r, e.Kind.String()+": "); ok {
			reason, said = words, true
		}
	}
	if !said {
		// Hard evidence has the word.
		reason = fmt.Sprintf("%d targets", len(e.Targets))
	}
	switch {
	case v.State == uplink.Dead && said:
		return uplink.Down, reason
	case v.Verified:
		return uplink.Up, reason
	default:
		return uplink.Unknown, reason
	}
}

// evidenceStatus shows one word of evidence.
func evidenceStatus(ev uplink.Evidence) status.Evidence {
	s := status.Evidence{Kind: ev.Kind.String(), Opinion: ev.Opinion.String(), Since: ev.Since, Reason: ev.Reason}
	for _, t := range ev.Targets {
		s.Targets = append(s.Targets, status.Target{
			Address: t.Address.String(), Opinion: t.Opinion.String(), Reason: t.Reason,
			RTT: t.RTT.Seconds(), Loss: t.Loss,
		})
	}
	return s
}
