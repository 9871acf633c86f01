package bgp

import (
	"fmt"
	"net/netip"
)

// Family is an address family. The zero value means that it is not known.
type Family uint8

// The two families. Code that handles one handles the other: see [Families].
const (
	FamilyUnknown Family = iota
	IPv4
	IPv6
)

// Families lists both families, in the order in which reports print them.
var Families = [...]Family{IPv4, IPv6}

// FamilyOf returns the family of a. An IPv4-mapped IPv6 address counts as IPv4.
func FamilyOf(a netip.Addr) Family {
	switch {
	case a.Is4() || a.Is4In6():
		return IPv4
	case a.Is6():
		return IPv6
	default:
		return FamilyUnknown
	}
}

// String returns "ipv4", "ipv6" or "unknown".
func (f Family) String() string {
	switch f {
	case FamilyUnknown:
		return "unknown"
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	default:
		return fmt.Sprintf("family(%d)", uint8(f))
	}
}

// MaxSlots is how many peers of one family can offer more than a default.
const MaxSlots = 8

// Slot numbers a peer within a [Choice]: 0..MaxSlots-1, or NoSlot.
type Slot int8

// NoSlot is the slot of a peer that is only asked for a default.
const NoSlot Slot = -1

// Rank is the place of a peer in a [Choice].
type Rank uint8

// Ranks. Peers of one rank share the traffic; those of the next one are used when
// none of a better one is alive.
const (
	// NoPath: the peer does not offer the prefix, or what it offers is refused.
	NoPath Rank = iota
	First
	Second
	// Rest is everything behind the second choice.
	Rest
)

// String returns "none", "first", "second" or "rest".
func (r Rank) String() string {
	switch r {
	case NoPath:
		return "none"
	case First:
		return "first"
	case Second:
		return "second"
	case Rest:
		return "rest"
	default:
		return fmt.Sprintf("rank(%d)", uint8(r))
	}
}

// Choice says of one prefix which peers offer it, and in what order: two bits per
// slot, which are a [Rank]. The zero Choice means that nobody does. A Choice that is
// not zero has a first rank, and no second one without that, and so on.
type Choice uint16

// Rank returns the rank of the peer in slot s.
func (c Choice) Rank(s Slot) Rank {
	if s < 0 || s >= MaxSlots {
		return NoPath
	}
	return Rank(c>>(2*s)) & 3
}

// With returns c with rank r for slot s.
func (c Choice) With(s Slot, r Rank) Choice {
	if s < 0 || s >= MaxSlots {
		panic(fmt.Sprintf("bgp: slot %d is not in 0..%d", s, MaxSlots-1))
	}
	return c&^(3<<(2*s)) | Choice(r&3)<<(2*s)
}

// Route says who reaches a prefix.
type Route struct {
	Prefix netip.Prefix
	// Choice is zero if nobody does any more.
	Choice Choice
}

// Batch is what [Speaker.Next] returns.
type Batch struct {
	// Routes that changed since they were last told, at most one per prefix.
	Routes []Route
	// Synced says that with these routes everything has been told that is known,
	// and that every peer has sent its table or the time to wait for that has
	// passed: a prefix that was never told does not exist.
	Synced bool
}
