package probe

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// patience is how long a condition may take on a busy machine.
const patience = 30 * time.Second

// family is the addressing of one family in the lab below:
//
//	edge eth1 (edge1) --- (far1) eth1 far   target on far's lo
//	edge eth2 (edge2) --- (far2) eth2 far
type family struct {
	name                     string
	edge1, far1, edge2, far2 netip.Prefix
	target, nowhere          netip.Addr
	zero                     string // the default route
	flag                     string // of ip
}

var families46 = []family{
	{
		"ipv4",
		netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("192.0.2.1/24"),
		netip.MustParsePrefix("203.0.113.2/24"), netip.MustParsePrefix("203.0.113.1/24"),
		netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.9"), "0.0.0.0/0", "-4",
	},
	{
		"ipv6",
		netip.MustParsePrefix("2001:db8:a::2/64"), netip.MustParsePrefix("2001:db8:a::1/64"),
		netip.MustParsePrefix("2001:db8:b::2/64"), netip.MustParsePrefix("2001:db8:b::1/64"),
		netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:1::9"), "::/0", "-6",
	},
}

// site is the lab of one family. The edge's default leaves by eth1.
type site struct {
	t         *testing.T
	lab       *lab.Lab
	edge, far *lab.Host
	family    family
}

// inFamilies runs a test in a lab of each family, beside all others: most of
// their time they wait.
func inFamilies(t *testing.T, test func(*testing.T, *site)) {
	t.Parallel()
	for _, f := range families46 {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			test(t, newSite(t, f))
		})
	}
}

// inKinds does so for both kinds of socket.
func inKinds(t *testing.T, test func(*testing.T, *site, socketKind)) {
	t.Parallel()
	for name, kind := range map[string]socketKind{"raw": socketRaw, "ping": socketPing} {
		t.Run(name, func(t *testing.T) {
			inFamilies(t, func(t *testing.T, s *site) {
				s.must(s.edge.Sysctl("net/ipv4/ping_group_range", "0 0"))
				test(t, s, kind)
			})
		})
	}
}

func newSite(t *testing.T, f family) *site {
	l, err := lab.New(lab.Options{Name: t.Name()})
	if err != nil {
		t.Fatalf("this test needs network namespaces: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &site{t: t, lab: l, family: f}
	s.edge, s.far = s.host("edge"), s.host("far")
	s.must(s.far.Forward())
	for _, h := range []*lab.Host{s.edge, s.far} {
		for _, conf := range []string{"all", "default"} {
			s.must(h.Sysctl("net/ipv4/conf/"+conf+"/rp_filter", "0"))
		}
	}
	s.must(s.far.Sysctl("net/ipv4/icmp_ratelimit", "0"))
	s.must(s.far.Sysctl("net/ipv6/icmp/ratelimit", "0"))
	// An IPv4 socket that is bound to a device takes a destination without a
	// route to be on the link (ip_route_output_key_hash_rcu): far must not
	// answer ARP for it as if it were.
	s.must(s.far.Sysctl("net/ipv4/conf/all/arp_ignore", "1"))
	// Link-local addresses are given by hand, so that tests know them.
	s.must(s.far.Sysctl("net/ipv6/conf/default/addr_gen_mode", "1"))
	s.must(s.far.AddAddress("lo", netip.PrefixFrom(f.target, f.target.BitLen())))
	s.link("eth1", f.edge1, f.far1)
	s.link("eth2", f.edge2, f.far2)
	s.ip(s.edge, "route", "add", f.zero, "via", f.far1.Addr().String(), "dev", "eth1")
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) host(name string) *lab.Host {
	h, err := s.lab.Host(name)
	s.must(err)
	return h
}

func (s *site) ip(h *lab.Host, args ...string) {
	s.t.Helper()
	_, err := h.IP(append([]string{s.family.flag}, args...)...)
	s.must(err)
}

func (s *site) link(dev string, edge, far netip.Prefix) {
	s.t.Helper()
	s.must(s.lab.Veth(s.edge, dev, s.far, dev))
	s.must(s.edge.AddAddress(dev, edge))
	s.must(s.far.AddAddress(dev, far))
	if edge.Addr().Is6() {
		s.must(s.far.AddAddress(dev, netip.MustParsePrefix("fe80::1/64")))
	}
}

// relink replaces eth1 by another device of the same name.
func (s *site) relink() {
	s.t.Helper()
	before, err := s.edge.Index("eth1")
	if err == nil {
		s.must(s.edge.DeleteLink("eth1"))
	}
	s.must(s.lab.Veth(s.edge, "eth1", s.far, "eth1"))
	s.must(s.edge.AddAddress("eth1", s.family.edge1))
	// The lab gives far its addresses back by itself.
	s.ip(s.edge, "route", "add", s.family.zero, "via", s.family.far1.Addr().String(), "dev", "eth1")
	if after, err := s.edge.Index("eth1"); err != nil || after == before {
		s.t.Fatalf("index %d, was %d (%v): the test shows nothing", after, before, err)
	}
}

// config probes the target through eth1, quickly, but patient with answers.
func (s *site) config() Config {
	return Config{
		Uplink: "a", Device: "eth1", Source: s.family.edge1.Addr(), Gateway: s.family.far1.Addr(),
		Targets: []netip.Addr{s.family.target}, Interval: 50 * time.Millisecond, Timeout: time.Hour,
		Down: 20, Up: 2,
	}
}

// watch is a prober in the edge's namespace with its latest report.
type watch struct {
	t       *testing.T
	prober  *Prober
	reports chan Report
	last    Report
	id      atomic.Pointer[identity]
}

func (s *site) start(c Config, kind socketKind) *watch {
	w := &watch{t: s.t, reports: make(chan Report, 10000)}
	w.prober = New(c, func(r Report) { w.reports <- r }, slog.New(slog.DiscardHandler))
	w.prober.dial = func(id identity) (c conn, err error) {
		w.id.Store(&id)
		doErr := s.edge.Do(func() error {
			var opened *socket
			if opened, err = openKind(w.prober.config, id, kind); err == nil {
				c = opened
			}
			return nil
		})
		return c, errors.Join(doErr, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.prober.Run(ctx)
	}()
	s.t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			s.t.Error("Run did not end with its context")
		}
	})
	return w
}

// until waits for a report that fits.
func (w *watch) until(what string, fits func(Report) bool) Report {
	w.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case w.last = <-w.reports:
			if fits(w.last) {
				return w.last
			}
		case <-limit.C:
			w.t.Fatalf("%s: not within %v; last report: %+v", what, patience, w.last)
		}
	}
}

func (w *watch) untilOpinion(o Opinion) Target {
	w.t.Helper()
	return w.until(o.String(), func(r Report) bool { return r.Targets[0].Opinion == o }).Targets[0]
}

func (s *site) open(config Config, kind socketKind) *socket {
	s.t.Helper()
	var c *socket
	s.must(s.edge.Do(func() (err error) {
		c, err = openKind(config, testIdentity, kind)
		return err
	}))
	s.t.Cleanup(func() { _ = c.close() })
	return c
}

func (s *site) receive(c *socket, k *packet) {
	s.t.Helper()
	limit := time.Now().Add(patience)
	for time.Now().Before(limit) {
		err := c.receive(k)
		if err == nil {
			return
		}
		if !errors.Is(err, errEmpty) {
			s.t.Fatal(err)
		}
		_, err = c.wait(limit, true)
		s.must(err)
	}
	s.t.Fatal("nothing arrived")
}

// answerFrom sends an echo reply of the target's, made by hand, from far.
func (s *site) answerFrom(id identity, sequence uint64) {
	s.t.Helper()
	v6 := s.family.target.Is6()
	config := Config{Device: "eth1", Source: s.family.target}
	s.must(s.far.Do(func() error {
		c, err := openKind(config, identity{}, socketRaw)
		if err != nil {
			return err
		}
		return errors.Join(c.send(s.family.edge1.Addr(), reply(appendEcho(nil, v6, id, sequence), v6)), c.close())
	}))
}

// withoutRawRight runs f on this thread without CAP_NET_RAW.
func withoutRawRight(f func()) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var full [2]unix.CapUserData
	if err := unix.Capget(&header, &full[0]); err != nil {
		return err
	}
	less := full
	less[0].Effective &^= 1 << unix.CAP_NET_RAW
	if err := unix.Capset(&header, &less[0]); err != nil {
		return err
	}
	f()
	return unix.Capset(&header, &full[0])
}
