package netmon

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watch is a configuration that watches one neighbour over eth1.
func watch(address netip.Addr, interval time.Duration) Config {
	return Config{Neighbours: []Watch{{Link: "eth1", Address: address, Interval: interval}}}
}

// linkLocal is the link-local address of the gateway.
func (s site) linkLocal(t *testing.T) netip.Addr {
	t.Helper()
	var a netip.Addr
	waitFor(t, "the gateway has a link-local address", func() bool {
		out := mustIP(t, s.gateway, "-6", "-o", "addr", "show", "dev", "eth1", "scope", "link")
		fields := strings.Fields(out)
		for i, f := range fields {
			if f == "inet6" && !strings.Contains(out, "tentative") {
				a = netip.MustParsePrefix(fields[i+1]).Addr()
			}
		}
		return a.IsValid()
	})
	return a
}

// A gateway that answers is confirmed again and again, without any traffic.
func TestReachable(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		gw := f.gateway.Addr()
		m := start(t, s.edge, watch(gw, time.Second))
		n := m.waitNeighbour(t, gw, "the gateway is reachable", reachable)
		if out := mustIP(t, s.gateway, "link", "show", "eth1"); n.MAC == "" || !strings.Contains(out, n.MAC) {
			t.Errorf("the gateway has MAC %q, the link is %s", n.MAC, out)
		}
		before := m.Counters().Solicitations
		waitFor(t, "three more probes", func() bool { return m.Counters().Solicitations >= before+3 })
		n = m.waitNeighbour(t, gw, "the gateway is still reachable", reachable)
		if n.Failures != 0 {
			t.Errorf("a gateway that answers has %d failures", n.Failures)
		}
	})
}

func TestReachable_linkLocal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gw := s.linkLocal(t)
	m := start(t, s.edge, watch(gw.WithZone("eth1"), time.Second))
	m.waitNeighbour(t, gw, "the gateway is reachable", reachable)
}

// An entry in any valid state is probed at once, keeps its address, and is confirmed
// within the interval.
func TestProbeValidEntry(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		gw := f.gateway.Addr()
		m := start(t, s.edge, watch(gw, time.Second))
		mac := m.waitNeighbour(t, gw, "the gateway is reachable", reachable).MAC
		for _, state := range []string{"stale", "delay", "reachable"} {
			began := time.Now()
			mustIP(t, s.edge, "neigh", "replace", gw.String(), "lladdr", mac, "dev", "eth1", "nud", state)
			n := m.waitNeighbour(t, gw, "the gateway is reachable after "+state, func(n Neighbour) bool {
				return n.State == NUDReachable && n.Since.After(began)
			})
			if n.MAC != mac {
				t.Errorf("after %s the MAC is %s, want %s", state, n.MAC, mac)
			}
		}
	})
}

// A probe starts from the entry as it is: its link-layer address and router flag
// stay (no answer can have set them again here).
func TestProbeKeepsEntry(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		var k netlinkKernel
		must(t, s.edge.Do(func() (err error) {
			k.ns, err = currentNamespace()
			return err
		}))
		t.Cleanup(func() { k.close(); _ = k.ns.Close() })
		index, err := s.edge.Index("eth1")
		must(t, err)
		key := NeighbourKey{LinkIndex: index, Address: f.gateway.Addr().Prev()}
		if err := k.solicit(key, actionProbe); !errors.Is(err, errChanged) {
			t.Errorf("probe of an absent neighbour: %v, want %v", err, errChanged)
		}
		for _, state := range []string{"reachable", "stale", "delay"} {
			mustIP(t, s.edge, "neigh", "replace", key.Address.String(), "lladdr", "02:00:00:00:00:07", "router", "dev", "eth1", "nud", state)
			must(t, k.solicit(key, actionProbe))
			o, err := k.neighbour(key)
			must(t, err)
			if o.state != NUDProbe || o.mac != "02:00:00:00:00:07" || !o.router {
				t.Errorf("%s became %v, %s, router %v", state, o.state, o.mac, o.router)
			}
		}
	})
}

// RFC 4861 section 7.3.3: not more than one solicitation per second and neighbour,
// of one that answers and of one that does not.
func TestNUD_06(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		gw, absent := f.gateway.Addr(), f.gateway.Addr().Prev()
		c := watchDevice(t, s.gateway, "eth1")
		began := time.Now()
		m := start(t, s.edge, Config{Neighbours: []Watch{
			{Link: "eth1", Address: gw, Interval: time.Millisecond},
			{Link: "eth1", Address: absent, Interval: time.Millisecond},
		}})
		m.waitNeighbour(t, absent, "the absent gateway has failed once", func(n Neighbour) bool { return n.Failures >= 1 })
		waitFor(t, "another round of the absent gateway, and five solicitations of the present one", func() bool {
			return len(c.of(absent)) >= 4 && len(c.of(gw)) >= 5
		})
		c.checkRate(t, gw, began)
		c.checkRate(t, absent, began)
	})
}

// RFC 4861 section 7.3.3: a router that becomes a host is seen to be none.
func TestNUD_07(t *testing.T) {
	t.Parallel()
	f := families[1]
	s := newSiteOf(t, f)
	gw := f.gateway.Addr()
	must(t, s.gateway.Forward())
	m := start(t, s.edge, watch(gw, time.Second))
	m.waitNeighbour(t, gw, "the gateway is a router", func(n Neighbour) bool { return reachable(n) && n.Router })
	// Probing must not clear the flag by itself.
	before := m.Counters().Solicitations
	waitFor(t, "two more probes", func() bool { return m.Counters().Solicitations >= before+2 })
	if n := m.waitNeighbour(t, gw, "the gateway is reachable", reachable); !n.Router {
		t.Error("probing cleared the router flag")
	}
	must(t, s.gateway.Sysctl("net/ipv6/conf/all/forwarding", "0"))
	m.waitNeighbour(t, gw, "the gateway is no router", func(n Neighbour) bool { return reachable(n) && !n.Router })
}

// RFC 7048 section 3: a gateway with a new link-layer address is found again,
// because a failed round is followed by one that asks everybody.
func TestNUD_14(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		s.hurry(t, f)
		gw := f.gateway.Addr()
		// A gateway that announces its new address would be found in any case.
		must(t, s.gateway.Sysctl("net/ipv4/conf/eth1/arp_notify", "0"))
		must(t, s.gateway.Sysctl("net/ipv6/conf/eth1/ndisc_notify", "0"))
		m := start(t, s.edge, watch(gw, time.Second))
		m.waitNeighbour(t, gw, "the gateway is reachable", reachable)
		mustIP(t, s.gateway, "link", "set", "eth1", "address", "02:00:00:00:00:99")
		m.waitNeighbour(t, gw, "the gateway is reachable at its new address", func(n Neighbour) bool {
			return reachable(n) && n.MAC == "02:00:00:00:00:99" && n.Failures == 0
		})
	})
}

// RFC 7048 section 3: with the uplink down nothing is sent and nothing asked for.
func TestNUD_15_namespace(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		s.hurry(t, f)
		absent := f.gateway.Addr().Prev()
		m := start(t, s.edge, watch(absent, time.Second))
		m.waitNeighbour(t, absent, "the gateway has failed", func(n Neighbour) bool { return n.Failures >= 1 })
		must(t, s.edge.SetDown("eth1"))
		m.wait(t, "eth1 is down", func(s *Snapshot) bool { return !s.Links["eth1"].AdminUp })
		m.quiet(t)
		before := m.Counters().Solicitations
		c := watchDevice(t, s.edge, "eth1")
		waitContext(context.Background(), 4*time.Second)
		if got := m.Counters().Solicitations; got != before {
			t.Errorf("%d solicitations of a link that is down", got-before)
		}
		if times := c.of(absent); len(times) != 0 {
			t.Errorf("%d solicitations sent", len(times))
		}
	})
}

// RFC 1122 section 3.3.1.4: failed resolution is advice against the gateway, and
// an answer ends it.
func TestDGD_10(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		s.hurry(t, f)
		gw := f.gateway.Addr()
		m := start(t, s.edge, watch(gw, time.Second))
		m.waitNeighbour(t, gw, "the gateway is reachable", reachable)
		must(t, s.gateway.RemoveAddress("eth1", f.gateway))
		opinion := func(want Opinion) func(Neighbour) bool {
			return func(n Neighbour) bool { o, _ := n.Opinion(2); return o == want }
		}
		n := m.waitNeighbour(t, gw, "the gateway is down", opinion(OpinionDown))
		if n.Failures < 2 {
			t.Errorf("down after %d rounds, want 2", n.Failures)
		}
		must(t, s.gateway.AddAddress("eth1", f.gateway))
		m.waitNeighbour(t, gw, "the gateway is up", opinion(OpinionUp))
	})
}

// Somebody else's probe that fails counts like ours.
func TestDGD_10_failedByHand(t *testing.T) {
	t.Parallel()
	f := families[0]
	s := newSiteOf(t, f)
	gw := f.gateway.Addr()
	m := start(t, s.edge, watch(gw, 0))
	mustIP(t, s.edge, "neigh", "add", gw.String(), "dev", "eth1", "lladdr", "02:00:00:00:00:01", "nud", "stale")
	m.waitNeighbour(t, gw, "the entry is stale", func(n Neighbour) bool { return n.State == NUDStale })
	mustIP(t, s.edge, "neigh", "change", gw.String(), "dev", "eth1", "nud", "failed")
	n := m.waitNeighbour(t, gw, "the gateway has failed", func(n Neighbour) bool { return n.State == NUDFailed })
	if o, reason := n.Opinion(1); o != OpinionDown || m.Counters().Solicitations != 0 {
		t.Errorf("opinion %v (%s) after %d solicitations", o, reason, m.Counters().Solicitations)
	}
}

// The same address on two links is two neighbours.
func TestLNX_NB_01(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		s.hurry(t, f)
		other, err := s.lab.Host("other")
		must(t, err)
		must(t, s.lab.Veth(s.edge, "eth2", other, "eth1"))
		must(t, s.edge.AddAddress("eth2", prefix(f.edge.Addr().Next().String()+"/"+f.edge.String()[strings.Index(f.edge.String(), "/")+1:])))
		must(t, s.edge.Sysctl("net/"+f.dir+"/neigh/eth2/retrans_time_ms", "100"))
		gw := f.gateway.Addr()
		m := start(t, s.edge, Config{Neighbours: []Watch{
			{Link: "eth1", Address: gw, Interval: time.Second},
			{Link: "eth2", Address: gw, Interval: time.Second},
		}})
		m.wait(t, "one is reachable and the other has failed", func(s *Snapshot) bool {
			return neighbourOf(s, "eth1", gw).State == NUDReachable && neighbourOf(s, "eth2", gw).Failures >= 2 &&
				neighbourOf(s, "eth1", gw).Failures == 0
		})
	})
}

// A flap of the carrier deletes the entry, which is no failure of the gateway; it is
// looked for again as soon as the link is back.
func TestLNX_NB_03(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		gw := f.gateway.Addr()
		m := start(t, s.edge, watch(gw, time.Second))
		m.waitNeighbour(t, gw, "the gateway is reachable", reachable)
		must(t, s.gateway.SetDown("eth1"))
		n := m.waitNeighbour(t, gw, "the entry is deleted", func(n Neighbour) bool { return n.State == NUDAbsent })
		if o, reason := n.Opinion(1); o != OpinionUnknown || n.Failures != 0 {
			t.Errorf("opinion %v (%s) with %d failures after a loss of carrier", o, reason, n.Failures)
		}
		must(t, s.gateway.SetUp("eth1"))
		n = m.waitNeighbour(t, gw, "the gateway is reachable again", reachable)
		if n.Failures != 0 {
			t.Errorf("%d failures", n.Failures)
		}
	})
}

// PERMANENT is left alone: NTF_USE would destroy the entry.
func TestLNX_NB_04_namespace(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		gw := f.gateway.Addr()
		mustIP(t, s.edge, "neigh", "add", gw.String(), "lladdr", "02:00:00:00:00:01", "dev", "eth1", "nud", "permanent")
		m := start(t, s.edge, watch(gw, time.Second))
		m.waitNeighbour(t, gw, "the entry is permanent", func(n Neighbour) bool { return n.State == NUDPermanent })
		waitContext(context.Background(), 2*time.Second)
		if got := m.Counters().Solicitations; got != 0 {
			t.Errorf("%d solicitations of a permanent neighbour", got)
		}
		if out := mustIP(t, s.edge, "neigh", "show", "dev", "eth1"); !strings.Contains(out, "PERMANENT") {
			t.Errorf("the entry is now %s", out)
		}
		mustIP(t, s.edge, "neigh", "del", gw.String(), "dev", "eth1")
		m.waitNeighbour(t, gw, "the gateway is watched after the entry went", reachable)
	})
}

// RFC 4861 sections 6.3.4 and 6.3.5: a router that says goodbye is none at once, and
// one that falls silent when its lifetime ends, not when the kernel collects.
func TestNUD_10(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gw := s.linkLocal(t)
	must(t, s.edge.Sysctl("net/ipv6/conf/eth1/accept_ra", "1"))
	m := start(t, s.edge, Config{LearnFrom: []string{"eth1"}})
	learned := func(s *Snapshot) bool {
		got, _, _, ok := LearnGateway(s, "eth1", true)
		return ok && got == gw
	}
	gone := func(s *Snapshot) bool { _, _, _, ok := LearnGateway(s, "eth1", true); return !ok }

	m.wait(t, "there is no route yet", gone)
	sendRouterAdvertisement(t, s.gateway, "eth1", 30*time.Minute)
	snap := m.wait(t, "the router is learned", learned)
	if p := snap.Defaults[0].Protocol; p != unix.RTPROT_RA {
		t.Errorf("protocol %d, want %d (ra)", p, unix.RTPROT_RA)
	}
	sendRouterAdvertisement(t, s.gateway, "eth1", 0)
	m.wait(t, "the router has said goodbye", gone)

	began := time.Now()
	sendRouterAdvertisement(t, s.gateway, "eth1", 2*time.Second)
	m.wait(t, "the router is learned again", learned)
	m.wait(t, "the lifetime is over", gone)
	t.Logf("a lifetime of 2 s was seen to end after %v", time.Since(began))
	if out := mustIP(t, s.edge, "-6", "route", "show", "default"); out != "" {
		t.Logf("the kernel still shows %s", out)
	}
	if time.Since(began) < 1500*time.Millisecond {
		t.Error("the route went before its lifetime was over")
	}
}
