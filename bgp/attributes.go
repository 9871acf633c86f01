package bgp

import (
	"encoding/binary"
	"math"
	"net/netip"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// attributes is what is read off the path attributes of one UPDATE. Paths of one
// UPDATE share it.
type attributes struct {
	// broken: a mandatory attribute is missing or cannot be what it is.
	broken bool
	origin uint8
	// asPath is flattened, in order; length counts a set once (RFC 4271 section
	// 9.1.2.2) and leaves confederation segments out (RFC 5065 section 5.3).
	asPath []uint32
	length int
	// first is the leftmost AS of a leading sequence, originAS the rightmost of a
	// trailing one (RFC 6811 section 2); 0 if there is none.
	first, originAS uint32
	med             uint32
	hasMED          bool
	// nextHop is that of MP_REACH_NLRI where there is one, without a zone; linkLocal is
	// the second address there (RFC 2545 section 3), if it was told. GoBGP drops it
	// from the paths that it tells to watchers.
	nextHop, linkLocal netip.Addr
	communities        []uint32
	// bandwidth in octets per second from the link bandwidth community, 0 if none is
	// valid; the smallest where there are several.
	bandwidth float32
}

// read replaces a by what attrs say. The slices of a are used again, and its
// communities are those of attrs, so neither may outlive the next call.
//
// GoBGP has merged AS4_PATH into AS_PATH by then, and made all of it 4 octets wide
// (UpdatePathAttrs4ByteAs, RFC 6793 section 4.2.3).
func (a *attributes) read(attrs []packet.PathAttributeInterface) {
	*a = attributes{asPath: a.asPath[:0]}
	var hasOrigin, hasPath bool
	for _, attr := range attrs {
		switch attr := attr.(type) {
		case *packet.PathAttributeOrigin:
			a.origin, hasOrigin = attr.Value, true
		case *packet.PathAttributeAsPath:
			a.readPath(attr.Value)
			hasPath = true
		case *packet.PathAttributeNextHop:
			// Beside MP_REACH_NLRI it means nothing (RFC 4760 section 3).
			if !a.nextHop.IsValid() {
				a.nextHop = attr.Value.WithZone("")
			}
		case *packet.PathAttributeMpReachNLRI:
			a.nextHop, a.linkLocal = attr.Nexthop.WithZone(""), attr.LinkLocalNexthop.WithZone("")
		case *packet.PathAttributeMultiExitDisc:
			a.med, a.hasMED = attr.Value, true
		case *packet.PathAttributeCommunities:
			a.communities = attr.Value
		case *packet.PathAttributeExtendedCommunities:
			a.bandwidth = smallestBandwidth(attr.Value)
		}
	}
	a.broken = !hasOrigin || !hasPath || a.origin > packet.BGP_ORIGIN_ATTR_TYPE_INCOMPLETE || !a.nextHop.IsValid()
}

// readPath reads AS_PATH. Segments without an AS do not count: they are malformed
// (RFC 7606 section 7.2), but merging AS4_PATH can leave one.
func (a *attributes) readPath(segments []packet.AsPathParamInterface) {
	started := false
	for _, segment := range segments {
		list := segment.GetAS()
		if len(list) == 0 {
			continue
		}
		a.originAS = 0
		switch segment.GetType() {
		case packet.BGP_ASPATH_ATTR_TYPE_SEQ:
			a.length += len(list)
			a.originAS = list[len(list)-1]
			if !started {
				a.first = list[0]
			}
		case packet.BGP_ASPATH_ATTR_TYPE_SET:
			a.length++
		}
		started = true
		a.asPath = append(a.asPath, list...)
	}
}

// has reports whether a carries the community c (RFC 1997).
func (a *attributes) has(c uint32) bool {
	for _, have := range a.communities {
		if have == c {
			return true
		}
	}
	return false
}

// linkBandwidth is the sub-type of the link bandwidth community (RFC 10005).
const linkBandwidth = 0x04

// smallestBandwidth returns the smallest valid bandwidth among list, in octets per
// second, or 0. Which form says it, transitive or not, makes no difference: GoBGP
// decodes both into one type. The smallest is what both ends can rely on.
func smallestBandwidth(list []packet.ExtendedCommunityInterface) float32 {
	smallest := float32(0)
	for _, c := range list {
		b := bandwidthOf(c)
		if usable(b) && (smallest == 0 || b < smallest) {
			smallest = b
		}
	}
	return smallest
}

// bandwidthOf returns the bandwidth that c carries, valid or not, or 0 if c is another
// community.
func bandwidthOf(c packet.ExtendedCommunityInterface) float32 {
	switch c := c.(type) {
	case *packet.LinkBandwidthExtended:
		return c.Bandwidth
	case *packet.TwoOctetAsSpecificExtended:
		if c.SubType == linkBandwidth {
			return math.Float32frombits(c.LocalAdmin)
		}
	case *packet.UnknownExtended:
		// Value is sub-type, AS, bandwidth.
		kind := uint8(c.Type)
		if (kind == 0x00 || kind == 0x40) && len(c.Value) == 7 && c.Value[0] == linkBandwidth {
			return math.Float32frombits(binary.BigEndian.Uint32(c.Value[3:]))
		}
	}
	return 0
}
