package engine

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/uplink"
)

// probed is a with targets and b without.
const probed = `
hold: {up: 10s}
uplinks:
  - {name: a, interface: eth1, gateway: 203.0.113.1, icmp: {targets: [192.0.2.1, 192.0.2.2]}}
  - {name: b, interface: eth2, gateway: 198.51.100.1}
`

// icmp is what the board holds of the targets of a.
func (b *bench) icmp() (uplink.Evidence, bool) {
	e, ok := b.board.Snapshot()[uplink.Source{Way: wayA, Kind: uplink.KindICMP}]
	return e, ok
}

// TestProbes_update: a prober is started, replaced and stopped exactly when what
// describes it changes.
func TestProbes_update(t *testing.T) {
	const host1, host2 = "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24"
	tests := []struct {
		name   string
		change func(t *testing.T, b *bench)
		// started and ended are how many more than the first two; quiet is what
		// the board says of a's targets in the end, if it is not waiting.
		started, ended int
		quiet          string
	}{
		{"nothing", func(*testing.T, *bench) {}, 0, 0, ""},
		{"another snapshot, the same host", func(t *testing.T, b *bench) { b.host.see(hostOf(t, host1, host2)) }, 0, 0, ""},
		{"another address beside", func(t *testing.T, b *bench) { b.host.see(hostOf(t, host1+" 203.0.113.3/24", host2)) }, 0, 0, ""},
		{"another source", func(t *testing.T, b *bench) { b.host.see(hostOf(t, "eth1 2 203.0.113.9/24", host2)) }, 1, 1, ""},
		{"another device of that name", func(t *testing.T, b *bench) { b.host.see(hostOf(t, "eth1 7 203.0.113.2/24", host2)) }, 1, 1, ""},
		{"no carrier", func(t *testing.T, b *bench) { b.host.see(hostOf(t, host1+" nocarrier", host2)) }, 0, 1, "not probed: no carrier on eth1"},
		{"no address", func(t *testing.T, b *bench) { b.host.see(hostOf(t, "eth1 2", host2)) }, 0, 1, "not probed: no global ipv4 address on eth1"},
		{"the same configuration", func(t *testing.T, b *bench) { b.use(reload{config: parseConfig(t, probed)}) }, 0, 0, ""},
		{"another interval", func(t *testing.T, b *bench) {
			b.use(reload{config: parseConfig(t, strings.Replace(probed, "{targets", "{interval: 2s, targets", 1))})
		}, 1, 1, ""},
		{"another target", func(t *testing.T, b *bench) {
			b.use(reload{config: parseConfig(t, strings.Replace(probed, "192.0.2.2", "192.0.2.3", 1))})
		}, 1, 1, ""},
		{"another weight", func(t *testing.T, b *bench) {
			b.use(reload{config: parseConfig(t, strings.Replace(probed, "eth1,", "eth1, weight: 9,", 1))})
		}, 0, 0, ""},
		{"another mark", func(t *testing.T, b *bench) {
			b.use(reload{config: parseConfig(t, strings.Replace(probed, "eth1,", "eth1, mark: 0xf00,", 1))})
		}, 1, 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, probed, hostOf(t, host1, host2))
			b.turn()
			if len(b.started) != 2 {
				t.Fatalf("%d probers at the start, want one per way", len(b.started))
			}
			tt.change(t, b)
			b.turn()
			ended := 2 + tt.started - len(b.probes.running)
			if len(b.started) != 2+tt.started || ended != tt.ended {
				t.Errorf("%d started and %d ended, want %d and %d", len(b.started)-2, ended, tt.started, tt.ended)
			}
			want := tt.quiet
			if want == "" {
				want = "waiting for the first answers"
			}
			if e, _ := b.icmp(); e.Reason != want || e.Opinion != uplink.Unknown {
				t.Errorf("the board says %s: %q, want %q", e.Opinion, e.Reason, want)
			}
		})
	}
}

// TestProbes_pokesWhoStays: a prober that stays hears that the host has changed.
func TestProbes_pokesWhoStays(t *testing.T) {
	b := newBench(t, probed, hostOf(t, "eth1 2 203.0.113.2/24"))
	b.turn()
	p := b.started[0]
	b.host.see(hostOf(t, "eth1 2 203.0.113.2/24", "eth9 9"))
	b.turn()
	if p.pokes != 1 {
		t.Errorf("poked %d times, want once", p.pokes)
	}
}

// TestProbes_gone: targets or an uplink that the configuration does not name any more
// leave neither prober nor evidence, and no late word of theirs counts.
func TestProbes_gone(t *testing.T) {
	for name, text := range map[string]string{
		"no targets any more": strings.Replace(probed, ", icmp: {targets: [192.0.2.1, 192.0.2.2]}", "", 1),
		"no uplink any more":  "uplinks: [{name: b, interface: eth2, gateway: 198.51.100.1}]",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, probed, hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24"))
			b.turn()
			old := b.started[0]
			old.say(probe.Down)
			if got := func() string { b.turn(); return b.verdict("a", fib.IPv4) }(); got != "dead standby" {
				t.Fatalf("a is %s", got)
			}
			b.use(reload{config: parseConfig(t, text)})
			b.turn()
			old.say(probe.Down)
			if e, ok := b.icmp(); ok {
				t.Errorf("there is evidence still: %+v", e)
			}
		})
	}
}

// TestProbes_replacedHasNoSay: neither on a prober's successor, nor on why there is
// none.
func TestProbes_replacedHasNoSay(t *testing.T) {
	b := newBench(t, probed, hostOf(t, "eth1 2 203.0.113.2/24"))
	b.turn()
	first := b.started[0]
	b.host.see(hostOf(t, "eth1 2 203.0.113.9/24"))
	b.turn()
	second := b.started[len(b.started)-1]
	second.say(probe.Up)
	first.say(probe.Down)
	if e, _ := b.icmp(); len(e.Targets) != 2 || e.Targets[0].Opinion != uplink.Up {
		t.Errorf("the board says %+v", e)
	}
	b.host.see(hostOf(t, "eth1 2 203.0.113.9/24 nocarrier"))
	b.turn()
	second.say(probe.Up)
	if e, _ := b.icmp(); len(e.Targets) != 0 {
		t.Errorf("a stopped prober was heard: %+v", e)
	}
	if a := b.probes.adviceFor(wayA); a != (probe.Advice{}) {
		t.Errorf("advice of a stopped prober: %+v", a)
	}
}

// TestProbes_report: what a prober says reaches the board and the verdict.
func TestProbes_report(t *testing.T) {
	b := newBench(t, probed, hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24"))
	b.turn()
	for _, step := range []struct {
		say  probe.Opinion
		want string
	}{{probe.Unknown, "live active"}, {probe.Up, "live active"}, {probe.Down, "dead standby"}, {probe.Up, "held standby"}} {
		b.started[0].say(step.say)
		b.turn()
		if got := b.verdict("a", fib.IPv4); got != step.want {
			t.Errorf("after %s a is %s, want %s", step.say, got, step.want)
		}
	}
	b.started[0].report(probe.Report{Err: errTest})
	if e, _ := b.icmp(); e.Reason != "cannot probe: told to fail" || e.Opinion != uplink.Unknown {
		t.Errorf("a failure is %+v", e)
	}
	// b has no targets: its prober only listens.
	b.started[1].report(probe.Report{Advice: probe.Advice{Redirects: 3}})
	way := uplink.Way{Uplink: "b", Family: fib.IPv4}
	if _, ok := b.board.Snapshot()[uplink.Source{Way: way, Kind: uplink.KindICMP}]; ok {
		t.Error("a way without targets has evidence of them")
	}
	if got := b.probes.adviceFor(way).Redirects; got != 3 {
		t.Errorf("%d redirects, want 3", got)
	}
}

// TestProbeConfig_gatewayIsNoTarget: a learned gateway that turns out to be a target
// is not pinged (RFC 1122 section 3.3.1.4).
func TestProbeConfig_gatewayIsNoTarget(t *testing.T) {
	const text = "uplinks: [{name: a, interface: eth1, icmp: {targets: [203.0.113.1%s]}}]"
	host := learned(hostOf(t, "eth1 2 203.0.113.2/24"), "eth1", "203.0.113.1")
	b := newBench(t, strings.Replace(text, "%s", ", 192.0.2.1", 1), host)
	b.turn()
	if got := b.started[0].config.Targets; len(got) != 1 || got[0] != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("targets are %v", got)
	}
	b = newBench(t, strings.Replace(text, "%s", "", 1), host)
	b.turn()
	b.started[0].say(probe.Up)
	const want = "the only target 203.0.113.1 is the gateway, which is not pinged: configure targets beyond it"
	if e, _ := b.icmp(); e.Reason != want || e.Opinion != uplink.Unknown {
		t.Errorf("got %s: %q", e.Opinion, e.Reason)
	}
}

// TestProbes_death: while a prober that panicked is not back, its evidence is unknown.
func TestProbes_death(t *testing.T) {
	b := newBench(t, probed, hostOf(t, "eth1 2 203.0.113.2/24"))
	b.turn()
	b.started[0].say(probe.Down)
	m := b.site.members[0]
	crash := make(chan struct{})
	var c crasher
	b.opts.NewProber = func(_ probe.Config, report func(probe.Report)) Prober {
		c = crasher{&prober{report: report}, crash}
		return c
	}
	b.probes.end(wayA)
	b.probes.start(b.ctx, m, probe.Config{}, 2)
	c.report(probe.Report{Targets: []probe.Target{{Address: m.targets[0], Opinion: probe.Down}}})
	if e, _ := b.icmp(); len(e.Targets) != 1 {
		t.Fatalf("no evidence before the crash: %+v", e)
	}
	close(crash)
	await(t, "the evidence to be unknown", func() bool {
		e, _ := b.icmp()
		return len(e.Targets) == 0 && e.Opinion == uplink.Unknown && strings.Contains(e.Reason, "the prober stopped and is started again: panic: crash")
	})
}

// crasher panics when told.
type crasher struct {
	*prober
	crash chan struct{}
}

// Run waits for the order to panic.
func (c crasher) Run(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-c.crash:
		panic("crash")
	}
}
