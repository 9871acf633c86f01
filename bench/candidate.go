package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// candidate is an implementation of BFD.
type candidate interface {
	// name as in tables and flags.
	name() string
	// version as the program tells it; the error says how to install it.
	version(ctx context.Context) (string, error)
	// start runs it on the near host of a wire, with one session for each pair.
	start(ctx context.Context, t task) (running, error)
}

// task is what a candidate is asked to do.
type task struct {
	wire *wire
	// dir is an empty directory, for configuration, sockets and logs.
	dir        string
	interval   time.Duration
	multiplier int
}

// running is a candidate that was started.
type running interface {
	// processes are all that belong to it.
	processes() []*process
	// up returns how many sessions are Up. A daemon with one thread that lists a
	// thousand sessions sends nothing meanwhile, and may lose some by it: not to be
	// asked before the measurement is over.
	up(ctx context.Context) (int, error)
	// flaps returns how often sessions left Up so far, without disturbing them.
	flaps() (int, error)
	// stop ends the processes.
	stop() error
}

// daemons is the part of running that all of them share.
type daemons []*process

func (d daemons) processes() []*process { return d }

// stop ends them in the reverse order of their start.
func (d daemons) stop() error {
	var errs []error
	for i := len(d) - 1; i >= 0; i-- {
		errs = append(errs, d[i].stop())
	}
	return errors.Join(errs...)
}

// usage is what a candidate has used since it began.
type usage struct {
	cpu time.Duration
	// peak is the sum over its processes, in octets; pages that they share count
	// for each.
	peak int64
}

func measureUsage(r interface{ processes() []*process }) (usage, error) {
	var u usage
	for _, p := range r.processes() {
		cpu, err := p.cpu()
		if err != nil {
			return usage{}, err
		}
		peak, err := p.peak()
		if err != nil {
			return usage{}, err
		}
		u.cpu += cpu
		u.peak += peak
	}
	return u, nil
}

// countFlaps counts the lines of a log that match.
func countFlaps(log string, flap *regexp.Regexp) (int, error) {
	text, err := os.ReadFile(log)
	if err != nil {
		return 0, fmt.Errorf("read changes of sessions: %w", err)
	}
	return len(flap.FindAllIndex(text, -1)), nil
}

// install is the advice where a program is missing.
const install = "apt-get install -y frr bird2"

// ask runs a program and returns what it printed, to either output.
func ask(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("run %s: %w; get it with: %s", name, err, install)
	case err != nil:
		return "", fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// poll asks done again and again until it is true, fails, or ctx ends; then the
// error is that of ctx.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
