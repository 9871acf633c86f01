package bfd

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestEchoPointToPoint: with a peer's address or without, and without link-layer
// addresses.
func TestEchoPointToPoint(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		for name, withPeer := range map[string]bool{"peer": true, "no peer": false} {
			t.Run(name, func(t *testing.T) {
				s := newEchoSite(t, conf)
				conf := conf
				conf.Interface = "ppp0"
				tunnel, err := s.lab.PointToPoint(s.edge, "ppp0", s.isp, "ppp7")
				s.must(err)
				local, peer := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1")
				if conf.Peer.Is6() {
					local, peer = netip.MustParseAddr("2001:db8:9::2"), netip.MustParseAddr("2001:db8:9::1")
				}
				conf.Local, conf.Peer = local, peer
				s.must(s.isp.AddPeer("ppp7", peer, local))
				if withPeer {
					s.must(s.edge.AddPeer("ppp0", local, peer))
				} else {
					s.must(s.edge.AddAddress("ppp0", netip.PrefixFrom(local, local.BitLen())))
					s.must(s.edge.AddRoute(netip.PrefixFrom(local, 0), netip.Addr{}, "ppp0"))
				}
				s.sysctl(s.isp, "rp_filter", "0")
				r := s.start(conf)
				r.untilUp()
				tunnel.Cut(true)
				r.until("Down", func(st Status) bool { return st.State == Down })
				tunnel.Cut(false)
				r.untilUp()
			})
		}
	})
}

// TestBFD_UE_03_BoundToDevice: a better route to the neighbour by another device changes
// nothing.
func TestBFD_UE_03_BoundToDevice(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		s := newEchoSite(t, conf)
		other := s.host("other")
		s.must(s.lab.Veth(s.edge, "wan2", other, "cust"))
		c := s.capture(other, "cust", nil)
		local := netip.MustParseAddr("192.0.2.2")
		if conf.Peer.Is6() {
			local = netip.MustParseAddr("2001:db8:9::2")
		}
		s.must(s.edge.AddAddress("wan2", subnet(local)))
		s.must(s.edge.AddRoute(netip.PrefixFrom(conf.Peer, conf.Peer.BitLen()), netip.Addr{}, "wan2"))
		s.start(conf).untilUp()
		about := func(f captured) bool { return bytes.Contains(f.b, conf.Peer.AsSlice()) }
		if n := c.count(about); n > 0 {
			t.Errorf("%d packets left by the other device", n)
		}
	})
}

// TestBFD_SH_18_LinkLocal: a router of IPv6 is known by its link-local address.
func TestBFD_SH_18_LinkLocal(t *testing.T) {
	t.Parallel()
	conf := echoFamilies["IPv6"]
	s := newEchoSite(t, conf)
	conf.Peer = netip.MustParseAddr("fe80::1")
	s.must(s.isp.AddAddress("cust", netip.PrefixFrom(conf.Peer, 64)))
	s.start(conf).untilUp()
}

// TestBFD_SH_01_FamiliesApart: the sessions of either family share an interface, and
// nothing else.
func TestBFD_SH_01_FamiliesApart(t *testing.T) {
	t.Parallel()
	v4, v6 := echoFamilies["IPv4"], echoFamilies["IPv6"]
	v6.DesiredMinTx = 300 * time.Millisecond // that no busy machine gets in the way
	s := newEchoSite(t, v4)
	s.must(s.edge.AddAddress("wan", subnet(v6.Local)))
	s.must(s.isp.AddAddress("cust", subnet(v6.Peer)))
	s.must(s.edge.AddAddress("lo", netip.PrefixFrom(v6.EchoSource, 128)))
	r := s.start(v4)
	second, err := r.session.speaker.Open(v6, nil)
	s.must(err)
	r.eventually("both Up", func() bool { return r.status().State == Up && second.Status().State == Up })
	s.forwarding("0") // of IPv4
	r.until("Down", func(st Status) bool { return st.State == Down })
	if st := second.Status(); st.State != Up || st.Failures > 0 {
		t.Errorf("%+v", st)
	}
	second.Close()
	s.forwarding("1")
	r.untilUp()
}

// A device that vanishes and comes back has another index. The session goes on, from
// the same source port, or the neighbour's filters would see another flow.
func TestEchoDeviceReturns(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		s := newEchoSite(t, conf)
		ports := map[uint16]bool{}
		note := func(_ *capture, f captured) {
			if ip, ok := f.echo(); ok {
				header := ipv4Header
				if conf.Peer.Is6() {
					header = ipv6Header
				}
				ports[binary.BigEndian.Uint16(ip[header:])] = true
			}
		}
		first := s.capture(s.isp, "cust", note)
		r := s.start(conf)
		r.untilUp()
		s.must(s.edge.DeleteLink("wan"))
		r.until("reason", func(st Status) bool { return st.State == Down && strings.Contains(st.Problem, "no interface wan") })
		first.close()
		s.must(s.lab.Veth(s.edge, "wan", s.isp, "cust"))
		second := s.capture(s.isp, "cust", note)
		s.must(s.edge.AddAddress("wan", subnet(conf.Local)))
		s.forwarding("1")
		r.untilUp()
		second.close()
		if len(ports) != 1 {
			t.Errorf("source ports %v", ports)
		}
	})
}

// TestEchoStalled: a thread that does not get to run misses none of the packets that it
// did not send.
func TestEchoStalled(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		s := newEchoSite(t, conf)
		r := s.start(conf)
		for range 3 {
			received := r.untilUp().Received
			r.until("packets", func(st Status) bool { return st.Received > received+5 })
			r.session.speaker.locked(func(*table) { <-time.After(400 * time.Millisecond) })
		}
		if st := r.status(); st.Failures > 0 || st.WorstLateness < 200*time.Millisecond {
			t.Errorf("%+v", st)
		}
	})
}
