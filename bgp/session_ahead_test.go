package bgp

import (
	"testing"
	"time"
)

// TestB_GR_06_PathsAheadOfStates tells of End-of-RIB before the session is known to
// stand: the two come in streams of their own.
func TestB_GR_06_PathsAheadOfStates(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	begun := time.Now()
	e := b.established(begun)
	b.hears(e)
	for _, f := range Families {
		if b.noteEndOfRIB(e.address, f) {
			t.Errorf("%v is new to a session that is not known", f)
		}
	}
	b.noteState(e)
	for _, x := range b.now().Families {
		if !x.Synced || x.Retained {
			t.Errorf("%+v", x)
		}
	}
	if b.m.settle(begun); !b.Status().Synced {
		t.Error("the peer has sent its table, and is waited for")
	}
	// The next one begins with nothing, and so does one of which paths are heard that
	// are of the one after it.
	lost := &peerState{address: e.address, state: Idle, at: begun.Add(time.Minute), ending: endGraceful}
	second, third := b.established(begun.Add(2*time.Minute)), b.established(begun.Add(4*time.Minute))
	b.hears(lost)
	b.noteState(lost)
	b.hears(second)
	again := *lost
	again.at = begun.Add(3 * time.Minute)
	b.hears(&again)
	b.hears(third)
	b.noteEndOfRIB(e.address, IPv4)
	b.noteState(second)
	for _, x := range b.now().Families {
		if x.Synced || !x.Retained {
			t.Errorf("of the second: %+v", x)
		}
	}
	b.noteState(&again)
	b.noteState(third)
	for _, x := range b.now().Families {
		if x.Synced != (x.Family == IPv4) || x.Retained != (x.Family == IPv6) {
			t.Errorf("of the third: %+v", x)
		}
	}
}

// TestB_GR_06_WhoRestartsIsNotWaitedFor has a peer that restarts at the same time, and
// sends its table when it has heard of ours.
func TestB_GR_06_WhoRestartsIsNotWaitedFor(t *testing.T) {
	s := newSite(t)
	s.config.Restarting = true
	a := s.peer(64501, 0, restartable)
	b := s.peer(64502, 1, restartable)
	s.apply()
	o := restarter(time.Minute, true, wireFamilies...)
	o.GracefulRestart.Restarting = true
	s.far(b, o)
	fa := s.far(a, restarter(time.Minute, true, wireFamilies...))
	must(t, fa.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	if b, ok := s.take(make([]Route, 0, 8)); ok {
		t.Fatalf("told %+v", b)
	}
	must(t, fa.EndOfRIB(wireFamilies...))
	batch, err := s.Next(testContext(t), make([]Route, 0, 8))
	must(t, err)
	if !batch.Synced || len(batch.Routes) != 1 {
		t.Errorf("%+v", batch)
	}
	if p := peerOf(s.Status(), "as64502"); familyOf(p, IPv4).Synced {
		t.Errorf("%+v", p)
	}
}
