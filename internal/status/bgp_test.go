package status

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

// peering is a site whose sessions bring full tables, and where all is well.
func peering() Status {
	s := healthy()
	s.BGP = &Speaker{
		AS: 64500, RouterID: "192.0.2.9", Speaking: true, PID: 4242, Since: before(12 * day), Starts: 1, Synced: true,
		RPKI:     []RPKICache{{Address: "192.0.2.8:3323", Up: true, Records: 512345}},
		Prefixes: &Prefixes{Table: 222, Routes: 1_012_345, Groups: 3, Written: 2_345_678},
	}
	fiber4, fiber6 := &s.Uplinks[0].Ways[0], &s.Uplinks[0].Ways[1]
	fiber4.Weight = 10
	fiber4.BGP = &BGP{
		Session: "fiber/ipv4", Peer: "203.0.113.1", Local: "203.0.113.2", PeerAS: 64501, LocalAS: 64500, Import: "full",
		State: "established", Since: before(3 * day), RouterID: "203.0.113.1", HoldTime: 90, Restart: true, RestartTime: 120,
		Negotiated: true, Synced: true, Received: 1_012_400, Accepted: 1_012_345, Used: ptr(512_000), MaxPrefixes: 2_000_000,
		Refused: map[string]int{"bogon": 50, "own-prefix": 5}, Default: "accepted", Bandwidth: 1.25e9, Announced: 2,
		Announces: []Announcement{{Prefix: "198.51.100.0/24", Communities: []string{"64501:70"}, MED: ptr(uint32(0)), Prepend: 1}, {Prefix: "203.0.113.128/25"}},
	}
	fiber4.Evidence = append(fiber4.Evidence, Evidence{Kind: "bgp", Opinion: "up", Since: before(3 * day), Reason: "established, 1012345 prefixes accepted"})
	fiber6.BGP = &BGP{
		Session: "fiber/ipv6", Peer: "fe80::1", PeerAS: 64501, LocalAS: 64500, Import: "default", State: "established", Since: before(3 * day),
		HoldTime: 9, Negotiated: true, Synced: true, Received: 1, Accepted: 1, MaxPrefixes: 100, Default: "accepted",
	}
	return s
}

// quarrel is a site on which everything is wrong with BGP that can be.
func quarrel() Status {
	s := peering()
	s.BGP.Speaking, s.BGP.PID, s.BGP.Starts, s.BGP.Trouble = false, 0, 7, "it ended: signal: killed; it is started again in 8s"
	s.BGP.Error = "listen on port 179: address already in use: does another BGP daemon run here?"
	s.BGP.Synced, s.BGP.DeferredUntil = false, night.Add(75*time.Second)
	s.BGP.RPKI[0].Up = false
	s.BGP.Prefixes.Pending, s.BGP.Prefixes.Waiting, s.BGP.Prefixes.Unclaimed = 3000, 12, 400_000
	s.BGP.Prefixes.Failed, s.BGP.Prefixes.Repaired, s.BGP.Prefixes.Error = 4, 17, "route 192.0.2.0/24: no such next hop; retried in 4s"

	fiber4, fiber6, dsl := &s.Uplinks[0].Ways[0], &s.Uplinks[0].Ways[1], &s.Uplinks[1].Ways[0]
	fiber4.Verdict, fiber4.Role = "held", "draining"
	fiber4.Drain = &Drain{
		By: "operator", Reason: "drained by the operator", Since: before(90 * time.Second), Until: night.Add(2 * time.Hour),
		ShutAt: night.Add(210 * time.Second), Busy: ptr(7),
	}
	b := fiber4.BGP
	b.Synced, b.Stale, b.Retained, b.RetainedUntil, b.Draining = false, 1_000_000, true, night.Add(time.Minute), true
	b.State, b.Since, b.Flaps = "active", before(30*time.Second), 3
	b.LastError, b.LastErrorAt = "the peer ended the session: Cease, Maximum Number of Prefixes Reached", before(30*time.Second)
	b.Trouble = "connect to 203.0.113.1: connection refused"
	b.Withheld, b.Announces, b.Announced = "the uplink is drained: its prefixes carry graceful-shutdown (65535:0)", nil, 0
	fiber4.Evidence[len(fiber4.Evidence)-1] = Evidence{
		Kind: "bgp", Opinion: "down", Since: before(30 * time.Second), Reason: "no session: connect to 203.0.113.1: connection refused",
	}
	fiber6.Drain = &Drain{By: "isp", Reason: "the ISP announces graceful shutdown (RFC 8326)", Since: before(time.Minute), Shut: true, Busy: ptr(0)}
	fiber6.BGP.Negotiated, fiber6.BGP.Received, fiber6.BGP.Accepted, fiber6.BGP.Default = false, 0, 0, "refused: its origin is invalid by RPKI"
	dsl.BGP = &BGP{Session: "dsl/ipv4", PeerAS: 64502, LocalAS: 64500, Import: "default", State: BGPClosed, Trouble: "read password: open /etc/dsl.password: no such file"}
	return s
}

// waiting is a daemon that was started again a moment ago.
func waiting() Status {
	s := peering()
	s.BGP.Synced, s.BGP.DeferredUntil = false, night.Add(75*time.Second)
	s.Uplinks[0].Ways[0].BGP.Synced = false
	s.Uplinks[0].Ways[0].BGP.Trouble = "only its default route is used: 8 sessions import more already"
	s.Uplinks = s.Uplinks[:1]
	return s
}

func TestTable_bgp(t *testing.T) {
	for name, tc := range map[string]struct {
		doc  Status
		opts TableOptions
	}{
		"bgp":            {peering(), TableOptions{Width: 100}},
		"bgp-broken":     {quarrel(), TableOptions{Width: 100}},
		"bgp-waiting":    {waiting(), TableOptions{Width: 100}},
		"bgp-unwrapped":  {quarrel(), TableOptions{}},
		"bgp-one-colour": {quarrel(), TableOptions{Width: 120, Color: true}},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, render(t, tc.doc, tc.opts)) })
	}
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("the text has changed; if that is wanted: go test -update (-want +got):\n%s", diff)
	}
}

func TestTable_bgpNeverPassesControlCharacters(t *testing.T) {
	evil := "\x1b[2Jowned\x9b\r\x00\u202e"
	s := quarrel()
	s.BGP.Trouble, s.BGP.Error, s.BGP.RPKI[0].Address, s.BGP.Prefixes.Error = evil, evil, evil, evil
	w := &s.Uplinks[0].Ways[0]
	w.Drain.Reason, w.Drain.By = evil, evil
	w.BGP = &BGP{
		Session: evil, Peer: evil, State: "established", Trouble: evil, LastError: evil, Import: evil, Default: evil, Withheld: evil,
		Refused: map[string]int{evil: 1}, Announces: []Announcement{{Prefix: evil, Communities: []string{evil}}},
	}
	var routes strings.Builder
	path := Path{Uplink: evil, Session: evil, NextHop: evil, ASPath: evil, Origin: evil, Communities: []string{evil}, Validity: evil, Rank: evil, Why: evil}
	if err := RouteTable(&routes, RouteList{Routes: []Route{{Prefix: evil, Paths: []Path{path}}}}, night, TableOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{render(t, s, TableOptions{Width: 80}), routes.String()} {
		for _, r := range got {
			if r != '\n' && (r < ' ' || r > '~') {
				t.Fatalf("%q passes in:\n%q", r, got)
			}
		}
		if !strings.Contains(got, "owned") {
			t.Error("the text itself is gone")
		}
	}
}

func TestBits(t *testing.T) {
	for octets, want := range map[float64]string{
		1: "8 bit/s", 125: "1 kbit/s", 1.25e8: "1 Gbit/s", 1.25e9: "10 Gbit/s", 3.1e6: "24.8 Mbit/s", 1.25e11: "1 Tbit/s", 2.5e14: "2000 Tbit/s",
	} {
		if got := bits(octets); got != want {
			t.Errorf("bits(%v): got %q, want %q", octets, got, want)
		}
	}
}

func TestMetrics_bgp(t *testing.T) {
	good, bad := values(t, peering()), values(t, quarrel())
	const fiber4, fiber6, dsl = "family=ipv4,uplink=fiber", "family=ipv6,uplink=fiber", "family=ipv4,uplink=dsl"
	for key, want := range map[string][2]float64{
		"multihomed_bgp_info{as=64500,router_id=192.0.2.9}":                            {1, 1},
		"multihomed_bgp_speaking{}":                                                    {1, 0},
		"multihomed_bgp_starts_total{}":                                                {1, 7},
		"multihomed_bgp_trouble{}":                                                     {0, 1},
		"multihomed_bgp_tables_complete{}":                                             {1, 0},
		"multihomed_bgp_rpki_up{cache=192.0.2.8:3323}":                                 {1, 0},
		"multihomed_bgp_rpki_records{cache=192.0.2.8:3323}":                            {512345, 512345},
		"multihomed_bgp_routes{}":                                                      {1_012_345, 1_012_345},
		"multihomed_bgp_routes_pending{}":                                              {0, 3000},
		"multihomed_bgp_routes_waiting{}":                                              {0, 12},
		"multihomed_bgp_routes_unclaimed{}":                                            {0, 400_000},
		"multihomed_bgp_route_groups{}":                                                {3, 3},
		"multihomed_bgp_route_writes_total{}":                                          {2_345_678, 2_345_678},
		"multihomed_bgp_route_failures_total{}":                                        {0, 4},
		"multihomed_bgp_route_repairs_total{}":                                         {0, 17},
		"multihomed_bgp_routes_failing{}":                                              {0, 1},
		"multihomed_bgp_state{family=ipv4,state=established,uplink=fiber}":             {1, 0},
		"multihomed_bgp_state{family=ipv4,state=active,uplink=fiber}":                  {0, 1},
		"multihomed_bgp_state_timestamp_seconds{" + fiber4 + "}":                       {float64(before(3 * day).Unix()), float64(before(30 * time.Second).Unix())},
		"multihomed_bgp_flaps_total{" + fiber4 + "}":                                   {0, 3},
		"multihomed_bgp_negotiated{" + fiber6 + "}":                                    {1, 0},
		"multihomed_bgp_synced{" + fiber4 + "}":                                        {1, 0},
		"multihomed_bgp_retained{" + fiber4 + "}":                                      {0, 1},
		"multihomed_bgp_graceful_shutdown{" + fiber4 + "}":                             {0, 1},
		"multihomed_bgp_prefixes_received{" + fiber4 + "}":                             {1_012_400, 1_012_400},
		"multihomed_bgp_prefixes_accepted{" + fiber4 + "}":                             {1_012_345, 1_012_345},
		"multihomed_bgp_prefixes_used{" + fiber4 + "}":                                 {512_000, 512_000},
		"multihomed_bgp_prefixes_stale{" + fiber4 + "}":                                {0, 1_000_000},
		"multihomed_bgp_prefixes_limit{" + fiber4 + "}":                                {2_000_000, 2_000_000},
		"multihomed_bgp_prefixes_announced{" + fiber4 + "}":                            {2, 0},
		"multihomed_bgp_prefixes_refused{family=ipv4,reason=own-prefix,uplink=fiber}":  {5, 5},
		"multihomed_bgp_bandwidth_bytes_per_second{" + fiber4 + "}":                    {1.25e9, 1.25e9},
		"multihomed_way_weight{" + fiber4 + "}":                                        {10, 10},
		"multihomed_way_role{family=ipv4,role=draining,uplink=fiber}":                  {0, 1},
		"multihomed_evidence_opinion{family=ipv4,kind=bgp,opinion=down,uplink=fiber}":  {0, 1},
		"multihomed_bgp_last_error_timestamp_seconds{" + fiber4 + "}":                  {-1, float64(before(30 * time.Second).Unix())},
		"multihomed_way_drain{by=operator,family=ipv4,uplink=fiber}":                   {-1, 1},
		"multihomed_way_drain{by=isp,family=ipv4,uplink=fiber}":                        {-1, 0},
		"multihomed_way_drain_busy_buckets{" + fiber4 + "}":                            {-1, 7},
		"multihomed_bgp_state{family=ipv4,state=closed,uplink=dsl}":                    {-1, 1},
		"multihomed_bgp_prefixes_used{" + dsl + "}":                                    {-1, -1},
		"multihomed_bgp_bandwidth_bytes_per_second{" + fiber6 + "}":                    {-1, -1},
		"multihomed_bgp_prefixes_refused{family=ipv6,reason=rpki-invalid,uplink=fiber": {-1, -1},
	} {
		for i, got := range []map[string]float64{good, bad} {
			v, there := got[key]
			if there != (want[i] >= 0) || there && v != want[i] {
				t.Errorf("%s of document %d: got %v (there: %t), want %v", key, i, v, there, want[i])
			}
		}
	}
	for key := range values(t, healthy()) {
		if strings.Contains(key, "_bgp_") || strings.Contains(key, "drain{") {
			t.Errorf("%s is there without a session", key)
		}
	}
}
