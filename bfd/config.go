package bfd

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Limits and defaults of a session's configuration.
const (
	// SlowInterval is the least interval while a session is not Up (RFC 5880
	// section 6.8.3; RFC 7419 appendix A for exactly this value).
	SlowInterval = time.Second
	// MinInterval is the shortest interval that may be configured. The common
	// 3.3 ms of RFC 7419 is above it; what a host can keep is another matter.
	MinInterval = time.Millisecond
	// MaxInterval is the longest one, about what 32 bits of microseconds hold.
	MaxInterval = 4000 * time.Second
	// DefaultInterval and DefaultMultiplier give a detection time of 150 ms.
	DefaultInterval   = 50 * time.Millisecond
	DefaultMultiplier = 3
	// DefaultMinTTL of multihop sessions: one hop between.
	DefaultMinTTL = 254
)

// Config describes a session. Mode, Peer, Local, Interface, Multihop and
// PointToPoint identify it; the rest can be changed by [Session.Update].
type Config struct {
	Mode Mode
	// Peer is the other system, for Echo the neighbour that forwards our packets
	// back. Zones are ignored: Interface has the same meaning for every address.
	Peer netip.Addr
	// Local is our address: the source of control packets, and what echo packets
	// are addressed to. The zero value leaves it to the kernel, but multihop and
	// echo sessions need one.
	Local netip.Addr
	// Interface is the network device that the packets take. Required but for
	// multihop.
	Interface string
	// PointToPoint: the source of the peer's packets does not matter, whatever
	// comes by the interface is for this session (RFC 5881 section 6).
	PointToPoint bool
	// Multihop sessions use port 4784 (RFC 5883); MinTTL is the least hop limit
	// of what is accepted, 1..255, 0 for DefaultMinTTL.
	Multihop bool
	MinTTL   int
	// DesiredMinTx and RequiredMinRx are intervals in Up, MinInterval to
	// MaxInterval, whole microseconds, 0 for DefaultInterval. An echo session
	// uses DesiredMinTx.
	DesiredMinTx, RequiredMinRx time.Duration
	// Multiplier is how many packets in a row may be missed, 1..255, 0 for
	// DefaultMultiplier. The peer's detection time counts by it; in an echo
	// session, ours.
	Multiplier int
	// Passive: say nothing before the peer does. One end must be active.
	Passive bool
	// Auth is the authentication, none by default.
	Auth Auth
	// Mark is the firewall mark of what is sent, 0 for none.
	Mark uint32
	// EchoSource is the source address of echo packets. It must be ours, should
	// not be in the subnet of the interface (RFC 5881 section 4: the neighbour
	// would send redirects), and must pass the neighbour's reverse-path filter.
	// The zero value is Local.
	EchoSource netip.Addr
}

// withDefaults fills what was left out.
func (c Config) withDefaults() Config {
	c = c.clone()
	c.Peer, c.Local, c.EchoSource = plain(c.Peer), plain(c.Local), plain(c.EchoSource)
	if c.DesiredMinTx == 0 {
		c.DesiredMinTx = DefaultInterval
	}
	if c.RequiredMinRx == 0 {
		c.RequiredMinRx = DefaultInterval
	}
	if c.Multiplier == 0 {
		c.Multiplier = DefaultMultiplier
	}
	if c.Multihop && c.MinTTL == 0 {
		c.MinTTL = DefaultMinTTL
	}
	if c.Mode == Echo && !c.EchoSource.IsValid() {
		c.EchoSource = c.Local
	}
	return c
}

// clone returns c with keys of its own.
func (c Config) clone() Config {
	c.Auth.Keys = slices.Clone(c.Auth.Keys)
	for i := range c.Auth.Keys {
		c.Auth.Keys[i].Secret = slices.Clone(c.Auth.Keys[i].Secret)
	}
	return c
}

// plain returns a without its zone, and IPv4 as IPv4.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Validate returns everything that is wrong with c.
func (c Config) Validate() error {
	c = c.withDefaults()
	var bad []error
	refuse := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if c.Mode != Async && c.Mode != Echo {
		refuse("mode %d: want %d for %s or %d for %s", uint8(c.Mode), uint8(Async), Async, uint8(Echo), Echo)
	}
	c.validateAddresses(refuse)
	if c.Multihop {
		c.validateMultihop(refuse)
	} else {
		if c.Interface == "" {
			refuse("interface: missing; only a multihop session can do without")
		}
		if c.MinTTL != 0 && c.MinTTL != 255 {
			refuse("min ttl %d: a single hop requires 255 (RFC 5881 section 5)", c.MinTTL)
		}
	}
	if c.Mode == Echo {
		c.validateEcho(refuse)
	}
	for _, i := range []struct {
		name string
		d    time.Duration
	}{{"desired min tx", c.DesiredMinTx}, {"required min rx", c.RequiredMinRx}} {
		if i.d < MinInterval || i.d > MaxInterval {
			refuse("%s %v: want %v to %v", i.name, i.d, MinInterval, MaxInterval)
		} else if i.d%time.Microsecond != 0 {
			refuse("%s %v: want whole microseconds", i.name, i.d)
		}
	}
	if c.Multiplier < 1 || c.Multiplier > 255 {
		refuse("multiplier %d: want 1 to 255", c.Multiplier)
	}
	if err := c.Auth.Validate(); err != nil {
		bad = append(bad, err)
	}
	return errors.Join(bad...)
}

func (c Config) validateAddresses(refuse func(string, ...any)) {
	for _, a := range []struct {
		name string
		addr netip.Addr
	}{{"peer", c.Peer}, {"local address", c.Local}, {"echo source", c.EchoSource}} {
		switch {
		case !a.addr.IsValid():
		case a.addr.IsUnspecified() || a.addr.IsMulticast():
			refuse("%s %s: not the address of a host", a.name, a.addr)
		case c.Peer.IsValid() && a.addr.Is4() != c.Peer.Is4():
			refuse("%s %s: not of the family of peer %s", a.name, a.addr, c.Peer)
		}
	}
	switch c.Peer {
	case netip.Addr{}:
		refuse("peer: missing")
	case c.Local:
		if !c.PointToPoint {
			refuse("peer %s: that is the local address", c.Peer)
		}
	}
}

func (c Config) validateMultihop(refuse func(string, ...any)) {
	if c.MinTTL < 1 || c.MinTTL > 255 {
		refuse("min ttl %d: want 1 to 255", c.MinTTL)
	}
	if !c.Local.IsValid() {
		refuse("local address: missing; a multihop session is known by both addresses (RFC 5883 section 4.1)")
	}
	if c.PointToPoint {
		refuse("point-to-point: not with multihop")
	}
	if c.Peer.IsLinkLocalUnicast() {
		refuse("peer %s: a link-local address is one hop away", c.Peer)
	}
}

func (c Config) validateEcho(refuse func(string, ...any)) {
	if c.Multihop {
		refuse("multihop: echo is for one hop (RFC 9747 section 1)")
	}
	if c.Passive {
		refuse("passive: the neighbour of an echo session never begins")
	}
	if !c.Local.IsValid() {
		refuse("local address: missing; echo packets come back to it")
	} else if c.Local.IsLinkLocalUnicast() {
		refuse("local address %s: a neighbour does not forward to link-local addresses", c.Local)
	}
	if c.EchoSource.IsValid() && c.EchoSource.IsLinkLocalUnicast() {
		refuse("echo source %s: a neighbour does not forward what comes from link-local addresses", c.EchoSource)
	}
}

// SameSession reports whether a session can change from c to d by [Session.Update].
func (c Config) SameSession(d Config) bool {
	c, d = c.withDefaults(), d.withDefaults()
	return c.Mode == d.Mode && c.Peer == d.Peer && c.Local == d.Local && c.Interface == d.Interface &&
		c.Multihop == d.Multihop && c.PointToPoint == d.PointToPoint
}
