package bgp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Limits of a configuration.
const (
	// maxPeers is what the tables are built for.
	maxPeers = maxColumns
	// maxPassword is what the kernel takes as a TCP MD5 key (TCP_MD5SIG_MAXKEYLEN).
	maxPassword = 80
	// maxShutdown is RFC 8203's limit, which older peers still have; RFC 9003 has 255.
	maxShutdown = 128
	maxPrepend  = 10
	// maxRestartTime is what 12 bits hold (RFC 4724 section 3).
	maxRestartTime = 4095 * time.Second
	// defaultRestartTime and defaultMaxRestartTime fill GracefulRestart.
	defaultRestartTime    = 120 * time.Second
	defaultMaxRestartTime = 300 * time.Second
	minHoldTime           = 3 * time.Second
	maxHoldTime           = 65535 * time.Second
	bgpPort               = 179
	// asTrans stands for numbers of four octets towards old speakers (RFC 6793).
	asTrans = 23456
	// asLast is reserved (RFC 7300).
	asLast = 4294967295
)

// Numbers of prefixes that a peer may send where nothing is configured. They are far
// above what the mode asks for, and far below what hurts.
const (
	maxPrefixesDefault = 100
	maxPrefixesNamed   = 10_000
	// The tables of the Internet had about 1.05 million and 0.25 million in 2026.
	maxPrefixesFull4 = 2_000_000
	maxPrefixesFull6 = 1_000_000
)

// MaxPrefixes returns how many prefixes of a family a peer may send for which
// nothing else is configured.
func (i Import) MaxPrefixes(f Family) int {
	switch i.Mode {
	case ImportNone, ImportDefault:
		return maxPrefixesDefault
	case ImportPrefixes:
		return maxPrefixesNamed
	case ImportFull:
		if f == IPv6 {
			return maxPrefixesFull6
		}
		return maxPrefixesFull4
	default:
		panic(fmt.Sprintf("bgp: unhandled import mode %d", uint8(i.Mode)))
	}
}

// normalise returns c with defaults filled in and without what cannot be had, and an
// error for each of that, by the name of the peer too. The third result is false if
// nothing can be had at all.
func normalise(c Config) (Config, map[string]string, bool, error) {
	refused := map[string]string{}
	if err := checkGlobal(&c); err != nil {
		return Config{}, refused, false, fmt.Errorf("configure BGP: %w", err)
	}
	if c.Deferral == 0 {
		c.Deferral = DefaultDeferral
	}
	var failed []error
	peers := make([]Peer, 0, len(c.Peers))
	for _, p := range c.Peers {
		p = p.withDefaults(&c)
		err := checkPeer(&p)
		if err == nil {
			err = checkAmong(peers, &p)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("configure peer %q: %w", p.Name, err))
			refused[p.Name] = err.Error()
			continue
		}
		announce := make([]Announcement, 0, len(p.Announce))
		for _, a := range p.Announce {
			if err := checkAnnouncement(&c, &p, announce, a); err != nil {
				failed = append(failed, fmt.Errorf("announce %v to peer %q: %w", a.Prefix, p.Name, err))
				continue
			}
			announce = append(announce, a)
		}
		p.Announce = announce
		peers = append(peers, p)
	}
	c.Peers = peers
	return c, refused, true, errors.Join(failed...)
}

func checkGlobal(c *Config) error {
	var failed []error
	fail := func(format string, a ...any) { failed = append(failed, fmt.Errorf(format, a...)) }
	if len(c.Peers) == 0 {
		// What is wanted is nothing: whatever else it says.
		return nil
	}
	if err := checkAS(c.AS); err != nil {
		fail("AS: %w", err)
	}
	if !c.RouterID.Is4() || c.RouterID.IsUnspecified() {
		fail("router ID %v: it must be an IPv4 address other than 0.0.0.0 (RFC 6286)", c.RouterID)
	}
	for _, a := range c.Listen {
		if !a.IsValid() || a.Is4In6() {
			fail("listen address %v: it must be an IPv4 or IPv6 address", a)
		}
	}
	for _, p := range c.Own {
		if err := checkPrefix(p); err != nil {
			fail("own prefix %v: %w", p, err)
		}
	}
	if c.ASPath > ASPathIgnore {
		fail("rule for AS paths %d does not exist", c.ASPath)
	}
	for _, s := range c.RPKI {
		host, port, err := net.SplitHostPort(s)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			fail("RPKI cache %q: it must be host:port", s)
		}
	}
	if c.Deferral < 0 || c.Deferral > time.Hour {
		fail("deferral %v: it must be 0s to 1h", c.Deferral)
	}
	if len(c.Peers) > maxPeers {
		fail("%d peers: there may be %d", len(c.Peers), maxPeers)
	}
	slotless := 0
	for i := range c.Peers {
		if c.Peers[i].Slot == NoSlot {
			slotless++
		}
	}
	if slotless > maxColumns-MaxSlots {
		fail("%d peers without a slot: there may be %d", slotless, maxColumns-MaxSlots)
	}
	return errors.Join(failed...)
}

func checkAS(as uint32) error {
	switch as {
	case 0:
		return errors.New("0 is reserved (RFC 7607)")
	case asTrans:
		return errors.New("23456 is reserved (RFC 6793)")
	case asLast:
		return errors.New("4294967295 is reserved (RFC 7300)")
	}
	return nil
}

func checkPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid() || p.Addr().Is4In6():
		return errors.New("it is no prefix")
	case p != p.Masked():
		return fmt.Errorf("it has bits behind its length; %v has none", p.Masked())
	}
	return nil
}

// withDefaults fills in what is left to us, and the zone of a link-local address
// from the interface.
func (p Peer) withDefaults(c *Config) Peer {
	if p.LocalAS == 0 {
		p.LocalAS = c.AS
	}
	if p.Port == 0 {
		p.Port = bgpPort
	}
	if p.HoldTime == 0 {
		p.HoldTime = DefaultHoldTime
	}
	if p.Preference == 0 {
		p.Preference = DefaultPreference
	}
	if p.Address.Is6() && p.Address.IsLinkLocalUnicast() && p.Address.Zone() == "" {
		p.Address = p.Address.WithZone(p.Interface)
	}
	if p.Multihop == 1 {
		p.Multihop = 0
	}
	g := &p.GracefulRestart
	if g.RestartTime == 0 {
		g.RestartTime = defaultRestartTime
	}
	if g.StaleTime == 0 {
		g.StaleTime = DefaultStaleTime
	}
	if g.MaxRestartTime == 0 {
		g.MaxRestartTime = defaultMaxRestartTime
	}
	return p
}

func checkPeer(p *Peer) error {
	var failed []error
	fail := func(format string, a ...any) { failed = append(failed, fmt.Errorf(format, a...)) }
	if p.Name == "" {
		fail("it has no name")
	}
	if p.Slot < NoSlot || p.Slot >= MaxSlots {
		fail("slot %d: it must be 0 to %d, or none", p.Slot, MaxSlots-1)
	}
	for what, as := range map[string]uint32{"AS": p.AS, "local AS": p.LocalAS} {
		if err := checkAS(as); err != nil {
			fail("%s: %w", what, err)
		}
	}
	if p.AS == p.LocalAS {
		fail("AS %d is that of this side: only external BGP is spoken", p.AS)
	}
	if len(p.Families) == 0 {
		fail("it has no family")
	}
	for i, f := range p.Families {
		if f != IPv4 && f != IPv6 || slices.Contains(p.Families[:i], f) {
			fail("families %v: each may be ipv4 or ipv6, once", p.Families)
		}
	}
	if p.MaxPrefixes < 0 {
		fail("max prefixes %d: it must not be negative", p.MaxPrefixes)
	}
	if p.HoldTime < minHoldTime || p.HoldTime > maxHoldTime || p.HoldTime%time.Second != 0 {
		fail("hold time %v: it must be 3s to 65535s, whole seconds (RFC 4271 section 4.2; 0 cannot be had, RFC 9687)", p.HoldTime)
	}
	if len(p.Password) > maxPassword {
		fail("password: it has %d octets and may have %d", len(p.Password), maxPassword)
	}
	if len(p.Shutdown) > maxShutdown {
		fail("words for a shutdown: they have %d octets and may have %d", len(p.Shutdown), maxShutdown)
	}
	if p.TTLSecurity && p.Multihop > 1 {
		fail("TTL security and multihop exclude each other (RFC 5082)")
	}
	return errors.Join(append(failed, checkAddresses(p), checkImport(&p.Import), checkRestart(&p.GracefulRestart))...)
}

func checkAddresses(p *Peer) error {
	a := p.Address
	switch {
	case !a.IsValid() || a.Is4In6() || a.IsUnspecified() || a.IsMulticast():
		return fmt.Errorf("address %v: it must be an IPv4 or IPv6 unicast address", a)
	case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
		return fmt.Errorf("address %v: a link-local address needs its interface", a)
	case a.Zone() != "" && p.Interface != "" && a.Zone() != p.Interface:
		return fmt.Errorf("address %v: its interface is not %s", a, p.Interface)
	case p.Local.IsValid() && (p.Local.Is4In6() || p.Local.Is4() != a.Is4() || p.Local.IsUnspecified()):
		return fmt.Errorf("local address %v: it must be an address of the family of %v", p.Local, a)
	case p.Local.IsValid() && p.Local.WithZone("") == a.WithZone(""):
		return fmt.Errorf("local address %v is that of the peer", p.Local)
	}
	return nil
}

func checkImport(i *Import) error {
	switch {
	case i.Mode > ImportFull:
		return fmt.Errorf("import mode %d does not exist", i.Mode)
	case i.Mode == ImportPrefixes && len(i.Prefixes) == 0:
		return errors.New("import of prefixes names none")
	case i.MaxLength4 < 0 || i.MaxLength4 > 32:
		return fmt.Errorf("max length %d for IPv4: it must be 0 to 32", i.MaxLength4)
	case i.MaxLength6 < 0 || i.MaxLength6 > 128:
		return fmt.Errorf("max length %d for IPv6: it must be 0 to 128", i.MaxLength6)
	}
	for _, p := range i.Prefixes {
		if err := checkPrefix(p); err != nil {
			return fmt.Errorf("import prefix %v: %w", p, err)
		}
	}
	return nil
}

func checkRestart(g *GracefulRestart) error {
	switch {
	case g.RestartTime < time.Second || g.RestartTime > maxRestartTime:
		return fmt.Errorf("restart time %v: it must be 1s to 4095s (RFC 4724 section 3)", g.RestartTime)
	case g.StaleTime < time.Second || g.StaleTime > time.Hour:
		return fmt.Errorf("stale time %v: it must be 1s to 1h", g.StaleTime)
	case g.MaxRestartTime < time.Second || g.MaxRestartTime > maxRestartTime:
		return fmt.Errorf("longest restart time of the peer %v: it must be 1s to 4095s", g.MaxRestartTime)
	}
	return nil
}

// checkAmong looks for what p must not have in common with peers that are accepted.
func checkAmong(peers []Peer, p *Peer) error {
	for i := range peers {
		q := &peers[i]
		switch {
		case q.Name == p.Name:
			return errors.New("there is another one of that name")
		case q.Address == p.Address:
			return fmt.Errorf("peer %q has the same address %v", q.Name, q.Address)
		case q.Slot != NoSlot && q.Slot == p.Slot && slices.ContainsFunc(p.Families, func(f Family) bool { return slices.Contains(q.Families, f) }):
			return fmt.Errorf("peer %q has the same slot %d and a family in common", q.Name, q.Slot)
		case q.Address.WithZone("") == p.Address.WithZone("") && !tellable(q, p):
			return fmt.Errorf("peer %q has the same link-local address on another interface: both need a local address, and different ones", q.Name)
		}
	}
	return nil
}

// tellable says whether policies can tell two peers apart whose addresses differ
// only in their zone, which the library's policies do not see: by our own address.
func tellable(q, p *Peer) bool {
	return q.Local.IsValid() && p.Local.IsValid() && q.Local.WithZone("") != p.Local.WithZone("")
}

func checkAnnouncement(c *Config, p *Peer, before []Announcement, a Announcement) error {
	if err := checkPrefix(a.Prefix); err != nil {
		return err
	}
	own := slices.ContainsFunc(c.Own, func(o netip.Prefix) bool {
		return o.Bits() <= a.Prefix.Bits() && o.Contains(a.Prefix.Addr())
	})
	switch {
	case !own:
		return errors.New("it is not one of our own prefixes, nor part of one")
	case !slices.Contains(p.Families, FamilyOf(a.Prefix.Addr())):
		return errors.New("the session does not have its family")
	case a.Prepend < 0 || a.Prepend > maxPrepend:
		return fmt.Errorf("prepend %d: it must be 0 to %d", a.Prepend, maxPrepend)
	case slices.ContainsFunc(before, func(b Announcement) bool { return b.Prefix == a.Prefix }):
		return errors.New("it is announced twice")
	}
	return nil
}
