package fib

import (
	"fmt"
	"net/netip"
)

// Family is an address family. The zero value means that it is not known; no
// function treats it as IPv4.
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
	case !a.IsValid():
		return FamilyUnknown
	case a.Unmap().Is4():
		return IPv4
	default:
		return IPv6
	}
}

// String returns "ipv4", "ipv6" or "unknown".
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	case FamilyUnknown:
		return "unknown"
	default:
		panic(fmt.Sprintf("fib: unhandled family %d", uint8(f)))
	}
}

// Any returns the prefix of length zero: 0.0.0.0/0 or ::/0.
func (f Family) Any() netip.Prefix {
	switch f {
	case IPv4:
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	case IPv6:
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	case FamilyUnknown:
		return netip.Prefix{}
	default:
		panic(fmt.Sprintf("fib: unhandled family %d", uint8(f)))
	}
}
