package engine

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/speaker"
	"github.com/multihomed/multihomed/internal/uplink"
)

// TestB_GR_09_B_GR_10_B_GR_16_B_9384_02_Evidence goes through everything that can be
// known of a session: what it means for the way, and what the operator reads.
func TestB_GR_09_B_GR_10_B_GR_16_B_9384_02_Evidence(t *testing.T) {
	now, later := epoch, epoch.Add(time.Minute)
	up := concluded{uplink.Up, "it was good"}
	down := concluded{uplink.Down, "it was bad"}
	type change func(*bgpView)
	with := func(all ...change) bgpView {
		v := bgpView{
			mode: config.ImportDefault, speaking: true, told: true,
			peer:   bgp.PeerStatus{Address: netip.MustParseAddr("203.0.113.1"), AS: 64501, State: bgp.Established},
			family: bgp.FamilyStatus{Family: bgp.IPv4, Negotiated: true, Synced: true, Received: 1, Accepted: 1, Default: bgp.DefaultRoute{Received: true, Accepted: true}},
		}
		for _, c := range all {
			c(&v)
		}
		return v
	}
	state := func(s bgp.State) change { return func(v *bgpView) { v.peer.State = s } }
	before := func(c concluded) change { return func(v *bgpView) { v.before = c } }
	until := func(at time.Time) change { return func(v *bgpView) { v.until = at } }
	mode := func(m config.ImportMode) change { return func(v *bgpView) { v.mode = m } }
	mute := func(v *bgpView) { v.speaking, v.lack = false, "killed by signal 9" }
	unsynced := func(v *bgpView) { v.family.Synced = false }
	trouble := func(v *bgpView) { v.peer.Trouble = "connection refused: is BGP running there?" }
	lost := func(v *bgpView) {
		v.peer.State, v.peer.Flaps, v.peer.LastError = bgp.Idle, 1, "the peer ended the session: Cease, Administrative Shutdown"
	}
	retained := func(v *bgpView) { v.family.Retained, v.family.Until = true, later }
	alive := func(v *bgpView) { v.alive = true }
	tests := []struct {
		name string
		view bgpView
		want uplink.Opinion
		// settled: what is said stands on facts.
		settled bool
		words   []string
	}{
		{"default accepted", with(), uplink.Up, true, []string{"established with 203.0.113.1 (AS 64501), default route accepted"}},
		{"default refused", with(func(v *bgpView) {
			v.family.Default = bgp.DefaultRoute{Received: true, Refused: bgp.NextHop}
		}), uplink.Down, true, []string{"but its default route is refused: the next hop is not the peer"}},
		{"no default", with(func(v *bgpView) { v.family.Default = bgp.DefaultRoute{} }), uplink.Down, true, []string{"ask the ISP for one"}},
		{"prefixes", with(mode(config.ImportPrefixes)), uplink.Up, true, []string{"prefixes accepted"}},
		{"all prefixes refused", with(mode(config.ImportPrefixes), func(v *bgpView) {
			v.family.Accepted, v.family.Refused = 0, map[bgp.Reason]int{bgp.NotAsked: 3, bgp.Bogon: 1}
		}), uplink.Down, true, []string{"everything that it announces is refused: not asked for by import"}},
		{"no prefixes", with(mode(config.ImportPrefixes), func(v *bgpView) { v.family.Accepted, v.family.Received = 0, 0 }), uplink.Down, true, []string{"announces nothing: ask the ISP"}},
		{"full", with(mode(config.ImportFull)), uplink.Up, true, []string{"table accepted"}},
		{"full, empty", with(mode(config.ImportFull), func(v *bgpView) { v.family.Accepted, v.family.Received = 0, 0 }), uplink.Down, true, []string{"announces nothing"}},
		{"not synced", with(unsynced), uplink.Down, true, []string{"has not sent its whole table yet"}},
		{"not synced, was in use", with(unsynced, until(later)), uplink.Unknown, false, []string{"awaited until 00:01:00 UTC"}},
		{"not synced, was in use long ago", with(unsynced, until(now)), uplink.Down, true, nil},
		{"not synced, was up", with(unsynced, before(up)), uplink.Up, false, []string{"sending its table again"}},
		{"not synced, retained, was down", with(unsynced, retained, before(down)), uplink.Down, true, nil},
		{"not synced, retained", with(unsynced, retained), uplink.Unknown, false, nil},
		{"graceful shutdown", with(func(v *bgpView) { v.family.Draining = true }), uplink.Up, true, []string{"graceful shutdown (RFC 8326)", "default route accepted"}},
		{"family not negotiated", with(func(v *bgpView) { v.family.Negotiated = false }), uplink.Down, true, []string{"does not speak ipv4", "ask the ISP", "bgp.families"}},

		{"never established", with(state(bgp.Active), trouble), uplink.Down, true, []string{"no session yet: connection refused"}},
		{"never established, nothing known", with(state(bgp.Connect)), uplink.Down, true, []string{"no session yet: trying 203.0.113.1 (AS 64501)"}},
		{"never established, was in use before the start", with(state(bgp.Active), trouble, until(later)), uplink.Unknown, false, []string{"no session yet: connection refused", "was in use, and the session is awaited until 00:01:00 UTC"}},
		{"never established, the deferral is over", with(state(bgp.Active), trouble, until(now)), uplink.Down, true, []string{"no session yet"}},
		{"never established, down before", with(state(bgp.Active), before(down), until(later)), uplink.Down, true, []string{"no session yet"}},
		{"another child, up before", with(state(bgp.Connect), before(up), until(later)), uplink.Up, false, []string{"awaited until"}},
		{"another child, too long", with(state(bgp.Connect), before(up), until(now)), uplink.Down, true, []string{"no session yet"}},
		{"not told of", with(func(v *bgpView) { v.told = false }), uplink.Down, true, []string{"being set up"}},

		{"lost", with(lost, before(up)), uplink.Down, true, []string{"the session was lost: the peer ended the session: Cease, Administrative Shutdown"}},
		{"lost, in use at the start", with(lost, until(later)), uplink.Down, true, nil},
		{"lost, retained, alive", with(lost, retained, alive, before(up)), uplink.Unknown, false, []string{"the session was lost", "graceful restart keeps its routes until 00:01:00 UTC", "alive"}},
		{"lost, retained, nobody vouches", with(lost, retained, before(up)), uplink.Down, true, []string{"nothing else says that the gateway is alive"}},
		{"lost, retained by another clock", with(lost, func(v *bgpView) { v.family.Retained, v.family.Until = true, now.Add(-time.Hour) }, alive), uplink.Unknown, false, []string{"the session was lost"}},
		{"lost, retained no more", with(lost, alive), uplink.Down, true, []string{"the session was lost"}},

		{"nobody speaks, nothing known", with(mute), uplink.Unknown, false, []string{"nobody speaks BGP at present: killed by signal 9"}},
		{"nobody speaks yet at a cold start", with(mute, func(v *bgpView) { v.starting = later }), uplink.Down, false, []string{"being started"}},
		{"nobody speaks, up before", with(mute, before(up), until(later)), uplink.Up, false, []string{"it was good", "nobody speaks BGP at present"}},
		{"nobody speaks for long, up before", with(mute, before(up), until(now)), uplink.Unknown, false, []string{"nobody speaks BGP", "before that: it was good"}},
		{"nobody speaks, down before", with(mute, before(down)), uplink.Down, false, []string{"it was bad", "nobody speaks BGP"}},

		{"shut, waiting for BFD", with(state(bgp.Shut), func(v *bgpView) { v.shut = "waiting for BFD" }), uplink.Down, true, []string{"no session: waiting for BFD"}},
		{"shut, drained", with(state(bgp.Shut), func(v *bgpView) { v.shut, v.drained = "drained by the operator", true }), uplink.Unknown, false, []string{"the session is shut: drained by the operator"}},
		{"undrained", with(lost, func(v *bgpView) { v.returning, v.back = later, "undrained" }), uplink.Unknown, false, []string{"undrained: ", "awaited until"}},
		{"undrained, back", with(func(v *bgpView) { v.returning = later }), uplink.Up, true, nil},
		{"undrained, too long", with(lost, func(v *bgpView) { v.returning = now }), uplink.Down, true, nil},
		{"cannot be tried", with(func(v *bgpView) { v.why = "read password file: no such file" }), uplink.Down, true, []string{"no session: read password file"}},
	}
	for _, tt := range tests {
		got, settled := bgpEvidence(tt.view, now)
		if got.opinion != tt.want || settled != tt.settled || got.reason == "" {
			t.Errorf("%s: %s (settled %t): %s", tt.name, got.opinion, settled, got.reason)
		}
		for _, w := range tt.words {
			if !strings.Contains(got.reason, w) {
				t.Errorf("%s: %q lacks %q", tt.name, got.reason, w)
			}
		}
	}
}

// TestBGPEvidence_importModes: a new mode has to say what it requires.
func TestBGPEvidence_importModes(t *testing.T) {
	for m := config.ImportDefault; m <= config.ImportFull; m++ {
		v := bgpView{mode: m, speaking: true, told: true, peer: bgp.PeerStatus{State: bgp.Established}, family: bgp.FamilyStatus{Negotiated: true, Synced: true}}
		if c, _ := bgpEvidence(v, epoch); c.opinion != uplink.Down {
			t.Errorf("%s with nothing received is %s", m, c.opinion)
		}
	}
}

// TestBFD_GA_16_GatewayAlive: any word for the gateway counts, and any against it counts
// more.
func TestBFD_GA_16_GatewayAlive(t *testing.T) {
	src := func(k uplink.Kind) uplink.Source { return uplink.Source{Way: wayA, Kind: k} }
	tell := func(all map[uplink.Kind]uplink.Opinion) uplink.Snapshot {
		s := uplink.Snapshot{}
		for k, o := range all {
			s[src(k)] = uplink.Evidence{Source: src(k), Opinion: o}
		}
		return s
	}
	targets := func(all ...uplink.Opinion) uplink.Snapshot {
		e := uplink.Evidence{Source: src(uplink.KindICMP)}
		for _, o := range all {
			e.Targets = append(e.Targets, uplink.Target{Opinion: o})
		}
		return uplink.Snapshot{e.Source: e}
	}
	for name, tt := range map[string]struct {
		board uplink.Snapshot
		want  bool
	}{
		"nothing":                     {uplink.Snapshot{}, false},
		"a carrier is not enough":     {tell(map[uplink.Kind]uplink.Opinion{uplink.KindLink: uplink.Up, uplink.KindAddress: uplink.Up}), false},
		"BFD":                         {tell(map[uplink.Kind]uplink.Opinion{uplink.KindBFD: uplink.Up}), true},
		"neighbour":                   {tell(map[uplink.Kind]uplink.Opinion{uplink.KindNeighbour: uplink.Up}), true},
		"BFD up and neighbour down":   {tell(map[uplink.Kind]uplink.Opinion{uplink.KindBFD: uplink.Up, uplink.KindNeighbour: uplink.Down}), false},
		"neighbour up, no carrier":    {tell(map[uplink.Kind]uplink.Opinion{uplink.KindLink: uplink.Down, uplink.KindNeighbour: uplink.Up}), false},
		"its own word does not count": {tell(map[uplink.Kind]uplink.Opinion{uplink.KindBGP: uplink.Up}), false},
		"one target of two answers":   {targets(uplink.Down, uplink.Up), true},
		"no target answers":           {targets(uplink.Down, uplink.Down), false},
		"targets not asked yet":       {targets(uplink.Unknown, uplink.Down), false},
	} {
		if got := gatewayAlive(wayA, tt.board); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
		if gatewayAlive(uplink.Way{Uplink: "a", Family: fib.IPv6}, tt.board) {
			t.Errorf("%s: the other family is alive", name)
		}
	}
}

// TestBGPEvidence_lack: there is always a reason.
func TestBGPEvidence_lack(t *testing.T) {
	if lackOf(speaker.Status{}) == "" || lackOf(speaker.Status{Trouble: "x"}) != "x" || orWords("", "") == "" || orWords("", "b") != "b" || orWords("a", "b") != "a" {
		t.Error("a reason is missing")
	}
}
