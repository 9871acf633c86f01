package interop

import (
	"fmt"
	"testing"

	"github.com/multihomed/multihomed/bfd"
)

// TestBFD_ST_02_InteropTheyHearNothing: what we send is lost, what the peer sends
// arrives. It expires (diag 1) and tells us, who go down for that (diag 3) and
// cannot come up before it hears us again.
func TestBFD_ST_02_InteropTheyHearNothing(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		e := s.speak(t, nil)
		s.comesUp(t, e)
		e.forget()
		nft(t, s.far, deaf)
		s.peerBlames(t, timedOut)
		eventually(t, "we are told", s.each(func(p path) error {
			event, err := e.leftUp(p)
			if err != nil {
				return err
			}
			if event.New != bfd.Down || event.Diag != bfd.DiagNeighborSignaledDown || !event.Failure() ||
				event.RemoteState != bfd.Down || event.RemoteDiag != bfd.DiagTimeExpired {
				t.Fatalf("%s: %s, remote %s, %s, failure %t", p.name, event, event.RemoteState, event.RemoteDiag, event.Failure())
			}
			return nil
		}))
		s.holdsBelowUp(t, e)
		nft(t, s.far)
		s.comesUp(t, e)
	})
}

// TestBFD_ST_02_BFD_TM_09_InteropWeHearNothing: what the peer sends is lost, what we
// send arrives. We expire (diag 1) and tell the peer, who goes down for that (diag
// 3), or should: FRR takes no packet without Your Discriminator while it is in Init
// or Up, and ours have none after a detection time of silence, as RFC 5880 section
// 6.8.1 demands. So it has to wait for its own detection time (diag 1).
//
// Packets are dropped where we would receive them: a filter on the output of the
// peer would show it errors, which no loss on the way does.
func TestBFD_ST_02_BFD_TM_09_InteropWeHearNothing(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		e := s.speak(t, nil)
		s.comesUp(t, e)
		e.forget()
		why, diag := signaledDown, bfd.DiagNeighborSignaledDown
		if _, odd := s.daemon.(*frr); odd {
			why, diag = timedOut, bfd.DiagTimeExpired
		}
		nft(t, s.us, deaf)
		s.expired(t, e)
		s.peerSays(t, bfd.Down, bfd.Init)
		s.peerBlames(t, why)
		nft(t, s.us)
		s.comesUp(t, e)
		for _, p := range s.paths {
			// Its first words after the failure. BIRD forgets the reason once it is in Init.
			left, err := e.leftUp(p)
			must(t, err)
			for _, event := range e.reported(p) {
				if event.At.After(left.At) && event.RemoteState == bfd.Down && event.RemoteDiag != diag {
					t.Errorf("%s: after the failure: %s, remote %s, %s", p.name, event, event.RemoteState, event.RemoteDiag)
				}
			}
		}
	})
}

// holdsBelowUp sees some more packets of every session arrive, none of which may
// bring it up.
func (s *scene) holdsBelowUp(t *testing.T, e *end) {
	t.Helper()
	before := map[string]uint64{}
	for _, p := range s.paths {
		before[p.name] = e.status(p).Received
	}
	eventually(t, "packets arrive", s.each(func(p path) error {
		st := e.status(p)
		if st.State == bfd.Up {
			t.Fatalf("%s: came up", p.name)
		}
		if st.Received < before[p.name]+3 {
			return fmt.Errorf("received %d", st.Received-before[p.name])
		}
		return nil
	}))
}
