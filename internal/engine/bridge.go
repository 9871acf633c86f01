package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// gatewayGrace is how long the last learned gateway is used on while the default
// route that told it is gone. DHCP clients take the route away and put an equal
// one back when they renew; that is no outage. In IPv6 there is no grace: a
// router that withdraws itself is no router any more (RFC 4861 section 6.3.5).
const gatewayGrace = 5 * time.Second

// lesson is what was learned of one way's gateway.
type lesson struct {
	gateway netip.Addr
	device  int
	// lost is when the route that taught it was first missed; zero while it is
	// there.
	lost time.Time
}

// bridge uses the last learned gateway for v while its default route is missed
// for a moment, and returns when the grace ends; the zero Time if none runs.
func (e *Engine) bridge(m member, v *view, s *netmon.Snapshot, now time.Time) time.Time {
	if m.gateway.IsValid() || m.Family != fib.IPv4 {
		return time.Time{}
	}
	if v.fact.Usable {
		e.learned[m.Way] = lesson{gateway: v.fact.Gateway, device: v.fact.Device.Index}
		return time.Time{}
	}
	l, known := e.learned[m.Way]
	if !known || l.device != v.fact.Device.Index || !onlyGatewayDown(v.evidence) {
		return time.Time{}
	}
	if l.lost.IsZero() {
		l.lost = now
		e.learned[m.Way] = l
	}
	until := l.lost.Add(gatewayGrace)
	if !now.Before(until) {
		return time.Time{}
	}
	v.fact.Gateway, v.fact.Usable = l.gateway, true
	for i, ev := range v.evidence {
		if ev.Kind == uplink.KindGateway {
			v.evidence[i].Opinion = uplink.Unknown
			v.evidence[i].Reason = fmt.Sprintf("%s; the last one (%s) is used on for up to %s", ev.Reason, l.gateway, gatewayGrace)
		}
	}
	v.hearNeighbour(m, s, s.Links[m.conf.Interface])
	return until
}

// onlyGatewayDown reports whether no other hard evidence is down.
func onlyGatewayDown(evidence []uplink.Evidence) bool {
	for _, ev := range evidence {
		if ev.Kind.Hard() && ev.Kind != uplink.KindGateway && ev.Opinion != uplink.Up {
			return false
		}
	}
	return true
}

// refusalGrace is how long the kernel may refuse a next hop before that counts
// against its way: links and addresses settle in their own time.
const refusalGrace = time.Second

// judgeRefusals turns next hops that the kernel goes on to refuse into evidence:
// a way that is not in the kernel must not be called live.
func (e *Engine) judgeRefusals(rep fib.Report, now time.Time) {
	if len(rep.Failed) == 0 && !rep.InSync {
		return // Nothing was tried.
	}
	refused := map[uplink.Way]error{}
	for _, f := range rep.Failed {
		if hop, ok := f.Op.Object.(fib.NextHop); ok && f.Op.Verb != fib.Delete {
			if way, ok := e.site.layout.WayOf(hop.ID); ok {
				refused[way] = f.Err
			}
		}
	}
	for way := range e.refusedSince {
		if refused[way] == nil {
			delete(e.refusedSince, way)
			e.board.Drop(uplink.Source{Way: way, Kind: uplink.KindKernel})
		}
	}
	for way, err := range refused {
		since, known := e.refusedSince[way]
		if !known {
			e.refusedSince[way] = now
		} else if now.Sub(since) >= refusalGrace {
			e.board.Put(uplink.Evidence{
				Source: uplink.Source{Way: way, Kind: uplink.KindKernel}, Opinion: uplink.Down, Since: since,
				Reason: fmt.Sprintf("refuses the next hop: %v", err),
			})
		}
	}
}
