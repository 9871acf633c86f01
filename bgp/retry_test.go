package bgp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// errBroken is what calls of the library return that are made to fail.
var errBroken = errors.New("broken by a test")

// breaks makes the next calls of that name fail, and returns where each says so.
func (s *site) breaks(name string, times int) <-chan struct{} {
	s.t.Helper()
	failed := make(chan struct{}, times)
	must(s.t, s.do(testContext(s.t), func(m *manager) {
		m.lib.fails = func(call string) error {
			if call != name || times == 0 {
				return nil
			}
			times--
			failed <- struct{}{}
			return errBroken
		}
	}))
	return failed
}

// TestSpeaker_announcesWhatFailed has each call fail twice that it takes to tell a peer
// of a prefix more and of one less. The same configuration is never set again.
func TestSpeaker_announcesWhatFailed(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"set policies", "add path", "soft reset"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			s := pooled(t)
			one, two := prefix("203.0.113.0/25"), prefix("203.0.113.128/25")
			a := s.peer(64501, 0, func(p *Peer) { p.Announce = []Announcement{{Prefix: one}} })
			s.apply()
			f := s.far(a, bgptest.Options{})
			_, err := f.WaitRoute(testContext(t), one)
			must(t, err)
			failed := s.breaks(call, 2)
			s.config.Peers[0].Announce = []Announcement{{Prefix: two}}
			s.apply()
			<-failed
			<-failed
			_, err = f.WaitRoute(testContext(t), two)
			must(t, err)
			must(t, f.WaitNoRoute(testContext(t), one))
			s.untilPeer("as64501", "is told one", func(p PeerStatus) bool { return familyOf(p, IPv4).Announced == 1 })
			must(t, s.do(testContext(t), func(m *manager) {
				if r := &m.retries; r.policies || len(r.untold) > 0 {
					t.Errorf("%+v", r)
				}
			}))
		})
	}
}

// TestSpeaker_policiesThatFailAndAreTakenBack fails to change the policies, and goes back
// to those before: whether the library has them is not known, and it is asked again.
func TestSpeaker_policiesThatFailAndAreTakenBack(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	s.peer(64501, 0, func(p *Peer) { p.Announce = []Announcement{{Prefix: prefix("203.0.113.0/25")}} })
	s.apply()
	before := s.config
	failed := s.breaks("set policies", 2)
	s.config.Peers = append([]Peer(nil), before.Peers...)
	s.config.Peers[0].Announce = nil
	s.apply()
	<-failed
	s.set(before)
	<-failed
}

// TestSpeaker_addsAPeerThatFailed shows that a peer that could not be had is had later.
func TestSpeaker_addsAPeerThatFailed(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	s.apply()
	s.peer(64999, NoSlot, func(p *Peer) { p.Shutdown = "so that there is one" })
	s.apply()
	failed := s.breaks("add peer", 2)
	a := s.peer(64501, 0, nil)
	s.apply()
	if p := peerOf(s.Status(), "as64501"); !strings.Contains(p.Trouble, errBroken.Error()) {
		t.Errorf("%+v", p)
	}
	<-failed
	<-failed
	s.farRetrying(a, bgptest.Options{})
}

// farRetrying is site.far for a peer that may not be there yet.
func (s *site) farRetrying(address netip.Addr, o bgptest.Options) *bgptest.Peer {
	s.t.Helper()
	o.AS, o.ID = 64501, netip.MustParseAddr("10.9.9.9")
	for {
		p, err := bgptest.Connect(testContext(s.t), bgptest.Socket{}.Dial(address, s.at), o)
		if err != nil {
			if testContext(s.t).Err() != nil {
				s.t.Fatal(err)
			}
			continue
		}
		s.t.Cleanup(p.Close)
		s.established("as64501")
		return p
	}
}

// TestSpeaker_removesAPeerThatFailed shows that a peer goes though a call fails: that
// for its password, whose peer is removed all the same, and the removal itself.
func TestSpeaker_removesAPeerThatFailed(t *testing.T) {
	t.Parallel()
	for call, password := range map[string]Secret{"update peer": "sesame", "delete peer": ""} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			s := pooled(t)
			a := s.peer(64501, 0, func(p *Peer) { p.Password = password })
			s.apply()
			with := s.config
			var f *bgptest.Peer
			if password == "" {
				f = s.far(a, bgptest.Options{})
			}
			failed := s.breaks(call, 1)
			s.set(Config{})
			<-failed
			has := func() (found bool) {
				must(t, s.do(testContext(t), func(m *manager) { found = m.lib.has(a) }))
				return found
			}
			if got := has(); got != (password == "") {
				t.Errorf("it is there: %v", got)
			}
			if f != nil {
				must(t, f.WaitClosed(testContext(t)))
			}
			for has() {
				<-time.After(time.Millisecond)
			}
			// Nothing is in its way when it comes back.
			s.set(with)
			if p := peerOf(s.Status(), "as64501"); p.Trouble != "" || !has() {
				t.Errorf("%+v", p)
			}
		})
	}
}

// TestSpeaker_addsWhatIsLeft wants a peer again that could not be removed: it is removed
// first.
func TestSpeaker_addsWhatIsLeft(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, nil)
	s.apply()
	f := s.far(a, bgptest.Options{})
	with := s.config
	failed := s.breaks("delete peer", 1)
	s.set(Config{})
	<-failed
	s.set(with)
	if p := peerOf(s.Status(), "as64501"); strings.Contains(p.Trouble, "add peer") {
		t.Errorf("%+v", p)
	}
	must(t, f.WaitClosed(testContext(t)))
	s.far(a, bgptest.Options{})
}

// TestB_POL_10_OverTheLimitUntilItEnds shows that a session is ended though it fails at
// first, and though the library does nothing when it is asked.
func TestB_POL_10_OverTheLimitUntilItEnds(t *testing.T) {
	t.Parallel()
	for name, subcode := range map[string]uint8{"fails": 1, "nothing happens": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pooled(t)
			a := s.peer(64501, 0, func(p *Peer) { p.MaxPrefixes = 1 })
			s.apply()
			f := s.far(a, bgptest.Options{})
			failed := s.breaks("update peer", 1)
			must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24"), prefix("198.41.1.0/24")))
			<-failed
			must(t, s.do(testContext(t), func(m *manager) {
				x := &s.sessions
				x.mu.Lock()
				peer := x.by[a]
				if peer.overAgain.IsZero() || !peer.blockedTo.IsZero() || !peer.established {
					t.Errorf("blocked to %v, again at %v, established %v", peer.blockedTo, peer.overAgain, peer.established)
				}
				if subcode == 4 {
					// As if it had been done.
					peer.blockedTo = time.Now().Add(RestartAfterMax)
				}
				x.mu.Unlock()
				m.bound(time.Now())
				m.bound(time.Now().Add(overPause))
			}))
			n, err := f.WaitNotification(testContext(t))
			if err != nil || n.Code != 6 || n.Subcode != subcode {
				t.Errorf("%+v %v", n, err)
			}
			p := s.untilPeer("as64501", "is ended", func(p PeerStatus) bool { return p.State != Established })
			if !strings.Contains(p.Trouble, "tried again at") {
				t.Errorf("%+v", p)
			}
		})
	}
}

// TestManager_restsThoughBlockedToIsOver shows that the manager has nothing to do because
// of a session that stands although it was to end: only the next attempt is due.
func TestManager_restsThoughBlockedToIsOver(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	now := time.Now()
	b.peer.begin(b.established(now))
	b.peer.fresh = false
	b.m.lib = new(library)
	b.peer.blockedTo = now.Add(-time.Second)
	if rest := b.m.rest(now); rest < time.Minute {
		t.Errorf("rests for %v", rest)
	}
	b.peer.overAgain = now.Add(overPause)
	if rest := b.m.rest(now); rest != overPause {
		t.Errorf("rests for %v until the next attempt", rest)
	}
}
