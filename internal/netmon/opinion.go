package netmon

import (
	"fmt"
	"net/netip"
)

// Opinion is what the state of a neighbour says about it.
type Opinion uint8

// Opinions; unknown is not down.
const (
	OpinionUnknown Opinion = iota
	OpinionUp
	OpinionDown
)

// String is "unknown", "up" or "down".
func (o Opinion) String() string {
	switch o {
	case OpinionUnknown:
		return "unknown"
	case OpinionUp:
		return "up"
	case OpinionDown:
		return "down"
	default:
		return fmt.Sprintf("opinion %d", uint8(o))
	}
}

// Opinion turns the state into an opinion, with the reason in words. Only REACHABLE
// is up: a confirmation that was asked for, or progress of an upper layer (RFC 4861
// section 7.3.1). Down is a neighbour of which tries rounds of solicitations failed
// in a row (at least 1; smaller values mean 1), and it stays down, also while the
// kernel tries again or has forgotten the entry, until it is REACHABLE. All else is
// unknown, STALE for an hour as well.
func (n Neighbour) Opinion(tries int) (o Opinion, reason string) {
	switch n.State {
	case NUDReachable:
		return OpinionUp, reachableReason(n.MAC)
	case NUDPermanent:
		return OpinionUnknown, fmt.Sprintf("gateway %s has a permanent neighbour entry, which never fails: delete the entry to watch the gateway", n.Address)
	case NUDNoARP:
		return OpinionUnknown, fmt.Sprintf("gateway %s is not resolved on this link (noarp): its neighbour state says nothing", n.Address)
	case NUDAbsent, NUDIncomplete, NUDStale, NUDDelay, NUDProbe, NUDFailed:
	default:
		panic("netmon: no neighbour " + n.State.String())
	}
	if n.Failures >= max(tries, 1) {
		return OpinionDown, fmt.Sprintf("gateway %s does not answer %s (%s)", n.Address, protocolOf(n.Address), rounds(n.Failures))
	}
	return OpinionUnknown, n.unsure()
}

// unsure is why the state is no evidence in either direction.
func (n Neighbour) unsure() string {
	if !n.Address.IsValid() {
		return "not looked at yet"
	}
	if n.Failures > 0 {
		return fmt.Sprintf("gateway %s did not answer %s yet (%s), trying again", n.Address, protocolOf(n.Address), rounds(n.Failures))
	}
	switch n.State {
	case NUDAbsent:
		return fmt.Sprintf("no neighbour entry for gateway %s", n.Address)
	case NUDIncomplete:
		return fmt.Sprintf("asking for gateway %s by %s", n.Address, protocolOf(n.Address))
	case NUDStale:
		return fmt.Sprintf("gateway %s was not checked lately", n.Address)
	case NUDDelay, NUDProbe:
		return fmt.Sprintf("checking gateway %s by %s", n.Address, protocolOf(n.Address))
	case NUDFailed:
		return fmt.Sprintf("gateway %s could not be asked: its link was not ready", n.Address)
	case NUDReachable, NUDNoARP, NUDPermanent:
		return "neighbour " + n.State.String()
	default:
		panic("netmon: no neighbour " + n.State.String())
	}
}

func reachableReason(mac string) string {
	if mac == "" {
		return "reachable"
	}
	return "reachable, " + mac
}

func rounds(n int) string {
	if n == 1 {
		return "1 round of solicitations"
	}
	return fmt.Sprintf("%d rounds of solicitations", n)
}

func protocolOf(a netip.Addr) string {
	if a.Is4() {
		return "ARP"
	}
	return "neighbour discovery"
}
