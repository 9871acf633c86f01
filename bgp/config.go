package bgp

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is the whole of what is wanted of a [Speaker].
type Config struct {
	// AS is our autonomous system number, 1..4294967294 but not 23456 (RFC 6793).
	AS uint32
	// RouterID is our BGP identifier, an IPv4 address other than 0.0.0.0 (RFC 6286).
	RouterID netip.Addr
	// Listen are the addresses on which connections are accepted; empty means all
	// addresses of both families. With Port 0 nothing is accepted.
	Listen []netip.Addr
	// Port to accept connections on, usually 179; 0 for none.
	Port uint16
	// Own are our own prefixes: nothing else is ever announced, and a path for one
	// of them, or for a part of one, is refused unless AllowOwn.
	Own      []netip.Prefix
	AllowOwn bool
	// ASPath says what two paths must have in common to share the traffic.
	ASPath ASPathRule
	// RPKI are the caches to ask for route origins (RFC 8210), as host:port.
	RPKI []string
	// Restarting says that what was forwarded before this start still is: the
	// sessions say so (RFC 4724 section 4.1, R and F bits), and no route is told
	// before every peer has sent its table or Deferral has passed.
	Restarting bool
	// Flushed are the families of which nothing is forwarded though Restarting: a session
	// that carries one claims nothing. It counts when a session is made.
	Flushed []Family
	// Deferral is how long to wait for that; 0 is DefaultDeferral.
	Deferral time.Duration
	Peers    []Peer
}

// Defaults of times.
const (
	// DefaultDeferral is the Selection_Deferral_Timer (RFC 4724 section 4.1), which
	// that document leaves to us.
	DefaultDeferral = 120 * time.Second
	// DefaultStaleTime bounds how long marked paths live once the session is back
	// (RFC 8538 section 4.1 suggests it).
	DefaultStaleTime = 180 * time.Second
	// QuietTime is how long a peer that sends no End-of-RIB must have sent nothing
	// for its table to count as complete.
	QuietTime = 5 * time.Second
	// TidyTime is how long the paths of a session are kept that was lost without
	// graceful restart. Nobody forwards by them meanwhile.
	TidyTime = 30 * time.Second
)

// ASPathRule says how AS paths are compared.
type ASPathRule uint8

// Rules for AS paths.
const (
	// ASPathStrict: of paths with equally long AS paths those share the traffic that
	// come from the same neighbouring AS.
	ASPathStrict ASPathRule = iota
	// ASPathRelax: equally long is enough, so that two ISPs share a prefix.
	ASPathRelax
	// ASPathIgnore: the length of AS paths is not looked at.
	ASPathIgnore
)

// Peer is one session that is wanted.
type Peer struct {
	// Name is unique among peers, such as "fiber/ipv4".
	Name string
	// Slot is the peer's place in a Choice, or NoSlot. Two peers may share one if
	// they have no family in common.
	Slot Slot
	// Address of the peer, unique among peers; with a zone if it is link-local.
	Address netip.Addr
	// Port of the peer; 0 means 179.
	Port uint16
	// Interface that connections to the peer are bound to; empty for none.
	Interface string
	// Local is the address that connections are made from; the zero Addr leaves it
	// to the kernel.
	Local netip.Addr
	// AS of the peer. It must differ from LocalAS: this package speaks external BGP
	// only.
	AS uint32
	// LocalAS is our AS towards this peer; 0 means Config.AS.
	LocalAS uint32
	// Families of the session: at least one.
	Families []Family
	Import   Import
	// MaxPrefixes is how many prefixes of one family the peer may send, refused ones
	// too; with more the session is ended (Cease, Maximum Number of Prefixes Reached)
	// and not begun again for RestartAfterMax. 0 derives it: see Import.MaxPrefixes.
	MaxPrefixes int
	// HoldTime is 3s..65535s, whole seconds; 0 means DefaultHoldTime. A session
	// without hold time cannot be had (RFC 9687 section 4.3).
	HoldTime time.Duration
	// Password for TCP MD5 (RFC 2385), 1..80 octets; empty for none.
	Password Secret
	// TTLSecurity accepts packets with TTL 255 only (RFC 5082).
	TTLSecurity bool
	// Multihop is how many hops away the peer may be, 2..255; 0 and 1 mean directly
	// connected. It excludes TTLSecurity.
	Multihop uint8
	// Passive waits for the peer to connect.
	Passive         bool
	GracefulRestart GracefulRestart
	// Tier comes before everything else: lower ones are used first.
	Tier int
	// Preference is the local preference of what the peer announces; higher is
	// better. 0 means DefaultPreference. What the peer says of it is ignored.
	Preference uint32
	// Announce is what this peer is told at present. Prefixes must lie in
	// Config.Own.
	Announce []Announcement
	// Drained puts what the peer announces behind everything else (RFC 8326
	// section 4.2, towards ourselves; what the peer is told is in Announce).
	Drained bool
	// Shutdown ends the session and keeps it down, with these words for the peer
	// (RFC 9003, at most 128 octets); empty to have a session.
	Shutdown string
}

// Defaults of a peer.
const (
	DefaultHoldTime   = 90 * time.Second
	DefaultPreference = 100
	// RestartAfterMax is how long a peer waits that sent too many prefixes.
	RestartAfterMax = 5 * time.Minute
)

// Secret is a string that does not appear in logs or JSON of the status.
type Secret string

// String returns "***", or nothing for the empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// LogValue hides s in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Import is what is accepted from a peer. The zero Import accepts nothing.
type Import struct {
	// Mode says what is asked for.
	Mode ImportMode
	// Prefixes of ImportPrefixes: they and what lies in them is accepted.
	Prefixes []netip.Prefix
	// MaxLength4 and MaxLength6 are the longest prefixes that are accepted; 0 means
	// 24 and 48 (BCP 194 section 6.1.3). Prefixes that are named may be as long as
	// they are written.
	MaxLength4, MaxLength6 int
	// RejectInvalid refuses paths whose origin is invalid by RPKI (RFC 6811).
	RejectInvalid bool
	// Bandwidth believes the link bandwidth that the peer announces.
	Bandwidth bool
	// PrivateAS accepts private AS numbers in AS paths.
	PrivateAS bool
	// AnyNextHop accepts next hops other than the peer, such as a route server has.
	// Traffic goes to the gateway of the uplink all the same.
	AnyNextHop bool
}

// ImportMode says what is asked for.
type ImportMode uint8

// Modes of import.
const (
	// ImportNone accepts nothing (RFC 8212).
	ImportNone ImportMode = iota
	// ImportDefault accepts 0.0.0.0/0 and ::/0.
	ImportDefault
	// ImportPrefixes accepts what is named, and a default if one is named.
	ImportPrefixes
	// ImportFull accepts everything that is fit to be routed, and a default.
	ImportFull
)

// GracefulRestart configures RFC 4724 for a session.
type GracefulRestart struct {
	Enabled bool
	// RestartTime is what we announce: how long the peer shall keep our routes,
	// 1s..4095s; 0 means 120s.
	RestartTime time.Duration
	// StaleTime bounds how long paths of a peer that came back are kept until its
	// End-of-RIB; 0 means DefaultStaleTime.
	StaleTime time.Duration
	// MaxRestartTime bounds the restart time that a peer may ask of us; 0 means 300s.
	MaxRestartTime time.Duration
}

// Announcement is one prefix of ours, as one peer is told of it.
type Announcement struct {
	Prefix netip.Prefix
	// Communities (RFC 1997), as 32 bits each.
	Communities []uint32
	// MED is sent if HasMED.
	MED    uint32
	HasMED bool
	// Prepend is how often our AS is put in front once more, 0..10.
	Prepend int
}

// GracefulShutdown is the community of RFC 8326.
const GracefulShutdown uint32 = 0xffff0000

// Options are the surroundings of a [Speaker].
type Options struct {
	// Changed is called after the status changed. It must not block.
	Changed func()
	// Log is slog.Default if nil. Secrets are never logged.
	Log *slog.Logger
}
