package bgp

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// defaultPaths is how many prefixes are told if nobody says how many.
const defaultPaths = 1000

// whyStale is what is said of a path whose attributes are gone.
const whyStale = "kept from a session that was lost"

// found is one path that is known, while an answer is put together.
type found struct {
	peer   Peer
	known  known
	slot   Slot
	judge  *judge
	up     bool
	prefix netip.Prefix
}

// Paths returns the paths of the prefixes that q selects, each with its rank and the
// reason for it, in the order of prefixes. Within a prefix the best come first.
func (s *Speaker) Paths(ctx context.Context, q Query) ([]PrefixPaths, error) {
	if !q.Prefix.IsValid() || q.Prefix.Addr().Is4In6() {
		return nil, fmt.Errorf("look up paths: %v is no prefix", q.Prefix)
	}
	prefixes, known, rule := s.lookUp(q)
	if len(prefixes) == 0 {
		return nil, nil
	}
	var lib *library
	if err := s.do(ctx, func(m *manager) { lib = m.lib }); err != nil {
		return nil, fmt.Errorf("look up paths: %w", err)
	}
	received := receivedPaths(ctx, lib, known)
	answer := make([]PrefixPaths, 0, len(prefixes))
	for _, p := range prefixes {
		answer = append(answer, describe(p, rule, known[p], received))
	}
	return answer, nil
}

// lookUp returns the prefixes that q selects and what is known of each, and the rule
// by which they are ranked.
func (s *Speaker) lookUp(q Query) ([]netip.Prefix, map[netip.Prefix][]found, ASPathRule) {
	limit := q.Limit
	if limit <= 0 {
		limit = defaultPaths
	}
	prefix := q.Prefix.Masked()
	t := &s.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	f := FamilyOf(prefix.Addr())
	r := t.ribs[f]
	var prefixes []netip.Prefix
	if q.Longer {
		prefixes = r.within(prefix, limit)
	} else if p, ok := r.covering(prefix); ok {
		prefixes = []netip.Prefix{p}
	}
	known := make(map[netip.Prefix][]found, len(prefixes))
	for _, d := range t.peers {
		c := d.fams[f].column
		if c < 0 {
			continue
		}
		for _, p := range prefixes {
			if k, ok := r.path(c, p); ok {
				known[p] = append(known[p], found{peer: d.peer, known: k, slot: d.peer.Slot, judge: d.judge, up: d.up, prefix: p})
			}
		}
	}
	return prefixes, known, r.rule
}

// pathKey names one path among those that were received.
type pathKey struct {
	peer   netip.Addr
	prefix netip.Prefix
}

// receivedPaths asks the library for the attributes of paths. What it does not have
// any more is missing.
func receivedPaths(ctx context.Context, lib *library, known map[netip.Prefix][]found) map[pathKey]*apiutil.Path {
	received := map[pathKey]*apiutil.Path{}
	if lib == nil {
		return received
	}
	byPeer := map[netip.Addr][]*apiutil.LookupPrefix{}
	f := FamilyUnknown
	for p, list := range known {
		f = FamilyOf(p.Addr())
		for i := range list {
			if list[i].up {
				a := list[i].peer.Address
				byPeer[a] = append(byPeer[a], &apiutil.LookupPrefix{Prefix: p.String(), LookupOption: apiutil.LOOKUP_EXACT})
			}
		}
	}
	for address, prefixes := range byPeer {
		if ctx.Err() != nil {
			break
		}
		// An error says that the peer is gone; its paths are described without.
		_ = lib.server.ListPath(apiutil.ListPathRequest{
			TableType: api.TableType_TABLE_TYPE_ADJ_IN, Name: address.String(), Family: f.wire(), Prefixes: prefixes,
		}, func(nlri bgp.NLRI, paths []*apiutil.Path) {
			if n, ok := nlri.(*bgp.IPAddrPrefix); ok && len(paths) > 0 {
				received[pathKey{address, n.Prefix}] = paths[0]
			}
		})
	}
	return received
}

// describe says everything of one prefix.
func describe(prefix netip.Prefix, rule ASPathRule, list []found, received map[pathKey]*apiutil.Path) PrefixPaths {
	slices.SortFunc(list, func(a, b found) int { return cmp.Compare(a.peer.Name, b.peer.Name) })
	var contenders []contender
	place := make([]int, len(list))
	for i, x := range list {
		place[i] = -1
		if x.known.why == Accepted && x.slot != NoSlot && prefix.Bits() > 0 {
			g := x.known.grade
			place[i] = len(contenders)
			contenders = append(contenders, contender{candidate{slot: x.slot, grade: &g}, x.peer.Name})
		}
	}
	answer := PrefixPaths{Prefix: prefix}
	for i := range list {
		info := list[i].info(received[pathKey{list[i].peer.Address, prefix}])
		switch {
		case list[i].known.why != Accepted:
			info.Why = "refused: " + list[i].known.why.String()
		case place[i] >= 0:
			info.Rank, info.Why = explain(rule, contenders, place[i])
			answer.Choice = answer.Choice.With(list[i].slot, info.Rank)
		default:
			info.Why = whyDefault
		}
		if info.Stale {
			info.Why += "; " + whyStale
		}
		answer.Paths = append(answer.Paths, info)
	}
	slices.SortStableFunc(answer.Paths, func(a, b PathInfo) int {
		return cmp.Compare(order(a.Rank), order(b.Rank))
	})
	return answer
}

// order puts paths without a rank last.
func order(r Rank) int {
	if r == NoPath {
		return int(Rest) + 1
	}
	return int(r)
}

// info says everything of one path; p is nil if its attributes are gone.
func (x *found) info(p *apiutil.Path) PathInfo {
	g := x.known.grade
	info := PathInfo{Peer: x.peer.Name, Preference: x.peer.Preference, Stale: x.known.stale}
	if x.known.why == Accepted {
		info.Preference, info.Origin, info.MED = g.preference, originText(g.origin), g.med
	}
	if p == nil {
		return info
	}
	var a attributes
	a.read(p.Attrs)
	info.NextHop, info.Origin, info.MED, info.HasMED = a.nextHop, originText(a.origin), a.med, a.hasMED
	info.ASPath, info.Communities = asPathText(p.Attrs), communitiesText(p.Attrs)
	info.Bandwidth = float64(a.bandwidth)
	info.Received = time.Unix(p.Age, 0)
	if x.judge.origins != nil {
		info.Validity = x.judge.validity(x.prefix, &a).String()
	}
	return info
}
