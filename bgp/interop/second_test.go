package interop

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/lab"
)

// second is another Speaker of ours, in the place of an ISP: its own prefixes are
// what it announces, and it takes everything.
type second struct{ end *end }

func newSecond(*testing.T) daemon { return &second{} }

func (d *second) name() string { return "multihomed" }

func (d *second) launch(t *testing.T, h *lab.Host, w terms, again bool) *process {
	t.Helper()
	d.end = begin(t, h)
	c := secondConfig(w)
	c.Restarting = again
	d.end.set(t, c)
	return d.end.process
}

func (d *second) apply(t *testing.T, w terms) {
	t.Helper()
	d.end.set(t, secondConfig(w))
}

func (d *second) state(p path) (string, bool, error) {
	st := d.end.peer(p.name)
	return st.State.String(), st.State == bgp.Established, nil
}

func (d *second) learned(p path, f bgp.Family) (map[netip.Prefix]seen, error) {
	paths, err := d.end.paths(p.name, f)
	if err != nil {
		return nil, err
	}
	found := map[netip.Prefix]seen{}
	for prefix, info := range paths {
		s := seen{asPath: info.ASPath, nextHop: info.NextHop, stale: info.Stale, communities: info.Communities}
		for i, c := range s.communities {
			if c == "graceful-shutdown" {
				s.communities[i] = "65535:0"
			}
		}
		if info.HasMED {
			s.med = strconv.FormatUint(uint64(info.MED), 10)
		}
		found[prefix] = s
	}
	return found, nil
}

// secondConfig is w in our own terms.
func secondConfig(w terms) bgp.Config {
	c := bgp.Config{AS: w.as, RouterID: ip("10.9.9.9"), Port: 179, AllowOwn: true}
	for _, r := range w.announce {
		c.Own = append(c.Own, r.prefix)
	}
	for i, p := range w.paths {
		peer := bgp.Peer{
			Name: p.name, Slot: bgp.Slot(i), Address: p.us, AS: w.usAS, Families: p.families, Interface: device,
			Import: bgp.Import{Mode: bgp.ImportFull}, HoldTime: w.hold, Password: bgp.Secret(w.password),
			TTLSecurity: w.ttl, Multihop: uint8(w.hops), Passive: w.passive, MaxPrefixes: w.limit, Shutdown: w.shut,
			GracefulRestart: bgp.GracefulRestart{Enabled: w.graceful, RestartTime: w.restartTime},
		}
		if p.us.IsLinkLocalUnicast() {
			peer.Address = p.us.WithZone(device)
		}
		if w.hops > 1 {
			peer.Interface = ""
		}
		for _, r := range w.announce {
			if slices.Contains(p.families, familyOf(r.prefix)) {
				peer.Announce = append(peer.Announce, secondAnnouncement(r))
			}
		}
		c.Peers = append(c.Peers, peer)
	}
	return c
}

func secondAnnouncement(r route) bgp.Announcement {
	a := bgp.Announcement{Prefix: r.prefix, MED: r.med, HasMED: r.med != 0, Prepend: r.prepend}
	for _, text := range r.communities {
		c, err := community(text)
		if err != nil {
			panic(err)
		}
		a.Communities = append(a.Communities, c)
	}
	if r.bandwidth != 0 {
		panic("interop: a Speaker announces no bandwidth")
	}
	return a
}

// community reads "65535:0".
func community(text string) (uint32, error) {
	high, low, _ := strings.Cut(text, ":")
	a, err1 := strconv.ParseUint(high, 10, 16)
	b, err2 := strconv.ParseUint(low, 10, 16)
	return uint32(a<<16 | b), errors.Join(err1, err2)
}
