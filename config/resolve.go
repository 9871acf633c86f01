package config

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
)

// What is used where the file says nothing. The numbers of tables, rules and
// marks are those of the well-known script for two providers.
const (
	defaultProtocol        = 221
	defaultTableBalance    = 221
	defaultTableUplinks    = 201
	defaultRuleMain        = 50
	defaultRuleSource      = 201
	defaultRuleMark        = 211
	defaultRuleBalance     = 221
	defaultMarkBase        = 0x100
	defaultMarkMask        = 0xff00
	defaultNextHopBase     = 22_100_000
	defaultHoldUp          = 10 * time.Second
	defaultPenaltyHalfLife = 60 * time.Second
	defaultSuppress        = 3000
	defaultReuse           = 750
	// A bucket that is idle for ten seconds rarely carries anything that would
	// notice a move; after two minutes the weights count more than what is left.
	defaultIdleTimer         = 10 * time.Second
	defaultUnbalancedTimer   = 2 * time.Minute
	defaultWeight            = 1
	defaultTier              = 1
	defaultNeighbourInterval = 5 * time.Second
	defaultNeighbourTries    = 1
	defaultICMPInterval      = time.Second
	defaultICMPTimeout       = time.Second
	defaultICMPDown          = 3
	defaultICMPUp            = 3
	// A threshold is left at a lower value than it is entered, so that a value
	// in between does not flap.
	lossLeaveShare    = 0.5
	latencyLeaveShare = 0.8
)

// defaultTargets are resolvers that are anycast world-wide: far beyond any
// first hop, and of different operators so that one of them may fail.
var defaultTargets = [...]netip.Addr{
	netip.MustParseAddr("1.1.1.1"),
	netip.MustParseAddr("8.8.8.8"),
	netip.MustParseAddr("9.9.9.9"),
	netip.MustParseAddr("2606:4700:4700::1111"),
	netip.MustParseAddr("2001:4860:4860::8888"),
	netip.MustParseAddr("2620:fe::fe"),
}

// resolver turns the raw file into a Config: defaults in, numbers that do not
// fit their type out.
type resolver struct {
	*report
	// dir is where relative paths begin.
	dir string
}

func resolve(raw *rawConfig, dir string, r *report) *Config {
	s := resolver{r, dir}
	c := &Config{
		Protocol: uint8(s.fit("protocol", raw.Protocol, defaultProtocol, protocols)),
		Tables: Tables{
			Balance: uint32(s.fit("tables.balance", raw.Tables.Balance, defaultTableBalance, tables)),
			Uplinks: uint32(s.fit("tables.uplinks", raw.Tables.Uplinks, defaultTableUplinks, tables)),
		},
		Rules: Rules{
			Main:    uint32(s.fit("rules.main", raw.Rules.Main, defaultRuleMain, priorities)),
			Source:  uint32(s.fit("rules.source", raw.Rules.Source, defaultRuleSource, priorities)),
			Mark:    uint32(s.fit("rules.mark", raw.Rules.Mark, defaultRuleMark, priorities)),
			Balance: uint32(s.fit("rules.balance", raw.Rules.Balance, defaultRuleBalance, priorities)),
		},
		Marks: Marks{
			Base: uint32(s.fit("marks.base", raw.Marks.Base, defaultMarkBase, marks)),
			Mask: uint32(s.fit("marks.mask", raw.Marks.Mask, defaultMarkMask, marks)),
		},
		NextHops: NextHopIDs{
			Base: uint32(s.fit("next-hops.base", raw.NextHops.Base, defaultNextHopBase, nextHopIDs)),
		},
		OnExit:  choose(s, "on-exit", raw.OnExit, Keep, Keep, Withdraw),
		AllDead: choose(s, "all-dead", raw.AllDead, KeepLast, KeepLast, KeepAll, WithdrawAll),
		Hold: Hold{
			Up:              or(raw.Hold.Up, defaultHoldUp),
			PenaltyHalfLife: or(raw.Hold.PenaltyHalfLife, defaultPenaltyHalfLife),
			Suppress:        orFraction(raw.Hold.Suppress, defaultSuppress),
			Reuse:           orFraction(raw.Hold.Reuse, defaultReuse),
		},
		Group: Group{
			IdleTimer:       or(raw.Group.IdleTimer, defaultIdleTimer),
			UnbalancedTimer: or(raw.Group.UnbalancedTimer, defaultUnbalancedTimer),
		},
	}
	c.Tables.Prefixes = uint32(s.fit("tables.prefixes", raw.Tables.Prefixes, beside(int64(c.Tables.Balance), tables), tables))
	if raw.BGP.on(false) {
		c.BGP = s.bgp("bgp", &raw.BGP, c.Protocol)
	}
	for i := range raw.Uplinks {
		c.Uplinks = append(c.Uplinks, s.uplink(c, &raw.Uplinks[i], i))
	}
	return c
}

func (s resolver) uplink(c *Config, raw *rawUplink, i int) Uplink {
	path := item("uplinks", i)
	u := Uplink{
		Name:      raw.Name.value,
		Interface: raw.Interface.value,
		Gateways:  raw.Gateway.values,
		OnLink:    raw.OnLink.value,
		Sources:   raw.Source.values,
		Weight:    int(s.fit(path+".weight", raw.Weight, defaultWeight, weights)),
		Tier:      int(s.fit(path+".tier", raw.Tier, defaultTier, tiers)),
		Table:     s.numbered(path+".table", raw.Table, tables, uint64(c.Tables.Uplinks)+uint64(i), "tables.uplinks"),
		Mark:      s.numbered(path+".mark", raw.Mark, marks, uint64(c.Marks.Base)*uint64(i+1), "marks.base"),
	}
	if raw.Neighbour.on(!pointToPoint(u.Interface)) {
		u.Neighbour = &Neighbour{
			Interval: or(raw.Neighbour.Interval, defaultNeighbourInterval),
			Tries:    int(s.fit(path+".neighbour.tries", raw.Neighbour.Tries, defaultNeighbourTries, tries)),
		}
	}
	if raw.ICMP.on(false) {
		u.ICMP = s.icmp(path+".icmp", &raw.ICMP)
	}
	if raw.BFD.on(false) {
		u.BFD = s.bfd(path+".bfd", &raw.BFD)
	}
	if raw.BGP.on(false) {
		u.BGP = s.uplinkBGP(path+".bgp", &raw.BGP)
	}
	return u
}

func (s resolver) icmp(path string, raw *rawICMP) *ICMP {
	interval := or(raw.Interval, defaultICMPInterval)
	m := &ICMP{
		Targets:      raw.Targets.values,
		Quorum:       int(s.fit(path+".quorum", raw.Quorum, 0, quorums)),
		Interval:     interval,
		Timeout:      or(raw.Timeout, min(defaultICMPTimeout, interval)),
		Down:         int(s.fit(path+".down", raw.Down, defaultICMPDown, rounds)),
		Up:           int(s.fit(path+".up", raw.Up, defaultICMPUp, rounds)),
		LossEnter:    raw.Loss.value,
		LatencyEnter: raw.Latency.value,
	}
	if !raw.Targets.given {
		m.Targets = append(m.Targets, defaultTargets[:]...)
	}
	m.LossLeave = m.LossEnter * lossLeaveShare
	if raw.LossLeave.given {
		m.LossLeave = raw.LossLeave.value
	}
	m.LatencyLeave = or(raw.LatencyLeave, time.Duration(float64(m.LatencyEnter)*latencyLeaveShare))
	// Zero means "off" in a Config, but nobody who writes a threshold wants it
	// off.
	if raw.Loss.given && raw.Loss.value == 0 {
		s.add(path+".loss", `is 0; write more than 0 and at most "100%%", or remove it to ignore loss`)
	}
	if raw.Latency.given && raw.Latency.value == 0 {
		s.add(path+".latency", "is 0; write more, or remove it to ignore latency")
	}
	return m
}

// fit returns a number that is known to fit the type it is meant for: the
// default if none was given or if it is out of range, which is reported.
func (s resolver) fit(path string, n number, byDefault int64, in span) int64 {
	if !n.given {
		return byDefault
	}
	if !s.within(path, n.value, in) {
		return byDefault
	}
	return n.value
}

// numbered is fit for a number whose default counts with the uplinks and may
// leave its range by that.
func (s resolver) numbered(path string, n number, in span, byDefault uint64, from string) uint32 {
	if !n.given && byDefault > math.MaxUint32 {
		s.add(path, "would be %d, counted from %s, and is too large; write a smaller %s, or a number here", byDefault, from, from)
		byDefault = 0
	}
	return uint32(s.fit(path, n, int64(byDefault), in))
}

func or(d duration, byDefault time.Duration) time.Duration {
	if d.given {
		return d.value
	}
	return byDefault
}

func orFraction(r fraction, byDefault float64) float64 {
	if r.given {
		return r.value
	}
	return byDefault
}

// choose reads one of several words.
func choose[T fmt.Stringer](s resolver, path string, t text, byDefault T, choices ...T) T {
	if !t.given {
		return byDefault
	}
	words := make([]string, len(choices))
	for i, c := range choices {
		if strings.EqualFold(strings.TrimSpace(t.value), c.String()) {
			return c
		}
		words[i] = c.String()
	}
	s.add(path, "%q is not known; write %s", t.value, strings.Join(words, " or "))
	return byDefault
}

// pointToPoint says whether the kernel's usual names tell that the device has
// no neighbours to look for.
func pointToPoint(device string) bool {
	for _, prefix := range [...]string{"ppp", "wg", "tun", "gre"} {
		if strings.HasPrefix(device, prefix) {
			return true
		}
	}
	return false
}
