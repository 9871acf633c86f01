package netmon

import (
	"testing"
	"time"
)

// The kernel's news of a link reach the owner, both ways and at once.
func TestCarrier(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := start(t, s.edge, Config{})
	up := func(s *Snapshot) bool { return s.Links["eth1"].Carrier }
	down := func(s *Snapshot) bool { return !s.Links["eth1"].Carrier && s.Links["eth1"].AdminUp }
	m.wait(t, "eth1 has carrier", up)
	best := patience
	for range 10 {
		began := time.Now()
		must(t, s.gateway.SetDown("eth1"))
		m.wait(t, "the carrier is lost", down)
		best = min(best, time.Since(began))
		must(t, s.gateway.SetUp("eth1"))
		m.wait(t, "the carrier is back", up)
	}
	t.Logf("from the far end's loss to the snapshot: %v at best", best)
	if best > 250*time.Millisecond {
		t.Errorf("the loss of carrier took %v at best", best)
	}
}

func TestNeighbourReachable(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		gw := f.gateway.Addr()
		m := start(t, s.edge, Config{Neighbours: []Watch{{Link: "eth1", Address: gw, Interval: time.Second}}})
		n := m.waitNeighbour(t, gw, "the gateway is reachable", reachable)
		t.Logf("%+v", n)
	})
}
