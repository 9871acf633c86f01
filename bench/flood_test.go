package main

import (
	"testing"
	"time"
)

const (
	floodTestRate = 100_000
	floodTestFor  = 3 * time.Second
	// floodTestMultiplier makes a detection time of a second: a flood that kept
	// the timers from their turn would take longer than that, and a busy machine
	// rarely does. The benchmark itself has 150 ms.
	floodTestMultiplier = 20
	floodTestAttempts   = 3
)

// TestFlood sends garbage at a high rate to sessions of package bfd, from the
// addresses of their peers and with the hop limit of a neighbour: they stay up on
// both sides, and what is garbage is counted. A machine that gives neither end a
// core for a second gets another chance.
func TestFlood(t *testing.T) {
	for i, g := range garbages {
		ipv6 := i%2 == 1
		t.Run(g.name+" "+family(ipv6), func(t *testing.T) {
			for attempt := 1; ; attempt++ {
				got := floodOnce(t, g, ipv6)
				t.Log(got.line(floodScenario.columns))
				if got[keyUp] == floodSessions && got[keyFlaps] == 0 && got[keyFarFlaps] == 0 {
					return
				}
				if attempt == floodTestAttempts {
					t.Fatalf("%.0f of %d up, %.0f flaps here, %.0f at the far end", got[keyUp], floodSessions, got[keyFlaps], got[keyFarFlaps])
				}
			}
		})
	}
}

// floodOnce floods a candidate and checks that every packet is accounted for.
func floodOnce(t *testing.T, g garbage, ipv6 bool) sample {
	t.Helper()
	ctx := testContext(t)
	s := testSetting(floodSessions, ipv6)
	s.interval, s.multiplier = 50*time.Millisecond, floodTestMultiplier
	tr := newTestTrial(ctx, t, own{}, s)
	got, err := tr.underFlood(ctx, g, floodTestRate, floodTestFor)
	if err != nil {
		t.Fatal(err)
	}
	sent := got[keyFlood] * floodTestFor.Seconds()
	if sent < 1000 {
		t.Fatalf("%.0f packets of garbage were sent", sent)
	}
	// A few are still in the sockets when the counters are read.
	if known := got[keyDropped] + got[keyOverflows]; known < 0.9*sent || known > 1.1*sent {
		t.Errorf("%.0f were sent, %.0f dropped, %.0f overflowed", sent, got[keyDropped], got[keyOverflows])
	}
	return got
}
