package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/speaker"
	"github.com/multihomed/multihomed/internal/status"
	"github.com/multihomed/multihomed/internal/uplink"
)

// peeringShown is what the loop last knew of the sessions, immutable, for readers on
// other goroutines.
type peeringShown struct {
	wishes   []peerWish
	set      bgp.Config
	withheld map[string]string
	full     []string
	said     speaker.Status
	ways     map[uplink.Way]wayShown
	// groups is how many groups prefixes lead to.
	groups int
	// deferred is until when nothing is removed after a start, zero if it may be.
	deferred time.Time
}

// wayShown is what the status says of a way beside its session.
type wayShown struct {
	// draining is since when the ISP announces a graceful shutdown.
	draining time.Time
}

// publish makes what the loop knows readable.
func (p *peering) publish(c bgp.Config, withheld map[string]string) {
	s := &peeringShown{
		wishes: p.wishes, set: c, withheld: withheld, full: p.full, said: p.said,
		ways: make(map[uplink.Way]wayShown, len(p.ways)), groups: p.engine.bulk.groups,
	}
	for w, m := range p.ways {
		s.ways[w] = wayShown{draining: m.draining}
	}
	if !p.said.BGP.Synced && c.Restarting && !p.said.Since.IsZero() {
		s.deferred = p.said.Since.Add(c.Deferral)
	}
	p.mu.Lock()
	p.shown = s
	p.mu.Unlock()
}

// published returns what was published last; nil if nothing was.
func (p *peering) published() *peeringShown {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown
}

// addBGP adds to s what the sessions say.
func (e *Engine) addBGP(v *shown, s *status.Status) {
	e.addDrains(v, s)
	p := e.peering.published()
	c := v.site.config
	if c.BGP == nil {
		return
	}
	s.BGP = &status.Speaker{AS: c.BGP.AS, RouterID: c.BGP.RouterID.String()}
	if p == nil {
		s.BGP.Trouble = "the BGP part is being started"
		return
	}
	p.speakerStatus(s.BGP)
	if v.site.layout.WithPrefixes {
		s.BGP.Prefixes = e.prefixes(v, p)
	}
	for _, w := range p.wishes {
		for _, way := range w.ways {
			if to := findWay(s, way); to != nil {
				to.BGP = p.sessionStatus(w, way)
				p.drainedByISP(way, to)
			}
		}
	}
	s.Warnings = append(s.Warnings, v.site.bgpWarnings(p)...)
}

func (p *peeringShown) speakerStatus(s *status.Speaker) {
	said := p.said
	s.Speaking, s.PID, s.Since, s.Starts = said.Speaking, said.PID, said.Since, said.Starts
	s.Error, s.Synced, s.DeferredUntil = said.BGP.Error, said.BGP.Synced, p.deferred
	if !said.Speaking {
		s.Trouble = lackOf(said)
	}
	for _, r := range said.BGP.RPKI {
		s.RPKI = append(s.RPKI, status.RPKICache{Address: r.Address, Up: r.Up, Records: r.Records})
	}
}

// prefixes describes the routes to prefixes.
func (e *Engine) prefixes(v *shown, p *peeringShown) *status.Prefixes {
	out := &status.Prefixes{Table: v.site.config.Tables.Prefixes, Groups: p.groups}
	table := e.bulk.table()
	if table == nil {
		out.Error = "this kernel has no room for routes to prefixes"
		return out
	}
	st := table.Stats()
	out.Routes, out.Pending, out.Waiting, out.Unclaimed = st.Routes, st.Pending, st.Waiting, st.Unclaimed
	out.Written, out.Failed, out.Repaired, out.Error = st.Written, st.Failed, st.Repaired, st.Error
	return out
}

// sessionStatus describes the session w as it serves one of its ways.
func (p *peeringShown) sessionStatus(w peerWish, way uplink.Way) *status.BGP {
	peer, told := peerStatus(p.said, w.conf)
	out := &status.BGP{
		Session: w.conf.Name, Peer: addressWord(w.conf.Address), Local: addressWord(w.conf.Local),
		PeerAS: w.conf.AS, LocalAS: w.conf.LocalAS, Import: importMode(w.conf.Import.Mode).String(),
		MaxPrefixes: w.conf.MaxPrefixes, Withheld: p.withheld[w.conf.Name],
		State: status.BGPClosed, Trouble: w.why,
	}
	if out.LocalAS == 0 {
		out.LocalAS = p.set.AS
	}
	if out.MaxPrefixes == 0 {
		out.MaxPrefixes = w.conf.Import.MaxPrefixes(bgpFamily(way.Family))
	}
	if slices.Contains(p.full, w.conf.Name) {
		out.Trouble = fmt.Sprintf("only its default route is used: %d sessions of %s import more already, or did until now; let one of them import its default only, and reload", bgp.MaxSlots, way.Family)
	}
	if w.why == "" {
		out.State = bgp.StateUnknown.String()
		p.announced(w, way, out)
	}
	if !told {
		return out
	}
	if w.why == "" {
		out.State, out.Since = peer.State.String(), peer.Since
		if peer.Trouble != "" {
			out.Trouble = peer.Trouble
		}
	}
	out.LastError, out.LastErrorAt, out.Flaps = peer.LastError, peer.LastErrorAt, peer.Flaps
	out.RouterID, out.HoldTime = addressWord(peer.RouterID), peer.HoldTime.Seconds()
	out.Restart, out.RestartTime = peer.Restart, peer.RestartTime.Seconds()
	for _, f := range peer.Families {
		if f.Family == bgpFamily(way.Family) {
			familyStatus(f, out)
		}
	}
	return out
}

// familyStatus adds what is known of one family.
func familyStatus(f bgp.FamilyStatus, out *status.BGP) {
	out.Negotiated, out.Synced, out.Retained = f.Negotiated, f.Synced, f.Retained
	if f.Retained {
		out.RetainedUntil = f.Until
	}
	out.Received, out.Accepted, out.Stale = f.Received, f.Accepted, f.Stale
	out.Draining, out.Bandwidth, out.Announced = f.Draining, f.Bandwidth, f.Announced
	for why, n := range f.Refused {
		if n > 0 {
			if out.Refused == nil {
				out.Refused = map[string]int{}
			}
			out.Refused[why.Word()] = n
		}
	}
	switch {
	case f.Default.Accepted:
		out.Default = "accepted"
	case f.Default.Received:
		out.Default = "refused: " + f.Default.Refused.String()
	default:
		out.Default = "none"
	}
}

// announced adds what the peer is to be told of the family of a way.
func (p *peeringShown) announced(w peerWish, way uplink.Way, out *status.BGP) {
	for _, peer := range p.set.Peers {
		if peer.Name != w.conf.Name {
			continue
		}
		for _, a := range peer.Announce {
			if bgp.FamilyOf(a.Prefix.Addr()) != bgpFamily(way.Family) {
				continue
			}
			told := status.Announcement{Prefix: a.Prefix.String(), Prepend: a.Prepend}
			if a.HasMED {
				med := a.MED
				told.MED = &med
			}
			for _, c := range a.Communities {
				told.Communities = append(told.Communities, fmt.Sprintf("%d:%d", c>>16, c&0xffff))
			}
			out.Announces = append(out.Announces, told)
		}
	}
}

// drainedByISP says that the other side asks for a drain, where no operator does.
func (p *peeringShown) drainedByISP(way uplink.Way, to *status.Way) {
	if since := p.ways[way].draining; !since.IsZero() && to.Drain == nil {
		to.Drain = &status.Drain{By: "isp", Reason: ispDrains, Since: since}
	}
}

// addDrains says which ways the operator empties, and the weights in use.
func (e *Engine) addDrains(v *shown, s *status.Status) {
	for _, m := range v.site.members {
		to := findWay(s, m.Way)
		if to == nil {
			continue
		}
		if n := v.facts[m.Way].Weight; n != 0 && n != m.Weight {
			to.Weight = n
		}
		one, ok := e.drains.of(m.Way)
		if !ok {
			continue
		}
		to.Drain = &status.Drain{By: "operator", Reason: e.drains.why(m.Way), Since: one.since, Until: one.until, Shut: one.shut}
		if !one.returning.IsZero() {
			to.Drain.Until = one.returning
			continue
		}
		if m.conf.BGP != nil {
			to.Drain.ShutAt = one.since.Add(v.site.drainTime())
		}
		if one.known {
			to.Drain.Busy = &one.busy
		}
	}
}

// bgpWarnings are what an operator should look at.
func (t *site) bgpWarnings(p *peeringShown) []string {
	var out []string
	for _, u := range t.config.Uplinks {
		if pw := t.passwords[u.Name]; u.BGP != nil && pw.err != nil && pw.secret != "" {
			out = append(out, fmt.Sprintf("bgp of %s: the old password stays in use: %v", u.Name, pw.err))
		}
	}
	if !p.said.Speaking {
		out = append(out, "bgp: nobody speaks at present, and all routes stay as they are: "+lackOf(p.said))
	}
	if p.said.BGP.Error != "" {
		out = append(out, "bgp: "+p.said.BGP.Error)
	}
	for _, w := range p.wishes {
		if w.why != "" {
			out = append(out, fmt.Sprintf("bgp of %s: no session: %s", w.conf.Name, w.why))
		}
	}
	return out
}
