package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

// testedBFDInterval is the shortest interval that sessions are tested with on a
// host that does other things as well.
const testedBFDInterval = 10 * time.Millisecond

func (b *BFD) check(r *report, path string, u *Uplink) {
	if !b.Mode.known() {
		r.add(path+".mode", "is not set; use BFDAsync or BFDEcho")
	}
	b.checkPeers(r, path, u)
	if r.lasts(path+".interval", b.Interval, bfdIntervals) && b.Interval%time.Microsecond != 0 {
		r.add(path+".interval", "%v is not a whole number of microseconds, in which packets carry it (RFC 5880 section 4.1); write %v", b.Interval, b.Interval.Round(time.Microsecond))
	}
	r.within(path+".multiplier", int64(b.Multiplier), multipliers)
	switch {
	case b.Multihop:
		r.within(path+".min-ttl", int64(b.MinTTL), hopLimits)
	case b.MinTTL != 0 && b.MinTTL != singleHopTTL:
		r.add(path+".min-ttl", onlyMultihop)
	}
	b.checkEcho(r, path, u)
	if b.Auth != nil {
		b.Auth.check(r, path+".auth")
	}
}

func (b *BFD) checkPeers(r *report, path string, u *Uplink) {
	if b.Multihop && len(b.Peers) == 0 {
		r.add(path+".peer", "is missing; a multihop session does not go to the gateway: write the address of the system that runs BFD for you")
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
			r.add(at, "%v is a second %s peer beside %s; an uplink has one session per family: write one of them", p, familyName(p), other)
		case slices.Contains(u.Sources, netip.PrefixFrom(p, p.BitLen())):
			r.add(at, "%v is an address of this uplink (source); write that of the other end", p)
		case b.Multihop && p.IsLinkLocalUnicast():
			r.add(at, "%v is a link-local address, one hop away at most; write a global address, or remove multihop", p)
		}
	}
}

// checkEcho refuses what the neighbour of an echo session has no part in, and
// what only such a session has.
func (b *BFD) checkEcho(r *report, path string, u *Uplink) {
	if b.Mode != BFDEcho {
		if b.Mode.known() && len(b.EchoSources) > 0 {
			r.add(path+".echo-source", "has no effect without mode: echo; remove it, or write that mode")
		}
		return
	}
	if b.Multihop {
		r.add(path+".multihop", "does not go with mode: echo, in which the neighbour sends our own packets back, over one hop (RFC 5883 section 3, RFC 9747 section 1); "+
			"remove it, or write mode: async if the peer runs BFD")
	}
	if b.Passive {
		r.add(path+".passive", "does not go with mode: echo, in which the neighbour never begins; remove it, or write mode: async if the peer runs BFD")
	}
	byFamily := once[bool]{}
	for i, a := range b.EchoSources {
		at := item(path+".echo-source", i)
		if why := cannotBe(a); why != "" {
			r.add(at, "%v %s", a, why)
			continue
		}
		other, taken := byFamily.take(a.Is4(), a.String())
		switch {
		case taken:
			r.add(at, "%v is a second %s source beside %s; write one of them", a, familyName(a), other)
		case a.IsLinkLocalUnicast():
			r.add(at, "%v is a link-local address, which no neighbour forwards; write a global address of this host", a)
		case slices.Contains(b.peersOf(u), a):
			r.add(at, "%v is the neighbour's own address; write one of this host", a)
		case len(b.Peers) > 0 && !slices.ContainsFunc(b.Peers, func(p netip.Addr) bool { return p.Is4() == a.Is4() }):
			r.add(at, "%v has no use: peer names no %s address, so that this family has no session; add one there, or remove this", a, familyName(a))
		}
	}
}

// check does not read the file with the key: that is done where it is used.
func (a *BFDAuth) check(r *report, path string) {
	if a.Type == string(noAuth) || !slices.Contains(authTypes, authType(a.Type)) {
		r.add(path+".type", "%q is no kind of authentication; use one of %v, and no BFDAuth at all for none", a.Type, authTypes[:len(authTypes)-1])
	}
	switch {
	case a.KeyFile == "":
		r.add(path+".key-file", "is missing; write the path of the file that holds the key (keys never stand in the configuration itself), or type: none")
	case !filepath.IsAbs(a.KeyFile):
		r.add(path+".key-file", "%q is not an absolute path; write the whole path", a.KeyFile)
	}
}

// peersOf returns with whom b has sessions, as far as the file says.
func (b *BFD) peersOf(u *Uplink) []netip.Addr {
	if len(b.Peers) > 0 {
		return b.Peers
	}
	return u.Gateways
}

// checkSessions allows one session per path: two of the same kind to the same
// system on one link would be one (RFC 5881 section 2), and echo packets are no
// second opinion on a neighbour that runs BFD (RFC 9747 section 4).
func (c *Config) checkSessions(r *report) {
	for j := range c.Uplinks {
		b := &c.Uplinks[j]
		if b.BFD == nil {
			continue
		}
		for i := range j {
			if a := &c.Uplinks[i]; a.BFD != nil && a.Interface == b.Interface {
				checkSamePeer(r, item("uplinks", j)+".bfd", a, b)
			}
		}
	}
}

// checkSamePeer compares the sessions of two uplinks on one device. path is that
// of the second.
func checkSamePeer(r *report, path string, a, b *Uplink) {
	earlier := a.BFD.peersOf(a)
	for k, p := range b.BFD.peersOf(b) {
		// A gateway that two uplinks share is reported as such.
		if !slices.Contains(earlier, p) || slices.Contains(a.Gateways, p) && slices.Contains(b.Gateways, p) {
			continue
		}
		at := path
		if len(b.BFD.Peers) > 0 {
			at = item(path+".peer", k)
		}
		switch {
		case a.BFD.Mode != b.BFD.Mode:
			r.add(at, "uplink %s has a session in mode %v with %v on %s already, and uplink %s would have another in mode %v; a neighbour gets one or the other (RFC 9747 section 4): "+
				"write the same mode with another peer, or remove bfd from one of the two", a.Name, a.BFD.Mode, p, a.Interface, b.Name, b.BFD.Mode)
		case a.BFD.Multihop && b.BFD.Multihop && a.sourceFor(p) && b.sourceFor(p):
			// The sources differ, and a pair of addresses has one session (RFC 5883
			// section 4.1).
		default:
			r.add(at, "uplink %s has a session with %v on %s already, and uplink %s would have another; there is one per path (RFC 5881 section 2, RFC 5883 section 4.1): "+
				"write another peer, or remove bfd from one of the two", a.Name, p, a.Interface, b.Name)
		}
	}
}

// sourceFor says whether the file names a source of the family of a.
func (u *Uplink) sourceFor(a netip.Addr) bool {
	return slices.ContainsFunc(u.Sources, func(s netip.Prefix) bool { return s.Addr().Is4() == a.Is4() })
}

// warn reports what is valid and probably not wanted in a session.
func (b *BFD) warn(r *report, path, uplink string) {
	if b.Interval < testedBFDInterval {
		r.add(path+".interval", "%v is shorter than what is tested (%v); a busy machine may be late, which looks like an outage of %s; write %v or more", b.Interval, testedBFDInterval, uplink, testedBFDInterval)
	}
	switch b.Multiplier {
	case 1:
		r.add(path+".multiplier", "1 takes one lost packet for an outage of %s; write 3 or more", uplink)
	case 2:
		r.add(path+".multiplier", "2 takes one lost packet and a late one for an outage of %s; write 3 or more", uplink)
	}
	switch {
	case b.Multihop && b.Auth == nil:
		r.add(path+".auth", "is missing; whoever can reach this host may forge packets of a multihop session of %s (RFC 5883 section 5): write type: meticulous-sha1 and a key-file, at both ends", uplink)
	case b.Auth != nil && b.Auth.Type == "simple":
		r.add(path+".auth.type", "simple sends the password in the clear, for everybody on the way to read and use; write meticulous-sha1, at both ends")
	}
}
