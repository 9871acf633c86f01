package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// TestDGD_04_DGD_05_GatewayNotPinged: whatever is probed, the gateway itself gets
// no echo request (RFC 1122 section 3.3.1.4).
func TestDGD_04_DGD_05_GatewayNotPinged(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	count := func(a *lab.Access) (echoes int) {
		r.must(a.Host.Do(func() error {
			echoes = counter("/proc/thread-self/net/snmp", "Icmp:", "InEchos") + counter("/proc/thread-self/net/snmp6", "Icmp6InEchos", "")
			return nil
		}))
		return echoes
	}
	start := time.Now()
	r.wait("time passes", func() bool { return time.Since(start) > 2*time.Second })
	for _, a := range r.site.Accesses {
		if n := count(a); n > 0 {
			t.Errorf("the gateway of %s got %d echo requests", a.Name, n)
		}
	}
	// The counter counts: the internet did get them.
	if n := count(&lab.Access{Host: r.site.Internet}); n == 0 {
		t.Error("the targets got no echo request: the test does not test")
	}
}

// counter reads a counter of snmp(5)'s files: a pair of lines with names and
// values, or one line of name and value.
func counter(file, line, column string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		return -1
	}
	var names []string
	for _, l := range strings.Split(string(data), "\n") {
		fields := strings.Fields(l)
		var n int
		switch {
		case len(fields) < 2 || fields[0] != line:
		case column == "":
			if _, err := fmt.Sscan(fields[1], &n); err == nil {
				return n
			}
		case names == nil:
			names = fields
		default:
			for i, name := range names {
				if name == column {
					if _, err := fmt.Sscan(fields[i], &n); err == nil {
						return n
					}
				}
			}
		}
	}
	return -1
}

// TestSRC_01_Replies: a connection from outside to an uplink's address is
// answered from that address by that uplink. Both ISPs drop what has no business
// to come from their customer (BCP 38), so that a wrong way is a lost way.
func TestSRC_01_Replies(t *testing.T) {
	r := twoISPs(t)
	for _, a := range r.site.Accesses {
		for _, name := range []string{"all", a.FarDevice} {
			r.must(a.Host.Sysctl("net/ipv4/conf/"+name+"/rp_filter", "1"))
		}
	}
	r.start()
	r.settled()
	var server net.Listener
	r.must(r.site.Edge.Do(func() (err error) {
		server, err = net.Listen("tcp", ":7777")
		return err
	}))
	defer func() { r.must(server.Close()) }()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.LocalAddr().String()) // The dialler judges what it reads.
			_ = c.Close()
		}
	}()
	for _, a := range r.site.Accesses {
		for _, ipv6 := range []bool{false, true} {
			want := netip.AddrPortFrom(a.Line(ipv6).Source, 7777).String()
			got, err := r.dial(r.site.Internet, want)
			if err != nil || got != want {
				t.Errorf("a connection to %s: answered by %q, %v", want, got, err)
			}
		}
	}
}

// dial connects from a host and returns all that it is told.
func (r *rig) dial(h *lab.Host, to string) (string, error) {
	var text []byte
	err := h.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", to)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // All was read.
		text, err = io.ReadAll(c)
		return err
	})
	return string(text), err
}

// TestMP_03_FewFlowsMove: when one of three uplinks dies only its flows move.
func TestMP_03_FewFlowsMove(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "a"}, lab.ISP{Name: "b"}, lab.ISP{Name: "c"})
	r.configure("hold: {up: 1s}", map[string]string{"a": r.icmp("a"), "b": r.icmp("b"), "c": r.icmp("c")})
	r.start()
	r.settled()
	a, b, c := r.tap("a"), r.tap("b"), r.tap("c")
	f := r.flows(300, 20)
	r.wait("every flow was seen", func() bool { return len(a.Seen(f))+len(b.Seen(f))+len(c.Seen(f)) >= 300 })
	before := map[*lab.Tap]map[int]lab.Passage{b: b.Seen(f), c: c.Seen(f)}
	r.must(r.site.CutSilently("a", true))
	r.wait("a is dead", func() bool { return r.way("a", "ipv4").Role != "active" && r.way("a", "ipv6").Role != "active" })
	from := time.Now()
	r.wait("every flow moved", func() bool { return len(b.SeenSince(f, from))+len(c.SeenSince(f, from)) >= 300 })
	for tap, flows := range before {
		after := tap.SeenSince(f, from)
		for flow := range flows {
			if _, stayed := after[flow]; !stayed {
				t.Errorf("flow %d moved although its uplink lives", flow)
			}
		}
	}
}

// TestJA_04_OwnTraffic: traffic of the machine itself that names no source gets
// the address of a live uplink.
func TestJA_04_OwnTraffic(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	r.must(r.site.CutSilently("ether", true))
	r.role("ether", "standby")
	pptp, err := r.site.Access("pptp")
	r.must(err)
	for _, ipv6 := range []bool{false, true} {
		for _, to := range r.site.Destinations(ipv6) {
			out := r.ip("route get " + to.String())
			if !strings.Contains(out, "dev "+pptp.Device) || !strings.Contains(out, "src "+pptp.Line(ipv6).Source.String()) {
				t.Errorf("own traffic to %s: %s, want it by %s", to, strings.TrimSpace(out), pptp.Device)
			}
		}
	}
}

// TestRA_16_BackupTable: the table of a backup that stands by is there, for
// packets that carry its address.
func TestRA_16_BackupTable(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "fiber"}, lab.ISP{Name: "lte", PointToPoint: true})
	r.configure("hold: {up: 1s}", map[string]string{"lte": "tier: 2"})
	r.start()
	r.role("lte", "standby")
	for _, family := range []string{"-4", "-6"} {
		if out := r.ip(family + " route show table 202"); !strings.Contains(out, "default nhid 22100004 ") && !strings.Contains(out, "default nhid 22100006 ") {
			t.Errorf("table 202 of the standby has no default:\n%s", out)
		}
	}
	r.leavesBy("a packet from the standby's address", sender{source: r.site.Accesses[1].IPv4.Source}, "lte")
}

// TestMP_12_NAT: a long TCP connection through NAT survives a second uplink that
// comes back, where busy buckets are never moved.
func TestMP_12_NAT(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "a"}, lab.ISP{Name: "b"})
	r.configure("hold: {up: 1s}\ngroup: {idle-timer: 5s, unbalanced-timer: 0s}", map[string]string{"a": r.icmp("a"), "b": r.icmp("b")})
	rules := "table inet nat { chain post { type nat hook postrouting priority 100; oifname != \"eth0\" masquerade; }; }"
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(rules)
	var errs strings.Builder
	nft.Stderr = &errs
	r.must(r.site.Edge.Start(nft))
	if err := nft.Wait(); err != nil {
		t.Fatalf("nft: %v: %s", err, errs.String())
	}
	r.must(r.site.Carrier("b", false))
	r.start()
	r.role("a", "active")

	conns, stop := r.echoes(40)
	defer stop()
	talk(t, conns, 200*time.Millisecond)
	r.must(r.site.Carrier("b", true))
	// The kernel notes the use of buckets only in a group of two or more members
	// (fib_select_path, net/ipv4/fib_semantics.c). While b is held it is the
	// standby, and that is when the connections become known as busy.
	r.role("b", "standby")
	talk(t, conns, 500*time.Millisecond)
	r.role("b", "active")
	// New flows use b, so the group is really shared.
	b := r.tap("b")
	f := r.flows(200, 10)
	r.wait("b carries new flows", func() bool { return len(b.Seen(f)) > 0 })
	talk(t, conns, 2*time.Second)
}

// talk uses all connections for a while.
func talk(t *testing.T, conns []net.Conn, span time.Duration) {
	t.Helper()
	for start := time.Now(); time.Since(start) < span; {
		for i, c := range conns {
			if err := ping(c); err != nil {
				t.Fatalf("connection %d broke after %v: %v", i, time.Since(start), err)
			}
		}
	}
}

// echoes opens TCP connections from the LAN to an echo server on the internet.
func (r *rig) echoes(n int) (conns []net.Conn, stop func()) {
	r.t.Helper()
	var server net.Listener
	r.must(r.site.Internet.Do(func() (err error) {
		server, err = net.Listen("tcp4", ":7")
		return err
	}))
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c) // Until the client is gone.
				_ = c.Close()
			}()
		}
	}()
	to := r.site.Destinations(false)
	for i := range n {
		r.must(r.site.LAN.Do(func() error {
			c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(to[i%len(to)], 7).String(), patience)
			conns = append(conns, c)
			return err
		}))
	}
	return conns, func() {
		errs := []error{server.Close()}
		for _, c := range conns {
			errs = append(errs, c.Close())
		}
		r.must(errors.Join(errs...))
	}
}

// ping sends a byte and waits for its echo.
func ping(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience / 3)); err != nil {
		return err
	}
	b := []byte{1}
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}
