package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// TestNUD_09: if no gateway is known to be reachable all of them go on being tried,
// so that the return of any is seen (RFC 4861 section 6.3.6); here whatever the
// configuration says about the traffic meanwhile.
func TestNUD_09(t *testing.T) {
	for mode, role := range map[string]string{"keep-last": "", "keep-all": "active", "withdraw": "none"} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t, lab.ISP{Name: "ether"}, lab.ISP{Name: "pptp", PointToPoint: true})
			r.configure("hold: {up: 1s}\nall-dead: "+mode, map[string]string{"ether": r.icmp("ether"), "pptp": r.icmp("pptp")})
			r.start()
			r.settled()
			for _, a := range r.site.Accesses {
				r.must(r.site.CutSilently(a.Name, true))
			}
			for _, a := range r.site.Accesses {
				r.wait(a.Name+" is dead", func() bool {
					return r.way(a.Name, "ipv4").Verdict == "dead" && r.way(a.Name, "ipv6").Verdict == "dead"
				})
				if role != "" {
					r.role(a.Name, role)
				}
			}
			for _, a := range r.site.Accesses {
				w := r.witness(a.Name)
				for _, ipv6 := range []bool{false, true} {
					source := a.Line(ipv6).Source
					// Two probes to each of three targets are two intervals at least.
					r.wait(a.Name+" is still probed from "+source.String(), func() bool { return w.echoes(source) >= 6 })
				}
			}
			r.must(r.site.CutSilently("pptp", false))
			r.role("pptp", "active")
		})
	}
}

// TestSRC_10: the probes of an uplink leave by it although nothing else does:
// neither its death nor the default that it lost takes them elsewhere.
func TestSRC_10(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	ether, pptp := r.site.Accesses[0], r.site.Accesses[1]
	r.must(r.site.CutSilently("ether", true))
	r.role("ether", "standby")
	atEther, atPPTP := r.witness("ether"), r.witness("pptp")
	for _, ipv6 := range []bool{false, true} {
		for _, to := range r.site.Destinations(ipv6) {
			if out := r.ip("route get " + to.String()); !strings.Contains(out, "dev "+pptp.Device) {
				t.Fatalf("the default of %s is not gone: %s", ether.Name, strings.TrimSpace(out))
			}
		}
	}
	for _, ipv6 := range []bool{false, true} {
		lost, kept := ether.Line(ipv6).Source, pptp.Line(ipv6).Source
		r.wait("probes of both uplinks", func() bool { return atEther.echoes(lost) >= 30 && atPPTP.echoes(kept) >= 30 })
		if n, m := atPPTP.echoes(lost), atEther.echoes(kept); n+m > 0 {
			t.Errorf("%d probes from %s left by pptp, %d from %s by ether", n, lost, m, kept)
		}
	}
}

// TestSRC_07: where a source has to be chosen, a deprecated address loses (RFC 6724
// section 5, rule 3), and is taken again when it is preferred again.
func TestSRC_07(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "a"}, lab.ISP{Name: "b"})
	r.configure("hold: {up: 1s}", nil)
	r.start()
	r.settled()
	a := r.site.Accesses[0]
	source := func(ipv6 bool, want netip.Addr) {
		t.Helper()
		family := map[bool]string{false: "-4", true: "-6"}[ipv6]
		r.wait("the source is "+want.String(), func() bool {
			return strings.Contains(r.ip(family+" route show table 201 default metric 1"), "src "+want.String()+" ")
		})
	}
	for _, ipv6 := range []bool{false, true} {
		line := a.Line(ipv6)
		first, second := line.Source, line.Source.Next()
		source(ipv6, first)
		r.must(r.site.Edge.AddAddress(a.Device, netip.PrefixFrom(second, line.Subnet.Bits())))
		prefer := func(address netip.Addr, lifetime string) {
			r.ip(fmt.Sprintf("address change %s/%d dev %s valid_lft forever preferred_lft %s", address, line.Subnet.Bits(), a.Device, lifetime))
		}
		prefer(first, "0")
		source(ipv6, second)
		prefer(first, "forever")
		prefer(second, "0")
		source(ipv6, first)
	}
}

// masquerade translates what leaves by the uplinks to their addresses.
func (r *rig) masquerade() {
	r.t.Helper()
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader("table inet nat { chain post { type nat hook postrouting priority 100; oifname != \"" +
		r.site.LANDevice + "\" masquerade; }; }")
	var errs strings.Builder
	nft.Stderr = &errs
	r.must(r.site.Edge.Start(nft))
	if err := nft.Wait(); err != nil {
		r.t.Fatalf("nft: %v: %s", err, errs.String())
	}
}

// TestJA_05: behind NAT, no ISP ever sees the address of the other one, not even
// while flows move from one to the other and back (SRC-04 with masquerade).
func TestJA_05(t *testing.T) {
	r := twoISPs(t)
	r.masquerade()
	r.start()
	r.settled()
	witnesses := map[*lab.Access]*witness{}
	for _, a := range r.site.Accesses {
		witnesses[a] = r.witness(a.Name)
	}
	ether, pptp := r.tap("ether"), r.tap("pptp")
	f := r.flows(200, 50)
	r.wait("both carry flows", func() bool { return len(ether.Seen(f)) > 0 && len(pptp.Seen(f)) > 0 })
	r.must(r.site.CutSilently("ether", true))
	r.role("ether", "standby")
	cut := time.Now()
	r.wait("every flow is on pptp", func() bool { return len(pptp.SeenSince(f, cut)) == 200 })
	r.must(r.site.CutSilently("ether", false))
	r.role("ether", "active")
	back := time.Now()
	r.wait("ether carries again", func() bool { return len(ether.SeenSince(f, back)) > 0 })
	for a, w := range witnesses {
		for source, n := range w.others(a.IPv4.Source, a.IPv6.Source) {
			t.Errorf("%s received %d packets from %s, which is not its own", a.Name, n, source)
		}
		if w.count(func(s sighting) bool { return !s.echo }) == 0 {
			t.Errorf("%s received nothing: the test does not test", a.Name)
		}
	}
}

// TestMP_05: with hash policy 1 the kernel leaves the ports of fragments out, the
// first fragment included, so that all fragments between two hosts take one
// uplink, and not the one that whole packets of the same ports take
// (fib_multipath_hash, net/ipv4/route.c).
func TestMP_05(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "a"}, lab.ISP{Name: "b"})
	r.configure("hold: {up: 1s}", nil)
	// The sender's own hash goes with a packet over the cable of a lab, not over a
	// real one; IPv6 draws it for flow labels.
	r.must(r.site.LAN.Sysctl("net/ipv6/auto_flowlabels", "0"))
	r.start()
	r.settled()
	const ports = 64
	for _, ipv6 := range []bool{false, true} {
		a, b := r.witness("a"), r.witness("b")
		to := r.site.Destinations(ipv6)[0]
		r.must(r.site.LAN.Do(func() error { return datagrams(to, ports, 100) }))
		r.must(r.site.LAN.Do(func() error { return datagrams(to, ports, 3000) }))
		count := func(w *witness, fragment bool) int {
			return w.count(func(s sighting) bool { return !s.echo && s.fragment == fragment && s.source.Is6() == ipv6 })
		}
		r.wait("all arrive", func() bool {
			return count(a, false)+count(b, false) >= ports && count(a, true)+count(b, true) >= 3*ports
		})
		if count(a, false) == 0 || count(b, false) == 0 {
			t.Errorf("ipv6 %t: whole packets of %d ports: %d by a, %d by b, want both", ipv6, ports, count(a, false), count(b, false))
		}
		if count(a, true) > 0 && count(b, true) > 0 {
			t.Errorf("this kernel differs from the one the design was measured on: ipv6 %t: of %d fragmented packets, %d fragments by a, %d by b",
				ipv6, ports, count(a, true), count(b, true))
		}
	}
}

// TestLNX_RT_21_LNX_NH_11_Reload: no packet is lost while weights, tiers, rule
// priorities and timers of the group change under traffic.
func TestLNX_RT_21_LNX_NH_11_Reload(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	f := r.flows(50, 20) // 1,000 packets a second.
	r.wait("traffic flows", func() bool { return f.Results().Received > 500 })
	for _, c := range []struct{ head, ether, pptp, shows string }{
		{"hold: {up: 1s}", "weight: 1", "weight: 7", "/22100004,255 "},
		{"hold: {up: 1s}", "weight: 7", "weight: 1", "group 22100000,255/"},
		{"hold: {up: 1s}", "tier: 2", "", "group 22100004,255/22100001 "},
		{"hold: {up: 1s}\nrules: {main: 60, source: 301, mark: 311, balance: 321}", "", "", "321: "},
		{"hold: {up: 1s}\ngroup: {idle-timer: 1s, unbalanced-timer: 3s}", "weight: 3", "weight: 3", "unbalanced_timer 3"},
	} {
		r.configure(c.head, map[string]string{"ether": c.ether + "\n" + r.icmp("ether"), "pptp": c.pptp + "\n" + r.icmp("pptp")})
		r.wait("the reload that shows "+c.shows, func() bool {
			return strings.Contains(strings.Join(strings.Fields(r.ip("nexthop")+r.ip("rule")), " "), strings.TrimSpace(c.shows))
		})
		r.wait("plan is empty", func() bool { return r.plan() == "" })
		from := time.Now()
		r.wait("more traffic", func() bool { return f.Watch(from, time.Time{}).Received > 500 })
	}
	r.must(f.Stop())
	res := f.Results()
	t.Logf("%d packets sent, %d lost", res.Sent, res.Lost)
	if res.Lost > 0 {
		t.Errorf("%d packets lost of %d, the longest outage %v", res.Lost, res.Sent, res.Longest.Duration)
	}
}

// datagrams sends one packet of size bytes from each of many ports.
func datagrams(to netip.Addr, ports, size int) error {
	for range ports {
		c, err := net.ListenUDP("udp", nil)
		if err != nil {
			return err
		}
		_, err = c.WriteToUDPAddrPort(make([]byte, size), netip.AddrPortFrom(to, 9))
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	return nil
}

// offLink are addresses of an ISP's gateway that lie in no subnet of the edge.
var offLink = map[bool]netip.Addr{false: netip.MustParseAddr("100.64.0.1"), true: netip.MustParseAddr("2001:db8:64::1")}

// TestJA_07: a gateway that is on no connected prefix is refused by the kernel,
// which costs that uplink and nothing else, and the status has the kernel's words;
// with on-link it is used.
func TestJA_07(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "far"}, lab.ISP{Name: "near"})
	far := r.site.Accesses[0]
	for _, gateway := range offLink {
		r.must(far.Host.AddAddress(far.FarDevice, netip.PrefixFrom(gateway, gateway.BitLen())))
	}
	far.IPv4.Gateway, far.IPv6.Gateway = offLink[false], offLink[true]
	configure := func(onLink bool) {
		r.configure("hold: {up: 1s}", map[string]string{"far": fmt.Sprintf("on-link: %t\n", onLink) + r.icmp("far"), "near": r.icmp("near")})
	}
	configure(false)
	// Without its carrier the uplink is not wanted yet, so that the start succeeds.
	r.must(r.site.Carrier("far", false))
	r.start()
	r.role("near", "active")
	r.must(r.site.Carrier("far", true))
	r.wait("the kernel refuses both gateways, and says why", func() bool {
		s, err := r.status()
		all := strings.Join(s.Kernel.Errors, "\n")
		return err == nil && !s.Kernel.InSync && strings.Contains(all, "invalid gateway") && strings.Count(all, "\n")+1 >= 2
	})
	// Its neighbour answers, but no probe can leave by it.
	r.wait("far is dead by its probes", func() bool {
		return r.way("far", "ipv4").Verdict == "dead" && r.way("far", "ipv6").Verdict == "dead"
	})
	if out := r.ip("nexthop"); strings.Contains(out, "dev "+far.Device) {
		t.Errorf("a next hop that should be refused is there:\n%s", out)
	}
	atFar, atNear := r.tap("far"), r.tap("near")
	f := r.flows(200, 20)
	r.wait("every flow is on near", func() bool { return len(atNear.Seen(f)) == 200 })
	if n := len(atFar.Seen(f)); n > 0 {
		t.Errorf("%d flows left by far", n)
	}
	r.must(f.Stop())

	configure(true)
	r.settled()
	r.wait("the kernel is in sync", func() bool { s, err := r.status(); return err == nil && s.Kernel.InSync })
	for _, gateway := range offLink {
		if out := r.ip("nexthop"); !strings.Contains(out, "via "+gateway.String()+" dev "+far.Device+" ") || !strings.Contains(out, "onlink") {
			t.Errorf("no next hop via %s with onlink:\n%s", gateway, out)
		}
	}
	more := r.flows(200, 20)
	r.wait("flows leave by both", func() bool { return len(atFar.Seen(more)) > 0 && len(atNear.Seen(more)) > 0 })
}
