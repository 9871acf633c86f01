package bgp

// asPath judges by the AS path.
func (j *judge) asPath(a *attributes) Reason {
	for _, as := range a.asPath {
		if as == j.as || as == j.local {
			return OwnAS
		}
	}
	// The path of an external peer is not empty (RFC 4271 section 5.1.2), and begins
	// with a sequence.
	if a.first == 0 || a.first != j.peer {
		// AS 0 as the first one is worse than a wrong one.
		if len(a.asPath) > 0 && a.asPath[0] == 0 {
			return BadAS
		}
		return FirstAS
	}
	first := true
	for _, as := range a.asPath {
		// The peer's own number may be a private one: what it is was agreed on. It
		// may be repeated, but not come back later.
		first = first && as == j.peer
		if first {
			continue
		}
		if j.badAS(as) {
			return BadAS
		}
	}
	return Accepted
}

// badAS reports whether as must not be in a path. 0 (RFC 7607) and AS_TRANS (RFC 6793
// section 9) never are a network; the others are private, reserved or for documents
// (RFC 1930, 5398, 6996, 7300, and IANA's registry of AS numbers).
func (j *judge) badAS(as uint32) bool {
	switch {
	case as == 0, as == 23456:
		return true
	case as < 64496:
		return false
	case as <= 131071: // 64496..64511 documents, ..65534 private, 65535, 65536..65551 documents, ..131071 reserved
		return !j.privateAS
	case as >= 4200000000: // private, and 4294967295
		return !j.privateAS
	default:
		return false
	}
}

// nextHop judges by the next hop. Traffic goes to the gateway of the uplink whatever
// the next hop is: this is about paths that are not what they seem.
func (j *judge) nextHop(a *attributes) Reason {
	hop := a.nextHop.Unmap()
	if hop == j.address || (a.linkLocal.IsValid() && a.linkLocal == j.address) {
		return Accepted
	}
	if j.isOwn != nil && (j.isOwn(hop) || (a.linkLocal.IsValid() && j.isOwn(a.linkLocal))) {
		return OwnNextHop
	}
	lost := j.direct && j.address.IsLinkLocalUnicast() && hop.Is6()
	switch {
	case lost && !hop.IsMulticast() && !hop.IsLoopback() && (!hop.IsLinkLocalUnicast() || j.anyNextHop):
		// A peer that is known by its link-local address puts that behind a global
		// one, or behind "::" (RFC 2545 section 3), and GoBGP tells us the first of
		// the two only.
		return Accepted
	case hop.IsUnspecified() || hop.IsMulticast() || hop.IsLoopback():
		// Not the address of a router (RFC 4271 section 6.3).
		return Malformed
	case j.anyNextHop:
		return Accepted
	case j.direct && j.address.Is6() && !j.address.IsLinkLocalUnicast() && hop.Is6() && hop.IsLinkLocalUnicast():
		// Somebody on the link between us and the peer, and whose name for itself is
		// not known.
		return Accepted
	default:
		return NextHop
	}
}
