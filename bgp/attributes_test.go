package bgp

import (
	"encoding/hex"
	"math"
	"net/netip"
	"slices"
	"testing"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

const (
	asSet       = packet.BGP_ASPATH_ATTR_TYPE_SET
	asSeq       = packet.BGP_ASPATH_ATTR_TYPE_SEQ
	asConfedSet = packet.BGP_ASPATH_ATTR_TYPE_CONFED_SET
	asConfedSeq = packet.BGP_ASPATH_ATTR_TYPE_CONFED_SEQ
)

func segment(kind uint8, as ...uint32) packet.AsPathParamInterface {
	return packet.NewAs4PathParam(kind, as)
}

func asPathOf(segments ...packet.AsPathParamInterface) packet.PathAttributeInterface {
	return packet.NewPathAttributeAsPath(segments)
}

// TestB_4271_16_ASPathsAreReadBySegment has the length, the first AS and the origin of
// paths of all kinds of segments.
func TestB_4271_16_ASPathsAreReadBySegment(t *testing.T) {
	for _, c := range []struct {
		segments        []packet.AsPathParamInterface
		flat            []uint32
		length          int
		first, originAS uint32
		text            string
	}{
		{nil, nil, 0, 0, 0, ""},
		{[]packet.AsPathParamInterface{segment(asSeq, 1, 2, 3)}, []uint32{1, 2, 3}, 3, 1, 3, "1 2 3"},
		{[]packet.AsPathParamInterface{segment(asSeq, 1, 2), segment(asSet, 3, 4)}, []uint32{1, 2, 3, 4}, 3, 1, 0, "1 2 {3 4}"},
		{[]packet.AsPathParamInterface{segment(asSet, 3, 4), segment(asSeq, 5)}, []uint32{3, 4, 5}, 2, 0, 5, "{3 4} 5"},
		{[]packet.AsPathParamInterface{segment(asSeq, 1), segment(asSeq, 2)}, []uint32{1, 2}, 2, 1, 2, "1 2"},
		{[]packet.AsPathParamInterface{segment(asConfedSeq, 9, 8), segment(asSeq, 1, 2)}, []uint32{9, 8, 1, 2}, 2, 0, 2, "(9 8) 1 2"},
		{[]packet.AsPathParamInterface{segment(asSeq, 1), segment(asConfedSet, 9, 8)}, []uint32{1, 9, 8}, 1, 1, 0, "1 [9 8]"},
		{[]packet.AsPathParamInterface{segment(asSet), segment(asSeq, 1, 2)}, []uint32{1, 2}, 2, 1, 2, "1 2"},
		{[]packet.AsPathParamInterface{segment(asSeq, 1, 2), segment(asSet)}, []uint32{1, 2}, 2, 1, 2, "1 2"},
		{[]packet.AsPathParamInterface{packet.NewAsPathParam(asSeq, []uint16{1, 2})}, []uint32{1, 2}, 2, 1, 2, "1 2"},
	} {
		attrs := []packet.PathAttributeInterface{asPathOf(c.segments...)}
		var a attributes
		a.read(attrs)
		if !slices.Equal(a.asPath, c.flat) || a.length != c.length || a.first != c.first || a.originAS != c.originAS {
			t.Errorf("%s: %+v", c.text, a)
		}
		if got := asPathText(attrs); got != c.text {
			t.Errorf("%q, want %q", got, c.text)
		}
	}
}

// decode returns the path attributes in a hexadecimal string as GoBGP reads them.
func decode(t *testing.T, text string) []packet.PathAttributeInterface {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	var attrs []packet.PathAttributeInterface
	for len(data) > 0 {
		attr, err := packet.GetPathAttribute(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := attr.DecodeFromBytes(data); err != nil {
			t.Fatal(err)
		}
		data = data[attr.Len():]
		attrs = append(attrs, attr)
	}
	return attrs
}

// TestGoldenAttributes reads attributes as they are on the wire.
func TestGoldenAttributes(t *testing.T) {
	const (
		origin = "40010100"
		path   = "400210 02 02 0000fbf5 00000d1c 01 01 00003b41"
		hop    = "400304 c0000201"
		med    = "800404 00000064"
		local  = "400504 000001f4"
		plain  = "c00808 fbf50064 ffff0000"
		large  = "c0200c 0000fbf5 00000001 00000002"
		// Route target 64501:100, and 10 Gbit/s in both forms: 1.25e9 is 4e9502f9.
		extended = "c01018 0002fbf500000064 4004fbf54e9502f9 0004fbf54e1502f9"
	)
	strip := func(parts ...string) string {
		var b []byte
		for _, p := range parts {
			for _, c := range []byte(p) {
				if c != ' ' {
					b = append(b, c)
				}
			}
		}
		return string(b)
	}
	attrs := decode(t, strip(origin, path, hop, med, local, plain, extended, large))
	var a attributes
	a.read(attrs)
	if a.broken || a.origin != 0 || a.length != 3 || a.first != 64501 || a.originAS != 0 || a.med != 100 || !a.hasMED ||
		a.nextHop != netip.MustParseAddr("192.0.2.1") || a.bandwidth != 6.25e8 || !a.has(GracefulShutdown) || a.has(blackhole) {
		t.Errorf("%+v", a)
	}
	want := []string{"64501:100", "graceful-shutdown", "rt:64501:100", "lbw:64501:1250000000", "lbw:64501:625000000", "64501:1:2"}
	if got := communitiesText(attrs); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := asPathText(attrs); got != "64501 3356 {15169}" {
		t.Errorf("%q", got)
	}
}

// TestB_8950_01_NextHopsOfMPReach shows that the length of the next hop says what it
// is, for prefixes of both families.
func TestB_8950_01_NextHopsOfMPReach(t *testing.T) {
	const (
		global = "20010db8000100000000000000000001"
		link   = "fe800000000000000000000000000001"
	)
	for _, c := range []struct {
		name, attribute, hop, link string
	}{
		{"IPv4 by IPv4", "800e0d 0001 01 04 c0000201 00 18080808", "192.0.2.1", ""},
		{"IPv4 by IPv6", "800e19 0001 01 10" + global + "00 18080808", "2001:db8:1::1", ""},
		{"IPv4 by IPv6 and link-local", "800e29 0001 01 20" + global + link + "00 18080808", "2001:db8:1::1", "fe80::1"},
		{"IPv6", "800e1a 0002 01 10" + global + "00 202a000001", "2001:db8:1::1", ""},
		{"IPv6 and link-local", "800e2a 0002 01 20" + global + link + "00 202a000001", "2001:db8:1::1", "fe80::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := ""
			for _, b := range "400101004002060201 0000fbf5" + c.attribute {
				if b != ' ' {
					text += string(b)
				}
			}
			var a attributes
			a.read(decode(t, text))
			if a.broken || a.nextHop != netip.MustParseAddr(c.hop) || (c.link == "") == a.linkLocal.IsValid() {
				t.Errorf("%+v", a)
			}
			if c.link != "" && a.linkLocal != netip.MustParseAddr(c.link) {
				t.Errorf("link-local %v", a.linkLocal)
			}
			// NEXT_HOP beside it means nothing, whichever comes first.
			other := decode(t, "400304c0000209")
			for _, attrs := range [][]packet.PathAttributeInterface{append(decode(t, text), other...), append(other, decode(t, text)...)} {
				a.read(attrs)
				if a.nextHop != netip.MustParseAddr(c.hop) {
					t.Errorf("with NEXT_HOP: %v", a.nextHop)
				}
			}
		})
	}
}

func TestBrokenAttributes(t *testing.T) {
	origin, path, hop := decode(t, "40010100")[0], asPathOf(segment(asSeq, 1)), decode(t, "400304c0000201")[0]
	for name, attrs := range map[string][]packet.PathAttributeInterface{
		"nothing": nil, "no origin": {path, hop}, "no path": {origin, hop}, "no next hop": {origin, path},
		"origin 3": {packet.NewPathAttributeOrigin(3), path, hop},
	} {
		a := attributes{asPath: []uint32{1, 2, 3}, med: 1, hasMED: true, bandwidth: 1}
		a.read(attrs)
		if !a.broken || a.hasMED || a.bandwidth != 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// TestB_LBW_01_B_LBW_03_B_LBW_04_LinkBandwidth reads link bandwidth from the wire, in
// both forms, and takes the smallest that is valid.
func TestB_LBW_01_B_LBW_03_B_LBW_04_LinkBandwidth(t *testing.T) {
	for _, c := range []struct {
		name, communities string
		want              float32
	}{
		{"non-transitive", "c010084004fbf54e9502f9", 1.25e9},
		{"transitive", "c010080004fbf54e9502f9", 1.25e9},
		{"none", "c010080002fbf500000064", 0},
		{"zero", "c010084004fbf500000000", 0},
		{"minus zero", "c010084004fbf580000000", 0},
		{"negative", "c010084004fbf5ce9502f9", 0},
		{"not a number", "c010084004fbf57fc00000", 0},
		{"infinite", "c010084004fbf57f800000", 0},
		{"minus infinite", "c010084004fbf5ff800000", 0},
		{"smallest first", "c010104004fbf54e1502f90004fbf54e9502f9", 6.25e8},
		{"smallest last", "c010100004fbf54e9502f94004fbf54e1502f9", 6.25e8},
		{"valid and not", "c010184004fbf57fc000004004fbf54e9502f94004fbf500000000", 1.25e9},
		{"subnormal", "c010084004fbf500000001", math.SmallestNonzeroFloat32},
	} {
		var a attributes
		a.read(decode(t, c.communities))
		if a.bandwidth != c.want {
			t.Errorf("%s: %v, want %v", c.name, a.bandwidth, c.want)
		}
	}
	// The types that another version of the library may decode them into.
	for _, e := range []packet.ExtendedCommunityInterface{
		packet.NewTwoOctetAsSpecificExtended(linkBandwidth, 64501, math.Float32bits(1e6), true),
		packet.NewUnknownExtended(0x40, []byte{linkBandwidth, 0xfb, 0xf5, 0x49, 0x74, 0x24, 0x00}),
	} {
		if got := smallestBandwidth([]packet.ExtendedCommunityInterface{e}); got != 1e6 {
			t.Errorf("%T: %v", e, got)
		}
	}
}

func TestCommunityTexts(t *testing.T) {
	for c, want := range map[uint32]string{
		64501<<16 | 100: "64501:100", 0: "0:0", blackhole: "blackhole", GracefulShutdown: "graceful-shutdown", 0xffffff01: "no-export",
		0xffffff02: "no-advertise", 0xffffff03: "no-export-subconfed", 0xffffff04: "no-peer", 0xffff0006: "llgr-stale", 0xffff0007: "no-llgr",
	} {
		if got := communityText(c); got != want {
			t.Errorf("%#x: %q, want %q", c, got, want)
		}
	}
	for text, want := range map[string]string{
		"c010080102c000020100640000"[:22]: "rt:192.0.2.1:100", "c010080203000100000064": "soo:65536:100", "c01008800600000000ffff": "0x800600000000ffff",
		"c0100890aa010203040506": "0x90aa010203040506",
	} {
		if got := communitiesText(decode(t, text)); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for o, want := range []string{"IGP", "EGP", "incomplete", "origin(3)"} {
		if got := originText(uint8(o)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestReadUsesItsMemoryAgain: one attributes serves a whole table.
func TestReadUsesItsMemoryAgain(t *testing.T) {
	attrs := []packet.PathAttributeInterface{
		packet.NewPathAttributeOrigin(0), asPathOf(segment(asSeq, 1, 2, 3)), decode(t, "400304c0000201")[0],
	}
	var a attributes
	a.read(attrs)
	if n := testing.AllocsPerRun(100, func() { a.read(attrs) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
