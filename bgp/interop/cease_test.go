package interop

import (
	"fmt"
	"strings"
	"testing"

	"github.com/multihomed/multihomed/bgp"
)

// TestB_4271_17_B_POL_10_InteropTooManyOfTheirs: a peer that sends more than it may. The
// session ends with the words for it, and the peer knows why.
func TestB_4271_17_B_POL_10_InteropTooManyOfTheirs(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.announce = routes(theirPair, defaults, another) }), func(p *bgp.Peer) { p.MaxPrefixes = 2 })
		const words = "this side ended the session: the peer sent too many prefixes (Cease, Maximum Number of Prefixes Reached)"
		eventually(t, "the sessions are ended", s.each(func(p path) error {
			st := s.end.peer(p.name)
			if st.State == bgp.Established || st.LastError != words || !strings.HasPrefix(st.Trouble, words+"; it is tried again at ") {
				return fmt.Errorf("%+v", st)
			}
			return nil
		}))
		s.blames(t, "Maximum Number of Prefixes Reached")
		// With more room it is tried again at once.
		s.set(t, func(p *bgp.Peer) { p.MaxPrefixes = 10 })
		s.settled(t)
	})
}

// blames waits until the peer says by which Cease we ended the sessions.
func (s *scene) blames(t *testing.T, words string) {
	t.Helper()
	eventually(t, "the peer knows why", s.each(func(p path) error {
		var said string
		switch d := s.daemon.(type) {
		case *bird:
			out, err := d.show(p)
			if err != nil {
				return err
			}
			// BIRD forgets it when it tries again.
			said = after(out, "Last error:") + d.heard(p, s.process.said(t))
		case *frr:
			n, err := d.neighbour(p)
			if err != nil {
				return err
			}
			said = n.Notification + " " + n.Shutdown + " " + n.ErrorCode
		case *second:
			said = d.end.peer(p.name).LastError
		}
		if !strings.Contains(strings.ToLower(said), strings.ToLower(words)) {
			return fmt.Errorf("%s says %q, want %q", s.daemon.name(), said, words)
		}
		return nil
	}))
}

// heard are the lines of BIRD's log about what a session was told.
func (b *bird) heard(p path, log string) string {
	var found []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, birdName(p)+": Received: ") || strings.Contains(line, birdName(p)+": Error: ") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

// TestB_4271_17_InteropTooManyOfOurs: the peer takes less than we announce, and says
// so.
func TestB_4271_17_InteropTooManyOfOurs(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.limit = 1 }), func(p *bgp.Peer) {
			parts := []string{"193.0.0.0/22", "193.0.4.0/22"}
			if p.Families[0] == bgp.IPv6 {
				parts = []string{"2001:67c:2e8::/49", "2001:67c:2e8:8000::/49"}
			}
			for _, part := range parts {
				p.Announce = append(p.Announce, bgp.Announcement{Prefix: prefix(part)})
			}
		})
		eventually(t, "the peer ends the sessions", s.each(func(p path) error {
			if st := s.end.peer(p.name); st.Flaps == 0 || !strings.HasPrefix(st.LastError, "the peer ended the session: Cease, Maximum Number of Prefixes Reached") {
				return fmt.Errorf("%+v", st)
			}
			return nil
		}))
	})
}

// TestB_GR_19_InteropTheyShut: the peer shuts the session down, and why; its paths go,
// graceful restart or not.
func TestB_GR_19_InteropTheyShut(t *testing.T) {
	t.Parallel()
	const words = "maintenance until noon"
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(graceful), nil)
		s.settled(t)
		if b, ok := d.(*bird); ok {
			for _, p := range s.terms.paths {
				b.ask(t, "disable", birdName(p), fmt.Sprintf("%q", words))
			}
		} else {
			s.apply(t, func(w *terms) { w.shut = words })
		}
		eventually(t, "we are told", s.each(func(p path) error {
			st := s.end.peer(p.name)
			if st.State == bgp.Established || !s.saidBy(st.LastError, words) {
				return fmt.Errorf("%+v", st)
			}
			return nil
		}))
		must(t, s.eachFamily(func(p path, f bgp.Family) error {
			if x := family(s.end.peer(p.name), f); x.Retained {
				return fmt.Errorf("%+v", x)
			}
			return nil
		})())
	})
}

// saidBy reports whether a shutdown was told with these words, or with a Hard Reset
// by those who keep routes over notifications: GoBGP has no words then.
func (s *scene) saidBy(lastError, words string) bool {
	if _, ok := s.daemon.(*second); ok {
		return strings.Contains(lastError, "Hard Reset")
	}
	return strings.Contains(lastError, fmt.Sprintf("Administrative Shutdown (%q)", words))
}

// TestB_POL_15_B_GR_22_InteropWeShut: we shut the session down, and the peer knows why
// (RFC 9003); it is back when we want it back. Graceful restart keeps nothing of it,
// for which a peer that keeps routes over notifications gets a Hard Reset.
func TestB_POL_15_B_GR_22_InteropWeShut(t *testing.T) {
	t.Parallel()
	const words = "drained by the operator"
	for name, change := range map[string]func(*terms){"plain": nil, "graceful restart": graceful} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			against(t, func(t *testing.T, d daemon) {
				s := play(t, d, with(change), nil)
				s.settled(t)
				s.set(t, func(p *bgp.Peer) { p.Shutdown = words })
				must(t, s.each(func(p path) error {
					if st := s.end.peer(p.name); st.State != bgp.Shut || st.Trouble != words {
						return fmt.Errorf("%+v", st)
					}
					return nil
				})())
				if s.terms.graceful && d.name() != "BIRD" {
					s.blames(t, "Hard Reset")
				} else {
					s.blames(t, words)
				}
				s.dropsUs(t)
				s.set(t, func(p *bgp.Peer) { p.Shutdown = "" })
				s.settled(t)
			})
		})
	}
}

// dropsUs waits until the peer uses nothing of us any more.
func (s *scene) dropsUs(t *testing.T) {
	t.Helper()
	eventually(t, "the peer has nothing of us", s.eachFamily(func(p path, f bgp.Family) error {
		if second, ok := s.daemon.(*second); ok {
			// It keeps them for a while, but nobody forwards by them.
			if st := second.end.peer(p.name); st.Flaps != 1 || family(st, f).Retained {
				return fmt.Errorf("it says %+v", st)
			}
			return nil
		}
		return s.has(p, f)
	}))
}

// TestB_9384_02_InteropReset: a session that is ended because of BFD says so in words,
// and comes back.
func TestB_9384_02_InteropReset(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, usual(), nil)
		s.settled(t)
		for _, p := range s.terms.paths {
			_, err := s.end.do(order{Reset: p.name, Words: "BFD Down"})
			must(t, err)
		}
		s.blames(t, "BFD Down")
		s.settled(t)
	})
}

// TestInteropOtherAS: a peer that has another AS now says so, in our words.
func TestInteropOtherAS(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, usual(), nil)
		s.settled(t)
		s.process.kill(t)
		s.launch(t, with(func(w *terms) { w.as = customer }), false)
		eventually(t, "the trouble is told", s.each(func(p path) error {
			st := s.end.peer(p.name)
			if st.State == bgp.Established || !strings.Contains(st.Trouble, "AS") || !strings.Contains(st.Trouble, "Bad Peer AS") {
				return fmt.Errorf("%+v", st)
			}
			return nil
		}))
		// We follow.
		s.set(t, func(p *bgp.Peer) { p.AS = customer })
		s.settled(t)
	})
}

// TestInteropWrongAS: the peer expects another AS of us.
func TestInteropWrongAS(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, usual(), func(p *bgp.Peer) { p.LocalAS = customer })
		s.troubled(t, "the peer ended the session while it was being opened; its log says why, wrong AS numbers are the usual reason",
			"the peer refuses the session: OPEN Message Error, Bad Peer AS")
		s.set(t, func(p *bgp.Peer) { p.LocalAS = 0 })
		s.settled(t)
	})
}

// TestB_GR_17_B_GR_19_InteropNotification: FRR's `clear bgp` is a Hard Reset, and
// nothing is kept, unless it is told to send a plain notification (RFC 8538).
func TestB_GR_17_B_GR_19_InteropNotification(t *testing.T) {
	t.Parallel()
	for _, hard := range []bool{false, true} {
		t.Run(fmt.Sprintf("hard %t", hard), func(t *testing.T) {
			t.Parallel()
			f, _ := newFRR(t).(*frr)
			s := play(t, f, with(graceful), nil)
			s.settled(t)
			words := "the peer ended the session: Cease, Hard Reset: Cease, Administrative Reset"
			if !hard {
				f.configure(t, fmt.Sprintf("router bgp %d", theirAS), "no bgp hard-administrative-reset")
				words = "the peer ended the session: Cease, Administrative Reset"
			}
			_, err := f.ask("clear bgp *")
			must(t, err)
			s.lost(t, words)
			s.settled(t)
			must(t, s.eachFamily(func(p path, f bgp.Family) error {
				if s.end.wasKept(p, f) == hard {
					return fmt.Errorf("kept: %t", !hard)
				}
				return nil
			})())
		})
	}
}
