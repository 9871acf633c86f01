package engine

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// TestGrace: the last learned gateway is used on for a moment, in IPv4, and only where
// nothing but the missed route speaks against it.
func TestGrace(t *testing.T) {
	const fine = "eth1 2 203.0.113.2/24 2001:db8:1::2/64"
	tests := []struct {
		name    string
		host    string
		gateway string // what is learned after it
		after   time.Duration
		v4, v6  string
	}{
		{"at once", fine, "", 0, "live active", "dead none"},
		{"before the end", fine, "", gatewayGrace - time.Millisecond, "live active", "dead none"},
		{"at the end", fine, "", gatewayGrace, "dead none", "dead none"},
		{"another gateway", fine, "203.0.113.9", time.Minute, "live active", "dead none"},
		{"no carrier", fine + " nocarrier", "", 0, "dead none", "dead none"},
		{"no address", "eth1 2", "", 0, "dead none", "dead none"},
		{"another device of that name", strings.Replace(fine, " 2 ", " 7 ", 1), "", 0, "dead none", "dead none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, "uplinks: [{name: a, interface: eth1}]",
				learned(learned(hostOf(t, fine), "eth1", "203.0.113.1"), "eth1", "fe80::1"))
			b.pass(time.Minute)
			s := hostOf(t, tt.host)
			if tt.gateway != "" {
				s = learned(s, "eth1", tt.gateway)
			}
			b.host.see(s)
			b.pass(tt.after)
			if got := b.verdict("a", fib.IPv4); got != tt.v4 {
				t.Errorf("a/ipv4 is %s, want %s", got, tt.v4)
			}
			if got := b.verdict("a", fib.IPv6); got != tt.v6 {
				t.Errorf("a/ipv6 is %s, want %s", got, tt.v6)
			}
			if tt.after == 0 && tt.v4 == "live active" {
				e := b.board.Snapshot()[uplink.Source{Way: wayA, Kind: uplink.KindGateway}]
				if e.Opinion != uplink.Unknown || !strings.Contains(e.Reason, "the last one (203.0.113.1) is used on for up to 5s") {
					t.Errorf("the gateway is %s: %s", e.Opinion, e.Reason)
				}
			}
		})
	}
}

// TestGrace_eachTime: a route that came back may be missed for as long again.
func TestGrace_eachTime(t *testing.T) {
	there := func() *netmon.Snapshot { return learned(hostOf(t, "eth1 2 203.0.113.2/24"), "eth1", "203.0.113.1") }
	b := newBench(t, "uplinks: [{name: a, interface: eth1}]", there())
	for range 5 {
		b.pass(time.Second)
		b.host.see(hostOf(t, "eth1 2 203.0.113.2/24"))
		b.pass(3 * time.Second)
		if got := b.verdict("a", fib.IPv4); got != "live active" {
			t.Fatalf("a is %s", got)
		}
		b.host.see(there())
	}
}

// TestGrace_neighbour: a gateway that does not answer does not recover by being missed.
func TestGrace_neighbour(t *testing.T) {
	silent := func(s *netmon.Snapshot) *netmon.Snapshot {
		a := netip.MustParseAddr("203.0.113.1")
		s.Neighbours[netmon.NeighbourKey{LinkIndex: 2, Address: a}] = netmon.Neighbour{Address: a, State: netmon.NUDFailed, Failures: 3}
		return s
	}
	b := newBench(t, "uplinks: [{name: a, interface: eth1}, {name: b, interface: eth2, gateway: 198.51.100.1}]",
		silent(learned(hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24"), "eth1", "203.0.113.1")))
	b.turn()
	watched := len(b.watching.Neighbours)
	b.host.see(silent(hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24")))
	b.pass(time.Second)
	if got := b.verdict("a", fib.IPv4); got != "dead standby" || len(b.watching.Neighbours) != watched {
		t.Errorf("a is %s, %d neighbours are watched: %s", got, len(b.watching.Neighbours), b.verdicts[wayA].Why())
	}
	if _, ok := b.board.Snapshot()[uplink.Source{Way: wayA, Kind: uplink.KindNeighbour}]; !ok {
		t.Error("the neighbour was forgotten")
	}
}
