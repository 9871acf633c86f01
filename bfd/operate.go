package bfd

import (
	"fmt"
	"time"
)

// What the owner of a session asks for, and what it is told.

func (t *table) update(s *session, c Config) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("update session: %w", err)
	}
	if c = c.withDefaults(); !c.SameSession(s.core.conf) {
		return fmt.Errorf("update session with %s: the configuration is that of another session; close this one and open that", s.core.conf.Peer)
	}
	if s.closed() {
		return nil
	}
	s.core.update(c)
	t.schedule(s)
	return nil
}

// setAdmin does not bring a closed session back.
func (t *table) setAdmin(s *session, down bool, now instant) {
	if !down && s.closed() {
		return
	}
	before := s.core.state
	s.core.setAdmin(down, now)
	t.note(s, before, now)
	t.schedule(s)
}

func (t *table) signalPath(s *session, d Diag) {
	s.core.signalPath(d)
	t.schedule(s)
}

func (t *table) forwardingReset(s *session, now instant) {
	before := s.core.state
	s.core.step(forwardingReset, now)
	t.note(s, before, now)
	t.schedule(s)
}

// sessionCopy is a session as it was, to be looked at without the lock.
type sessionCopy struct {
	session
	echo echo
	wall func(instant) time.Time
}

// copySession copies what status needs. It does not allocate: the caller holds the lock
// that the thread of all sessions waits for.
func (t *table) copySession(s *session, to *sessionCopy) {
	to.session, to.wall = *s, t.wall
	if s.core.echo != nil {
		to.echo = *s.core.echo
		to.core.echo = &to.echo
	}
}

func (t *table) status(s *session) Status {
	var snap sessionCopy
	t.copySession(s, &snap)
	return snap.status()
}

func (s *sessionCopy) status() Status {
	c := &s.core
	st := Status{
		Config: c.conf.clone(), State: c.state, Since: s.wall(s.since), EverUp: s.ups > 0,
		Diag: c.diag, RemoteState: c.remoteState, RemoteDiag: c.remoteDiag,
		LocalDiscriminator: c.localDiscr, RemoteDiscriminator: c.remoteDiscr,
		RemoteMultiplier: c.remoteMult, Polling: c.polling(), RemoteDemand: c.remoteDemand,
		Sent: s.sent, Received: s.received, Dropped: counted(&s.dropped),
		Ups: s.ups, Failures: s.failures, WorstLateness: c.worstLateness, Backoff: c.congestion.factor,
		Problem: s.problem,
	}
	if st.Problem == "" {
		st.Problem = s.unsent
	}
	if st.Problem == "" && c.state != Up {
		st.Problem = s.complaint()
	}
	if c.periodic() {
		st.TxInterval = c.interval()
	}
	if s.received > 0 {
		st.LastReceived = s.wall(c.lastRx)
	}
	if c.heard {
		st.RxInterval, st.DetectionTime = max(c.tolerance, c.remoteMinTx), c.detection()
	}
	if c.echo != nil {
		c.echo.describe(&st)
	}
	return st
}

// complaint says in words what is wrong with the peer's packets when they come and
// none is taken.
func (s *session) complaint() string {
	c := &s.core.conf
	switch s.refused {
	case DropTTL:
		switch {
		case c.Mode == Echo:
			return "" // describe has better words
		case c.Multihop:
			return fmt.Sprintf("packets come with hop limit %d, at least %d is asked for: there are more routers between, or %s does not send 255 (BIRD sends 64); set the minimum to %d if that is right",
				s.refusedTTL, c.MinTTL, c.Peer, s.refusedTTL)
		default:
			return fmt.Sprintf("packets come with hop limit %d instead of 255: they were routed, or forged (RFC 5881 section 5); a peer that is not on this link needs multihop", s.refusedTTL)
		}
	case DropAuthUnexpected:
		return "its packets are authenticated, and no authentication is configured here"
	case DropAuthMissing:
		return fmt.Sprintf("its packets are not authenticated, and %s is configured here", c.Auth.Type)
	case DropAuthType:
		return fmt.Sprintf("its packets have another kind of authentication than %s", c.Auth.Type)
	case DropAuthKey:
		return "its packets are signed with a key id that is not configured here"
	case DropAuthDigest, DropAuthLength:
		return "its packets are signed with another secret"
	case DropAuthSequence:
		return "its packets are replays, or the peer restarted: its sequence number is outside the window, which is forgotten after twice the detection time"
	case DropNone, DropShort, DropVersion, DropLength, DropMultiplier, DropMultipoint, DropMyDiscriminator, DropNoSession,
		DropState, DropNoPeer, DropPort, DropInterface, DropAdminDown, DropEchoForeign, DropEchoOld, DropEchoTest:
		return ""
	default:
		panic(fmt.Sprintf("bfd: unhandled drop %d", uint8(s.refused)))
	}
}

// counts is for who holds the lock: like copySession, it leaves what allocates for
// afterwards.
func (t *table) counts() (st Stats, dropped [drops]uint64) {
	return Stats{Sessions: len(t.byIdentity), Sent: t.sent, Received: t.received, WorstLateness: t.worstLateness}, t.dropped
}

func (t *table) resetLateness() { t.worstLateness = 0 }

// counted returns the drops that happened.
func counted(dropped *[drops]uint64) map[Drop]uint64 {
	m := map[Drop]uint64{}
	for d, n := range dropped {
		if n > 0 {
			m[Drop(d)] = n //nolint:gosec // below drops
		}
	}
	return m
}

// lingering returns until when closed sessions have to be served.
func (t *table) lingering() (n int, until instant) {
	for _, s := range t.byDiscriminator {
		if s.closed() {
			n, until = n+1, max(until, s.closeAt)
		}
	}
	return n, until
}
