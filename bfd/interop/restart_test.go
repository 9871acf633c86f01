package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bfd"
)

// late is how much later than its time an expiry may be declared on a machine that
// has other things to do.
const late = 3 * time.Second

// expired waits until every session left Up because its detection time was over,
// and checks that it was: not earlier, and not much later.
func (s *scene) expired(t *testing.T, e *end) {
	t.Helper()
	eventually(t, "all sessions left Up", s.each(func(p path) error {
		_, err := e.leftUp(p)
		return err
	}))
	for _, p := range s.paths {
		event, err := e.leftUp(p)
		must(t, err)
		if event.New != bfd.Down || event.Diag != bfd.DiagTimeExpired || !event.Failure() {
			t.Errorf("%s: %s, failure %t; want an expiry", p.name, event, event.Failure())
		}
		detection := expected(ours(p), theirs).OurTimeout
		silence := event.At.Sub(e.status(p).LastReceived)
		if silence < detection || silence > detection+late {
			t.Errorf("%s: declared after %s of silence, the detection time is %s", p.name, silence, detection)
		}
	}
}

// TestBFD_TM_09_InteropPeerKilled: a peer that dies without a word is noticed after
// its detection time; a new one, with other discriminators, is taken.
func TestBFD_TM_09_InteropPeerKilled(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		e := s.speak(t, nil)
		s.comesUp(t, e)
		old := map[string]uint32{}
		for _, p := range s.paths {
			old[p.name] = e.status(p).RemoteDiscriminator
		}
		e.forget()
		s.process.kill(t)
		s.expired(t, e)
		s.launch(t, theirs)
		s.comesUp(t, e)
		s.agree(t, e, unchanged, theirs)
		for _, p := range s.paths {
			if st := e.status(p); st.RemoteDiscriminator == old[p.name] || st.Ups != 2 || st.Failures != 1 {
				t.Errorf("%s: discriminator %d, was %d; %d times up, %d failures",
					p.name, st.RemoteDiscriminator, old[p.name], st.Ups, st.Failures)
			}
		}
	})
}

// TestInteropPeerRestarts: a peer that ends in order and starts again. Neither says
// goodbye, so it is a failure: what came after it may not forward.
func TestInteropPeerRestarts(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		e := s.speak(t, nil)
		s.comesUp(t, e)
		e.forget()
		s.process.stop(t)
		s.expired(t, e)
		s.launch(t, theirs)
		s.comesUp(t, e)
	})
}

// TestBFD_AD_02_InteropOurRestart: when Run ends, the peer learns that this was on
// purpose: it does not have to find out by a timeout. The next Speaker comes up.
func TestBFD_AD_02_InteropOurRestart(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		e := s.speak(t, nil)
		s.comesUp(t, e)
		e.stop(t)
		s.peerSays(t, bfd.Down)
		s.peerBlames(t, signaledAdminDown)
		e = s.speak(t, nil)
		s.comesUp(t, e)
	})
}

// TestInteropWeAreKilled: a Speaker that dies is a failure for the peer, and the
// next one, with other discriminators and ports, is taken.
func TestInteropWeAreKilled(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		helper := s.helper(t)
		s.peerSays(t, bfd.Up)
		helper.kill(t)
		s.peerSays(t, bfd.Down)
		s.peerBlames(t, timedOut)
		helper = s.helper(t)
		s.peerSays(t, bfd.Up)
		helper.kill(t)
	})
}

// helper starts a Speaker in a process of its own.
func (s *scene) helper(t *testing.T) *process {
	t.Helper()
	var configs []bfd.Config
	for _, p := range s.paths {
		configs = append(configs, ours(p))
	}
	text, err := json.Marshal(configs)
	must(t, err)
	program, err := os.Executable()
	must(t, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), speakVariable+"="+string(text))
	return start(t, s.us, t.TempDir(), cmd)
}

// blame is why a peer thinks that its sessions left Up last.
type blame int

const (
	timedOut blame = iota + 1
	signaledDown
	signaledAdminDown
)

// peerBlames waits until the peer names this cause for every session.
func (s *scene) peerBlames(t *testing.T, why blame) {
	t.Helper()
	eventually(t, "the peer knows why", func() error {
		switch d := s.daemon.(type) {
		case *frr:
			return s.frrBlames(d, why)
		case *bird:
			return s.birdBlames(s.process.said(t), why)
		default:
			panic(fmt.Sprintf("interop: unhandled daemon %T", d))
		}
	})
}

// frrBlames looks at its diagnostics.
func (s *scene) frrBlames(d *frr, why blame) error {
	sessions, err := d.sessions()
	if err != nil {
		return err
	}
	own, remote := "neighbor signaled session down", ""
	switch why {
	case timedOut:
		own = "control detection time expired"
	case signaledDown:
	case signaledAdminDown:
		remote = "administratively down"
	default:
		panic(fmt.Sprintf("interop: unhandled blame %d", why))
	}
	return s.each(func(p path) error {
		f := sessions[p.us]
		if f.Diagnostic != own || remote != "" && f.RemoteDiagnostic != remote {
			return fmt.Errorf("diagnostic %q, remote diagnostic %q; want %q, %q", f.Diagnostic, f.RemoteDiagnostic, own, remote)
		}
		return nil
	})()
}

// birdBlames looks in what it said for what came before it left Up last; it shows
// no diagnostics.
func (s *scene) birdBlames(said string, why blame) error {
	lines := strings.Split(said, "\n")
	return s.each(func(p path) error {
		cause := ""
		for i, line := range lines {
			if !strings.HasSuffix(line, "Session to "+p.us.String()+" changed state from Up to Down") {
				continue
			}
			cause = ""
			for _, before := range slices.Backward(lines[:i]) {
				if strings.Contains(before, "Session to "+p.us.String()+" expired") ||
					strings.Contains(before, "CTL received from "+p.us.String()+" [") {
					cause = before
					break
				}
			}
		}
		want := map[blame]string{timedOut: " expired", signaledDown: " [Down", signaledAdminDown: " [AdminDown"}[why]
		if !strings.Contains(cause, want) || cause == "" {
			return fmt.Errorf("it left Up after %q, want %q", cause, want)
		}
		return nil
	})()
}
