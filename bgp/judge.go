package bgp

import (
	"math"
	"net/netip"
)

// blackhole is the community BLACKHOLE (RFC 7999 section 5).
const blackhole uint32 = 0xffff029a

// Longest prefixes that are accepted by default (BCP 194 section 6.1.3).
const (
	defaultMaxLength4 = 24
	defaultMaxLength6 = 48
)

// judge decides what becomes of the paths of one peer. It is pure, and is made anew
// when the configuration changes; it may be used from several goroutines if own and
// origins may.
type judge struct {
	mode ImportMode
	// asked says that the default route of a family was asked for.
	asked [len(Families) + 1]bool
	// maxLength by family.
	maxLength [len(Families) + 1]int
	named     []named
	ours      []netip.Prefix

	as, local, peer      uint32
	privateAS, bandwidth bool
	anyNextHop, direct   bool
	address              netip.Addr
	isOwn                func(netip.Addr) bool
	origins              origins
	rejectInvalid        bool

	// base is what all accepted paths have in common.
	base grade
}

// named is one of the prefixes that are asked for by name.
type named struct {
	prefix netip.Prefix
	// maxLength is the longest prefix in it that is accepted.
	maxLength int
}

// newJudge compiles what c and p say of paths from p. isOwn says of an address
// without a zone whether it is one of this host; nil stands for no. o is nil where
// nobody is asked for origins.
func newJudge(c *Config, p *Peer, isOwn func(netip.Addr) bool, o origins) *judge {
	j := &judge{
		mode: p.Import.Mode,
		as:   c.AS, local: p.LocalAS, peer: p.AS,
		privateAS: p.Import.PrivateAS, bandwidth: p.Import.Bandwidth,
		anyNextHop: p.Import.AnyNextHop, direct: p.Multihop <= 1,
		address: p.Address.WithZone("").Unmap(),
		isOwn:   isOwn, origins: o, rejectInvalid: p.Import.RejectInvalid,
		base: grade{
			tier:       int16(max(math.MinInt16, min(p.Tier, math.MaxInt16))), //nolint:gosec // Bounded on the same line.
			preference: p.Preference, neighbour: p.AS, last: p.Drained,
		},
	}
	if j.local == 0 {
		j.local = c.AS
	}
	if j.base.preference == 0 {
		j.base.preference = DefaultPreference
	}
	j.maxLength[IPv4], j.maxLength[IPv6] = p.Import.MaxLength4, p.Import.MaxLength6
	if j.maxLength[IPv4] == 0 {
		j.maxLength[IPv4] = defaultMaxLength4
	}
	if j.maxLength[IPv6] == 0 {
		j.maxLength[IPv6] = defaultMaxLength6
	}
	if !c.AllowOwn {
		j.ours = maskAll(c.Own)
	}
	for _, f := range Families {
		j.asked[f] = j.mode == ImportDefault || j.mode == ImportFull
	}
	if j.mode == ImportPrefixes {
		j.name(maskAll(p.Import.Prefixes))
	}
	return j
}

// name notes which prefixes are asked for.
func (j *judge) name(prefixes []netip.Prefix) {
	for _, p := range prefixes {
		f := FamilyOf(p.Addr())
		if p.Bits() == 0 {
			// What lies in 0.0.0.0/0 is everything, and that is asked for with full.
			j.asked[f] = true
			continue
		}
		j.named = append(j.named, named{prefix: p, maxLength: max(j.maxLength[f], p.Bits())})
	}
}

// maskAll returns the valid ones of prefixes without the bits behind their length.
func maskAll(prefixes []netip.Prefix) []netip.Prefix {
	masked := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if p.IsValid() {
			masked = append(masked, p.Masked())
		}
	}
	return masked
}

// path decides what becomes of a path: with Accepted, the grade is what ranks it. A
// path may fail several checks; the one that is told is the first of those that an
// operator would name: what was asked for, whose prefix it is, what the prefix is, the
// AS path, the next hop, the origin.
func (j *judge) path(prefix netip.Prefix, a *attributes) (grade, Reason) {
	if why := j.prefix(prefix, a); why != Accepted {
		return grade{}, why
	}
	if why := j.asPath(a); why != Accepted {
		return grade{}, why
	}
	if why := j.nextHop(a); why != Accepted {
		return grade{}, why
	}
	if j.rejectInvalid && j.validity(prefix, a) == invalid {
		return grade{}, Invalid
	}
	g := j.base
	g.length = uint16(min(a.length, math.MaxUint16)) //nolint:gosec // Bounded on the same line.
	g.origin, g.med = a.origin, a.med
	if a.has(GracefulShutdown) {
		g.last, g.draining = true, true
	}
	return g, Accepted
}

// believed returns the bandwidth that a path announces, in octets per second, 0 for none
// or if it is not to be believed.
func (j *judge) believed(a *attributes) float32 {
	if !j.bandwidth || !usable(a.bandwidth) {
		return 0
	}
	return a.bandwidth
}

// validity returns what RPKI says of the origin of a path, notFound where nobody is
// asked. Alone it refuses nothing (RFC 6811 section 2).
func (j *judge) validity(prefix netip.Prefix, a *attributes) validity {
	if j.origins == nil {
		return notFound
	}
	return j.origins.validate(prefix, a.originAS)
}

// prefix judges by the prefix.
func (j *judge) prefix(prefix netip.Prefix, a *attributes) Reason {
	addr, length := prefix.Addr(), prefix.Bits()
	if !prefix.IsValid() || addr.Is4In6() || prefix.Masked() != prefix || a.broken {
		return Malformed
	}
	f := FamilyOf(addr)
	if j.mode == ImportNone {
		return NoPolicy
	}
	if length == 0 {
		switch {
		case !j.asked[f]:
			return NotAsked
		case a.has(blackhole):
			return Blackhole
		default:
			return Accepted
		}
	}
	var by *named
	if j.mode != ImportFull {
		if by = j.namedFor(prefix); by == nil {
			return NotAsked
		}
	}
	for _, own := range j.ours {
		if length >= own.Bits() && own.Contains(addr) {
			return OwnPrefix
		}
	}
	if a.has(blackhole) {
		return Blackhole
	}
	return j.fit(f, prefix, by)
}

// namedFor returns the longest of the named prefixes that prefix lies in, or nil.
func (j *judge) namedFor(prefix netip.Prefix) *named {
	var longest *named
	for i := range j.named {
		n := &j.named[i]
		if prefix.Bits() >= n.prefix.Bits() && n.prefix.Contains(prefix.Addr()) &&
			(longest == nil || n.prefix.Bits() > longest.prefix.Bits()) {
			longest = n
		}
	}
	return longest
}

// fit judges whether prefix is fit to be routed. What an operator named is, even if it
// is special: an ISP may well offer its resolvers in 100.64.0.0/10.
func (j *judge) fit(f Family, prefix netip.Prefix, by *named) Reason {
	limit := j.maxLength[f]
	if by != nil {
		limit = by.maxLength
	}
	if b := bogonOf(prefix); b != nil && (by == nil || !b.covers(by.prefix)) {
		return Bogon
	}
	if prefix.Bits() > limit {
		return TooSpecific
	}
	return Accepted
}
