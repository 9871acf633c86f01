package config

import (
	"fmt"
	"math"
	"time"
)

// maxUplinks bounds the uplinks: a resilient group of 120 buckets has nothing
// for more than these anyway.
const maxUplinks = 256

// maxTargets bounds the targets of one uplink: each one costs its operator a
// packet per interval.
const maxTargets = 32

// maxAnnouncements bounds our own prefixes: each is a policy for every peer.
const maxAnnouncements = 256

// maxSessions bounds the sessions of BGP, and maxSlots those of one family that bring
// more than a default (bgp.MaxSlots): two bits for each make the choice of a prefix.
const (
	maxSessions = 64
	maxSlots    = 8
)

// span is a range of whole numbers, both ends included.
type span struct{ low, high int64 }

var (
	// Numbers below 5 belong to the kernel (rtnetlink.h: RTPROT_STATIC is 4).
	protocols = span{5, math.MaxUint8}
	tables    = span{1, math.MaxUint32}
	// Rule 0 is the local table, 32766 is main. Main needs one rule before it.
	priorities = span{2, 32765}
	marks      = span{1, math.MaxUint32}
	// A million ids above the base are more than all candidates of all uplinks.
	nextHopIDs = span{1, math.MaxUint32 - 1<<20}
	// The kernel's weight is one byte plus one (struct nexthop_grp).
	weights = span{1, 256}
	tiers   = span{1, 255}
	tries   = span{1, 10}
	quorums = span{0, maxTargets}
	rounds  = span{1, 100}
	// One byte each on the wire (RFC 5880 section 4.1; 0 is no multiplier).
	multipliers = span{1, 255}
	keyIDs      = span{0, 255}
	hopLimits   = span{1, 255}
	// 4294967295 is reserved (RFC 7300 section 2); what else is, checkAS tells.
	asNumbers = span{1, math.MaxUint32 - 1}
	ports     = span{1, math.MaxUint16}
	// 0 is for nowhere.
	listenPorts = span{0, math.MaxUint16}
	prefixLimit = span{1, 10_000_000}
	// 1 is a direct peer, and 255 the largest TTL.
	hops        = span{2, 255}
	prepends    = span{0, 10}
	preferences = span{1, math.MaxUint32}
	meds        = span{0, math.MaxUint32}
	lengths4    = span{8, 32}
	lengths6    = span{16, 128}
)

func (s span) String() string { return fmt.Sprintf("%d to %d", s.low, s.high) }

func (r *report) within(path string, n int64, s span) bool {
	if n >= s.low && n <= s.high {
		return true
	}
	r.add(path, "%d is out of range; write %v", n, s)
	return false
}

// period is a range of durations, both ends included.
type period struct{ low, high time.Duration }

var (
	holds     = period{0, 24 * time.Hour}
	halfLives = period{time.Millisecond, 24 * time.Hour}
	// The kernel counts the timers of a group in hundredths of a second
	// (USER_HZ); what is less would become 0 on its way.
	timers = period{10 * time.Millisecond, 24 * time.Hour}
	// RFC 4861 section 7.3.3: not more than one solicitation per RetransTimer.
	neighbourIntervals = period{time.Second, time.Hour}
	icmpIntervals      = period{10 * time.Millisecond, time.Hour}
	icmpTimeouts       = period{time.Millisecond, time.Hour}
	latencies          = period{time.Microsecond, time.Hour}
	// What a host can keep begins above the one, and 32 bits of microseconds end
	// not far behind the other (RFC 5880 section 4.1).
	bfdIntervals = period{time.Millisecond, 4000 * time.Second}
	// Two octets of seconds, and not 1 or 2 (RFC 4271 section 4.2).
	holdTimes = period{3 * time.Second, math.MaxUint16 * time.Second}
	// Twelve bits of seconds (RFC 4724 section 3).
	restartTimes = period{time.Second, 4095 * time.Second}
	staleTimes   = period{time.Second, time.Hour}
	deferrals    = period{time.Second, time.Hour}
	drainTimes   = period{0, 24 * time.Hour}
)

func (r *report) lasts(path string, d time.Duration, p period) bool {
	switch {
	case d < p.low:
		r.add(path, "%v is too short; write %v or more", d, p.low)
	case d > p.high:
		r.add(path, "%v is too long; write %v or less", d, p.high)
	default:
		return true
	}
	return false
}

// daemons are the protocol numbers that others mark their routes with
// (rtnetlink.h and rt_protos.d of iproute2; 99 and 186 to 192 are the routing
// protocols as FRR and openr write them).
var daemons = map[uint8]string{
	8: "gated", 9: "router advertisements of the kernel (ra)", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted",
	14: "xorp", 15: "ntk", 16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel",
	84: "ovn", 99: "openr", 186: "bgp (FRR)", 187: "isis (FRR)", 188: "ospf (FRR)", 189: "rip (FRR)",
	192: "eigrp (FRR)",
}
