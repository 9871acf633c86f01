package bgp

import (
	"fmt"
	"net/netip"
	"time"
)

// State is the state of a session (RFC 4271 section 8.2.2), and Shut for one that
// is not to be had at present.
type State uint8

// States of a session.
const (
	StateUnknown State = iota
	Shut
	Idle
	Connect
	Active
	OpenSent
	OpenConfirm
	Established
)

// String returns the word of s.
func (s State) String() string {
	switch s {
	case StateUnknown:
		return "unknown"
	case Shut:
		return "shut"
	case Idle:
		return "idle"
	case Connect:
		return "connect"
	case Active:
		return "active"
	case OpenSent:
		return "open-sent"
	case OpenConfirm:
		return "open-confirm"
	case Established:
		return "established"
	default:
		return fmt.Sprintf("state(%d)", uint8(s))
	}
}

// Status is what a [Speaker] says of itself. It holds no secrets.
type Status struct {
	// Peers in the order of the configuration.
	Peers []PeerStatus
	// Synced: every peer has sent its table, or the time to wait has passed.
	Synced bool
	// Error is why the speaker cannot do what was set, such as a port that is taken;
	// empty if it can.
	Error string
	// RPKI are the caches that are asked.
	RPKI []CacheStatus
}

// CacheStatus is what is known of an RPKI cache.
type CacheStatus struct {
	Address string
	Up      bool
	// Records is the number of validated payloads of both families.
	Records int
}

// PeerStatus is what is known of one session.
type PeerStatus struct {
	Name    string
	Address netip.Addr
	AS      uint32
	State   State
	// Since is when State was entered.
	Since time.Time
	// Trouble is why there is no session, in words; empty if there is one or if none
	// was tried yet.
	Trouble string
	// LastError is why the last session ended, and LastErrorAt when; they stay.
	LastError   string
	LastErrorAt time.Time
	// Flaps counts sessions that were lost.
	Flaps uint64
	// RouterID of the peer, HoldTime as negotiated; both while established.
	RouterID netip.Addr
	HoldTime time.Duration
	// Restart says that graceful restart was negotiated, RestartTime how long the
	// peer asks us to keep its routes.
	Restart     bool
	RestartTime time.Duration
	// Families in the order of Peer.Families.
	Families []FamilyStatus
}

// FamilyStatus is what is known of one family of a session.
type FamilyStatus struct {
	Family Family
	// Negotiated: the peer speaks the family; while established.
	Negotiated bool
	// Synced: the peer has sent its whole table (End-of-RIB, or a quiet time).
	Synced bool
	// Retained: the session is lost and graceful restart keeps its paths, or it is
	// back and has not sent its table again yet; Until is when they go if nothing
	// happens.
	Retained bool
	Until    time.Time
	// Received counts prefixes, Accepted those that were not refused, Refused why
	// the others were. Marked ones count.
	Received, Accepted int
	Refused            map[Reason]int
	// Stale counts the marked ones among Received.
	Stale int
	// Default is what is known of the default route.
	Default DefaultRoute
	// Draining: all that is accepted carries the community of graceful shutdown (RFC
	// 8326).
	Draining bool
	// Bandwidth in octets per second that the accepted default route announces, or if it
	// does not, the path that was accepted last (link bandwidth community); 0 if none.
	Bandwidth float64
	// Announced is how many prefixes of ours the peer is told.
	Announced int
}

// DefaultRoute is what is known of a peer's default route.
type DefaultRoute struct {
	// Received: there is one. Accepted: it was not refused; otherwise Refused says
	// why.
	Received, Accepted bool
	Refused            Reason
	// Draining: it carries the community of graceful shutdown.
	Draining bool
}

// Query selects what [Speaker.Paths] returns.
type Query struct {
	// Prefix to look for.
	Prefix netip.Prefix
	// Longer asks for all prefixes that lie in Prefix, the longest ones too;
	// otherwise Prefix is looked up exactly, and if nobody offers it, the longest one
	// that covers it.
	Longer bool
	// Limit is the most prefixes to return; 0 means 1000.
	Limit int
}

// PrefixPaths is what is known of one prefix.
type PrefixPaths struct {
	Prefix netip.Prefix
	Choice Choice
	Paths  []PathInfo
}

// PathInfo is one path as it was received, and what became of it.
type PathInfo struct {
	Peer    string
	NextHop netip.Addr
	// ASPath as it is usually written: "64501 64510 {64511 64512}".
	ASPath     string
	Origin     string
	MED        uint32
	HasMED     bool
	Preference uint32
	// Communities as they are usually written, extended and large ones too.
	Communities []string
	// Bandwidth in octets per second, 0 if none.
	Bandwidth float64
	// Received is when it came.
	Received time.Time
	Stale    bool
	// Validity by RPKI: "valid", "invalid", "not-found", or empty if nobody is asked.
	Validity string
	Rank     Rank
	// Why says in words why it is used or not: what it won or lost by.
	Why string
}
