package probe

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOpenFails(t *testing.T) {
	families(t, nil, func(t *testing.T, b *bench) {
		b.openErr = syscall.ENODEV
		b.start(t)
		b.pass(60 * time.Second)
		r, _ := b.last()
		if !errors.Is(r.Err, syscall.ENODEV) || b.opinions() != allUnknown {
			t.Fatalf("%+v", r)
		}
		if want := "cannot probe: open ICMP socket: no such device"; r.Targets[0].Reason != want {
			t.Errorf("reason %q, want %q", r.Targets[0].Reason, want)
		}
		want := []time.Duration{250, 500, 1000, 2000, 4000, 8000, 10000, 10000, 10000}
		for i, w := range want {
			if got := b.opens[i+1].Sub(b.opens[i]); got != w*time.Millisecond {
				t.Errorf("wait %d: %v, want %v", i, got, w*time.Millisecond)
			}
		}
		if n := strings.Count(b.logs.String(), "\n"); n != 1 {
			t.Errorf("%d log lines:\n%s", n, b.logs)
		}
		if n := b.count(); n > 3 {
			t.Errorf("%d reports of the same failure", n)
		}
		b.set(func(n *fakeNet) { n.openErr = nil })
		b.pass(10*time.Second + worst)
		r, _ = b.last()
		if r.Err != nil || b.opinions() != allUp {
			t.Errorf("after the return: %+v", r)
		}
		if n := strings.Count(b.logs.String(), "\n"); n != 2 {
			t.Errorf("%d log lines:\n%s", n, b.logs)
		}
	})
}

// A poke ends the wait; a stale one does not make a busy loop.
func TestPoke(t *testing.T) {
	families(t, nil, func(t *testing.T, b *bench) {
		b.openErr = syscall.ENODEV
		b.start(t)
		b.pass(60 * time.Second)
		b.set(func(n *fakeNet) { n.openErr = nil })
		b.prober.Poke()
		b.prober.Poke()
		b.pass(100 * time.Millisecond)
		if got := b.opinions(); got != allUp {
			t.Errorf("100 ms after the poke: %v", got)
		}
	})
}

// A device that was replaced is nobody's loss: the socket is opened again at
// once and the opinion stays. A device that is gone makes it Unknown.
func TestSocketLost(t *testing.T) {
	families(t, nil, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(5 * time.Second)
		b.forget()
		b.set(func(n *fakeNet) { _ = n.conns[0].close() })
		b.pass(5 * time.Second)
		for _, r := range b.reports {
			for _, target := range r.Targets {
				if target.Opinion != Up || target.Loss != 0 {
					t.Fatalf("%+v", target)
				}
			}
		}
		if len(b.conns) != 2 || b.conns[0].id == b.conns[1].id {
			t.Fatalf("%d sockets", len(b.conns))
		}

		b.set(func(n *fakeNet) { n.sendErr, n.openErr = syscall.ENODEV, syscall.ENODEV })
		b.pass(300 * time.Millisecond)
		r, _ := b.last()
		if b.opinions() != allUnknown || r.Err == nil {
			t.Errorf("device gone: %+v", r)
		}
		b.set(func(n *fakeNet) { n.openErr = nil })
		b.pass(time.Minute)
		if got := b.opinions(); got != allUnknown {
			t.Errorf("sends fail on the new socket: %v", got)
		}
		if n := len(b.opens); n > 15 {
			t.Errorf("%d attempts in a minute", n)
		}
		b.set(func(n *fakeNet) { n.sendErr = nil })
		b.pass(10*time.Second + worst)
		if got := b.opinions(); got != allUp {
			t.Errorf("after the return: %v", got)
		}
	})
}

// Unknown is not down: what this host cannot send says nothing of the target.
func TestLocalSendErrors(t *testing.T) {
	for _, errno := range []error{syscall.ENOBUFS, syscall.EPERM, syscall.ENETDOWN} {
		families(t, nil, func(t *testing.T, b *bench) {
			b.start(t)
			b.pass(5 * time.Second)
			b.forget()
			b.set(func(n *fakeNet) { n.sendErr = os.NewSyscallError("sendmsg", errno) })
			b.pass(60 * time.Second)
			r, _ := b.last()
			if got := b.opinions(); got != allUnknown || !errors.Is(r.Err, errno) {
				t.Errorf("%v: %+v", errno, r)
			}
			for _, r := range b.reports {
				for _, target := range r.Targets {
					if target.Opinion == Down || target.Loss != 0 {
						t.Fatalf("%v: %+v", errno, target)
					}
				}
			}
			if n := strings.Count(b.logs.String(), "\n"); n != 1 {
				t.Errorf("%v: %d log lines:\n%s", errno, n, b.logs)
			}
			b.set(func(n *fakeNet) { n.sendErr = nil })
			b.pass(10*time.Second + worst)
			if r, _ := b.last(); b.opinions() != allUp || r.Err != nil {
				t.Errorf("%v after the return: %+v", errno, r)
			}
		})
	}
}

// DGD-13: the kernel's own word counts at once, without the timeout.
func TestSendUnreachable(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		patient := func(c *Config) { c.Timeout = 600 * time.Millisecond }
		families(t, patient, func(t *testing.T, b *bench) {
			b.start(t)
			b.pass(5 * time.Second)
			b.set(func(n *fakeNet) { n.sendErr = errno })
			b.pass(3*200*time.Millisecond + 2*10*time.Millisecond)
			r, _ := b.last()
			if want := "3 probes in a row lost: " + errno.Error(); b.opinions() != allDown || r.Targets[0].Reason != want {
				t.Errorf("%v: %+v", errno, r.Targets)
			}
			if r.Err != nil || len(b.conns) != 1 {
				t.Errorf("%v: the socket was blamed: %v", errno, r.Err)
			}
		})
	}
}
