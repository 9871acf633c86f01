package config

// rawBGP is what all sessions have in common.
type rawBGP struct {
	toggle
	AS               number        `key:"as"`
	RouterID         host          `key:"router-id"`
	Listen           addresses     `key:"listen"`
	Port             number        `key:"port"`
	ASPath           text          `key:"as-path"`
	Announce         []rawAnnounce `key:"announce"`
	AllowOwnPrefixes flag          `key:"allow-own-prefixes"`
	RPKI             rawRPKI       `key:"rpki"`
	Deferral         duration      `key:"deferral"`
	Protocol         number        `key:"protocol"`
	DrainTime        duration      `key:"drain-time"`
}

// rawAnnounce may be written as its prefix alone.
type rawAnnounce struct {
	Prefix      network     `key:"prefix"`
	Communities communities `key:"communities"`
	When        text        `key:"when"`
	Interface   text        `key:"interface"`
}

func (*rawAnnounce) short() string { return "prefix" }

type rawRPKI struct {
	toggle
	Servers       words `key:"servers"`
	RejectInvalid flag  `key:"reject-invalid"`
}

// rawUplinkBGP is the sessions of an uplink.
type rawUplinkBGP struct {
	toggle
	Peer            addresses   `key:"peer"`
	PeerAS          number      `key:"peer-as"`
	LocalAS         number      `key:"local-as"`
	Families        words       `key:"families"`
	Port            number      `key:"port"`
	Import          rawImport   `key:"import"`
	MaxPrefixes     number      `key:"max-prefixes"`
	HoldTime        duration    `key:"hold-time"`
	PasswordFile    text        `key:"password-file"`
	TTLSecurity     flag        `key:"ttl-security"`
	Multihop        number      `key:"multihop"`
	Passive         flag        `key:"passive"`
	GracefulRestart rawRestart  `key:"graceful-restart"`
	Weight          text        `key:"weight"`
	Preference      number      `key:"preference"`
	MED             number      `key:"med"`
	Prepend         number      `key:"prepend"`
	Communities     communities `key:"communities"`
	Unfit           text        `key:"unfit"`
}

// rawImport may be written as its mode alone.
type rawImport struct {
	given
	Mode       text         `key:"mode"`
	Prefixes   prefixes     `key:"prefixes"`
	MaxLength  rawMaxLength `key:"max-length"`
	PrivateAS  flag         `key:"private-as"`
	AnyNextHop flag         `key:"any-next-hop"`
}

func (*rawImport) short() string { return "mode" }

// rawMaxLength may be written as the length for IPv4 alone.
type rawMaxLength struct {
	IPv4 number `key:"ipv4"`
	IPv6 number `key:"ipv6"`
}

func (*rawMaxLength) short() string { return "ipv4" }

type rawRestart struct {
	toggle
	Enabled     flag     `key:"enabled"`
	RestartTime duration `key:"restart-time"`
	StaleTime   duration `key:"stale-time"`
}

// shorthand is a section that may also be written as the value of one of its keys.
type shorthand interface{ short() (key string) }

// given notes that a section is there.
type given bool

func (g *given) note() { *g = true }

type noted interface{ note() }
