package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// Names of the two policies. Both stand in the global assignment, whose default is
// to reject.
const (
	importPolicy = "import"
	exportPolicy = "export"
	globalTable  = "global"
)

// exports is what each peer is told, as the library's policies are made of it. What
// is not named here does not leave, and there is nothing else that could: the local
// table holds our own prefixes only, because the import policy rejects everything
// that comes from a peer. So no route with NO_EXPORT or NO_ADVERTISE (RFC 1997) can
// be sent on: routes that were received are never sent.
type exports struct {
	peers []exportPeer
}

type exportPeer struct {
	address netip.Addr
	// local tells the peer from another one with the same link-local address; the
	// zero Addr where there is none.
	local    netip.Addr
	localAS  uint32
	announce []Announcement
}

// newExports collects what the peers of c are told. usable says whether a peer may
// be told of a family: an IPv4 prefix with an IPv6 next hop, for one, needs a
// capability (RFC 8950 section 4).
func newExports(c *Config, usable func(p *Peer, f Family) bool) exports {
	var e exports
	for i := range c.Peers {
		p := &c.Peers[i]
		x := exportPeer{address: p.Address, localAS: p.LocalAS}
		if slices.ContainsFunc(c.Peers, func(q Peer) bool {
			return q.Address != p.Address && q.Address.WithZone("") == p.Address.WithZone("")
		}) {
			x.local = p.Local.WithZone("")
		}
		for _, a := range p.Announce {
			if usable(p, FamilyOf(a.Prefix.Addr())) {
				x.announce = append(x.announce, a)
			}
		}
		slices.SortFunc(x.announce, func(a, b Announcement) int { return comparePrefixes(a.Prefix, b.Prefix) })
		e.peers = append(e.peers, x)
	}
	return e
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// prefixes are all that some peer is told, in order.
func (e exports) prefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range e.peers {
		for _, a := range p.announce {
			all = append(all, a.Prefix)
		}
	}
	slices.SortFunc(all, comparePrefixes)
	return slices.Compact(all)
}

// of returns what the peer with this address is told.
func (e exports) of(address netip.Addr) exportPeer {
	for _, p := range e.peers {
		if p.address == address {
			return p
		}
	}
	return exportPeer{}
}

// equal reports whether the peer is told the same.
func (p exportPeer) equal(q exportPeer) bool {
	return p.address == q.address && p.local == q.local && p.localAS == q.localAS &&
		slices.EqualFunc(p.announce, q.announce, func(a, b Announcement) bool {
			return a.Prefix == b.Prefix && a.MED == b.MED && a.HasMED == b.HasMED && a.Prepend == b.Prepend &&
				slices.Equal(a.Communities, b.Communities)
		})
}

// request is all policies, which replace all others at once.
func (e exports) request() *api.SetPoliciesRequest {
	r := &api.SetPoliciesRequest{}
	for _, p := range e.prefixes() {
		length := uint32(p.Bits()) //nolint:gosec // 0..128.
		r.DefinedSets = append(r.DefinedSets, &api.DefinedSet{
			DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: "prefix " + p.String(),
			Prefixes: []*api.Prefix{{IpPrefix: p.String(), MaskLengthMin: length, MaskLengthMax: length}},
		})
	}
	export := &api.Policy{Name: exportPolicy}
	for _, p := range e.peers {
		if len(p.announce) == 0 {
			continue
		}
		// The library leaves the zone out when it compares.
		host := netip.PrefixFrom(p.address.WithZone(""), p.address.BitLen())
		set := "peer " + p.address.String()
		r.DefinedSets = append(r.DefinedSets, &api.DefinedSet{
			DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: set, List: []string{host.String()},
		})
		for _, a := range p.announce {
			export.Statements = append(export.Statements, p.statement(set, a))
		}
	}
	r.Policies = []*api.Policy{
		{Name: importPolicy, Statements: []*api.Statement{{
			Name:       "our own",
			Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
			Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
		}}},
		export,
	}
	return r
}

// statement accepts one prefix towards one peer, as a says.
func (p exportPeer) statement(set string, a Announcement) *api.Statement {
	s := &api.Statement{
		Name: set + " " + a.Prefix.String(),
		Conditions: &api.Conditions{
			RouteType:   api.Conditions_ROUTE_TYPE_LOCAL,
			NeighborSet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: set},
			PrefixSet:   &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: "prefix " + a.Prefix.String()},
		},
		Actions: &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}
	if p.local.IsValid() {
		s.Conditions.NextHopInList = []string{p.local.String()}
	}
	if len(a.Communities) > 0 {
		list := make([]string, len(a.Communities))
		for i, c := range a.Communities {
			list[i] = strconv.FormatUint(uint64(c>>16), 10) + ":" + strconv.FormatUint(uint64(c&0xffff), 10)
		}
		s.Actions.Community = &api.CommunityAction{Type: api.CommunityAction_TYPE_REPLACE, Communities: list}
	}
	if a.HasMED {
		s.Actions.Med = &api.MedAction{Type: api.MedAction_TYPE_REPLACE, Value: int64(a.MED)}
	}
	if a.Prepend > 0 {
		s.Actions.AsPrepend = &api.AsPrependAction{Asn: p.localAS, Repeat: uint32(a.Prepend)} //nolint:gosec // 0..10.
	}
	return s
}

// ownPath is a prefix of ours as it stands in the local table: without anything but
// what is mandatory. The next hop becomes our address in each session.
func ownPath(p netip.Prefix) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(p)
	if err != nil {
		return nil, fmt.Errorf("announce %v: %w", p, err)
	}
	hop := netip.IPv4Unspecified()
	if FamilyOf(p.Addr()) == IPv6 {
		hop = netip.IPv6Unspecified()
	}
	next, err := bgp.NewPathAttributeNextHop(hop)
	if err != nil {
		return nil, fmt.Errorf("announce %v: %w", p, err)
	}
	return &apiutil.Path{
		Family: FamilyOf(p.Addr()).wire(),
		Nlri:   nlri,
		Attrs:  []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP), next},
	}, nil
}

// count is how many prefixes of a family the peer is told.
func (p exportPeer) count(f Family) int {
	n := 0
	for _, a := range p.announce {
		if FamilyOf(a.Prefix.Addr()) == f {
			n++
		}
	}
	return n
}
