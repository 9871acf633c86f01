package bgp

import "net/netip"

// bogon is special-purpose space that is not routed between networks.
type bogon struct {
	prefix netip.Prefix
	// source says where it is set apart.
	source string
}

// bogons are the entries of IANA's registries of special-purpose addresses (RFC 6890)
// that are not globally reachable, the space for documents and tests, and what is not
// unicast. For IPv6 see also [routable6]. Left out, because they are announced to
// everybody by design: 192.88.99.0/24 (6to4 anycast, deprecated by RFC 7526, and not
// reserved since), AS112 (192.31.196.0/24 and 192.175.48.0/24, RFC 7535, 7534; and
// 2620:4f:8000::/48), AMT (192.52.193.0/24 and 2001:3::/32, RFC 7450), 2001:4:112::/48
// (RFC 7535), and the anycast addresses in 192.0.0.0/24, which are single ones.
var bogons = [...]bogon{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network, RFC 791"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private use, RFC 1918"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared address space, RFC 6598"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback, RFC 1122"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link local, RFC 3927"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private use, RFC 1918"},
	{netip.MustParsePrefix("192.0.0.0/24"), "IETF protocol assignments, RFC 6890"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation, RFC 5737"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private use, RFC 1918"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking, RFC 2544"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation, RFC 5737"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation, RFC 5737"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast, RFC 5771"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved, RFC 1112, and limited broadcast, RFC 8190"},

	{netip.MustParsePrefix("2001::/32"), "Teredo, RFC 4380"},
	{netip.MustParsePrefix("2001:2::/48"), "benchmarking, RFC 5180"},
	{netip.MustParsePrefix("2001:10::/28"), "ORCHID, RFC 4843"},
	{netip.MustParsePrefix("2001:20::/28"), "ORCHIDv2, RFC 7343"},
	{netip.MustParsePrefix("2001:30::/28"), "drone remote identification, RFC 9374"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation, RFC 3849"},
	{netip.MustParsePrefix("2002::/16"), "6to4, RFC 3056, deprecated by RFC 7526"},
	{netip.MustParsePrefix("3ffe::/16"), "6bone, returned by RFC 3701"},
	{netip.MustParsePrefix("3fff::/20"), "documentation, RFC 9637"},
}

// outside6 stands for all that is not in routable6: loopback (RFC 4291), mapped
// addresses (RFC 4291), translation (64:ff9b::/96 of RFC 6052, which is only a network
// matter, and 64:ff9b:1::/48 of RFC 8215), discard-only (100::/64 of RFC 6666,
// 100:0:0:1::/64 of RFC 9780), SRv6 SIDs (5f00::/16 of RFC 9602), unique local (fc00::/7
// of RFC 4193), link local (fe80::/10 of RFC 4291), multicast (ff00::/8 of RFC 4291),
// and what is not allotted.
var outside6 = bogon{netip.MustParsePrefix("::/0"), "not global unicast, RFC 4291 and IANA's IPv6 address space"}

// routable6 is the global unicast space that IANA allots from.
var routable6 = netip.MustParsePrefix("2000::/3")

// assignments6 are protocol assignments: not global unless an entry says so (RFC 2928).
// Those that are: AMT, and AS112 (see bogons), and 2001:1::/32, single addresses.
var assignments6 = bogon{netip.MustParsePrefix("2001::/23"), "IETF protocol assignments, RFC 2928"}

// global6 are the exceptions to that.
var global6 = [...]netip.Prefix{
	netip.MustParsePrefix("2001:3::/32"),     // AMT, RFC 7450
	netip.MustParsePrefix("2001:4:112::/48"), // AS112, RFC 7535
}

// byOctet has, for each first octet of an IPv4 address and for each family, what may
// cover it, so that a path of a full table is compared with one or two entries.
var byOctet = indexBogons()

func indexBogons() *[256][]*bogon {
	var index [256][]*bogon
	for i := range bogons {
		b := &bogons[i]
		if !b.prefix.Addr().Is4() {
			continue
		}
		first := int(b.prefix.Addr().As4()[0])
		last := first
		if b.prefix.Bits() < 8 {
			last = first + 1<<(8-b.prefix.Bits()) - 1
		}
		for octet := first; octet <= last; octet++ {
			index[octet] = append(index[octet], b)
		}
	}
	return &index
}

// covers reports whether p lies in b's space.
func (b *bogon) covers(p netip.Prefix) bool {
	if b == &outside6 {
		return p.Addr().Is6() && (p.Bits() < routable6.Bits() || !routable6.Contains(p.Addr()))
	}
	return p.Bits() >= b.prefix.Bits() && b.prefix.Contains(p.Addr())
}

// bogonOf returns the entry that p lies in, or nil. Shorter prefixes that merely hold
// special space are none, but an IPv6 prefix shorter than 2000::/3 is. p is valid and
// not a default route.
func bogonOf(p netip.Prefix) *bogon {
	addr := p.Addr()
	if addr.Is4() {
		for _, b := range byOctet[addr.As4()[0]] {
			if b.covers(p) {
				return b
			}
		}
		return nil
	}
	if outside6.covers(p) {
		return &outside6
	}
	a := addr.As16()
	if a[0] == 0x20 && (a[1] == 1 || a[1] == 2) || a[0] == 0x3f {
		return bogonOf6(p)
	}
	return nil
}

// bogonOf6 is bogonOf for the part of 2000::/3 that has entries.
func bogonOf6(p netip.Prefix) *bogon {
	for i := range bogons {
		b := &bogons[i]
		if b.prefix.Addr().Is6() && b.covers(p) {
			return b
		}
	}
	if !assignments6.covers(p) {
		return nil
	}
	for _, g := range global6 {
		if p.Bits() >= g.Bits() && g.Contains(p.Addr()) {
			return nil
		}
	}
	return &assignments6
}
