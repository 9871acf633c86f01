package netmon

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// differs fails with the message of a characterisation: the kernel does not do
// what the design was measured on.
func differs(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Errorf("this kernel differs from the one the design was measured on: "+format, args...)
}

// RFC 4861 section 10: with the kernel's constants a silent gateway is found dead
// after tens of seconds only, and on an idle link never. That is why the monitor
// asks for a look at its own interval, and why docs/configuration.md says not to
// rest on neighbour state alone.
func TestNUD_11(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		for name, want := range map[string]string{
			"base_reachable_time_ms": "30000",
			"retrans_time_ms":        "1000",
			"delay_first_probe_time": "5",
			"ucast_solicit":          "3",
			"mcast_solicit":          "3",
		} {
			var got []byte
			must(t, s.edge.Do(func() (err error) {
				got, err = os.ReadFile("/proc/sys/net/" + f.dir + "/neigh/eth1/" + name)
				return err
			}))
			if v := strings.TrimSpace(string(got)); v != want {
				differs(t, "%s is %s, not %s", name, v, want)
			}
		}
	})
}

// RFC 7048 section 3 has an entry stay while there is no alternative. Linux keeps it
// as FAILED, without asking again, until it collects its garbage; so FAILED is an
// old word and the monitor has to ask anew by itself (NUD-13).
func TestNUD_12(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		s.hurry(t, f)
		absent := f.gateway.Addr().Prev()
		c := watchDevice(t, s.gateway, "eth1")
		m := start(t, s.edge, watch(absent, 0)) // Only looks.
		mustIP(t, s.edge, "neigh", "add", absent.String(), "dev", "eth1", "use", "nud", "none")
		m.waitNeighbour(t, absent, "the neighbour has failed", func(n Neighbour) bool { return n.State == NUDFailed })
		waitFor(t, "three solicitations are captured", func() bool { return len(c.of(absent)) >= 3 })
		waitContext(context.Background(), 3*time.Second) // Thirty times the time between solicitations.
		// All namespaces share one table; beyond gc_thresh1 entries (128) the kernel
		// collects what has failed whenever it likes, which is no other state.
		if out := mustIP(t, s.edge, f.ip, "neigh", "show", "dev", "eth1"); strings.Contains(out, absent.String()+" ") && !strings.Contains(out, absent.String()+" FAILED") {
			differs(t, "a failed neighbour is shown as %q", out)
		}
		if asked := len(c.of(absent)); asked != 3 {
			differs(t, "a neighbour that failed was solicited %d times, not 3", asked)
		}
		if got := m.Counters().Solicitations; got != 0 {
			t.Errorf("the monitor asked %d times: the test does not test the kernel", got)
		}
	})
}

// RFC 4861 section 7.3.3: a gateway that was learned from router advertisements and
// turns from a router into a host is no default gateway any more, at once.
func TestNUD_07_learned(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	must(t, s.gateway.Forward())
	gw := s.linkLocal(t)
	must(t, s.edge.Sysctl("net/ipv6/conf/eth1/accept_ra", "1"))
	m := start(t, s.edge, Config{
		LearnFrom:  []string{"eth1"},
		Neighbours: []Watch{{Link: "eth1", Address: gw, Interval: time.Second}},
	})
	learned := func(s *Snapshot) bool {
		got, _, _, ok := LearnGateway(s, "eth1", true)
		return ok && got == gw
	}
	sendRouterAdvertisement(t, s.gateway, "eth1", 30*time.Minute)
	m.wait(t, "the router is learned and answers as one", func(s *Snapshot) bool {
		n := neighbourOf(s, "eth1", gw)
		return learned(s) && reachable(n) && n.Router
	})
	must(t, s.gateway.Sysctl("net/ipv6/conf/all/forwarding", "0"))
	snap := m.wait(t, "the host is no gateway", func(s *Snapshot) bool { return !learned(s) })
	if _, _, reason, ok := LearnGateway(snap, "eth1", true); ok || reason == "" {
		t.Errorf("another gateway was learned, or no reason given: %t %q", ok, reason)
	}
}
