package netmon

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/internal/lab"
)

// quiet waits until the monitor has had nothing to read for a while.
func (r *running) quiet(t *testing.T) {
	t.Helper()
	last, since := r.Counters().Reads, time.Now()
	waitFor(t, "the monitor has nothing to read", func() bool {
		if now := r.Counters().Reads; now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 50*time.Millisecond
	})
}

// The kernel's news of a link reach the owner, both ways and at once.
func TestCarrier(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := start(t, s.edge, Config{})
	up := func(s *Snapshot) bool { return s.Links["eth1"].Carrier }
	down := func(s *Snapshot) bool { return !s.Links["eth1"].Carrier && s.Links["eth1"].AdminUp }
	m.wait(t, "eth1 has carrier", up)
	best := patience
	for range 5 {
		m.quiet(t)
		began := time.Now()
		must(t, s.gateway.SetDown("eth1"))
		m.wait(t, "the carrier is lost", down)
		best = min(best, time.Since(began))
		must(t, s.gateway.SetUp("eth1"))
		m.wait(t, "the carrier is back", up)
	}
	t.Logf("from the far end's command to the snapshot: %v at best", best)
	if best > 250*time.Millisecond {
		t.Errorf("the loss of carrier took %v at best", best)
	}
}

func TestLinkAttributes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tunnel, err := s.lab.PointToPoint(s.edge, "ppp0", s.gateway, "ppp0")
	must(t, err)
	must(t, s.edge.AddPeer("ppp0", addr("198.51.100.1"), addr("198.51.100.2")))
	must(t, s.edge.AddPeer("ppp0", addr("2001:db8:1::1"), addr("2001:db8:1::2")))
	must(t, s.edge.AddAddress("eth1", prefix("192.0.2.1/24")))
	mustIP(t, s.edge, "addr", "add", "198.18.0.7/24", "dev", "eth1", "scope", "link")
	mustIP(t, s.edge, "addr", "add", "2001:db8::1/64", "dev", "eth1", "nodad", "preferred_lft", "0")
	mustIP(t, s.edge, "link", "set", "eth1", "mtu", "1400")
	m := start(t, s.edge, Config{})
	snap := m.wait(t, "everything is there", func(s *Snapshot) bool {
		return len(s.Links["ppp0"].Addresses) >= 2 && len(s.Links["eth1"].Addresses) >= 3 && s.Links["ppp0"].Carrier
	})
	index := func(dev string) int {
		n, err := s.edge.Index(dev)
		must(t, err)
		return n
	}
	ignoreLinkLocal := func(l Link) Link {
		l.Addresses = slices.DeleteFunc(slices.Clone(l.Addresses), func(a Address) bool { return a.Prefix.Addr().IsLinkLocalUnicast() })
		return l
	}
	want := []Link{{
		Name: "eth1", Index: index("eth1"), AdminUp: true, Carrier: true, OperState: "up", MTU: 1400,
		Addresses: []Address{
			{Prefix: prefix("198.18.0.7/24"), Usable: true},
			{Prefix: prefix("192.0.2.1/24"), Global: true, Usable: true},
			{Prefix: prefix("2001:db8::1/64"), Global: true, Usable: true, Deprecated: true},
		},
	}, {
		Name: "ppp0", Index: index("ppp0"), AdminUp: true, Carrier: true, OperState: "unknown", PointToPoint: true, NoARP: true, MTU: 1500,
		Addresses: []Address{
			{Prefix: prefix("198.51.100.1/32"), Peer: addr("198.51.100.2"), Global: true, Usable: true},
			{Prefix: prefix("2001:db8:1::1/128"), Peer: addr("2001:db8:1::2"), Global: true, Usable: true},
		},
	}}
	got := []Link{ignoreLinkLocal(snap.Links["eth1"]), ignoreLinkLocal(snap.Links["ppp0"])}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	must(t, tunnel.SetCarrier(lab.SideA, false))
	m.wait(t, "ppp0 has no carrier", func(s *Snapshot) bool { return !s.Links["ppp0"].Carrier && s.Links["ppp0"].AdminUp })
	must(t, tunnel.Delete(lab.SideA))
	m.wait(t, "ppp0 is gone", func(s *Snapshot) bool { _, ok := s.Links["ppp0"]; return !ok })
	must(t, tunnel.Recreate(lab.SideA))
	m.wait(t, "ppp0 is back with another index", func(s *Snapshot) bool {
		l, ok := s.Links["ppp0"]
		return ok && l.Index != want[1].Index && l.AdminUp
	})
}

// Duplicate address detection: an address is usable when it is over, and never if
// somebody else has it.
func TestAddressDetection(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	must(t, s.edge.Sysctl("net/ipv6/conf/eth1/accept_dad", "1"))
	must(t, s.edge.Sysctl("net/ipv6/conf/all/accept_dad", "1"))
	must(t, s.gateway.AddAddress("eth1", prefix("2001:db8::1/64")))
	m := start(t, s.edge, Config{})
	find := func(s *Snapshot, p string) (Address, bool) {
		i := slices.IndexFunc(s.Links["eth1"].Addresses, func(a Address) bool { return a.Prefix == prefix(p) })
		if i < 0 {
			return Address{}, false
		}
		return s.Links["eth1"].Addresses[i], true
	}
	mustIP(t, s.edge, "addr", "add", "2001:db8::1/64", "dev", "eth1")
	mustIP(t, s.edge, "addr", "add", "2001:db8::2/64", "dev", "eth1")
	m.wait(t, "the free address is usable", func(s *Snapshot) bool { a, ok := find(s, "2001:db8::2/64"); return ok && a.Usable })
	waitFor(t, "the detection of the taken address has failed", func() bool {
		return mustIP(t, s.edge, "-6", "addr", "show", "dev", "eth1", "dadfailed") != ""
	})
	m.wait(t, "the taken address is shown", func(s *Snapshot) bool { _, ok := find(s, "2001:db8::1/64"); return ok })
	m.quiet(t)
	snap, _ := m.Snapshot()
	if a, _ := find(snap, "2001:db8::1/64"); a.Usable {
		t.Errorf("the address of somebody else is usable: %+v", a)
	}
}

// A device that is made again and again under one name is followed, and nothing is
// left open.
func TestRecreatedLink(t *testing.T) {
	s := newSite(t)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	m := start(t, s.edge, Config{
		LearnFrom:  []string{"eth9"},
		Neighbours: []Watch{{Link: "eth9", Address: addr("198.51.100.2"), Interval: time.Second}},
	})
	for i := range 50 {
		mustIP(t, s.edge, "link", "add", "eth9", "up", "type", "veth", "peer", "name", "far9")
		mustIP(t, s.edge, "link", "set", "far9", "up")
		mustIP(t, s.edge, "addr", "add", "198.51.100.1/24", "dev", "eth9")
		gw := netip.AddrFrom4([4]byte{198, 51, 100, byte(100 + i)})
		mustIP(t, s.edge, "route", "add", "default", "via", gw.String(), "dev", "eth9")
		if i%10 == 9 {
			index, err := s.edge.Index("eth9")
			must(t, err)
			m.wait(t, fmt.Sprintf("the snapshot shows device %d of index %d", i, index), func(s *Snapshot) bool {
				got, _, _, ok := LearnGateway(s, "eth9", false)
				return s.Links["eth9"].Index == index && ok && got == gw && len(s.Defaults) == 1
			})
		}
		mustIP(t, s.edge, "link", "del", "eth9")
	}
	m.wait(t, "the last device is gone", func(s *Snapshot) bool {
		_, ok := s.Links["eth9"]
		return !ok && len(s.Defaults) == 0 && len(s.Neighbours) == 0
	})
	m.stop()
	waitFor(t, "goroutines and files are as before", func() bool {
		return runtime.NumGoroutine() <= goroutines && openFiles(t) <= files
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}
