package demo

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/multihomed/multihomed/internal/lab"
)

// weights of the uplinks.
var weights = map[string]int{isp1: 3, isp2: 2}

// configurationHead keeps the demo short: good news waits 2 s, and flows that
// never pause, as ours, are moved back after another 2 s.
const configurationHead = `on-exit: withdraw
hold:
  up: 2s
group:
  idle-timer: 500ms
  unbalanced-timer: 2s
uplinks:
`

// configuration writes the daemon's configuration file for a site. A
// point-to-point uplink has no gateway and no source in it: both are learned, and
// change with each session.
func configuration(s *lab.Site) (string, error) {
	var b strings.Builder
	b.WriteString(configurationHead)
	for _, a := range s.Accesses {
		targets, err := s.Targets(a.Name)
		if err != nil {
			return "", fmt.Errorf("write configuration: %w", err)
		}
		fmt.Fprintf(&b, "  - name: %s\n    interface: %s\n", a.Name, a.Device)
		if !a.PointToPoint {
			fmt.Fprintf(&b, "    gateway: %s\n", list([]netip.Addr{a.IPv4.Gateway, a.IPv6.Gateway}))
		}
		fmt.Fprintf(&b, "    weight: %d\n    icmp:\n      targets: %s\n", weights[a.Name], list(targets))
		b.WriteString("      interval: 200ms\n      timeout: 200ms\n      down: 3\n      up: 3\n")
	}
	return b.String(), nil
}

// list writes a YAML list; IPv6 addresses need the quotes.
func list(addresses []netip.Addr) string {
	var quoted []string
	for _, a := range addresses {
		quoted = append(quoted, fmt.Sprintf("%q", a))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
