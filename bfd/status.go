package bfd

import (
	"fmt"
	"net/netip"
	"time"
)

// Event is a change of a session's state.
type Event struct {
	// Peer and Interface identify the session.
	Peer      netip.Addr
	Interface string
	// At is when the state changed: for an expiry, when it was declared.
	At       time.Time
	Old, New State
	// Diag is ours, RemoteState and RemoteDiag are what the peer said last.
	Diag        Diag
	RemoteState State
	RemoteDiag  Diag
}

// Failure reports whether the event is news that the path failed. Leaving Up
// because either side is administratively down is not (RFC 5882 sections 3.2 and
// 4.2), nor is a session that has yet to come up.
func (e Event) Failure() bool {
	return e.Old == Up && e.New == Down && !(e.Diag == DiagNeighborSignaledDown && e.RemoteState == AdminDown)
}

// String returns a line for people.
func (e Event) String() string {
	at := ""
	if e.Interface != "" {
		at = "%" + e.Interface
	}
	return fmt.Sprintf("bfd %s%s: %s to %s, %s", e.Peer, at, e.Old, e.New, e.Diag)
}

// Status is what a session tells about itself.
type Status struct {
	Config Config
	State  State
	// Since is when State was entered; EverUp is whether it ever was Up.
	Since  time.Time
	EverUp bool
	// Diag is why the session left Up last; RemoteState and RemoteDiag are the
	// peer's words.
	Diag        Diag
	RemoteState State
	RemoteDiag  Diag
	// LocalDiscriminator and RemoteDiscriminator; 0 is not known.
	LocalDiscriminator, RemoteDiscriminator uint32
	// TxInterval is the negotiated interval before jitter; 0: nothing is sent
	// periodically. RxInterval is what the peer has to keep, DetectionTime how
	// long its silence is tolerated; both are 0 before its first packet.
	TxInterval, RxInterval, DetectionTime time.Duration
	// RemoteMultiplier is the peer's Detect Mult.
	RemoteMultiplier int
	// Polling: a change of intervals waits for the peer's Final.
	Polling bool
	// RemoteDemand: the peer asked us to be quiet (RFC 5880 section 6.6).
	RemoteDemand bool
	// Sent and Received count packets that were taken, Dropped the others by
	// reason.
	Sent, Received uint64
	Dropped        map[Drop]uint64
	// LastReceived is when the last packet that was taken arrived.
	LastReceived time.Time
	// Ups counts how often the session came up, Failures how often it failed.
	Ups, Failures uint64
	// WorstLateness is the longest that a periodic packet was sent after its
	// time.
	WorstLateness time.Duration
	// RTT of the last looped packet, of echo sessions.
	RTT time.Duration
	// Backoff is by how much the intervals are stretched for congestion (RFC 5880
	// section 7); 1 is not at all.
	Backoff int
	// Problem is what keeps the session from working, in words: a missing
	// device, a port that is taken, a neighbour that does not send echoes back.
	Problem string
}

// Stats are about a speaker.
type Stats struct {
	// Sessions that are open.
	Sessions int
	// Sent and Received count packets of all sessions, Dropped those that were
	// not taken, with or without a session, by reason.
	Sent, Received uint64
	Dropped        map[Drop]uint64
	// WorstLateness is the longest that a periodic packet was sent after its
	// time, since the last call of ResetLateness.
	WorstLateness time.Duration
}
