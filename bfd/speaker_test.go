package bfd

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// A failure of one family leaves the other alone.
func TestBFD_SH_01_Families(t *testing.T) {
	s := newSite(t)
	hostL, hostR := s.wire()
	left, right := s.speaker(hostL), s.speaker(hostR)
	v4, v6 := families[0], families[1]
	p4 := s.bothUp(left, right, onLink(v4.a, v4.b), onLink(v4.b, v4.a))
	p6 := s.bothUp(left, right, calm(onLink(v6.a, v6.b)), calm(onLink(v6.b, v6.a)))
	before := len(p6.left.history())
	s.must(hostR.RemoveAddress("eth0", subnet(v4.b)))
	p4.left.await(Down)
	if p6.left.Status().State != Up || len(p6.left.history()) != before {
		t.Errorf("IPv6 follows IPv4: %v", p6.left.history())
	}
	if e := p4.left.history(); !e[len(e)-1].Failure() || e[len(e)-1].Diag != DiagTimeExpired {
		t.Errorf("not a failure: %v", e)
	}
}

// calm makes a session that survives what other programs do to the machine.
func calm(c Config) Config {
	c.Multiplier = 100
	return c
}

// The same peer address on two interfaces is two sessions.
func TestBFD_SH_04_TwoInterfaces(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := newSite(t)
		left := s.host("left")
		var ends []*liveSpeaker
		for _, dev := range []string{"eth0", "eth1"} {
			h := s.host("right-" + dev)
			s.must(s.lab.Veth(left, dev, h, "eth0"))
			s.address(left, dev, f.a)
			s.address(h, "eth0", f.b)
			ends = append(ends, s.speaker(h))
		}
		speaker := s.speaker(left)
		var ours, theirs []*watched
		for i, dev := range []string{"eth0", "eth1"} {
			c := calm(onLink(f.a, f.b))
			c.Interface = dev
			ours = append(ours, speaker.session(c))
			theirs = append(theirs, ends[i].session(calm(onLink(f.b, f.a))))
		}
		for i := range ours {
			ours[i].await(Up)
			theirs[i].await(Up)
			if got, want := ours[i].Status().RemoteDiscriminator, theirs[i].Status().LocalDiscriminator; got != want {
				t.Errorf("session %d has peer %d, want %d", i, got, want)
			}
		}
		if n := speaker.Stats().Dropped; n[DropInterface] != 0 {
			t.Errorf("drops: %v", n)
		}
	})
}

// What is sent goes to port 3784 with hop limit 255, in class CS6 and whole, from a
// port of its own that stays the same when the session flaps, gets another configuration
// or loses its interface.
func TestBFD_SH_05_BFD_SH_06_BFD_SH_07_BFD_SH_08_Sent(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		t.Parallel() // most of it is waiting
		s := newSite(t)
		hostL, hostR := s.wire()
		second := f.b.Next()
		s.address(hostR, "eth0", second)
		left, right := s.speaker(hostL), s.speaker(hostR)
		tap := s.sniff(hostR, "eth0")
		p := s.bothUp(left, right, onLink(f.a, f.b), onLink(f.b, f.a))
		other := left.session(onLink(f.a, second))
		tap.later(f.a, 5)
		eventually(t, "packets of the second session", func() (bool, any) {
			return slices.ContainsFunc(tap.all(), func(p sniffed) bool { return p.dst == second }), len(tap.all())
		})
		other.Close()

		p.right.Disable()
		p.left.await(Down)
		p.right.Enable()
		p.left.await(Up)
		c := onLink(f.a, f.b)
		c.DesiredMinTx, c.Multiplier = 70*time.Millisecond, 5
		s.must(p.left.Update(c))
		p.left.until("the new interval", func(st Status) bool { return st.TxInterval == c.DesiredMinTx && !st.Polling })
		first := tap.all()

		s.must(hostL.DeleteLink("eth0"))
		p.left.until("a problem", func(st Status) bool { return strings.Contains(st.Problem, "no interface eth0") })
		s.must(s.lab.Veth(hostL, "eth0", hostR, "eth0"))
		// The lab gives the other end what it had.
		s.address(hostL, "eth0", f.a)
		tap = s.sniff(hostR, "eth0")
		p.left.await(Up)
		tap.later(f.a, 3)

		ports := map[netip.Addr]uint16{}
		for _, p := range append(first, tap.all()...) {
			if p.src != f.a {
				continue
			}
			if p.dstPort != 3784 || p.ttl != 255 || p.class != 0xc0 || p.fragmentable {
				t.Fatalf("sent: %+v", p)
			}
			if p.srcPort < 49152 {
				t.Fatalf("source port %d", p.srcPort)
			}
			if had := ports[p.dst]; had != 0 && had != p.srcPort {
				t.Fatalf("source port to %s was %d, is %d", p.dst, had, p.srcPort)
			}
			ports[p.dst] = p.srcPort
		}
		if len(ports) != 2 || ports[f.b] == ports[second] {
			t.Errorf("source ports: %v", ports)
		}
	})
}

// Only hop limit 255 is taken.
func TestBFD_SH_09_HopLimit(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := newSite(t)
		hostL, hostR := s.wire()
		left := s.speaker(hostL)
		w := left.session(onLink(f.a, f.b))
		w.until("sending", func(st Status) bool { return st.Sent > 0 })
		for i, ttl := range []int{254, 64, 1} {
			p := s.puppet(hostR, shape{f.b, f.a, uint16(50010 + i), 3784, ttl, "eth0"})
			p.say(patient(Down, 77, 0))
			left.dropped(DropTTL, uint64(i+1))
		}
		if st := w.Status(); st.State != Down || st.Received != 0 {
			t.Fatalf("taken: %+v", st)
		}
		s.puppet(hostR, shape{f.b, f.a, 50001, 3784, 255, "eth0"}).lift(w)
	})
}

// With the right discriminator neither port nor address of the source matter.
func TestBFD_SH_11_BFD_RX_08_Source(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := newSite(t)
		hostL, hostR := s.wire()
		s.address(hostR, "eth0", f.odd)
		left := s.speaker(hostL)
		w := left.session(onLink(f.a, f.b))
		s.puppet(hostR, shape{f.b, f.a, 50000, 3784, 255, "eth0"}).lift(w)
		discriminator := w.Status().LocalDiscriminator
		dst := f.a
		if f.a.Is6() {
			// The odd source is of another scope than the link-local address.
			dst = f.odd.Next()
			s.address(hostL, "eth0", dst)
		} else {
			s.must(hostR.AddRoute(netip.PrefixFrom(f.a, 32), netip.Addr{}, "eth0"))
		}
		for _, sh := range []shape{{f.b, f.a, 1234, 3784, 255, "eth0"}, {f.odd, dst, 50002, 3784, 255, "eth0"}} {
			before := w.Status().Received
			s.puppet(hostR, sh).say(patient(Up, 78, discriminator))
			w.until("taken", func(st Status) bool { return st.Received == before+1 })
		}
		if st := w.Status(); st.State != Up || st.RemoteDiscriminator != 78 || len(st.Dropped) != 0 {
			t.Errorf("status: %+v", st)
		}
		// It is not taken without the discriminator.
		s.puppet(hostR, shape{f.odd, dst, 50003, 3784, 255, "eth0"}).say(patient(Down, 79, 0))
		left.dropped(DropNoPeer, 1)
	})
}

// Packets leave by the interface of the session though there is a better route, and
// from its subnet if no address was configured.
func TestBFD_SH_12_BFD_SH_13_Interface(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := newSite(t)
		hostL, hostR := s.wire()
		s.must(s.lab.Veth(hostL, "eth1", hostR, "eth1"))
		extra := map[bool]netip.Addr{true: netip.MustParseAddr("198.18.0.1"), false: netip.MustParseAddr("2001:db8:99::1")}[f.a.Is4()]
		s.address(hostL, "eth0", extra)
		s.address(hostL, "eth1", extra.Next())
		s.must(hostL.AddRoute(netip.PrefixFrom(f.b, f.b.BitLen()), netip.Addr{}, "eth1"))
		left, right := s.speaker(hostL), s.speaker(hostR)
		stray, tap := s.sniff(hostR, "eth1"), s.sniff(hostR, "eth0")
		c := calm(onLink(f.a, f.b))
		c.Local = netip.Addr{}
		s.bothUp(left, right, c, calm(onLink(f.b, f.a)))
		tap.later(f.a, 3)
		for _, p := range tap.all() {
			if p.src != f.a {
				t.Errorf("sent from elsewhere: %+v", p)
			}
		}
		if seen := stray.all(); len(seen) != 0 {
			t.Errorf("sent by the other interface: %+v", seen)
		}
	})
}

// Over a point-to-point link packets are taken from any source, and go where they are
// configured to go.
func TestBFD_SH_14_BFD_SH_15_PointToPoint(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := newSite(t)
		hostL, hostR := s.host("left"), s.host("right")
		_, err := s.lab.PointToPoint(hostL, "ppp0", hostR, "ppp0")
		s.must(err)
		s.must(hostL.AddPeer("ppp0", f.farA, f.farB))
		s.must(hostR.AddPeer("ppp0", f.farB, f.farA))
		s.must(hostR.AddAddress("lo", netip.PrefixFrom(f.odd, f.odd.BitLen())))
		left, right := s.speaker(hostL), s.speaker(hostR)
		tap := s.sniff(hostR, "ppp0")
		l, r := calm(onLink(f.farA, f.farB)), calm(onLink(f.odd, f.farA))
		l.Interface, r.Interface = "ppp0", "ppp0"
		l.PointToPoint, r.PointToPoint = true, true
		s.bothUp(left, right, l, r)
		for _, p := range tap.later(f.farA, 3) {
			if p.dst != f.farB {
				t.Errorf("sent to %s", p.dst)
			}
		}
	})
}

// far is two hosts with a router between them.
func (s *site) far() (left, router, right *lab.Host) {
	s.t.Helper()
	left, router, right = s.host("left"), s.host("router"), s.host("right")
	s.must(s.lab.Veth(left, "eth0", router, "eth0"))
	s.must(s.lab.Veth(right, "eth0", router, "eth1"))
	s.must(router.Forward())
	for _, f := range families {
		link := map[bool][2]string{true: {"10.1.0.1", "10.2.0.1"}, false: {"2001:db8:a::1", "2001:db8:b::1"}}[f.a.Is4()]
		for i, h := range []*lab.Host{left, right} {
			near := netip.MustParseAddr(link[i])
			dev := []string{"eth0", "eth1"}[i]
			own, other := f.farA, f.farB
			if h == right {
				own, other = other, own
			}
			s.address(h, "eth0", near)
			s.address(router, dev, near.Next())
			s.must(h.AddAddress("lo", netip.PrefixFrom(own, own.BitLen())))
			s.must(h.AddRoute(subnet(other).Masked(), near.Next(), "eth0"))
			s.must(router.AddRoute(subnet(own).Masked(), near, dev))
		}
	}
	return left, router, right
}

// Multihop sessions use port 4784, are told apart by both addresses, and have a
// least hop limit.
func TestBFD_MH_01_BFD_MH_03_BFD_MH_06_Multihop(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		t.Parallel() // most of it is waiting
		s := newSite(t)
		hostL, _, hostR := s.far()
		second := f.farA.Next()
		s.must(hostL.AddAddress("lo", netip.PrefixFrom(second, second.BitLen())))
		left, right := s.speaker(hostL), s.speaker(hostR)
		tap := s.sniff(hostR, "eth0")
		over := func(local, peer netip.Addr) Config {
			c := calm(onLink(local, peer))
			c.Multihop, c.Interface = true, ""
			return c
		}
		strict := over(second, f.farB)
		strict.MinTTL = 255
		p := livePair{left.session(over(f.farA, f.farB)), right.session(over(f.farB, f.farA))}
		q := livePair{left.session(strict), right.session(over(f.farB, second))}
		p.left.await(Up)
		p.right.await(Up)
		if got, want := p.left.Status().RemoteDiscriminator, p.right.Status().LocalDiscriminator; got != want {
			t.Errorf("peer %d, want %d", got, want)
		}
		q.left.until("drops", func(st Status) bool { return st.Dropped[DropTTL] > 0 })
		if st := q.left.Status(); st.State != Down || st.Received != 0 {
			t.Errorf("taken with hop limit 254: %+v", st)
		}
		strict.MinTTL = 254
		s.must(q.left.Update(strict))
		q.left.await(Up)
		q.right.await(Up)
		for _, p := range tap.from(f.farA) {
			// One less, for the router.
			if p.dstPort != 4784 || p.ttl != 254 || p.srcPort < 49152 {
				t.Fatalf("sent: %+v", p)
			}
		}
	})
}

// A packet to one port never feeds a session of the other.
func TestBFD_MH_07_Ports(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := newSite(t)
		hostL, router, _ := s.far()
		left := s.speaker(hostL)
		near := map[bool]netip.Addr{true: netip.MustParseAddr("10.1.0.1"), false: netip.MustParseAddr("2001:db8:a::1")}[f.a.Is4()]
		single := left.session(onLink(near, near.Next()))
		c := onLink(near, near.Next())
		c.Multihop, c.Interface, c.Peer = true, "", f.farB
		multi := left.session(c)
		s.puppet(router, shape{near.Next(), near, 50000, 3784, 255, "eth0"}).lift(single)
		s.puppet(router, shape{near.Next(), near, 50001, 3784, 255, "eth0"}).say(patient(Down, 5, multi.Status().LocalDiscriminator))
		left.dropped(DropPort, 1)
		p := s.puppet(router, shape{near.Next(), near, 50002, 4784, 255, "eth0"})
		p.say(patient(Down, 5, multi.Status().LocalDiscriminator))
		multi.until("one packet", func(st Status) bool { return st.Received == 1 })
		p.say(patient(Down, 5, single.Status().LocalDiscriminator))
		left.dropped(DropPort, 2)
		if st := single.Status(); st.State != Up {
			t.Errorf("the single hop session is %s", st.State)
		}
	})
}
