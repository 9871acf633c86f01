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
	configError error
	// readError is why the kernel cannot be read at present.
	readError string
	// failures are the writes that fail at present, loud says that one of them is
	// no mere waiting for a link; problems are what cannot be had; errors are both.
	failures, problems string
	loud               bool
	errors             []string

	inSync          bool
	writes, resyncs uint64

	drifts      uint64
	lastDrift   string
	lastDriftAt time.Time
	// driftLogged are the repairs that were logged last.
	driftLogged   string
	driftLoggedAt time.Time

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
}

// record logs and counts what one pass of the writer did.
func (s *stats) record(log *slog.Logger, rep fib.Report, now time.Time) {
	s.writes += uint64(len(rep.Done))
	if rep.Read {
		s.resyncs++
	}
	level := s.drift(log, rep, now)
	for _, op := range rep.Done {
		log.Log(context.Background(), level, "kernel write", "op", op.String())
	}
	if len(rep.Done) > 0 && len(rep.Repairs) == 0 {
		s.changed(join(rep.Done), now)
	}
	switch {
	case rep.ReadErr != nil:
		s.failedRead(log, rep.ReadErr)
	case rep.Read && s.readError != "":
		s.readError = ""
		log.Info("the kernel can be read again")
	}
	s.inSync = rep.InSync && s.readError == ""
	if rep.Read || len(rep.Done) > 0 || len(rep.Failed) > 0 || rep.InSync && s.failures != "" {
		s.complain(log, rep) // A pass that tried nothing has nothing new to say.
	}
}

// driftQuiet is how long the same drift is only counted after it was logged: who
// fights us does so ten times a second.
const driftQuiet = time.Minute

// drift notes what was repaired, and returns the level at which to log the ops.
func (s *stats) drift(log *slog.Logger, rep fib.Report, now time.Time) slog.Level {
	n := len(rep.Repairs)
	if n == 0 {
		return slog.LevelInfo
	}
	what := join(rep.Repairs)
	s.drifts++
	s.lastDrift = fmt.Sprintf("%s; restored with: %s", rep.Cause, what)
	s.lastDriftAt = now
	if what == s.driftLogged && now.Sub(s.driftLoggedAt) < driftQuiet {
		return slog.LevelDebug
	}
	log.Warn("drift: somebody else changed what is ours; it was repaired", "reason", rep.Cause, "ops", n,
		"first", rep.Repairs[0].String(), "drifts", s.drifts)
	s.driftLogged, s.driftLoggedAt = what, now
	return slog.LevelInfo
}

// complain keeps the present errors and logs them when they change.
func (s *stats) complain(log *slog.Logger, rep fib.Report) {
	s.errors = nil
	loud := false
	for _, f := range rep.Failed {
		s.errors = append(s.errors, f.Error())
		loud = loud || !fib.NotReady(f.Err)
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
	}
	if s.loud && failures == "" {
		log.Info("the kernel takes all writes again")
	}
	s.failures, s.loud = failures, loud
	s.errors = append(s.errors, rep.Problems...)
	problems := strings.Join(rep.Problems, "\n")
	if problems != s.problems {
		if problems != "" {
			log.Warn("not everything that is wanted can be had", "reason", problems)
		} else {
			log.Info("everything that is wanted can be had again")
		}
	}
	s.problems = problems
}

// present returns the errors of now, a reading that fails first.
func (s *stats) present() []string {
	if s.readError == "" {
		return s.errors
	}
	return append([]string{s.readError}, s.errors...)
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
