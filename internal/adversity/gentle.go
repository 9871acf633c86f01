package adversity

import (
	"encoding/binary"
	"slices"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// gently returns a malformed message for which a session of one family need not be ended
// (RFC 7606): it can be told where attributes and prefixes begin and end. Otherwise the
// first few messages of a session would be all that is read.
func gently(m *bgptest.Malformer, ipv6 bool) []byte {
	for {
		if b := m.Next(); gentle(b, ipv6) {
			return b
		}
	}
}

// headerLen is that of a BGP message (RFC 4271 section 4.1).
const headerLen = 19

// gentle reports whether the lengths in an UPDATE message agree with one another, and
// its prefixes are those of the session's family.
func gentle(message []byte, ipv6 bool) bool {
	withdrawn, rest, ok := cut(message[headerLen:])
	if !ok {
		return false
	}
	attributes, nlri, ok := cut(rest)
	if !ok || ipv6 && len(withdrawn)+len(nlri) > 0 || !prefixes(withdrawn, 32) || !prefixes(nlri, 32) {
		return false
	}
	multiprotocol := 0
	for b := attributes; len(b) > 0; {
		head, size := 3, 0
		switch {
		case len(b) >= 4 && b[0]&bgptest.FlagExtended != 0:
			head, size = 4, int(binary.BigEndian.Uint16(b[2:]))
		case len(b) >= 3:
			size = int(b[2])
		default:
			return false
		}
		if head+size > len(b) || !bearable(b[0], b[1], b[head:head+size], ipv6) {
			return false
		}
		if b[1] == bgptest.AttrMPReach || b[1] == bgptest.AttrMPUnreach {
			multiprotocol++
		}
		b = b[head+size:]
	}
	return multiprotocol < 2
}

// wellKnown are the attributes that need not be optional.
var wellKnown = []uint8{
	bgptest.AttrOrigin, bgptest.AttrASPath, bgptest.AttrNextHop, bgptest.AttrLocalPref, bgptest.AttrAtomicAggregate,
}

// as4Aggregator is AS4_AGGREGATOR (RFC 6793).
const as4Aggregator = 18

// bearable reports whether a session may outlive an attribute, whatever its value: not
// one that claims to be well known and is not (RFC 4271 section 6.3), nor prefixes that
// cannot be read (RFC 7606 section 5.3), nor AS4_AGGREGATOR, for which GoBGP 4.8 ends a
// session if it stands alone.
func bearable(flags, kind uint8, value []byte, ipv6 bool) bool {
	if kind == as4Aggregator {
		return false
	}
	if flags&bgptest.FlagOptional == 0 && !slices.Contains(wellKnown, kind) {
		return false
	}
	head := 3
	switch kind {
	case bgptest.AttrMPReach:
		head = 4 + 16 + 1
		if len(value) < head || value[3] != 16 {
			return false
		}
	case bgptest.AttrMPUnreach:
		if len(value) < head {
			return false
		}
	default:
		return true
	}
	return ipv6 && flags&bgptest.FlagTransitive == 0 &&
		binary.BigEndian.Uint16(value) == bgptest.IPv6.AFI() && value[2] == bgptest.IPv6.SAFI() && prefixes(value[head:], 128)
}

// cut takes a part with its length in two octets off b.
func cut(b []byte) (part, rest []byte, ok bool) {
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n], b[n:], true
}

// prefixes reports whether b is a list of prefixes of at most so many bits.
func prefixes(b []byte, longest uint8) bool {
	for len(b) > 0 {
		n := 1 + (int(b[0])+7)/8
		if b[0] > longest || n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}
