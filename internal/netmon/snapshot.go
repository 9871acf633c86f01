package netmon

import (
	"net/netip"
	"strconv"
	"time"
)

// Snapshot is the host's network as last read. It is immutable once published.
type Snapshot struct {
	// Links by name: a device that vanishes and returns under its name with
	// another index is the same link to us.
	Links map[string]Link
	// Defaults are the default routes of others (DHCP client, RA, pppd, the
	// administrator), from which gateways are learned.
	Defaults []Default
	// Neighbours by device index and address, only the watched ones.
	Neighbours map[NeighbourKey]Neighbour
}

// Link is a network device with its addresses.
type Link struct {
	Name  string
	Index int
	// AdminUp is IFF_UP; Carrier is IFF_LOWER_UP.
	AdminUp, Carrier bool
	// OperState is the word of RFC 2863 as iproute2 prints it, such as "up",
	// "dormant", "lowerlayerdown" or "unknown" (which many virtual devices
	// report for ever and which is no failure).
	OperState string
	// PointToPoint is IFF_POINTOPOINT; NoARP is IFF_NOARP.
	PointToPoint, NoARP bool
	MTU                 int
	Addresses           []Address
}

// Address is an address of a link.
type Address struct {
	// Prefix is the address with the length of its subnet.
	Prefix netip.Prefix
	// Peer is the far end of a point-to-point address, if it has one.
	Peer netip.Addr
	// Global is RT_SCOPE_UNIVERSE.
	Global bool
	// Usable is false while duplicate address detection runs (tentative, not
	// optimistic) or after it failed.
	Usable bool
	// Deprecated is IFA_F_DEPRECATED: not for new connections (RFC 4862).
	Deprecated bool
	// Temporary is a privacy address (RFC 8981).
	Temporary bool
}

// Default is somebody else's default route over one device. A multipath route is
// one Default per hop, a route on a next-hop object one per hop of the object.
type Default struct {
	LinkIndex int
	// Dst is 0.0.0.0/0 or ::/0 and tells the family.
	Dst netip.Prefix
	// Gateway is the zero Addr for a device route. It has no zone, and may be an
	// IPv6 address in an IPv4 route (RFC 8950).
	Gateway  netip.Addr
	Metric   uint32
	Protocol uint8
	Table    uint32
}

// NeighbourKey identifies a neighbour: the same address may live on two links.
type NeighbourKey struct {
	LinkIndex int
	Address   netip.Addr
}

// Neighbour is the kernel's opinion of a watched neighbour. The zero value stands
// for a neighbour whose link does not exist.
type Neighbour struct {
	// Address is the address of the neighbour, without a zone.
	Address netip.Addr
	State   NUD
	// Failures counts the rounds of solicitations that ended in FAILED since
	// the neighbour was last REACHABLE. Rounds that end while the link is down or
	// has no address to ask from do not count; the loss of the entry, as after a
	// loss of carrier, neither counts nor resets.
	Failures int
	// Since is when State was entered.
	Since time.Time
	// Router is NTF_ROUTER (IPv6).
	Router bool
	// MAC is the link-layer address in its usual notation; "" if not known.
	MAC string
}

// NUD is a state of neighbour unreachability detection (RFC 4861 section
// 7.3.2; NUD_* in include/uapi/linux/neighbour.h).
type NUD uint8

// States; NUDAbsent (the zero value) means that the kernel has no entry.
const (
	NUDAbsent NUD = iota
	NUDIncomplete
	NUDReachable
	NUDStale
	NUDDelay
	NUDProbe
	NUDFailed
	NUDNoARP
	NUDPermanent
)

// String is the word of iproute2, or "absent".
func (s NUD) String() string {
	switch s {
	case NUDAbsent:
		return "absent"
	case NUDIncomplete:
		return "incomplete"
	case NUDReachable:
		return "reachable"
	case NUDStale:
		return "stale"
	case NUDDelay:
		return "delay"
	case NUDProbe:
		return "probe"
	case NUDFailed:
		return "failed"
	case NUDNoARP:
		return "noarp"
	case NUDPermanent:
		return "permanent"
	default:
		return "state " + strconv.Itoa(int(s))
	}
}
