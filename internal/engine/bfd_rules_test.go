package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// TestBFD_GA_01_OnePath: two ways of one path have one session, and both hear it. Here
// a router of the other family is the gateway of both (RFC 8950).
func TestBFD_GA_01_OnePath(t *testing.T) {
	host := learned(hostOf(t, "eth1 2 203.0.113.2/24 2001:db8:1::2/64 fe80::2/64"), "eth1", "fe80::1")
	both := host.Defaults[0]
	both.Dst = fib.IPv4.Any()
	host.Defaults = append(host.Defaults, both)
	const text = "uplinks: [{name: a, interface: eth1, bfd: {}}, {name: b, interface: eth2, gateway: 198.51.100.1}]"
	b := newBench(t, text, host)
	b.turn()
	expect := func(when string, want uplink.Opinion, calls ...string) {
		t.Helper()
		if diff := cmp.Diff(calls, b.asked()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", when, diff)
		}
		for _, f := range fib.Families {
			e := b.board.Snapshot()[uplink.Source{Way: uplink.Way{Uplink: "a", Family: f}, Kind: uplink.KindBFD}]
			if e.Opinion != want || e.Reason == "" {
				t.Errorf("%s: %s is %s: %s", when, f, e.Opinion, e.Reason)
			}
			if w := wayOf(t, b.Status(), "a", f.String()); w.BFD == nil || w.BFD.Peer != "fe80::1" {
				t.Errorf("%s: the status of %s is %+v", when, f, w.BFD)
			}
		}
	}
	expect("start", uplink.Unknown, "open async fe80::1%eth1 from fe80::2, 50ms x 3")
	f := b.speakers[0].of("eth1", true)
	f.notices("up", b.now)
	expect("up", uplink.Up)
	b.host.see(&netmon.Snapshot{Links: host.Links, Defaults: host.Defaults})
	b.turn()
	expect("another look", uplink.Up)
	f.notices("expired", b.now)
	expect("failed", uplink.Down)
	b.reload(replaced(text, "{}", "{interval: 20ms}"))
	expect("another interval", uplink.Down, "update async fe80::1%eth1 from fe80::2, 20ms x 3")
	b.host.see(&netmon.Snapshot{Links: host.Links, Defaults: host.Defaults[:1]})
	b.turn()
	f.notices("up", b.now)
	expect("the route of one is away", uplink.Up)
	b.reload(replaced(text, "{}", "false"))
	if diff := cmp.Diff([]string{"close async fe80::1%eth1 from fe80::2, 20ms x 3"}, b.asked()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestBFD_GA_01_Duplicates: who wants another session of a path that has one is told.
func TestBFD_GA_01_Duplicates(t *testing.T) {
	c := parseConfig(t, replaced(strings.ReplaceAll(withBFD, "198.51.100.1", "203.0.113.7"), "113.7}", "113.7, bfd: {require: true}}"))
	// The configuration refuses that; learned gateways can't be known to it.
	c.Uplinks[1].Interface, c.Uplinks[1].BFD.Peers = "eth1", c.Uplinks[0].Gateways
	b := newBench(t, twoUplinks, hostOf(t, hostA))
	b.boot(c)
	b.turn()
	if diff := cmp.Diff([]string{"open async 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3"}, b.asked()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	second := uplink.Source{Way: uplink.Way{Uplink: "b", Family: fib.IPv4}, Kind: uplink.KindBFD}
	const want = "not opened: a/ipv4 has another session with 203.0.113.1 on eth1, and a path has one (RFC 5882 section 2): take bfd from one of them"
	if e := b.board.Snapshot()[second]; e.Opinion != uplink.Unknown || e.Reason != want {
		t.Errorf("b is %s: %s", e.Opinion, e.Reason)
	}
	b.pass(11 * time.Second)
	if e := b.board.Snapshot()[second]; e.Opinion != uplink.Down {
		t.Errorf("b is %s though a session is required", e.Opinion)
	}
}

// TestBFD_GA_09_FIBFirst: a failure is in the kernel without the passing of time, and
// before anything is written about it.
func TestBFD_GA_09_FIBFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, withBFD, hostOf(t, hostA, hostB))
		defer d.end(t)
		f := d.speaker.of("eth1", false)
		f.notices("up", time.Now())
		synctest.Wait()
		d.fake.Writes()
		said := -1
		d.fake.AfterEach = func(fib.Op) { said = d.log.count("verdict", "uplink=a", "dead") }
		at := time.Now()
		f.notices("expired", at)
		synctest.Wait()
		if n := len(d.fake.Writes()); n != 1 || said != 0 || !time.Now().Equal(at) {
			t.Errorf("%d writes, %d lines before the first of them, %s later", n, said, time.Since(at))
		}
		if w := d.way(t, "a"); w.Verdict != "dead" || d.log.count("verdict", "uplink=a", "after=", "bfd: nothing heard")+d.log.count("verdict", "uplink=a", "dead") == 0 {
			t.Errorf("a is %s", w.Verdict)
		}
	})
}

// TestBFD_GA_05_Restart: nothing is taken out of use because a session starts, neither
// at a start, nor with another speaker, nor with another address.
func TestBFD_GA_05_Restart(t *testing.T) {
	b := newBench(t, withBFD, hostOf(t, hostA, hostB))
	b.turn()
	b.session().notices("up", b.now)
	b.pass(time.Minute)
	b.written()
	b.boot(parseConfig(t, withBFD))
	b.pass(time.Second)
	b.session().notices("init", b.now)
	b.pass(time.Second)
	b.host.see(hostOf(t, "eth1 2 203.0.113.2/24 203.0.113.9/24", hostB))
	b.pass(time.Second)
	if w := b.written(); len(w) > 0 && strings.Contains(strings.Join(w, "\n"), "group") || b.verdict("a", fib.IPv4) != "live active" {
		t.Errorf("a is %s; wrote %q", b.verdict("a", fib.IPv4), w)
	}
}

// TestBFD_GA_21_Damping: five flaps in ten seconds are one transition in the kernel,
// with the defaults and where only the penalty holds the way, and the session goes on.
func TestBFD_GA_21_Damping(t *testing.T) {
	for name, hold := range map[string]string{"defaults": "{}", "penalty": "{up: 0s, penalty-half-life: 60s, suppress: 900, reuse: 750}"} {
		for _, family := range fib.Families {
			t.Run(name+"/"+family.String(), func(t *testing.T) {
				text := strings.ReplaceAll(twoUplinks, "eth1,", "eth1, bfd: {},")
				b := newBench(t, strings.Replace(text, "{up: 10s}", hold, 1), twoLinks(t))
				b.turn()
				w := uplink.Way{Uplink: "a", Family: family}
				f := b.sessionOf(b.speakers[0], w)
				f.notices("up", b.now)
				b.pass(time.Minute)
				b.written()
				b.asked()
				for range 5 {
					for _, word := range []string{"expired", "init", "up"} {
						f.notices(word, b.now)
						b.turn()
					}
					b.pass(2 * time.Second)
				}
				if writes, calls := b.written(), b.asked(); len(writes) != 1 || len(calls) != 0 {
					t.Errorf("%d writes %q, asked %q", len(writes), writes, calls)
				}
				if got := b.verdict("a", family); got != "held standby" {
					t.Errorf("a is %s", got)
				}
				if name == "penalty" && !b.verdicts[w].Damped {
					t.Errorf("not suppressed: %s", b.verdicts[w].Why())
				}
				b.pass(5 * time.Minute)
				if got := b.verdict("a", family); got != "live active" || len(b.written()) != 1 {
					t.Errorf("after five quiet minutes a is %s", got)
				}
			})
		}
	}
}
