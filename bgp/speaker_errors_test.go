package bgp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// attr encodes an attribute with the flags that its type should have.
func attr(flags, kind byte, value ...byte) []byte { return bgptest.Attribute(flags, kind, value) }

// outcome is what becomes of the prefix of an UPDATE.
type outcome int

const (
	withdrawn outcome = iota + 1
	stays
	reset
	// ended: by us, because the library goes on with what cannot be gone on with.
	ended
)

func TestB_7606_01_B_7606_02_B_7606_03_B_7606_04_B_7606_05_B_7606_06_B_7606_07_B_7606_08_B_7606_09_B_7606_12_Errors(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, func(p *Peer) { p.Families = []Family{IPv4, IPv6} })
	other := s.peer(64502, 1, nil)
	s.apply()
	fo := s.far(other, bgptest.Options{})
	must(t, fo.Announce(hop(other, 64502), prefix("198.41.9.0/24")))
	const wellKnown, optional, transitive = bgptest.FlagTransitive, bgptest.FlagOptional, bgptest.FlagOptional | bgptest.FlagTransitive
	next := a.As4()
	origin := attr(wellKnown, bgptest.AttrOrigin, 0)
	path := attr(wellKnown, bgptest.AttrASPath, binary.BigEndian.AppendUint32([]byte{2, 1}, 64501)...)
	hop4 := attr(wellKnown, bgptest.AttrNextHop, next[:]...)
	good := slices.Concat(origin, path, hop4)
	with := func(extra ...[]byte) []byte { return slices.Concat(append([][]byte{good}, extra...)...) }
	reach := func(length byte) []byte {
		return attr(optional, bgptest.AttrMPReach, slices.Concat([]byte{0, 2, 1, length}, make([]byte, length), []byte{0, 32, 0x26, 0, 0, 1})...)
	}
	tests := []wrongUpdate{
		{"nothing wrong", good, stays},
		{"B-7606-01 no ORIGIN", slices.Concat(path, hop4), withdrawn},
		{"B-7606-01 no AS_PATH", slices.Concat(origin, hop4), withdrawn},
		{"B-7606-01 no NEXT_HOP", slices.Concat(origin, path), withdrawn},
		{"B-7606-02 ORIGIN 7", slices.Concat(attr(wellKnown, 1, 7), path, hop4), withdrawn},
		{"B-7606-02 ORIGIN of two octets", slices.Concat(attr(wellKnown, 1, 0, 0), path, hop4), withdrawn},
		{"B-7606-02 segment of type 5", slices.Concat(origin, attr(wellKnown, 2, 5, 1, 0, 0, 0xfb, 0xf5), hop4), withdrawn},
		{"B-7606-02 segment that is cut", slices.Concat(origin, attr(wellKnown, 2, 2, 2, 0, 0, 0xfb, 0xf5), hop4), withdrawn},
		{"B-7606-02 segment without AS", slices.Concat(origin, attr(wellKnown, 2, 2, 0), hop4), withdrawn},
		{"B-7606-02 NEXT_HOP of three octets", slices.Concat(origin, path, attr(wellKnown, 3, 10, 0, 0)), withdrawn},
		{"B-7606-02 MED of three octets", with(attr(optional, 4, 0, 0, 0)), withdrawn},
		{"B-7606-03 ATOMIC_AGGREGATE with a value", with(attr(wellKnown, 6, 1)), stays},
		{"B-7606-03 AGGREGATOR of five octets", with(attr(transitive, 7, 0, 0, 0, 1, 1)), stays},
		{"B-7606-04 five octets of communities", with(attr(transitive, 8, 0, 0, 0, 0, 0)), withdrawn},
		{"B-7606-04 seven octets of extended communities", with(attr(transitive, 16, 0, 0, 0, 0, 0, 0, 0)), withdrawn},
		{"B-7606-05 an extended community that nobody knows", with(attr(transitive, 16, 0xbf, 0xee, 1, 2, 3, 4, 5, 6)), stays},
		{"B-7606-06 ORIGINATOR_ID", with(attr(optional, 9, 1, 2, 3, 4)), stays},
		{"B-7606-06 CLUSTER_LIST", with(attr(optional, 10, 1, 2, 3, 4)), stays},
		{"B-7606-07 ORIGIN twice", with(attr(wellKnown, 1, 2)), stays},
		{"B-7606-08 two errors", with(attr(transitive, 7, 0, 0, 0, 1, 1), attr(optional, 4, 0, 0, 0)), withdrawn},
		{"B-7606-09 ORIGIN of no octets", slices.Concat(attr(wellKnown, 1), path, hop4), withdrawn},
		// GoBGP would withdraw (section 4), but has not read what by then.
		{"B-7606-09 a length that overruns", with([]byte{transitive, 8, 200, 0, 0}), ended},
		{"B-7606-07 MP_REACH_NLRI twice", with(reach(16), reach(16)), reset},
		{"B-7606-12 a next hop of seven octets", with(reach(7)), reset},
	}
	s.sendWrong(a, tests)
	p := s.untilPeer("as64502", "has sent one", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == 1 })
	if p.Flaps != 0 || p.State != Established {
		t.Errorf("the other peer: %+v", p)
	}
}

// wrongUpdate is an UPDATE for a prefix that was announced before.
type wrongUpdate struct {
	name  string
	attrs []byte
	want  outcome
}

// sendWrong has the peer with address a send each of them.
func (s *site) sendWrong(a netip.Addr, tests []wrongUpdate) {
	t := s.t
	t.Helper()
	var f *bgptest.Peer
	for i, x := range tests {
		if f == nil {
			f = s.far(a, bgptest.Options{Families: []bgptest.Family{bgptest.IPv4, bgptest.IPv6}})
		}
		p, marker := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i), 0}), 24), netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 52, byte(i), 0}), 24)
		must(t, f.Announce(hop(a, 64501), p))
		b := p.Addr().As4()
		must(t, f.Send(bgptest.UpdateMessage(nil, x.attrs, []byte{24, b[0], b[1], b[2]})))
		if code, ok := map[outcome]uint8{reset: 3, ended: 6}[x.want]; ok {
			n, err := f.WaitNotification(testContext(t))
			if err != nil || n.Code != code {
				t.Errorf("%s: %+v %v", x.name, n, err)
			}
			s.untilPeer("as64501", "is reset", func(p PeerStatus) bool { return p.State != Established })
			f.Close()
			f = nil
			continue
		}
		must(t, f.Announce(hop(a, 64501), marker))
		found := func(p netip.Prefix) (PathInfo, bool) {
			paths, err := s.Paths(testContext(t), Query{Prefix: p})
			must(t, err)
			if len(paths) != 1 || paths[0].Prefix != p {
				return PathInfo{}, false
			}
			return paths[0].Paths[0], true
		}
		for {
			if _, ok := found(marker); ok {
				break
			}
			select {
			case <-s.changed:
			case <-time.After(5 * time.Millisecond):
			}
			if peerOf(s.Status(), "as64501").State != Established {
				t.Fatalf("%s: the session is lost: %+v", x.name, s.Status())
			}
		}
		info, ok := found(p)
		if got := map[bool]outcome{true: stays, false: withdrawn}[ok]; got != x.want {
			t.Errorf("%s: %d, want %d (%+v)", x.name, got, x.want, info)
		}
		if ok && (info.Rank != First || info.Preference != DefaultPreference || info.Origin != "IGP") {
			t.Errorf("%s: %+v", x.name, info)
		}
	}
}
