package fib

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Rows of the conformance list that no other file of this package is about.

// The reserved fields of struct nexthop_grp must be 0 (net/ipv4/nexthop.c,
// nh_check_attr_group), whatever the members are; weight_high, which took the
// place of one of them in Linux 6.12, must be 0 for older kernels.
func TestLNX_NH_17(t *testing.T) {
	members := []Member{
		{NextHop: 1, Weight: 1}, {NextHop: 1<<32 - 1, Weight: MaxWeight},
		{NextHop: 3, Weight: 255, Standby: true}, {NextHop: 0x01020304, Weight: 17},
	}
	for _, g := range []Group{
		{ID: 20, Type: GroupHashThreshold, Members: members},
		{ID: 20, Type: GroupResilient, Buckets: 65535, Members: members},
	} {
		for _, v := range []Verb{Add, Replace} {
			b, err := encodeOp(nil, Op{Verb: v, Object: g, Protocol: 133}, 7)
			if err != nil {
				t.Fatal(err)
			}
			_, body, _, err := nextMessage(b)
			if err != nil {
				t.Fatal(err)
			}
			a, err := parseAttributes(body[nextHopHeaderLen:])
			if err != nil {
				t.Fatal(err)
			}
			entries := a.value[unix.NHA_GROUP]
			if len(entries) != len(members)*groupEntryLen {
				t.Fatalf("%s of %s: %d bytes of members", v, g.Type, len(entries))
			}
			for i, m := range members {
				e := entries[i*groupEntryLen:][:groupEntryLen]
				// id, weight-1, weight_high, resvd2
				if binary.NativeEndian.Uint32(e) != m.NextHop || int(e[4])+1 != m.Weight || e[5] != 0 || e[6] != 0 || e[7] != 0 {
					t.Errorf("%s of %s: member %+v is % x", v, g.Type, m, e)
				}
			}
			// resvd of struct nhmsg, behind family, scope and protocol.
			if body[3] != 0 {
				t.Errorf("%s of %s: header % x", v, g.Type, body[:nextHopHeaderLen])
			}
		}
	}
}

// The filter in force is the higher one of "all" and the device, where loose (2)
// counts as higher than strict (1).
func TestLNX_SYS_03(t *testing.T) {
	s := newSite(t)
	own := s.addr(IPv4, 2, 1).String()
	s.ip(IPv4, "route add default via %s dev eth1", s.gateway(IPv4, 1))
	for _, c := range []struct {
		all, device int
		accepted    bool
	}{
		{0, 0, true}, {0, 1, false}, {1, 0, false}, {1, 1, false}, {0, 2, true}, {2, 0, true}, {1, 2, true}, {2, 1, true}, {2, 2, true},
	} {
		s.set("net/ipv4/conf/all/rp_filter", fmt.Sprint(c.all))
		s.set("net/ipv4/conf/eth2/rp_filter", fmt.Sprint(c.device))
		s.wantAccepted(fmt.Sprintf("with rp_filter %d for all and %d for eth2", c.all, c.device), 2, c.accepted, own, "")
	}
}

// far is a destination that only a default leads to.
var far = map[Family]netip.Addr{IPv4: netip.MustParseAddr("203.0.113.1"), IPv6: netip.MustParseAddr("2001:db8:ffff::1")}

// sourceOf returns the source that the kernel chooses for a destination far away.
func (s *site) sourceOf(f Family, extra string) string {
	s.t.Helper()
	fields := strings.Fields(s.ip(f, "route get %s %s", far[f], extra))
	for i := range fields[:len(fields)-1] {
		if fields[i] == "src" {
			return fields[i+1]
		}
	}
	return ""
}

// RFC 6724 section 4: without a preferred source the kernel takes an address of
// the outgoing interface; the preferred source of a route of ours wins, also over
// a next-hop object and if it is on another interface.
func TestSRC_06(t *testing.T) {
	s := newSite(t)
	for n, f := range Families {
		for i := 1; i <= 2; i++ {
			s.ip(f, "route replace default via %s dev eth%d", s.gateway(f, i), i)
			if got, want := s.sourceOf(f, ""), s.addr(f, i, 1).String(); got != want {
				s.differs("%s: by eth%d the source is %q, not %s", f, i, got, want)
			}
		}
		s.ip(f, "rule add pref 49 lookup 221")
		// A rule before main, without its default: IPv6 looks for gateways by rules.
		s.ip(f, "rule add pref 48 lookup main suppress_prefixlength 0")
		second := s.prefix(f, 1, 7)
		s.must(s.edge.AddAddress("eth1", second))
		for m, source := range []netip.Addr{s.addr(f, 1, 1), second.Addr(), s.addr(f, 2, 1)} {
			id := uint32(1100 + 10*n + 2*m)
			s.apply(Add, s.hop(id, f, 1))
			s.apply(Replace, Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: id, Source: source})
			if got := s.sourceOf(f, ""); got != source.String() {
				t.Errorf("%s: with the preferred source %s the kernel takes %q", f, source, got)
			}
		}
	}
}

// RFC 6724 section 4: a source that the application chose is respected if it is an
// address of the host, and an error if not. Linux takes every address of the host
// for a candidate, that of another interface as well: it is the weak model of RFC
// 1122 section 3.3.4.2, which is why each address needs a rule of its own.
func TestSRC_09(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.ip(f, "route add default via %s dev eth1", s.gateway(f, 1))
		for i := 1; i <= 2; i++ {
			own := s.addr(f, i, 1)
			if got, err := s.connect(own, far[f]); err != nil || got != own {
				s.differs("%s: the host's own address %s became %v, %v", f, own, got, err)
			}
			// Of eth2, and still by the default over eth1.
			s.shows(s.ip(f, "route get %s from %s", far[f], own), "from "+own.String(), "dev eth1")
		}
		if _, err := s.connect(s.addr(f, 1, 77), far[f]); !errors.Is(err, unix.EADDRNOTAVAIL) {
			s.differs("%s: a stranger's address as source: %v, not EADDRNOTAVAIL", f, err)
		}
	}
}

// connect asks the kernel for a connected socket with this source and returns the
// source that it has got.
func (s *site) connect(source, to netip.Addr) (got netip.Addr, err error) {
	s.t.Helper()
	err = s.edge.Do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
		if err != nil {
			return err
		}
		local, err := netip.ParseAddrPort(c.LocalAddr().String())
		got = local.Addr()
		return errors.Join(err, c.Close())
	})
	return got.Unmap(), err
}
