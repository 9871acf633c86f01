package engine

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/speaker"
	"github.com/multihomed/multihomed/internal/uplink"
)

// withBGP is a with a session and b without.
const withBGP = `
hold: {up: 10s}
bgp: {as: 64500, router-id: 192.0.2.1, announce: [192.0.2.0/24]}
uplinks:
  - {name: a, interface: eth1, gateway: 203.0.113.1, bgp: {peer-as: 64501}}
  - {name: b, interface: eth2, gateway: 198.51.100.1}
`

// twoBGP is a and c with sessions.
const twoBGP = `
hold: {up: 10s}
bgp: {as: 64500, router-id: 192.0.2.1, announce: [192.0.2.0/24]}
uplinks:
  - {name: a, interface: eth1, gateway: 203.0.113.1, bgp: {peer-as: 64501}}
  - {name: c, interface: eth3, gateway: 100.64.3.1, bgp: {peer-as: 64503}}
`

const hostC = "eth3 4 100.64.3.2/24"

var wayC = uplink.Way{Uplink: "c", Family: fib.IPv4}

// bgpSaid returns what the board says of the session of a way.
func (b *bench) bgpSaid(w uplink.Way) uplink.Evidence {
	return b.board.Snapshot()[uplink.Source{Way: w, Kind: uplink.KindBGP}]
}

// speaks starts a bench whose sessions are up, and forgets what was written.
func speaks(t *testing.T, text string, links ...string) *bench {
	t.Helper()
	b := newBench(t, text, hostOf(t, links...))
	b.turn()
	b.allUp()
	b.written()
	return b
}

// allUp starts a child and all of its sessions.
func (b *bench) allUp() {
	b.t.Helper()
	b.voice().starts(b.now)
	c, _ := b.voice().set()
	for _, p := range c.Peers {
		b.voice().up(p.Name)
	}
	b.pass(time.Second)
}

// expectWrites fails unless exactly n ops were written.
func (b *bench) expectWrites(when string, n int) {
	b.t.Helper()
	if w := b.written(); len(w) != n {
		b.t.Errorf("%s: %d writes, want %d: %q", when, len(w), n, w)
	}
}

// TestPeering_comesUp: a cold start waits for the session, and then there is no wait and
// no penalty.
func TestPeering_comesUp(t *testing.T) {
	b := newBench(t, withBGP, hostOf(t, hostA, hostB))
	b.turn()
	if got := b.verdict("a", fib.IPv4); got != "dead standby" {
		t.Errorf("before the session a is %s: %s", got, b.verdicts[wayA].Why())
	}
	p, ok := b.voice().peer("a/ipv4")
	want := bgp.Peer{
		Name: "a/ipv4", Slot: bgp.NoSlot, Address: addr("203.0.113.1"), Port: 179, Interface: "eth1", Local: addr("203.0.113.2"), AS: 64501,
		Families: []bgp.Family{bgp.IPv4}, HoldTime: 90 * time.Second, Tier: 1, Preference: 100,
		Import:          bgp.Import{Mode: bgp.ImportDefault, MaxLength4: 24, MaxLength6: 48},
		GracefulRestart: bgp.GracefulRestart{Enabled: true, RestartTime: 120 * time.Second, StaleTime: 180 * time.Second},
		// Peers that kept our routes over a restart must find them announced.
		Announce: []bgp.Announcement{{Prefix: prefix("192.0.2.0/24")}},
	}
	if diff := cmp.Diff(want, p, cmp.Comparer(func(a, b bgp.Peer) bool { return reflect.DeepEqual(a, b) })); diff != "" || !ok {
		t.Errorf("-want +got:\n%s", diff)
	}
	if c, _ := b.voice().set(); c.AS != 64500 || c.Restarting || c.Deferral != 2*time.Minute || len(c.Own) != 1 {
		t.Errorf("told %+v", c)
	}
	b.voice().starts(b.now)
	b.pass(time.Second)
	if e := b.bgpSaid(wayA); e.Opinion != uplink.Down || !strings.HasPrefix(e.Reason, "no session yet") {
		t.Errorf("%s: %s", e.Opinion, e.Reason)
	}
	b.voice().up("a/ipv4")
	b.turn()
	if v := b.verdicts[wayA]; v.State != uplink.Live || v.Role != uplink.Active || v.Penalty != 0 {
		t.Errorf("with the session a is %s %s, penalty %f: %s", v.State, v.Role, v.Penalty, v.Why())
	}
	if _, n := b.voice().set(); n != 1 {
		t.Errorf("told %d times, though nothing changed", n)
	}
	b.voice().lost("a/ipv4", "hold timer expired")
	b.turn()
	if got := b.verdict("a", fib.IPv4); got != "dead standby" || b.log.count("BGP session is down", "hold timer") != 1 || b.log.count("BGP session is up") != 1 {
		t.Errorf("lost, a is %s: %s", got, b.verdicts[wayA].Why())
	}
}

// TestPeering_speakerNeverStarts: a daemon whose BGP part cannot start at all goes by
// other evidence in the end: that we fail is not held against an uplink.
func TestPeering_speakerNeverStarts(t *testing.T) {
	b := newBench(t, withBGP, hostOf(t, hostA, hostB))
	b.turn()
	b.voice().say(func(s *speaker.Status) { s.Trouble = "exec format error" })
	b.pass(5 * time.Second)
	if got := b.verdict("a", fib.IPv4); got != "dead standby" {
		t.Errorf("at first a is %s", got)
	}
	b.pass(2 * time.Minute)
	if got := b.verdict("a", fib.IPv4); got != "live active" || !strings.Contains(b.verdicts[wayA].Why(), "exec format error") {
		t.Errorf("later a is %s: %s", got, b.verdicts[wayA].Why())
	}
	if w := b.Status().Warnings; len(w) == 0 || !strings.Contains(strings.Join(w, " "), "exec format error") {
		t.Errorf("warnings %q", w)
	}
}

// TestPeering_crash: a child that dies, and one that takes long to have its sessions
// again, touch nothing; one that never has them does in the end.
func TestPeering_crash(t *testing.T) {
	b := speaks(t, twoBGP, hostA, hostC)
	_, told := b.voice().set()
	b.voice().dies("killed by signal 9")
	b.pass(30 * time.Second)
	b.expectWrites("nobody speaks", 0)
	if e := b.bgpSaid(wayA); e.Opinion != uplink.Up || !strings.Contains(e.Reason, "nobody speaks BGP at present: killed by signal 9") {
		t.Errorf("%s: %s", e.Opinion, e.Reason)
	}
	b.voice().starts(b.now)
	b.pass(time.Minute)
	b.expectWrites("another child", 0)
	b.voice().up("a/ipv4")
	b.pass(59 * time.Second)
	b.expectWrites("one session is back", 0)
	if _, n := b.voice().set(); n != told {
		t.Errorf("told %d times more: a supervisor tells its children itself", n-told)
	}
	b.pass(2 * time.Second) // The deferral of two minutes is over.
	if a, c := b.verdict("a", fib.IPv4), b.verdict("c", fib.IPv4); a != "live active" || c != "dead standby" {
		t.Errorf("a is %s, c %s: %s", a, c, b.verdicts[wayC].Why())
	}
}

// TestPeering_panics: nor does a supervisor that panics, whoever calls it.
func TestPeering_panics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, twoBGP, hostOf(t, hostA, hostC))
		d.voices[0].starts(time.Now())
		d.voices[0].up("a/ipv4")
		d.voices[0].up("c/ipv4")
		synctest.Wait()
		time.Sleep(time.Second)
		d.fake.Writes()
		before := d.fake.Text()
		d.voices[0].mu.Lock()
		d.voices[0].panics = true
		d.voices[0].mu.Unlock()
		d.board.Poke()
		synctest.Wait()
		d.voices[0].die <- "no more"
		time.Sleep(time.Second)
		synctest.Wait()
		if len(d.voices) != 2 {
			t.Fatalf("%d speakers", len(d.voices))
		}
		if c, _ := d.voices[1].set(); !c.Restarting || len(c.Peers) != 2 {
			t.Errorf("the second one was told %+v", c)
		}
		d.voices[1].starts(time.Now())
		time.Sleep(time.Minute)
		if d.fake.Text() != before || len(d.fake.Writes()) != 0 {
			t.Error("something was written")
		}
		d.stop()
		if err := <-d.finished; err != nil {
			t.Error(err)
		}
	})
}

// TestB_GR_03_B_GR_04_B_GR_05_Restart: after a restart nothing changes until the sessions
// are back or have been awaited long enough, and peers are told that we went on
// forwarding; after a cold start they are not.
func TestB_GR_03_B_GR_04_B_GR_05_Restart(t *testing.T) {
	b := speaks(t, twoBGP, hostA, hostC)
	if c, _ := b.voice().set(); c.Restarting {
		t.Error("a cold start says that it restarts")
	}
	b.boot(parseConfig(t, twoBGP))
	b.turn()
	// Nothing of IPv6 was in the kernel, and nobody is told that it was kept.
	if c, _ := b.voice().set(); !c.Restarting || len(c.Peers) != 2 || len(c.Peers[0].Announce) != 1 || !slices.Equal(c.Flushed, []bgp.Family{bgp.IPv6}) {
		t.Errorf("told %+v", c)
	}
	b.voice().starts(b.now)
	b.pass(time.Second)
	b.voice().up("a/ipv4")
	b.pass(118 * time.Second)
	b.expectWrites("before the deferral is over", 0)
	if e := b.bgpSaid(wayC); e.Opinion != uplink.Unknown || !strings.Contains(e.Reason, "awaited until 00:02:01 UTC") {
		t.Errorf("%s: %s", e.Opinion, e.Reason)
	}
	b.pass(2 * time.Second)
	if a, c := b.verdict("a", fib.IPv4), b.verdict("c", fib.IPv4); a != "live active" || c != "dead standby" {
		t.Errorf("after it a is %s, c %s", a, c)
	}
	// What was dead before is not put in use by a restart.
	b.written()
	b.boot(parseConfig(t, twoBGP))
	b.turn()
	b.voice().starts(b.now)
	b.pass(90 * time.Second)
	b.expectWrites("with one that was dead", 0)
}

// TestPeering_others: the trouble of one session changes neither the verdict of another
// uplink nor what its peer is told.
func TestPeering_others(t *testing.T) {
	b := speaks(t, twoBGP, hostA, hostC)
	before, _ := b.voice().peer("c/ipv4")
	was := b.verdicts[wayC]
	trouble := []func(*bgp.PeerStatus){
		func(p *bgp.PeerStatus) { p.State, p.Flaps, p.LastError = bgp.Idle, p.Flaps+1, "too many prefixes" },
		func(p *bgp.PeerStatus) { p.State, p.Families[0].Default = bgp.Established, bgp.DefaultRoute{} },
		func(p *bgp.PeerStatus) { p.Families[0].Negotiated = false },
		func(p *bgp.PeerStatus) { p.Families[0].Draining = true },
		func(p *bgp.PeerStatus) { p.Families = nil },
	}
	for i, change := range trouble {
		b.voice().session("a/ipv4", change)
		b.pass(time.Second)
		v := b.verdicts[wayC]
		if v.State != was.State || v.Role != was.Role || !v.Since.Equal(was.Since) {
			t.Errorf("trouble %d: c is %s %s", i, v.State, v.Role)
		}
		if after, _ := b.voice().peer("c/ipv4"); !reflect.DeepEqual(before, after) {
			t.Errorf("trouble %d: c is told %+v", i, after)
		}
	}
	b.reload(strings.Replace(twoBGP, "peer-as: 64501", "peer-as: 64999", 1))
	if after, _ := b.voice().peer("c/ipv4"); !reflect.DeepEqual(before, after) {
		t.Errorf("reload: c is told %+v", after)
	}
	if a, _ := b.voice().peer("a/ipv4"); a.AS != 64999 {
		t.Errorf("reload: a is told %+v", a)
	}
	if v := b.verdicts[wayC]; v.State != was.State || !v.Since.Equal(was.Since) {
		t.Errorf("reload: c is %s", v.State)
	}
}

// TestPeering_unchanged: what changes nothing is not told, however often it is looked at.
func TestPeering_unchanged(t *testing.T) {
	b := speaks(t, twoBGP, hostA, hostC)
	_, n := b.voice().set()
	b.reload(twoBGP)
	b.host.see(hostOf(t, hostA, hostC))
	b.pass(10 * time.Minute)
	b.host.see(hostOf(t, hostA+" nocarrier", hostC)) // What returns as it was is no other session.
	b.turn()
	b.host.see(hostOf(t, hostA, hostC))
	b.turn()
	c, _ := b.voice().set()
	if _, after := b.voice().set(); after-n > 2 || len(c.Peers) != 2 || c.Peers[0].Address != addr("203.0.113.1") {
		t.Errorf("told %d times more", after-n)
	}
}

// TestPeering_addedByReload: a session that is added to an uplink in use is awaited, and
// one that is taken away leaves nothing behind.
func TestPeering_addedByReload(t *testing.T) {
	const plain = "hold: {up: 10s}\nuplinks:\n  - {name: a, interface: eth1, gateway: 203.0.113.1}\n  - {name: b, interface: eth2, gateway: 198.51.100.1}\n"
	b := newBench(t, plain, hostOf(t, hostA, hostB))
	b.pass(time.Second)
	b.written()
	if len(b.voices) != 0 {
		t.Fatal("a speaker that nobody wants")
	}
	b.reload(withBGP)
	b.voice().starts(b.now)
	b.pass(10 * time.Second)
	b.voice().up("a/ipv4")
	b.pass(time.Second)
	b.expectWrites("a session was added", 0)
	b.reload(plain)
	c, _ := b.voice().set()
	if _, there := b.board.Snapshot()[uplink.Source{Way: wayA, Kind: uplink.KindBGP}]; there || len(c.Peers) != 0 || c.AS != 64500 || len(b.voices) != 1 {
		t.Errorf("left: evidence %t, told %+v", there, c)
	}
	b.expectWrites("and taken away", 0)
	if b.Status().BGP != nil {
		t.Error("the status still has BGP")
	}
}

// TestPeering_leave: peers are told a word at the end only if the kernel is cleaned up.
func TestPeering_leave(t *testing.T) {
	for exit, want := range map[string]bool{"keep": false, "withdraw": true} {
		synctest.Test(t, func(t *testing.T) {
			d := start(t, "on-exit: "+exit+"\n"+withBGP, hostOf(t, hostA, hostB))
			d.end(t)
			if v := d.voices[0]; v.left != want || v.running {
				t.Errorf("%s: leave %t, running %t", exit, v.left, v.running)
			}
		})
	}
}

// TestPeering_announcements: what peers are told follows the uplinks, and the last one
// that is left is announced through whatever soft evidence says.
func TestPeering_announcements(t *testing.T) {
	b := speaks(t, twoBGP, hostA, hostC)
	told := func(name string) int {
		t.Helper()
		p, _ := b.voice().peer(name)
		return len(p.Announce)
	}
	b.tell("a", fib.IPv4, uplink.Down) // By BFD, as helpers do.
	if told("a/ipv4") != 0 || told("c/ipv4") != 1 {
		t.Errorf("a dead: %d and %d", told("a/ipv4"), told("c/ipv4"))
	}
	b.tell("a", fib.IPv4, uplink.Up)
	if told("a/ipv4") != 0 {
		t.Error("a held: announced")
	}
	b.pass(11 * time.Second)
	if told("a/ipv4") != 1 {
		t.Error("a live: not announced")
	}
	b.tell("a", fib.IPv4, uplink.Down)
	b.tell("c", fib.IPv4, uplink.Down)
	if told("a/ipv4")+told("c/ipv4") == 0 {
		t.Error("all dead on soft evidence: announced nowhere")
	}
	c, _ := b.voice().set()
	for _, p := range c.Peers {
		if p.Shutdown != "" {
			t.Errorf("%s is shut", p.Name)
		}
	}
}

// TestB_LBW_02_B_LBW_07_Weights: the group follows announced bandwidths where that is
// configured, and a session that is lost does not change the others' shares.
func TestB_LBW_02_B_LBW_07_Weights(t *testing.T) {
	text := strings.ReplaceAll(twoBGP, "peer-as:", "weight: bandwidth, peer-as:")
	b := speaks(t, text, hostA, hostC)
	says := func(name string, octets float64) {
		b.voice().session(name, func(p *bgp.PeerStatus) { p.Families[0].Bandwidth = octets })
		b.pass(time.Second)
	}
	says("a/ipv4", 250e6)
	b.expectWrites("one of two", 0)
	says("c/ipv4", 125e6)
	b.expectWrites("both", 1)
	if w := wayOf(t, b.Status(), "a", "ipv4"); w.Weight != 2 || w.Share < 0.66 || w.Share > 0.67 {
		t.Errorf("a has weight %d and share %f", w.Weight, w.Share)
	}
	says("c/ipv4", 126e6)
	b.expectWrites("hardly another", 0)
	if weights := b.peering.bandwidths.drawn; weights[wayA] != 2 || weights[wayC] != 1 {
		t.Errorf("weights %v", weights)
	}
	b.voice().lost("c/ipv4", "reset")
	b.pass(time.Second)
	if weights := b.peering.bandwidths.drawn; weights[wayA] != 2 || weights[wayC] != 1 {
		t.Errorf("with c dead the weights are %v", weights)
	}
	b.voice().up("c/ipv4")
	b.pass(20 * time.Second)
	says("c/ipv4", 0)
	if weights := b.peering.bandwidths.weights; len(weights) != 0 {
		t.Errorf("without a bandwidth of c the weights are %v", weights)
	}
	b.reload(twoBGP)
	says("c/ipv4", 125e6)
	if weights := b.peering.bandwidths.weights; len(weights) != 0 {
		t.Errorf("not configured, and the weights are %v", weights)
	}
}

// TestPeering_importedModes: config and bgp have the same modes.
func TestPeering_importedModes(t *testing.T) {
	for m := config.ImportDefault; m <= config.ImportFull; m++ {
		s := newSite(parseConfig(t, withBGP))
		u := s.config.Uplinks[0]
		u.BGP.Import.Mode = m
		if got := importMode(s.importOf(u.BGP).Mode); got != m {
			t.Errorf("%s became %s", m, got)
		}
	}
}
