package uplink

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// State is the conclusion about one way.
type State uint8

// States.
const (
	// StateUnknown: nothing has been concluded yet.
	StateUnknown State = iota
	// Live: fit to carry traffic.
	Live
	// Held: the evidence is good, but the way is not trusted yet (waiting
	// after an outage, damped after flapping, draining).
	Held
	// Dead: some evidence says down.
	Dead
)

// String returns the word of s.
func (s State) String() string {
	switch s {
	case StateUnknown:
		return "unknown"
	case Live:
		return "live"
	case Held:
		return "held"
	case Dead:
		return "dead"
	default:
		panic(fmt.Sprintf("uplink: unhandled state %d", uint8(s)))
	}
}

// Role is what a way does in the group of its family.
type Role uint8

// Roles.
const (
	// RoleNone: not in the group; the kernel could not use it.
	RoleNone Role = iota
	// Active: carries its share of the traffic.
	Active
	// Standby: carries nothing until the kernel has lost every active way.
	Standby
	// Draining: keeps the flows that it has and gets no new ones.
	Draining
)

// String returns the word of r.
func (r Role) String() string {
	switch r {
	case RoleNone:
		return "none"
	case Active:
		return "active"
	case Standby:
		return "standby"
	case Draining:
		return "draining"
	default:
		panic(fmt.Sprintf("uplink: unhandled role %d", uint8(r)))
	}
}

// Verdict is what is concluded for one way.
type Verdict struct {
	State State
	Role  Role
	// Since is when State was entered.
	Since time.Time
	// Reasons say why, most important first; never empty after Decide.
	Reasons []string
	// Verified says that some soft source vouches for the way. A way without
	// any soft evidence can be live, but nothing has proved it.
	Verified bool

	// Penalty is the figure of merit of RFC 2439 at the time PenaltyAt.
	Penalty   float64
	PenaltyAt time.Time
	// Damped says that Penalty rose above the suppress threshold and has not
	// yet decayed to the reuse threshold.
	Damped bool
	// GoodSince is when the evidence turned good after an outage; zero while
	// some is down.
	GoodSince time.Time
	// TargetsOnly says of a dead way that nothing but probe targets has spoken
	// against it since it was last fit: if they turn out to be at fault, the
	// verdict was wrong.
	TargetsOnly bool
	// Untried says that the way was never live, because soft sources, and nothing else,
	// had a bad word for it when it was first looked at: a session that is not
	// established yet, say. The first good word makes it live at once, because it
	// had no outage.
	Untried bool
	// Drained says of a held way that nothing but Member.Drain holds it.
	Drained bool
	// Excused are the targets that went dead through every uplink at the same
	// moment, which is not held against any of them.
	Excused []netip.Addr
}

// Verdicts holds a verdict for every configured way.
type Verdicts map[Way]Verdict

// Why returns the reasons in one line.
func (v Verdict) Why() string { return strings.Join(v.Reasons, "; ") }
