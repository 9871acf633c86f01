package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// withBFD is a with a session and b without.
const withBFD = `
hold: {up: 10s}
uplinks:
  - {name: a, interface: eth1, gateway: 203.0.113.1, bfd: {interval: 50ms}}
  - {name: b, interface: eth2, gateway: 198.51.100.1}
`

const hostA, hostB = "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24"

// asked returns the calls of the present speaker since the last time.
func (b *bench) asked() []string {
	if len(b.speakers) == 0 {
		return nil
	}
	return b.speakers[len(b.speakers)-1].asked()
}

// session returns the session of a.
func (b *bench) session() *fakeSession {
	b.t.Helper()
	f := b.sessionOf(b.speakers[len(b.speakers)-1], wayA)
	if f == nil {
		b.t.Fatal("a has no session")
	}
	return f
}

// bfd returns what the board says of the session of a.
func (b *bench) bfd() (uplink.Evidence, bool) {
	e, ok := b.board.Snapshot()[uplink.Source{Way: wayA, Kind: uplink.KindBFD}]
	return e, ok
}

// reload uses another configuration, keys and all.
func (b *bench) reload(text string) {
	c := parseConfig(b.t, text)
	b.use(reload{config: c, keys: readKeys(c), passwords: readPasswords(c)})
	b.turn()
}

// TestSessions_update: a session is opened, changed, opened anew and closed exactly
// when what describes it changes, and a change that can be made while it runs is.
func TestSessions_update(t *testing.T) {
	const old = "async 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3"
	config := func(section string) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) {
			t.Helper()
			b.reload(strings.Replace(withBFD, "{interval: 50ms}", section, 1))
		}
	}
	host := func(links ...string) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) { t.Helper(); b.host.see(hostOf(t, links...)) }
	}
	tests := []struct {
		name   string
		change func(*testing.T, *bench)
		want   []string
	}{
		{"nothing", func(*testing.T, *bench) {}, nil},
		{"the same configuration", config("{interval: 50ms}"), nil},
		{"another snapshot, the same host", host(hostA, hostB), nil},
		{"another address beside", host(hostA+" 203.0.113.3/24", hostB), nil},
		{"another device of that name", host("eth1 7 203.0.113.2/24", hostB), nil},
		{"no carrier", host(hostA+" nocarrier", hostB), nil},
		{"no address for a moment", host("eth1 2", hostB), nil},
		{"no device for a moment", host(hostB), nil},
		{"another interval", config("{interval: 100ms}"), []string{"update async 203.0.113.1%eth1 from 203.0.113.2, 100ms x 3"}},
		{"another multiplier", config("{multiplier: 5}"), []string{"update async 203.0.113.1%eth1 from 203.0.113.2, 50ms x 5"}},
		{"another role", config("{passive: true}"), []string{"update " + old + ", passive"}},
		{"another mark", func(t *testing.T, b *bench) {
			t.Helper()
			b.reload(replaced(withBFD, "name: a,", "name: a, mark: 0x4200,"))
		}, []string{"update " + old}},
		{"another address", host("eth1 2 203.0.113.9/24", hostB), []string{"close " + old, "open async 203.0.113.1%eth1 from 203.0.113.9, 50ms x 3"}},
		{"another peer", config("{peer: 203.0.113.7}"), []string{"close " + old, "open async 203.0.113.7%eth1 from 203.0.113.2, 50ms x 3"}},
		{"another device", func(t *testing.T, b *bench) {
			t.Helper()
			b.host.see(hostOf(t, hostA, hostB, "eth3 4 203.0.113.2/24"))
			b.reload(replaced(withBFD, "eth1", "eth3"))
		}, []string{"close " + old, "open async 203.0.113.1%eth3 from 203.0.113.2, 50ms x 3"}},
		{"another mode", config("{mode: echo}"), []string{"close " + old, "open echo 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3, echoes from 198.51.100.2"}},
		{"required", config("{require: true}"), nil},
		{"off", config("false"), []string{"close " + old}},
		{"another name", func(t *testing.T, b *bench) { t.Helper(); b.reload(strings.Replace(withBFD, "name: a", "name: c", 1)) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, withBFD, hostOf(t, hostA, hostB))
			b.turn()
			if diff := cmp.Diff([]string{"open " + old}, b.asked()); diff != "" {
				t.Fatalf("at the start -want +got:\n%s", diff)
			}
			b.session().notices("up", b.now)
			b.turn()
			tt.change(t, b)
			b.turn()
			if diff := cmp.Diff(tt.want, b.asked()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			e, there := b.bfd()
			name := b.site.members[0].Uplink
			if name != "a" {
				e, there = b.board.Snapshot()[uplink.Source{Way: uplink.Way{Uplink: name, Family: fib.IPv4}, Kind: uplink.KindBFD}]
			}
			opened := slices.ContainsFunc(tt.want, func(s string) bool { return strings.HasPrefix(s, "open ") })
			switch {
			case tt.name == "off":
				if there || len(b.sessions.all) != 0 {
					t.Errorf("something is left: %+v", e)
				}
			case opened && (e.Opinion != uplink.Unknown || !strings.HasPrefix(e.Reason, "not up yet")):
				t.Errorf("a new session is %s: %s", e.Opinion, e.Reason)
			case !opened && e.Opinion != uplink.Up:
				t.Errorf("a session that went on is %s: %s", e.Opinion, e.Reason)
			}
			if got := b.verdict(name, fib.IPv4); strings.HasPrefix(got, "dead") && !strings.Contains(tt.name, "no ") {
				t.Errorf("a is %s", got)
			}
		})
	}
}

// TestSessions_oneSpeaker: without a session there is no speaker, and after the last one
// it goes on: another one would find the ports taken.
func TestSessions_oneSpeaker(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	b.pass(time.Second)
	if len(b.speakers) != 0 {
		t.Fatal("a speaker that nobody wants")
	}
	b.reload(withBFD)
	await(t, "the speaker to run", b.speakers[0].runs)
	for range 3 {
		b.reload(twoUplinks)
		b.reload(withBFD)
	}
	if len(b.speakers) != 1 || !b.speakers[0].runs() || b.session().closed {
		t.Errorf("%d speakers", len(b.speakers))
	}
}

// TestSessions_closedHasNoSay: neither on its successor, nor where there is none.
func TestSessions_closedHasNoSay(t *testing.T) {
	b := newBench(t, withBFD, hostOf(t, hostA, hostB))
	b.turn()
	old := b.session()
	old.notices("up", b.now)
	b.host.see(hostOf(t, "eth1 2 203.0.113.9/24", hostB))
	b.turn()
	old.notices("expired", b.now)
	if e, _ := b.bfd(); e.Opinion != uplink.Unknown {
		t.Errorf("a closed session was heard: %s", e.Reason)
	}
	last := b.session()
	b.reload(strings.Replace(withBFD, "{interval: 50ms}", "false", 1))
	last.notices("up", b.now)
	if e, there := b.bfd(); there {
		t.Errorf("there is evidence: %+v", e)
	}
}

// TestSessions_noSpeaker: what cannot be made is tried again, and is nobody's outage.
func TestSessions_noSpeaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries int
		d := start(t, "uplinks: [{name: b, interface: eth2, gateway: 198.51.100.1}]", hostOf(t, hostA, hostB))
		make := d.opts.NewSpeaker
		d.opts.NewSpeaker = func(o bfd.Options) (Speaker, error) {
			if tries++; tries == 1 {
				panic("no memory")
			} else if tries < 5 {
				return nil, errTest
			}
			return make(o)
		}
		d.Reload(t.Context(), parseConfig(t, strings.Replace(withBFD, "interval: 50ms", "require: true", 1)))
		synctest.Wait()
		const reason = "the BFD part cannot start: told to fail; it is tried again within 30s: mend that, or take bfd out of the configuration and reload"
		time.Sleep(time.Second)
		synctest.Wait()
		if e := evidenceOf(t, d.way(t, "a"), "bfd"); e.Opinion != "unknown" || e.Reason != reason {
			t.Errorf("%s: %s", e.Opinion, e.Reason)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if d.speaker.of("eth1", false) == nil || tries != 5 {
			t.Errorf("no session after %d tries", tries)
		}
		d.stop()
		if err := <-d.finished; err != nil {
			t.Error(err)
		}
	})
}

// TestSessions_openFails: a session that is refused is tried again.
func TestSessions_openFails(t *testing.T) {
	b := newBench(t, strings.Replace(withBFD, "interval: 50ms", "require: true", 1), hostOf(t, hostB))
	b.turn()
	b.asked()
	b.speakers[0].refuse = errTest
	b.host.see(hostOf(t, hostA, hostB))
	b.pass(time.Second)
	if e, _ := b.bfd(); e.Opinion != uplink.Unknown || e.Reason != "told to fail" {
		t.Errorf("%s: %s", e.Opinion, e.Reason)
	}
	b.pass(10 * time.Second)
	if e, _ := b.bfd(); e.Opinion != uplink.Down {
		t.Errorf("required, and %s", e.Opinion)
	}
	if n := len(b.asked()); n < 2 || n > 4 || b.log.count("cannot open a BFD session") != 1 {
		t.Errorf("%d tries in 11 s", n)
	}
	b.speakers[0].refuse = nil
	b.pass(reopenPace)
	if diff := cmp.Diff([]string{"open async 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3"}, b.asked()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestSessions_changeFails: a session that cannot be changed goes on as it is, which is
// told once.
func TestSessions_changeFails(t *testing.T) {
	b := newBench(t, withBFD, hostOf(t, hostA, hostB))
	b.turn()
	b.session().refuses = errTest
	b.session().notices("up", b.now)
	b.reload(replaced(withBFD, "50ms", "60ms"))
	b.host.see(hostOf(t, hostA, hostB))
	b.turn()
	if e, _ := b.bfd(); e.Opinion != uplink.Up || b.log.count("cannot change a BFD session") != 1 {
		t.Errorf("%s: %s", e.Opinion, e.Reason)
	}
	b.session().refuses = nil
	b.asked()
	b.host.see(hostOf(t, hostA, hostB))
	b.turn()
	if diff := cmp.Diff([]string{"update async 203.0.113.1%eth1 from 203.0.113.2, 60ms x 3"}, b.asked()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestSessions_race: everybody at once, for the race detector.
func TestSessions_race(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, withBFD, hostOf(t, hostA, hostB))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for i := range 60 {
					if f := d.speaker0().of("eth1", false); f != nil {
						f.notices([]string{"up", "expired", "admin-down"}[i%3], time.Now())
					}
					d.Status()
				}
			})
		}
		for i := range 15 {
			d.host.see(hostOf(t, []string{hostA, "eth1 2 203.0.113.9/24"}[i%2], hostB))
			d.Reload(t.Context(), parseConfig(t, replaced(withBFD, "50ms", fmt.Sprintf("%dms", 50+i))))
			if i%5 == 4 {
				d.speaker0().die <- errTest
				time.Sleep(time.Minute)
			}
		}
		all.Wait()
		d.stop()
		if err := <-d.finished; err != nil {
			t.Error(err)
		}
	})
}

// speaker0 returns the present speaker.
func (d *daemon) speaker0() *bfdSpeaker {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.speaker
}
