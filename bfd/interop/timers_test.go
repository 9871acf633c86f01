package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bfd"
)

// TestBFD_TM_11_BFD_TM_18_InteropRenegotiation: either end changes its intervals and
// multiplier, up and down, while the sessions are up. Both ends follow, nobody
// leaves Up.
func TestBFD_TM_11_BFD_TM_18_InteropRenegotiation(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		e := s.speak(t, nil)
		s.comesUp(t, e)
		e.forget()
		change := unchanged
		for _, step := range []struct {
			interval   time.Duration
			multiplier int
		}{{100 * time.Millisecond, 15}, {30 * time.Millisecond, 50}} {
			change = func(c *bfd.Config) {
				c.DesiredMinTx, c.RequiredMinRx, c.Multiplier = step.interval, step.interval, step.multiplier
			}
			e.update(t, s, change)
			s.agree(t, e, change, theirs)
		}
		with := theirs
		for _, with = range []terms{
			{tx: 150 * time.Millisecond, rx: 200 * time.Millisecond, multiplier: 9},
			{tx: 40 * time.Millisecond, rx: 20 * time.Millisecond, multiplier: 35},
		} {
			s.daemon.apply(t, with)
			s.agree(t, e, change, with)
		}
		s.settled(t, e)
		s.answered(t)
		s.steady(t, e)
		s.agree(t, e, change, with)
	})
}

// settled waits until no Poll Sequence runs, and packets come by the new intervals.
func (s *scene) settled(t *testing.T, e *end) {
	t.Helper()
	before := map[string]uint64{}
	for _, p := range s.paths {
		before[p.name] = e.status(p).Received
	}
	eventually(t, "polls end and packets go on", s.each(func(p path) error {
		st := e.status(p)
		if st.Polling || st.Received < before[p.name]+10 {
			return fmt.Errorf("polling %t, received %d, was %d", st.Polling, st.Received, before[p.name])
		}
		return nil
	}))
}

// answered waits until BIRD stops to set P, which it does when we answered; FRR does
// not say what it sends.
func (s *scene) answered(t *testing.T) {
	t.Helper()
	if _, tells := s.daemon.(*bird); !tells {
		return
	}
	eventually(t, "the polls of the peer end", func() error {
		last := map[string]string{}
		for line := range strings.Lines(s.process.said(t)) {
			if _, sent, ok := strings.Cut(line, "Sending CTL to "); ok {
				to, content, _ := strings.Cut(strings.TrimSpace(sent), " ")
				last[to] = content
			}
		}
		return s.each(func(p path) error {
			if got := last[p.us.String()]; got != "[Up]" {
				return fmt.Errorf("it sent %s last", got)
			}
			return nil
		})()
	})
}
