package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/uplink"
)

// listener is a way that hears a session.
type listener struct {
	way   uplink.Way
	rules bfdRules
}

// session is the BFD session of a way, or of several that are one path, or why there
// is none.
type session struct {
	board *Board
	// news is set when there was an event.
	news *atomic.Bool
	// speaker is what it was opened on: it is worth nothing on another one.
	speaker Speaker
	// conf is what it was opened with or changed to, handle is nil if it is not
	// open. The loop writes them with the mutex of sessions held, for others to
	// read.
	conf   bfd.Config
	handle Session
	// waits is since when it is waited for. Of the loop, as is refused: why it could
	// not be changed last, "" if it could.
	waits   time.Time
	refused string

	// mu guards the rest, for moments only: the thread that serves all sessions
	// waits for it.
	mu sync.Mutex
	// listeners are one or more; the loop alone changes them.
	listeners []listener
	heard     heard
	// changed is when it began, or its state changed last.
	changed time.Time
	// deadline is when the start limit ends.
	deadline time.Time
	// events counts them; ended says that what comes now is not heard.
	events uint64
	ended  bool
}

// hear is called by the thread of the speaker with each change of state. A failure
// is on the board before anything else happens; the speaker logs it, on a goroutine of
// its own.
func (s *session) hear(e bfd.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.events++
	s.news.Store(true)
	s.changed = e.At
	s.heard.take(e)
	s.put(e.At)
}

// put puts on the board what follows from all that is known. The caller holds mu.
func (s *session) put(now time.Time) {
	for _, l := range s.listeners {
		o, reason := bfdEvidence(l.rules, s.heard, now, s.deadline)
		s.board.Put(uplink.Evidence{
			Source: uplink.Source{Way: l.way, Kind: uplink.KindBFD}, Opinion: o, Reason: reason, Since: now,
		})
	}
}

// read takes what the session says of itself beside its events. What was said before
// an event that came meanwhile is forgotten: it is asked again soon.
func (s *session) read(status func() bfd.Status, now time.Time) {
	s.mu.Lock()
	before := s.events
	s.mu.Unlock()
	st := status()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && s.events == before && !s.heard.closed {
		s.heard.read(st)
		s.put(now)
	}
}

// judge puts the evidence anew: listeners may have changed, and time passes.
func (s *session) judge(all []listener, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners, s.deadline = all, s.waits.Add(startLimit(s.conf.DesiredMinTx))
	s.put(now)
}

// heir adds to what is known of a session that follows s what s knew of the path. If
// that was waited for already it returns since when, otherwise now, and what for.
func (s *session) heir(h heard, now time.Time) (_ heard, waits time.Time, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.inherit(s.heard)
	if s.heard.closed && !s.heard.dead {
		return h, s.waits, s.heard.trouble
	}
	return h, now, ""
}

// attrs returns what log lines about s say, with the name of the first way that hears
// it. The loop calls it.
func (s *session) attrs(more ...any) []any {
	w := s.listeners[0].way
	return append([]any{"uplink", w.Uplink, "family", w.Family.String()}, more...)
}

// up reports whether the session is up.
func (s *session) up() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.phase == phaseUp
}

// failuresOf counts the failures of the session of a way. The loop calls it.
func (p *sessions) failuresOf(w uplink.Way) uint64 {
	s := p.all[w]
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.failures
}

// next returns when the session is to be looked at again, the zero Time if it need
// not be soon.
func (s *session) next(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at time.Time
	if !s.heard.closed && now.Sub(s.changed) < unsettledFor {
		at = now.Add(unsettledPace)
	}
	if now.Before(s.deadline) && slices.ContainsFunc(s.listeners, func(l listener) bool { return l.rules.require }) {
		at = earlier(at, s.deadline)
	}
	return at
}

// lose says that the speaker died. A failure stays one: nothing has proved the
// contrary.
func (s *session) lose(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if s.heard.phase == phaseUp {
		s.heard.phase = phaseNew
	}
	s.heard.closed, s.heard.dead, s.heard.trouble = true, true, why
	s.put(time.Now())
	s.ended = true
}

// end makes that nothing of the session is heard any more.
func (s *session) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
}
