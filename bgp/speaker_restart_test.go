package bgp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// restarter are the options of a far end whose forwarding state is kept for a while.
func restarter(keep time.Duration, notify bool, forwarding ...bgptest.Family) bgptest.Options {
	o := both()
	o.GracefulRestart = &bgptest.GracefulRestart{Time: keep, Notification: notify, Families: o.Families, Forwarding: forwarding}
	return o
}

var wireFamilies = []bgptest.Family{bgptest.IPv4, bgptest.IPv6}

func retains(f Family) func(p PeerStatus) bool {
	return func(p PeerStatus) bool { return familyOf(p, f).Retained }
}

func TestB_GR_01_B_GR_04_B_GR_05_B_GR_14_Bits(t *testing.T) {
	for _, restarting := range []bool{false, true} {
		s := newSite(t)
		s.config.Restarting = restarting
		a := s.peer(64501, 0, restartable)
		late := s.peer(64502, 1, restartable)
		s.apply()
		check := func(o bgptest.Open, want bool) {
			t.Helper()
			n := 0
			for _, c := range o.Capabilities {
				if c.Code == bgptest.CapGracefulRestart {
					n++
				}
			}
			g, _ := o.GracefulRestart()
			if n != 1 || g.Restarting != want || !g.Notification || g.Time != 120*time.Second || !slices.Equal(g.Families, wireFamilies) ||
				want != slices.Equal(g.Forwarding, wireFamilies) || !want && len(g.Forwarding) > 0 {
				t.Errorf("restarting %v: %d capabilities, %+v", restarting, n, g)
			}
		}
		f := s.far(a, restarter(time.Minute, true, wireFamilies...))
		check(f.Heard().Open, restarting)
		must(t, f.EndOfRIB(wireFamilies...))
		g := s.far(late, restarter(time.Minute, true, wireFamilies...))
		check(g.Heard().Open, restarting)
		must(t, g.EndOfRIB(wireFamilies...))
		s.until("everything is synced", func(s Status) bool { return s.Synced })
		// A session that is begun after that is no part of a restart.
		f.Cut()
		s.untilPeer("as64501", "is lost", func(p PeerStatus) bool { return p.State != Established })
		f = s.far(a, restarter(time.Minute, true, wireFamilies...))
		g2, _ := f.Heard().Open.GracefulRestart()
		if g2.Restarting {
			t.Errorf("restarting %v: the R bit of a session that was begun later", restarting)
		}
	}
}

// TestB_GR_05_FlushedFamiliesAreNotClaimed: a session with a family of which nothing is
// forwarded claims nothing, and the others do.
func TestB_GR_05_FlushedFamiliesAreNotClaimed(t *testing.T) {
	s := newSite(t)
	s.config.Restarting, s.config.Flushed = true, []Family{IPv6}
	kept := s.peer(64501, 0, func(p *Peer) { restartable(p); p.Families = []Family{IPv4} })
	both := s.peer(64502, 1, restartable)
	s.apply()
	for _, c := range []struct {
		peer netip.Addr
		want bool
	}{{kept, true}, {both, false}} {
		far := s.far(c.peer, restarter(time.Minute, true, wireFamilies...))
		if g, _ := far.Heard().Open.GracefulRestart(); g.Restarting != c.want || (len(g.Forwarding) > 0) != c.want {
			t.Errorf("%v: %+v", c.peer, g)
		}
	}
}

func TestB_GR_09_B_GR_11_PathsAreKeptAndSwept(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, restartable)
	s.apply()
	one, two, six := prefix("198.41.0.0/24"), prefix("198.41.1.0/24"), prefix("2600:db8::/32")
	f := s.far(a, restarter(time.Minute, true, wireFamilies...))
	must(t, f.Announce(hop(a, 64501), one, two))
	via := hop(netip.MustParseAddr("2001:db8:ffff::1"), 64501)
	s.config.Peers[0].Import.AnyNextHop = true
	s.apply()
	must(t, f.Announce(via, six))
	must(t, f.EndOfRIB(wireFamilies...))
	r := s.routes()
	first := Choice(0).With(0, First)
	r.until("all are told", func(r *routes) bool { return len(r.known) == 3 && r.synced })
	f.Cut()
	p := s.untilPeer("as64501", "is lost", func(p PeerStatus) bool { return p.State != Established && familyOf(p, IPv4).Stale == 2 })
	for _, family := range Families {
		x := familyOf(p, family)
		if !x.Retained || x.Stale != x.Received || x.Synced || x.Until.Before(time.Now()) || x.Until.After(time.Now().Add(time.Minute)) {
			t.Errorf("%+v", x)
		}
	}
	if p.Flaps != 1 || p.LastError == "" {
		t.Errorf("%+v", p)
	}
	f = s.far(a, restarter(time.Minute, true, wireFamilies...))
	p = peerOf(s.Status(), "as64501")
	if x := familyOf(p, IPv4); !x.Retained || x.Received != 2 {
		t.Errorf("%+v", x)
	}
	must(t, f.Announce(hop(a, 64501), one))
	must(t, f.EndOfRIB(bgptest.IPv4))
	r.until("what was not sent again is gone", func(r *routes) bool { return len(r.known) == 2 })
	if r.known[one] != first || r.known[six] != first {
		t.Errorf("%v", r.known)
	}
	s.untilPeer("as64501", "is synced", func(p PeerStatus) bool {
		x := familyOf(p, IPv4)
		return x.Synced && !x.Retained && x.Stale == 0 && familyOf(p, IPv6).Retained
	})
	must(t, f.EndOfRIB(bgptest.IPv6))
	r.until("nothing is left of the other family", func(r *routes) bool { return len(r.known) == 1 })
}

func TestB_GR_10_RestartTimeIsOver(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, restartable)
	b := s.peer(64502, 1, func(p *Peer) { restartable(p); p.GracefulRestart.MaxRestartTime = time.Second })
	s.apply()
	fa, fb := s.far(a, restarter(time.Second, true, wireFamilies...)), s.far(b, restarter(time.Hour, true, wireFamilies...))
	must(t, fa.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	must(t, fb.Announce(hop(b, 64502), prefix("198.41.1.0/24")))
	r := s.routes()
	r.until("all are told", func(r *routes) bool { return len(r.known) == 2 })
	fa.Cut()
	s.untilPeer("as64501", "is retained", retains(IPv4))
	fb.Cut()
	s.untilPeer("as64502", "is retained", retains(IPv4))
	for _, name := range []string{"as64501", "as64502"} {
		s.untilPeer(name, "is not retained any more", func(p PeerStatus) bool {
			return p.Flaps == 1 && !familyOf(p, IPv4).Retained && familyOf(p, IPv4).Received == 0
		})
	}
	r.until("nothing is left", func(r *routes) bool { return len(r.known) == 0 })
}

func TestB_GR_13_WhatThePeerDidNotKeepGoesAtOnce(t *testing.T) {
	t.Parallel()
	kept := func(families []bgptest.Family, forwarding ...bgptest.Family) bgptest.Options {
		o := both()
		o.Families = families
		o.GracefulRestart = &bgptest.GracefulRestart{Time: time.Minute, Families: families, Forwarding: forwarding}
		return o
	}
	without := both()
	without.GracefulRestart = nil
	tests := map[string]struct {
		o        bgptest.Options
		ip4, ip6 bool
	}{
		"no capability":     {without, false, false},
		"no F bit":          {kept(wireFamilies), false, false},
		"F bit of one":      {kept(wireFamilies, bgptest.IPv6), false, true},
		"one family is not": {kept([]bgptest.Family{bgptest.IPv4}, bgptest.IPv4), true, false},
	}
	for name, x := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pooled(t)
			a := s.peer(64501, 0, func(p *Peer) { restartable(p); p.Import.AnyNextHop = true })
			s.apply()
			f := s.far(a, restarter(time.Minute, true, wireFamilies...))
			must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
			must(t, f.Announce(hop(netip.MustParseAddr("2001:db8:ffff::1"), 64501), prefix("2600:db8::/32")))
			s.untilPeer("as64501", "has sent both", func(p PeerStatus) bool { return familyOf(p, IPv6).Accepted == 1 })
			f.Cut()
			s.untilPeer("as64501", "is retained", func(p PeerStatus) bool { return familyOf(p, IPv4).Retained && familyOf(p, IPv6).Retained })
			s.far(a, x.o)
			want := map[Family]bool{IPv4: x.ip4, IPv6: x.ip6}
			p := s.untilPeer("as64501", "has what it kept", func(p PeerStatus) bool {
				return (familyOf(p, IPv4).Received == 1) == x.ip4 && (familyOf(p, IPv6).Received == 1) == x.ip6
			})
			for f, want := range want {
				if familyOf(p, f).Retained != want {
					t.Errorf("%v: %+v", f, familyOf(p, f))
				}
			}
		})
	}
}

func TestB_GR_15_StaleTimeIsOver(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, func(p *Peer) { restartable(p); p.GracefulRestart.StaleTime = time.Second })
	s.apply()
	f := s.far(a, restarter(time.Minute, true, wireFamilies...))
	must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	r := s.routes()
	r.until("it is told", func(r *routes) bool { return len(r.known) == 1 })
	f.Cut()
	s.untilPeer("as64501", "is retained", retains(IPv4))
	s.far(a, restarter(time.Minute, true, wireFamilies...))
	r.until("it is gone without End-of-RIB", func(r *routes) bool { return len(r.known) == 0 })
	if p := s.untilPeer("as64501", "counts as complete", func(p PeerStatus) bool { return familyOf(p, IPv4).Synced }); p.State != Established {
		t.Errorf("%+v", p)
	}
}

func TestB_GR_17_B_GR_19_B_GR_23_Notifications(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		notify        bool
		code, subcode uint8
		data          []byte
		kept          bool
		words         string
	}{
		"with N":         {true, 6, 4, []byte{3, 'b', 'y', 'e'}, true, `the peer ended the session: Cease, Administrative Reset ("bye")`},
		"with N, other":  {true, 3, 11, nil, true, "the peer ended the session: UPDATE Message Error, Malformed AS_PATH"},
		"hard reset":     {true, 6, 9, []byte{6, 3}, false, "the peer ended the session: Cease, Hard Reset: Cease, Peer De-configured"},
		"without N":      {false, 6, 4, nil, false, "the peer ended the session: Cease, Administrative Reset"},
		"N and BFD down": {true, 6, 10, nil, true, "the peer ended the session: Cease, BFD Down"},
	}
	for name, x := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pooled(t)
			a := s.peer(64501, 0, restartable)
			s.apply()
			f := s.far(a, restarter(time.Minute, x.notify, wireFamilies...))
			must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
			s.untilPeer("as64501", "has sent it", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == 1 })
			must(t, f.Notify(x.code, x.subcode, x.data))
			p := s.untilPeer("as64501", "is lost", func(p PeerStatus) bool { return p.State != Established })
			if familyOf(p, IPv4).Retained != x.kept || p.LastError != x.words {
				t.Errorf("%q, %+v", p.LastError, familyOf(p, IPv4))
			}
		})
	}
}

func TestB_GR_18_HoldTimer(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	hold := func(p *Peer) { restartable(p); p.HoldTime = 3 * time.Second }
	addresses := map[bool]netip.Addr{false: s.peer(64501, 0, hold), true: s.peer(64502, 1, hold)}
	s.apply()
	far := map[bool]*bgptest.Peer{}
	for notify, a := range addresses {
		o := restarter(time.Minute, notify, wireFamilies...)
		o.Silent = true
		far[notify] = s.far(a, o)
		must(t, far[notify].Announce(hop(a, far[notify].Heard().Open.AS), prefix("198.41.0.0/24")))
	}
	for notify, a := range addresses {
		p := s.untilPeer(s.name(a), "is lost", func(p PeerStatus) bool { return p.Flaps == 1 })
		// Without N on both sides that is no restart (RFC 8538 section 4), although GoBGP
		// takes it for one.
		if familyOf(p, IPv4).Retained != notify {
			t.Errorf("N %v: %+v", notify, p)
		}
		if p.LastError != "the hold time passed without a word from the peer (Hold Timer Expired)" {
			t.Errorf("%q", p.LastError)
		}
		if n, err := far[notify].WaitNotification(testContext(t)); err != nil || n.Code != 4 {
			t.Errorf("%+v %v", n, err)
		}
	}
}

// TestB_GR_06_B_GR_07_NothingIsToldBeforeAllHaveSpoken is about a start with what was
// forwarded before.
func TestB_GR_06_B_GR_07_NothingIsToldBeforeAllHaveSpoken(t *testing.T) {
	s := newSite(t)
	s.config.Restarting = true
	a := s.peer(64501, 0, restartable)
	b := s.peer(64502, 1, restartable)
	s.peer(64503, 2, func(p *Peer) { p.Shutdown = "not needed" })
	s.apply()
	fa := s.far(a, restarter(time.Minute, true, wireFamilies...))
	must(t, fa.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	must(t, fa.EndOfRIB(wireFamilies...))
	s.untilPeer("as64501", "is synced", func(p PeerStatus) bool { return familyOf(p, IPv4).Synced && familyOf(p, IPv6).Synced })
	if b, ok := s.take(make([]Route, 0, 8)); ok {
		t.Fatalf("told %+v", b)
	}
	fb := s.far(b, restarter(time.Minute, true, wireFamilies...))
	must(t, fb.Announce(hop(b, 64502), prefix("198.41.0.0/24")))
	if b, ok := s.take(make([]Route, 0, 8)); ok {
		t.Fatalf("told %+v", b)
	}
	must(t, fb.EndOfRIB(wireFamilies...))
	batch, err := s.Next(testContext(t), make([]Route, 0, 8))
	must(t, err)
	if !batch.Synced || !slices.Equal(batch.Routes, []Route{{prefix("198.41.0.0/24"), Choice(0).With(0, First).With(1, Second)}}) {
		t.Errorf("%+v", batch)
	}
	// Whoever forgot is told again, and that it is all.
	s.Again()
	if batch, err = s.Next(testContext(t), make([]Route, 0, 8)); err != nil || !batch.Synced || len(batch.Routes) != 1 {
		t.Errorf("%+v %v", batch, err)
	}
}

func TestB_GR_07_TheDeferralEnds(t *testing.T) {
	s := newSite(t)
	s.config.Restarting, s.config.Deferral = true, time.Second
	own := prefix("203.0.113.0/24")
	a := s.peer(64501, 0, func(p *Peer) { restartable(p); p.Announce = []Announcement{{Prefix: own}} })
	s.peer(64502, 1, restartable)
	s.apply()
	fa := s.far(a, restarter(time.Minute, true, wireFamilies...))
	must(t, fa.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	must(t, fa.EndOfRIB(wireFamilies...))
	batch, err := s.Next(testContext(t), make([]Route, 0, 8))
	must(t, err)
	if !batch.Synced || len(batch.Routes) != 1 || !s.Status().Synced {
		t.Errorf("%+v", batch)
	}
	// What is announced comes with it.
	_, err = fa.WaitRoute(testContext(t), own)
	must(t, err)
}
