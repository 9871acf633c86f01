package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// Names of the subcommands that run a process with package bfd. Both are the same;
// a list of processes tells them apart.
const (
	roleCandidate = "candidate"
	roleFarEnd    = "far-end"
)

// own is package bfd, in a process that does nothing else, or what load says.
type own struct {
	procs int
	load  load
	// profiles is a directory for CPU profiles, "" for none.
	profiles string
}

func (own) name() string { return "multihomed" }

func (own) version(ctx context.Context) (string, error) {
	out, err := ask(ctx, "git", "describe", "--tags", "--always", "--dirty")
	if err != nil {
		// Sources without their history are no reason not to measure.
		return "multihomed (version unknown)", nil //nolint:nilerr // said in the text
	}
	return "multihomed " + strings.TrimSpace(out), nil
}

func (o own) start(ctx context.Context, t task) (running, error) {
	s := spec{Device: device, Interval: t.interval, Multiplier: t.multiplier, Procs: o.procs, Load: o.load}
	for _, p := range t.wire.pairs {
		s.Sessions = append(s.Sessions, sessionSpec{Local: p.near, Peer: p.far})
	}
	if o.profiles != "" {
		s.Profile = filepath.Join(o.profiles, fmt.Sprintf("bfd-%d-sessions.prof", len(s.Sessions)))
	}
	r, err := startRemote(ctx, t.wire.near, t.dir, roleCandidate, s)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// startFarEnd starts what every candidate talks to.
func startFarEnd(ctx context.Context, t task) (*remote, error) {
	s := spec{Device: device, Interval: t.interval, Multiplier: t.multiplier}
	for _, p := range t.wire.pairs {
		s.Sessions = append(s.Sessions, sessionSpec{Local: p.far, Peer: p.near})
	}
	return startRemote(ctx, t.wire.far, t.dir, roleFarEnd, s)
}

// remote is the outside of a process with package bfd.
type remote struct {
	daemons

	mu   sync.Mutex
	in   io.WriteCloser
	out  *bufio.Reader
	pipe *os.File // below out
}

// reportsWithin is how long a report may take; the first one waits for the load to
// be built.
const reportsWithin = 3 * time.Minute

// startRemote runs this program again on h. It returns once the process answers.
func startRemote(ctx context.Context, h *lab.Host, dir, role string, s spec) (*remote, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", role)
	cmd.Args[0] = "bench"
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	cmd.Stdout = outWrite
	p, err := startProcess(h, dir, role, cmd)
	// The process has an end of its own; ours would keep the other from its EOF.
	if err := errors.Join(err, outWrite.Close()); err != nil {
		return nil, errors.Join(err, outRead.Close())
	}
	r := &remote{daemons: daemons{p}, in: in, out: bufio.NewReader(outRead), pipe: outRead}
	line, err := json.Marshal(s)
	if err == nil {
		_, err = in.Write(append(line, '\n'))
	}
	if err == nil {
		_, err = r.ask(ctx, commandReport)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", role, err), r.stop())
	}
	return r, nil
}

// ask sends a command and reads the report. A process that ended is an error that
// tells why.
func (r *remote) ask(ctx context.Context, command string) (report, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return report{}, err
	}
	p := r.daemons[0]
	line, err := func() ([]byte, error) {
		if err := r.pipe.SetReadDeadline(time.Now().Add(reportsWithin)); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(r.in, command+"\n"); err != nil {
			return nil, err
		}
		return r.out.ReadBytes('\n')
	}()
	if err != nil {
		// The pipe breaks a little before the process is known to have ended.
		patience := time.NewTimer(time.Second)
		defer patience.Stop()
		select {
		case <-p.done:
			return report{}, p.check()
		case <-patience.C:
		}
		return report{}, fmt.Errorf("ask %s: %w: %s", p.name, err, p.excerpt())
	}
	var rep report
	if err := json.Unmarshal(line, &rep); err != nil {
		return report{}, fmt.Errorf("read report of %s: %w", p.name, err)
	}
	return rep, nil
}

func (r *remote) up(ctx context.Context) (int, error) {
	rep, err := r.ask(ctx, commandReport)
	return rep.Up, err
}

// flaps asks for those since the begin of the measurement.
func (r *remote) flaps() (int, error) {
	rep, err := r.ask(context.Background(), commandReport)
	return int(rep.Flaps), err
}

// stop lets the process end by itself, so that it writes its profile.
func (r *remote) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.in.Close()
	if errors.Is(err, os.ErrClosed) {
		// The process ended, and Wait closed it.
		err = nil
	}
	return errors.Join(err, r.daemons.stop(), r.pipe.Close())
}
