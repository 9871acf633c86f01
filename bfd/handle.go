package bfd

import "errors"

// Session is a session of a Speaker. Its methods may be called from any goroutine.
type Session struct {
	speaker *Speaker
	session *session
	notify  func(Event)
	// closed, and the last status then: the variables may have a new owner. Both
	// are under the lock of the speaker.
	closed bool
	last   Status
}

// hear gets the events of the session, and passes them on until Close.
func (h *Session) hear(e Event) {
	h.speaker.mu.Lock()
	closed := h.closed
	h.speaker.mu.Unlock()
	if !closed && h.notify != nil {
		h.notify(e)
	}
	h.speaker.journal.event(e)
}

// do runs f under the lock unless the session is closed, and has the loop look at what
// it changed.
func (h *Session) do(f func(t *table, s *session, now instant)) {
	s := h.speaker
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.closed {
		return
	}
	f(s.table, h.session, s.now())
	if s.poller != nil {
		s.poller.wake()
	}
}

// Status returns a snapshot; of a closed session, the last one.
func (h *Session) Status() Status {
	var snap sessionCopy
	var problem string
	s := h.speaker
	s.mu.Lock()
	closed, last := h.closed, h.last
	if !closed {
		problem = h.look(&snap)
	}
	s.mu.Unlock()
	if closed {
		return last
	}
	return described(&snap, problem)
}

// look takes a snapshot, and returns what the socket has to say. The caller holds the
// lock.
func (h *Session) look(snap *sessionCopy) (problem string) {
	h.speaker.table.copySession(h.session, snap)
	if out, ok := h.session.sender.(*controlSocket); ok && h.session.core.state != Up {
		problem = out.problem(h.speaker.now())
	}
	return problem
}

func described(snap *sessionCopy, problem string) Status {
	st := snap.status()
	if st.Problem == "" {
		st.Problem = problem
	}
	return st
}

// Update changes a session while it runs: intervals by a Poll Sequence, without a
// flap. An error changes nothing: for an invalid Config, or one of another session
// (see [Config.SameSession]).
func (h *Session) Update(c Config) error {
	err := errors.New("update session: it is closed")
	h.do(func(t *table, s *session, _ instant) {
		if err = t.update(s, c); err == nil {
			// Its sockets may have to change as well.
			h.speaker.fresh = append(h.speaker.fresh, s)
		}
	})
	return err
}

// Disable takes the session administratively down, and Enable back (RFC 5880
// section 6.8.16).
func (h *Session) Disable() {
	h.do(func(t *table, s *session, now instant) { t.setAdmin(s, true, now) })
}

// Enable ends what Disable began.
func (h *Session) Enable() {
	h.do(func(t *table, s *session, now instant) { t.setAdmin(s, false, now) })
}

// SignalPath tells the peer that a path beyond us failed (DiagConcatenatedPathDown,
// DiagReverseConcatenatedPathDown) or works (DiagNone), while the session stays Up
// (RFC 5880 section 6.8.17). It panics for other diagnostics.
func (h *Session) SignalPath(d Diag) {
	switch d { //nolint:exhaustive // the others are for the session itself
	case DiagNone, DiagConcatenatedPathDown, DiagReverseConcatenatedPathDown:
	default:
		panic("bfd: signal path: a diagnostic for something else: " + d.String())
	}
	h.do(func(t *table, s *session, _ instant) { t.signalPath(s, d) })
}

// ForwardingReset tells the peer that our forwarding state was lost: the session
// goes Down with that diagnostic (RFC 5880 section 6.8.15).
func (h *Session) ForwardingReset() {
	h.do(func(t *table, s *session, now instant) { t.forwardingReset(s, now) })
}

// Close ends the session: the peer is told that we are administratively down for
// its detection time (RFC 5882 section 8), without the caller waiting for it. A
// notification that is under way may end after Close returned; none begins.
func (h *Session) Close() {
	h.do(func(t *table, s *session, now instant) {
		t.close(s, now)
		var snap sessionCopy
		problem := h.look(&snap)
		h.last, h.closed = described(&snap, problem), true
	})
}
