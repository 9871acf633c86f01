package speaker

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/bgptest"
)

// The far end and ourselves, on the loopback.
var (
	ourAddress = netip.AddrFrom4([4]byte{127, 98, 0, 1})
	farAddress = netip.AddrFrom4([4]byte{127, 98, 0, 2})
)

// farEnd is a site with the real speaker in a process of its own, and one peer.
type farEnd struct {
	*real
	at netip.AddrPort

	mu     sync.Mutex
	routes map[netip.Prefix]bgp.Choice
	synced int
	begun  int
}

func newFarEnd(t *testing.T) *farEnd {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(ourAddress, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f := &farEnd{at: at, routes: make(map[netip.Prefix]bgp.Choice)}
	f.real = newReal(t, childReal, Options{
		Begin: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.begun++
			clear(f.routes)
		},
		Routes: func(_ context.Context, b bgp.Batch) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, r := range b.Routes {
				f.routes[r.Prefix] = r.Choice
			}
			if b.Synced {
				f.synced++
			}
		},
	})
	f.run()
	f.Set(bgp.Config{
		AS: 64500, RouterID: netip.MustParseAddr("10.0.0.1"), Listen: []netip.Addr{ourAddress}, Port: at.Port(),
		Peers: []bgp.Peer{{
			Name: "far/ipv4", Slot: 0, Address: farAddress, Local: ourAddress, AS: 64501, Families: []bgp.Family{bgp.IPv4},
			Import: bgp.Import{Mode: bgp.ImportFull, PrivateAS: true}, Passive: true, GracefulRestart: bgp.GracefulRestart{Enabled: true},
		}},
	})
	return f
}

// connect makes a session and announces prefixes over it.
func (f *farEnd) connect(ctx context.Context, count int) *bgptest.Peer {
	f.t.Helper()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(farAddress, 0))}
	p, err := bgptest.Connect(ctx, func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", f.at.String()) }, bgptest.Options{
		AS: 64501, ID: netip.MustParseAddr("10.0.0.2"), Families: []bgptest.Family{bgptest.IPv4},
		GracefulRestart: &bgptest.GracefulRestart{Time: time.Minute, Families: []bgptest.Family{bgptest.IPv4}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(p.Close)
	var prefixes []netip.Prefix
	for n := range count {
		prefixes = append(prefixes, prefix(2*n))
	}
	if err := p.Announce(bgptest.Attributes{ASPath: []uint32{64501, 3356}, NextHop: farAddress}, prefixes...); err != nil {
		f.t.Fatal(err)
	}
	if err := p.EndOfRIB(bgptest.IPv4); err != nil {
		f.t.Fatal(err)
	}
	return p
}

// knows waits until the nth child has told that many routes, and that they are all.
func (f *farEnd) knows(child, count int) {
	f.t.Helper()
	until(f.t, "the routes are told", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.begun == child && len(f.routes) == count && f.synced >= child
	})
	until(f.t, "the session is shown", func() bool {
		p := f.Status().BGP.Peers
		return len(p) == 1 && p[0].State == bgp.Established && p[0].Families[0].Accepted == count && p[0].Families[0].Synced
	})
}

// TestB_GR_04_KilledChildRestarts: with the real speaker and a peer: routes, paths and states come
// through; a child that is killed says nothing to the peer, and the next one says that
// it restarts, which the first one did not; everything is told anew.
func TestB_GR_04_KilledChildRestarts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	f := newFarEnd(t)
	const count = 5000
	p := f.connect(ctx, count)
	if r, ok := p.Heard().Open.GracefulRestart(); !ok || r.Restarting {
		t.Errorf("the first child says %+v, %v; want graceful restart, and that it does not restart", r, ok)
	}
	f.knows(1, count)
	paths, err := f.Paths(ctx, bgp.Query{Prefix: prefix(0)})
	if err != nil || len(paths) != 1 || len(paths[0].Paths) != 1 || paths[0].Paths[0].Peer != "far/ipv4" || paths[0].Paths[0].Why == "" {
		t.Errorf("paths %+v, %v; want the one of the peer, and why", paths, err)
	}

	if err := syscall.Kill(f.Status().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitClosed(ctx); err != nil {
		t.Fatal(err)
	}
	if n := p.Heard().Notification; n != nil {
		t.Errorf("a child that is killed says %+v", n)
	}
	f.speaks(2)
	p = f.connect(ctx, count-7)
	if r, _ := p.Heard().Open.GracefulRestart(); !r.Restarting || !slices.Contains(r.Forwarding, bgptest.IPv4) {
		t.Errorf("the second child says %+v, want that it restarts and has forwarded", r)
	}
	f.knows(2, count-7)

	f.Reset("far/ipv4", "BFD Down")
	n, err := p.WaitNotification(ctx)
	if err != nil || n.Code != 6 || n.Subcode != 4 || !strings.Contains(string(n.Data), "BFD Down") {
		t.Errorf("a reset says %+v, %v; want Cease, Administrative Reset, with its words", n, err)
	}
}

// TestReal_End: a supervisor that ends says nothing to the peer; with Leave it says
// Cease, Peer De-configured.
func TestReal_End(t *testing.T) {
	for _, leave := range []bool{false, true} {
		t.Run(map[bool]string{false: "end", true: "leave"}[leave], func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			f := newFarEnd(t)
			p := f.connect(ctx, 10)
			f.knows(1, 10)
			if leave {
				f.Leave()
			}
			f.end()
			if err := p.WaitClosed(ctx); err != nil {
				t.Fatal(err)
			}
			n := p.Heard().Notification
			if leave && (n == nil || n.Code != 6 || n.Subcode != 3) {
				t.Errorf("leave says %+v, want Cease, Peer De-configured", n)
			}
			if !leave && n != nil {
				t.Errorf("an end without leave says %+v", n)
			}
		})
	}
}
