package status

import "time"

// night is the moment that the examples are about.
var night = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return night.Add(-d) }

const day = 24 * time.Hour

// healthy is a site with two uplinks and nothing wrong.
func healthy() Status {
	way := func(family, gateway, source string, share float64) Way {
		targets := []string{"192.0.2.1", "192.0.2.2", "192.0.2.130"}
		if family == "ipv6" {
			targets = []string{"2001:db8:f::1", "2001:db8:f::2", "2001:db8:f::82"}
		}
		return Way{
			Family: family, Verdict: "live", Role: "active", Since: before(3*day + 4*time.Hour), Verified: true, Share: share,
			Reasons: []string{"icmp: 3 of 3 targets answer"}, Gateway: gateway, Sources: []string{source},
			Evidence: []Evidence{
				{Kind: "link", Opinion: "up", Since: before(12 * day), Reason: "carrier"},
				{Kind: "address", Opinion: "up", Since: before(12 * day), Reason: source + " is usable"},
				{Kind: "neighbour", Opinion: "up", Since: before(40 * time.Minute), Reason: "REACHABLE"},
				{Kind: "icmp", Opinion: "up", Since: before(3*day + 4*time.Hour), Reason: "3 of 3 targets answer", Targets: []Target{
					{Address: targets[0], Opinion: "up", RTT: 0.0042},
					{Address: targets[1], Opinion: "up", RTT: 0.0123, Loss: 0.005},
					{Address: targets[2], Opinion: "up", RTT: 0.1834, Loss: 0.05},
				}},
			},
		}
	}
	return Status{
		Version: "v0.1.0", Started: before(12 * day), Now: night, Config: "/etc/multihomed/multihomed.yaml", Ready: true,
		Kernel: Kernel{
			Mode: "resilient groups", InSync: true, Writes: 34, Resyncs: 288,
			LastChange: "fiber/ipv4 became live: icmp: 3 of 3 targets answer", LastChangeAt: before(3*day + 4*time.Hour),
		},
		Uplinks: []Uplink{
			{Name: "fiber", Interface: "eth1", Weight: 3, Tier: 1, Table: 201, Mark: 0x100, Ways: []Way{
				way("ipv4", "203.0.113.1", "203.0.113.2", 0.75), way("ipv6", "fe80::1", "2001:db8:1::2", 1),
			}},
			{Name: "dsl", Interface: "ppp0", Weight: 1, Tier: 1, Table: 202, Mark: 0x200, Ways: []Way{
				way("ipv4", "", "198.51.100.7", 0.25),
			}},
		},
	}
}

// broken is a site on which everything is wrong that can be.
func broken() Status {
	s := healthy()
	s.ConfigError = "/etc/multihomed/multihomed.yaml:12: uplinks[1].wieght: unknown key; did you mean \"weight\"?"
	s.Warnings = []string{"net.ipv4.conf.ppp0.rp_filter is 1: replies that come in by another uplink are dropped; set it to 2"}
	s.Kernel.InSync = false
	s.Kernel.Errors = []string{"replace next hop 22100002: Nexthop has invalid gateway: network is unreachable; retried in 4s"}
	s.Kernel.Drifts, s.Kernel.LastDrift, s.Kernel.LastDriftAt = 3, "somebody deleted rule 201 (systemd-networkd runs here)", before(90*time.Second)
	s.Kernel.LastChange, s.Kernel.LastChangeAt = "fiber/ipv4 became dead: icmp: 0 of 3 targets answer", before(133*time.Second)

	fiber := &s.Uplinks[0].Ways[0]
	fiber.Verdict, fiber.Role, fiber.Since, fiber.Share, fiber.Penalty = "dead", "standby", before(133*time.Second), 0, 1999.2
	fiber.Reasons = []string{"icmp: 0 of 3 targets answer", "neighbour: FAILED, 3 rounds without an answer"}
	fiber.Evidence[2] = Evidence{Kind: "neighbour", Opinion: "down", Since: before(125 * time.Second), Reason: "FAILED, 3 rounds without an answer"}
	icmp := &fiber.Evidence[3]
	icmp.Opinion, icmp.Since, icmp.Reason = "down", before(133*time.Second), "0 of 3 targets answer"
	icmp.Targets = []Target{
		{Address: "192.0.2.1", Opinion: "down", Reason: "3 probes in a row without an answer", RTT: 0.0042, Loss: 1},
		{Address: "192.0.2.2", Opinion: "down", Reason: "3 probes in a row without an answer", Loss: 1},
		{Address: "192.0.2.130", Opinion: "unknown", Reason: "not probed yet"},
	}
	fiber.Advice = &Advice{Redirects: 2, Unreachables: 17, Last: "host unreachable for 192.0.2.1", LastAt: before(time.Second)}

	held := &s.Uplinks[0].Ways[1]
	held.Verdict, held.Role, held.Since, held.Share = "held", "none", before(4*time.Second), 0
	held.Reasons = []string{"the evidence has been good for 4s, 10s are wanted"}

	dsl := &s.Uplinks[1].Ways[0]
	dsl.Verified, dsl.Share, dsl.Since = false, 1, before(12*day)
	dsl.Reasons = []string{"the kernel can send this way and nothing speaks against it"}
	dsl.Evidence = []Evidence{
		{Kind: "link", Opinion: "up", Since: before(12 * day), Reason: "carrier"},
		{Kind: "icmp", Opinion: "unknown", Reason: "open probe socket: operation not permitted"},
	}
	return s
}

// starting is a daemon that has just begun.
func starting() Status {
	return Status{
		Version: "v0.1.0", Started: before(300 * time.Millisecond), Now: night,
		Kernel: Kernel{Mode: "multipath routes", InSync: true, Resyncs: 1},
		Uplinks: []Uplink{{Name: "fiber", Interface: "eth1", Weight: 256, Tier: 255, Table: 4294967295, Mark: 0xff00, Ways: []Way{
			{Family: "ipv4", Verdict: "unknown", Role: "none", Reasons: []string{"nothing is known yet"}},
		}}},
	}
}
