package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// both are the options of a far end with both families and graceful restart, so
// that End-of-RIB is sent to it.
func both() bgptest.Options {
	return bgptest.Options{
		Families:        []bgptest.Family{bgptest.IPv4, bgptest.IPv6},
		GracefulRestart: &bgptest.GracefulRestart{Time: time.Minute, Families: []bgptest.Family{bgptest.IPv4, bgptest.IPv6}},
		ExtendedNextHop: true,
	}
}

// restartable makes a peer with both families and graceful restart.
func restartable(p *Peer) {
	p.Families = []Family{IPv4, IPv6}
	p.GracefulRestart.Enabled = true
}

// heardAll waits until the far end was told everything.
func heardAll(t *testing.T, p *bgptest.Peer) bgptest.Heard {
	t.Helper()
	must(t, p.WaitEndOfRIB(testContext(t), bgptest.IPv4))
	must(t, p.WaitEndOfRIB(testContext(t), bgptest.IPv6))
	return p.Heard()
}

func TestB_POL_01_NothingIsAcceptedWithoutPolicy(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, func(p *Peer) { p.Import.Mode = ImportNone })
	s.apply()
	f := s.far(a, bgptest.Options{})
	must(t, f.Announce(hop(a, 64501), prefix("0.0.0.0/0"), prefix("198.41.0.0/24")))
	p := s.untilPeer("as64501", "has refused two", func(p PeerStatus) bool {
		return familyOf(p, IPv4).Refused[NoPolicy] == 2
	})
	if x := familyOf(p, IPv4); x.Accepted != 0 || x.Received != 2 || x.Default.Accepted {
		t.Errorf("%+v", x)
	}
}

func TestB_POL_02_B_POL_04_B_GR_02_WhatIsTold(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	v4, v6 := prefix("203.0.113.0/24"), prefix("2001:db8:1::/48")
	silent := s.peer(64501, 0, restartable)
	told := s.peer(64502, 1, func(p *Peer) {
		restartable(p)
		p.Announce = []Announcement{{Prefix: v4, Communities: []uint32{64502<<16 | 7, GracefulShutdown}, MED: 0, HasMED: true, Prepend: 2}}
	})
	plain := s.peer(64503, 2, func(p *Peer) { restartable(p); p.Announce = []Announcement{{Prefix: v4}} })
	s.apply()
	// Nothing but End-of-RIB without a policy.
	h := heardAll(t, s.far(silent, both()))
	if h.Announced != 0 || h.Withdrawn != 0 || h.EndOfRIB[bgptest.IPv4] != 1 || h.EndOfRIB[bgptest.IPv6] != 1 {
		t.Errorf("told without a policy: %+v", h)
	}
	h = heardAll(t, s.far(told, both()))
	a := h.Routes[v4]
	if a == nil || h.Announced != 1 || !slices.Equal(a.ASPath, []uint32{ourAS, ourAS, ourAS}) || !a.HasMED || a.MED != 0 ||
		!slices.Equal(a.Communities, []uint32{64502<<16 | 7, GracefulShutdown}) || a.NextHop != s.at.Addr() || a.HasLocalPref {
		t.Errorf("%+v", a)
	}
	f := s.far(plain, both())
	h = heardAll(t, f)
	a = h.Routes[v4]
	if a == nil || h.Announced != 1 || !slices.Equal(a.ASPath, []uint32{ourAS}) || a.HasMED || len(a.Communities) != 0 {
		t.Errorf("%+v", a)
	}
	if n := familyOf(peerOf(s.Status(), "as64503"), IPv4).Announced; n != 1 {
		t.Errorf("announced %d", n)
	}
	_ = v6
}

func TestSpeaker_announcementsChange(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	one, two := prefix("203.0.113.0/24"), prefix("203.0.113.128/25")
	a := s.peer(64501, 0, func(p *Peer) { restartable(p); p.Announce = []Announcement{{Prefix: one}} })
	b := s.peer(64502, 1, func(p *Peer) { restartable(p); p.Announce = []Announcement{{Prefix: one}} })
	s.apply()
	fa, fb := s.far(a, both()), s.far(b, both())
	heardAll(t, fa)
	heardAll(t, fb)
	before := len(fb.Heard().Updates)
	ctx := testContext(t)
	s.config.Peers[0].Announce = []Announcement{{Prefix: one, Communities: []uint32{GracefulShutdown}}, {Prefix: two, MED: 50, HasMED: true}}
	s.apply()
	_, err := fa.WaitRouteWhere(ctx, one, func(a bgptest.Attributes) bool { return slices.Equal(a.Communities, []uint32{GracefulShutdown}) })
	must(t, err)
	_, err = fa.WaitRouteWhere(ctx, two, func(a bgptest.Attributes) bool { return a.MED == 50 })
	must(t, err)
	s.config.Peers[0].Announce = nil
	s.apply()
	must(t, fa.WaitNoRoute(ctx, one))
	must(t, fa.WaitNoRoute(ctx, two))
	s.config.Peers[0].Announce = []Announcement{{Prefix: one}}
	s.apply()
	_, err = fa.WaitRouteWhere(ctx, one, func(a bgptest.Attributes) bool { return len(a.Communities) == 0 })
	must(t, err)
	// The other peer is told of nothing of that, and the sessions went on.
	if n := len(fb.Heard().Updates); n != before {
		t.Errorf("the other peer heard %d messages", n-before)
	}
	for _, name := range []string{"as64501", "as64502"} {
		if p := peerOf(s.Status(), name); p.State != Established || p.Flaps != 0 {
			t.Errorf("%+v", p)
		}
	}
}

// TestB_POL_08_B_POL_13_NothingLeaks has each of three peers announce what others must
// not be told, of both families, with and without communities.
func TestB_POL_08_B_POL_13_NothingLeaks(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	s.config.AllowOwn = true // The most permissive there is.
	v4 := prefix("203.0.113.0/24")
	var far []*bgptest.Peer
	var addresses []netip.Addr
	for i := range 3 {
		addresses = append(addresses, s.peer(uint32(64501+i), Slot(i), func(p *Peer) {
			restartable(p)
			p.Import = Import{Mode: ImportFull, PrivateAS: true, AnyNextHop: true, MaxLength4: 32, MaxLength6: 128}
			p.Announce = []Announcement{{Prefix: v4}}
		}))
	}
	s.apply()
	for _, a := range addresses {
		f := s.far(a, both())
		heardAll(t, f)
		far = append(far, f)
	}
	communities := [][]uint32{nil, {bgptest.NoExport}, {bgptest.NoAdvertise}, {GracefulShutdown}, {64502 << 16}}
	for i, f := range far {
		for j, c := range communities {
			x := hop(addresses[i], uint32(64501+i), uint32(3000+i))
			x.Communities = c
			must(t, f.Announce(x, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 41, byte(i), byte(j)}), 32), prefix("0.0.0.0/0"), v4))
			x.NextHop = netip.MustParseAddr("2001:db8:ffff::1")
			must(t, f.Announce(x, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x26, 0, byte(i), byte(j)}), 64), prefix("::/0")))
		}
		must(t, f.EndOfRIB(bgptest.IPv4, bgptest.IPv6))
	}
	for i := range far {
		s.untilPeer(fmt.Sprintf("as%d", 64501+i), "has sent all", func(p PeerStatus) bool {
			return familyOf(p, IPv4).Received == len(communities)+2 && familyOf(p, IPv6).Received == len(communities)+1 && familyOf(p, IPv6).Synced
		})
	}
	// One more change to each, so that what was on its way has come.
	for i := range s.config.Peers {
		s.config.Peers[i].Announce = []Announcement{{Prefix: v4, MED: 7, HasMED: true}}
	}
	s.apply()
	for i, f := range far {
		_, err := f.WaitRouteWhere(testContext(t), v4, func(a bgptest.Attributes) bool { return a.MED == 7 })
		must(t, err)
		for p, a := range f.Heard().Routes {
			if p != v4 || !slices.Equal(a.ASPath, []uint32{ourAS}) {
				t.Errorf("peer %d was told of %v: %+v", i, p, a)
			}
		}
		for _, u := range f.Heard().Updates {
			for _, p := range slices.Concat(u.Announced, u.Withdrawn) {
				if p != v4 {
					t.Errorf("peer %d heard of %v", i, p)
				}
			}
		}
	}
}

// TestB_POL_03_NoWindow starts and changes a Speaker many times while peers announce
// at once: nothing is accepted of the one without a policy, and none is told what
// was not meant for it.
func TestB_POL_03_NoWindow(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	v4, secret := prefix("203.0.113.0/24"), prefix("203.0.113.0/25")
	a := s.peer(64501, 0, func(p *Peer) { p.Import.Mode = ImportNone })
	b := s.peer(64502, 1, func(p *Peer) { p.Announce = []Announcement{{Prefix: v4}, {Prefix: secret}} })
	all := s.config
	for cycle := range 100 {
		s.config = all
		s.config.Peers = slices.Clone(all.Peers)
		s.apply()
		fa, fb := s.far(a, bgptest.Options{}), s.far(b, bgptest.Options{})
		must(t, fa.Announce(hop(a, 64501), prefix("198.41.0.0/24"), prefix("0.0.0.0/0")))
		must(t, fb.Announce(hop(b, 64502), prefix("198.41.1.0/24")))
		s.config.Peers[1].Announce = []Announcement{{Prefix: v4, MED: uint32(cycle), HasMED: true}, {Prefix: secret}}
		s.apply()
		_, err := fb.WaitRouteWhere(testContext(t), v4, func(x bgptest.Attributes) bool { return x.MED == uint32(cycle) && x.HasMED })
		must(t, err)
		_, err = fb.WaitRoute(testContext(t), secret)
		must(t, err)
		s.untilPeer("as64501", "was heard", func(p PeerStatus) bool { return familyOf(p, IPv4).Received == 2 })
		if p := familyOf(peerOf(s.Status(), "as64501"), IPv4); p.Accepted != 0 || p.Default.Accepted {
			t.Fatalf("cycle %d: accepted %+v", cycle, p)
		}
		if h := fa.Heard(); h.Announced+h.Withdrawn != 0 {
			t.Fatalf("cycle %d: told %+v", cycle, h.Updates)
		}
		if h := fb.Heard(); len(h.Routes) != 2 {
			t.Fatalf("cycle %d: told %+v", cycle, h.Routes)
		}
		s.set(Config{})
		must(t, fa.WaitClosed(testContext(t)))
		must(t, fb.WaitClosed(testContext(t)))
	}
}

func TestB_POL_05_B_POL_14_B_4271_07_B_4271_08_B_4271_20_Paths(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, nil)
	b := s.peer(64502, 1, nil)
	c := s.peer(64503, NoSlot, func(p *Peer) { p.Import.Mode = ImportDefault })
	s.apply()
	fa, fb, fc := s.far(a, bgptest.Options{}), s.far(b, bgptest.Options{}), s.far(c, bgptest.Options{})
	p := prefix("198.41.0.0/24")
	long := hop(a, 64501, 64501, 64501)
	must(t, fa.Announce(long, p))
	must(t, fb.Announce(hop(b, 64502), p))
	must(t, fc.Announce(hop(c, 64503), p, prefix("0.0.0.0/0")))
	r := s.routes()
	better := Choice(0).With(1, First).With(0, Second)
	r.until("the shorter path wins", func(r *routes) bool { return r.known[p] == better })
	// Only the default is accepted of the one that is asked for that.
	s.untilPeer("as64503", "is judged", func(p PeerStatus) bool {
		x := familyOf(p, IPv4)
		return x.Refused[NotAsked] == 1 && x.Default.Accepted && x.Accepted == 1
	})
	// Graceful shutdown puts the better path last.
	tagged := hop(b, 64502)
	tagged.Communities = []uint32{GracefulShutdown}
	must(t, fb.Announce(tagged, p))
	r.until("the tagged path is second", func(r *routes) bool { return r.known[p] == Choice(0).With(0, First).With(1, Second) })
	s.untilPeer("as64502", "drains", func(p PeerStatus) bool { return familyOf(p, IPv4).Draining })
	// A looped path replaces the one before: it is known, and refused.
	must(t, fb.Announce(hop(b, 64502, ourAS, 64502), p))
	r.until("one is left", func(r *routes) bool { return r.known[p] == Choice(0).With(0, First) })
	paths, err := s.Paths(testContext(t), Query{Prefix: prefix("198.41.0.128/25")})
	must(t, err)
	if len(paths) != 1 || paths[0].Prefix != p || paths[0].Choice != r.known[p] || len(paths[0].Paths) != 3 {
		t.Fatalf("%+v", paths)
	}
	want := map[string]string{
		"as64501": "first: the only path",
		"as64502": "refused: our own AS is in the AS path",
		"as64503": "refused: not asked for by import",
	}
	for _, x := range paths[0].Paths {
		if x.Why != want[x.Peer] {
			t.Errorf("%s: %q", x.Peer, x.Why)
		}
		if x.Peer == "as64502" && x.ASPath != "64502 64500 64502" {
			t.Errorf("%+v", x)
		}
		if x.NextHop == (netip.Addr{}) || x.Received.IsZero() || x.Origin != "IGP" {
			t.Errorf("%+v", x)
		}
	}
	if paths, err = s.Paths(testContext(t), Query{Prefix: prefix("0.0.0.0/0"), Longer: true}); err != nil || len(paths) != 2 {
		t.Errorf("%+v %v", paths, err)
	}
	if paths[0].Paths[0].Why != whyDefault {
		t.Errorf("%+v", paths[0])
	}
	// A withdrawal of the replaced path leaves nothing behind.
	must(t, fb.Withdraw(p))
	s.untilPeer("as64502", "has nothing", func(p PeerStatus) bool { return familyOf(p, IPv4).Received == 0 })
}

func TestSpeaker_importChanges(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, func(p *Peer) { p.Import.Mode = ImportDefault })
	b := s.peer(64502, 1, nil)
	s.apply()
	fa, fb := s.far(a, bgptest.Options{}), s.far(b, bgptest.Options{})
	var many []netip.Prefix
	for i := range 50 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 41, byte(i), 0}), 24))
	}
	must(t, fa.Announce(hop(a, 64501), many...))
	must(t, fb.Announce(hop(b, 64502), many...))
	r := s.routes()
	is := func(c Choice) func(r *routes) bool {
		return func(r *routes) bool {
			for _, p := range many {
				if r.known[p] != c {
					return false
				}
			}
			return true
		}
	}
	r.until("only the second offers them", is(Choice(0).With(1, First)))
	s.untilPeer("as64501", "has refused all", func(p PeerStatus) bool { return familyOf(p, IPv4).Refused[NotAsked] == 50 })
	s.config.Peers[0].Import.Mode = ImportFull
	s.apply()
	r.until("both do", is(Choice(0).With(0, First).With(1, Second)))
	s.config.Peers[0].Drained = true
	s.apply()
	r.until("the drained one is second", is(Choice(0).With(1, First).With(0, Second)))
	s.config.Peers[0].Drained = false
	s.config.Peers[1].Preference = 200
	s.apply()
	r.until("preference counts", is(Choice(0).With(1, First).With(0, Second)))
	s.config.Peers[0].Tier = -1
	s.apply()
	r.until("and the tier more", is(Choice(0).With(0, First).With(1, Second)))
	// Both change their places.
	s.config.Peers[0].Slot, s.config.Peers[1].Slot = 1, 0
	s.apply()
	r.until("slots are swapped", is(Choice(0).With(1, First).With(0, Second)))
	for _, name := range []string{"as64501", "as64502"} {
		if p := peerOf(s.Status(), name); p.State != Established || p.Flaps != 0 {
			t.Errorf("%+v", p)
		}
	}
}
