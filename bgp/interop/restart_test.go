package interop

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

const (
	closedWithoutWord = "the connection was lost"
	silence           = "the hold time passed without a word from the peer (Hold Timer Expired)"
)

func graceful(w *terms) { w.graceful, w.restartTime = true, 40*time.Second }

// TestB_GR_09_B_GR_11_InteropPeerKilled: a peer that dies and comes back. Its paths
// are kept meanwhile, and what it does not send again goes when it has sent all.
func TestB_GR_09_B_GR_11_InteropPeerKilled(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { graceful(w); w.announce = routes(theirPair, defaults, another) }), nil)
		s.settled(t)
		must(t, s.each(func(p path) error {
			if st := s.end.peer(p.name); !st.Restart || st.RestartTime != 40*time.Second {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})())
		before := time.Now()
		s.process.kill(t)
		s.lost(t, closedWithoutWord)
		s.kept(t, 3, before)
		told, _ := s.end.told()
		if len(told) != 4 {
			t.Errorf("told is %v", told)
		}
		s.launch(t, with(func(w *terms) { graceful(w); w.announce = routes(theirPair, defaults) }), true)
		s.settled(t)
		eventually(t, "what did not come back is not told any more", func() error {
			if told, _ := s.end.told(); len(told) != 2 {
				return fmt.Errorf("told is %v", told)
			}
			return nil
		})
	})
}

// kept waits until graceful restart keeps so many paths of each family of lost
// sessions.
func (s *scene) kept(t *testing.T, paths int, since time.Time) {
	t.Helper()
	eventually(t, "paths are kept", s.eachFamily(func(p path, f bgp.Family) error {
		x := family(s.end.peer(p.name), f)
		if !x.Retained || x.Stale != paths || x.Received != paths || x.Accepted != paths || x.Synced ||
			x.Until.Before(since.Add(s.terms.restartTime)) || x.Until.After(time.Now().Add(s.terms.restartTime)) {
			return fmt.Errorf("%+v", x)
		}
		return nil
	}))
}

// TestB_GR_13_InteropPeerForgot: a peer that comes back and keeps nothing: what it
// announced before counts no more.
func TestB_GR_13_InteropPeerForgot(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(graceful), nil)
		s.settled(t)
		before := time.Now()
		s.process.kill(t)
		s.lost(t, closedWithoutWord)
		s.kept(t, 2, before)
		s.launch(t, with(func(w *terms) { w.announce = routes(another) }), false)
		s.settled(t)
		must(t, s.each(func(p path) error {
			if st := s.end.peer(p.name); st.Restart {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})())
	})
}

// TestB_GR_10_InteropPeerStaysAway: a peer that does not come back within its restart
// time.
func TestB_GR_10_InteropPeerStaysAway(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { graceful(w); w.restartTime = 3 * time.Second }), nil)
		s.settled(t)
		s.process.kill(t)
		eventually(t, "nothing is left", s.eachFamily(func(p path, f bgp.Family) error {
			if x := family(s.end.peer(p.name), f); x.Retained || x.Received != 0 || s.end.peer(p.name).Flaps != 1 {
				return fmt.Errorf("%+v", x)
			}
			return nil
		}))
		eventually(t, "nothing is told any more", func() error {
			if told, _ := s.end.told(); len(told) != 0 {
				return fmt.Errorf("told is %v", told)
			}
			return nil
		})
	})
}

// TestB_GR_23_InteropPeerKilledWithoutRestart: without graceful restart nobody says
// that paths are kept.
func TestB_GR_23_InteropPeerKilledWithoutRestart(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, usual(), nil)
		s.settled(t)
		s.process.kill(t)
		s.lost(t, closedWithoutWord)
		must(t, s.eachFamily(func(p path, f bgp.Family) error {
			if x := family(s.end.peer(p.name), f); x.Retained || x.Synced {
				return fmt.Errorf("%+v", x)
			}
			return nil
		})())
		s.launch(t, with(func(w *terms) { w.announce = routes(another) }), false)
		s.settled(t)
	})
}

// TestB_GR_03_B_GR_04_B_GR_08_InteropOurRestart: when we end without a word, killed
// or not, peers keep our prefixes; when we are back, and say so, they are fresh.
func TestB_GR_03_B_GR_04_B_GR_08_InteropOurRestart(t *testing.T) {
	t.Parallel()
	// FRR 8.4.4 starts its timer for stale paths, and in about one run of three drops the
	// paths of a session that is young all the same: of it we only ask that it takes us
	// back.
	for name, end := range map[string]func(*testing.T, *scene){
		"killed":  func(t *testing.T, s *scene) { s.end.process.kill(t) },
		"stopped": func(t *testing.T, s *scene) { s.end.stop(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			against(t, func(t *testing.T, d daemon) {
				s := play(t, d, with(graceful), nil)
				s.settled(t)
				s.marked(t, false)
				end(t, s)
				if d.name() == "FRR" {
					s.unheard(t)
				} else {
					s.marked(t, true)
				}
				s.config.Restarting = true
				s.speak(t)
				s.settled(t)
				s.marked(t, false)
				s.saysRestarted(t)
			})
		})
	}
}

// unheard waits until the peer knows that its sessions with us are lost.
func (s *scene) unheard(t *testing.T) {
	t.Helper()
	eventually(t, "the peer knows that we are gone", s.eachFamily(func(p path, _ bgp.Family) error {
		if words, established, err := s.daemon.state(p); err != nil || established {
			return fmt.Errorf("%s, %w", words, err)
		}
		return nil
	}))
}

// marked waits until the peer has our prefixes, and they are stale or not.
func (s *scene) marked(t *testing.T, stale bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("the peer has our prefixes, stale %t", stale), s.eachFamily(func(p path, f bgp.Family) error {
		got, err := s.daemon.learned(p, f)
		if err != nil {
			return err
		}
		if x, ok := got[ours[f-bgp.IPv4]]; !ok || x.stale != stale {
			return fmt.Errorf("it has %+v", got)
		}
		return nil
	}))
}

// saysRestarted checks the R and F bits, as the peer shows them.
func (s *scene) saysRestarted(t *testing.T) {
	t.Helper()
	for _, p := range s.terms.paths {
		switch d := s.daemon.(type) {
		case *bird:
			out, err := d.show(p)
			must(t, err)
			_, theirs, _ := strings.Cut(out, "Neighbor capabilities")
			if !strings.Contains(theirs, "Restart recovery") || after(theirs, "AF preserved:") != p.families[0].String() {
				t.Errorf("%s: BIRD sees %s", p.name, theirs)
			}
		case *frr:
			n, err := d.neighbour(p)
			must(t, err)
			kept := n.Restart.IPv4Unicast
			if p.families[0] == bgp.IPv6 {
				kept = n.Restart.IPv6Unicast
			}
			if !n.Restart.RBit || !kept.FBit {
				t.Errorf("%s: FRR sees %+v", p.name, n.Restart)
			}
		}
	}
}

// TestB_GR_24_InteropLeave: a stop with leave. Peers drop our prefixes at once,
// graceful restart or not.
func TestB_GR_24_InteropLeave(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(graceful), nil)
		s.settled(t)
		began := time.Now()
		s.end.set(t, bgp.Config{})
		s.dropsUs(t)
		if took := time.Since(began); took > s.terms.restartTime/2 {
			t.Errorf("it took %s", took)
		}
		s.end.stop(t)
	})
}

// TestB_GR_18_B_4271_12_InteropFrozen: a peer that says nothing any more is lost when the hold
// time is over, which is the smaller one of both. It neither dies nor answers.
func TestB_GR_18_B_4271_12_InteropFrozen(t *testing.T) {
	t.Parallel()
	for _, shorter := range []string{"theirs", "ours"} {
		t.Run(shorter, func(t *testing.T) {
			t.Parallel()
			against(t, func(t *testing.T, d daemon) {
				hold := 4 * time.Second
				s := play(t, d, with(func(w *terms) {
					if shorter == "theirs" {
						w.hold = hold
					}
				}), func(p *bgp.Peer) {
					if shorter == "ours" {
						p.HoldTime = hold
					}
				})
				s.settled(t)
				must(t, s.each(func(p path) error {
					if st := s.end.peer(p.name); st.HoldTime != hold {
						return fmt.Errorf("%+v", st)
					}
					return nil
				})())
				began := time.Now()
				must(t, s.process.cmd.Process.Signal(syscall.SIGSTOP))
				s.lost(t, silence)
				if took := time.Since(began); took < hold*2/3-time.Second || took > hold+10*time.Second {
					t.Errorf("it took %s", took)
				}
				must(t, s.process.cmd.Process.Signal(syscall.SIGCONT))
				s.settled(t)
			})
		})
	}
}

// TestB_GR_18_InteropWeFreeze: the other way round.
func TestB_GR_18_InteropWeFreeze(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.hold = 4 * time.Second }), nil)
		s.settled(t)
		must(t, s.end.process.cmd.Process.Signal(syscall.SIGSTOP))
		eventually(t, "the peer has lost us", s.each(func(p path) error {
			words, up, err := s.daemon.state(p)
			if err == nil && up {
				err = fmt.Errorf("it says %s", words)
			}
			return err
		}))
		must(t, s.end.process.cmd.Process.Signal(syscall.SIGCONT))
		eventually(t, "we know why", s.each(func(p path) error {
			st := s.end.peer(p.name)
			if st.Flaps == 0 || !strings.HasPrefix(st.LastError, "the peer ended the session: Hold Timer Expired") &&
				st.LastError != silence {
				return fmt.Errorf("%+v", st)
			}
			return nil
		}))
		s.settled(t)
	})
}
