package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// TestNewSite_members: which families an uplink has, and what of them is configured.
func TestNewSite_members(t *testing.T) {
	tests := []struct {
		name, uplink string
		want         []string
	}{
		{"a gateway of each family", `gateway: ["203.0.113.1", "2001:db8:1::1"]`, []string{
			"a/ipv4 via 203.0.113.1 from [] asks [] quorum 0 optional false",
			"a/ipv6 via 2001:db8:1::1 from [] asks [] quorum 0 optional false",
		}},
		{"one gateway is one family", `gateway: "2001:db8:1::1"`, []string{
			"a/ipv6 via 2001:db8:1::1 from [] asks [] quorum 0 optional false",
		}},
		{"learned: whatever the host has", `tier: 1`, []string{
			"a/ipv4 via invalid IP from [] asks [] quorum 0 optional true",
			"a/ipv6 via invalid IP from [] asks [] quorum 0 optional true",
		}},
		{"learned, with a source: that family is wanted", `source: ["203.0.113.2/32"]`, []string{
			"a/ipv4 via invalid IP from [203.0.113.2/32] asks [] quorum 0 optional false",
			"a/ipv6 via invalid IP from [] asks [] quorum 0 optional true",
		}},
		{"sources and targets go by family", `gateway: ["203.0.113.1", "2001:db8:1::1"], source: ["203.0.113.2/32", "2001:db8:9::/48"], ` +
			`icmp: {targets: ["192.0.2.1", "2001:db8::1", "192.0.2.2"], quorum: 1}`, []string{
			"a/ipv4 via 203.0.113.1 from [203.0.113.2/32] asks [192.0.2.1 192.0.2.2] quorum 1 optional false",
			"a/ipv6 via 2001:db8:1::1 from [2001:db8:9::/48] asks [2001:db8::1] quorum 1 optional false",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(parseConfig(t, "uplinks: [{name: a, interface: eth1, "+tt.uplink+"}]"))
			var got []string
			for i, m := range s.members {
				got = append(got, fmt.Sprintf("%s via %s from %v asks %v quorum %d optional %t", m.Way, m.gateway, m.sources, m.targets, m.Quorum, m.optional))
				if diff := cmp.Diff(m.Member, s.policy.Members[i]); diff != "" {
					t.Errorf("the policy has another member: %s", diff)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestNewSite_numbers: every number of the configuration reaches its place.
func TestNewSite_numbers(t *testing.T) {
	s := newSite(parseConfig(t, `
protocol: 222
tables: {uplinks: 1000, balance: 2000}
rules: {main: 100, source: 200, mark: 300, balance: 400}
marks: {base: 0x1, mask: 0xf}
next-hops: {base: 7000000}
all-dead: keep-all
hold: {up: 7s, penalty-half-life: 11s, suppress: 2000, reuse: 500}
group: {idle-timer: 3s, unbalanced-timer: 5s}
uplinks:
  - {name: a, interface: eth1, gateway: 203.0.113.1, weight: 3, tier: 2, on-link: true, table: 1234, mark: 0x7}
  - {name: b, interface: eth2, gateway: 198.51.100.1}
`))
	wantLayout := uplink.Layout{
		BalanceTable: 2000, Prefixes: 2001, Priorities: uplink.Priorities{Main: 100, Source: 200, Mark: 300, Balance: 400},
		MarkMask: 0xf, NextHopBase: 7000000, IdleTimer: 3 * time.Second, UnbalancedTimer: 5 * time.Second,
		Uplinks: []uplink.Place{
			{Name: "a", Table: 1234, Mark: 7, Weight: 3, OnLink: true},
			{Name: "b", Table: 1001, Mark: 2, Weight: 1},
		},
	}
	if diff := cmp.Diff(wantLayout, s.layout); diff != "" {
		t.Errorf("layout -want +got:\n%s", diff)
	}
	s.policy.Members = s.policy.Members[:1]
	wantPolicy := uplink.Policy{
		HoldUp: 7 * time.Second, AllDead: uplink.KeepAll,
		Damping: uplink.Damping{HalfLife: 11 * time.Second, Suppress: 2000, Reuse: 500},
		Members: []uplink.Member{{Way: wayA, Tier: 2, Weight: 3}},
	}
	if diff := cmp.Diff(wantPolicy, s.policy); diff != "" {
		t.Errorf("policy -want +got:\n%s", diff)
	}
	if s.owner.Protocol != 222 || s.owner.NextHops.First != 7000000 {
		t.Errorf("owner is %+v", s.owner)
	}
}

func TestAllDead(t *testing.T) {
	for from, want := range map[config.AllDead]struct {
		policy     uplink.AllDead
		failClosed bool
	}{
		config.KeepLast: {uplink.KeepLast, false}, config.KeepAll: {uplink.KeepAll, false}, config.WithdrawAll: {uplink.FailClosed, true},
	} {
		s := newSite(parseConfig(t, "all-dead: "+from.String()+"\nuplinks: [{name: a, interface: eth1}]"))
		if s.policy.AllDead != want.policy || s.layout.FailClosed != want.failClosed {
			t.Errorf("%s becomes %d, guard %t", from, s.policy.AllDead, s.layout.FailClosed)
		}
	}
}

// TestSite_watch: what the monitor is asked for, before anybody has looked and after.
func TestSite_watch(t *testing.T) {
	s := newSite(parseConfig(t, `
protocol: 222
uplinks:
  - {name: a, interface: eth1, gateway: [203.0.113.1, "fe80::1"], neighbour: {interval: 3s}}
  - {name: b, interface: eth2, neighbour: {interval: 4s}}
  - {name: c, interface: eth3, gateway: 198.51.100.1, neighbour: false}
  - {name: d, interface: ppp0}
`))
	gateway := netip.MustParseAddr("203.0.113.1")
	before := netmon.Config{OwnProtocol: 222, LearnFrom: []string{"eth2", "ppp0"}, Neighbours: []netmon.Watch{
		{Link: "eth1", Address: gateway, Interval: 3 * time.Second},
		{Link: "eth1", Address: netip.MustParseAddr("fe80::1"), Interval: 3 * time.Second},
	}}
	equal := cmp.Comparer(func(x, y netip.Addr) bool { return x == y })
	if diff := cmp.Diff(before, s.watch(nil), equal); diff != "" {
		t.Errorf("before the first look -want +got:\n%s", diff)
	}
	views := map[uplink.Way]view{}
	host := learned(hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.7/24", "eth3 4 198.51.100.2/24", "ppp0 5 10.9.0.2/32 p2p"), "eth2", "198.51.100.254")
	for _, m := range s.members {
		views[m.Way] = s.look(m, host)
	}
	after := before
	after.Neighbours = append(after.Neighbours[:2:2], netmon.Watch{Link: "eth2", Address: netip.MustParseAddr("198.51.100.254"), Interval: 4 * time.Second})
	if diff := cmp.Diff(after, s.watch(views), equal); diff != "" {
		t.Errorf("after a look -want +got:\n%s", diff)
	}
	if equalWatch(before, after) || !equalWatch(after, s.watch(views)) {
		t.Error("equalWatch is wrong")
	}
}
