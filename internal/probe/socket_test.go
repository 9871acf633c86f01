package probe

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
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

func TestSocketAnswers(t *testing.T) {
	inKinds(t, func(t *testing.T, s *site, kind socketKind) {
		w := s.start(s.config(), kind)
		w.untilOpinion(Up)
		r := w.until("fresh figures", func(r Report) bool { return r.Targets[0].Samples >= 10 })
		target := r.Targets[0]
		if target.RTT <= 0 || target.RTT > time.Second || target.Loss != 0 || r.IPv6 != s.family.target.Is6() {
			t.Errorf("%+v", r)
		}
		if r.Ignored != (IgnoredCounts{}) {
			t.Errorf("ignored %v", r.Ignored)
		}
	})
}

// The kernel's stamp and ingress are on each packet, and the stamp lies between
// sending and reading.
func TestSocketPacket(t *testing.T) {
	inKinds(t, func(t *testing.T, s *site, kind socketKind) {
		c := s.open(s.config(), kind)
		before := time.Now()
		s.must(c.send(s.family.target, appendEcho(nil, c.v6, testIdentity, 5)))
		var k packet
		s.receive(c, &k)
		m, why := parse(k.data, c.v6, testIdentity)
		if why != Believed || m.sequence != 5 || k.from != s.family.target || !k.onDevice {
			t.Errorf("%v %+v %+v", why, m, k)
		}
		if k.kernel.Before(before.Round(0)) || k.kernel.After(time.Now()) {
			t.Errorf("stamp %v is not between %v and now", k.kernel, before)
		}
		if err := c.receive(&k); err != errEmpty {
			t.Errorf("empty socket: %v", err)
		}
	})
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
		switch err := c.receive(k); err {
		case nil:
			return
		case errEmpty:
			s.must(c.wait(limit))
		default:
			s.t.Fatal(err)
		}
	}
	s.t.Fatal("nothing arrived")
}

// A wait ends with its time, with close, and with the device.
func TestSocketWait(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		c := s.open(s.config(), socketRaw)
		began := time.Now()
		if err := c.wait(began.Add(50 * time.Millisecond)); err != nil || time.Since(began) < 50*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		s.must(s.edge.DeleteLink("eth1"))
		if err := c.wait(time.Now()); !errors.Is(err, unix.ENODEV) {
			t.Errorf("device gone: %v", err)
		}
		s.relink()
		if err := c.wait(time.Now()); !errors.Is(err, unix.ENODEV) {
			t.Errorf("device of the same name: %v", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.wait(time.Now().Add(time.Hour)) }()
		s.must(c.close())
		select {
		case err := <-ended:
			if err == nil {
				t.Error("close ends a wait without an error")
			}
		case <-time.After(patience):
			t.Error("close does not end a wait")
		}
		if err := c.send(s.family.target, nil); classify(err) != failureGone {
			t.Errorf("send after close: %v", err)
		}
	})
}

func TestSocketOpenErrors(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		for _, c := range []struct {
			name   string
			change func(*Config)
			want   string
		}{
			{"no source", func(c *Config) { c.Source = netip.Addr{} }, "no source address"},
			{"no device", func(c *Config) { c.Device = "eth9" }, "bind to device eth9: no such device"},
			{"foreign source", func(c *Config) { c.Source = s.family.target }, "bind to source " + s.family.target.String() + ": cannot assign requested address"},
		} {
			config := s.config()
			c.change(&config)
			err := s.edge.Do(func() error {
				opened, err := openSocket(config, testIdentity)
				if err == nil {
					return errors.Join(errors.New("opened"), opened.close())
				}
				return err
			})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		}
	})
}

// SRC-10: main's default is by eth2, the probe leaves by eth1 all the same.
func TestSocketKeepsItsUplink(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		f := s.family
		s.ip(s.edge, "route", "replace", f.zero, "via", f.far2.Addr().String(), "dev", "eth2")
		s.ip(s.edge, "route", "add", f.zero, "via", f.far1.Addr().String(), "dev", "eth1", "table", "201")
		s.ip(s.edge, "rule", "add", "fwmark", "0x7", "lookup", "201", "priority", "211")
		config := s.config()
		config.Mark = 7
		_, before, err := s.edge.Counters("eth2")
		s.must(err)
		w := s.start(config, socketRaw)
		w.untilOpinion(Up)
		w.until("20 probes", func(r Report) bool { return r.Targets[0].Samples >= 20 })
		_, after, err := s.edge.Counters("eth2")
		s.must(err)
		if after-before >= 20 {
			t.Errorf("%d packets left by eth2", after-before)
		}
		if _, sent, err := s.edge.Counters("eth1"); err != nil || sent < 20 {
			t.Errorf("%d packets left by eth1 (%v)", sent, err)
		}
		// Without the way of the mark there is nothing to fall back on.
		s.ip(s.edge, "route", "del", f.zero, "table", "201")
		w.untilOpinion(Down)
	})
}

// Replies that come back by another interface say nothing of this one.
func TestSocketIngress(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		f := s.family
		back := netip.PrefixFrom(f.edge1.Addr(), f.edge1.Addr().BitLen()).String()
		s.ip(s.far, "route", "add", back, "via", f.edge2.Addr().String(), "dev", "eth2")
		before, _, err := s.edge.Counters("eth2")
		s.must(err)
		w := s.start(s.config(), socketRaw)
		w.until("down", func(r Report) bool {
			if r.Targets[0].Opinion == Up {
				t.Fatal("believed a reply that came by eth2")
			}
			return r.Targets[0].Opinion == Down
		})
		after, _, err := s.edge.Counters("eth2")
		s.must(err)
		if after-before < 20 {
			t.Fatalf("only %d packets came by eth2: the test shows nothing", after-before)
		}
		s.ip(s.far, "route", "del", back)
		w.untilOpinion(Up)
	})
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

// Another program with our identifier: its replies have another cookie.
func TestSocketIdentifierCollision(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		s.must(s.far.Sysctl("net/ipv4/icmp_echo_ignore_all", "1"))
		s.must(s.far.Sysctl("net/ipv6/icmp/echo_ignore_all", "1"))
		w := s.start(s.config(), socketRaw)
		w.until("asked", func(r Report) bool { return strings.HasPrefix(r.Targets[0].Reason, "asked") })
		id := *w.id.Load()
		other := id
		other.cookie[0]++
		for sequence := range uint64(10) {
			s.answerFrom(other, sequence)
		}
		r := w.until("10 ignored", func(r Report) bool { return r.Ignored[IgnoredCookie] == 10 })
		if r.Targets[0].Opinion == Up {
			t.Error("believed another program's replies")
		}
		r = w.until("down", func(r Report) bool { return r.Targets[0].Opinion == Down })
		for why, n := range r.Ignored.All() {
			if n != 0 && why != IgnoredCookie {
				t.Errorf("%v: %d", why, n)
			}
		}
	})
}

// The kernel holds back other programs' replies and lets in what is ours.
func TestSocketFilter(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		c := s.open(s.config(), socketRaw)
		other := testIdentity
		other.id++
		for sequence := range uint64(5) {
			s.answerFrom(other, sequence)
		}
		s.answerFrom(testIdentity, 77)
		var k packet
		s.receive(c, &k)
		if m, why := parse(k.data, c.v6, testIdentity); why != Believed || m.sequence != 77 {
			t.Errorf("%v %+v", why, m)
		}
	})
}

// DGD-13: a router's unreachable is a loss at once, and counts as advice if the
// router is the gateway. DGD-12: one loss per probe.
func TestSocketUnreachable(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		s.ip(s.far, "route", "add", "unreachable", s.family.nowhere.String())
		config := s.config()
		config.Targets = []netip.Addr{s.family.nowhere, s.family.target}
		// The timeout is a minute: silence cannot bring this about.
		config.Interval, config.Down = 100*time.Millisecond, 600
		w := s.start(config, socketRaw)
		// ip_error (net/ipv4/route.c) sends 5 at once and then 1 per second.
		r := w.until("4 losses", func(r Report) bool { return r.Targets[0].Samples >= 4 && r.Targets[1].Samples >= 4 })
		if r.Targets[0].Loss != 1 || r.Targets[0].Opinion != Unknown || r.Targets[1].Loss != 0 || r.Targets[1].Opinion != Up {
			t.Errorf("%+v", r.Targets)
		}
		want := "host unreachable for 198.51.100.9"
		if s.family.target.Is6() {
			want = "no route to destination for 2001:db8:1::9"
		}
		if r.Advice.Unreachables != uint64(r.Targets[0].Samples) || r.Advice.Last != want {
			t.Errorf("%+v, want %q", r.Advice, want)
		}
	})
}

// A device that is down: the kernel says at once that there is no way.
func TestSocketDeviceDown(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		w := s.start(s.config(), socketRaw)
		w.untilOpinion(Up)
		s.must(s.edge.SetDown("eth1"))
		target := w.untilOpinion(Down)
		if !strings.HasSuffix(target.Reason, "in a row lost: network is unreachable") {
			t.Errorf("%+v", target)
		}
		s.must(s.edge.SetUp("eth1"))
		f := s.family
		s.ip(s.edge, "route", "replace", f.zero, "via", f.far1.Addr().String(), "dev", "eth1")
		w.untilOpinion(Up)
	})
}

// The device vanishes and comes back with another index, like a PPP link.
func TestSocketDeviceReplaced(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		w := s.start(s.config(), socketRaw)
		w.untilOpinion(Up)
		s.must(s.edge.DeleteLink("eth1"))
		r := w.until("error", func(r Report) bool { return r.Err != nil })
		if r.Targets[0].Opinion != Unknown || !errors.Is(r.Err, unix.ENODEV) {
			t.Errorf("%+v", r)
		}
		s.relink()
		w.prober.Poke()
		if r := w.until("up", func(r Report) bool { return r.Targets[0].Opinion == Up }); r.Err != nil {
			t.Errorf("%+v", r)
		}
	})
}

// A gateway that knows a better one says so, and the opinion does not care.
func TestSocketRedirect(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		better := netip.MustParseAddr("192.0.2.3")
		config := s.config()
		if s.family.target.Is6() {
			// A redirect comes from and names link-local addresses (RFC 4861
			// section 8.1).
			better = netip.MustParseAddr("fe80::3")
			config.Gateway = netip.MustParseAddr("fe80::1%eth1")
			f := s.family
			s.ip(s.edge, "route", "replace", f.zero, "via", "fe80::1", "dev", "eth1")
		}
		for _, conf := range []string{"all", "eth1"} {
			s.must(s.far.Sysctl("net/ipv4/conf/"+conf+"/send_redirects", "1"))
		}
		s.ip(s.far, "route", "add", s.family.nowhere.String(), "via", better.String(), "dev", "eth1")
		// The better router does not exist; nobody shall complain of that.
		s.ip(s.far, "neigh", "add", better.String(), "lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", "eth1")
		config.Targets = []netip.Addr{s.family.target, s.family.nowhere}
		w := s.start(config, socketRaw)
		r := w.until("redirect", func(r Report) bool { return r.Advice.Redirects > 0 && r.Targets[0].Opinion == Up })
		want := "redirect for " + s.family.nowhere.String() + " to " + better.String()
		if r.Advice.Last != want || r.Advice.Unreachables != 0 {
			t.Errorf("%+v, want %q", r.Advice, want)
		}
	})
}

// Link-local source and target need the device as their zone.
func TestSocketLinkLocal(t *testing.T) {
	t.Parallel()
	s := newSite(t, families46[1])
	s.must(s.edge.AddAddress("eth1", netip.MustParsePrefix("fe80::2/64")))
	config := s.config()
	config.Source = netip.MustParseAddr("fe80::2%eth1")
	config.Targets = []netip.Addr{netip.MustParseAddr("fe80::1")}
	s.start(config, socketRaw).untilOpinion(Up)
}
