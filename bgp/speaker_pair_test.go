package bgp

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// couple makes two Speakers of each other that both connect.
func couple(t *testing.T) (a, b *site) {
	t.Helper()
	pair := [2]*site{pooledAS(t, ourAS), pooledAS(t, ourAS+1)}
	for i, us := range pair {
		other := pair[1-i]
		us.config.Own = []netip.Prefix{prefix([]string{"198.41.0.0/24", "198.51.0.0/24"}[i])}
		us.config.Peers = []Peer{{
			Name: "other", Slot: 0, Address: other.at.Addr(), Port: other.at.Port(), Local: us.at.Addr(), AS: other.config.AS,
			Families: []Family{IPv4}, Import: Import{Mode: ImportFull, PrivateAS: true},
			Announce: []Announcement{{Prefix: us.config.Own[0]}},
		}}
	}
	return pair[0], pair[1]
}

// collisions is how many pairs are started: more may be given in BGP_COLLISIONS.
func collisions() int {
	if n, err := strconv.Atoi(os.Getenv("BGP_COLLISIONS")); err == nil {
		return n
	}
	return 4
}

// TestB_4271_15_BothConnectAtOnce starts pairs of which both sides connect.
func TestB_4271_15_BothConnectAtOnce(t *testing.T) {
	t.Parallel()
	type pair struct {
		a, b  *site
		began time.Time
	}
	var pairs []pair
	for range collisions() {
		a, b := couple(t)
		pairs = append(pairs, pair{a, b, time.Now()})
		a.apply()
		b.apply()
	}
	var took []time.Duration
	for _, x := range pairs {
		last := x.began
		for _, side := range []*site{x.a, x.b} {
			p := side.established("other")
			if p.Since.After(last) {
				last = p.Since
			}
			side.untilPeer("other", "has told its prefix", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == 1 })
		}
		took = append(took, last.Sub(x.began).Round(10*time.Millisecond))
	}
	slices.Sort(took)
	t.Logf("established after %v to %v, median %v", took[0], took[len(took)-1], took[len(took)/2])

	// One that is lost comes back, and both know why it was.
	a, b := pairs[0].a, pairs[0].b
	began := time.Now()
	must(t, a.Reset("other", "to see how long it takes"))
	for _, side := range []*site{a, b} {
		side.untilPeer("other", "is back", func(p PeerStatus) bool { return p.Flaps == 1 && p.State == Established })
	}
	t.Logf("back after %v", time.Since(began).Round(10*time.Millisecond))
	p := peerOf(b.Status(), "other")
	if want := `the peer ended the session: Cease, Administrative Reset ("to see how long it takes")`; p.LastError != want {
		t.Errorf("%q", p.LastError)
	}
}

// TestSpeaker_globalsChange is not parallel: it starts the library again.
func TestSpeaker_globalsChange(t *testing.T) {
	s := newSite(t)
	a := s.peer(64501, 0, restartable)
	s.apply()
	o := restarter(time.Minute, true, wireFamilies...)
	f := s.far(a, o)
	must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	s.untilPeer("as64501", "has told its prefix", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == 1 })
	s.config.RouterID = netip.MustParseAddr("10.0.0.77")
	s.apply()
	// The peer keeps what it was told, and so do we.
	must(t, f.WaitClosed(testContext(t)))
	if n := f.Heard().Notification; n != nil {
		t.Errorf("%v", n)
	}
	if p := peerOf(s.Status(), "as64501"); p.Flaps != 1 || !familyOf(p, IPv4).Retained {
		t.Errorf("%+v", p)
	}
	f = s.dial(a, o)
	if id := f.Heard().Open.ID; id != s.config.RouterID {
		t.Errorf("identifier %v", id)
	}
	s.established("as64501")
	must(t, f.EndOfRIB(wireFamilies...))
	s.untilPeer("as64501", "is synced", func(p PeerStatus) bool { return familyOf(p, IPv4).Synced && familyOf(p, IPv4).Received == 0 })
}
