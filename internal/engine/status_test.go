package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/status"
	"github.com/multihomed/multihomed/internal/uplink"
)

// fiberSite is a site of two lines and a backup, with probes.
const fiberSite = `
hold: {up: 10s}
uplinks:
  - {name: fiber, interface: eth1, gateway: [203.0.113.1, "2001:db8:1::1"], weight: 3, icmp: {targets: [192.0.2.1, 192.0.2.2, 192.0.2.3]}}
  - {name: cable, interface: eth2, gateway: 198.51.100.1, icmp: {targets: [192.0.2.1, 192.0.2.2, 192.0.2.3]}}
  - {name: lte, interface: wwan0, tier: 2}
`

func wayOf(t *testing.T, s status.Status, name, family string) status.Way {
	t.Helper()
	for _, u := range s.Uplinks {
		for _, w := range u.Ways {
			if u.Name == name && w.Family == family {
				return w
			}
		}
	}
	t.Fatalf("%s/%s is not in the status", name, family)
	return status.Way{}
}

func evidenceOf(t *testing.T, w status.Way, kind string) status.Evidence {
	t.Helper()
	for _, e := range w.Evidence {
		if e.Kind == kind {
			return e
		}
	}
	t.Fatalf("no %s evidence in %+v", kind, w.Evidence)
	return status.Evidence{}
}

// say lets the targets of an uplink answer or not.
func (b *bench) say(name string, opinions ...probe.Opinion) {
	for i := len(b.started) - 1; i >= 0; i-- {
		p := b.started[i]
		if p.config.Uplink != name || len(p.config.Targets) == 0 {
			continue
		}
		r := probe.Report{Uplink: name, Advice: probe.Advice{Unreachables: 1, Last: "no route", LastAt: epoch}}
		for k, o := range opinions {
			r.Targets = append(r.Targets, probe.Target{Address: p.config.Targets[k], Opinion: o, Since: b.now, Reason: "told so", RTT: 20 * time.Millisecond, Loss: 0.25})
		}
		p.report(r)
		b.turn()
		return
	}
	b.t.Fatalf("%s has no prober", name)
}

// TestStatus_golden: the whole document of a site with everything in it.
func TestStatus_golden(t *testing.T) {
	host := hostOf(t, "eth1 2 203.0.113.2/24 2001:db8:1::2/64", "eth2 3 198.51.100.2/24", "wwan0 4 p2p 10.9.0.2/32")
	n := netmon.NeighbourKey{LinkIndex: 2, Address: host.Links["eth1"].Addresses[0].Prefix.Addr().Prev()}
	host.Neighbours[n] = netmon.Neighbour{Address: n.Address, State: netmon.NUDReachable, Router: true, MAC: "02:00:00:00:00:01"}
	b := newBench(t, fiberSite, host)
	b.pass(time.Second)
	b.say("fiber", probe.Up, probe.Up, probe.Down)
	b.say("cable", probe.Down, probe.Up, probe.Down)
	b.pass(5 * time.Second)
	s := b.Status()
	// What depends on when the test runs.
	s.Now, s.Started = epoch, epoch
	for i := range s.Uplinks {
		for k := range s.Uplinks[i].Ways {
			for n := range s.Uplinks[i].Ways[k].Evidence {
				s.Uplinks[i].Ways[k].Evidence[n].Since = epoch
			}
			if w := &s.Uplinks[i].Ways[k]; w.Penalty != 0 {
				w.Penalty = 1 // It decays until the day of the test.
			}
		}
	}
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "status.json")
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(content(t, file), string(got)+"\n"); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestStatus_targets: the opinion on targets is the one that the verdict was drawn from,
// with its quorum and its excuses, whatever the majority says.
func TestStatus_targets(t *testing.T) {
	up, down, unknown := probe.Up, probe.Down, probe.Unknown
	all := func(o probe.Opinion) []probe.Opinion { return []probe.Opinion{o, o, o} }
	tests := []struct {
		name, quorum string
		fiber, cable []probe.Opinion
		opinion      string
		reason       string
	}{
		{"all answer", "", all(up), all(up), "up", "3 of 3 targets answer, 2 needed"},
		{"the majority answers", "", []probe.Opinion{up, up, down}, all(up), "up", "2 of 3 targets answer, 2 needed"},
		{"the majority does not", "", []probe.Opinion{up, down, down}, all(up), "down", "1 of 3 targets answer, 2 needed; 192.0.2.2: told so"},
		{"not known yet", "", all(unknown), all(up), "unknown", "0 of 3 targets answer, 2 needed"},
		{"one is enough", "quorum: 1, ", []probe.Opinion{up, down, down}, all(up), "up", "1 of 3 targets answer, 1 needed"},
		{"all must answer", "quorum: 3, ", []probe.Opinion{up, up, down}, all(up), "down", "2 of 3 targets answer, 3 needed; 192.0.2.3: told so"},
		{"dead everywhere is the targets' fault", "", all(down), all(down), "unknown", "all targets (3) went dead through every uplink at once: their fault"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24")
			text := "uplinks:\n  - {name: fiber, interface: eth1, gateway: 203.0.113.1, neighbour: false, icmp: {QUORUMtargets: [192.0.2.1, 192.0.2.2, 192.0.2.3]}}\n" +
				"  - {name: cable, interface: eth2, gateway: 198.51.100.1, icmp: {targets: [192.0.2.1, 192.0.2.2, 192.0.2.3]}}\n"
			b := newBench(t, replaced(text, "QUORUM", tt.quorum), host)
			b.now = time.Now() // Status has the time of the day.
			b.turn()
			b.say("cable", tt.cable...)
			b.say("fiber", tt.fiber...)
			w := wayOf(t, b.Status(), "fiber", "ipv4")
			if e := evidenceOf(t, w, "icmp"); e.Opinion != tt.opinion || e.Reason != tt.reason {
				t.Errorf("icmp is %s: %s, want %s: %s", e.Opinion, e.Reason, tt.opinion, tt.reason)
			}
			if (w.Verdict == "dead") != (tt.opinion == "down") {
				t.Errorf("the verdict is %s (%s)", w.Verdict, w.Reasons)
			}
		})
	}
}

// TestStatus_excuseLasts: a target that was excused stays so for a moment after another
// uplink has seen it again, in the status as in the verdict.
func TestStatus_excuseLasts(t *testing.T) {
	host := hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24")
	b := newBench(t, "uplinks:\n  - {name: fiber, interface: eth1, gateway: 203.0.113.1, icmp: {targets: [192.0.2.1]}}\n"+
		"  - {name: cable, interface: eth2, gateway: 198.51.100.1, icmp: {targets: [192.0.2.1]}}\n", host)
	b.now = time.Now()
	b.turn()
	for _, o := range []probe.Opinion{probe.Up, probe.Down} {
		b.say("fiber", o)
		b.say("cable", o)
	}
	b.now = time.Now()
	b.say("cable", probe.Up)
	w := wayOf(t, b.Status(), "fiber", "ipv4")
	if e := evidenceOf(t, w, "icmp"); w.Verdict != "live" || e.Opinion != "unknown" {
		t.Errorf("fiber is %s, icmp %s: %s", w.Verdict, e.Opinion, e.Reason)
	}
}

// TestStatus_cannotProbe: why nothing is known of targets is shown.
func TestStatus_cannotProbe(t *testing.T) {
	b := newBench(t, fiberSite, hostOf(t, "eth1 2 203.0.113.2/24"))
	b.turn()
	b.started[0].report(probe.Report{Err: errTest, Targets: []probe.Target{{Address: b.site.members[0].targets[0], Reason: "cannot probe: told to fail"}}})
	e := evidenceOf(t, wayOf(t, b.Status(), "fiber", "ipv4"), "icmp")
	if e.Opinion != "unknown" || e.Reason != "cannot probe: told to fail" {
		t.Errorf("got %s: %s", e.Opinion, e.Reason)
	}
}

// TestStatus_shares: of the new flows of a family, by weight, among those in use.
func TestStatus_shares(t *testing.T) {
	b := newBench(t, fiberSite, hostOf(t, "eth1 2 203.0.113.2/24 2001:db8:1::2/64", "eth2 3 198.51.100.2/24", "wwan0 4 p2p 10.9.0.2/32"))
	b.pass(time.Second)
	shares := func() []float64 {
		s := b.Status()
		return []float64{
			wayOf(t, s, "fiber", "ipv4").Share, wayOf(t, s, "fiber", "ipv6").Share,
			wayOf(t, s, "cable", "ipv4").Share, wayOf(t, s, "lte", "ipv4").Share,
		}
	}
	if diff := cmp.Diff([]float64{0.75, 1, 0.25, 0}, shares()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	b.tell("fiber", fib.IPv4, uplink.Down)
	if diff := cmp.Diff([]float64{0, 1, 1, 0}, shares()); diff != "" {
		t.Errorf("after a failover -want +got:\n%s", diff)
	}
}

// TestStatus_modes: what kind of kernel it is.
func TestStatus_modes(t *testing.T) {
	for want, c := range map[string]fib.Capabilities{
		"resilient groups": {NextHops: true, Resilient: true}, "groups": {NextHops: true}, "multipath routes": {},
	} {
		b := newBench(t, twoUplinks, twoLinks(t))
		if got := b.Status().Kernel.Mode; got != "not read yet" {
			t.Errorf("before the first look: %s", got)
		}
		b.fake.SetCapabilities(c)
		b.turn()
		if s := b.Status(); s.Kernel.Mode != want || !s.Ready {
			t.Errorf("got %s, ready %t; want %s", s.Kernel.Mode, s.Ready, want)
		}
	}
}

// TestStatus_hidden: a family that nobody asked for and the host never had is not shown;
// of an uplink that has neither, IPv4 is.
func TestStatus_hidden(t *testing.T) {
	tests := []struct {
		name, address string
		want          []string
	}{
		{"both", "203.0.113.2/32 2001:db8:1::2/128", []string{"ipv4", "ipv6"}},
		{"IPv4", "203.0.113.2/32", []string{"ipv4"}},
		{"IPv6", "2001:db8:1::2/128", []string{"ipv6"}},
		{"neither", "", []string{"ipv4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, "uplinks: [{name: a, interface: ppp0}]", hostOf(t, "ppp0 2 p2p "+tt.address))
			b.turn()
			var got []string
			for _, w := range b.Status().Uplinks[0].Ways {
				got = append(got, w.Family)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestStatus_order: evidence is shown from the link upwards, always.
func TestStatus_order(t *testing.T) {
	b := newBench(t, fiberSite, hostOf(t, "eth1 2 203.0.113.2/24"))
	b.tell("fiber", fib.IPv4, uplink.Up)
	b.board.Put(uplink.Evidence{Source: uplink.Source{Way: uplink.Way{Uplink: "fiber", Family: fib.IPv4}, Kind: uplink.KindBGP}, Opinion: uplink.Up})
	b.turn()
	for range 20 {
		var got []string
		for _, e := range wayOf(t, b.Status(), "fiber", "ipv4").Evidence {
			got = append(got, e.Kind)
		}
		if diff := cmp.Diff([]string{"link", "address", "gateway", "neighbour", "icmp", "bfd", "bgp"}, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	}
}
