package engine

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/uplink"
)

var peerA = netip.MustParseAddr("203.0.113.1")

// left is an event by which a session leaves Up for Down.
func left(d, remoteDiag bfd.Diag, remote bfd.State) bfd.Event {
	return bfd.Event{Peer: peerA, Old: bfd.Up, New: bfd.Down, Diag: d, RemoteState: remote, RemoteDiag: remoteDiag}
}

// after is what is known of a session with peerA that was up, after an event.
func after(e bfd.Event) heard {
	h := heard{phase: phaseUp, peer: peerA}
	h.take(e)
	return h
}

// TestBFD_GA_03_BFD_GA_04_BFD_GA_06_BFD_GA_08_BFD_GA_17_Evidence: what every phase of a
// session means, with other evidence and without, required and not, before the start
// limit and after it.
func TestBFD_GA_03_BFD_GA_04_BFD_GA_06_BFD_GA_08_BFD_GA_17_Evidence(t *testing.T) {
	const u, d, x = uplink.Up, uplink.Down, uplink.Unknown
	remote := left(bfd.DiagNeighborSignaledDown, bfd.DiagAdminDown, bfd.AdminDown)
	here := bfd.Event{Peer: peerA, Old: bfd.Up, New: bfd.AdminDown, Diag: bfd.DiagAdminDown, RemoteState: bfd.Up}
	expired := left(bfd.DiagTimeExpired, 0, bfd.Up)
	// heir is a new session after one that ended with an event.
	heir := func(e bfd.Event, h heard) heard {
		h.peer = peerA
		h.inherit(after(e))
		return h
	}
	tests := []struct {
		name string
		h    heard
		// want is by rules: neither, other evidence, required, both; the last two
		// within the start limit and after it.
		neither, other, requiredEarly, requiredLate, bothEarly, bothLate uplink.Opinion
		// words are those without rules.
		words string
	}{
		{"not open", heard{closed: true, trouble: "not opened: no gateway"}, x, x, x, d, x, d, "not opened: no gateway"},
		{"the speaker died", heard{closed: true, dead: true, trouble: "started again"}, x, x, x, x, x, x, "started again"},
		{"never up", heard{phase: phaseNew, trouble: "nothing heard"}, x, x, x, d, x, d, "not up yet: nothing heard"},
		{"up", heard{phase: phaseUp}, u, u, u, u, u, u, "up with 203.0.113.1"},
		{
			"up, negotiated", heard{phase: phaseUp, detection: 150 * time.Millisecond}, u, u, u, u, u, u,
			"up with 203.0.113.1, silence is noticed after 150ms",
		},
		{"expired", after(left(bfd.DiagTimeExpired, 0, bfd.Up)), d, d, d, d, d, d, "nothing heard from 203.0.113.1 any more (detection time expired)"},
		{"echo", after(left(bfd.DiagEchoFailed, 0, bfd.Up)), d, d, d, d, d, d, "203.0.113.1 does not send our echoes back (echo failed)"},
		{
			"signaled", after(left(bfd.DiagNeighborSignaledDown, bfd.DiagTimeExpired, bfd.Down)), d, d, d, d, d, d,
			"203.0.113.1 says that it is down (neighbour signaled down); its reason: detection time expired",
		},
		{
			"signaled for a reason that nobody knows", after(left(bfd.DiagNeighborSignaledDown, 31, bfd.Down)), d, d, d, d, d, d,
			"203.0.113.1 says that it is down (neighbour signaled down); its reason: unknown(31)",
		},
		{"path down", after(left(bfd.DiagPathDown, 0, bfd.Up)), d, d, d, d, d, d, "failed: path down"},
		{
			"the peer is administratively down", after(remote), d, x, d, d, d, d,
			"203.0.113.1 says that it is administratively down, and nothing else tells whether the way works",
		},
		{
			"we are administratively down", after(here), d, x, d, d, d, d,
			"administratively down here, and nothing else tells whether the way works",
		},
		{
			"opened anew after a failure", heir(expired, heard{trouble: "nothing heard"}), d, d, d, d, d, d,
			"nothing heard from 203.0.113.1 any more (detection time expired); opened anew since then and not up yet: nothing heard",
		},
		{
			"not open any more after a failure", heir(expired, heard{closed: true, trouble: "no keys"}), d, d, d, d, d, d,
			"nothing heard from 203.0.113.1 any more (detection time expired); since then: no keys",
		},
		{
			"the speaker died after a failure", heir(expired, heard{closed: true, dead: true, trouble: "started again"}), d, d, d, d, d, d,
			"nothing heard from 203.0.113.1 any more (detection time expired); since then: started again",
		},
		{
			"opened anew after the peer's will", heir(remote, heard{trouble: "nothing heard"}), d, x, d, d, d, d,
			"203.0.113.1 says that it is administratively down, and nothing else tells whether the way works; opened anew since then and not up yet: nothing heard",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.h.peer = peerA
			for _, row := range []struct {
				name  string
				rules bfdRules
				now   time.Time
				want  uplink.Opinion
			}{
				{"neither", bfdRules{}, epoch.Add(time.Hour), tt.neither},
				{"other evidence", bfdRules{otherLiveness: true}, epoch.Add(time.Hour), tt.other},
				{"required, early", bfdRules{require: true}, epoch.Add(-time.Nanosecond), tt.requiredEarly},
				{"required, late", bfdRules{require: true}, epoch, tt.requiredLate},
				{"both, early", bfdRules{require: true, otherLiveness: true}, epoch.Add(-time.Nanosecond), tt.bothEarly},
				{"both, late", bfdRules{require: true, otherLiveness: true}, epoch, tt.bothLate},
			} {
				got, words := bfdEvidence(row.rules, tt.h, row.now, epoch)
				if got != row.want {
					t.Errorf("%s: %s (%s), want %s", row.name, got, words, row.want)
				}
				if words == "" || row.name == "neither" && words != tt.words {
					t.Errorf("%s: %q, want %q", row.name, words, tt.words)
				}
			}
		})
	}
}

// TestBFD_GA_05_BFD_GA_08_Phases: which events are failures, and what ends one.
func TestBFD_GA_05_BFD_GA_08_Phases(t *testing.T) {
	to := func(before, after bfd.State) bfd.Event {
		return bfd.Event{Old: before, New: after, RemoteState: bfd.Up}
	}
	expired := left(bfd.DiagTimeExpired, 0, bfd.Up)
	admin := left(bfd.DiagNeighborSignaledDown, bfd.DiagAdminDown, bfd.AdminDown)
	tests := []struct {
		name   string
		events []bfd.Event
		want   phase
	}{
		{"nothing", nil, phaseNew},
		{"on its way up", []bfd.Event{to(bfd.Down, bfd.Init)}, phaseNew},
		{"on its way up and back: no failure", []bfd.Event{to(bfd.Down, bfd.Init), to(bfd.Init, bfd.Down)}, phaseNew},
		{"up", []bfd.Event{to(bfd.Down, bfd.Init), to(bfd.Init, bfd.Up)}, phaseUp},
		{"up without init", []bfd.Event{to(bfd.Down, bfd.Up)}, phaseUp},
		{"failed", []bfd.Event{to(bfd.Down, bfd.Up), expired}, phaseFailed},
		{"failed, on its way up", []bfd.Event{to(bfd.Down, bfd.Up), expired, to(bfd.Down, bfd.Init), to(bfd.Init, bfd.Down)}, phaseFailed},
		{"failed and up", []bfd.Event{to(bfd.Down, bfd.Up), expired, to(bfd.Down, bfd.Up)}, phaseUp},
		{"the peer's will", []bfd.Event{to(bfd.Down, bfd.Up), admin}, phaseAdmin},
		{"the peer's will, on its way up", []bfd.Event{to(bfd.Down, bfd.Up), admin, to(bfd.Down, bfd.Init), to(bfd.Init, bfd.Down)}, phaseAdmin},
		{"the peer's will and up", []bfd.Event{to(bfd.Down, bfd.Up), admin, to(bfd.Down, bfd.Up)}, phaseUp},
		{"our will", []bfd.Event{to(bfd.Down, bfd.Up), to(bfd.Up, bfd.AdminDown)}, phaseAdmin},
		{"our will, and ours again", []bfd.Event{to(bfd.Down, bfd.Up), to(bfd.Up, bfd.AdminDown), to(bfd.AdminDown, bfd.Down)}, phaseAdmin},
		{"our will after a failure", []bfd.Event{to(bfd.Down, bfd.Up), expired, to(bfd.Down, bfd.AdminDown)}, phaseFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := heard{phase: phaseNew}
			for _, e := range tt.events {
				h.take(e)
			}
			if h.phase != tt.want {
				t.Errorf("phase %d, want %d", h.phase, tt.want)
			}
		})
	}
}

// TestHeard_trouble: why a session is not up is told as exactly as it is known, and
// AdminDown, which is the zero value, is believed only of a peer that was heard.
func TestHeard_trouble(t *testing.T) {
	tests := []struct {
		want string
		s    bfd.Status
	}{
		{"nothing heard from 203.0.113.1", bfd.Status{}},
		{"203.0.113.1 has not sent an echo back", bfd.Status{Config: bfd.Config{Mode: bfd.Echo}}},
		{"UDP port 3784 is taken", bfd.Status{Problem: "UDP port 3784 is taken", Received: 1}},
		{"packets from 203.0.113.1 are not taken: auth-digest (2), ttl (1)", bfd.Status{Dropped: map[bfd.Drop]uint64{bfd.DropTTL: 1, bfd.DropAuthDigest: 2}}},
		{"203.0.113.1 says that it is administratively down", bfd.Status{Received: 1}},
		{"203.0.113.1 says that it is down", bfd.Status{Received: 1, RemoteState: bfd.Down}},
	}
	for _, tt := range tests {
		if got := troubleOf(peerA, tt.s); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	h := after(left(bfd.DiagTimeExpired, 0, bfd.Up))
	if h.read(bfd.Status{}); h.phase != phaseFailed {
		t.Error("a peer that was not heard is taken for administratively down")
	}
	if h.read(bfd.Status{Received: 9}); h.phase != phaseAdmin {
		t.Error("a peer that says that it is administratively down is taken for failed")
	}
	h = heard{phase: phaseUp}
	if h.read(bfd.Status{Received: 9}); h.phase != phaseUp {
		t.Error("only events end what is up")
	}
}

// TestSessions_newsIsAsked: after an event a session is asked at once what it says beside
// it, however long it was quiet.
func TestSessions_newsIsAsked(t *testing.T) {
	b := newBench(t, withBFD, hostOf(t, hostA, hostB))
	b.turn()
	b.pass(time.Hour)
	b.session().notices("up", b.now)
	b.turn()
	if e, _ := b.bfd(); e.Reason != "up with 203.0.113.1, silence is noticed after 150ms" {
		t.Errorf("the board says %s", e.Reason)
	}
	b.session().say(func(s *bfd.Status) { s.DetectionTime = time.Second })
	b.pass(unsettledPace)
	if e, _ := b.bfd(); e.Reason != "up with 203.0.113.1, silence is noticed after 1s" {
		t.Errorf("after the negotiation the board says %s", e.Reason)
	}
}

// TestHeard_inherit: what is inherited is a failure or somebody's will, of the same peer,
// and only until the session is up.
func TestHeard_inherit(t *testing.T) {
	admin := left(bfd.DiagNeighborSignaledDown, bfd.DiagAdminDown, bfd.AdminDown)
	failed := after(left(bfd.DiagTimeExpired, 0, bfd.Up))
	tests := []struct {
		name string
		peer netip.Addr
		old  heard
		want phase
	}{
		{"failed", peerA, failed, phaseFailed},
		{"administratively down", peerA, after(admin), phaseAdmin},
		{"never up", peerA, heard{peer: peerA}, phaseNew},
		{"up", peerA, heard{phase: phaseUp, peer: peerA}, phaseNew},
		{"another peer", netip.MustParseAddr("203.0.113.7"), failed, phaseNew},
		{"no peer is known at present", netip.Addr{}, failed, phaseFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := heard{peer: tt.peer}
			if h.inherit(tt.old); h.phase != tt.want || h.inherited != (tt.want != phaseNew) || h.cause != tt.old.cause && h.inherited {
				t.Fatalf("got %+v", h)
			}
			again := heard{peer: peerA}
			if again.inherit(h); h.inherited && again.phase != tt.want {
				t.Errorf("the next but one: %+v", again)
			}
			h.take(bfd.Event{Old: bfd.Down, New: bfd.Init})
			h.take(bfd.Event{Old: bfd.Init, New: bfd.Down})
			if h.phase != tt.want {
				t.Errorf("on its way up: %+v", h)
			}
			if h.take(bfd.Event{Old: bfd.Init, New: bfd.Up}); h.phase != phaseUp || h.inherited {
				t.Errorf("up: %+v", h)
			}
		})
	}
}

// TestStartLimit: ten seconds, and longer where four intervals are.
func TestStartLimit(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		0: 10 * time.Second, 50 * time.Millisecond: 10 * time.Second, 2500 * time.Millisecond: 10 * time.Second, 10 * time.Second: 40 * time.Second,
	} {
		if got := startLimit(interval); got != want {
			t.Errorf("%s: %s, want %s", interval, got, want)
		}
	}
}

// TestSession_staleWords: what a session said before an event does not undo it.
func TestSession_staleWords(t *testing.T) {
	s := &session{board: NewBoard(), news: new(atomic.Bool), listeners: []listener{{way: wayA}}, heard: heard{phase: phaseFailed, peer: peerA}}
	s.read(func() bfd.Status {
		st := bfd.Status{Received: 9} // Administratively down.
		s.hear(bfd.Event{Old: bfd.Down, New: bfd.Up, At: epoch})
		s.hear(left(bfd.DiagTimeExpired, 0, bfd.Up))
		return st
	}, epoch)
	if e := s.board.Snapshot()[uplink.Source{Way: wayA, Kind: uplink.KindBFD}]; e.Opinion != uplink.Down || s.heard.phase != phaseFailed {
		t.Errorf("the board says %s: %s", e.Opinion, e.Reason)
	}
}
