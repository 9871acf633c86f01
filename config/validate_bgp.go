package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// checkBGP holds what all sessions have in common against itself and the rest.
func (c *Config) checkBGP(r *report) {
	b := c.BGP
	if b == nil {
		for i := range c.Uplinks {
			if c.Uplinks[i].BGP != nil {
				r.add("bgp", `is missing, and uplink %s has bgp; write at the top of the file "bgp:" with your AS number and the address that names this host: {as: 64500, router-id: 192.0.2.1}`, c.Uplinks[i].Name)
				return
			}
		}
		return
	}
	checkAS(r, "bgp.as", b.AS)
	checkRouterID(r, "bgp.router-id", b.RouterID)
	b.checkListen(r)
	switch b.ASPath {
	case ASPathStrict, ASPathRelax, ASPathIgnore:
	default:
		r.add("bgp.as-path", "is not set; use ASPathStrict, ASPathRelax or ASPathIgnore")
	}
	b.checkAnnounce(r)
	if b.RPKI != nil {
		b.RPKI.check(r, "bgp.rpki")
	}
	r.lasts("bgp.deferral", b.Deferral, deferrals)
	r.lasts("bgp.drain-time", b.DrainTime, drainTimes)
	c.checkBGPProtocol(r)
}

// checkAS refuses numbers that no autonomous system has. Private and documentation
// ones are some ISP's or some laboratory's.
func checkAS(r *report, path string, as uint32) {
	switch as {
	case 0:
		r.add(path, "0 is no AS (RFC 7607); write the number of one, 1 to 4294967294")
	case 23456:
		r.add(path, "23456 stands for AS numbers above 65535 where they do not fit (AS_TRANS, RFC 6793); write the true one")
	case 65535:
		r.add(path, "65535 is reserved (RFC 7300); write the number of an AS, private ones are 64512 to 65534")
	case 1<<32 - 1:
		r.add(path, "4294967295 is reserved (RFC 7300); write the number of an AS")
	}
}

func checkRouterID(r *report, path string, id netip.Addr) {
	const advice = "write an IPv4 address that is this host's alone, such as that of its LAN: router-id: 192.0.2.1"
	switch {
	case !id.IsValid():
		r.add(path, "is missing; it is not guessed, because sessions end when it changes: %s", advice)
	case !id.Is4():
		r.add(path, "%v is not IPv4, which names a BGP speaker also where only IPv6 is spoken (RFC 6286); %s", id, advice)
	case id.IsUnspecified(), id.IsMulticast(), id.IsLoopback(), id == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		r.add(path, "%v names no host; %s", id, advice)
	}
}

func (b *BGP) checkListen(r *report) {
	seen := once[netip.Addr]{}
	for i, a := range b.Listen {
		at := item("bgp.listen", i)
		_, taken := seen.take(a, "")
		switch why := cannotBe(a); {
		case a.IsLoopback() && !taken:
			// A peer on this host.
		case a.IsUnspecified():
			r.add(at, "%v means all addresses; remove listen for that", a)
		case why != "":
			r.add(at, "%v %s", a, why)
		case taken:
			r.add(at, "%v is in the list already; remove one of the two", a)
		case a.IsLinkLocalUnicast():
			r.add(at, "%v is a link-local address, which does not say on which link; remove listen to accept on all addresses", a)
		}
	}
	if b.Port == 0 && len(b.Listen) > 0 {
		r.add("bgp.listen", "has no effect with port: 0, by which nothing is accepted; remove one of the two")
	}
}

// special is address space that is never announced to an ISP (the registries of
// special-purpose addresses of IANA). Space for documentation is not in it, because
// examples are made of that.
var special = [...]struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network (RFC 791)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by carriers (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback (RFC 1122)"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local (RFC 3927)"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "for protocols (RFC 6890)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private (RFC 1918)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks (RFC 2544)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast (RFC 5771)"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved (RFC 1112)"},
	{netip.MustParsePrefix("fc00::/7"), "private (RFC 4193)"},
	{netip.MustParsePrefix("fe80::/10"), "link-local (RFC 4291)"},
	{netip.MustParsePrefix("ff00::/8"), "multicast (RFC 4291)"},
	{netip.MustParsePrefix("2001:2::/48"), "for benchmarks (RFC 5180)"},
	{netip.MustParsePrefix("2001:10::/28"), "ORCHID (RFC 4843)"},
	{netip.MustParsePrefix("2001:20::/28"), "ORCHIDv2 (RFC 7343)"},
	{netip.MustParsePrefix("3ffe::/16"), "returned (RFC 3701)"},
	{netip.MustParsePrefix("2001::/32"), "Teredo (RFC 4380)"},
	{netip.MustParsePrefix("2002::/16"), "6to4 (RFC 3056)"},
}

// routable is all of IPv6 that is assigned to be routed.
var routable = netip.MustParsePrefix("2000::/3")

// leastLength is that of the largest blocks that were ever assigned.
func leastLength(is4 bool) int {
	if is4 {
		return int(lengths4.low)
	}
	return int(lengths6.low)
}

// cannotAnnounce says why a prefix is never announced; "" if it may be.
func cannotAnnounce(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "is no prefix; write one such as 203.0.113.0/24"
	case p.Addr().Is4In6():
		return "is IPv4 in IPv6 clothes; write it as IPv4"
	case p != p.Masked():
		return "has bits beyond its length; write " + p.Masked().String()
	case p.Bits() == 0:
		return "is a default route, by which an ISP would send us the traffic of others; write your own prefixes"
	}
	if least := leastLength(p.Addr().Is4()); p.Bits() < least {
		return "is shorter than /" + strconv.Itoa(least) + ", which is more than anybody has; write your own prefixes"
	}
	for i := range special {
		s := &special[i]
		if s.prefix.Bits() <= p.Bits() && s.prefix.Contains(p.Addr()) {
			return "is address space that is " + s.what + " and never routed to anybody; write your own prefixes"
		}
	}
	if p.Addr().Is6() && !routable.Contains(p.Addr()) {
		return "lies outside of 2000::/3, which is all that is routed; write your own prefixes"
	}
	return ""
}

func (b *BGP) checkAnnounce(r *report) {
	if n := len(b.Announce); n > maxAnnouncements {
		r.add("bgp.announce", "there are %d prefixes; at most %d are possible", n, maxAnnouncements)
		return
	}
	seen := once[netip.Prefix]{}
	for i, a := range b.Announce {
		at := item("bgp.announce", i)
		if why := cannotAnnounce(a.Prefix); why != "" {
			r.add(at+".prefix", "%v %s", a.Prefix, why)
		} else if other, taken := seen.take(a.Prefix, at); taken {
			r.add(at+".prefix", "%v is in the list already (%s); remove one of the two", a.Prefix, other)
		}
		checkCommunities(r, at+".communities", a.Communities)
		switch a.When {
		case WhenInterface:
			if a.Interface == "" {
				r.add(at+".interface", "is missing; when: interface looks at a device: write the one behind which the prefix is, such as interface: lan0")
			} else {
				checkInterface(r, at+".interface", a.Interface)
			}
		case WhenAlways, WhenAnyUplinkLive:
			if a.Interface != "" {
				r.add(at+".interface", "has no effect without when: interface; write that as well, or remove it")
			}
		default:
			r.add(at+".when", "is not set; use WhenAlways, WhenAnyUplinkLive or WhenInterface")
		}
	}
}

// maxCommunities is how many fit beside everything else in an UPDATE of 4096 octets.
const maxCommunities = 64

func checkCommunities(r *report, path string, values []uint32) {
	if len(values) > maxCommunities {
		r.add(path, "there are %d; at most %d are possible", len(values), maxCommunities)
	}
	seen := once[uint32]{}
	for i, v := range values {
		// What could not be read is 0, and is reported.
		if _, taken := seen.take(v, ""); taken && v != 0 {
			r.add(item(path, i), "%d:%d is in the list already; remove one of the two", v>>16, v&0xffff)
		}
	}
}

func (k *RPKI) check(r *report, path string) {
	if len(k.Servers) == 0 {
		r.add(path+".servers", "is missing; write the caches that you trust, as host:port, such as 192.0.2.8:3323, or remove rpki")
	}
	seen := once[string]{}
	for i, s := range k.Servers {
		at := item(path+".servers", i)
		host, port, err := net.SplitHostPort(s)
		n, bad := strconv.ParseUint(port, 10, 16)
		switch _, taken := seen.take(s, ""); {
		case err != nil || host == "" || strings.ContainsAny(host, " \t/@") || bad != nil || n == 0:
			r.add(at, `%q is not an address and a port; write it as 192.0.2.8:3323 or "[2001:db8::8]:3323"`, s)
		case taken:
			r.add(at, "%s is in the list already; remove one of the two", s)
		}
	}
}

func (c *Config) checkBGPProtocol(r *report) {
	p := c.BGP.Protocol
	if !r.within("bgp.protocol", int64(p), protocols) {
		return
	}
	owner, known := daemons[p]
	switch {
	case p == c.Protocol:
		r.add("bgp.protocol", "%d is that of everything else (protocol); the routes to prefixes need another one, so that nobody has to read a million of them to find the rest: write one that nobody uses, such as %d",
			p, beside(int64(c.Protocol), protocols))
	case known:
		r.add("bgp.protocol", "%d marks the routes of %s, and what carries our number is ours to delete; write one that nobody uses, such as %d", p, owner, defaultProtocol+1)
	}
}

// checkPrefixes holds what is only used where some uplink brings more than a default:
// the table of prefixes, its rule, and the slots of a choice.
func (c *Config) checkPrefixes(r *report, tableOf once[uint32]) {
	var used [2][]string
	first := map[int]int{}
	for i := range c.Uplinks {
		u := &c.Uplinks[i]
		if u.BGP == nil || !u.BGP.bringsPrefixes() {
			continue
		}
		is4, is6 := u.bgpFamilies()
		for f, carried := range [...]bool{is4, is6} {
			if !carried {
				continue
			}
			if used[f] = append(used[f], u.Name); len(used[f]) == maxSlots+1 {
				first[f] = i
			}
		}
	}
	if len(used[0])+len(used[1]) == 0 {
		return
	}
	for f, names := range used {
		if len(names) > maxSlots {
			r.add(item("uplinks", first[f])+".bgp.import", "%d uplinks import more than a default in %s (%s); the choice between them has room for %d: write import: default in some of them",
				len(names), familyWordOf(f == 0), few(names), maxSlots)
		}
	}
	if c.checkTable(r, "tables.prefixes", c.Tables.Prefixes) {
		if other, taken := tableOf.take(c.Tables.Prefixes, "tables.prefixes"); taken {
			r.add("tables.prefixes", "%d is the table of %s already; write another one, such as tables: {prefixes: 20000}", c.Tables.Prefixes, other)
		}
	}
	if c.Rules.Balance < c.Rules.Mark+3 {
		r.add("rules.balance", "%d leaves no room for the rule of the prefixes between the marks (%d) and the balance; write at least %d", c.Rules.Balance, c.Rules.Mark, c.Rules.Mark+3)
	}
}

// wholeSeconds refuses what the wire cannot carry.
func (r *report) wholeSeconds(path string, d time.Duration) {
	if d%time.Second != 0 {
		r.add(path, "%v is not a whole number of seconds, in which the session carries it; write %v", d, d.Round(time.Second))
	}
}
