package main

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

func TestParseTries(t *testing.T) {
	text := "Basic info: size of leaf: 48 bytes, size of tnode: 40 bytes.\nMain:\n\tAver depth:     2.50\n\tLeaves:         6\n\tPrefixes:       7\n" +
		"Local:\n\tPrefixes:       5\nId 222:\n\tLeaves:         400000\n\tPrefixes:       500000\n"
	if n, err := parseTries(text); n != 500_007 || err != nil {
		t.Errorf("%d, error %v", n, err)
	}
	for _, wrong := range []string{"", "Main:\n", "\tPrefixes: many\n"} {
		if n, err := parseTries(wrong); err == nil {
			t.Errorf("%q: %d without an error", wrong, n)
		}
	}
}

func TestParseRoutes6(t *testing.T) {
	if n, err := parseRoutes6("0021 0011 0039 001d 0000 002d 0000\n"); n != 29 || err != nil {
		t.Errorf("%d, error %v", n, err)
	}
	if n, err := parseRoutes6("7a129 7a128 7a13a 7a138 0000 0012 0000\n"); n != 0x7a138 || err != nil {
		t.Errorf("%d, error %v", n, err)
	}
	for _, wrong := range []string{"", "1 2 3", "1 2 3 x"} {
		if n, err := parseRoutes6(wrong); err == nil {
			t.Errorf("%q: %d without an error", wrong, n)
		}
	}
}

// A notification belongs to the last update before it; one that is too early or that
// comes after the next update belongs to another.
func TestMonitor_delays(t *testing.T) {
	table := bgptest.NewTable(bgptest.IPv4, 10, 1)
	m := &monitor{seen: map[netip.Prefix][]int64{
		table.Prefix(1): {5, 110, 120, 250},
		table.Prefix(2): {90},
		table.Prefix(3): {350},
	}}
	sent := []churned{{1, 100}, {2, 100}, {3, 100}, {1, 200}, {3, 300}}
	got, unseen := m.delays(table, sent)
	if want := []time.Duration{10, 50, 50}; !slices.Equal(got, want) || unseen != 2 {
		t.Errorf("%v and %d unseen, want %v and 2", got, unseen, want)
	}
}

// Samples lie at the end of the table too, and no other prefix is in one.
func TestChooseSamples(t *testing.T) {
	for _, f := range []bgptest.Family{bgptest.IPv4, bgptest.IPv6} {
		table := bgptest.NewTable(f, 50_000, 1)
		found := chooseSamples(table, bgptest.PreferEach, 2)
		uplinks := [2]int{}
		for _, e := range found {
			if e.prefix.Bits() != longestOf(f) {
				t.Fatalf("%v is no longest prefix", e.prefix)
			}
			uplinks[e.uplink]++
		}
		last := 0
		for i := table.Len() - tailSamples; i < table.Len(); i++ {
			if slices.ContainsFunc(found, func(e expected) bool { return e.prefix == table.Prefix(i) }) {
				last++
			}
		}
		if len(found) < 800 || uplinks[0] < 300 || uplinks[1] < 300 || last < tailSamples/4 {
			t.Errorf("%v: %d samples, by uplink %v, %d at the end", f, len(found), uplinks, last)
		}
	}
	for _, e := range chooseSamples(bgptest.NewTable(bgptest.IPv4, 1000, 1), bgptest.PreferEach, 1) {
		if e.uplink != 0 {
			t.Fatal("a single uplink is not the only one")
		}
	}
}

func TestCommonName(t *testing.T) {
	for want, list := range map[string][]scenario{
		"bfd": {scaleScenario, floodScenario}, "bgp": {loadScenario}, "all": {scaleScenario, loadScenario},
	} {
		if got := commonName(list); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The memory of children counts, and of those that ended.
func TestTree(t *testing.T) {
	w := newTestWire(t, 1, false)
	ctx := testContext(t)
	r := startTest(ctx, t, bird{}, w)
	p := r.processes()[0].cmd.Process.Pid
	if all := tree(p); len(all) != 1 || all[0] != p {
		t.Errorf("%v, want %d alone", all, p)
	}
	s := startSampler(r.processes())
	s.mu.Lock()
	s.marks[-1], s.cpu[-1] = 1<<30, time.Hour
	s.mu.Unlock()
	cpu, marks, together := s.used()
	s.stop()
	if cpu < time.Hour || marks < 1<<30+1<<20 || together < 1<<20 || together > 1<<30 {
		t.Errorf("%v, %d, %d", cpu, marks, together)
	}
}
