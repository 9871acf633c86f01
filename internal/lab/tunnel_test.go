package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestPointToPointCarriesBothFamilies(t *testing.T) {
	t.Parallel()
	l := newTestLab(t)
	a, b := newTestHost(t, l, "a"), newTestHost(t, l, "b")
	tunnel, err := l.PointToPoint(a, "ppp0", b, "ppp7")
	must(t, err)
	for _, p := range [][2]netip.Addr{{addr("192.0.2.1"), addr("203.0.113.1")}, {addr("2001:db8::1"), addr("2001:db8:1::1")}} {
		must(t, a.AddPeer("ppp0", p[0], p[1]))
		must(t, b.AddPeer("ppp7", p[1], p[0]))
		if !pings(t, a, p[1], patient) {
			t.Errorf("no answer from %s", p[1])
		}
	}
	out, err := a.IP("-o", "link", "show", "ppp0")
	must(t, err)
	for _, want := range []string{"POINTOPOINT", "NOARP", "qlen 8192"} {
		if !strings.Contains(out, want) {
			t.Errorf("not %s: %s", want, out)
		}
	}

	tunnel.Cut(true)
	before := tunnel.Dropped()
	if pings(t, a, addr("203.0.113.1"), 200*time.Millisecond) {
		t.Error("an answer through a cut tunnel")
	}
	if tunnel.Dropped() == before {
		t.Error("the cut tunnel dropped nothing")
	}
	tunnel.Cut(false)
	if !pings(t, a, addr("203.0.113.1"), patient) {
		t.Error("no answer after the cut")
	}
}

// TestAddressIsUsableAtOnce sends by each address the moment that it is added; the
// kernel itself would answer ENETUNREACH to a few of a hundred.
func TestAddressIsUsableAtOnce(t *testing.T) {
	t.Parallel()
	l := newTestLab(t)
	a, b := newTestHost(t, l, "a"), newTestHost(t, l, "b")
	_, err := l.PointToPoint(a, "ppp0", b, "ppp0")
	must(t, err)
	for _, first := range [][2]netip.Addr{{addr("192.0.2.1"), addr("203.0.113.1")}, {addr("2001:db8::1"), addr("2001:db8:1::1")}} {
		local, peer := first[0], first[1]
		for i := range 150 {
			must(t, a.AddPeer("ppp0", local, peer))
			conn, err := a.listenUDP(netip.AddrPortFrom(local, 0))
			must(t, err)
			if _, err := conn.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(peer, 9)); err != nil {
				t.Fatalf("address %d, %s to %s: %v", i, local, peer, err)
			}
			must(t, conn.Close())
			local, peer = local.Next(), peer.Next()
		}
	}
}

func TestTunnelCarrier(t *testing.T) {
	t.Parallel()
	l := newTestLab(t)
	a, b := newTestHost(t, l, "a"), newTestHost(t, l, "b")
	tunnel, err := l.PointToPoint(a, "ppp0", b, "ppp0")
	must(t, err)
	for _, on := range []bool{false, true} {
		must(t, tunnel.SetCarrier(SideA, on))
		waitFor(t, "the carrier follows", func() bool {
			out, err := a.IP("-o", "link", "show", "ppp0")
			must(t, err)
			return strings.Contains(out, "LOWER_UP") == on
		})
	}
}

func TestTunnelVanishesAndReturnsWithAnotherIndex(t *testing.T) {
	t.Parallel()
	l := newTestLab(t)
	a, b := newTestHost(t, l, "a"), newTestHost(t, l, "b")
	tunnel, err := l.PointToPoint(a, "ppp0", b, "ppp0")
	must(t, err)
	must(t, a.AddPeer("ppp0", addr("192.0.2.1"), addr("203.0.113.1")))
	must(t, b.AddPeer("ppp0", addr("203.0.113.1"), addr("192.0.2.1")))
	first, err := a.Index("ppp0")
	must(t, err)

	must(t, tunnel.Delete(SideA))
	must(t, tunnel.Delete(SideA))
	waitFor(t, "the device is gone", func() bool { _, err := a.Index("ppp0"); return err != nil })
	if err := tunnel.SetCarrier(SideA, true); err == nil {
		t.Error("set the carrier of a device that does not exist")
	}

	must(t, tunnel.Recreate(SideA))
	if err := tunnel.Recreate(SideA); err == nil {
		t.Error("created a device that exists")
	}
	second, err := a.Index("ppp0")
	must(t, err)
	if first == second {
		t.Errorf("the new device has the old index %d", first)
	}
	must(t, a.AddPeer("ppp0", addr("192.0.2.1"), addr("203.0.113.1")))
	if !pings(t, a, addr("203.0.113.1"), patient) {
		t.Error("no answer over the new device")
	}
}
