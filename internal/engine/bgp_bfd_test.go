package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// bfdAndBGP is a with both.
const bfdAndBGP = `
hold: {up: 10s}
bgp: {as: 64500, router-id: 192.0.2.1}
uplinks:
  - {name: a, interface: eth1, gateway: 203.0.113.1, bfd: {interval: 50ms}, bgp: {peer-as: 64501}}
  - {name: b, interface: eth2, gateway: 198.51.100.1}
`

// TestBFD_GA_09_BFD_GA_13_BFD_GA_08_Reset: a failure resets the session once, after the
// kernel was written; what is no failure does not.
func TestBFD_GA_09_BFD_GA_13_BFD_GA_08_Reset(t *testing.T) {
	b := speaks(t, bfdAndBGP, hostA, hostB)
	b.session().notices("up", b.now)
	b.pass(time.Second)
	before := -1
	b.fake.AfterEach = func(fib.Op) { before = len(b.voice().resets) }
	expect := func(when string, want ...string) {
		t.Helper()
		b.turn()
		b.turn()
		if diff := cmp.Diff(want, b.voice().reset()); diff != "" {
			t.Errorf("%s -want +got:\n%s", when, diff)
		}
	}
	expect("up")
	b.session().notices("expired", b.now)
	expect("failed", "a/ipv4: BFD Down")
	if before != 0 {
		t.Errorf("at the write %d resets had been", before)
	}
	b.pass(time.Minute)
	expect("a minute later")
	b.session().notices("up", b.now)
	expect("up again")
	b.session().notices("admin-down", b.now)
	expect("administratively down")
	b.session().notices("up", b.now)
	b.session().notices("told-down", b.now)
	b.session().notices("up", b.now)
	expect("failed and up between two looks", "a/ipv4: BFD Down")
	b.voice().session("a/ipv4", func(p *bgp.PeerStatus) { p.State = bgp.Connect })
	b.session().notices("expired", b.now)
	expect("there is no session to reset")
}

// TestB_BFDS_02_B_BFDS_03_B_BFDS_05_Require: the session is shut while BFD is required and
// not up; BFD does not depend on it.
func TestB_BFDS_02_B_BFDS_03_B_BFDS_05_Require(t *testing.T) {
	b := newBench(t, replaced(bfdAndBGP, "interval: 50ms", "interval: 50ms, require: true"), hostOf(t, hostA, hostB))
	b.turn()
	shut := func() string {
		t.Helper()
		b.turn()
		p, ok := b.voice().peer("a/ipv4")
		if !ok {
			t.Fatal("no session")
		}
		return p.Shutdown
	}
	if got := shut(); got != "waiting for BFD" {
		t.Errorf("at the start: %q", got)
	}
	b.voice().starts(b.now)
	if e := b.bgpSaid(wayA); !strings.Contains(e.Reason, "waiting for BFD") && e.Opinion != uplink.Down {
		t.Errorf("%s: %s", e.Opinion, e.Reason)
	}
	b.session().notices("up", b.now)
	if got := shut(); got != "" {
		t.Errorf("with BFD: %q", got)
	}
	b.voice().up("a/ipv4")
	b.pass(time.Second)
	if got := b.verdict("a", fib.IPv4); got != "live active" {
		t.Errorf("a is %s: %s", got, b.verdicts[wayA].Why())
	}
	b.session().notices("expired", b.now)
	if got := shut(); got != "waiting for BFD" || len(b.voice().reset()) != 1 {
		t.Errorf("BFD failed: %q", got)
	}
	// After a restart BFD is given its time before a session is shut that was in use.
	b.session().notices("up", b.now)
	b.pass(time.Minute)
	b.boot(b.Config())
	if got := shut(); got != "" {
		t.Errorf("after a restart: %q", got)
	}
	b.pass(time.Minute)
	if got := shut(); got != "waiting for BFD" {
		t.Errorf("a minute after a restart without BFD: %q", got)
	}
}

// TestB_GR_09_GatewayAlive: a lost session whose paths are retained keeps its way as long
// as something else vouches for the gateway.
func TestB_GR_09_GatewayAlive(t *testing.T) {
	b := speaks(t, bfdAndBGP, hostA, hostB)
	b.session().notices("up", b.now)
	b.pass(time.Second)
	b.voice().lost("a/ipv4", "connection reset")
	b.voice().session("a/ipv4", func(p *bgp.PeerStatus) {
		p.Families[0].Retained, p.Families[0].Until = true, b.now.Add(2*time.Minute)
	})
	b.pass(time.Minute)
	b.expectWrites("retained", 0)
	if got := b.verdict("a", fib.IPv4); got != "live active" {
		t.Errorf("a is %s", got)
	}
	b.session().notices("expired", b.now)
	b.turn()
	if got := b.verdict("a", fib.IPv4); got != "dead standby" {
		t.Errorf("without the gateway a is %s", got)
	}
	b.session().notices("up", b.now)
	b.pass(30 * time.Second)
	if got := b.verdict("a", fib.IPv4); got != "live active" {
		t.Errorf("with the gateway a is %s", got)
	}
	b.pass(time.Minute)
	b.voice().session("a/ipv4", func(p *bgp.PeerStatus) { p.Families[0].Retained = false })
	b.turn()
	if got := b.verdict("a", fib.IPv4); got != "dead standby" {
		t.Errorf("after the restart time a is %s", got)
	}
}
