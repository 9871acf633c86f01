package engine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/status"
	"github.com/multihomed/multihomed/internal/uplink"
)

// Routes returns the paths of the prefixes that q selects, in the order of prefixes,
// with what became of each. The error is status.ErrNoBGP or status.ErrNotSpeaking where
// that is why. It may be called from any goroutine and waits for the speaker, at most
// until ctx ends.
func (e *Engine) Routes(ctx context.Context, q status.RouteQuery) ([]status.Route, error) {
	v, speaker, p := e.shown.Load(), e.peering.voice(), e.peering.published()
	switch {
	case v.site.config.BGP == nil:
		return nil, status.ErrNoBGP
	case speaker == nil || p == nil:
		return nil, fmt.Errorf("%w: the BGP part is being started", status.ErrNotSpeaking)
	case !p.said.Speaking:
		return nil, fmt.Errorf("%w: %s", status.ErrNotSpeaking, lackOf(p.said))
	}
	var all []bgp.PrefixPaths
	err := safely(func() (err error) {
		all, err = speaker.Paths(ctx, bgp.Query{Prefix: q.Prefix, Longer: q.Longer, Limit: q.Limit})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for routes: %w", err)
	}
	peers := map[string]netip.Addr{}
	for _, peer := range p.set.Peers {
		peers[peer.Name] = peer.Address
	}
	out := make([]status.Route, 0, len(all))
	for _, one := range all {
		out = append(out, v.route(one, peers))
	}
	return out, nil
}

// route describes a prefix and its paths.
func (v *shown) route(one bgp.PrefixPaths, peers map[string]netip.Addr) status.Route {
	out := status.Route{Prefix: one.Prefix.String()}
	family := fib.FamilyOf(one.Prefix.Addr())
	// The best rank that has a live way carries the traffic.
	best := bgp.NoPath
	for _, path := range one.Paths {
		if w := (uplink.Way{Uplink: uplinkOf(path.Peer), Family: family}); v.carries(w, one.Prefix) && path.Rank != bgp.NoPath && (best == bgp.NoPath || path.Rank < best) {
			best = path.Rank
		}
	}
	for _, path := range one.Paths {
		p := status.Path{
			Uplink: uplinkOf(path.Peer), Session: path.Peer, Peer: addressWord(peers[path.Peer]), NextHop: addressWord(path.NextHop),
			ASPath: path.ASPath, Origin: path.Origin, Preference: path.Preference, Communities: path.Communities,
			Bandwidth: path.Bandwidth, Received: path.Received, Stale: path.Stale, Validity: path.Validity,
			Rank: path.Rank.String(), Why: path.Why,
		}
		if path.HasMED {
			med := path.MED
			p.MED = &med
		}
		w := uplink.Way{Uplink: p.Uplink, Family: family}
		fit := v.carries(w, one.Prefix)
		p.Used = fit && path.Rank != bgp.NoPath && path.Rank == best
		switch {
		case path.Rank == bgp.NoPath || p.Used:
		case !fit:
			p.Why = both(p.Why, "not used: the uplink is "+cmp.Or(v.verdicts[w].Role.String(), "none")+", "+v.verdicts[w].Why())
		case best < path.Rank:
			p.Why = both(p.Why, "not used: a path of rank "+best.String()+" is")
		}
		out.Paths = append(out.Paths, p)
	}
	return out
}

// carries reports whether a way can carry traffic for a prefix at present: for the
// default its part in the group decides, for others that it is live.
func (v *shown) carries(w uplink.Way, p netip.Prefix) bool {
	verdict := v.verdicts[w]
	if p.Bits() == 0 {
		return verdict.Role == uplink.Active
	}
	return verdict.Role != uplink.Draining && (verdict.State == uplink.Live || verdict.Role == uplink.Active)
}

// both joins two reasons.
func both(a, b string) string { return strings.TrimPrefix(a+"; "+b, "; ") }
