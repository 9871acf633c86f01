package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/multihomed/multihomed/bfd"
)

// spec is what a process with package bfd is told on its standard input, as one
// line of JSON.
type spec struct {
	Device     string        `json:"device"`
	Sessions   []sessionSpec `json:"sessions"`
	Interval   time.Duration `json:"interval"`
	Multiplier int           `json:"multiplier"`
	// Procs is GOMAXPROCS, 0 for what Go chooses.
	Procs int  `json:"procs"`
	Load  load `json:"load"`
	// Profile names a file for a CPU profile, "" for none.
	Profile string `json:"profile"`
}

type sessionSpec struct {
	Local netip.Addr `json:"local"`
	Peer  netip.Addr `json:"peer"`
}

// Commands that follow, each a line, each answered by a report. commandBegin
// starts the counts of flaps, lateness and pauses anew, after the report.
const (
	commandReport = "report"
	commandBegin  = "begin"
)

// report is the answer, a line of JSON.
type report struct {
	// Up is the number of sessions in that state, Settled of those which have the
	// intended intervals in both directions as well.
	Up      int `json:"up"`
	Settled int `json:"settled"`
	// Unsettled describes one session that is not.
	Unsettled string `json:"unsettled"`
	// Flaps counts how often sessions left Up, Expired how often because nothing
	// was heard, since commandBegin.
	Flaps   int64 `json:"flaps"`
	Expired int64 `json:"expired"`
	// Sent, Received and Dropped count packets since the start.
	Sent          uint64            `json:"sent"`
	Received      uint64            `json:"received"`
	Dropped       map[string]uint64 `json:"dropped"`
	WorstLateness time.Duration     `json:"worst_lateness"`
	Load          loadReport        `json:"load"`
}

// dropped is the sum over all reasons.
func (r report) dropped() uint64 {
	var n uint64
	for _, d := range r.Dropped {
		n += d
	}
	return n
}

// endpoint is the inside of such a process.
type endpoint struct {
	spec     spec
	speaker  *bfd.Speaker
	sessions []*bfd.Session
	flaps    atomic.Int64
	expired  atomic.Int64
	load     *loading
}

// runEndpoint is the process: it serves the sessions that in tells of, and answers
// commands on out until in ends or ctx does.
func runEndpoint(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read sessions: %w", err)
	}
	e := &endpoint{}
	if err := json.Unmarshal(first, &e.spec); err != nil {
		return fmt.Errorf("read sessions: %w", err)
	}
	if e.spec.Procs > 0 {
		runtime.GOMAXPROCS(e.spec.Procs)
	}
	if e.spec.Profile != "" {
		stop, err := profile(e.spec.Profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	e.load = e.spec.Load.start()
	defer e.load.stop()
	if err := e.open(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() {
		ran <- e.speaker.Run(ctx)
		// Nothing more can be answered; the reader of commands is let go by the
		// end of the process.
	}()
	answered := make(chan error, 1)
	go func() { answered <- e.answer(lines, out) }()
	select {
	case err = <-answered:
		cancel()
		return errors.Join(err, <-ran)
	case err = <-ran:
		cancel()
		return err
	}
}

// open makes the speaker with its sessions.
func (e *endpoint) open() (err error) {
	// Changes of state would be a thousand lines, of no use here.
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if e.speaker, err = bfd.NewSpeaker(bfd.Options{Logger: quiet}); err != nil {
		return err
	}
	for _, s := range e.spec.Sessions {
		session, err := e.speaker.Open(bfd.Config{
			Peer: s.Peer, Local: s.Local, Interface: e.spec.Device,
			DesiredMinTx: e.spec.Interval, RequiredMinRx: e.spec.Interval, Multiplier: e.spec.Multiplier,
		}, e.changed)
		if err != nil {
			return err
		}
		e.sessions = append(e.sessions, session)
	}
	return nil
}

func (e *endpoint) changed(v bfd.Event) {
	if v.Old != bfd.Up {
		return
	}
	e.flaps.Add(1)
	if v.Diag == bfd.DiagTimeExpired {
		e.expired.Add(1)
	}
}

// answer reads commands until there are no more.
func (e *endpoint) answer(in *bufio.Reader, out io.Writer) error {
	commands := bufio.NewScanner(in)
	for commands.Scan() {
		switch c := commands.Text(); c {
		case commandReport:
		case commandBegin:
			e.flaps.Store(0)
			e.expired.Store(0)
			e.speaker.ResetLateness()
			e.load.begin()
		default:
			return fmt.Errorf("read command: %q is none", c)
		}
		line, err := json.Marshal(e.report())
		if err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return commands.Err()
}

func (e *endpoint) report() report {
	stats := e.speaker.Stats()
	r := report{
		Flaps: e.flaps.Load(), Expired: e.expired.Load(),
		Sent: stats.Sent, Received: stats.Received, Dropped: map[string]uint64{},
		WorstLateness: stats.WorstLateness, Load: e.load.report(),
	}
	for reason, n := range stats.Dropped {
		r.Dropped[reason.String()] = n
	}
	for _, session := range e.sessions {
		s := session.Status()
		if s.State == bfd.Up {
			r.Up++
		}
		if e.settled(s) {
			r.Settled++
		} else if r.Unsettled == "" {
			r.Unsettled = fmt.Sprintf("%s is %s, sends every %v, detects in %v: %s", s.Config.Peer, s.State, s.TxInterval, s.DetectionTime, s.Problem)
		}
	}
	return r
}

// settled tells a session from one that is Up but still has the slow intervals of
// its start.
func (e *endpoint) settled(s bfd.Status) bool {
	return s.State == bfd.Up && !s.Polling && s.TxInterval == e.spec.Interval &&
		s.DetectionTime == time.Duration(e.spec.Multiplier)*e.spec.Interval
}

// profile writes a CPU profile from now until stop is called.
func profile(name string) (stop func() error, err error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("write profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
