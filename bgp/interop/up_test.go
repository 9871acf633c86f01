package interop

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/multihomed/multihomed/bgp"
)

// TestB_GR_02_InteropUp: sessions of both families, and between link-local
// addresses; both ends have exactly what is announced, and know that it is all.
func TestB_GR_02_InteropUp(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, usual(), nil)
		s.settled(t)
		must(t, s.eachFamily(func(p path, f bgp.Family) error {
			x := family(s.end.peer(p.name), f)
			if x.Accepted != 2 || !x.Default.Accepted || len(x.Refused) != 0 || x.Announced != 1 || !x.Negotiated || x.Draining {
				return fmt.Errorf("%+v", x)
			}
			st := s.end.peer(p.name)
			if st.RouterID != ip("10.9.9.9") || st.HoldTime.Seconds() != 30 || st.Restart || st.Flaps != 0 || st.LastError != "" {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})())
		want := map[netip.Prefix]bgp.Choice{
			theirs4: bgp.Choice(0).With(0, bgp.First),
			theirs6: bgp.Choice(0).With(1, bgp.First).With(2, bgp.First),
		}
		eventually(t, "it is told", func() error {
			told, synced := s.end.told()
			if diff := cmp.Diff(want, told, cmpopts.EquateComparable(netip.Prefix{})); diff != "" || !synced {
				return fmt.Errorf("synced %t, -want +got:\n%s", synced, diff)
			}
			return nil
		})
	})
}

// TestB_POL_05_B_4271_16_InteropAttributes: what each end says of its prefixes is
// what the other end sees, while the sessions stand, and after it was changed.
func TestB_POL_05_B_4271_16_InteropAttributes(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, usual(), nil)
		s.settled(t)
		s.shown(t, seen{asPath: fmt.Sprint(ourAS)})
		const plain, high uint32 = 3333<<16 | 100, 64<<16 | 65535
		s.set(t, func(p *bgp.Peer) {
			p.Announce = slices.Clone(p.Announce)
			for i := range p.Announce {
				a := &p.Announce[i]
				a.Communities, a.MED, a.HasMED, a.Prepend = []uint32{plain, high}, 77, true, 2
			}
		})
		s.shown(t, seen{asPath: fmt.Sprintf("%d %[1]d %[1]d", ourAS), med: "77", communities: []string{"64:65535", "3333:100"}})
		s.set(t, func(p *bgp.Peer) { p.Announce = nil })
		s.teaches(t)

		s.apply(t, func(w *terms) {
			w.announce = routes(theirPair, defaults)
			for i := range w.announce {
				if w.announce[i].prefix.Bits() > 0 {
					w.announce[i].communities, w.announce[i].med, w.announce[i].prepend = []string{"3333:100", "3333:200"}, 55, 2
				}
			}
		})
		eventually(t, "we see the attributes of the peer", s.eachFamily(func(p path, f bgp.Family) error {
			paths, err := s.end.paths(p.name, f)
			if err != nil {
				return err
			}
			got := paths[theirPair[f-bgp.IPv4]]
			slices.Sort(got.Communities)
			if got.ASPath != fmt.Sprintf("%d %[1]d %[1]d", theirAS) || got.MED != 55 || !got.HasMED || strings.Join(got.Communities, " ") != "3333:100 3333:200" {
				return fmt.Errorf("%+v", got)
			}
			if len(p.families) == 1 && f == bgp.FamilyOf(p.far) && !p.far.IsLinkLocalUnicast() && got.NextHop != p.far {
				return fmt.Errorf("next hop %v", got.NextHop)
			}
			return nil
		}))
		s.apply(t, func(w *terms) { w.announce = routes(another) })
		s.learns(t)
	})
}

// shown waits until the peer has our prefixes with these attributes. The next hop is
// our address.
func (s *scene) shown(t *testing.T, want seen) {
	t.Helper()
	eventually(t, "the peer sees our attributes", s.eachFamily(func(p path, f bgp.Family) error {
		got, err := s.daemon.learned(p, f)
		if err != nil {
			return err
		}
		x, ok := got[ours[f-bgp.IPv4]]
		if !ok || len(got) != 1 {
			return fmt.Errorf("it has %v", got)
		}
		slices.Sort(x.communities)
		slices.Sort(want.communities)
		if x.asPath != want.asPath || strings.TrimPrefix(x.med, "0") != want.med || !slices.Equal(x.communities, want.communities) || x.stale {
			return fmt.Errorf("it sees %+v, want %+v", x, want)
		}
		if bgp.FamilyOf(p.us) == f && !p.us.IsLinkLocalUnicast() && x.nextHop != p.us {
			return fmt.Errorf("next hop %v", x.nextHop)
		}
		return nil
	}))
}

// TestB_POL_01_B_POL_02_B_POL_05_B_POL_06_InteropImport: what is accepted follows
// what is asked for, while the sessions stand.
func TestB_POL_01_B_POL_02_B_POL_05_B_POL_06_InteropImport(t *testing.T) {
	t.Parallel()
	long4, long6 := prefix("198.41.2.0/25"), prefix("2600:3::/64")
	bogon4, bogon6 := prefix("100.64.0.0/16"), prefix("2001:db8:1::/48")
	part4, part6 := prefix("193.0.1.0/24"), prefix("2001:67c:2e8:1::/64")
	list := routes(theirPair, defaults, another, []netip.Prefix{long4, long6, bogon4, bogon6, part4, part6})
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.announce = list }), func(p *bgp.Peer) {
			p.Import, p.Announce = bgp.Import{}, nil
		})
		s.comesUp(t)
		says := func(fallback bool, accepted int, refused map[bgp.Reason]int) {
			t.Helper()
			eventually(t, "the import is as it is asked for", s.eachFamily(func(p path, f bgp.Family) error {
				x := family(s.end.peer(p.name), f)
				if diff := cmp.Diff(refused, x.Refused); diff != "" || x.Received != 6 || x.Accepted != accepted || x.Default.Accepted != fallback {
					return fmt.Errorf("%+v, -want +got:\n%s", x, diff)
				}
				return nil
			}))
		}
		says(false, 0, map[bgp.Reason]int{bgp.NoPolicy: 6})
		s.teaches(t)
		s.set(t, func(p *bgp.Peer) { p.Import.Mode = bgp.ImportDefault })
		says(true, 1, map[bgp.Reason]int{bgp.NotAsked: 5})
		s.set(t, func(p *bgp.Peer) { p.Import = bgp.Import{Mode: bgp.ImportPrefixes, Prefixes: theirPair} })
		says(false, 1, map[bgp.Reason]int{bgp.NotAsked: 5})
		s.set(t, func(p *bgp.Peer) { p.Import = bgp.Import{Mode: bgp.ImportFull} })
		says(true, 3, map[bgp.Reason]int{bgp.TooSpecific: 1, bgp.Bogon: 1, bgp.OwnPrefix: 1})
		must(t, s.each(func(p path) error {
			if st := s.end.peer(p.name); st.Flaps != 0 {
				return fmt.Errorf("%d flaps", st.Flaps)
			}
			return nil
		})())
	})
}

// TestB_POL_14_B_POL_15_InteropGracefulShutdown: the community is understood, and
// sent.
func TestB_POL_14_B_POL_15_InteropGracefulShutdown(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, usual(), nil)
		s.settled(t)
		tag := func(communities ...string) {
			s.apply(t, func(w *terms) {
				w.announce = routes(theirPair, defaults)
				for i := range w.announce {
					w.announce[i].communities = communities
				}
			})
		}
		drains := func(want bool) {
			t.Helper()
			eventually(t, fmt.Sprintf("the peer drains: %t", want), s.eachFamily(func(p path, f bgp.Family) error {
				if x := family(s.end.peer(p.name), f); x.Draining != want || x.Default.Draining != want || x.Accepted != 2 {
					return fmt.Errorf("%+v", x)
				}
				return nil
			}))
		}
		tag("65535:0")
		drains(true)
		tag()
		drains(false)
		s.set(t, func(p *bgp.Peer) {
			p.Announce = slices.Clone(p.Announce)
			for i := range p.Announce {
				p.Announce[i].Communities = []uint32{bgp.GracefulShutdown}
			}
		})
		s.shown(t, seen{asPath: fmt.Sprint(ourAS), communities: []string{"65535:0"}})
	})
}

// TestB_LBW_01_B_LBW_07_InteropBandwidth: the link bandwidth of the peers is believed
// if it is to be.
func TestB_LBW_01_B_LBW_07_InteropBandwidth(t *testing.T) {
	t.Parallel()
	const bandwidth = 125e6 // 1 Gbit/s
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) {
			for i := range w.announce {
				w.announce[i].bandwidth = bandwidth
			}
		}), func(p *bgp.Peer) { p.Import.Bandwidth = true })
		says := func(want float64) {
			t.Helper()
			eventually(t, fmt.Sprintf("the bandwidth is %.0f", want), s.eachFamily(func(p path, f bgp.Family) error {
				if x := family(s.end.peer(p.name), f); x.Bandwidth != want || x.Accepted != 2 {
					return fmt.Errorf("%+v", x)
				}
				return nil
			}))
		}
		says(bandwidth)
		s.set(t, func(p *bgp.Peer) { p.Import.Bandwidth = false })
		says(0)
	}, "BIRD", "FRR")
}
