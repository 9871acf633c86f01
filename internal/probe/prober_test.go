package probe

import (
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var (
	allUp      = [3]Opinion{Up, Up, Up}
	allDown    = [3]Opinion{Down, Down, Down}
	allUnknown = [3]Opinion{}
)

// worst is the latest moment at which a silent cut must be known: three probes
// and a timeout after it, each probe late by its jitter.
const worst = 3*200*time.Millisecond + 200*time.Millisecond + 2*10*time.Millisecond

func TestSilentCutIsFoundInTime(t *testing.T) {
	families(t, nil, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(time.Second)
		if got := b.opinions(); got != allUp {
			t.Fatalf("at the start: %v", got)
		}
		for i := range 40 {
			// 37 ms moves the cut through the phases of all targets.
			b.pass(5*time.Second + time.Duration(i)*37*time.Millisecond)
			b.set(func(n *fakeNet) {
				n.alter = func([]byte, packet) []packet { return nil }
			})
			b.forget()
			b.pass(worst)
			if b.count() == 0 || b.opinions() != allDown {
				t.Fatalf("cut %d: not all down after %v", i, worst)
			}
			r, at := b.last()
			if r.Targets[0].Reason != "3 probes in a row lost" || at.Sub(r.Targets[0].Since) > worst {
				t.Errorf("cut %d: %+v", i, r.Targets[0])
			}
			b.set(func(n *fakeNet) { n.alter = nil })
			b.pass(worst)
			if got := b.opinions(); got != allUp {
				t.Fatalf("return %d: %v", i, got)
			}
		}
	})
}

func TestOneTargetDoesNotTouchTheOthers(t *testing.T) {
	families(t, nil, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(time.Second)
		b.set(func(n *fakeNet) { n.cut[b.prober.config.Targets[1]] = true })
		b.pass(10 * time.Second)
		if got := b.opinions(); got != ([3]Opinion{Up, Down, Up}) {
			t.Errorf("%v", got)
		}
		r, _ := b.last()
		if r.Targets[0].RTT != 20*time.Millisecond || r.Targets[0].Loss != 0 || r.Targets[1].Loss != 1 || r.Targets[1].RTT != 0 {
			t.Errorf("figures: %+v", r.Targets)
		}
		if r.IPv6 != b.v6 || r.Uplink != "a" || r.Err != nil {
			t.Errorf("%+v", r)
		}
	})
}

// The rhythm: the interval on average, never two probes to one target closer
// than an interval without its jitters, targets apart.
func TestRhythm(t *testing.T) {
	families(t, nil, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(2 * time.Second)
		b.set(func(n *fakeNet) { n.sends = nil })
		b.pass(100 * time.Second)
		last := map[netip.Addr]time.Time{}
		count := map[netip.Addr]int{}
		var before fakeSend
		for _, s := range b.sends {
			if gap := s.at.Sub(last[s.to]); count[s.to] > 0 && (gap < 180*time.Millisecond || gap > 220*time.Millisecond) {
				t.Fatalf("%v after the probe before", gap)
			}
			if gap := s.at.Sub(before.at); gap < 200*time.Millisecond/3-20*time.Millisecond {
				t.Fatalf("%v between targets", gap)
			}
			last[s.to], before = s.at, s
			count[s.to]++
		}
		for to, n := range count {
			if n < 499 || n > 501 {
				t.Errorf("%s: %d probes in 100 s", to, n)
			}
		}
		if len(count) != 3 {
			t.Errorf("%d targets were asked", len(count))
		}
	})
}

func TestReportsAreFreshAndFew(t *testing.T) {
	families(t, nil, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(10 * time.Second)
		b.forget()
		b.pass(100 * time.Second)
		if n := b.count(); n < 80 || n > 100 {
			t.Errorf("%d reports in 100 s", n)
		}
	})
	slow := func(c *Config) { c.Interval, c.Timeout = time.Minute, time.Second }
	families(t, slow, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(2500 * time.Millisecond)
		if got := b.opinions(); got != allUp {
			t.Fatalf("the first probe waits for its phase: %v", got)
		}
		b.pass(4 * time.Minute)
		sent := len(b.sends)
		for r, _ := b.last(); r.Targets[2].Samples < 7; r, _ = b.last() {
			b.pass(time.Second)
		}
		_, at := b.last()
		if wait := at.Sub(b.sends[len(b.sends)-1].at); wait > reportLimit+time.Second {
			t.Errorf("fresh figures waited %v", wait)
		}
		if sent < 12 || sent > 18 {
			t.Errorf("%d probes in 4 minutes", sent)
		}
	})
}

// Each packet that is not believed leaves the opinion alone and has its name.
func TestNotBelieved(t *testing.T) {
	copied := func(k packet, change func(*packet)) packet {
		k.data = append([]byte(nil), k.data...)
		change(&k)
		return k
	}
	for _, c := range []struct {
		why   Ignored
		up    bool // the true answer came, too
		alter func(v6 bool, k packet) []packet
	}{
		{IgnoredIngress, false, func(_ bool, k packet) []packet {
			return []packet{copied(k, func(k *packet) { k.onDevice = false })}
		}},
		{IgnoredCookie, false, func(v6 bool, k packet) []packet {
			return []packet{copied(k, func(k *packet) { k.data[8]++; sealed(k.data, v6) })}
		}},
		{IgnoredIdentifier, false, func(v6 bool, k packet) []packet {
			return []packet{copied(k, func(k *packet) { k.data[4]++; sealed(k.data, v6) })}
		}},
		{IgnoredSource, false, func(_ bool, k packet) []packet {
			return []packet{copied(k, func(k *packet) { k.from = k.from.Prev().Prev().Prev() })}
		}},
		{IgnoredSequence, false, func(v6 bool, k packet) []packet {
			return []packet{copied(k, func(k *packet) { k.data[6] += 8; k.data[22] += 8; sealed(k.data, v6) })}
		}},
		{IgnoredMalformed, false, func(_ bool, k packet) []packet {
			return []packet{copied(k, func(k *packet) { k.data = nil })}
		}},
		{IgnoredLate, false, func(_ bool, k packet) []packet {
			return []packet{copied(k, func(k *packet) { k.kernel = k.kernel.Add(180 * time.Millisecond) })}
		}},
		{IgnoredDuplicate, true, func(_ bool, k packet) []packet { return []packet{k, k} }},
	} {
		t.Run(c.why.String(), func(t *testing.T) {
			families(t, nil, func(t *testing.T, b *bench) {
				b.alter = func(_ []byte, k packet) []packet { return c.alter(b.v6, k) }
				b.start(t)
				b.pass(10 * time.Second)
				want := allDown
				if c.up {
					want = allUp
				}
				r, _ := b.last()
				if b.opinions() != want {
					t.Errorf("%+v", r.Targets)
				}
				for why, n := range r.Ignored.All() {
					if (why == c.why) != (n > 100) {
						t.Errorf("%v: %d", why, n)
					}
				}
			})
		})
	}
}

// If this process was kept from running, the answers that the kernel has are
// read before anything expires.
func TestStallIsNoLoss(t *testing.T) {
	families(t, nil, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(5 * time.Second)
		for range 20 {
			b.set(func(n *fakeNet) { n.stall = 3 * time.Second })
			b.pass(4*time.Second + 31*time.Millisecond)
		}
		r, _ := b.last()
		for _, target := range r.Targets {
			if target.Opinion != Up || target.Loss != 0 || target.RTT != 20*time.Millisecond {
				t.Errorf("%+v", target)
			}
		}
	})
}

func TestUnreachableFromRouter(t *testing.T) {
	router := map[bool]netip.Addr{false: netip.MustParseAddr("203.0.113.7"), true: netip.MustParseAddr("2001:db8:7::7")}
	patient := func(c *Config) {
		c.Timeout = 600 * time.Millisecond
		c.Gateway = netip.MustParseAddr("192.0.2.1")
		if c.Source.Is6() {
			c.Gateway = netip.MustParseAddr("fe80::1%eth1")
		}
	}
	families(t, patient, func(t *testing.T, b *bench) {
		f := wireFamilies[0]
		if b.v6 {
			f = wireFamilies[1]
		}
		complain := func(from netip.Addr) {
			b.set(func(n *fakeNet) {
				n.alter = func(request []byte, k packet) []packet {
					k.data = icmpError(f.unreachable, f.hostCode, netip.Addr{}, packetTo(k.from, request), b.v6)
					k.from = from
					return []packet{k, k}
				}
			})
		}
		b.start(t)
		b.pass(5 * time.Second)
		complain(router[b.v6])
		b.pass(3*200*time.Millisecond + 2*10*time.Millisecond + 20*time.Millisecond)
		r, _ := b.last()
		want := "3 probes in a row lost: " + unreachableWords(b.v6, f.hostCode) + ", says " + router[b.v6].String()
		if b.opinions() != allDown || r.Targets[2].Reason != want {
			t.Errorf("%+v, want reason %q", r.Targets, want)
		}
		if r.Advice != (Advice{}) {
			t.Errorf("advice from a distant router: %+v", r.Advice)
		}
		complain(b.prober.config.Gateway.WithZone(""))
		b.pass(5 * time.Second)
		r, _ = b.last()
		if r.Advice.Unreachables < 100 || !strings.Contains(r.Advice.Last, " for "+r.Targets[0].Address.String()[:8]) {
			t.Errorf("advice from the gateway: %+v", r.Advice)
		}
	})
}

// Advice never touches an opinion, and a prober without targets hears it.
func TestAdviceWithoutTargets(t *testing.T) {
	alone := func(c *Config) {
		c.Targets = nil
		c.Gateway = netip.MustParseAddr("192.0.2.1")
		if c.Source.Is6() {
			c.Gateway = netip.MustParseAddr("fe80::1%eth1")
		}
	}
	families(t, alone, func(t *testing.T, b *bench) {
		f := wireFamilies[0]
		if b.v6 {
			f = wireFamilies[1]
		}
		b.openErr = syscall.ENODEV
		b.start(t)
		b.pass(time.Second)
		b.set(func(n *fakeNet) { n.openErr = nil })
		b.pass(time.Minute)
		r, _ := b.last()
		if r.Err != nil || len(r.Targets) != 0 || len(b.sends) != 0 {
			t.Fatalf("%+v, %d probes", r, len(b.sends))
		}
		if n := b.count(); n > 4 {
			t.Errorf("%d reports about nothing", n)
		}
		hear := func(from netip.Addr) {
			b.deliver(packet{data: redirectTo(f, f.target.Next()), from: from, onDevice: true, kernel: time.Now()})
		}
		hear(f.router)
		hear(f.target)
		b.pass(100 * time.Millisecond)
		r, _ = b.last()
		if r.Advice.Redirects != 1 || !strings.HasPrefix(r.Advice.Last, "redirect for ") || r.Ignored[IgnoredForeign] != 1 {
			t.Errorf("%+v %v", r.Advice, r.Ignored)
		}
		// What comes right after a report waits, but not for long.
		hear(f.router)
		b.pass(100 * time.Millisecond)
		if r, _ = b.last(); r.Advice.Redirects != 1 {
			t.Error("two reports within a second")
		}
		b.pass(reportLimit)
		if r, _ = b.last(); r.Advice.Redirects != 2 {
			t.Errorf("fresh advice waits longer than %v", reportLimit)
		}
		// A socket that fails while it only listens is opened again.
		b.set(func(n *fakeNet) { _ = n.conns[0].close() })
		b.pass(time.Second)
		if len(b.conns) != 2 {
			t.Errorf("%d sockets", len(b.conns))
		}
	})
}

func TestUnusableTargetIsLeftAlone(t *testing.T) {
	mixed := func(c *Config) {
		c.Targets[1] = netip.MustParseAddr("2001:db8::77")
		if c.Source.Is6() {
			c.Targets[1] = netip.MustParseAddr("198.51.100.77")
		}
	}
	families(t, mixed, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(5 * time.Second)
		r, _ := b.last()
		if b.opinions() != ([3]Opinion{Up, Unknown, Up}) || !strings.HasPrefix(r.Targets[1].Reason, "not of the family") {
			t.Errorf("%+v", r.Targets)
		}
	})
}

// The same address twice is asked twice and both hear their own answers.
func TestTargetTwice(t *testing.T) {
	twice := func(c *Config) { c.Targets[1] = c.Targets[0] }
	families(t, twice, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(5 * time.Second)
		r, _ := b.last()
		if b.opinions() != allUp || r.Ignored != (IgnoredCounts{}) {
			t.Errorf("%+v %v", r.Targets, r.Ignored)
		}
	})
}

// Run ends with its context, wherever it is, and closes the socket. A bubble
// that ends with a goroutine left fails by itself.
func TestRunEnds(t *testing.T) {
	for _, openErr := range []error{nil, syscall.ENODEV} {
		families(t, nil, func(t *testing.T, b *bench) {
			b.openErr = openErr
			b.start(t)
			b.pass(20 * time.Second)
			t.Cleanup(func() {
				synctest.Wait()
				for _, c := range b.conns {
					select {
					case <-c.closed:
					default:
						t.Error("socket left open")
					}
				}
			})
		})
	}
}

func TestClassify(t *testing.T) {
	for err, want := range map[error]failure{
		nil:                  failureNone,
		syscall.EHOSTUNREACH: failureUnreachable,
		syscall.ENETUNREACH:  failureUnreachable,
		os.NewSyscallError("s", syscall.ENETUNREACH): failureUnreachable,
		syscall.ENODEV:   failureGone,
		syscall.ENETDOWN: failureGone,
		os.ErrClosed:     failureGone,
		syscall.EPERM:    failureLocal,
		syscall.EAGAIN:   failureLocal,
		syscall.ENOBUFS:  failureLocal,
		syscall.EACCES:   failureLocal,
	} {
		if got := classify(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}
