package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// sender is how a packet of the edge itself chooses its uplink.
type sender struct {
	source netip.Addr
	mark   int
}

// burst is the number of packets that one send makes: many more than what probes
// and neighbour discovery add to the counters meanwhile.
const burst = 500

// send sends a burst from the edge to the first destination of the family of the
// source and returns how many the kernel accepted, and the last refusal.
func (r *rig) send(s sender) (accepted int, refusal error) {
	r.t.Helper()
	to := r.site.Destinations(s.source.Is6())[0]
	err := r.site.Edge.Do(func() error {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			return errors.Join(c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, s.mark)
			}), err)
		}}
		local := netip.AddrPortFrom(s.source, 0)
		if s.mark != 0 {
			local = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
			if s.source.Is6() {
				local = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
			}
		}
		conn, err := lc.ListenPacket(context.Background(), "udp", local.String())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // Nothing is lost: the packets have left.
		for range burst {
			if _, err := conn.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9))); err != nil {
				refusal = err
			} else {
				accepted++
			}
		}
		return nil
	})
	r.must(err)
	return accepted, refusal
}

// received returns how many packets each ISP has received from the edge.
func (r *rig) received() map[string]int {
	r.t.Helper()
	got := map[string]int{}
	for _, a := range r.site.Accesses {
		rx, _, err := a.Host.Counters(a.FarDevice)
		r.must(err)
		got[a.Name] = int(rx)
	}
	return got
}

// leavesBy sends a burst and checks that it left by one ISP only ("" for none).
func (r *rig) leavesBy(what string, s sender, isp string) {
	r.t.Helper()
	before := r.received()
	accepted, refusal := r.send(s)
	if isp == "" {
		if accepted > 0 || !errors.Is(refusal, unix.EACCES) {
			r.t.Errorf("%s: the kernel took %d packets (last refusal: %v), want all of them prohibited", what, accepted, refusal)
		}
	} else {
		r.wait(what+" leaves by "+isp, func() bool { return r.received()[isp]-before[isp] >= burst })
	}
	for name, n := range r.received() {
		if name != isp && n-before[name] >= burst/5 {
			r.t.Errorf("%s: %d packets left by %s, want none", what, n-before[name], name)
		}
	}
}

// TestSRC_02_SRC_03_SRC_04_RA_17_Sources: packets with the address or the mark of an uplink leave by that
// uplink and by no other, also while it is dead (SRC-01..04, RA-17, LNX-RT-10).
func TestSRC_02_SRC_03_SRC_04_RA_17_Sources(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	mark := map[string]int{"ether": 0x100, "pptp": 0x200}
	each := func(check func(what string, s sender, isp string)) {
		for _, a := range r.site.Accesses {
			for _, ipv6 := range []bool{false, true} {
				source := a.Line(ipv6).Source
				check("source "+source.String(), sender{source: source}, a.Name)
				check("mark of "+a.Name+" like "+source.String(), sender{source: source, mark: mark[a.Name]}, a.Name)
			}
		}
	}
	each(r.leavesBy)

	// Dead by its targets: still by its own uplink or not at all, for the
	// recovery probes need the same way.
	r.must(r.site.CutSilently("ether", true))
	r.role("ether", "standby")
	each(r.leavesBy)
	r.must(r.site.CutSilently("ether", false))
	r.settled()

	// Dead by carrier: prohibited, not leaked.
	r.must(r.site.Carrier("ether", false))
	r.role("ether", "none")
	before := r.received()
	for _, ipv6 := range []bool{false, true} {
		a := r.site.Accesses[0]
		source := a.Line(ipv6).Source
		r.leavesBy("mark of dead ether", sender{source: source, mark: mark["ether"]}, "")
		if !ipv6 { // The kernel takes IPv6 addresses away with the carrier (LNX-RT-18).
			r.leavesBy("source of dead ether", sender{source: source}, "")
		}
	}
	if n := r.received()["pptp"] - before["pptp"]; n >= burst/5 {
		t.Errorf("%d packets leaked by pptp", n)
	}
}

// TestSRC_OtherSubnet: a host inside uplink B's subnet that talks to uplink
// A's address is answered through A (kernel fact 15, field.md 4.9).
func TestSRC_OtherSubnet(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "a"}, lab.ISP{Name: "b"})
	r.configure("hold: {up: 1s}", nil)
	r.start()
	r.settled()
	a, b := r.site.Accesses[0], r.site.Accesses[1]
	for _, ipv6 := range []bool{false, true} {
		// The gateway of B is such a host.
		from, to := a.Line(ipv6).Source, b.Line(ipv6).Gateway
		out := r.ip("route get " + to.String() + " from " + from.String())
		if !strings.Contains(out, "dev "+a.Device+" ") {
			t.Errorf("a reply from %s to %s: %s, want it by %s", from, to, strings.TrimSpace(out), a.Device)
		}
		// From B's own address, and from no address at all, it is a neighbour.
		for _, args := range []string{"route get " + to.String() + " from " + b.Line(ipv6).Source.String(), "route get " + to.String()} {
			if out := r.ip(args); !strings.Contains(out, "dev "+b.Device+" ") || strings.Contains(out, " via ") {
				t.Errorf("%s: %s, want it directly by %s", args, strings.TrimSpace(out), b.Device)
			}
		}
	}
}
