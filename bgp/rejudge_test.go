package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// TestRejudge_oneAtATime asks for paths to be judged anew while they are: what came
// meanwhile stays newer than the snapshot until the first look is over, and the second
// follows.
func TestRejudge_oneAtATime(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.hears(b.established(time.Now()))
	address, x := b.peer.peer.Address, &b.tables
	d, first := x.judgeAnew(address, []Family{IPv4})
	if d != b.feed || first == nil {
		t.Fatal("no look was begun")
	}
	new4, new6 := prefix("198.41.0.0/24"), prefix("2600::/32")
	touch := func(p netip.Prefix) {
		if m := d.fams[FamilyOf(p.Addr())].touched; m != nil {
			m[p] = struct{}{}
		}
	}
	touch(new4)
	for range 2 {
		if _, second := x.judgeAnew(address, Families[:]); second != nil {
			t.Fatal("a second look was begun beside the first")
		}
	}
	touch(new6)
	if _, ok := d.fams[IPv4].touched[new4]; !ok || d.fams[IPv6].touched != nil {
		t.Errorf("touched: %v", d.fams)
	}
	if !x.judgePiece(d, first, nil) {
		t.Error("the first look does not count")
	}
	again, current := x.judged(d, first)
	if !current || !slices.Equal(again, Families[:]) || d.fams[IPv4].touched != nil {
		t.Errorf("after it %v, %v", again, current)
	}
	// A look of a session that is lost is nothing to the next session.
	_, old := x.judgeAnew(address, Families[:])
	b.hears(&peerState{address: address, state: Idle, at: time.Now()})
	b.hears(b.established(time.Now()))
	_, fresh := x.judgeAnew(address, Families[:])
	touch(new4)
	if again, current := x.judged(d, old); current || again != nil || x.judgePiece(d, old, nil) {
		t.Error("the look of a session that was lost still counts")
	}
	if _, ok := d.fams[IPv4].touched[new4]; !ok || d.judging != fresh {
		t.Error("it ended the one that is under way")
	}
}

// TestRejudge_changesThatFollowEachOther changes what is accepted while paths are judged
// anew, and shows that the last change counts.
func TestRejudge_changesThatFollowEachOther(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, func(p *Peer) { p.Import.Mode, p.MaxPrefixes = ImportDefault, 1000 })
	s.apply()
	f := s.far(a, bgptest.Options{})
	var many []netip.Prefix
	for i := range 200 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 41, byte(i), 0}), 24))
	}
	must(t, f.Announce(hop(a, 64501), many...))
	s.untilPeer("as64501", "has sent all", func(p PeerStatus) bool { return familyOf(p, IPv4).Received == len(many) })
	for range 3 {
		for _, mode := range []ImportMode{ImportFull, ImportNone, ImportFull} {
			s.config.Peers[0].Import.Mode = mode
			s.apply()
		}
		s.untilPeer("as64501", "is accepted", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == len(many) })
		s.config.Peers[0].Import.Mode = ImportDefault
		s.apply()
		s.untilPeer("as64501", "is refused", func(p PeerStatus) bool { return familyOf(p, IPv4).Refused[NotAsked] == len(many) })
	}
	// What is asked for during a look is looked at after it.
	s.config.Peers[0].Import.Mode = ImportFull
	must(t, s.do(testContext(t), func(m *manager) {
		d, j := s.tables.judgeAnew(a, []Family{IPv4})
		if err := m.apply(s.config); err != nil || j == nil {
			t.Errorf("%v %v", j, err)
		}
		m.judged(d, j, nil)
	}))
	s.untilPeer("as64501", "is accepted", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == len(many) })
	s.config.Peers[0].Import.Mode = ImportDefault
	s.apply()
	s.untilPeer("as64501", "is refused", func(p PeerStatus) bool { return familyOf(p, IPv4).Refused[NotAsked] == len(many) })
	// A look that cannot be had is had later.
	failed := s.breaks("watch", 2)
	s.config.Peers[0].Import.Mode = ImportFull
	s.apply()
	<-failed
	<-failed
	s.untilPeer("as64501", "is accepted", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == len(many) })
}

// TestB_POL_28_RecordsThatAreTheSameAreNotLookedAt shows that paths are judged anew if
// records changed, and only then.
func TestB_POL_28_RecordsThatAreTheSameAreNotLookedAt(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, func(p *Peer) { p.Import.RejectInvalid = true })
	s.apply()
	f := s.far(a, bgptest.Options{})
	must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	s.untilPeer("as64501", "has sent one", func(p PeerStatus) bool { return familyOf(p, IPv4).Received == 1 })
	must(t, s.do(testContext(t), func(m *manager) {
		d := s.tables.peers[a]
		judging := func() bool {
			s.tables.mu.Lock()
			defer s.tables.mu.Unlock()
			return d.judging != nil
		}
		if m.validate(false); judging() {
			t.Error("nothing changed, and paths are judged anew")
		}
		if m.validate(true); !judging() {
			t.Error("records changed, and paths are not judged anew")
		}
	}))
}

// TestB_GR_09_KeptPathsOutliveAChange changes what is accepted while paths are kept: only
// what can be said of their prefixes counts.
func TestB_GR_09_KeptPathsOutliveAChange(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, restartable)
	s.apply()
	mine, theirs := prefix("198.41.0.0/24"), prefix("198.41.1.0/24")
	f := s.far(a, restarter(time.Minute, true, wireFamilies...))
	must(t, f.Announce(hop(a, 64501), mine, theirs, prefix("0.0.0.0/0")))
	r := s.routes()
	r.until("both are told", func(r *routes) bool { return len(r.known) == 2 })
	f.Cut()
	s.untilPeer("as64501", "is retained", func(p PeerStatus) bool { return familyOf(p, IPv4).Retained && familyOf(p, IPv4).Stale == 3 })
	kept := func(when string) {
		t.Helper()
		var x FamilyStatus
		s.untilPeer("as64501", when, func(p PeerStatus) bool {
			x = familyOf(p, IPv4)
			return x.Refused[OwnPrefix] == 1 && x.Accepted == 2
		})
		if !x.Retained || x.Stale != 3 || !x.Default.Accepted {
			t.Errorf("%s: %+v", when, x)
		}
	}
	// What became our own prefix goes. The rest stays, for changes that cannot be looked
	// at without attributes too.
	s.config.Own = append(slices.Clip(s.config.Own), mine)
	s.apply()
	r.until("one is left", func(r *routes) bool { return len(r.known) == 1 })
	kept("what is ours is refused")
	s.config.AllowOwn = true
	s.config.Peers[0].Import.AnyNextHop = true
	s.apply()
	kept("nothing more is known of it")
	if r.known[theirs] != Choice(0).With(0, First) {
		t.Errorf("%v", r.known)
	}
	s.config.Peers[0].Import.Mode = ImportDefault
	s.apply()
	r.until("what is not asked for goes", func(r *routes) bool { return len(r.known) == 0 })
}

// TestRejudge_aPanicLeavesNoLock shows that a handler that panics does not take the
// tables with it: whoever ends the Speaker needs them.
func TestRejudge_aPanicLeavesNoLock(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.hears(b.established(time.Now()))
	d, j := b.tables.judgeAnew(b.peer.peer.Address, Families[:])
	b.tables.ribs[IPv4] = nil
	nlri, err := bgp.NewIPAddrPrefix(prefix("198.41.0.0/24"))
	must(t, err)
	func() {
		defer b.guard("judge paths once more")
		b.m.judgeSnapshot(d, j, []*apiutil.Path{{Family: IPv4.wire(), Nlri: nlri}})
	}()
	select {
	case err := <-b.fatal:
		if !strings.Contains(err.Error(), "judge paths once more: panic") {
			t.Error(err)
		}
	default:
		t.Error("nobody knows of the panic")
	}
	if !b.tables.mu.TryLock() {
		t.Fatal("the tables are locked")
	}
	b.tables.mu.Unlock()
}
