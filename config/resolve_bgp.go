package config

import (
	"net/netip"
	"time"
)

// What a session uses where the file says nothing.
const (
	defaultBGPPort = 179
	// RFC 4271 section 10.
	defaultHoldTime = 90 * time.Second
	// RFC 4724 section 4.1 leaves it to us; two uplinks have sent a full table by then.
	defaultDeferral = 120 * time.Second
	// What is still busy after five minutes is not going to end soon.
	defaultDrainTime   = 5 * time.Minute
	defaultRestartTime = 120 * time.Second
	// RFC 8538 section 4.1.
	defaultStaleTime  = 180 * time.Second
	defaultPreference = 100
	// BCP 194 section 6.1.3.
	defaultMaxLength4 = 24
	defaultMaxLength6 = 48
)

// familyWord is the name of a family in the file.
type familyWord string

func (f familyWord) String() string { return string(f) }

const (
	ipv4Word familyWord = "ipv4"
	ipv6Word familyWord = "ipv6"
)

// beside returns the number after n, or the one before it at the end of the range.
func beside(n int64, in span) int64 {
	if n+1 > in.high {
		return n - 1
	}
	return n + 1
}

func (s resolver) bgp(path string, raw *rawBGP, protocol uint8) *BGP {
	b := &BGP{
		AS:               uint32(s.required(path+".as", raw.AS, "write your AS number, such as 64500", asNumbers)),
		RouterID:         raw.RouterID.value,
		Listen:           raw.Listen.values,
		Port:             uint16(s.fit(path+".port", raw.Port, defaultBGPPort, listenPorts)),
		ASPath:           choose(s, path+".as-path", raw.ASPath, ASPathStrict, ASPathStrict, ASPathRelax, ASPathIgnore),
		AllowOwnPrefixes: raw.AllowOwnPrefixes.value,
		Deferral:         or(raw.Deferral, defaultDeferral),
		Protocol:         uint8(s.fit(path+".protocol", raw.Protocol, beside(int64(protocol), protocols), protocols)),
		DrainTime:        or(raw.DrainTime, defaultDrainTime),
	}
	for i := range raw.Announce {
		b.Announce = append(b.Announce, s.announce(item(path+".announce", i), &raw.Announce[i]))
	}
	if raw.RPKI.on(false) {
		b.RPKI = &RPKI{Servers: raw.RPKI.Servers.values, RejectInvalid: !raw.RPKI.RejectInvalid.given || raw.RPKI.RejectInvalid.value}
	}
	return b
}

func (s resolver) announce(path string, raw *rawAnnounce) Announce {
	a := Announce{
		Prefix:      raw.Prefix.value,
		Communities: raw.Communities.values,
		When:        choose(s, path+".when", raw.When, WhenAlways, WhenAlways, WhenAnyUplinkLive, WhenInterface),
		Interface:   raw.Interface.value,
	}
	if !raw.Prefix.given {
		s.add(path+".prefix", "is missing; write the prefix that is to be announced, such as 203.0.113.0/24")
	}
	return a
}

func (s resolver) uplinkBGP(path string, raw *rawUplinkBGP) *UplinkBGP {
	b := &UplinkBGP{
		Peers:           raw.Peer.values,
		PeerAS:          uint32(s.required(path+".peer-as", raw.PeerAS, "write the AS number of the ISP, such as 64501", asNumbers)),
		Port:            uint16(s.fit(path+".port", raw.Port, defaultBGPPort, ports)),
		Import:          s.imports(path+".import", &raw.Import),
		MaxPrefixes:     int(s.fit(path+".max-prefixes", raw.MaxPrefixes, 0, prefixLimit)),
		HoldTime:        or(raw.HoldTime, defaultHoldTime),
		PasswordFile:    s.file(path+".password-file", raw.PasswordFile),
		TTLSecurity:     raw.TTLSecurity.value,
		Passive:         raw.Passive.value,
		GracefulRestart: s.restart(&raw.GracefulRestart),
		Weight:          choose(s, path+".weight", raw.Weight, WeightStatic, WeightStatic, WeightBandwidth),
		Preference:      uint32(s.fit(path+".preference", raw.Preference, defaultPreference, preferences)),
		MED:             uint32(s.fit(path+".med", raw.MED, 0, meds)),
		HasMED:          raw.MED.given,
		Prepend:         int(s.fit(path+".prepend", raw.Prepend, 0, prepends)),
		Communities:     raw.Communities.values,
		Unfit:           choose(s, path+".unfit", raw.Unfit, UnfitWithdraw, UnfitWithdraw, UnfitPrepend, UnfitTag, UnfitKeep),
	}
	if raw.LocalAS.given {
		b.LocalAS = uint32(s.fit(path+".local-as", raw.LocalAS, 0, asNumbers))
	}
	if n := raw.Multihop; n.given && n.value == 1 {
		s.add(path+".multihop", "1 is a peer on the link itself; remove it")
	} else {
		b.Multihop = uint8(s.fit(path+".multihop", n, 0, hops))
	}
	if raw.PasswordFile.given && b.PasswordFile == "" {
		s.add(path+".password-file", "names no file; write its path, or remove it to have no password")
	}
	for i, f := range raw.Families.values {
		if f == "" {
			continue // Something else than a word, which is reported.
		}
		b.Families = append(b.Families, choose(s, item(path+".families", i), text{f, true}, ipv4Word, ipv4Word, ipv6Word).String())
	}
	return b
}

// imports returns what is accepted. A section must say which mode it means, because
// a variable that sets one of its keys makes a section of a word.
func (s resolver) imports(path string, raw *rawImport) Import {
	m := Import{
		Prefixes:   raw.Prefixes.values,
		MaxLength4: int(s.fit(path+".max-length", raw.MaxLength.IPv4, defaultMaxLength4, lengths4)),
		MaxLength6: int(s.fit(path+".max-length.ipv6", raw.MaxLength.IPv6, defaultMaxLength6, lengths6)),
		PrivateAS:  raw.PrivateAS.value,
		AnyNextHop: raw.AnyNextHop.value,
	}
	byDefault := ImportDefault
	if raw.Prefixes.given {
		byDefault = ImportPrefixes
	}
	at := path
	if raw.Mode.given && raw.sectioned() {
		at += ".mode"
	}
	m.Mode = choose(s, at, raw.Mode, byDefault, ImportDefault, ImportPrefixes, ImportFull)
	if m.Mode == ImportDefault && (raw.MaxLength.IPv4.given || raw.MaxLength.IPv6.given) {
		s.add(path+".max-length", "has no effect on a default route; remove it, or write mode: full or prefixes")
	}
	if bool(raw.given) && !raw.Mode.given && !raw.Prefixes.given {
		s.add(path, "does not say what is imported; write mode: default or mode: full in it, or prefixes")
	}
	return m
}

// sectioned says whether more than the mode was written.
func (raw *rawImport) sectioned() bool {
	return raw.Prefixes.given || raw.MaxLength.IPv4.given || raw.MaxLength.IPv6.given || raw.PrivateAS.given || raw.AnyNextHop.given
}

func (s resolver) restart(raw *rawRestart) GracefulRestart {
	return GracefulRestart{
		Enabled:     raw.on(true) && (!raw.Enabled.given || raw.Enabled.value),
		RestartTime: or(raw.RestartTime, defaultRestartTime),
		StaleTime:   or(raw.StaleTime, defaultStaleTime),
	}
}

// required is fit for a number that has no default.
func (s resolver) required(path string, n number, advice string, in span) int64 {
	if !n.given {
		s.add(path, "is missing; %s", advice)
	}
	return s.fit(path, n, 0, in)
}

// peersOf returns with whom b has sessions, as far as the file says.
func (b *UplinkBGP) peersOf(u *Uplink) []netip.Addr {
	if len(b.Peers) > 0 {
		return b.Peers
	}
	var peers []netip.Addr
	for _, g := range u.Gateways {
		if b.carries(g) {
			peers = append(peers, g)
		}
	}
	return peers
}

// carries says whether the family of an address that is not a named peer is wanted.
func (b *UplinkBGP) carries(a netip.Addr) bool {
	for _, f := range b.Families {
		if f == familyWordOf(a.Is4()).String() {
			return true
		}
	}
	return len(b.Families) == 0
}

func familyWordOf(is4 bool) familyWord {
	if is4 {
		return ipv4Word
	}
	return ipv6Word
}

// families returns which families the sessions of the uplink may carry.
func (u *Uplink) bgpFamilies() (is4, is6 bool) {
	b := u.BGP
	if len(b.Peers) == 1 && len(b.Families) > 0 || len(b.Peers) == 0 && len(b.Families) > 0 && len(u.Gateways) == 0 {
		for _, f := range b.Families {
			is4, is6 = is4 || f == ipv4Word.String(), is6 || f == ipv6Word.String()
		}
		return is4, is6
	}
	peers := b.peersOf(u)
	if len(peers) == 0 {
		return len(u.Gateways) == 0, len(u.Gateways) == 0
	}
	for _, p := range peers {
		is4, is6 = is4 || p.Is4(), is6 || !p.Is4()
	}
	return is4, is6
}

// speaks says whether some uplink has a session.
func (c *Config) speaks() bool {
	for i := range c.Uplinks {
		if c.Uplinks[i].BGP != nil {
			return true
		}
	}
	return false
}

// bringsPrefixes says whether the sessions of an uplink bring more than a default.
func (b *UplinkBGP) bringsPrefixes() bool { return b.Import.Mode != ImportDefault }
