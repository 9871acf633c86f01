package engine

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// stats is what the engine remembers of its own work, for the status and so that
// repeats are logged once per change.
type stats struct {
	configError  error
	readError    string
	failures     string
	problems     string
	errors       []string
	inSync       bool
	writes       uint64
	resyncs      uint64
	drifts       uint64
	lastDrift    string
	lastDriftAt  time.Time
	lastChange   string
	lastChangeAt time.Time
}

func (s *stats) changed(what string, at time.Time) {
	s.lastChange, s.lastChangeAt = what, at
}

// failedRead records that the kernel cannot be read; everything stays as it is.
func (s *stats) failedRead(log *slog.Logger, err error) {
	s.inSync = false
	if s.readError != err.Error() {
		s.readError = err.Error()
		log.Warn("cannot read the kernel; everything stays as it is", "error", err)
	}
	s.errors = []string{err.Error()}
}

// record logs and counts what one pass of the writer did.
func (s *stats) record(log *slog.Logger, rep fib.Report, now time.Time) {
	if rep.ReadErr != nil {
		s.failedRead(log, rep.ReadErr)
		return
	}
	s.readError = ""
	s.inSync = rep.InSync
	s.writes += uint64(len(rep.Done))
	if rep.Read {
		s.resyncs++
	}
	for _, op := range rep.Done {
		log.Info("kernel write", "op", op.String())
	}
	if n := len(rep.Repairs); n > 0 {
		s.drifts++
		s.lastDrift = fmt.Sprintf("%s; restored with: %s", rep.Cause, join(rep.Repairs))
		s.lastDriftAt = now
		log.Warn("drift: somebody else changed what is ours; it was repaired", "reason", rep.Cause, "ops", n, "first", rep.Repairs[0].String())
	} else if n := len(rep.Done); n > 0 {
		s.changed(join(rep.Done), now)
	}
	s.complain(log, rep)
}

// complain keeps the present errors and logs them when they change.
func (s *stats) complain(log *slog.Logger, rep fib.Report) {
	s.errors = nil
	for _, f := range rep.Failed {
		s.errors = append(s.errors, f.Error())
	}
	failures := strings.Join(s.errors, "\n")
	if failures != s.failures {
		for _, f := range rep.Failed {
			level := slog.LevelWarn
			if fib.NotReady(f.Err) {
				level = slog.LevelDebug
			}
			log.Log(context.Background(), level, "the kernel refused a write; it is tried again", "op", f.Op.String(), "error", f.Err)
		}
		if failures == "" {
			log.Info("the kernel takes all writes again")
		}
	}
	s.failures = failures
	s.errors = append(s.errors, rep.Problems...)
	problems := strings.Join(rep.Problems, "\n")
	if problems != s.problems && problems != "" {
		log.Warn("not everything that is wanted can be had", "reason", problems)
	}
	s.problems = problems
}

// join prints a few ops in one line.
func join(ops []fib.Op) string {
	const most = 3
	var words []string
	for i, op := range ops {
		if i == most {
			words = append(words, fmt.Sprintf("and %d more", len(ops)-most))
			break
		}
		words = append(words, op.String())
	}
	return strings.Join(words, "; ")
}
