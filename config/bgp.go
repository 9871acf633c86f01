package config

import (
	"fmt"
	"net/netip"
	"time"
)

// BGP configures what all sessions have in common. Config.BGP is nil where no uplink
// has a session, whatever the file says.
type BGP struct {
	// AS is our autonomous system number, 1..4294967294.
	AS uint32
	// RouterID is our BGP identifier, an IPv4 address.
	RouterID netip.Addr
	// Listen are the addresses on which connections are accepted; empty for all. Port
	// is where, 0 for nowhere (default 179).
	Listen []netip.Addr
	Port   uint16
	// ASPath says what paths must have in common to share the traffic.
	ASPath ASPath
	// Announce are our own prefixes, in the order of the file.
	Announce []Announce
	// AllowOwnPrefixes accepts paths for our own prefixes.
	AllowOwnPrefixes bool
	// RPKI is nil where origins are not validated.
	RPKI *RPKI
	// Deferral is how long a restarted daemon waits for the tables of all peers before
	// it changes routes, 1s..1h (default 120s).
	Deferral time.Duration
	// Protocol is the route protocol number that marks the routes to prefixes, another
	// one than Config.Protocol (default Config.Protocol+1).
	Protocol uint8
	// DrainTime is how long flows of a drained uplink may go on before its session is
	// ended, 0s..24h (default 5m).
	DrainTime time.Duration
}

// ASPath says how AS paths are compared.
type ASPath uint8

// Rules for AS paths.
const (
	// ASPathStrict: paths of equal length share the traffic if they come from the same
	// neighbouring AS (default).
	ASPathStrict ASPath = iota + 1
	// ASPathRelax: equally long is enough.
	ASPathRelax
	// ASPathIgnore: the length is not looked at.
	ASPathIgnore
)

// String returns the word of the file, "unknown" for the zero value.
func (a ASPath) String() string {
	switch a {
	case 0:
		return "unknown"
	case ASPathStrict:
		return "strict"
	case ASPathRelax:
		return "relax"
	case ASPathIgnore:
		return "ignore"
	default:
		panic(fmt.Sprintf("ASPath %d does not exist", uint8(a)))
	}
}

// RPKI names the caches that validate origins.
type RPKI struct {
	// Servers as host:port.
	Servers []string
	// RejectInvalid refuses paths whose origin is invalid (default true).
	RejectInvalid bool
}

// Announce is one of our own prefixes.
type Announce struct {
	Prefix netip.Prefix
	// Communities in 32 bits each, in the order of the file.
	Communities []uint32
	When        When
	// Interface is what AnnounceInterface looks at.
	Interface string
}

// When says when a prefix is announced at all. To a single uplink it is announced as
// that uplink's Unfit says.
type When uint8

// Conditions for announcing.
const (
	// WhenAlways announces always (default).
	WhenAlways When = iota + 1
	// WhenAnyUplinkLive announces while some uplink of the family of the prefix is live.
	WhenAnyUplinkLive
	// WhenInterface announces while Interface is up and has its carrier: the site
	// behind it can be reached.
	WhenInterface
)

// String returns the word of the file, "unknown" for the zero value.
func (w When) String() string {
	switch w {
	case 0:
		return "unknown"
	case WhenAlways:
		return "always"
	case WhenAnyUplinkLive:
		return "any-uplink-live"
	case WhenInterface:
		return "interface"
	default:
		panic(fmt.Sprintf("When %d does not exist", uint8(w)))
	}
}

// UplinkBGP configures the sessions of an uplink, one per family and peer.
type UplinkBGP struct {
	// Peers: at most one per family. Empty means the gateway of each family, written
	// or learned, or the peer of a point-to-point device. Multihop sessions have some.
	Peers []netip.Addr
	// Families that the session carries; empty means the family of the peer's address.
	// With two peers it is empty, with one it may be both, and without it is one at
	// most: only the gateway of that family has a session then. So a family of an
	// uplink is carried by one session.
	Families []string
	PeerAS   uint32
	// LocalAS is our AS towards this ISP, 0 for BGP.AS.
	LocalAS uint32
	Port    uint16
	Import  Import
	// MaxPrefixes per family; 0 is derived from Import.
	MaxPrefixes int
	// HoldTime is 3s..65535s, whole seconds (default 90s).
	HoldTime time.Duration
	// PasswordFile is the absolute path of the file with the TCP MD5 password, empty
	// for none. It is not read here.
	PasswordFile string
	TTLSecurity  bool
	// Multihop is how many hops away the peer may be, 2..255; 0 for a direct peer.
	Multihop uint8
	Passive  bool
	// GracefulRestart is never nil; Enabled by default.
	GracefulRestart GracefulRestart
	// Weight says where the weight of the uplink comes from.
	Weight WeightFrom
	// Preference is the local preference of what the ISP announces (default 100).
	Preference uint32
	// MED is sent if HasMED; Prepend is how often our AS is put in front once more,
	// 0..10; Communities are added to everything that the ISP is told.
	MED         uint32
	HasMED      bool
	Prepend     int
	Communities []uint32
	// Unfit says what the ISP is told while the uplink is dead or held though the
	// session stands.
	Unfit Unfit
}

// Import is what is accepted of an ISP.
type Import struct {
	Mode ImportMode
	// Prefixes and MaxLength4, MaxLength6 (default 24 and 48).
	Prefixes               []netip.Prefix
	MaxLength4, MaxLength6 int
	// PrivateAS accepts private AS numbers in paths; AnyNextHop accepts next hops
	// other than the peer.
	PrivateAS, AnyNextHop bool
}

// ImportMode says what is asked for.
type ImportMode uint8

// Modes of import.
const (
	// ImportDefault asks for a default route (default).
	ImportDefault ImportMode = iota + 1
	// ImportPrefixes asks for named prefixes and what lies in them.
	ImportPrefixes
	// ImportFull asks for everything.
	ImportFull
)

// String returns the word of the file, "unknown" for the zero value.
func (m ImportMode) String() string {
	switch m {
	case 0:
		return "unknown"
	case ImportDefault:
		return "default"
	case ImportPrefixes:
		return "prefixes"
	case ImportFull:
		return "full"
	default:
		panic(fmt.Sprintf("ImportMode %d does not exist", uint8(m)))
	}
}

// GracefulRestart configures RFC 4724.
type GracefulRestart struct {
	Enabled bool
	// RestartTime is how long the peer shall keep our routes, 1s..4095s (default
	// 120s); StaleTime how long ours of a peer that is back wait for its End-of-RIB,
	// 1s..1h (default 180s).
	RestartTime, StaleTime time.Duration
}

// WeightFrom says where a weight comes from.
type WeightFrom uint8

// Sources of weights.
const (
	// WeightStatic is the weight of the uplink as written (default).
	WeightStatic WeightFrom = iota + 1
	// WeightBandwidth is the link bandwidth that the ISP announces, if every uplink of
	// the tier announces one.
	WeightBandwidth
)

// String returns the word of the file, "unknown" for the zero value.
func (w WeightFrom) String() string {
	switch w {
	case 0:
		return "unknown"
	case WeightStatic:
		return "static"
	case WeightBandwidth:
		return "bandwidth"
	default:
		panic(fmt.Sprintf("WeightFrom %d does not exist", uint8(w)))
	}
}

// Unfit says what an ISP is told while its uplink is not fit to carry traffic.
type Unfit uint8

// What to tell.
const (
	// UnfitWithdraw withdraws our prefixes (default).
	UnfitWithdraw Unfit = iota + 1
	// UnfitPrepend puts our AS in front three more times.
	UnfitPrepend
	// UnfitTag adds the community of graceful shutdown (RFC 8326).
	UnfitTag
	// UnfitKeep changes nothing.
	UnfitKeep
)

// String returns the word of the file, "unknown" for the zero value.
func (u Unfit) String() string {
	switch u {
	case 0:
		return "unknown"
	case UnfitWithdraw:
		return "withdraw"
	case UnfitPrepend:
		return "prepend"
	case UnfitTag:
		return "tag"
	case UnfitKeep:
		return "keep"
	default:
		panic(fmt.Sprintf("Unfit %d does not exist", uint8(u)))
	}
}
