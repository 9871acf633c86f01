package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bfd"
)

// negotiated is what both ends make of the intervals.
type negotiated struct {
	// TheirInterval and TheirTimeout are by the words of the peer.
	OurInterval, TheirInterval, OurTimeout, TheirTimeout time.Duration
}

// expected says what RFC 5880 sections 6.8.2 to 6.8.4 make of them.
func expected(us bfd.Config, far terms) negotiated {
	return negotiated{
		OurInterval:   max(us.DesiredMinTx, far.rx),
		TheirInterval: max(far.tx, us.RequiredMinRx),
		OurTimeout:    time.Duration(far.multiplier) * max(us.RequiredMinRx, far.tx),
		TheirTimeout:  time.Duration(us.Multiplier) * max(far.rx, us.DesiredMinTx),
	}
}

// agree waits until both ends of every session show what the RFC expects.
func (s *scene) agree(t *testing.T, e *end, change func(*bfd.Config), far terms) {
	t.Helper()
	eventually(t, "both ends show the negotiated intervals", func() error {
		views, err := s.daemon.views()
		if err != nil {
			return err
		}
		return s.each(func(p path) error {
			us := ours(p)
			change(&us)
			st, v := e.status(p), views[p.us]
			got := negotiated{st.TxInterval, v.interval, st.DetectionTime, v.timeout}
			if diff := cmp.Diff(expected(us, far), got); diff != "" {
				return fmt.Errorf("-RFC +here:\n%s", diff)
			}
			if rx := max(us.RequiredMinRx, far.tx); st.RxInterval != rx || st.RemoteMultiplier != far.multiplier {
				return fmt.Errorf("rx interval %s, want %s; remote multiplier %d, want %d", st.RxInterval, rx, st.RemoteMultiplier, far.multiplier)
			}
			return nil
		})()
	})
}

func unchanged(*bfd.Config) {}

// TestBFD_TM_08_InteropComesUp: sessions of every kind come up, once, without a
// problem, and both ends compute the same times.
func TestBFD_TM_08_InteropComesUp(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		e := s.speak(t, nil)
		s.comesUp(t, e)
		s.agree(t, e, unchanged, theirs)
		for _, p := range s.paths {
			st := e.status(p)
			if st.Ups != 1 || st.Failures != 0 || st.Problem != "" || st.Diag != bfd.DiagNone || st.RemoteDiag != bfd.DiagNone {
				t.Errorf("%s: %d times up, %d failures, problem %q, diag %s, remote diag %s",
					p.name, st.Ups, st.Failures, st.Problem, st.Diag, st.RemoteDiag)
			}
			if st.LocalDiscriminator == 0 || st.RemoteDiscriminator == 0 || st.LocalDiscriminator == st.RemoteDiscriminator {
				t.Errorf("%s: discriminators %d and %d", p.name, st.LocalDiscriminator, st.RemoteDiscriminator)
			}
		}
	})
}
