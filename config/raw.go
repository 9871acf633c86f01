package config

// The raw types mirror the file: one field per key, in the order in which the
// reference explains them. The keys that the decoder, the environment and the
// suggestions know are read from here and nowhere else.

type rawConfig struct {
	Protocol number      `key:"protocol"`
	Tables   rawTables   `key:"tables"`
	Rules    rawRules    `key:"rules"`
	Marks    rawMarks    `key:"marks"`
	NextHops rawNextHops `key:"next-hops"`
	OnExit   text        `key:"on-exit"`
	AllDead  text        `key:"all-dead"`
	Hold     rawHold     `key:"hold"`
	Group    rawGroup    `key:"group"`
	BGP      rawBGP      `key:"bgp"`
	Uplinks  []rawUplink `key:"uplinks"`
}

type rawTables struct {
	Balance  number `key:"balance"`
	Uplinks  number `key:"uplinks"`
	Prefixes number `key:"prefixes"`
}

type rawRules struct {
	Main    number `key:"main"`
	Source  number `key:"source"`
	Mark    number `key:"mark"`
	Balance number `key:"balance"`
}

type rawMarks struct {
	Base number `key:"base"`
	Mask number `key:"mask"`
}

type rawNextHops struct {
	Base number `key:"base"`
}

type rawHold struct {
	Up              duration `key:"up"`
	PenaltyHalfLife duration `key:"penalty-half-life"`
	Suppress        fraction `key:"suppress"`
	Reuse           fraction `key:"reuse"`
}

type rawGroup struct {
	IdleTimer       duration `key:"idle-timer"`
	UnbalancedTimer duration `key:"unbalanced-timer"`
}

type rawUplink struct {
	Name      text         `key:"name"`
	Interface text         `key:"interface"`
	Gateway   addresses    `key:"gateway"`
	OnLink    flag         `key:"on-link"`
	Source    prefixes     `key:"source"`
	Weight    number       `key:"weight"`
	Tier      number       `key:"tier"`
	Table     number       `key:"table"`
	Mark      number       `key:"mark"`
	Neighbour rawNeighbour `key:"neighbour"`
	ICMP      rawICMP      `key:"icmp"`
	BFD       rawBFD       `key:"bfd"`
	BGP       rawUplinkBGP `key:"bgp"`
}

type rawNeighbour struct {
	toggle
	Interval duration `key:"interval"`
	Tries    number   `key:"tries"`
}

type rawICMP struct {
	toggle
	Targets      addresses `key:"targets"`
	Quorum       number    `key:"quorum"`
	Interval     duration  `key:"interval"`
	Timeout      duration  `key:"timeout"`
	Down         number    `key:"down"`
	Up           number    `key:"up"`
	Loss         share     `key:"loss"`
	LossLeave    share     `key:"loss-leave"`
	Latency      duration  `key:"latency"`
	LatencyLeave duration  `key:"latency-leave"`
}

type rawBFD struct {
	toggle
	Mode       text       `key:"mode"`
	Peer       addresses  `key:"peer"`
	Interval   duration   `key:"interval"`
	Multiplier number     `key:"multiplier"`
	Multihop   flag       `key:"multihop"`
	MinTTL     number     `key:"min-ttl"`
	Passive    flag       `key:"passive"`
	Require    flag       `key:"require"`
	EchoSource addresses  `key:"echo-source"`
	Auth       rawBFDAuth `key:"auth"`
}

type rawBFDAuth struct {
	toggle
	Type    text   `key:"type"`
	KeyID   number `key:"key-id"`
	KeyFile text   `key:"key-file"`
}

// toggle makes a section that may also be true, false or empty: its presence
// means something.
type toggle struct {
	flag
}

// on says whether the section is wanted: absent gives the default.
func (t toggle) on(byDefault bool) bool {
	if t.given {
		return t.value
	}
	return byDefault
}

// switchTo is set by the decoder for a section that is there.
func (t *toggle) switchTo(on bool) { t.value, t.given = on, true }

type switched interface{ switchTo(on bool) }
