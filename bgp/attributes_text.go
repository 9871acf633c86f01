package bgp

import (
	"fmt"
	"strconv"
	"strings"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// originText returns the word of an ORIGIN attribute (RFC 4271 section 4.3).
func originText(origin uint8) string {
	switch origin {
	case packet.BGP_ORIGIN_ATTR_TYPE_IGP:
		return "IGP"
	case packet.BGP_ORIGIN_ATTR_TYPE_EGP:
		return "EGP"
	case packet.BGP_ORIGIN_ATTR_TYPE_INCOMPLETE:
		return "incomplete"
	default:
		return fmt.Sprintf("origin(%d)", origin)
	}
}

// asPathText returns AS_PATH as it is usually written: "64501 64510 {64511 64512}",
// with confederation segments in round and square brackets.
func asPathText(attrs []packet.PathAttributeInterface) string {
	var b strings.Builder
	for _, attr := range attrs {
		path, ok := attr.(*packet.PathAttributeAsPath)
		if !ok {
			continue
		}
		for _, segment := range path.Value {
			if len(segment.GetAS()) > 0 {
				writeSegment(&b, segment)
			}
		}
	}
	return b.String()
}

func writeSegment(b *strings.Builder, segment packet.AsPathParamInterface) {
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	before, after := "", ""
	switch segment.GetType() {
	case packet.BGP_ASPATH_ATTR_TYPE_SET:
		before, after = "{", "}"
	case packet.BGP_ASPATH_ATTR_TYPE_CONFED_SEQ:
		before, after = "(", ")"
	case packet.BGP_ASPATH_ATTR_TYPE_CONFED_SET:
		before, after = "[", "]"
	}
	b.WriteString(before)
	for i, as := range segment.GetAS() {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatUint(uint64(as), 10))
	}
	b.WriteString(after)
}

// communitiesText returns the communities of all three kinds as they are usually
// written, in the order of attrs: "64501:100" or the name of a well-known one,
// "rt:64501:100", "lbw:64501:1250000000", "64501:1:2".
func communitiesText(attrs []packet.PathAttributeInterface) []string {
	var texts []string
	for _, attr := range attrs {
		switch attr := attr.(type) {
		case *packet.PathAttributeCommunities:
			for _, c := range attr.Value {
				texts = append(texts, communityText(c))
			}
		case *packet.PathAttributeExtendedCommunities:
			for _, c := range attr.Value {
				texts = append(texts, extendedText(c))
			}
		case *packet.PathAttributeLargeCommunities:
			for _, c := range attr.Values {
				texts = append(texts, c.String())
			}
		}
	}
	return texts
}

// communityText returns a community (RFC 1997) by its name in the registry of
// well-known communities, or as two numbers.
func communityText(c uint32) string {
	switch c {
	case GracefulShutdown:
		return "graceful-shutdown" // RFC 8326
	case blackhole:
		return "blackhole" // RFC 7999
	case 0xffff0006:
		return "llgr-stale" // RFC 9494
	case 0xffff0007:
		return "no-llgr" // RFC 9494
	case 0xffffff01:
		return "no-export" // RFC 1997
	case 0xffffff02:
		return "no-advertise" // RFC 1997
	case 0xffffff03:
		return "no-export-subconfed" // RFC 1997
	case 0xffffff04:
		return "no-peer" // RFC 3765
	default:
		return fmt.Sprintf("%d:%d", c>>16, c&0xffff)
	}
}

// extendedText returns an extended community (RFC 4360): those that operators know by
// their names, the others as 16 hexadecimal digits.
func extendedText(c packet.ExtendedCommunityInterface) string {
	text := c.String()
	switch c := c.(type) {
	case *packet.LinkBandwidthExtended:
		return fmt.Sprintf("lbw:%d:%.0f", c.AS, c.Bandwidth)
	case *packet.FourOctetAsSpecificExtended:
		text = fmt.Sprintf("%d:%d", c.AS, c.LocalAdmin) // As one number (RFC 5396).
	}
	kind, sub := c.GetTypes()
	if kind == packet.EC_TYPE_TRANSITIVE_TWO_OCTET_AS_SPECIFIC || kind == packet.EC_TYPE_TRANSITIVE_IP4_SPECIFIC ||
		kind == packet.EC_TYPE_TRANSITIVE_FOUR_OCTET_AS_SPECIFIC {
		if sub == packet.EC_SUBTYPE_ROUTE_TARGET {
			return "rt:" + text
		}
		if sub == packet.EC_SUBTYPE_ROUTE_ORIGIN {
			return "soo:" + text
		}
	}
	raw, err := c.Serialize()
	if err != nil {
		return text
	}
	return fmt.Sprintf("0x%x", raw)
}
