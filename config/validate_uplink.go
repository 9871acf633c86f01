package config

import (
	"net/netip"
	"slices"
	"time"
)

// familyName names the family of an address in messages.
func familyName(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// cannotBe says why an address cannot be one of a single host; "" if it can.
func cannotBe(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "is not an IP address; write one such as 192.0.2.1 or 2001:db8::1"
	case a.Is4In6():
		return "is IPv4 in IPv6 clothes; write it as IPv4"
	case a.Zone() != "":
		return "names an interface; write the address alone"
	case a.IsUnspecified():
		return "is the unspecified address; write that of a host"
	case a.IsMulticast():
		return "is a multicast address; write that of a host"
	case a.IsLoopback():
		return "is a loopback address; write one beyond this machine"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the broadcast address; write that of a host"
	}
	return ""
}

func (u *Uplink) checkGateways(r *report, path string) {
	byFamily := once[bool]{}
	for i, g := range u.Gateways {
		at := item(path+".gateway", i)
		if why := cannotBe(g); why != "" {
			r.add(at, "%v %s", g, why)
			continue
		}
		if other, taken := byFamily.take(g.Is4(), g.String()); taken {
			r.add(at, "%v is a second %s gateway beside %s; write one of them here, and another uplink for the other", g, familyName(g), other)
		}
		if slices.Contains(u.Sources, netip.PrefixFrom(g, g.BitLen())) {
			r.add(at, "%v is an address of this uplink (source); write that of the provider's router", g)
		}
	}
}

// checkNeighbour refuses what can never become evidence.
func (u *Uplink) checkNeighbour(r *report, path string) {
	if u.Neighbour == nil {
		return
	}
	path += ".neighbour"
	if len(u.Gateways) == 0 && pointToPoint(u.Interface) {
		r.add(path, "%s is a point-to-point device, which has no neighbour to watch; remove it and write icmp with targets", u.Interface)
		return
	}
	r.lasts(path+".interval", u.Neighbour.Interval, neighbourIntervals)
	r.within(path+".tries", int64(u.Neighbour.Tries), tries)
}

func (m *ICMP) check(r *report, path string, u *Uplink) {
	m.checkTargets(r, path, u)
	r.within(path+".down", int64(m.Down), rounds)
	r.within(path+".up", int64(m.Up), rounds)
	if r.lasts(path+".interval", m.Interval, icmpIntervals) && r.lasts(path+".timeout", m.Timeout, icmpTimeouts) {
		// More would leave the loss of the first probe open when the last one
		// that counts is sent.
		if most := m.Interval * time.Duration(min(max(m.Down, 1), int(rounds.high))); m.Timeout > most {
			r.add(path+".timeout", "%v is longer than interval times down (%v); write at most that, or a longer interval", m.Timeout, most)
		}
	}
	m.checkThresholds(r, path)
}

func (m *ICMP) checkTargets(r *report, path string, u *Uplink) {
	switch n := len(m.Targets); {
	case n == 0:
		r.add(path+".targets", "is an empty list; write addresses beyond the gateway, or remove it to use well-known resolvers")
		return
	case n > maxTargets:
		r.add(path+".targets", "there are %d; write at most %d, three per family are enough", n, maxTargets)
		return
	}
	seen, whole := once[netip.Addr]{}, true
	for i, t := range m.Targets {
		at := item(path+".targets", i)
		if why := cannotBe(t); why != "" {
			r.add(at, "%v %s", t, why)
			whole = false
			continue
		}
		switch _, taken := seen.take(t, ""); {
		case taken:
			r.add(at, "%v is a target already; remove one of the two", t)
		case t.IsLinkLocalUnicast():
			r.add(at, "%v is a link-local address, one hop away at most; write an address beyond the gateway", t)
		case slices.Contains(u.Gateways, t):
			r.add(at, "%v is the uplink's own gateway, which must not be pinged (RFC 1122 section 3.3.1.4) and answers even if the provider behind it is dead; "+
				"write an address beyond it, and leave the gateway to neighbour", t)
		case slices.Contains(u.Sources, netip.PrefixFrom(t, t.BitLen())):
			r.add(at, "%v is an address of this machine (source); write one beyond the gateway", t)
		}
	}
	if !r.within(path+".quorum", int64(m.Quorum), quorums) || !whole {
		return
	}
	for _, is4 := range [...]bool{true, false} {
		n, name := 0, ""
		for _, t := range m.Targets {
			if t.Is4() == is4 {
				n, name = n+1, familyName(t)
			}
		}
		if n > 0 && m.Quorum > n {
			r.add(path+".quorum", "%d is more than the number of %s targets (%d), so that it could never be met; write 1 to %d, or remove it for the majority", m.Quorum, name, n, n)
		}
	}
}

func (m *ICMP) checkThresholds(r *report, path string) {
	if m.LossEnter != 0 && !(m.LossEnter > 0 && m.LossEnter <= 1) {
		r.add(path+".loss", "%v is out of range; write more than 0 and at most \"100%%\"", m.LossEnter)
	}
	switch {
	case m.LossEnter == 0 && m.LossLeave != 0:
		r.add(path+".loss-leave", "has no effect without loss; write loss as well, or remove it")
	case !(m.LossLeave >= 0 && m.LossLeave <= m.LossEnter):
		r.add(path+".loss-leave", "%v%% is out of range; write at most loss (%v%%)", 100*m.LossLeave, 100*m.LossEnter)
	}
	if m.LatencyEnter != 0 {
		r.lasts(path+".latency", m.LatencyEnter, latencies)
	}
	switch {
	case m.LatencyEnter == 0 && m.LatencyLeave != 0:
		r.add(path+".latency-leave", "has no effect without latency; write latency as well, or remove it")
	case m.LatencyLeave < 0 || m.LatencyLeave > m.LatencyEnter:
		r.add(path+".latency-leave", "%v is out of range; write at most latency (%v)", m.LatencyLeave, m.LatencyEnter)
	}
}

// checkInterfaces lets two uplinks share a device only if their gateways tell
// them apart, and their sources: without one of its own, a packet of the second
// would follow the source rule of the first, its probes included.
func (c *Config) checkInterfaces(r *report) {
	for j := range c.Uplinks {
		b := &c.Uplinks[j]
		for i := range j {
			a := &c.Uplinks[i]
			if a.Interface != b.Interface || b.Interface == "" {
				continue
			}
			path := item("uplinks", j)
			if len(a.Gateways) == 0 || len(b.Gateways) == 0 {
				r.add(path+".interface", "%s belongs to uplink %s as well; two uplinks on one device need a gateway each, and different ones", b.Interface, a.Name)
				continue
			}
			if len(a.Sources) == 0 || len(b.Sources) == 0 {
				r.add(path+".source", "%s belongs to uplink %s as well; two uplinks on one device need a source each, so that packets and probes of one do not leave by the other; write the addresses that belong to this uplink, in both of them", b.Interface, a.Name)
			}
			for k, g := range b.Gateways {
				if slices.Contains(a.Gateways, g) {
					r.add(item(path+".gateway", k), "%v is the gateway of uplink %s on the same device already; write another, or make it one uplink", g, a.Name)
				}
			}
		}
	}
}

// checkSources keeps the sources apart. The rules of an earlier uplink come
// first, so a wider prefix there would hide a narrower one behind it.
func (c *Config) checkSources(r *report) {
	type claim struct {
		prefix netip.Prefix
		uplink int
	}
	var claims []claim
	for i := range c.Uplinks {
		for k, s := range c.Uplinks[i].Sources {
			at := item(item("uplinks", i)+".source", k)
			if why := cannotBeSource(s); why != "" {
				r.add(at, "%v %s", s, why)
				continue
			}
			for _, earlier := range claims {
				if earlier.prefix.Bits() > s.Bits() || !earlier.prefix.Contains(s.Addr()) {
					continue
				}
				owner := c.Uplinks[earlier.uplink].Name
				switch {
				case earlier.prefix == s && earlier.uplink == i:
					r.add(at, "%v is in the list already; remove one of the two", s)
				case earlier.prefix == s:
					r.add(at, "%v is a source of uplink %s already; a packet can leave by one of them only", s, owner)
				case earlier.uplink != i:
					r.add(at, "%v is within %v of uplink %s, whose rule comes first; put this uplink before that one, or write smaller prefixes there", s, earlier.prefix, owner)
				}
			}
			claims = append(claims, claim{s, i})
		}
	}
}

func cannotBeSource(s netip.Prefix) string {
	switch {
	case !s.IsValid():
		return "is neither an address nor a prefix; write one such as 203.0.113.2 or 2001:db8:1::/48"
	case s.Bits() == 0:
		return "covers everything; write the addresses or prefixes of this uplink"
	case s != s.Masked():
		return "has bits beyond its length; write " + s.Masked().String()
	case s.Addr().IsLinkLocalUnicast():
		return "is link-local and never leaves the link; write a global address"
	}
	return cannotBe(s.Addr())
}
