package bgp

import (
	"net/netip"
	"testing"
)

// TestB_POL_09_B_4271_07_B_7606_13_ASPaths has the AS paths that are refused.
func TestB_POL_09_B_4271_07_B_7606_13_ASPaths(t *testing.T) {
	private := func(_ *Config, p *Peer) { p.Import.PrivateAS = true }
	local := func(_ *Config, p *Peer) { p.LocalAS = 65000 }
	privatePeer := func(_ *Config, p *Peer) { p.AS = 64512 }
	for _, c := range []struct {
		name   string
		change func(*Config, *Peer)
		path   []uint32
		want   Reason
	}{
		{"good", nil, []uint32{testPeer, 3356}, Accepted},
		{"the peer's own", nil, []uint32{testPeer}, Accepted},
		{"prepended", nil, []uint32{testPeer, testPeer, testPeer, 3356}, Accepted},
		{"ours", nil, []uint32{testPeer, 3356, testAS}, OwnAS},
		{"ours first", nil, []uint32{testAS, testPeer}, OwnAS},
		{"ours towards this peer", local, []uint32{testPeer, 65000}, OwnAS},
		{"ours although not towards this peer", local, []uint32{testPeer, testAS}, OwnAS},
		{"empty", nil, nil, FirstAS},
		{"another first", nil, []uint32{3356, testPeer}, FirstAS},
		{"AS 0", nil, []uint32{testPeer, 0, 3356}, BadAS},
		{"AS 0 first", nil, []uint32{0, 3356}, BadAS},
		{"AS 0, private ones accepted", private, []uint32{testPeer, 0}, BadAS},
		{"AS_TRANS", nil, []uint32{testPeer, 23456}, BadAS},
		{"AS_TRANS, private ones accepted", private, []uint32{testPeer, 23456}, BadAS},
		{"documents", nil, []uint32{testPeer, 64496}, BadAS},
		{"before documents", nil, []uint32{testPeer, 64495}, Accepted},
		{"private", nil, []uint32{testPeer, 64512}, BadAS},
		{"last private", nil, []uint32{testPeer, 65534}, BadAS},
		{"65535", nil, []uint32{testPeer, 65535}, BadAS},
		{"documents in 4 octets", nil, []uint32{testPeer, 65551}, BadAS},
		{"reserved", nil, []uint32{testPeer, 131071}, BadAS},
		{"behind reserved", nil, []uint32{testPeer, 131072}, Accepted},
		{"before private in 4 octets", nil, []uint32{testPeer, 4199999999}, Accepted},
		{"private in 4 octets", nil, []uint32{testPeer, 4200000000}, BadAS},
		{"last", nil, []uint32{testPeer, 4294967295}, BadAS},
		{"private ones accepted", private, []uint32{testPeer, 64512, 65535, 65551, 4200000000}, Accepted},
		{"a private peer", privatePeer, []uint32{64512, 64512, 3356}, Accepted},
		{"a private peer that comes back", privatePeer, []uint32{64512, 3356, 64512}, BadAS},
		{"behind a private peer", privatePeer, []uint32{64512, 64513}, BadAS},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, f := range Families {
				a := good(f).path(c.path...)
				if _, got := testJudge(f, c.change).path(numbered(f, 100_000), &a); got != c.want {
					t.Errorf("%v: %v is %v, want %v", f, c.path, got.Word(), c.want.Word())
				}
			}
		})
	}
}

// TestB_7606_13_SetsDoNotBeginPaths shows that a path that begins with a set does not
// begin with the peer, whoever is in the set.
func TestB_7606_13_SetsDoNotBeginPaths(t *testing.T) {
	for _, f := range Families {
		a := good(f).path(testPeer)
		a.first = 0
		if _, got := testJudge(f, nil).path(numbered(f, 1), &a); got != FirstAS {
			t.Errorf("%v: %v", f, got.Word())
		}
	}
}

// TestB_POL_11_B_4271_04_B_4271_05_B_8950_01_NextHops has next hops for sessions over
// each family, and paths of both families over them.
func TestB_POL_11_B_4271_04_B_4271_05_B_8950_01_NextHops(t *testing.T) {
	v4, v6 := testAddress(IPv4).String(), testAddress(IPv6).String()
	for _, c := range []struct {
		peer            string
		hop, link       string
		want, wantIfAny Reason
		multihopWant    Reason
	}{
		{v4, v4, "", Accepted, Accepted, Accepted},
		{v4, "::ffff:192.0.2.1", "", Accepted, Accepted, Accepted},
		{v4, "192.0.2.9", "", NextHop, Accepted, NextHop},
		{v4, "2001:db8:1::1", "", NextHop, Accepted, NextHop},
		{v4, "192.0.2.2", "", OwnNextHop, OwnNextHop, OwnNextHop},
		{v4, "::ffff:192.0.2.2", "", OwnNextHop, OwnNextHop, OwnNextHop},
		{v4, "0.0.0.0", "", Malformed, Malformed, Malformed},
		{v4, "224.0.0.5", "", Malformed, Malformed, Malformed},
		{v4, "127.0.0.1", "", Malformed, Malformed, Malformed},
		{v4, "fe80::1", "", NextHop, Accepted, NextHop},
		{v6, v6, "", Accepted, Accepted, Accepted},
		{v6, v6, "fe80::1", Accepted, Accepted, Accepted},
		{v6, "fe80::1", "", Accepted, Accepted, NextHop},
		{v6, "2001:db8:1::9", "", NextHop, Accepted, NextHop},
		{v6, "2001:db8:1::9", "fe80::1", NextHop, Accepted, NextHop},
		{v6, "2001:db8:1::2", "", OwnNextHop, OwnNextHop, OwnNextHop},
		{v6, "192.0.2.1", "", NextHop, Accepted, NextHop},
		{v6, "::", "", Malformed, Malformed, Malformed},
		{v6, "ff02::1", "", Malformed, Malformed, Malformed},
		{v6, "::1", "", Malformed, Malformed, Malformed},
		{"fe80::1%eth0", "fe80::1", "", Accepted, Accepted, Accepted},
		{"fe80::1%eth0", "2001:db8:1::9", "fe80::1", Accepted, Accepted, Accepted},
		{"fe80::1%eth0", "2001:db8:1::9", "", Accepted, Accepted, NextHop},
		{"fe80::1%eth0", "::", "", Accepted, Accepted, Malformed},
		{"fe80::1%eth0", "2001:db8:1::2", "", OwnNextHop, OwnNextHop, OwnNextHop},
		{"fe80::1%eth0", "fe80::9", "", NextHop, Accepted, NextHop},
		{"fe80::1%eth0", "ff02::1", "", Malformed, Malformed, Malformed},
		{"fe80::1%eth0", "192.0.2.9", "", NextHop, Accepted, NextHop},
	} {
		t.Run(c.peer+" "+c.hop+" "+c.link, func(t *testing.T) {
			for _, f := range Families {
				a := good(f).via(c.hop)
				if c.link != "" {
					a.linkLocal = netip.MustParseAddr(c.link)
				}
				for i, want := range []Reason{c.want, c.wantIfAny, c.multihopWant} {
					j := testJudge(f, func(_ *Config, p *Peer) {
						p.Address = netip.MustParseAddr(c.peer)
						p.Import.AnyNextHop = i == 1
						if i == 2 {
							p.Multihop = 2
						}
					})
					if _, got := j.path(numbered(f, 1), &a); got != want {
						t.Errorf("%v, %d: %v, want %v", f, i, got.Word(), want.Word())
					}
				}
			}
		})
	}
}
