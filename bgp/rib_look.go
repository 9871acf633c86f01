package bgp

import (
	"net/netip"
	"slices"
)

// counts is what is known of all paths of a peer in one family, the default route
// among them.
type counts struct {
	// received prefixes, of which accepted ones were not refused.
	received, accepted int
	// refused by Reason.
	refused [reasons]int
	// stale among received, draining (RFC 8326) among accepted.
	stale, draining int
	// bandwidth in octets per second: that of the default route if it was accepted
	// with one, and else that of the path that was accepted last, 0 for none.
	bandwidth float32
	// fallback is the default route.
	fallback DefaultRoute
}

// counts returns what is known of the paths of a peer.
func (r *rib) counts(col int) counts {
	if uint(col) >= maxColumns { //nolint:gosec // A negative one is large.
		return counts{}
	}
	c := &r.columns[col]
	n := counts{
		received: c.received, accepted: c.accepted, refused: c.refused, stale: c.stale, draining: c.draining,
	}
	if c.accepted > 0 {
		n.bandwidth = c.bandwidth
	}
	if c.fallback == 0 {
		return n
	}
	n.fallback.Received = true
	if !c.fallback.accepted() {
		n.fallback.Refused = Reason(c.fallback.value()) //nolint:gosec // Less than firstGrade.
		return n
	}
	g := r.grades.at(c.fallback.grade())
	n.fallback.Accepted, n.fallback.Draining = true, g.draining
	if c.fallbackBandwidth > 0 {
		n.bandwidth = c.fallbackBandwidth
	}
	return n
}

// known is what a rib knows of one path.
type known struct {
	grade grade
	why   Reason
	stale bool
}

// path returns what is known of a peer's path for a prefix, and false if there is
// none.
func (r *rib) path(col int, prefix netip.Prefix) (known, bool) {
	i, ok := r.entry(prefix)
	if !ok || uint(col) >= maxColumns { //nolint:gosec // A negative one is large.
		return known{}, false
	}
	c := &r.columns[col]
	at := &c.fallback
	if i != fallbackEntry {
		at = c.cells.at(i)
	}
	if at == nil || *at == 0 {
		return known{}, false
	}
	k := known{stale: uint32(*at)&epochBit != c.epoch}
	if at.accepted() {
		k.grade = *r.grades.at(at.grade())
	} else {
		k.why = Reason(at.value()) //nolint:gosec // Less than firstGrade.
	}
	return k, true
}

// entry returns the entry of a prefix, fallbackEntry for a default route.
func (r *rib) entry(prefix netip.Prefix) (uint32, bool) {
	if !r.holds(0, prefix) {
		return 0, false
	}
	if prefix.Bits() == 0 {
		return fallbackEntry, true
	}
	k := keyOf(prefix)
	return r.entries.find(&k)
}

// offered reports whether a peer sent a path for prefix, accepted or not.
func (r *rib) offered(prefix netip.Prefix) bool {
	i, ok := r.entry(prefix)
	if !ok {
		return false
	}
	if i != fallbackEntry {
		return *r.entries.meta(i)&usersMask != 0
	}
	return slices.ContainsFunc(r.columns[:], func(c column) bool { return c.fallback != 0 })
}

// covering returns the longest prefix that somebody sent a path for and that holds
// prefix, which may be that itself.
func (r *rib) covering(prefix netip.Prefix) (netip.Prefix, bool) {
	if !r.holds(0, prefix) {
		return netip.Prefix{}, false
	}
	for bits := prefix.Bits(); bits >= 0; bits-- {
		shorter := netip.PrefixFrom(prefix.Addr(), bits).Masked()
		if r.offered(shorter) {
			return shorter, true
		}
	}
	return netip.Prefix{}, false
}

// within returns, in order, the first of the prefixes that somebody sent a path for and
// that lie in prefix, at most limit. It looks at all prefixes.
func (r *rib) within(prefix netip.Prefix, limit int) []netip.Prefix {
	if !r.holds(0, prefix) || limit <= 0 {
		return nil
	}
	prefix = prefix.Masked()
	var found []netip.Prefix
	if prefix.Bits() == 0 && r.offered(prefix) {
		found = append(found, prefix)
	}
	r.entries.each(func(i uint32) {
		p := r.entries.prefix(i)
		// Contains denies mapped addresses.
		in := p.Bits() >= prefix.Bits() && netip.PrefixFrom(p.Addr(), prefix.Bits()).Masked() == prefix
		if !in || *r.entries.meta(i)&usersMask == 0 {
			return
		}
		found = append(found, p)
		if len(found) >= 2*limit+chunkSize {
			slices.SortFunc(found, netip.Prefix.Compare)
			found = found[:limit]
		}
	})
	slices.SortFunc(found, netip.Prefix.Compare)
	return found[:min(limit, len(found))]
}

// size returns the memory of r in octets, but for what is small.
func (r *rib) size() int {
	n := r.entries.size() + 4*cap(r.queue.list)
	for i := range r.columns {
		n += r.columns[i].cells.size()
	}
	return n
}
