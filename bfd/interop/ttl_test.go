package interop

import (
	"fmt"
	"testing"

	"github.com/multihomed/multihomed/bfd"
)

// TestBFD_MH_06_InteropMinTTL: a peer that is one hop further than allowed is not
// heard, whatever it says; allowed, it is.
func TestBFD_MH_06_InteropMinTTL(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		ttl := 255
		if _, odd := s.daemon.(*bird); odd {
			ttl = birdTTL
		}
		// require is for packets that were sent with ttl: a router costs one.
		require := func(least int) func(*bfd.Config) {
			return func(c *bfd.Config) {
				if c.Multihop {
					c.MinTTL = least
				}
			}
		}
		e := s.speak(t, require(ttl))
		eventually(t, "packets are dropped", s.each(func(p path) error {
			st := e.status(p)
			if p.multihop && st.Dropped[bfd.DropTTL] < 3 {
				return fmt.Errorf("%s, dropped %v", st.State, st.Dropped)
			}
			return nil
		}))
		for _, p := range s.paths {
			if st := e.status(p); p.multihop && (st.EverUp || st.State != bfd.Down || st.Received != 0) {
				t.Errorf("%s: %s, ever up %t, %d received", p.name, st.State, st.EverUp, st.Received)
			}
		}
		e.update(t, s, require(ttl-1))
		s.comesUp(t, e)
	})
}
