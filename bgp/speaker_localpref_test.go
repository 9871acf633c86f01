//go:build !race

package bgp

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// These are not for the race detector: GoBGP 4.8 takes LOCAL_PREF off a path while
// those who watch it read its attributes.

func TestB_4271_06_LocalPreferenceOfAPeerMeansNothing(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a, b := s.peer(64501, 0, nil), s.peer(64502, 1, nil)
	s.apply()
	fa, fb := s.far(a, bgptest.Options{}), s.far(b, bgptest.Options{})
	p := prefix("198.41.0.0/24")
	long := hop(a, 64501, 64501, 64501)
	long.LocalPref, long.HasLocalPref = 5000, true
	must(t, fa.Announce(long, p))
	must(t, fb.Announce(hop(b, 64502), p))
	r := s.routes()
	r.until("the shorter path wins", func(r *routes) bool { return r.known[p] == Choice(0).With(1, First).With(0, Second) })
}

func TestB_7606_06_LocalPreference(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, nil)
	s.apply()
	next := a.As4()
	const wellKnown = bgptest.FlagTransitive
	good := slices.Concat(attr(wellKnown, bgptest.AttrOrigin, 0),
		attr(wellKnown, bgptest.AttrASPath, binary.BigEndian.AppendUint32([]byte{2, 1}, 64501)...), attr(wellKnown, bgptest.AttrNextHop, next[:]...))
	s.sendWrong(a, []wrongUpdate{
		{"LOCAL_PREF", slices.Concat(good, attr(wellKnown, bgptest.AttrLocalPref, 0, 0, 0xff, 0xff)), stays},
		// GoBGP is stricter than RFC 7606 section 7.5, by which it would be left out.
		{"LOCAL_PREF of three octets", slices.Concat(good, attr(wellKnown, bgptest.AttrLocalPref, 0, 0, 0)), withdrawn},
	})
}

// TestB_7606_14_Nonsense sends what no decoder likes for a while.
func TestB_7606_14_Nonsense(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, func(p *Peer) { p.Families = []Family{IPv4, IPv6}; p.Import.AnyNextHop = true })
	other := s.peer(64502, 1, nil)
	s.apply()
	fo := s.far(other, bgptest.Options{})
	must(t, fo.Announce(hop(other, 64502), prefix("198.41.9.0/24")))
	s.untilPeer("as64502", "has sent it", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == 1 })
	m := bgptest.NewMalformer(7606, 64501, a, netip.MustParseAddr("2001:db8::1"))
	ctx, cancel := context.WithTimeout(testContext(t), patience)
	defer cancel()
	sent, sessions := 0, 0
	for sent < 3000 && ctx.Err() == nil {
		f, err := bgptest.Connect(ctx, bgptest.Socket{}.Dial(a, s.at), bgptest.Options{AS: 64501, ID: netip.MustParseAddr("10.9.9.9"), Families: []bgptest.Family{bgptest.IPv4, bgptest.IPv6}})
		must(t, err)
		sessions++
		for f.Send(m.Next()) == nil && sent < 3000 {
			sent++
			if f.Heard().Closed {
				break
			}
		}
		f.Close()
	}
	t.Logf("%d messages in %d sessions", sent, sessions)
	if p := peerOf(s.Status(), "as64502"); p.Flaps != 0 || p.State != Established {
		t.Errorf("the other peer: %+v", p)
	}
	must(t, fo.Announce(hop(other, 64502), prefix("198.41.10.0/24")))
	s.untilPeer("as64502", "is heard", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == 2 })
}
