package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
		if err := c.receive(&k); !errors.Is(err, errEmpty) {
			t.Errorf("empty socket: %v", err)
		}
	})
}

// A wait ends with its time and with the device.
func TestSocketWait(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		c := s.open(s.config(), socketRaw)
		for _, listen := range []bool{true, false} {
			began := time.Now()
			arrived, err := c.wait(began.Add(50*time.Millisecond), listen)
			if err != nil || arrived == listen || time.Since(began) < 50*time.Millisecond {
				t.Errorf("listen %v: arrived %v, %v after %v", listen, arrived, err, time.Since(began))
			}
		}
		s.must(s.edge.DeleteLink("eth1"))
		// Within lookEvery of the last look there is another.
		if _, err := c.wait(time.Now().Add(lookEvery), true); !errors.Is(err, unix.ENODEV) {
			t.Errorf("device gone: %v", err)
		}
		// Why send looks: the kernel's word is the same as for a missing route.
		message := appendEcho(nil, c.v6, testIdentity, 1)
		c.to, c.message = c.address(s.family.target, 0), message
		s.must(c.raw.Control(c.sendFD))
		if !errors.Is(c.err, unix.ENETUNREACH) {
			t.Errorf("sendto through a device that is gone: %v", c.err)
		}
		if err := c.send(s.family.target, message); !errors.Is(err, unix.ENODEV) || classify(err) != failureGone {
			t.Errorf("send through a device that is gone: %v", err)
		}
		s.relink()
		if err := c.send(s.family.target, message); !errors.Is(err, unix.ENODEV) {
			t.Errorf("send through another device of the same name: %v", err)
		}
		if _, err := c.wait(time.Now().Add(lookEvery), false); !errors.Is(err, unix.ENODEV) {
			t.Errorf("device of the same name: %v", err)
		}
		s.must(c.close())
		if err := c.send(s.family.target, nil); classify(err) != failureGone {
			t.Errorf("send after close: %v", err)
		}
	})
}

// Close ends a wait, whether or not it listens, and may come twice.
func TestSocketClose(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		for _, listen := range []bool{true, false} {
			c := s.open(s.config(), socketRaw)
			ended := make(chan error, 1)
			go func() {
				_, err := c.wait(time.Now().Add(time.Hour), listen)
				ended <- err
			}()
			s.must(c.close())
			select {
			case err := <-ended:
				if err == nil {
					t.Error("close ends a wait without an error")
				}
			case <-time.After(patience):
				t.Error("close does not end a wait")
			}
			if err := c.close(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("closed twice: %v", err)
			}
		}
	})
}

// While the socket does not listen packets wake nobody, and nothing is lost: the
// next wait that listens ends at once, whichever came first.
func TestSocketGathers(t *testing.T) {
	inKinds(t, func(t *testing.T, s *site, kind socketKind) {
		c := s.open(s.config(), kind)
		var k packet
		for sequence := range uint64(3) {
			// Armed and disarmed again, for the first two cases in turn.
			if _, err := c.wait(time.Now().Add(time.Millisecond), sequence%2 == 0); err != nil {
				t.Fatal(err)
			}
			s.must(c.send(s.family.target, appendEcho(nil, c.v6, testIdentity, 2*sequence)))
			s.must(c.send(s.family.target, appendEcho(nil, c.v6, testIdentity, 2*sequence+1)))
			began := time.Now()
			if arrived, err := c.wait(began.Add(50*time.Millisecond), false); err != nil || !arrived || time.Since(began) < 50*time.Millisecond {
				t.Errorf("round %d: arrived %v, %v after %v", sequence, arrived, err, time.Since(began))
			}
			readable := -1
			s.must(c.raw.Control(func(set uintptr) {
				readable, _ = unix.Poll([]unix.PollFd{{Fd: int32(set), Events: unix.POLLIN}}, 0)
			}))
			if readable != 0 {
				t.Errorf("round %d: the set tells of packets (%d)", sequence, readable)
			}
			for range 2 {
				if arrived, err := c.wait(time.Now().Add(patience), true); err != nil || !arrived {
					t.Fatalf("round %d: arrived %v, %v", sequence, arrived, err)
				}
				s.must(c.receive(&k))
				if k.kernel.Before(began.Add(-patience)) || k.kernel.After(began.Add(patience)) {
					t.Errorf("round %d: stamp %v, sent at %v", sequence, k.kernel, began)
				}
			}
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

// Without CAP_NET_RAW a ping socket does, where the administrator allows it;
// where not, the error names both attempts.
func TestSocketWithoutRights(t *testing.T) {
	inFamilies(t, func(t *testing.T, s *site) {
		open := func() (kind socketKind, err error) {
			doErr := s.edge.Do(func() error {
				return withoutRawRight(func() {
					var c conn
					if c, err = openSocket(s.config(), testIdentity); err == nil {
						s, ok := c.(*socket)
						if !ok {
							err = fmt.Errorf("opened a %T", c)
							return
						}
						kind, err = s.kind, s.close()
					}
				})
			})
			return kind, errors.Join(doErr, err)
		}
		s.must(s.edge.Sysctl("net/ipv4/ping_group_range", "1 0"))
		_, err := open()
		if err == nil || !strings.Contains(err.Error(), "create raw socket: operation not permitted") ||
			!strings.Contains(err.Error(), "create ping socket: permission denied") {
			t.Errorf("nothing allowed: %v", err)
		}
		s.must(s.edge.Sysctl("net/ipv4/ping_group_range", "0 0"))
		if kind, err := open(); err != nil || kind != socketPing {
			t.Errorf("ping allowed: kind %d, %v", kind, err)
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

// Link-local source and target mean those of the device.
func TestSocketLinkLocal(t *testing.T) {
	t.Parallel()
	s := newSite(t, families46[1])
	s.must(s.edge.AddAddress("eth1", netip.MustParsePrefix("fe80::2/64")))
	config := s.config()
	config.Source = netip.MustParseAddr("fe80::2%eth1")
	config.Targets = []netip.Addr{netip.MustParseAddr("fe80::1")}
	s.start(config, socketRaw).untilOpinion(Up)
}
