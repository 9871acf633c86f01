package engine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// bucketCounter counts buckets as it is told.
type bucketCounter struct {
	mu    sync.Mutex // guards what follows
	busy  map[uint32]int
	err   error
	asked []uint32
}

func (c *bucketCounter) count(_ context.Context, group uint32) (map[uint32]int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, group)
	return c.busy, c.err
}

func (c *bucketCounter) say(busy map[uint32]int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.err = busy, err
}

// counted gives a bench a counter of buckets.
func (b *bench) counted() *bucketCounter {
	c := &bucketCounter{}
	b.opts.Buckets = c.count
	return c
}

// polled turns the loop until the answer to a question about buckets is there.
func (b *bench) polled() {
	b.t.Helper()
	b.turn()
	await(b.t, "the count of buckets", func() bool {
		b.drains.mu.Lock()
		defer b.drains.mu.Unlock()
		return !b.drains.asking
	})
	b.turn()
}

// wait lets time pass a second at a time, with the answers about buckets.
func (b *bench) wait(d time.Duration) {
	b.t.Helper()
	for until := b.now.Add(d); b.now.Before(until); {
		b.pass(min(time.Second, until.Sub(b.now)))
		b.polled()
	}
}

func (b *bench) drain(d time.Duration) { b.drains.begin([]uplink.Way{wayA}, d, b.now); b.turn() }

func (b *bench) undrain() { b.drains.end([]uplink.Way{wayA}, b.now); b.turn() }

// told is how a is described to the speaker.
func (b *bench) told() bgp.Peer {
	b.t.Helper()
	p, ok := b.voice().peer("a/ipv4")
	if !ok {
		b.t.Fatal("a has no session")
	}
	return p
}

// TestB_POL_15_Drain: tagged and draining at once, shut when no flow is left, and back
// first with the session, then with the traffic, without a wait.
func TestB_POL_15_Drain(t *testing.T) {
	b := speaks(t, twoBGP, hostA, hostC)
	c := b.counted()
	active := b.site.layout.NextHopBase
	c.say(map[uint32]int{active: 7, active + 8: 50}, nil)
	b.drain(0)
	if got := b.verdict("a", fib.IPv4); got != "held draining" {
		t.Errorf("drained a is %s: %s", got, b.verdicts[wayA].Why())
	}
	if p := b.told(); p.Drained || p.Shutdown != "" || !slices.Contains(p.Announce[0].Communities, bgp.GracefulShutdown) {
		t.Errorf("told %+v", p)
	}
	if p, _ := b.voice().peer("c/ipv4"); p.Drained || len(p.Announce[0].Communities) != 0 {
		t.Errorf("c is told %+v", p)
	}
	b.wait(30 * time.Second)
	if p := b.told(); p.Shutdown != "" {
		t.Error("shut, though flows are left")
	}
	if w := wayOf(t, b.Status(), "a", "ipv4"); w.Drain == nil || w.Drain.By != "operator" || w.Drain.Busy == nil || *w.Drain.Busy != 7 || w.Drain.Shut ||
		!w.Drain.ShutAt.Equal(epoch.Add(time.Second+5*time.Minute)) || w.Role != "draining" {
		t.Errorf("the status says %+v", w.Drain)
	}
	c.say(map[uint32]int{active + 8: 60}, nil)
	b.wait(3 * time.Second)
	if p := b.told(); p.Shutdown != "drained by the operator" {
		t.Errorf("no flow is left, and told %+v", p)
	}
	b.voice().lost("a/ipv4", "this side ended the session")
	b.voice().session("a/ipv4", func(p *bgp.PeerStatus) { p.State = bgp.Shut })
	b.pass(10 * time.Minute)
	if v := b.verdicts[wayA]; v.State != uplink.Held || v.Role != uplink.Draining || v.Penalty != 0 {
		t.Errorf("shut a is %s %s: %s", v.State, v.Role, v.Why())
	}
	b.undrain()
	if p := b.told(); p.Shutdown != "" || p.Drained || len(p.Announce[0].Communities) != 0 {
		t.Errorf("undrained and told %+v", p)
	}
	if got := b.verdict("a", fib.IPv4); got != "held draining" {
		t.Errorf("without its session a is %s", got)
	}
	b.voice().session("a/ipv4", func(p *bgp.PeerStatus) { p.State = bgp.Connect })
	b.pass(3 * time.Second)
	b.voice().up("a/ipv4")
	b.turn()
	if got := b.verdict("a", fib.IPv4); got != "live active" {
		t.Errorf("with its session a is %s: %s", got, b.verdicts[wayA].Why())
	}
	if w := wayOf(t, b.Status(), "a", "ipv4"); w.Drain != nil {
		t.Errorf("the status still says %+v", w.Drain)
	}
}

// TestDrain_times: what ends a drain, and what ends the session of one.
func TestDrain_times(t *testing.T) {
	busy := map[uint32]int{22100000: 7}
	t.Run("flows that never end", func(t *testing.T) {
		b := speaks(t, twoBGP, hostA, hostC)
		b.counted().say(busy, nil)
		b.drain(0)
		b.pass(5*time.Minute - time.Second)
		if b.told().Shutdown != "" {
			t.Error("shut too early")
		}
		b.pass(2 * time.Second)
		if b.told().Shutdown == "" {
			t.Error("not shut after drain-time")
		}
	})
	t.Run("nobody can count", func(t *testing.T) {
		b := speaks(t, twoBGP, hostA, hostC)
		b.counted().say(nil, errTest)
		b.drain(0)
		b.wait(time.Minute)
		if b.told().Shutdown != "" {
			t.Error("shut, though it is not known whether a flow is left")
		}
	})
	t.Run("no flow at all: the ISP has time to hear of it", func(t *testing.T) {
		b := speaks(t, twoBGP, hostA, hostC)
		b.counted()
		b.drain(0)
		b.wait(5 * time.Second)
		if b.told().Shutdown != "" {
			t.Error("shut at once")
		}
		b.wait(6 * time.Second)
		if b.told().Shutdown == "" {
			t.Error("not shut")
		}
	})
	t.Run("for a while", func(t *testing.T) {
		b := speaks(t, twoBGP, hostA, hostC)
		b.counted().say(busy, nil)
		b.drain(time.Minute)
		b.pass(time.Minute - time.Second)
		if got := b.verdict("a", fib.IPv4); got != "held draining" || !strings.Contains(b.verdicts[wayA].Why(), "until 2026-01-01 00:01:01 UTC") {
			t.Errorf("a is %s: %s", got, b.verdicts[wayA].Why())
		}
		b.pass(2 * time.Second)
		if got := b.verdict("a", fib.IPv4); got != "live active" {
			t.Errorf("after it a is %s", got)
		}
	})
	t.Run("the session never comes back", func(t *testing.T) {
		b := speaks(t, twoBGP, hostA, hostC)
		b.counted()
		b.drain(0)
		b.wait(12 * time.Second)
		b.voice().lost("a/ipv4", "shut")
		b.undrain()
		b.pass(returnLimit - time.Second)
		if got := b.verdict("a", fib.IPv4); got != "held draining" {
			t.Errorf("a is %s: %s", got, b.verdicts[wayA].Why())
		}
		b.pass(2 * time.Second)
		if got := b.verdict("a", fib.IPv4); got != "dead standby" {
			t.Errorf("a is %s: %s", got, b.verdicts[wayA].Why())
		}
	})
	t.Run("without BGP", func(t *testing.T) {
		b := newBench(t, twoUplinks, twoLinks(t))
		b.pass(time.Second)
		b.drain(0)
		if got := b.verdict("a", fib.IPv4); got != "held draining" {
			t.Errorf("a is %s", got)
		}
		if got := b.verdict("a", fib.IPv6); got != "live active" {
			t.Errorf("the other family is %s", got)
		}
		b.undrain()
		if got := b.verdict("a", fib.IPv4); got != "live active" {
			t.Errorf("a is %s", got)
		}
	})
}

// TestDrain_last: the last uplink that can carry traffic goes on, and so does its
// session, or begins again.
func TestDrain_last(t *testing.T) {
	b := speaks(t, twoBGP, hostA, hostC)
	b.counted()
	b.drain(0)
	b.wait(12 * time.Second)
	if b.told().Shutdown == "" {
		t.Fatal("not shut")
	}
	b.voice().session("a/ipv4", func(p *bgp.PeerStatus) { p.State = bgp.Shut })
	b.tell("c", fib.IPv4, uplink.Down)
	b.turn()
	if got := b.verdict("a", fib.IPv4); got != "held active" {
		t.Errorf("a is %s: %s", got, b.verdicts[wayA].Why())
	}
	if p := b.told(); p.Shutdown != "" || len(p.Announce) != 1 {
		t.Errorf("told %+v", p)
	}
	b.tell("c", fib.IPv4, uplink.Up)
	b.pass(11 * time.Second)
	if got := b.verdict("a", fib.IPv4); got != "held draining" {
		t.Errorf("c is back, and a is %s", got)
	}
	b.wait(2 * time.Second)
	if b.told().Shutdown == "" {
		t.Error("c is back, and the session of a is not ended again")
	}
}

// TestB_POL_14_ISPDrains: the ISP that announces a graceful shutdown is drained while it
// does.
func TestB_POL_14_ISPDrains(t *testing.T) {
	b := speaks(t, twoBGP, hostA, hostC)
	b.voice().session("a/ipv4", func(p *bgp.PeerStatus) { p.Families[0].Draining, p.Families[0].Default.Draining = true, true })
	b.turn()
	if v := b.verdicts[wayA]; v.Role != uplink.Draining || !strings.Contains(v.Why(), "the ISP announces graceful shutdown (RFC 8326)") {
		t.Errorf("a is %s %s: %s", v.State, v.Role, v.Why())
	}
	if p := b.told(); p.Drained || len(p.Announce[0].Communities) != 0 || p.Shutdown != "" {
		t.Errorf("told %+v", p)
	}
	if w := wayOf(t, b.Status(), "a", "ipv4"); w.Drain == nil || w.Drain.By != "isp" {
		t.Errorf("the status says %+v", w.Drain)
	}
	b.pass(10 * time.Minute)
	if b.told().Shutdown != "" {
		t.Error("shut")
	}
	b.voice().session("a/ipv4", func(p *bgp.PeerStatus) { p.Families[0].Draining, p.Families[0].Default.Draining = false, false })
	b.turn()
	if got := b.verdict("a", fib.IPv4); got != "live active" {
		t.Errorf("after it a is %s", got)
	}
}

// TestDrain_remembered: drains and places outlive the daemon; a file that cannot be
// written or read is told.
func TestDrain_remembered(t *testing.T) {
	b := newBench(t, fullBGP, hostOf(t, hostA, hostB, hostC))
	b.memory = filepath.Join(t.TempDir(), "run", "mh.sock.drains")
	b.boot(parseConfig(t, fullBGP))
	b.turn()
	b.allUp()
	if warnings, err := b.Drain(t.Context(), "a", "ipv4", 0); err != nil || len(warnings) != 0 {
		t.Errorf("warnings %q, error %v", warnings, err)
	}
	if warnings, err := b.Drain(t.Context(), "c", "", time.Hour); err != nil || len(warnings) != 0 {
		t.Errorf("warnings %q, error %v", warnings, err)
	}
	b.turn()
	await(t, "the places to be remembered", func() bool {
		m, err := readMemory(b.memory)
		return err == nil && len(m.Slots["ipv4"]) > 1 && m.Slots["ipv4"][1] == "c/ipv4"
	})
	b.boot(parseConfig(t, fullBGP))
	b.turn()
	if one, ok := b.drains.of(wayA); !ok || one.since.IsZero() || !one.until.IsZero() {
		t.Errorf("a is remembered as %+v", one)
	}
	if one, ok := b.drains.of(wayC); !ok || one.until.IsZero() {
		t.Errorf("c is remembered as %+v", one)
	}
	if b.peering.slots.of("c/ipv4", []bgp.Family{bgp.IPv4}) != 1 {
		t.Error("the places are forgotten")
	}
	if warnings, err := b.Undrain(t.Context(), "a", ""); err != nil || len(warnings) != 0 {
		t.Errorf("warnings %q, error %v", warnings, err)
	}
	if warnings, err := b.Undrain(t.Context(), "a", ""); err != nil || len(warnings) != 1 {
		t.Errorf("twice: warnings %q, error %v", warnings, err)
	}
	if m, err := readMemory(b.memory); err != nil || len(m.Drains) != 1 && len(m.Drains) != 2 {
		t.Errorf("remembered %+v, %v", m, err)
	}
	if _, err := b.Drain(t.Context(), "x", "", 0); err == nil {
		t.Error("an uplink that does not exist was drained")
	}
	// A full disk: it is done all the same.
	b.opts.Memory = filepath.Join("/dev/full", "file")
	if warnings, err := b.Drain(t.Context(), "a", "", 0); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "a restart would forget it") {
		t.Errorf("warnings %q, error %v", warnings, err)
	}
	if _, ok := b.drains.of(wayA); !ok {
		t.Error("not drained")
	}
	if err := os.WriteFile(b.memory, []byte("no json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readMemory(b.memory); err == nil || !strings.Contains(err.Error(), "drain them again") {
		t.Errorf("a broken file: %v", err)
	}
	b.boot(parseConfig(t, fullBGP))
	if b.log.count("cannot read what is drained") != 1 {
		t.Error("a broken file is not logged")
	}
}

// TestDrain_restart: a drain goes on over a restart, without a moment of traffic.
func TestDrain_restart(t *testing.T) {
	b := newBench(t, twoBGP, hostOf(t, hostA, hostC))
	b.memory = filepath.Join(t.TempDir(), "mh.sock.drains")
	b.boot(parseConfig(t, twoBGP))
	b.turn()
	b.allUp()
	b.drain(0)
	if err := b.drains.write(); err != nil {
		t.Fatal(err)
	}
	b.written()
	b.boot(parseConfig(t, twoBGP))
	b.pass(time.Second)
	b.allUp()
	if got := b.verdict("a", fib.IPv4); !strings.HasSuffix(got, " draining") {
		t.Errorf("a is %s: %s", got, b.verdicts[wayA].Why())
	}
	if p := b.told(); !slices.Contains(p.Announce[0].Communities, bgp.GracefulShutdown) {
		t.Errorf("told %+v", p)
	}
	for _, w := range b.written() {
		if strings.Contains(w, "group 22100000,255/") {
			t.Errorf("a carried traffic: %s", w)
		}
	}
}
