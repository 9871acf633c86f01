package netmon

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/internal/lab"
)

const testProtocol = 196

// batch runs a list of ip commands in one process.
func batch(t *testing.T, h *lab.Host, commands string, options ...string) {
	t.Helper()
	var errOut bytes.Buffer
	cmd := exec.Command("ip", append(options, "-batch", "-")...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(commands), &errOut
	must(t, h.Start(cmd))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("ip -batch: %v: %s", err, errOut.String())
	}
}

// newDualSite is an edge with two links of one family.
func newDualSite(t *testing.T, f familyCase) site {
	t.Helper()
	s := newSiteOf(t, f)
	must(t, s.lab.Veth(s.edge, "eth2", s.gateway, "eth2"))
	if f.ipv6 {
		must(t, s.edge.AddAddress("eth2", prefix("2001:db8:2::1/64")))
	} else {
		must(t, s.edge.AddAddress("eth2", prefix("198.51.100.1/24")))
	}
	return s
}

// secondGateway is a gateway behind eth2.
func (f familyCase) secondGateway() string {
	if f.ipv6 {
		return "2001:db8:2::fe"
	}
	return "198.51.100.254"
}

// listed prints default routes for comparisons, sorted.
func listed(s *Snapshot) []string {
	names := map[int]string{}
	for _, l := range s.Links {
		names[l.Index] = l.Name
	}
	var out []string
	for _, d := range s.Defaults {
		via := "-"
		if d.Gateway.IsValid() {
			via = d.Gateway.String()
		}
		out = append(out, fmt.Sprintf("%s via %s dev %s proto %d metric %d table %d", d.Dst, via, names[d.LinkIndex], d.Protocol, d.Metric, d.Table))
	}
	slices.Sort(out)
	return out
}

// waitDefaults waits until exactly these default routes are seen.
func (r *running) waitDefaults(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	var last []string
	defer func() {
		if t.Failed() {
			t.Logf("default routes (-want +got):\n%s", cmp.Diff(want, last))
		}
	}()
	r.wait(t, "the default routes are "+strings.Join(want, "; "), func(s *Snapshot) bool {
		last = listed(s)
		return slices.Equal(last, want)
	})
}

// Which default routes are learned, with and without nexthop_compat_mode.
func TestDefaults(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		for _, compat := range []string{"0", "1"} {
			t.Run("compat "+compat, func(t *testing.T) {
				s := newDualSite(t, f)
				must(t, s.edge.Sysctl("net/ipv4/nexthop_compat_mode", compat))
				gw, gw2 := f.gateway.Addr().String(), f.secondGateway()
				fill := strings.NewReplacer("GW2", gw2, "GW", gw)
				batch(t, s.edge, fill.Replace(`
nexthop add id 1 via GW dev eth1
nexthop add id 2 via GW2 dev eth2
nexthop add id 10 group 1/2
`))
				batch(t, s.edge, fill.Replace(`
route add default via GW dev eth1 proto dhcp metric 100
route add default via GW2 dev eth2 proto dhcp metric 101
route add default via GW dev eth1 proto 196 metric 102
route add default dev eth1 proto static metric 103
route add default proto static metric 104 nexthop via GW dev eth1 nexthop via GW2 dev eth2
route add default via GW dev eth1 proto static table 77
route add default nhid 1 proto static metric 105
route add default nhid 10 proto static metric 106
route add blackhole default proto static metric 107
route add local default dev eth1 proto static table 78
`), f.ip)
				want := func(via string, protocol, metric, table int) string {
					dst := "0.0.0.0/0"
					if f.ipv6 {
						dst = "::/0"
					}
					return fmt.Sprintf("%s via %s dev eth1 proto %d metric %d table %d", dst, via, protocol, metric, table)
				}
				unset := 0
				if f.ipv6 {
					unset = 1024 // IP6_RT_PRIO_USER
				}
				m := start(t, s.edge, Config{LearnFrom: []string{"eth1"}, OwnProtocol: testProtocol})
				all := []string{
					want(gw, 16, 100, 254), want("-", 4, 103, 254), want(gw, 4, 104, 254),
					want(gw, 4, unset, 77), want(gw, 4, 105, 254), want(gw, 4, 106, 254),
				}
				m.waitDefaults(t, all...)
				// The object goes, and IPv4 routes with it, without a word.
				mustIP(t, s.edge, "nexthop", "del", "id", "1")
				m.waitDefaults(t, all[:4]...)
				m.Configure(Config{LearnFrom: []string{"eth2"}})
				m.wait(t, "the routes over eth2 are learned", func(s *Snapshot) bool {
					return slices.ContainsFunc(s.Defaults, func(d Default) bool { return d.Gateway == addr(gw2) && d.Metric == 101 }) &&
						!slices.ContainsFunc(s.Defaults, func(d Default) bool { return d.LinkIndex == s.Links["eth1"].Index })
				})
				m.Configure(Config{})
				m.waitDefaults(t)
			})
		}
	})
}

// What vanishes without an event of its own: kernel.md calls it silent.
func TestSilentLoss(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newDualSite(t, f)
		gw := f.gateway.Addr()
		m := start(t, s.edge, Config{LearnFrom: []string{"eth1"}, OwnProtocol: testProtocol})
		learned := func(s *Snapshot) bool {
			got, _, _, ok := LearnGateway(s, "eth1", f.ipv6)
			return ok && got == gw
		}
		gone := func(s *Snapshot) bool { return len(s.Defaults) == 0 }
		add := func() { mustIP(t, s.edge, "route", "add", "default", "via", gw.String(), "dev", "eth1") }

		add()
		m.wait(t, "the gateway is learned", learned)
		must(t, s.edge.SetDown("eth1"))
		m.wait(t, "the route went with the link", gone)
		must(t, s.edge.SetUp("eth1"))
		if f.ipv6 {
			// Its addresses went too, and SetUp has put them back.
			waitFor(t, "the address is back", func() bool {
				return strings.Contains(mustIP(t, s.edge, "-6", "addr", "show", "dev", "eth1"), f.edge.Addr().String())
			})
		}
		add()
		m.wait(t, "the gateway is learned again", learned)
		// Replaced by a route over another link: the event names only that one.
		mustIP(t, s.edge, "route", "replace", "default", "via", f.secondGateway(), "dev", "eth2")
		if f.ipv6 {
			// IPv6 replaces the route of the same metric as well.
			m.wait(t, "the route was replaced", gone)
			return
		}
		m.wait(t, "the route was replaced", gone)
		mustIP(t, s.edge, "route", "replace", "default", "via", gw.String(), "dev", "eth1", "src", f.edge.Addr().String())
		m.wait(t, "the gateway is learned with a source address", learned)
		must(t, s.edge.RemoveAddress("eth1", f.edge))
		m.wait(t, "the route went with the address", gone)
	})
}

// An IPv4 default route may have an IPv6 gateway.
func TestDefaultsViaOtherFamily(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := start(t, s.edge, Config{LearnFrom: []string{"eth1"}})
	mustIP(t, s.edge, "-4", "route", "add", "default", "via", "inet6", "fe80::fe", "dev", "eth1")
	m.waitDefaults(t, "0.0.0.0/0 via fe80::fe dev eth1 proto 3 metric 0 table 254")
}

// Two routers that advertise themselves over two links are one multipath route to the
// kernel, with the lifetime of the first: its end is not that of the second.
func TestDefaultsOfTwoRouters(t *testing.T) {
	t.Parallel()
	f := families[1]
	s := newDualSite(t, f)
	gw, gw2 := f.gateway.Addr().String(), f.secondGateway()
	// The kernel does not collect what is over while the test runs.
	must(t, s.edge.Sysctl("net/ipv6/route/gc_interval", "3600"))
	must(t, s.edge.Sysctl("net/ipv6/conf/all/forwarding", "1"))
	m := start(t, s.edge, Config{LearnFrom: []string{"eth1", "eth2"}, OwnProtocol: testProtocol})
	want := func(via, dev string) string {
		return fmt.Sprintf("::/0 via %s dev %s proto 9 metric 1024 table 254", via, dev)
	}
	batch(t, s.edge, fmt.Sprintf(`
route add default via %s dev eth1 proto ra metric 1024 expires 3
route append default via %s dev eth2 proto ra metric 1024 expires 600
`, gw, gw2), "-6")
	m.waitDefaults(t, want(gw, "eth1"), want(gw2, "eth2"))
	m.wait(t, "the first router's lifetime is over", func(s *Snapshot) bool {
		if _, _, reason, ok := LearnGateway(s, "eth2", true); !ok {
			t.Fatalf("the second router went with the first: %s", reason)
		}
		_, _, _, ok := LearnGateway(s, "eth1", true)
		return !ok
	})
	if shown := mustIP(t, s.edge, "-6", "route", "show", "default"); !strings.Contains(shown, gw) {
		t.Errorf("the kernel has collected the route, this test proves nothing: %s", shown)
	}
	mustIP(t, s.edge, "-6", "route", "del", "default", "via", gw, "dev", "eth1")
	m.waitDefaults(t, want(gw2, "eth2"))
}

// Twenty thousand foreign routes come and go while the monitor watches: the default
// route that changed meanwhile is right in the end, with and without the filter in
// the kernel, and hardly anything was read because of them.
func TestRouteStorm(t *testing.T) {
	const routes = 20000
	for _, unfiltered := range []bool{false, true} {
		t.Run(fmt.Sprintf("unfiltered %v", unfiltered), func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f familyCase) {
				s := newSiteOf(t, f)
				gw := f.gateway.Addr()
				m := start(t, s.edge, Config{LearnFrom: []string{"eth1"}, OwnProtocol: testProtocol}, func(m *Monitor) { m.unfiltered = unfiltered })
				mustIP(t, s.edge, "route", "add", "default", "via", gw.String(), "dev", "eth1", "metric", "5")
				m.waitDefaults(t, defaultVia(f, gw.String(), 5))
				before := m.Counters().Reads
				var add, del strings.Builder
				for i := range routes {
					dst := fmt.Sprintf("10.%d.%d.0/24", i>>8, i&0xff)
					if f.ipv6 {
						dst = fmt.Sprintf("2001:db8:%x::/48", i+16)
					}
					fmt.Fprintf(&add, "route add %s via %s dev eth1 proto bird\n", dst, gw)
					fmt.Fprintf(&del, "route del %s via %s dev eth1 proto bird\n", dst, gw)
				}
				batch(t, s.edge, add.String())
				if reads := m.Counters().Reads - before; reads > 10 {
					t.Errorf("%d readings because of %d foreign routes", reads, routes)
				}
				fmt.Fprintf(&del, "route add default via %s dev eth1 metric 6\n", gw)
				fmt.Fprintf(&del, "route del default via %s dev eth1 metric 5\n", gw)
				batch(t, s.edge, del.String())
				m.waitDefaults(t, defaultVia(f, gw.String(), 6))
				t.Logf("%+v", m.Counters())
			})
		})
	}
}

func defaultVia(f familyCase, gw string, metric int) string {
	dst := "0.0.0.0/0"
	if f.ipv6 {
		dst = "::/0"
	}
	return fmt.Sprintf("%s via %s dev eth1 proto 3 metric %d table 254", dst, gw, metric)
}
