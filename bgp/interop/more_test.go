package interop

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

// TestB_4271_15_InteropCollisions: both ends connect. Whoever wins, there is a session
// soon, each of twenty times.
func TestB_4271_15_InteropCollisions(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, usual(), nil)
		var took []time.Duration
		for range 20 {
			began := time.Now()
			s.comesUp(t)
			took = append(took, time.Since(began).Round(100*time.Millisecond))
			s.end.process.kill(t)
			s.speak(t)
		}
		slices.Sort(took)
		t.Logf("three sessions are established after %s (median), %s (worst)", took[len(took)/2], took[len(took)-1])
		s.settled(t)
	})
}

// TestInteropRefresh: a peer that asks for our prefixes once more gets them.
func TestInteropRefresh(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.refuse = true }), nil)
		s.comesUp(t)
		s.learns(t)
		must(t, s.eachFamily(func(p path, f bgp.Family) error { return s.has(p, f) })())
		s.apply(t, func(w *terms) { w.refuse = false })
		s.teaches(t)
		must(t, s.each(func(p path) error {
			if st := s.end.peer(p.name); st.Flaps != 0 {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})())
	}, "BIRD", "FRR")
}

// TestInteropExtendedMessages: more attributes than 4096 octets hold (RFC 8654).
func TestInteropExtendedMessages(t *testing.T) {
	t.Parallel()
	const many = 1200
	var communities []string
	for i := range many {
		communities = append(communities, fmt.Sprintf("3333:%d", i+1))
	}
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) {
			w.extended, w.announce = true, routes(theirPair)
			for i := range w.announce {
				w.announce[i].communities = communities
			}
		}), nil)
		s.settled(t)
		must(t, s.eachFamily(func(p path, f bgp.Family) error {
			paths, err := s.end.paths(p.name, f)
			if err != nil {
				return err
			}
			if got := paths[theirPair[f-bgp.IPv4]]; len(got.Communities) != many {
				return fmt.Errorf("%d communities", len(got.Communities))
			}
			return nil
		})())
	}, "BIRD")
}

// over6 are sessions over IPv6 that carry both families.
func over6() []path {
	list := slices.Clone(allPaths[1:])
	for i := range list {
		list[i].families = bgp.Families[:]
	}
	return list
}

// TestB_8950_01_B_8950_03_InteropNextHop6: IPv4 prefixes with IPv6 next hops, over
// IPv6 and link-local sessions.
func TestB_8950_01_B_8950_03_InteropNextHop6(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.nextHop6, w.paths = true, over6() }), nil)
		s.settled(t)
		must(t, s.each(func(p path) error {
			x := family(s.end.peer(p.name), bgp.IPv4)
			if x.Accepted != 2 || !x.Default.Accepted {
				return fmt.Errorf("%+v", x)
			}
			got, err := s.daemon.learned(p, bgp.IPv4)
			if err != nil {
				return err
			}
			if hop := got[ourPrefix4].nextHop; !hop.Is6() {
				return fmt.Errorf("next hop %s", hop)
			}
			return nil
		})())
	})
}

// TestB_8950_02_InteropNoNextHop6: a peer that does not know of that is told no IPv4
// prefixes over IPv6.
func TestB_8950_02_InteropNoNextHop6(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.paths = over6() }), nil)
		s.comesUp(t)
		eventually(t, "the peer has our IPv6 prefix", s.each(func(p path) error { return s.has(p, bgp.IPv6, ourPrefix6) }))
		must(t, s.each(func(p path) error {
			if x := family(s.end.peer(p.name), bgp.IPv4); x.Announced != 0 {
				return fmt.Errorf("%+v", x)
			}
			return s.has(p, bgp.IPv4)
		})())
	}, "BIRD", "FRR")
}

// TestB_POL_06_InteropThousands: all of a larger table, on three sessions, and after
// the peer was away.
func TestB_POL_06_InteropThousands(t *testing.T) {
	t.Parallel()
	const four, six = 3000, 1000
	against(t, func(t *testing.T, d daemon) {
		var list []netip.Prefix
		for i := range four {
			list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24))
		}
		for i := range six {
			list = append(list, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x26, 0x10, byte(i >> 8), byte(i)}), 32))
		}
		s := play(t, d, with(func(w *terms) { w.announce = routes(list, defaults); graceful(w) }), nil)
		for range 2 {
			s.settled(t)
			eventually(t, "all is told", func() error {
				if told, synced := s.end.told(); len(told) != four+six || !synced {
					return fmt.Errorf("%d routes, synced %t", len(told), synced)
				}
				return nil
			})
			must(t, s.eachFamily(func(p path, f bgp.Family) error {
				if x := family(s.end.peer(p.name), f); x.Accepted != x.Received || !x.Default.Accepted {
					return fmt.Errorf("%+v", x)
				}
				return nil
			})())
			s.process.kill(t)
			s.lost(t, closedWithoutWord)
			s.launch(t, s.terms, true)
		}
	}, "BIRD", "FRR")
}
