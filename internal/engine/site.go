package engine

import (
	"net/netip"
	"time"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// site is what a configuration means to the other packages. It is immutable.
type site struct {
	config  *config.Config
	policy  uplink.Policy
	layout  uplink.Layout
	owner   fib.Owner
	members []member
	// interfaces counts the uplinks of each interface.
	interfaces map[string]int
	// keys are the authentication of BFD by uplink, set before the site is used.
	keys map[string]keyRing
	// passwords are those of BGP by uplink, set before the site is used.
	passwords map[string]password
}

// member is one configured way.
type member struct {
	uplink.Member
	conf config.Uplink
	// gateway is the configured gateway; the zero Addr means that it is learned.
	gateway netip.Addr
	// sources are the configured sources of the family.
	sources []netip.Prefix
	// targets are the configured probe targets of the family.
	targets []netip.Addr
	// optional says that the configuration does not ask for this family: it is
	// used if the host turns out to have it.
	optional bool
	// bfd is nil where no session is wanted; peer is the configured peer, the zero
	// Addr for the gateway.
	bfd  *config.BFD
	peer netip.Addr
}

// newSite draws the conclusions of c. It is pure.
func newSite(c *config.Config) *site {
	s := &site{config: c, interfaces: map[string]int{}}
	s.layout = uplink.Layout{
		BalanceTable: c.Tables.Balance,
		Prefixes:     c.Tables.Prefixes,
		Priorities: uplink.Priorities{
			Main: c.Rules.Main, Source: c.Rules.Source, Mark: c.Rules.Mark, Balance: c.Rules.Balance,
		},
		MarkMask:        c.Marks.Mask,
		NextHopBase:     c.NextHops.Base,
		IdleTimer:       c.Group.IdleTimer,
		UnbalancedTimer: c.Group.UnbalancedTimer,
		FailClosed:      c.AllDead == config.WithdrawAll,
	}
	s.policy = uplink.Policy{
		HoldUp:  c.Hold.Up,
		AllDead: allDead(c.AllDead),
		Damping: uplink.Damping{HalfLife: c.Hold.PenaltyHalfLife, Suppress: c.Hold.Suppress, Reuse: c.Hold.Reuse},
	}
	for _, u := range c.Uplinks {
		s.interfaces[u.Interface]++
		if u.ICMP != nil {
			detection := u.ICMP.Interval*time.Duration(max(u.ICMP.Down, u.ICMP.Up)) + u.ICMP.Timeout
			s.policy.SameMoment = max(s.policy.SameMoment, 2*detection)
		}
		s.layout.Uplinks = append(s.layout.Uplinks, uplink.Place{
			Name: u.Name, Table: u.Table, Mark: u.Mark, Weight: u.Weight, OnLink: u.OnLink,
		})
		for _, f := range fib.Families {
			if m, ok := newMember(u, f); ok {
				s.members = append(s.members, m)
				s.policy.Members = append(s.policy.Members, m.Member)
			}
		}
	}
	s.layout.WithPrefixes = s.wantsPrefixes()
	s.owner = s.layout.Owner(c.Protocol)
	return s
}

// newMember returns the way of u in family f. An uplink with configured gateways
// has the families of those gateways; one without has whatever the host learns.
func newMember(u config.Uplink, f fib.Family) (member, bool) {
	m := member{
		Member: uplink.Member{Way: uplink.Way{Uplink: u.Name, Family: f}, Tier: u.Tier, Weight: u.Weight},
		conf:   u,
	}
	for _, g := range u.Gateways {
		if fib.FamilyOf(g) == f {
			m.gateway = g
		}
	}
	if len(u.Gateways) > 0 && !m.gateway.IsValid() {
		return member{}, false
	}
	for _, p := range u.Sources {
		if fib.FamilyOf(p.Addr()) == f {
			m.sources = append(m.sources, p)
		}
	}
	if u.ICMP != nil {
		m.Quorum = u.ICMP.Quorum
		for _, t := range u.ICMP.Targets {
			if fib.FamilyOf(t) == f {
				m.targets = append(m.targets, t)
			}
		}
	}
	m.optional = !m.gateway.IsValid() && len(m.sources) == 0
	m.wantBFD()
	return m, true
}

func allDead(a config.AllDead) uplink.AllDead {
	switch a {
	case config.KeepAll:
		return uplink.KeepAll
	case config.WithdrawAll:
		return uplink.FailClosed
	case config.KeepLast:
		return uplink.KeepLast
	default:
		return uplink.KeepLast
	}
}

// neighbourInterval is how often the kernel is asked to probe the gateway of m,
// and false if it is not watched.
func (m member) neighbourInterval() (time.Duration, bool) {
	if m.conf.Neighbour == nil {
		return 0, false
	}
	return m.conf.Neighbour.Interval, true
}
