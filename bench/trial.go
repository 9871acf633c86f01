package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// trial is a candidate and a far end on a network of their own, with all sessions
// up at the intended intervals.
type trial struct {
	name string
	wire *wire
	dir  string
	near running
	far  *remote
	// startup is how long the candidate took from its start until all sessions
	// were up.
	startup time.Duration
}

// setting is what candidates have in common.
type setting struct {
	sessions   int
	ipv6       bool
	interval   time.Duration
	multiplier int
	// startup is how long it may take until all sessions are up.
	startup time.Duration
}

// startTrial brings everything up, or nothing.
func startTrial(ctx context.Context, c candidate, s setting) (_ *trial, err error) {
	t := &trial{name: c.name()}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.stop())
		}
	}()
	if t.dir, err = os.MkdirTemp("", "multihomed-bench-"); err != nil {
		return nil, err
	}
	if t.wire, err = newWire(ctx, s.sessions, s.ipv6); err != nil {
		return nil, err
	}
	far, near := filepath.Join(t.dir, "far"), filepath.Join(t.dir, "near")
	if err := errors.Join(os.Mkdir(far, 0o700), os.Mkdir(near, 0o700)); err != nil {
		return nil, err
	}
	if t.far, err = startFarEnd(ctx, task{t.wire, far, s.interval, s.multiplier}); err != nil {
		return nil, err
	}
	begin := time.Now()
	if t.near, err = c.start(ctx, task{t.wire, near, s.interval, s.multiplier}); err != nil {
		return nil, err
	}
	if err := t.settle(ctx, s, begin); err != nil {
		return nil, err
	}
	return t, nil
}

// quiet is how long sessions have to stay as they are before a measurement begins.
const quiet = time.Second

// settle waits until all sessions are up and stay so, and says how far it got if
// not. Only the far end is asked: it knows the timers of both ends, and a session
// has its intended timers in both directions only if it is Up at both ends.
func (t *trial) settle(ctx context.Context, s setting, begin time.Time) error {
	limit, cancel := context.WithTimeout(ctx, s.startup)
	defer cancel()
	var far report
	var since time.Time
	err := poll(limit, func() (bool, error) {
		if err := t.check(); err != nil {
			return false, err
		}
		now, err := t.far.ask(limit, commandReport)
		if err != nil {
			return false, err
		}
		far = now
		switch {
		case far.Settled < s.sessions || far.Flaps > 0:
			since = time.Time{}
			_, err = t.far.ask(limit, commandBegin)
			return false, err
		case since.IsZero():
			since = time.Now()
			t.startup = since.Sub(begin)
		}
		return time.Since(since) >= quiet, nil
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		if far.Settled == s.sessions {
			return fmt.Errorf("bring up %s: after %v the far end has all %d sessions, but they flap", t.name, s.startup, s.sessions)
		}
		return fmt.Errorf("bring up %s: after %v the far end has %d of %d sessions at %v x %d; %s",
			t.name, s.startup, far.Settled, s.sessions, s.interval, s.multiplier, far.Unsettled)
	case err != nil:
		return fmt.Errorf("bring up %s: %w", t.name, err)
	}
	return nil
}

// check returns an error if a process of the candidate ended.
func (t *trial) check() error {
	for _, p := range t.near.processes() {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// snapshot is what is known at the begin and at the end of a measurement.
type snapshot struct {
	at        time.Time
	usage     usage
	farUsage  usage
	busy      time.Duration // of the whole machine
	packets   uint64
	overflows uint64
	flaps     int
	far, own  report // own is of package bfd only
}

// begin asks the slow questions first, and the usage last.
func (t *trial) begin(ctx context.Context) (s snapshot, err error) {
	if s.flaps, err = t.near.flaps(); err != nil {
		return s, err
	}
	if s.overflows, err = t.wire.overflows(); err != nil {
		return s, err
	}
	if own, ok := t.near.(*remote); ok {
		if s.own, err = own.ask(ctx, commandBegin); err != nil {
			return s, err
		}
		s.flaps = 0
	}
	if s.far, err = t.far.ask(ctx, commandBegin); err != nil {
		return s, err
	}
	if s.packets, err = t.wire.packets(); err != nil {
		return s, err
	}
	err = s.measureUsage(t)
	return s, err
}

// measureUsage fills what is read of the processes and of the machine.
func (s *snapshot) measureUsage(t *trial) (err error) {
	s.at = time.Now()
	if s.usage, err = measureUsage(t.near); err != nil {
		return err
	}
	if s.farUsage, err = measureUsage(t.far); err != nil {
		return err
	}
	s.busy, err = busyTime()
	return err
}

// end asks for the usage first.
func (t *trial) end(ctx context.Context) (s snapshot, err error) {
	if err = s.measureUsage(t); err != nil {
		return s, err
	}
	if s.packets, err = t.wire.packets(); err != nil {
		return s, err
	}
	if s.far, err = t.far.ask(ctx, commandReport); err != nil {
		return s, err
	}
	if own, ok := t.near.(*remote); ok {
		if s.own, err = own.ask(ctx, commandReport); err != nil {
			return s, err
		}
	}
	if s.overflows, err = t.wire.overflows(); err != nil {
		return s, err
	}
	s.flaps, err = t.near.flaps()
	return s, err
}

// measurement is two snapshots, and how many sessions are up after the second.
type measurement struct {
	startup       time.Duration
	before, after snapshot
	up            int
}

// measure runs for d, with during at the same time if it is not nil; its context
// ends with the measurement.
func (t *trial) measure(ctx context.Context, d time.Duration, during func(ctx context.Context) error) (m measurement, err error) {
	fail := func(err error) (measurement, error) { return m, fmt.Errorf("measure %s: %w", t.name, err) }
	m.startup = t.startup
	if m.before, err = t.begin(ctx); err != nil {
		return fail(err)
	}
	if err = t.wait(ctx, d, during); err != nil {
		return fail(err)
	}
	if m.after, err = t.end(ctx); err != nil {
		return fail(err)
	}
	if m.up, err = t.near.up(ctx); err != nil {
		return fail(err)
	}
	return m, nil
}

func (t *trial) wait(ctx context.Context, d time.Duration, during func(ctx context.Context) error) error {
	inner, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		if during == nil {
			done <- nil
			return
		}
		done <- during(inner)
	}()
	<-inner.Done()
	return errors.Join(<-done, ctx.Err())
}

// stop ends what was started: both ends at once, because each waits a while for the
// other to know, and then what they stood on.
func (t *trial) stop() error {
	var errs []error
	far := make(chan error, 1)
	go func() {
		if t.far == nil {
			far <- nil
			return
		}
		far <- t.far.stop()
	}()
	if t.near != nil {
		errs = append(errs, t.near.stop())
	}
	errs = append(errs, <-far)
	if t.wire != nil {
		errs = append(errs, t.wire.close())
	}
	if t.dir != "" {
		errs = append(errs, os.RemoveAll(t.dir))
	}
	return errors.Join(errs...)
}
