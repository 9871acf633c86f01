package config

import (
	"fmt"
	"net/netip"
	"time"
)

// BFDMode is how a session of BFD finds out whether the path works.
type BFDMode uint8

// Modes of a session.
const (
	// BFDAsync exchanges control packets with a peer that runs BFD as well (RFC
	// 5880 section 3.2; default).
	BFDAsync BFDMode = iota + 1
	// BFDEcho sends packets that a neighbour without BFD forwards back (RFC
	// 9747).
	BFDEcho
)

// String returns the word of the file, "unknown" for the zero value.
func (m BFDMode) String() string {
	switch m {
	case 0:
		return "unknown"
	case BFDAsync:
		return "async"
	case BFDEcho:
		return "echo"
	default:
		panic(fmt.Sprintf("BFDMode %d does not exist", uint8(m)))
	}
}

// known says whether m is one of the choices.
func (m BFDMode) known() bool { return m == BFDAsync || m == BFDEcho }

// BFD configures the sessions of an uplink, one per family.
type BFD struct {
	Mode BFDMode
	// Peers: at most one per family, and only their families get a session. Empty
	// means the gateway of each family, written or learned, or the peer of a
	// point-to-point device. Multihop sessions have some.
	Peers []netip.Addr
	// Interval between two packets, both ways: what we want to send at and what
	// we accept at least. 1ms..4000s, whole microseconds.
	Interval time.Duration
	// Multiplier is how many packets in a row have to be missed, 1..255. The peer
	// waits for ours by it, and we wait for the peer's by its own (RFC 5880 section
	// 6.8.4); in an echo session it is ours alone.
	Multiplier int
	// Multihop: routers may stand between us and the peer (RFC 5883).
	Multihop bool
	// MinTTL is the least TTL or hop limit of what is accepted: 1..255 with
	// Multihop, and 255 for a single hop (RFC 5881 section 5), where 0 means the
	// same.
	MinTTL int
	// Passive: say nothing before the peer does (RFC 5880 section 6.1).
	Passive bool
	// Require: the uplink is not used until the session is up. Otherwise a session
	// that was never up withdraws nothing.
	Require bool
	// EchoSources are the source addresses of echo packets, at most one per
	// family; empty leaves the choice to the daemon.
	EchoSources []netip.Addr
	// Auth is nil where packets are not authenticated.
	Auth *BFDAuth
}

// BFDAuth is the authentication of a session (RFC 5880 section 6.7).
type BFDAuth struct {
	// Type is simple, md5, meticulous-md5, sha1 or meticulous-sha1.
	Type string
	// KeyID is sent with each packet, and both ends mean the same key by it.
	KeyID uint8
	// KeyFile is the absolute path of the file with the key. It is not read here.
	KeyFile string
}

// DetectionTime returns after how long without a packet the session goes down
// where both ends are configured alike: Interval times Multiplier. With a peer that
// is slower it is longer (RFC 5880 section 6.8.4).
func (b *BFD) DetectionTime() time.Duration {
	return b.Interval * time.Duration(b.Multiplier)
}
