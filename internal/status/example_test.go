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
	fiber4 := way("ipv4", "203.0.113.1", "203.0.113.2", 0.75)
	fiber4.BFD = &BFD{
		Mode: "async", Peer: "203.0.113.1", Local: "203.0.113.2", State: "up", Since: before(3 * day), Diagnostic: "none",
		RemoteState: "up", RemoteDiagnostic: "none", LocalDiscriminator: 0x1234, RemoteDiscriminator: 0x5678,
		TxInterval: 0.05, RxInterval: 0.05, DetectionTime: 0.15, Multiplier: 3, RemoteMultiplier: 3, Backoff: 1,
		Sent: 5_184_000, Received: 5_183_990, LastReceived: before(20 * time.Millisecond), Ups: 1, WorstLateness: 0.0021, Auth: "meticulous-sha1",
	}
	fiber4.Evidence = append(fiber4.Evidence, Evidence{
		Kind: "bfd", Opinion: "up", Since: before(3 * day), Reason: "up with 203.0.113.1, silence is noticed after 150ms",
	})
	return Status{
		Version: "v0.1.0", Started: before(12 * day), Now: night, Config: "/etc/multihomed/multihomed.yaml", Ready: true,
		Kernel: Kernel{
			Mode: "resilient groups", InSync: true, Writes: 34, Resyncs: 288,
			LastChange: "fiber/ipv4 became live: icmp: 3 of 3 targets answer", LastChangeAt: before(3*day + 4*time.Hour),
		},
		Uplinks: []Uplink{
			{Name: "fiber", Interface: "eth1", Weight: 3, Tier: 1, Table: 201, Mark: 0x100, Ways: []Way{
				fiber4, way("ipv6", "fe80::1", "2001:db8:1::2", 1),
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

	fiber.Evidence[4] = Evidence{
		Kind: "bfd", Opinion: "down", Since: before(133 * time.Second),
		Reason: "nothing heard from 203.0.113.1 any more (detection time expired)",
	}
	b := fiber.BFD
	b.State, b.Since, b.Diagnostic, b.Failures, b.TxInterval = "down", before(133*time.Second), "detection time expired", 1, 1
	b.Polling, b.Dropped = true, map[string]uint64{"ttl": 4, "auth-digest": 12}

	held := &s.Uplinks[0].Ways[1]
	held.BFD = &BFD{
		Mode: "echo", Peer: "fe80::1", Local: "2001:db8:1::2", EchoSource: "2001:db8:7::7", State: "up", Since: before(4 * time.Second),
		TxInterval: 0.02, DetectionTime: 0.1, Multiplier: 5, Backoff: 1, Sent: 200, Received: 199, Ups: 2, Failures: 2, RTT: 0.0043, Auth: "none",
	}
	held.Evidence = append(held.Evidence, Evidence{
		Kind: "bfd", Opinion: "up", Since: before(4 * time.Second), Reason: "up with fe80::1, silence is noticed after 100ms",
	})
	held.Verdict, held.Role, held.Since, held.Share = "held", "none", before(4*time.Second), 0
	held.Reasons = []string{"the evidence has been good for 4s, 10s are wanted"}

	dsl := &s.Uplinks[1].Ways[0]
	dsl.Verified, dsl.Share, dsl.Since = false, 1, before(12*day)
	dsl.Reasons = []string{"the kernel can send this way and nothing speaks against it"}
	dsl.BFD = &BFD{Mode: "async", Multihop: true, State: BFDClosed, Auth: "sha1", Multiplier: 3, Problem: "not opened: open /etc/bfd.key: no such file"}
	dsl.Evidence = []Evidence{
		{Kind: "bfd", Opinion: "unknown", Reason: "not opened: open /etc/bfd.key: no such file"},
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
