package bfd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// squatterVariable makes the test program hold a UDP port, of the family that is its
// value, until it is killed.
const squatterVariable = "MULTIHOMED_BFD_TEST_SQUATTER"

func playSquatter() int {
	family, at := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: singleHopPort})
	if os.Getenv(squatterVariable) == "6" {
		family, at = unix.AF_INET6, &unix.SockaddrInet6{Port: singleHopPort}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, at)
	}
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	select {}
}

// The end of Run tells the peers, and leaves nothing behind.
func TestBFD_AD_02_End(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		t.Parallel() // most of it is waiting
		s := newSite(t)
		hostL, hostR := s.wire()
		left, right := s.politeSpeaker(hostL), s.speaker(hostR)
		tap := s.sniff(hostR, "eth0")
		p := s.bothUp(left, right, calm(onLink(f.a, f.b)), calm(onLink(f.b, f.a)))
		s.must(left.stop())
		p.right.await(Down)
		events := p.right.history()
		last := events[len(events)-1]
		if last.Failure() || last.Diag != DiagNeighborSignaledDown || last.RemoteState != AdminDown {
			t.Errorf("the peer saw %+v", last)
		}
		eventually(t, "the last word", func() (bool, any) {
			sent := tap.from(f.a)
			final := sent[len(sent)-1]
			return final.State == AdminDown && final.Diag == DiagAdminDown, final
		})
		if st := p.left.Status().State; st != AdminDown {
			t.Errorf("the session is %s", st)
		}
		if _, err := left.Open(onLink(f.a, f.b), nil); err == nil {
			t.Error("opened a session on a speaker that has ended")
		}
		if err := left.Run(t.Context()); err == nil {
			t.Error("ran twice")
		}
		// The port is free again, and so is the path.
		s.speaker(hostL).session(calm(onLink(f.a, f.b))).await(Up)
	})
}

// A peer that does not answer delays the end, but not for long: it is told again.
func TestBFD_AD_02_EndUnheard(t *testing.T) {
	s := newSite(t)
	f := families[0]
	hostL, hostR := s.wire()
	left := s.politeSpeaker(hostL)
	tap := s.sniff(hostR, "eth0")
	w := left.session(onLink(f.a, f.b))
	p := s.puppet(hostR, shape{f.b, f.a, 50000, 3784, 255, "eth0"})
	p.lift(w)
	begin := time.Now()
	s.must(left.stop())
	// As long as the machine is not far behind.
	if took := time.Since(begin); took < time.Second || took > lingerLimit+patience {
		t.Errorf("it took %v", took)
	}
	// The capture may be behind the wire.
	eventually(t, "told twice", func() (bool, any) {
		told := 0
		for _, q := range tap.from(f.a) {
			if q.State == AdminDown {
				told++
			}
		}
		return told >= 2, told
	})
}

// Another program on the port is named, and the session comes up when it is gone.
func TestSpeaker_portTaken(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		t.Parallel() // most of it is waiting
		s := newSite(t)
		hostL, hostR := s.wire()
		squatter := squat(t, hostL, f)
		left, right := s.speaker(hostL), s.speaker(hostR)
		p := livePair{left.session(calm(onLink(f.a, f.b))), right.session(calm(onLink(f.b, f.a)))}
		want := fmt.Sprintf("(process %d): stop it, or disable its BFD", squatter.Process.Pid)
		p.left.until("the process named", func(st Status) bool {
			return strings.HasPrefix(st.Problem, "UDP port 3784 on eth0 is taken by ") && strings.HasSuffix(st.Problem, want)
		})
		s.must(squatter.Process.Kill())
		_ = squatter.Wait()
		p.left.await(Up)
		if st := p.left.Status(); st.Problem != "" {
			t.Errorf("problem: %s", st.Problem)
		}
	})
}

func squat(t *testing.T, h *lab.Host, f family) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), squatterVariable+"="+strings.TrimPrefix(f.name, "IPv"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(cmd); err != nil {
		t.Fatal(err)
	}
	var ready [6]byte
	if _, err := out.Read(ready[:]); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// A device that comes late, or vanishes and comes again, is followed.
func TestSpeaker_device(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		t.Parallel() // most of it is waiting
		s := newSite(t)
		hostL, hostR := s.host("left"), s.host("right")
		left, right := s.speaker(hostL), s.speaker(hostR)
		l, r := onLink(f.a, f.b), onLink(f.b, f.a)
		l.Multiplier, r.Multiplier = 255, 255
		p := livePair{left.session(l), right.session(r)}
		for _, w := range []*watched{p.left, p.right} {
			w.until("no device", func(st Status) bool { return st.Problem == "there is no interface eth0 (yet)" })
		}
		discriminator := p.left.Status().LocalDiscriminator
		for range 2 {
			s.must(s.lab.Veth(hostL, "eth0", hostR, "eth0"))
			s.address(hostL, "eth0", f.a)
			if _, err := hostR.IP("addr", "add", subnet(f.b).String(), "dev", "eth0", "nodad"); f.b.Is6() && err != nil {
				t.Fatal(err)
			} else if f.b.Is4() {
				_, err := hostR.IP("addr", "replace", subnet(f.b).String(), "dev", "eth0")
				s.must(err)
			}
			well := func(st Status) bool { return st.State == Up && st.Problem == "" }
			p.left.until("up again", well)
			p.right.until("up again", well)
			if st := p.left.Status(); st.LocalDiscriminator != discriminator {
				t.Errorf("status: %+v", st)
			}
			s.must(hostL.DeleteLink("eth0"))
			p.left.until("no device", func(st Status) bool { return st.Problem == "there is no interface eth0 (yet)" })
			p.right.until("no device", func(st Status) bool { return st.Problem == "there is no interface eth0 (yet)" })
		}
		// Nothing but silence ends a session, and the silence was short.
		for _, w := range []*watched{p.left, p.right} {
			if st := w.Status(); st.Failures != 0 {
				t.Errorf("failures: %+v", w.history())
			}
		}
	})
}

// A peer that has nothing on the port says so, and the session tells.
func TestSpeaker_refused(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		t.Parallel() // most of it is waiting
		s := newSite(t)
		hostL, _ := s.wire()
		w := s.speaker(hostL).session(onLink(f.a, f.b))
		w.until("refused", func(st Status) bool {
			return strings.Contains(st.Problem, "nothing listens on its UDP port 3784") && st.Sent >= 3
		})
	})
}

// The owner's calls reach the peer.
func TestSpeaker_calls(t *testing.T) {
	s := newSite(t)
	f := families[1]
	hostL, hostR := s.wire()
	left, right := s.speaker(hostL), s.speaker(hostR)
	p := s.bothUp(left, right, calm(onLink(f.a, f.b)), calm(onLink(f.b, f.a)))
	if _, err := left.Open(onLink(f.a, f.b), nil); err == nil {
		t.Error("two sessions for one path")
	}
	p.left.SignalPath(DiagConcatenatedPathDown)
	p.right.until("the diagnostic", func(st Status) bool { return st.RemoteDiag == DiagConcatenatedPathDown && st.State == Up })
	p.left.SignalPath(DiagNone)
	p.left.ForwardingReset()
	p.right.until("the reset", func(st Status) bool { return st.RemoteDiag == DiagForwardingReset })
	p.left.await(Up)
	p.left.Close()
	before := len(p.left.history())
	p.right.until("the end", func(st Status) bool { return st.State == Down && st.RemoteState == AdminDown })
	if err := p.left.Update(onLink(f.a, f.b)); err == nil {
		t.Error("updated a closed session")
	}
	p.left.Enable()
	if st := p.left.Status(); st.State != AdminDown || len(p.left.history()) != before {
		t.Errorf("after Close: %+v, %v", st, p.left.history()[before:])
	}
	// The path is free for another session, also while the peer is told still.
	again := left.session(calm(onLink(f.a, f.b)))
	again.await(Up)
	p.left.Close()
	if st := again.Status(); st.State != Up {
		t.Errorf("the old handle closed the new session: %+v", st)
	}
}

// Run gives its thread back as it was.
func TestSpeaker_thread(t *testing.T) {
	s := newSite(t)
	home, err := os.Readlink(threadNamespace)
	s.must(err)
	var speaker *Speaker
	s.must(s.host("left").Do(func() (err error) {
		speaker, err = NewSpeaker(Options{})
		return err
	}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.must(speaker.Run(ctx))
	if at, err := os.Readlink(threadNamespace); err != nil || at != home {
		t.Errorf("in %s after Run, was in %s (%v)", at, home, err)
	}
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid()); err != nil || raw != 20 {
		t.Errorf("priority %d after Run, want 20 for nice 0 (%v)", raw, err)
	}
}
