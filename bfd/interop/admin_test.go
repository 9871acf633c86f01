package interop

import (
	"fmt"
	"testing"

	"github.com/multihomed/multihomed/bfd"
)

// signaledAdminDown waits until every session left Up because the peer said that it
// is administratively down, and checks that this is not called a failure.
func (s *scene) signaledAdminDown(t *testing.T, e *end) {
	t.Helper()
	eventually(t, "all sessions left Up", s.each(func(p path) error {
		_, err := e.leftUp(p)
		return err
	}))
	for _, p := range s.paths {
		event, err := e.leftUp(p)
		must(t, err)
		if event.New != bfd.Down || event.Diag != bfd.DiagNeighborSignaledDown || event.RemoteState != bfd.AdminDown || event.Failure() {
			t.Errorf("%s: %s, remote %s, failure %t; want news of AdminDown", p.name, event, event.RemoteState, event.Failure())
		}
		if st := e.status(p); st.Failures != 0 {
			t.Errorf("%s: %d failures counted", p.name, st.Failures)
		}
	}
}

// TestBFD_GA_08_BFD_RX_22_InteropPeerAdminDown: FRR's `shutdown` of a peer takes the
// session down and is no failure.
func TestBFD_GA_08_BFD_RX_22_InteropPeerAdminDown(t *testing.T) {
	t.Parallel()
	s := play(t, newFRR(t), theirs)
	e := s.speak(t, nil)
	s.comesUp(t, e)
	e.forget()
	s.daemon.disable(t, true)
	s.signaledAdminDown(t, e)
	for _, p := range s.paths {
		// FRR leaves its diagnostic as it was; the state is what counts.
		if st := e.status(p); st.State != bfd.Down || st.RemoteState != bfd.AdminDown {
			t.Errorf("%s: %s, remote %s", p.name, st.State, st.RemoteState)
		}
	}
	s.daemon.disable(t, false)
	s.comesUp(t, e)
}

// TestInteropBIRDDisabled: BIRD tells nobody that its protocol was disabled. What
// cannot be told from a dead peer is a failure.
func TestInteropBIRDDisabled(t *testing.T) {
	t.Parallel()
	s := play(t, newBird(t), theirs)
	e := s.speak(t, nil)
	s.comesUp(t, e)
	e.forget()
	s.daemon.disable(t, true)
	s.expired(t, e)
	s.daemon.disable(t, false)
	s.comesUp(t, e)
}

// TestBFD_AD_01_InteropDisable: Disable tells the peer, which stays down, and Enable
// brings the session back.
func TestBFD_AD_01_InteropDisable(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		e := s.speak(t, nil)
		s.comesUp(t, e)
		e.forget()
		for _, p := range s.paths {
			e.sessions[p.far].Disable()
		}
		s.peerSays(t, bfd.Down)
		s.peerBlames(t, signaledAdminDown)
		eventually(t, "the sessions report it", s.each(func(p path) error {
			event, err := e.leftUp(p)
			if err != nil {
				return err
			}
			if st := e.status(p); st.State != bfd.AdminDown || event.New != bfd.AdminDown || event.Failure() || st.Failures != 0 {
				return fmt.Errorf("%s, %s, %d failures", st.State, event, st.Failures)
			}
			return nil
		}))
		for _, p := range s.paths {
			e.sessions[p.far].Enable()
		}
		s.comesUp(t, e)
	})
}
