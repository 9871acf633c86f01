package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// tell puts the word of a session on the board.
func (b *bench) tell(name string, f fib.Family, o uplink.Opinion) {
	b.board.Put(uplink.Evidence{Source: uplink.Source{Way: uplink.Way{Uplink: name, Family: f}, Kind: uplink.KindBFD}, Opinion: o, Reason: "told so"})
	b.turn()
}

// TestReload_owner: what says which objects are ours cannot change; the old
// configuration goes on.
func TestReload_owner(t *testing.T) {
	for _, change := range []string{"protocol: 222", "next-hops: {base: 7000000}"} {
		t.Run(change, func(t *testing.T) {
			b := newBench(t, twoUplinks, twoLinks(t))
			b.pass(time.Second)
			b.written()
			b.use(reload{config: parseConfig(t, change+twoUplinks)})
			if s := b.Status(); !strings.Contains(s.ConfigError, "cannot change while running") {
				t.Errorf("the status says %q", s.ConfigError)
			}
			b.pass(time.Second)
			if w := b.written(); len(w) > 0 || b.Config().Protocol != 221 {
				t.Errorf("protocol %d; wrote %q", b.Config().Protocol, w)
			}
			b.tell("a", fib.IPv4, uplink.Down)
			if got := b.verdict("a", fib.IPv4); got != "dead standby" || len(b.written()) != 1 {
				t.Errorf("the old configuration does not go on: a is %s", got)
			}
			b.use(reload{config: parseConfig(t, twoUplinks)})
			if s := b.Status(); s.ConfigError != "" {
				t.Errorf("the status says %q after a good reload", s.ConfigError)
			}
		})
	}
}

// TestReload_failed: why a newer file is not in use is in the status until one is.
func TestReload_failed(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	b.turn()
	b.use(reload{err: errors.New("line 3 is wrong")})
	if got := b.Status().ConfigError; got != "line 3 is wrong" {
		t.Errorf("the status says %q", got)
	}
	if b.turn(); b.Status().ConfigError == "" {
		t.Error("forgotten at the next look")
	}
}

// TestReload_touches: a reload writes what differs, and the verdicts of whom it does
// not concern stay.
func TestReload_touches(t *testing.T) {
	const a = "  - {name: a, interface: eth1, gateway: [203.0.113.1, \"2001:db8:1::1\"]}\n"
	const b2 = "  - {name: b, interface: eth2, gateway: [198.51.100.1, \"2001:db8:2::1\"]}\n"
	head := "hold: {up: 10s}\nuplinks:\n"
	tests := []struct {
		name, text string
		// only are words of which every write must have one; nil for no writes.
		only   []string
		a4, b4 string
	}{
		{"nothing", head + a + b2, nil, "live active", "dead standby"},
		{"time to hold", strings.Replace(head, "10s", "20s", 1) + a + b2, nil, "live active", "dead standby"},
		{"one weight", head + strings.Replace(a, "eth1", "eth1, weight: 5", 1) + b2, []string{"group 22100002,255/22100006,51"}, "live active", "dead standby"},
		{"one gateway", head + strings.Replace(a, "203.0.113.1", "203.0.113.9", 1) + b2, []string{"nexthop replace id 22100000 ", "nexthop replace id 22100001 "}, "live active", "dead standby"},
		{"the live one leaves", head + b2, []string{""}, "unknown none", "dead active"},
		{"the dead one leaves", head + a, []string{"202", "22100004", "22100005", "22100006", "22100007", "2210102", "198.51.100.", "db8:2:"}, "live active", "unknown none"},
		{"one changes its name only", head + a + strings.Replace(b2, "name: b", "name: c", 1), nil, "live active", "unknown none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, head+a+b2, twoLinks(t))
			b.pass(time.Second)
			b.tell("b", fib.IPv4, uplink.Down)
			b.written()
			b.use(reload{config: parseConfig(t, tt.text)})
			b.turn()
			for _, w := range b.written() {
				if !slices.ContainsFunc(tt.only, func(word string) bool { return strings.Contains(w, word) }) {
					t.Errorf("wrote %s", w)
				}
			}
			if got := b.verdict("a", fib.IPv4); got != tt.a4 {
				t.Errorf("a is %s, want %s", got, tt.a4)
			}
			if got := b.verdict("b", fib.IPv4); got != tt.b4 {
				t.Errorf("b is %s, want %s", got, tt.b4)
			}
		})
	}
}

// TestReload_rename: an uplink that changed nothing but its name keeps its history;
// one that changed more is another uplink.
func TestReload_rename(t *testing.T) {
	for text, want := range map[string]string{
		strings.Replace(twoUplinks, "name: b", "name: c", 1):                                                     "dead standby",
		strings.Replace(strings.Replace(twoUplinks, "name: b", "name: c", 1), "198.51.100.1", "198.51.100.9", 1): "live active",
	} {
		b := newBench(t, twoUplinks, twoLinks(t))
		b.pass(time.Second)
		b.tell("b", fib.IPv4, uplink.Down)
		b.use(reload{config: parseConfig(t, text)})
		b.turn()
		if got := b.verdict("c", fib.IPv4); got != want {
			t.Errorf("c is %s, want %s, in %s", got, want, text)
		}
	}
}

// learning is a with a gateway to learn.
const learning = `
hold: {up: 10s}
uplinks:
  - {name: a, interface: eth1}
  - {name: b, interface: eth2, gateway: [198.51.100.1, "2001:db8:2::1"]}
`

// TestReload_learning: default routes that were not read yet are not routes that are
// gone. A configuration that learns a gateway from another interface waits for the
// monitor to have looked there, and a live way stays live.
func TestReload_learning(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	b.pass(time.Second)
	b.written()
	b.host.told = nil
	b.use(reload{config: parseConfig(t, learning)})
	if len(b.host.told) != 1 || !slices.Equal(b.host.told[0].LearnFrom, []string{"eth1"}) || len(b.host.told[0].Neighbours) != 4 {
		t.Errorf("the monitor was told %+v", b.host.told)
	}
	b.pass(5 * time.Second)
	if len(b.Config().Uplinks[0].Gateways) == 0 {
		t.Fatal("the new configuration is in use before the monitor has looked by it")
	}
	b.host.see(learned(learned(twoLinks(t), "eth1", "203.0.113.1"), "eth1", "2001:db8:1::1"))
	b.turn()
	if len(b.Config().Uplinks[0].Gateways) != 0 {
		t.Error("the new configuration is not in use after it has")
	}
	b.pass(5 * time.Second)
	if w := b.written(); len(w) > 0 || b.verdict("a", fib.IPv4) != "live active" {
		t.Errorf("a is %s; wrote %q", b.verdict("a", fib.IPv4), w)
	}
}

// TestReload_twiceWhileWaiting: the later configuration counts, and the monitor goes on
// to read what the present one needs.
func TestReload_twiceWhileWaiting(t *testing.T) {
	present := strings.Replace(twoUplinks, `, gateway: [198.51.100.1, "2001:db8:2::1"]`, "", 1)
	host := func() *bench {
		return newBench(t, present, learned(learned(twoLinks(t), "eth2", "198.51.100.1"), "eth2", "2001:db8:2::1"))
	}
	b := host()
	b.pass(time.Second)
	b.use(reload{config: parseConfig(t, learning)})
	if last := b.host.told[len(b.host.told)-1]; !slices.Contains(last.LearnFrom, "eth1") || !slices.Contains(last.LearnFrom, "eth2") {
		t.Errorf("the monitor reads %v", last.LearnFrom)
	}
	b.use(reload{config: parseConfig(t, strings.Replace(learning, "10s", "33s", 1))})
	b.turn()
	if b.Config().Hold.Up != 10*time.Second || len(b.Config().Uplinks[1].Gateways) != 0 {
		t.Error("the second reload did not wait for what the first one waits for")
	}
	b.use(reload{err: errTest}) // The one that waits is valid all the same.
	b.host.see(learned(twoLinks(t), "eth1", "203.0.113.1"))
	b.turn()
	if b.Config().Hold.Up != 33*time.Second || b.pending != nil {
		t.Errorf("in use: %s", b.Config().Hold.Up)
	}
}

// TestReload_beforeTheFirstLook: a configuration that comes before anything was seen
// is simply the first one.
func TestReload_beforeTheFirstLook(t *testing.T) {
	b := newBench(t, twoUplinks, nil)
	if d := b.turn(); d != time.Second || b.Status().Ready {
		t.Errorf("without a look: again in %s, ready %t", d, b.Status().Ready)
	}
	b.use(reload{config: parseConfig(t, learning)})
	b.host.see(learned(twoLinks(t), "eth1", "203.0.113.1"))
	b.turn()
	got := []string{b.verdict("a", fib.IPv4), b.verdict("a", fib.IPv6), b.verdict("b", fib.IPv6)}
	if diff := cmp.Diff([]string{"live active", "dead none", "live active"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
