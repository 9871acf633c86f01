package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Config is a complete, valid configuration.
type Config struct {
	// Protocol is the route protocol number that marks what is ours, 5..255
	// and none that another daemon is known to use.
	Protocol uint8
	Tables   Tables
	Rules    Rules
	Marks    Marks
	// NextHops is the range of next-hop ids that are ours.
	NextHops NextHopIDs
	OnExit   OnExit
	// AllDead says what carries the traffic of a family when no uplink is fit.
	AllDead AllDead
	Hold    Hold
	Group   Group
	// BGP is nil where no uplink has a session.
	BGP *BGP
	// Uplinks in the order of the file, which numbers tables, marks and ids.
	Uplinks []Uplink
	// Warnings are about what is valid and probably not wanted. Each says what
	// to do.
	Warnings []string
}

// Tables are routing table numbers, 1..2^32-1 but 253..255.
type Tables struct {
	Balance uint32
	Uplinks uint32
	// Prefixes is for the routes that BGP brings (default Balance+1).
	Prefixes uint32
}

// Rules are rule priorities: 1 < Main < Source < Mark < Balance-1 < 32766.
type Rules struct {
	Main, Source, Mark, Balance uint32
}

// Marks are firewall marks.
type Marks struct {
	Base, Mask uint32
}

// NextHopIDs is where our ids start.
type NextHopIDs struct {
	Base uint32
}

// OnExit says what happens to the kernel state at a clean stop.
type OnExit uint8

// What to do at a clean stop.
const (
	// Keep leaves everything in the kernel (default).
	Keep OnExit = iota + 1
	// Withdraw removes everything that is ours.
	Withdraw
)

// String returns the word of the file, "unknown" for the zero value.
func (e OnExit) String() string {
	switch e {
	case 0:
		return "unknown"
	case Keep:
		return "keep"
	case Withdraw:
		return "withdraw"
	default:
		panic(fmt.Sprintf("OnExit %d does not exist", uint8(e)))
	}
}

// known says whether e is one of the choices.
func (e OnExit) known() bool { return e == Keep || e == Withdraw }

// AllDead says what carries the traffic when no uplink of a family is fit.
type AllDead uint8

// What to do when every uplink is dead on soft evidence.
const (
	// KeepLast keeps the uplinks that carried traffic last (default).
	KeepLast AllDead = iota + 1
	// KeepAll uses every uplink that the kernel can still send by.
	KeepAll
	// WithdrawAll drops the traffic with "prohibited".
	WithdrawAll
)

// String returns the word of the file, "unknown" for the zero value.
func (a AllDead) String() string {
	switch a {
	case 0:
		return "unknown"
	case KeepLast:
		return "keep-last"
	case KeepAll:
		return "keep-all"
	case WithdrawAll:
		return "withdraw"
	default:
		panic(fmt.Sprintf("AllDead %d does not exist", uint8(a)))
	}
}

// known says whether a is one of the choices.
func (a AllDead) known() bool { return a == KeepLast || a == KeepAll || a == WithdrawAll }

// Hold is how long good news has to wait (RFC 2439 for the penalty).
type Hold struct {
	// Up is how long the evidence must have been good after an outage.
	Up time.Duration
	// PenaltyHalfLife is the time in which the penalty decays by half.
	PenaltyHalfLife time.Duration
	// Suppress is the penalty above which an uplink is held, Reuse the one
	// below which it is released. Each outage adds 1000.
	Suppress, Reuse float64
}

// Group tunes the next-hop groups.
type Group struct {
	// IdleTimer is how long a flow bucket must be idle before it may move to an
	// uplink that came back; UnbalancedTimer is after how long busy ones are
	// moved as well, 0 for never.
	IdleTimer, UnbalancedTimer time.Duration
}

// Uplink is one way out.
type Uplink struct {
	// Name as written, unique without regard to case.
	Name      string
	Interface string
	// Gateways: at most one per family; empty means that they are learned.
	Gateways []netip.Addr
	// OnLink: the gateway is not on a subnet of the interface.
	OnLink bool
	// Sources: addresses and prefixes whose packets belong to this uplink;
	// empty means the global addresses of the interface.
	Sources []netip.Prefix
	// Weight is 1..256, Tier 1..255; lower tiers are used first.
	Weight, Tier int
	Table        uint32
	Mark         uint32
	// Neighbour is nil where the gateway's neighbour state is not watched.
	Neighbour *Neighbour
	// ICMP is nil where nothing is probed.
	ICMP *ICMP
	// BFD is nil where no session is wanted.
	BFD *BFD
	// BGP is nil where no session is wanted.
	BGP *UplinkBGP
}

// Neighbour configures the gateway's neighbour state as evidence.
type Neighbour struct {
	// Interval at which the kernel is asked to probe the gateway, at least 1s
	// (RFC 4861 section 7.3.3).
	Interval time.Duration
	// Tries is the number of failed rounds of solicitations that means Down.
	Tries int
}

// ICMP configures echo probes.
type ICMP struct {
	// Targets of both families, 1..32; each family stands for itself.
	Targets []netip.Addr
	// Quorum is how many targets of a family must be up; 0 is the majority of
	// the targets of that family. See QuorumOf.
	Quorum int
	// Interval between probes to one target, at least 10ms. Timeout is when a
	// probe without an answer is lost, at most Interval*Down.
	Interval, Timeout time.Duration
	// Down and Up are how many lost probes or answers in a row (1..100) change
	// what is thought of a target.
	Down, Up int
	// LossEnter and LossLeave are shares, 0..1; LossEnter 0 disables them.
	LossEnter, LossLeave float64
	// LatencyEnter 0 disables the latency threshold.
	LatencyEnter, LatencyLeave time.Duration
}

// QuorumOf returns how many of n targets of one family must be up: Quorum, or
// the majority if that is 0.
func (m *ICMP) QuorumOf(n int) int {
	if m.Quorum > 0 {
		return m.Quorum
	}
	return n/2 + 1
}
