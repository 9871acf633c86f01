package interop

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/multihomed/multihomed/bgp"
)

// TestB_POL_08_B_POL_21_B_POL_30_InteropNoLeak: what one ISP announces is not told to
// the other one, with or without attributes that ask for it, and neither is what only
// the other one is to be told.
func TestB_POL_08_B_POL_21_B_POL_30_InteropNoLeak(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]int{{0, 1}, {1, 2}, {2, 0}} {
		a, b := makers[pair[0]], makers[pair[1]]
		t.Run(a.name+" and "+b.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t, a.make(t), b.make(t))
		})
	}
}

func noLeak(t *testing.T, a, b daemon) {
	s, other := twoPeers(t, a, b)
	s.settled(t)
	other.settled(t)
	// Once more after changes, and to a peer that was away.
	s.apply(t, func(w *terms) { w.announce = routes(theirPair) })
	s.learns(t)
	other.process.kill(t)
	other.launch(t, other.terms, false)
	other.settled(t)
	s.teaches(t)
	for _, x := range []*scene{s, other} {
		for _, p := range x.terms.paths {
			for _, f := range p.families {
				told, err := x.daemon.learned(p, f)
				must(t, err)
				for prefix := range told {
					if !slices.Contains(x.announced(p.name, f), prefix) {
						t.Errorf("%s was told %v", p.name, prefix)
					}
				}
			}
		}
	}
}

// twoPeers is a scene with two ISPs, which share our end.
func twoPeers(t *testing.T, a, b daemon) (s, other *scene) {
	t.Helper()
	s = build(t)
	other = &scene{lab: s.lab, us: s.us, far: host(t, s.lab, "other"), daemon: b}
	must(t, s.lab.Veth(s.us, "eth1", other.far, device))
	paths := []path{
		{name: "other IPv4", us: ip("198.51.100.1"), far: ip("198.51.100.2"), subnet: 24, families: []bgp.Family{bgp.IPv4}},
		{name: "other IPv6", us: ip("2001:db8:1::1"), far: ip("2001:db8:1::2"), subnet: 64, families: []bgp.Family{bgp.IPv6}},
	}
	for _, p := range paths {
		must(t, s.us.AddAddress("eth1", netip.PrefixFrom(p.us, p.subnet)), other.far.AddAddress(device, netip.PrefixFrom(p.far, p.subnet)))
	}
	attributes := []route{
		{prefix: prefix("198.41.9.0/24"), communities: []string{"3333:100"}, med: 5},
		{prefix: prefix("2600:9::/32"), communities: []string{"3333:100"}, prepend: 1},
	}
	s.daemon = a
	s.launch(t, with(func(w *terms) {
		w.paths, w.announce = allPaths[:2], append(routes(theirPair, defaults), attributes...)
	}), false)
	other.launch(t, with(func(w *terms) { w.paths, w.as, w.announce = paths, customer, routes(another, defaults) }), false)
	s.config = ourConfig(s.terms, nil)
	for _, p := range ourConfig(other.terms, func(p *bgp.Peer) { p.Interface = "eth1" }).Peers {
		p.Slot += 2
		if p.Name == paths[0].name {
			// A part of ours that it is told alone.
			p.Announce = append(slices.Clone(p.Announce), bgp.Announcement{Prefix: prefix("193.0.4.0/22")})
		}
		s.config.Peers = append(s.config.Peers, p)
	}
	s.speak(t)
	other.end, other.config = s.end, s.config
	return s, other
}
