package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bfd"
)

// TestBFD_ST_04_InteropPassive: either end may wait for the other. That nothing was
// sent before is seen by what the other end received.
func TestBFD_ST_04_InteropPassive(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		t.Run("ours", func(t *testing.T) {
			t.Parallel()
			s := build(t)
			s.daemon = make(t)
			e := s.speak(t, func(c *bfd.Config) { c.Passive = true })
			quiet(t, s, e)
			s.launch(t, theirs)
			s.comesUp(t, e)
			s.agree(t, e, func(c *bfd.Config) { c.Passive = true }, theirs)
		})
		t.Run("theirs", func(t *testing.T) {
			t.Parallel()
			with := theirs
			with.passive = true
			s := play(t, make(t), with)
			e := s.speak(t, nil)
			s.comesUp(t, e)
			s.agree(t, e, unchanged, with)
		})
		t.Run("both", func(t *testing.T) {
			t.Parallel()
			with := theirs
			with.passive = true
			s := play(t, make(t), with)
			e := s.speak(t, func(c *bfd.Config) { c.Passive = true })
			quiet(t, s, e)
			for _, p := range s.paths {
				if st := e.status(p); st.Received != 0 {
					t.Errorf("%s: %d packets of a passive peer", p.name, st.Received)
				}
			}
			e.update(t, s, func(c *bfd.Config) { c.Passive = false })
			s.comesUp(t, e)
		})
	})
}

// quiet waits longer than an active end would take to send its first packets, and
// fails the test if ours has sent any.
func quiet(t *testing.T, s *scene, e *end) {
	t.Helper()
	begin := time.Now()
	eventually(t, "some seconds pass", s.each(func(p path) error {
		if st := e.status(p); st.Sent != 0 || st.State != bfd.Down {
			t.Fatalf("%s: %d packets of a passive session, %s", p.name, st.Sent, st.State)
		}
		if passed := time.Since(begin); passed < 2500*time.Millisecond {
			return fmt.Errorf("%s so far", passed)
		}
		return nil
	}))
}
