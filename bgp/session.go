package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// steadyTime is how long a session must have stood for its peer to be tried again at
// once when it is lost. A peer that flaps faster waits as long as the library lets
// it, which is five seconds and then as much as an attempt to connect takes.
const steadyTime = 10 * time.Second

// session is what is known of one peer that is configured. It belongs to the lock of
// sessions, which nobody holds for long.
type session struct {
	peer  Peer
	state State
	since time.Time
	// begun is when the session that stands was established, and names it: both
	// streams of events say the same time.
	begun              time.Time
	trouble, lastError string
	lastErrorAt        time.Time
	flaps              uint64
	routerID           netip.Addr
	hold               time.Duration
	restart            bool
	restartTime        time.Duration
	nextHop6           bool
	restartsN          bool
	// restarting: the peer said so of itself (RFC 4724 section 3, R bit).
	restarting           bool
	sent, received       heardNotice
	fams                 [len(Families) + 1]familyFacts
	added                *addition
	rebuildAt, blockedTo time.Time
	// overAgain is when a peer that sent too many prefixes, and still has its session, is
	// told once more that it ends.
	overAgain   time.Time
	established bool
	// steady is steadyTime, but in tests. replaced says that the peer opened another
	// connection, unread that it sent an UPDATE that could not be read.
	steady           time.Duration
	replaced, unread bool
	// unsent is when the peer had taken nothing for too long.
	unsent time.Time
	// openTime is how long a connection may take to become a session when the peer
	// makes another one: three seconds, but in tests.
	openTime time.Duration
	// fresh says that nobody has looked up yet what events of this session do not
	// say.
	fresh         bool
	local, remote uint16
	// toldAt is when what the peer is told last changed.
	toldAt time.Time
	// losses are the last ends of sessions, and what was decided of their paths.
	losses []loss
}

// loss is one end of a session.
type loss struct {
	at   time.Time
	keep keepFor
}

// manyLosses is how many are remembered: as far as the stream of paths may be behind
// that of states before paths are not kept any more.
const manyLosses = 16

// kept returns what was, or will be, decided of the paths of the session that ended
// as e says.
func (s *session) kept(e *peerState) keepFor {
	for _, l := range s.losses {
		if l.at.Equal(e.at) {
			return l.keep
		}
	}
	if !s.established || e.at.Before(s.begun) {
		return 0
	}
	return s.graceful(e)
}

// heardNotice is a NOTIFICATION and when it was sent or received.
type heardNotice struct {
	notification
	at time.Time
}

// since returns the notification if it is of the session that began then.
func (h *heardNotice) since(begun time.Time) *notification {
	if h.at.IsZero() || h.at.Before(begun) {
		return nil
	}
	return &h.notification
}

// addition is how a peer was added to the library.
type addition struct {
	peer       Peer
	restarting bool
	deferral   time.Duration
}

// familyFacts is what is known of one family of a session.
type familyFacts struct {
	negotiated bool
	// restarts: graceful restart was negotiated for the family.
	restarts bool
	synced   bool
	kept     retention
	counts   counts
}

func newSession(p Peer, now time.Time, steady time.Duration) *session {
	s := &session{peer: p, state: Idle, since: now, steady: steady, openTime: min(steady, 3*time.Second)}
	if p.Shutdown != "" {
		s.state, s.trouble = Shut, p.Shutdown
	}
	return s
}

// enter changes the state.
func (s *session) enter(state State, now time.Time) {
	if s.state != state {
		s.state, s.since = state, now
	}
}

// openLimit is how long a connection may take to become a session. The library waits
// for four minutes, and may wait for ever where both ends connect at the same moment.
const openLimit = 15 * time.Second

// unfinished is what is known where a connection does not become a session.
const unfinished = "the connection stands, but the peer does not complete the opening of the session"

// openUntil is when a connection must have become a session; the zero Time where there
// is none that could.
func (s *session) openUntil() time.Time {
	if s.established || s.added == nil || s.state != OpenSent && s.state != OpenConfirm {
		return time.Time{}
	}
	return s.since.Add(openLimit)
}

// event notes what the library says of the session, and reports whether anything of
// the status changed.
func (s *session) event(e *peerState) bool {
	switch {
	case e.state == Established:
		s.begin(e)
		return true
	case s.established:
		s.lose(e)
		return true
	case s.state == Shut || s.state == e.state:
		return false
	}
	if e.ending == endInvalid && s.trouble == "" {
		// The library does not say what the peer said to the OPEN message.
		s.trouble = refusedOpen
	}
	s.enter(e.state, e.at)
	return true
}

// refusedOpen is what is known where a peer does not like the OPEN message.
const refusedOpen = "the peer ended the session while it was being opened; its log says why, wrong AS numbers are the usual reason"

// begin notes that the session stands.
func (s *session) begin(e *peerState) {
	s.established, s.fresh, s.replaced, s.unread = true, true, false, false
	s.enter(Established, e.at)
	s.since, s.begun = e.at, e.at
	s.trouble = ""
	s.routerID, s.nextHop6 = e.routerID, e.nextHop6
	s.restart, s.restartTime, s.restartsN = e.restart && s.peer.GracefulRestart.Enabled, e.restartTime, e.notify
	s.restarting, s.overAgain = s.restart && e.restarting, time.Time{}
	s.local, s.remote = e.local, e.remote
	s.hold = 0
	for _, f := range s.peer.Families {
		x := &s.fams[f]
		x.negotiated, x.synced = e.families[f], false
		x.restarts = s.restart && e.restarts[f]
		x.kept.back(e.at, e.preserves(f) && s.restart, s.peer.GracefulRestart.StaleTime)
	}
}

// preserves says whether what the peer announced before in f still holds.
func (e *peerState) preserves(f Family) bool {
	return e.families[f] && e.restart && e.restarts[f] && e.keeps[f]
}

// lose notes that the session is lost.
func (s *session) lose(e *peerState) {
	s.established = false
	ending := e.ending
	switch {
	case s.replaced:
		ending = endReplaced
		s.flaps++
	case s.added == nil:
		ending = endDeconfigured
	default:
		s.flaps++
		if s.unsent.After(s.begun) {
			ending = endWriteFailed
		}
	}
	sent, received := s.sent.since(s.begun), s.received.since(s.begun)
	s.lastError, s.lastErrorAt = ending.words(sent, received), e.at
	if s.state != Shut {
		s.enter(e.state, e.at)
		s.trouble = s.lastError
	}
	graceful := s.graceful(e)
	s.losses = append(s.losses, loss{e.at, graceful})
	if len(s.losses) > manyLosses {
		s.losses = append([]loss(nil), s.losses[1:]...)
	}
	if !s.blockedTo.IsZero() {
		s.lastError = tooMany
		s.trouble = fmt.Sprintf("%s; it is tried again at %s", tooMany, s.blockedTo.Format(time.TimeOnly))
	} else if s.added != nil && e.at.Sub(s.begun) >= s.steady {
		s.rebuildAt = e.at
	}
	for _, f := range s.peer.Families {
		x := &s.fams[f]
		if x.negotiated {
			x.kept.lost(e.at, graceful.of(x.restarts))
		}
		x.negotiated, x.synced, x.restarts = false, false, false
	}
	s.routerID, s.restart, s.restartTime, s.restartsN, s.hold = netip.Addr{}, false, 0, false, 0
}

const tooMany = "this side ended the session: the peer sent too many prefixes (Cease, Maximum Number of Prefixes Reached)"

// keepFor is how long the paths of a lost session are kept.
type keepFor time.Duration

// of returns it for one family.
func (k keepFor) of(restarts bool) time.Duration {
	if !restarts {
		return 0
	}
	return time.Duration(k)
}

// graceful is how long the paths of the session are kept that ended as e says: 0
// unless graceful restart was negotiated and this is the kind of end that it is for
// (RFC 4724 section 4.2, RFC 8538 section 4). The library has looked at that, but for
// one thing: it also keeps them after a hold timer that it said to the peer, for which
// both sides would have to be willing.
func (s *session) graceful(e *peerState) keepFor {
	ended := e.ending == endGraceful && s.added != nil || s.replaced
	if !s.restart || !ended || !s.blockedTo.IsZero() {
		return 0
	}
	if sent := s.sent.since(s.begun); sent != nil && !s.restartsN && !s.replaced {
		return 0
	}
	return keepFor(min(s.restartTime, s.peer.GracefulRestart.MaxRestartTime))
}

// notice notes what the library logged, and reports whether the status changed.
func (s *session) notice(n notice) bool {
	switch n.kind {
	case noticeSent:
		s.sent = heardNotice{n.notification, n.at}
	case noticeReceived:
		s.received = heardNotice{n.notification, n.at}
	case noticeDial:
	case noticeUnsent:
		return s.noteUnsent(n)
	case noticeUnread:
		// What cannot be withdrawn because nobody knows what it is ends the session (RFC
		// 7606 section 3 j).
		s.unread = s.established
		return s.unread
	case noticeSecond:
		// A peer that restarted opens a new connection, and the one that stands is dead
		// though nobody has said so (RFC 4724 section 4.2). One that has just begun may
		// have the second connection of a collision behind it.
		if s.established && s.restart && n.at.Sub(s.begun) >= s.steady {
			s.replaced = true
		}
		// A connection on which nothing comes would block those that follow for four
		// minutes, which is how long the library waits for an OPEN message.
		if !s.established && (s.state == OpenSent || s.state == OpenConfirm) && n.at.Sub(s.since) >= s.openTime {
			s.rebuildAt = n.at
		}
		return s.replaced || !s.rebuildAt.IsZero()
	default:
		panic(fmt.Sprintf("bgp: unhandled notice %d", n.kind))
	}
	if s.established || s.state == Shut || !s.blockedTo.IsZero() {
		return false
	}
	words := n.openWords(&s.peer)
	if words == s.trouble {
		return false
	}
	s.trouble = words
	return true
}

// noteUnsent notes that the peer took nothing for too long. It may come after the end
// of the session, which then looks like one without a word.
func (s *session) noteUnsent(n notice) bool {
	s.unsent = n.at
	if s.established || n.at.Sub(s.lastErrorAt) > time.Second || s.lastError != endReadFailed.words(nil, nil) {
		return false
	}
	s.lastError = endWriteFailed.words(nil, nil)
	if s.state != Shut {
		s.trouble = s.lastError
	}
	return true
}

// openWords says why a session does not come about.
func (n notice) openWords(p *Peer) string {
	switch {
	case n.kind == noticeReceived:
		return "the peer refuses the session: " + n.notification.String()
	case n.kind == noticeSent && n.code == 5:
		return refusedOpen
	case n.kind == noticeSent && n.code == 2 && n.subcode == 2:
		return fmt.Sprintf("the peer does not have AS %d (%s)", p.AS, n.notification)
	case n.kind == noticeSent:
		return "this side refuses the session: " + n.notification.String()
	case n.words == "i/o timeout" && p.Password != "":
		return fmt.Sprintf("cannot connect to port %d: no answer; it is the same if the passwords differ", p.Port)
	case n.words == "i/o timeout":
		return fmt.Sprintf("cannot connect to port %d: no answer", p.Port)
	default:
		return fmt.Sprintf("cannot connect to port %d: %s", p.Port, n.words)
	}
}

// retains says how long paths of a family are kept, if they are.
func (x *familyFacts) retains() (bool, time.Time) {
	if !x.kept.retained() {
		return false, time.Time{}
	}
	return true, x.kept.until
}

// expire ends retentions whose time is over, and reports whether the status changed.
func (s *session) expire(now time.Time) bool {
	changed := false
	for _, f := range s.peer.Families {
		was := s.fams[f].kept.retained()
		s.fams[f].kept.expire(now)
		changed = changed || was != s.fams[f].kept.retained()
	}
	return changed
}

// whole reports whether the peer has sent its table, in every family that it has.
func (s *session) whole() bool {
	return s.established && !slices.ContainsFunc(s.peer.Families, func(f Family) bool {
		return s.fams[f].negotiated && !s.fams[f].synced
	})
}

// status is what is told of the session.
func (s *session) status(announced func(f Family) int) PeerStatus {
	p := PeerStatus{
		Name: s.peer.Name, Address: s.peer.Address, AS: s.peer.AS, State: s.state, Since: s.since, Trouble: s.trouble,
		LastError: s.lastError, LastErrorAt: s.lastErrorAt, Flaps: s.flaps,
		RouterID: s.routerID, HoldTime: s.hold, Restart: s.restart, RestartTime: s.restartTime,
		Families: make([]FamilyStatus, 0, len(s.peer.Families)),
	}
	for _, f := range s.peer.Families {
		x := &s.fams[f]
		n := &x.counts
		k := FamilyStatus{
			Family: f, Negotiated: x.negotiated, Synced: x.synced, Received: n.received, Accepted: n.accepted,
			Refused: map[Reason]int{}, Stale: n.stale, Default: n.fallback,
			Draining: n.accepted > 0 && n.draining == n.accepted, Bandwidth: float64(n.bandwidth),
		}
		k.Retained, k.Until = x.retains()
		for why, count := range n.refused {
			if count > 0 && Reason(why) != Accepted { //nolint:gosec // Few.
				k.Refused[Reason(why)] = count //nolint:gosec // Few.
			}
		}
		if s.established && x.negotiated {
			k.Announced = announced(f)
		}
		p.Families = append(p.Families, k)
	}
	return p
}

// differs says whether a session has to be begun anew for a peer to be as wanted.
func (p *Peer) differs(q *Peer) bool {
	return p.Address != q.Address || p.Port != q.Port || p.Interface != q.Interface || p.Local != q.Local ||
		p.AS != q.AS || p.LocalAS != q.LocalAS || !slices.Equal(p.Families, q.Families) || p.HoldTime != q.HoldTime ||
		p.Password != q.Password || p.TTLSecurity != q.TTLSecurity || p.Multihop != q.Multihop || p.Passive != q.Passive ||
		p.GracefulRestart.Enabled != q.GracefulRestart.Enabled || p.GracefulRestart.RestartTime != q.GracefulRestart.RestartTime
}
