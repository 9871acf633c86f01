package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// thread is an OS thread that lives in a network namespace of its own.
type thread struct {
	jobs chan job
	// quit asks the thread to end, done is closed when it did.
	quit, done chan struct{}
	ns         netns.NsHandle
}

type job struct {
	fn    func() error
	reply chan outcome
}

// outcome is how a job ended: with an error, or with a panic that belongs to
// whoever asked for the job.
type outcome struct {
	err      error
	panicked any
}

var errGoexit = errors.New("the function left by runtime.Goexit (t.Fatal belongs outside of Do); the host is gone")

// startThread returns once the thread is in its namespace.
func startThread() (*thread, error) {
	t := &thread{jobs: make(chan job), quit: make(chan struct{}), done: make(chan struct{}), ns: netns.None()}
	ready := make(chan error, 1)
	go t.run(ready)
	if err := <-ready; err != nil {
		<-t.done
		return nil, err
	}
	return t, nil
}

// run is the goroutine of a host. It never unlocks its thread: the runtime ends a
// thread whose locked goroutine returns, and the namespace goes with it. The main
// thread cannot be ended that way and would keep the namespace and show it in
// /proc/self/net, so it is held while another thread does the work.
func (t *thread) run(ready chan error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		defer runtime.UnlockOSThread()
		started := make(chan error, 1)
		go t.run(started)
		ready <- <-started
		return
	}
	defer close(t.done)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		ready <- fmt.Errorf("unshare network namespace: %w", err)
		return
	}
	ns, err := netns.Get()
	if err != nil {
		ready <- fmt.Errorf("open network namespace: %w", err)
		return
	}
	t.ns = ns
	ready <- nil
	for {
		select {
		case j := <-t.jobs:
			j.run()
		case <-t.quit:
			return
		}
	}
}

func (j job) run() {
	// Goexit runs deferred functions without a panic to recover, and that is
	// how it is recognised.
	result := outcome{err: errGoexit}
	defer func() {
		if p := recover(); p != nil {
			result = outcome{panicked: p}
		}
		j.reply <- result
	}()
	result = outcome{err: j.fn()}
}

// do runs fn on the thread.
func (t *thread) do(fn func() error) error {
	j := job{fn: fn, reply: make(chan outcome, 1)}
	select {
	case t.jobs <- j:
	case <-t.done:
		return ErrClosed
	}
	r := <-j.reply
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}

// stop ends the thread; it must be called once.
func (t *thread) stop() error {
	close(t.quit)
	<-t.done
	if err := t.ns.Close(); err != nil {
		return fmt.Errorf("close network namespace: %w", err)
	}
	return nil
}
