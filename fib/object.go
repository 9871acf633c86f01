package fib

import (
	"fmt"
	"net/netip"
	"time"
)

// Device names a network device. The kernel's key is Index; Name is what people
// read and is ignored in comparisons.
type Device struct {
	Index int
	Name  string
}

// NextHop is a next-hop object (struct nhmsg, include/uapi/linux/nexthop.h).
type NextHop struct {
	// ID is the kernel's key.
	ID uint32
	// Family is the family of the packets that it carries. It equals the
	// family of Gateway where there is one.
	Family Family
	Device Device
	// Gateway is the address of the next router; the zero Addr means that
	// the destination is on the link (point-to-point).
	Gateway netip.Addr
	// OnLink says that Gateway is reachable on Device although no address of
	// the device covers it (RTNH_F_ONLINK).
	OnLink bool
}

// MaxWeight is the largest weight of a member of a group or of a hop. The
// smallest is 1. Older kernels take no more (net/ipv4/nexthop.c before 6.12).
const MaxWeight = 256

// Member is a next hop in a group.
type Member struct {
	// NextHop is the id of a next hop.
	NextHop uint32
	// Weight is the share of the member, 1..MaxWeight.
	Weight int
	// Standby marks a member that carries traffic only once every active
	// member is gone. It means something in Desired; what the kernel holds
	// has weights only.
	Standby bool
	// Draining marks a member that gets no new flows but keeps those that it has: in
	// a resilient group its buckets move away as they become idle, and the busy ones
	// stay. In other groups it is left out. Where no other member is active it is
	// one. Like Standby it means something in Desired only; of both, Standby counts.
	Draining bool
}

// GroupType is how a group maps flows to members.
type GroupType uint8

// Group types (NEXTHOP_GRP_TYPE_*, include/uapi/linux/nexthop.h).
const (
	GroupUnknown GroupType = iota
	// GroupHashThreshold splits the hash space by weight (RFC 2992).
	GroupHashThreshold
	// GroupResilient maps the hash to a fixed table of buckets.
	GroupResilient
)

// String returns the name that iproute2 uses.
func (t GroupType) String() string {
	switch t {
	case GroupUnknown:
		return "unknown"
	case GroupHashThreshold:
		return "mpath"
	case GroupResilient:
		return "resilient"
	default:
		panic(fmt.Sprintf("fib: unhandled group type %d", uint8(t)))
	}
}

// Group is a next-hop group. A route that points at it follows its members.
type Group struct {
	// ID is the kernel's key; next hops and groups share one space of ids.
	ID      uint32
	Type    GroupType
	Members []Member
	// Buckets is the size of the table of a resilient group, 1..65535. The
	// kernel fixes it for the life of the id.
	Buckets uint16
	// IdleTimer is how long a bucket must have been idle before it may move
	// to another member that still lives. Resolution 10 ms.
	IdleTimer time.Duration
	// UnbalancedTimer is how long the table may stay unbalanced before busy
	// buckets are moved too; 0 means never. Resolution 10 ms.
	UnbalancedTimer time.Duration
}

// RouteType is what a route does with a packet (RTN_*).
type RouteType uint8

// Route types that this package writes.
const (
	RouteUnknown RouteType = iota
	RouteUnicast
	// RouteProhibit answers with "communication administratively filtered".
	RouteProhibit
	// RouteUnreachable answers with "host unreachable".
	RouteUnreachable
	// RouteBlackhole drops in silence.
	RouteBlackhole
)

// String returns the name that iproute2 uses.
func (t RouteType) String() string {
	switch t {
	case RouteUnknown:
		return "unknown"
	case RouteUnicast:
		return "unicast"
	case RouteProhibit:
		return "prohibit"
	case RouteUnreachable:
		return "unreachable"
	case RouteBlackhole:
		return "blackhole"
	default:
		panic(fmt.Sprintf("fib: unhandled route type %d", uint8(t)))
	}
}

// Hop is an inline next hop of a route (struct rtnexthop).
type Hop struct {
	Device  Device
	Gateway netip.Addr
	OnLink  bool
	// Weight is 1..MaxWeight.
	Weight int
}

// Route is a route. Its kernel key is [RouteKey].
type Route struct {
	Table uint32
	// Dst gives the family too; [Family.Any] is the default route.
	Dst netip.Prefix
	// Metric orders routes of one destination; the lowest wins. It must not be
	// 0, which IPv6 silently turns into 1024.
	Metric uint32
	Type   RouteType
	// NextHopID points at a next hop or a group; 0 means that Hops is used.
	NextHopID uint32
	// Hops holds one or more inline next hops.
	Hops []Hop
	// Source is the preferred source address, if any.
	Source netip.Addr
}

// RouteKey is what identifies a route to the kernel.
type RouteKey struct {
	Table  uint32
	Dst    netip.Prefix
	Metric uint32
}

// Key returns the kernel's key of r.
func (r Route) Key() RouteKey { return RouteKey{r.Table, r.Dst, r.Metric} }

// Family returns the family of r.
func (r Route) Family() Family { return FamilyOf(r.Dst.Addr()) }

// Rule is a policy rule. The kernel has no key for rules: two that agree in
// every field are the same, so Rule is comparable and is its own key.
type Rule struct {
	Family   Family
	Priority uint32
	// From and To select by address; the zero Prefix selects everything.
	From, To netip.Prefix
	// Mark selects by firewall mark under Mask; Mask 0 selects everything.
	Mark, Mask uint32
	// Table is looked up, unless Goto is set.
	Table uint32
	// Goto is the priority of the rule to go on with; it must be higher than
	// Priority. 0 means that Table is looked up.
	Goto uint32
	// MinPrefixLen ignores routes with a shorter prefix: 1 ignores defaults.
	// It is the kernel's suppress_prefixlength plus one, so that the zero value
	// means that nothing is ignored. 0..128.
	MinPrefixLen int
}
