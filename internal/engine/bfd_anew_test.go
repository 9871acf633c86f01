package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/status"
	"github.com/multihomed/multihomed/internal/uplink"
)

// TestSessions_death: while a speaker is not back its sessions say nothing, whether
// required or not, but that they failed if they did; its successor gets them all, and
// only when the speaker has ended.
func TestSessions_death(t *testing.T) {
	for _, tt := range []struct {
		name string
		why  any
		last string // what the session noticed last
		// without and with are the evidence without a speaker and with the next one.
		without, with string
		words         string
	}{
		{"panic", "crash", "up", "unknown", "unknown", ""},
		{"error", errTest, "up", "unknown", "unknown", ""},
		{"failed, panic", "crash", "expired", "down", "down", "nothing heard from 203.0.113.1 any more (detection time expired); "},
		{"failed, error", errTest, "expired", "down", "down", "nothing heard from 203.0.113.1 any more (detection time expired); "},
		{"administratively down", errTest, "admin-down", "down", "down", "203.0.113.1 says that it is administratively down, and the session is required; "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := start(t, replaced(withBFD, "interval: 50ms", "require: true"), hostOf(t, hostA, hostB))
				expect := func(when, opinion, reason string) {
					t.Helper()
					if e := evidenceOf(t, d.way(t, "a"), "bfd"); e.Opinion != opinion || !strings.HasPrefix(e.Reason, reason) {
						t.Errorf("%s: %s: %s", when, e.Opinion, e.Reason)
					}
				}
				first := d.speaker
				f := first.of("eth1", false)
				f.notices("up", time.Now())
				time.Sleep(time.Minute)
				f.notices(tt.last, time.Now())
				synctest.Wait()
				first.die <- tt.why
				synctest.Wait()
				const stopped = "the BFD part stopped and is started again: "
				if tt.words == "" {
					expect("without a speaker", tt.without, stopped)
				} else {
					expect("without a speaker", tt.without, tt.words+"since then: "+stopped)
				}
				if b := d.way(t, "a").BFD; b.State != status.BFDClosed || !strings.Contains(b.Problem, fmt.Sprint(tt.why)) {
					t.Errorf("without a speaker: %+v", b)
				}
				f.notices("up", time.Now())
				time.Sleep(time.Second)
				synctest.Wait()
				if d.speaker == first || d.speaker.of("eth1", false) == nil {
					t.Fatal("there is no other speaker with the session")
				}
				if tt.words == "" {
					expect("on the next speaker", tt.with, "not up yet: nothing heard from 203.0.113.1")
				} else {
					expect("on the next speaker", tt.with, tt.words+"opened anew since then and not up yet: nothing heard from 203.0.113.1")
				}
				d.speaker.of("eth1", false).notices("up", time.Now())
				synctest.Wait()
				expect("in the end", "up", "up with 203.0.113.1")
				d.stop()
				synctest.Wait()
				if err := <-d.finished; err != nil || d.speaker.running {
					t.Errorf("Run returned %v", err)
				}
			})
		})
	}
}

// TestSessions_deathWhileOpening: a session that is opened on a speaker while that dies is
// none, and is opened on the next one.
func TestSessions_deathWhileOpening(t *testing.T) {
	for name, refuse := range map[string]error{"opened": nil, "refused": errors.New("the speaker has ended")} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, withBFD, hostOf(t, hostB))
			b.turn()
			first := b.speakers[0]
			first.refuse = refuse
			first.opening = func() {
				first.die <- errTest
				await(t, "the end of the speaker", func() bool { return b.sessions.voice() == nil })
			}
			b.host.see(hostOf(t, hostA, hostB))
			b.turn()
			if e, _ := b.bfd(); e.Opinion != uplink.Unknown || !strings.HasPrefix(e.Reason, "the BFD part stopped") {
				t.Errorf("%s: %s", e.Opinion, e.Reason)
			}
			if w := wayOf(t, b.Status(), "a", "ipv4"); w.BFD.State != status.BFDClosed {
				t.Errorf("the session is %+v", w.BFD)
			}
			await(t, "another speaker", b.sessions.anew)
			b.turn()
			b.session().notices("up", b.now)
			if e, _ := b.bfd(); len(b.speakers) != 2 || e.Opinion != uplink.Up {
				t.Errorf("on the next one: %s: %s", e.Opinion, e.Reason)
			}
		})
	}
}

// TestSessions_failureStays: a session that failed is not forgiven by opening another
// one on the same path, only by one that comes up. A path that was taken out of use
// stays so meanwhile, longer than anything waits.
func TestSessions_failureStays(t *testing.T) {
	const text = `
hold: {up: 1s}
uplinks:
  - {name: a, interface: eth1, gateway: [203.0.113.1, "2001:db8:1::1"], bfd: {}}
  - {name: b, interface: eth2, gateway: [198.51.100.1, "2001:db8:2::1"]}
`
	with := func(section string) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) { t.Helper(); b.reload(replaced(text, "{}", section)) }
	}
	host := func(links ...string) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) { t.Helper(); b.host.see(hostOf(t, links...)) }
	}
	const noKeys = "{auth: {type: sha1, key-file: /nowhere/bfd.key}}"
	tests := []struct {
		name    string
		changes []func(*testing.T, *bench)
		forgets bool
	}{
		{"another mode", []func(*testing.T, *bench){with("{mode: echo}")}, false},
		{"another mode and back", []func(*testing.T, *bench){with("{mode: echo}"), with("{}")}, false},
		{"another address", []func(*testing.T, *bench){host("eth1 2 203.0.113.9/24 2001:db8:1::9/64", "eth2 3 198.51.100.2/24 2001:db8:2::2/64")}, false},
		{"no session between", []func(*testing.T, *bench){with(noKeys), with("{}")}, false},
		{"another mode while the device is away", []func(*testing.T, *bench){
			host("eth2 3 198.51.100.2/24 2001:db8:2::2/64"), with("{mode: echo}"),
			host("eth1 5 203.0.113.2/24 2001:db8:1::2/64", "eth2 3 198.51.100.2/24 2001:db8:2::2/64"),
		}, false},
		{"another device", []func(*testing.T, *bench){
			host("eth3 5 203.0.113.2/24 2001:db8:1::2/64", "eth2 3 198.51.100.2/24 2001:db8:2::2/64"),
			func(t *testing.T, b *bench) { t.Helper(); b.reload(replaced(text, "eth1", "eth3")) },
		}, true},
		{"another peer", []func(*testing.T, *bench){with("{peer: [203.0.113.7, '2001:db8:1::7']}")}, true},
		{"taken out and put in", []func(*testing.T, *bench){with("false"), with("{}")}, true},
	}
	for _, tt := range tests {
		for _, family := range fib.Families {
			t.Run(tt.name+"/"+family.String(), func(t *testing.T) {
				b := newBench(t, text, twoLinks(t))
				b.turn()
				w := uplink.Way{Uplink: "a", Family: family}
				b.sessionOf(b.speakers[0], w).notices("up", b.now)
				b.pass(time.Minute)
				b.sessionOf(b.speakers[0], w).notices("expired", b.now)
				b.pass(time.Second)
				b.written()
				for _, change := range tt.changes {
					change(t, b)
					b.pass(time.Minute)
				}
				e := b.board.Snapshot()[uplink.Source{Way: w, Kind: uplink.KindBFD}]
				if got := e.Opinion == uplink.Down; got == tt.forgets || !tt.forgets && !strings.Contains(e.Reason, "detection time expired") {
					t.Errorf("%s: %s", e.Opinion, e.Reason)
				}
				if got := b.verdict("a", family); strings.HasPrefix(got, "dead") == tt.forgets {
					t.Errorf("a is %s", got)
				}
				f := b.sessionOf(b.speakers[0], w)
				f.notices("up", b.now)
				b.pass(time.Minute)
				if got := b.verdict("a", family); got != "live active" {
					t.Errorf("up again, and a is %s", got)
				}
			})
		}
	}
}

// TestSessions_echoSource: a source of echoes is exchanged when it is gone, while the
// session stays up, and not before.
func TestSessions_echoSource(t *testing.T) {
	const calls = "echo 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3, echoes from "
	b := newBench(t, replaced(withBFD, "{interval", "{mode: echo, interval"), hostOf(t, hostA))
	step := func(what, host string, opinion uplink.Opinion, want ...string) {
		t.Helper()
		b.host.see(hostOf(t, append([]string{hostA}, strings.Split(host, "; ")...)...))
		b.turn()
		if diff := cmp.Diff(want, b.asked()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", what, diff)
		}
		if e, _ := b.bfd(); e.Opinion != opinion {
			t.Errorf("%s: %s: %s", what, e.Opinion, e.Reason)
		}
	}
	b.turn()
	step("nothing but the local address", "eth2 3", uplink.Unknown, "open "+calls+"203.0.113.2")
	step("another uplink before it is up", hostB, uplink.Unknown, "update "+calls+"198.51.100.2")
	b.session().notices("up", b.now)
	step("a better one", hostB+"; lo 1 198.18.0.1/32", uplink.Up)
	step("not usable", hostB+",tentative; lo 1 198.18.0.1/32", uplink.Up)
	step("on another device", "eth2 3; eth3 4 198.51.100.2/24; lo 1 198.18.0.1/32", uplink.Up)
	step("gone", "eth2 3; lo 1 198.18.0.1/32", uplink.Up, "update "+calls+"198.18.0.1")
	step("back", hostB+"; lo 1 198.18.0.1/32", uplink.Up)
	step("nothing is left", "eth2 3", uplink.Up, "update "+calls+"203.0.113.2")
	step("one that works with the local address", hostB, uplink.Up)
	b.session().notices("expired", b.now)
	step("nothing comes back", hostB, uplink.Down, "update "+calls+"198.51.100.2")
}

// TestSessions_startLimit: a session that has to be up gets the time of four intervals
// where they are long, also when the interval changes meanwhile.
func TestSessions_startLimit(t *testing.T) {
	text := replaced(withBFD, "{interval: 50ms}", "{interval: 10s, require: true}")
	b := newBench(t, text, hostOf(t, hostA, hostB))
	expect := func(want uplink.Opinion) {
		t.Helper()
		if e, _ := b.bfd(); e.Opinion != want {
			t.Errorf("%s: %s: %s", b.now.Sub(epoch), e.Opinion, e.Reason)
		}
	}
	b.pass(39 * time.Second)
	expect(uplink.Unknown)
	b.reload(replaced(text, "interval: 10s", "interval: 20s"))
	b.pass(40 * time.Second)
	expect(uplink.Unknown)
	b.pass(2 * time.Second)
	expect(uplink.Down)
}
