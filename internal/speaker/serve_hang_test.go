package speaker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

// TestServe_Hangs: a speaker that gives no sign of life, or does not reset a session,
// for a minute is ended, with words, though its process answers; the next one is healthy.
func TestServe_Hangs(t *testing.T) {
	const limit = hangSteps * hangStep
	for _, c := range []struct {
		name, want string
		hang       func(v *fakeVoice, free chan struct{})
		least      time.Duration
	}{
		{"no sign of life", "the speaker hangs: it did not answer for 1m0s", func(v *fakeVoice, free chan struct{}) {
			// What hangs heeds nobody.
			v.alive = func(context.Context) error { <-free; return nil }
		}, limit + hangStep},
		{"a reset", "the speaker hangs: it did not reset a session for 1m0s", func(v *fakeVoice, free chan struct{}) {
			v.resetting = func() { <-free }
		}, limit},
		{"nothing but errors", "the speaker is of no use: the library broke", func(v *fakeVoice, _ chan struct{}) {
			v.alive = func(context.Context) error { return errors.New("the library broke") }
		}, limit},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				free := make(chan struct{})
				r := newRig(t, func(n int, v *fakeVoice) func(context.Context, net.Conn, io.Writer) error {
					if n == 0 {
						c.hang(v, free)
					}
					return nil
				})
				r.run()
				r.Set(config("a"))
				synctest.Wait()
				r.Reset("a", "x")
				time.Sleep(c.least - time.Second)
				synctest.Wait()
				if st := r.Status(); st.Starts != 1 || !st.Speaking {
					t.Errorf("before %v: %+v, want the first child", c.least, st)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if st := r.Status(); st.Starts != 2 || !st.Speaking || !strings.Contains(r.logs.String(), c.want) {
					t.Errorf("%+v, want another child, and %q:\n%s", st, c.want, r.logs)
				}
				close(free)
			})
		})
	}
}

// TestServe_Slow: a speaker that is slow, or fails now and then, is left alone.
func TestServe_Slow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		r := newRig(t, func(_ int, v *fakeVoice) func(context.Context, net.Conn, io.Writer) error {
			v.alive = func(context.Context) error {
				if asked++; asked%hangSteps != 0 {
					return errors.New("not yet")
				}
				time.Sleep(hangSteps*hangStep - time.Millisecond)
				return nil
			}
			return nil
		})
		r.run()
		r.Set(config("a"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := r.Status(); st.Starts != 1 || !st.Speaking || asked < 10*hangSteps {
			t.Errorf("%+v after %d questions, want the first child:\n%s", st, asked, r.logs)
		}
		r.end()
		time.Sleep(time.Minute) // Until the last Alive has returned.
	})
}

// stoppedStep is the step of a child that is stopped.
const stoppedStep = 400 * time.Millisecond

// serveStopped is a child whose first sign of life comes with the first reset.
func serveStopped(v *fakeVoice, conn io.ReadWriteCloser, log *slog.Logger) error {
	free := make(chan struct{})
	var once sync.Once
	v.resetting = func() { once.Do(func() { close(free) }) }
	v.alive = func(context.Context) error {
		log.Info("asked for a sign of life")
		<-free
		log.Info("gave a sign of life")
		return nil
	}
	s := v.server(conn, log)
	s.step = stoppedStep
	return s.serve(context.Background())
}

// TestServe_Stopped: a child that was stopped for longer than a sign of life may take,
// while it was asked for one, as when the machine was suspended, is not taken for one that
// hangs.
func TestServe_Stopped(t *testing.T) {
	r := newReal(t, childStopped, Options{})
	l := usualLimits()
	l.silence = wait
	r.limit(l)
	r.run()
	r.Set(config("a"))
	pid := r.speaks(1)
	until(t, "the speaker is asked", func() bool { return strings.Contains(r.logs.String(), "asked for a sign of life") })
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(hangSteps*stoppedStep + 200*time.Millisecond)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	// What was due while it was stopped is done by the time of the second answer.
	for range 2 {
		if _, err := r.Paths(ctx, bgp.Query{}); err != nil {
			t.Fatal(err)
		}
	}
	r.Reset("a", "x")
	until(t, "the sign of life comes", func() bool { return strings.Contains(r.logs.String(), "gave a sign of life") })
	if st := r.Status(); st.Starts != 1 || !st.Speaking {
		t.Errorf("%+v, want the first child", st)
	}
}

// TestSupervisor_LogHangs: a log that hangs delays neither the next child nor the end,
// and has everything once it goes on.
func TestSupervisor_LogHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(n int, v *fakeVoice) func(context.Context, net.Conn, io.Writer) error {
			if n > 0 {
				return nil
			}
			return func(_ context.Context, _ net.Conn, print io.Writer) error {
				for range 2 * maxRecords {
					if _, err := io.WriteString(print, "words\n"); err != nil {
						return err
					}
				}
				_, err := io.WriteString(print, "panic: oops\n\ngoroutine 1 [running]:\n")
				return errors.Join(err, errors.New("exit status 2"))
			}
		})
		logged := &logs{}
		h := slowHandler{slog.NewTextHandler(logged, nil), make(chan struct{})}
		o := r.opts
		o.Log = slog.New(h)
		r.Supervisor = NewSupervisor(o)
		r.run()
		r.Set(config("a"))
		time.Sleep(time.Second)
		synctest.Wait()
		if st := r.Status(); st.Starts != 2 || !st.Speaking {
			t.Errorf("%+v, want the second child within a second", st)
		}
		begin := time.Now()
		r.end()
		if took := time.Since(begin); took > 2*logLimit {
			t.Errorf("the end took %v, want %v at most", took, 2*logLimit)
		}
		close(h.wait)
		r.queue.flush(wait)
		text := logged.String()
		for _, want := range []string{"records are lost", "trace=\"panic: oops", "line=words"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in the log", want)
			}
		}
	})
}

// TestProcess_Closed: nothing of a child stays open.
func TestProcess_Closed(t *testing.T) {
	t.Setenv(childVariable, childFails)
	var mu sync.Mutex
	var children []*process
	s := NewSupervisor(Options{Log: slog.New(slog.DiscardHandler), Start: func(context.Context) (Child, error) {
		p, err := spawn(true)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		children = append(children, p)
		return p, nil
	}})
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { s.Run(ctx); close(over) }()
	s.Set(config("a"))
	until(t, "three children", func() bool { return s.Status().Starts >= 3 })
	stop()
	<-over
	for n, c := range children {
		if _, err := c.output.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the output of child %d: %v, want that it is closed", n, err)
		}
		if err := c.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the socket of child %d: %v, want that it is closed", n, err)
		}
	}
}

// TestProcess_ClosedFirst: the end of a process whose output was read and closed before
// is what it is.
func TestProcess_ClosedFirst(t *testing.T) {
	t.Setenv(childVariable, childFails)
	c, err := spawn(true)
	if err != nil {
		t.Fatal(err)
	}
	output := c.Output()
	if _, err := io.ReadAll(output); err != nil {
		t.Error(err)
	}
	if err := errors.Join(output.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err == nil || err.Error() != "exit status 1" {
		t.Errorf("%v, want exit status 1", err)
	}
}
