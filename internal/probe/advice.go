package probe

import (
	"fmt"
	"net/netip"
	"time"
)

// heed counts a message as advice if the gateway sent it (RFC 1122 section
// 3.3.1.4), and reports whether it did. Advice never touches an opinion.
func (a *Advice) heed(m message, from, gateway netip.Addr, v6 bool, now time.Time) bool {
	if !gateway.IsValid() || from.WithZone("") != gateway.WithZone("") {
		return false
	}
	switch m.kind {
	case messageUnreachable:
		a.Unreachables++
		a.Last = fmt.Sprintf("%s for %s", unreachableWords(v6, m.code), m.destination)
	case messageRedirect:
		a.Redirects++
		a.Last = fmt.Sprintf("redirect for %s to %s", m.destination, m.router)
	case messageReply:
		return false
	case messageUnknown:
		panic("probe: message without a kind")
	default:
		panic(fmt.Sprintf("probe: unhandled message kind %d", uint8(m.kind)))
	}
	a.LastAt = now
	return true
}
