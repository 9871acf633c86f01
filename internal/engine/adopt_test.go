package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// TestAdopt_unreadableKernel: as long as the kernel cannot be read nothing is written,
// and everything that a previous life left stays.
func TestAdopt_unreadableKernel(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	b.pass(time.Second)
	before := b.fake.Text()
	b.written()
	// The next life has one uplink less, so that there is something to delete.
	b.boot(parseConfig(t, "uplinks: [{name: a, interface: eth1, gateway: 203.0.113.1}]"))
	for range 5 {
		b.fake.FailCall(1, errTest)
		if d := b.turn(); d != time.Second {
			t.Errorf("again in %s", d)
		}
		s := b.Status()
		if s.Ready || s.Kernel.InSync || s.Kernel.Mode != "not read yet" || len(s.Kernel.Errors) != 1 {
			t.Errorf("the status says ready %t, %+v", s.Ready, s.Kernel)
		}
	}
	if b.fake.Text() != before {
		t.Errorf("the kernel changed:\n%s", b.fake.Text())
	}
	if n := b.log.count("cannot read the kernel"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	b.turn()
	if s := b.Status(); !s.Ready || !s.Kernel.InSync || len(s.Kernel.Errors) != 0 {
		t.Errorf("after a good reading: %+v", s.Kernel)
	}
	if w := b.written(); !slices.ContainsFunc(w, func(op string) bool { return strings.Contains(op, "del pref 202") }) {
		t.Errorf("what is no longer wanted stays: %q", w)
	}
}

// TestAdopt_restart: another life writes nothing where nothing changed, and does not
// trust what was dead.
func TestAdopt_restart(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	b.pass(time.Second)
	b.tell("b", fib.IPv6, uplink.Down)
	b.written()
	b.boot(b.site.config)
	b.pass(5 * time.Second)
	if w := b.written(); len(w) > 0 {
		t.Errorf("wrote %q", w)
	}
	if b.verdict("b", fib.IPv6) != "dead standby" || b.verdict("b", fib.IPv4) != "live active" {
		t.Errorf("b is %s and %s", b.verdict("b", fib.IPv4), b.verdict("b", fib.IPv6))
	}
}

// TestAdopt_optional: a family that nobody asked for is drawn again after a restart
// although the host has no address of it just then; it is shown only if it carried
// traffic.
func TestAdopt_optional(t *testing.T) {
	const text = "uplinks: [{name: a, interface: ppp0}, {name: b, interface: ppp1}]"
	b := newBench(t, text, hostOf(t, "ppp0 2 p2p 203.0.113.2/32 2001:db8:1::2/128", "ppp1 3 p2p 198.51.100.2/32"))
	b.pass(time.Second)
	b.boot(b.site.config)
	b.turn()
	shown := func() (ways []string) {
		for _, u := range b.Status().Uplinks {
			for _, w := range u.Ways {
				ways = append(ways, u.Name+"/"+w.Family)
			}
		}
		return ways
	}
	if got := strings.Join(shown(), " "); got != "a/ipv4 a/ipv6 b/ipv4" {
		t.Errorf("shown after a restart: %s", got)
	}
	b.fake.SetLink(2, false)
	b.fake.SetLink(3, false)
	b.written()
	b.host.see(hostOf(t))
	b.boot(b.site.config)
	b.pass(time.Second)
	for _, w := range b.written() {
		if strings.Contains(w, "prohibit") || strings.Contains(w, "fwmark") {
			t.Errorf("a restart without links took away a guard: %s", w)
		}
	}
	if got := strings.Join(shown(), " "); got != "a/ipv4 b/ipv4" {
		t.Errorf("shown without links: %s", got)
	}
}

// TestOptional_unseen: what the host never had is neither drawn nor news.
func TestOptional_unseen(t *testing.T) {
	b := newBench(t, "uplinks: [{name: a, interface: eth1}]", learned(hostOf(t, "eth1 2 203.0.113.2/24"), "eth1", "203.0.113.1"))
	b.pass(time.Second)
	if strings.Contains(b.fake.Text(), "-6") {
		t.Errorf("IPv6 was drawn:\n%s", b.fake.Text())
	}
	if b.log.count("level=INFO", "msg=verdict", "family=ipv6") != 0 || b.log.count("level=DEBUG", "msg=verdict", "family=ipv6") != 1 {
		t.Error("a family that is not there was news")
	}
	b.host.see(learned(learned(hostOf(t, "eth1 2 203.0.113.2/24 2001:db8:1::2/64"), "eth1", "203.0.113.1"), "eth1", "fe80::1"))
	b.turn()
	if !strings.Contains(b.fake.Text(), "ip -6 route add default nhid 22101025 table 221") || b.log.count("level=INFO", "msg=verdict", "family=ipv6") == 0 {
		t.Errorf("IPv6 appeared and was not drawn or told:\n%s", b.fake.Text())
	}
	b.host.see(learned(hostOf(t, "eth1 2 203.0.113.2/24"), "eth1", "203.0.113.1"))
	b.turn()
	if !strings.Contains(b.fake.Text(), "ip -6 route add prohibit default table 201") {
		t.Errorf("IPv6 vanished, and its guard with it:\n%s", b.fake.Text())
	}
}
