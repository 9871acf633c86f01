package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

func (b *UplinkBGP) check(r *report, path string, u *Uplink, own *BGP) {
	checkAS(r, path+".peer-as", b.PeerAS)
	b.checkOwnAS(r, path, own)
	b.checkPeers(r, path, u)
	b.checkFamilies(r, path)
	b.checkWays(r, path, u)
	b.Import.check(r, path+".import", u)
	if b.MaxPrefixes != 0 {
		r.within(path+".max-prefixes", int64(b.MaxPrefixes), prefixLimit)
	}
	r.within(path+".port", int64(b.Port), ports)
	b.checkHoldTime(r, path+".hold-time")
	if b.PasswordFile != "" && !filepath.IsAbs(b.PasswordFile) {
		r.add(path+".password-file", "%q is not an absolute path; write the whole path", b.PasswordFile)
	}
	if b.Multihop != 0 {
		r.within(path+".multihop", int64(b.Multihop), hops)
		if b.TTLSecurity {
			r.add(path+".ttl-security", "does not go with multihop: packets of a peer that is not on the link have no TTL of 255 (RFC 5082); remove one of the two, and have a password with multihop")
		}
	}
	if b.Passive && own != nil && own.Port == 0 {
		r.add(path+".passive", "waits for the peer to connect, and bgp.port is 0, by which nothing is accepted; write passive: false, or another port")
	}
	b.GracefulRestart.check(r, path+".graceful-restart")
	r.within(path+".preference", int64(b.Preference), preferences)
	r.within(path+".prepend", int64(b.Prepend), prepends)
	checkCommunities(r, path+".communities", b.Communities)
	b.checkChoices(r, path)
}

// checkOwnAS wants external BGP: internal BGP needs a mesh, a next hop that somebody
// else resolves, and says nothing about an ISP.
func (b *UplinkBGP) checkOwnAS(r *report, path string, own *BGP) {
	if b.LocalAS != 0 {
		checkAS(r, path+".local-as", b.LocalAS)
	}
	switch {
	case b.PeerAS == 0:
	case b.LocalAS == b.PeerAS:
		r.add(path+".local-as", "%d is the AS of the peer as well; internal BGP is not spoken: write your own AS number", b.LocalAS)
	case own != nil && own.AS == b.PeerAS:
		r.add(path+".peer-as", "%d is our own AS (bgp.as); internal BGP is not spoken: write the AS number of the ISP", b.PeerAS)
	}
}

func (b *UplinkBGP) checkPeers(r *report, path string, u *Uplink) {
	if b.Multihop != 0 && len(b.Peers) == 0 {
		r.add(path+".peer", "is missing; a multihop session does not go to the gateway: write the address of the router that the ISP named")
	}
	byFamily := once[bool]{}
	for i, p := range b.Peers {
		at := item(path+".peer", i)
		if why := cannotBe(p); why != "" {
			r.add(at, "%v %s", p, why)
			continue
		}
		other, taken := byFamily.take(p.Is4(), p.String())
		switch {
		case taken:
			r.add(at, "%v is a second %s peer beside %s; an uplink has one per family: write one of them", p, familyName(p), other)
		case slices.Contains(u.Sources, netip.PrefixFrom(p, p.BitLen())):
			r.add(at, "%v is an address of this uplink (source); write that of the other end", p)
		case b.Multihop != 0 && p.IsLinkLocalUnicast():
			r.add(at, "%v is a link-local address, one hop away at most; write a global address, or remove multihop", p)
		}
	}
}

// checkFamilies sees to it that a family of an uplink is carried by one session.
func (b *UplinkBGP) checkFamilies(r *report, path string) {
	seen := once[string]{}
	for i, f := range b.Families {
		at := item(path+".families", i)
		if f != ipv4Word.String() && f != ipv6Word.String() {
			r.add(at, "%q is no family; write ipv4 or ipv6", f)
			return
		}
		if _, taken := seen.take(f, ""); taken {
			r.add(at, "%s is in the list already; remove one of the two", f)
			return
		}
	}
	switch {
	case len(b.Peers) == 2 && len(b.Families) > 0:
		r.add(path+".families", "does not go with two peers, each of which carries the family of its own address; remove it, or write the one peer that carries the families")
	case len(b.Peers) == 0 && len(b.Families) == 2:
		r.add(path+".families", "needs peer where one session carries both: write the one address whose session does, or remove families to have a session per family with each gateway")
	}
}

// checkWays refuses a family that the uplink has no way for: one with gateways has
// the families of those.
func (b *UplinkBGP) checkWays(r *report, path string, u *Uplink) {
	if len(u.Gateways) == 0 {
		return
	}
	is4, is6 := u.bgpFamilies()
	if len(b.Peers) == 0 && !is4 && !is6 && len(b.Families) == 1 {
		r.add(path+".families", "asks for %s, of which the uplink has no gateway; add it to gateway, or write the other family", b.Families[0])
	}
	for f, carried := range [...]bool{is4, is6} {
		if !carried || slices.ContainsFunc(u.Gateways, func(g netip.Addr) bool { return g.Is4() == (f == 0) }) {
			continue
		}
		at := path + ".peer"
		if len(b.Families) > 0 {
			at = path + ".families"
		}
		r.add(at, "brings %s, and the uplink has no gateway of that family to send by; add it to gateway, or leave the family out", familyWordOf(f == 0))
	}
}

func (b *UplinkBGP) checkHoldTime(r *report, path string) {
	if b.HoldTime == 0 {
		r.add(path, "0 is a session that never notices a dead peer, nor one that stopped reading (RFC 9687); write 3s or more, and bfd to notice sooner")
		return
	}
	if r.lasts(path, b.HoldTime, holdTimes) {
		r.wholeSeconds(path, b.HoldTime)
	}
}

func (g *GracefulRestart) check(r *report, path string) {
	if !g.Enabled {
		return
	}
	if r.lasts(path+".restart-time", g.RestartTime, restartTimes) {
		r.wholeSeconds(path+".restart-time", g.RestartTime)
	}
	r.lasts(path+".stale-time", g.StaleTime, staleTimes)
}

// checkChoices finds what only a Config that was built by hand can lack.
func (b *UplinkBGP) checkChoices(r *report, path string) {
	switch b.Weight {
	case WeightStatic, WeightBandwidth:
	default:
		r.add(path+".weight", "is not set; use WeightStatic or WeightBandwidth")
	}
	switch b.Unfit {
	case UnfitWithdraw, UnfitPrepend, UnfitTag, UnfitKeep:
	default:
		r.add(path+".unfit", "is not set; use UnfitWithdraw, UnfitPrepend, UnfitTag or UnfitKeep")
	}
}

// maxImported bounds the named prefixes: each path is held against all of them.
const maxImported = 1000

func (m *Import) check(r *report, path string, u *Uplink) {
	switch m.Mode {
	case ImportPrefixes:
		m.checkNamed(r, path, u)
	case ImportDefault, ImportFull:
		if len(m.Prefixes) > 0 {
			r.add(path+".prefixes", "does not go with mode: %v; remove one of the two", m.Mode)
		}
	default:
		r.add(path, "is not set; use ImportDefault, ImportPrefixes or ImportFull")
	}
	r.within(path+".max-length", int64(m.MaxLength4), lengths4)
	r.within(path+".max-length.ipv6", int64(m.MaxLength6), lengths6)
}

func (m *Import) checkNamed(r *report, path string, u *Uplink) {
	path += ".prefixes"
	switch n := len(m.Prefixes); {
	case n == 0:
		r.add(path, "is missing; write the prefixes that you want by this uplink, or mode: default or full")
	case n > maxImported:
		r.add(path, "there are %d; at most %d are possible: write shorter ones, or mode: full", n, maxImported)
		return
	}
	is4, is6 := u.bgpFamilies()
	seen := once[netip.Prefix]{}
	for i, p := range m.Prefixes {
		at := item(path, i)
		_, taken := seen.take(p, "")
		switch {
		case !p.IsValid():
			r.add(at, "%v is no prefix; write one such as 198.51.100.0/24", p)
		case p.Addr().Is4In6():
			r.add(at, "%v is IPv4 in IPv6 clothes; write it as IPv4", p)
		case p != p.Masked():
			r.add(at, "%v has bits beyond its length; write %v", p, p.Masked())
		case taken:
			r.add(at, "%v is in the list already; remove one of the two", p)
		case p.Addr().Is4() && !is4, p.Addr().Is6() && !is6:
			r.add(at, "%v cannot come, because no session of this uplink carries %s; remove it, or have one that does (peer, families)", p, familyName(p.Addr()))
		}
	}
}

// checkBGPSessions allows one session per address: with a peer that two uplinks
// share, a packet would not tell which of the two it belongs to.
func (c *Config) checkBGPSessions(r *report) {
	sessions := 0
	for j := range c.Uplinks {
		b := &c.Uplinks[j]
		if b.BGP == nil {
			continue
		}
		is4, is6 := b.bgpFamilies()
		if len(b.BGP.Peers) == 1 || !is4 || !is6 {
			sessions++
		} else {
			sessions += 2
		}
		if sessions > maxSessions {
			r.add(item("uplinks", j)+".bgp", "makes more than %d sessions; remove bgp from some uplinks", maxSessions)
			return
		}
		for i := range j {
			if a := &c.Uplinks[i]; a.BGP != nil {
				checkOnePeer(r, item("uplinks", j)+".bgp", a, b)
			}
		}
	}
}

// checkOnePeer compares the peers of two uplinks. path is that of the second.
func checkOnePeer(r *report, path string, a, b *Uplink) {
	earlier := a.BGP.peersOf(a)
	for k, p := range b.BGP.peersOf(b) {
		if !slices.Contains(earlier, p) || p.IsLinkLocalUnicast() && a.Interface != b.Interface {
			continue
		}
		// A gateway that two uplinks share on one device is reported as such.
		if a.Interface == b.Interface && slices.Contains(a.Gateways, p) && slices.Contains(b.Gateways, p) {
			continue
		}
		at := path
		if len(b.BGP.Peers) > 0 {
			at = item(path+".peer", k)
		}
		r.add(at, "uplink %s has a session with %v already, and there is one per address; write another address of that router here, or remove bgp from one of the two", a.Name, p)
	}
}

// quickHoldTime is what keepalives can keep on a busy router: three of them, a few
// seconds apart.
const quickHoldTime = 9 * time.Second

// warnBGP reports what is valid and probably not wanted in what all sessions have in
// common.
func (c *Config) warnBGP(r *report) {
	if c.BGP == nil {
		return
	}
	if !c.speaks() {
		r.add("bgp", "has no effect, because no uplink has bgp; write bgp: {peer-as: …} in those whose provider speaks it, or remove this")
		return
	}
	for i, a := range c.BGP.Announce {
		longest := 24
		if a.Prefix.Addr().Is6() {
			longest = 48
		}
		if a.Prefix.Bits() > longest && !slices.Contains(a.Communities, wellKnown["blackhole"]) {
			r.add(item("bgp.announce", i)+".prefix", "%v is longer than /%d, which most of the world does not accept (BCP 194 section 6.1.3); announce the whole prefix, or agree on it with every ISP", a.Prefix, longest)
		}
	}
	c.warnBandwidth(r)
}

// warnBandwidth finds tiers in which bandwidths can never be compared.
func (c *Config) warnBandwidth(r *report) {
	for i := range c.Uplinks {
		u := &c.Uplinks[i]
		if u.BGP == nil || u.BGP.Weight != WeightBandwidth {
			continue
		}
		for j := range c.Uplinks {
			o := &c.Uplinks[j]
			if o.Tier == u.Tier && (o.BGP == nil || o.BGP.Weight != WeightBandwidth) {
				r.add(item("uplinks", i)+".bgp.weight", "bandwidth has no effect, because uplink %s of the same tier (%d) has none to compare with; write it in all uplinks of the tier, or remove it here", o.Name, u.Tier)
				break
			}
		}
	}
}

// warn reports what is valid and probably not wanted in a session.
func (b *UplinkBGP) warn(r *report, path string, u *Uplink) {
	switch {
	case b.PasswordFile != "" || b.TTLSecurity:
	case b.Multihop != 0:
		r.add(path+".password-file", "is missing; whoever can reach this host may end a multihop session of %s: agree on a TCP MD5 password (RFC 2385) with the ISP, and write password-file", u.Name)
	default:
		r.add(path+".ttl-security", "neither it nor a password protects the session of %s from packets of strangers; ask the ISP for GTSM (RFC 5082, \"ttl-security\" on its side) and write ttl-security: true when it is there, "+
			"or for a TCP MD5 password and write password-file", u.Name)
	}
	if b.HoldTime < quickHoldTime {
		r.add(path+".hold-time", "%v is so short that a busy router looks dead; write %v or more, and bfd to notice an outage sooner", b.HoldTime, quickHoldTime)
	}
	if is4, is6 := u.bgpFamilies(); is4 && is6 && len(b.Peers) == 1 && b.Peers[0].Is4() && !b.Import.AnyNextHop {
		r.add(path+".families", "the next hops of IPv6 cannot be an IPv4 peer, so that all its paths are refused; write the IPv6 address of the peer, which can carry both (RFC 8950), or import: {any-next-hop: true}")
	}
}
