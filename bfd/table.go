package bfd

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// table is all sessions of a speaker: which one a packet is for, and which one has
// something to do next. It is pure but for the senders that are attached to it.
type table struct {
	rng *rand.Rand
	// wall is what the wall clock calls an instant. It is asked when somebody wants
	// to know: it may have been set since.
	wall func(instant) time.Time

	byDiscriminator map[uint32]*session
	byIdentity      map[identity]*session
	// byOrigin has the sessions that are attached.
	byOrigin  map[origin]*session
	deadlines deadlines

	news    []news
	dropped [drops]uint64
	// worstLateness of all sessions since it was reset.
	worstLateness  time.Duration
	sent, received uint64
	buffer         [128]byte
}

// session is a core among others.
type session struct {
	core   core
	notify func(Event)
	// link and sender are set while there are sockets; problem says why not.
	link    int
	sender  sender
	problem string
	// unsent says why the last packet could not be sent.
	unsent string

	// at is when the session is looked at next, place where it is in the heap.
	at    instant
	place int

	// closeAt is when a closed session ends at the latest, never if it is open.
	closeAt instant
	// replaced: a session that is closed has a successor with the same peer.
	replaced bool

	since instant
	counters
}

// counters are about one session, or one life of it.
type counters struct {
	sent, received, ups, failures uint64
	dropped                       [drops]uint64
	// refused is why the last packet was dropped, if none was taken since, and
	// refusedTTL is its hop limit.
	refused    Drop
	refusedTTL int
}

// removed is the place of a session that is in no heap any more.
const removed = -1

// news is an event and who is to be told.
type news struct {
	Event
	notify func(Event)
	from   *session
}

func newTable(rng *rand.Rand, wall func(instant) time.Time) *table {
	return &table{
		rng: rng, wall: wall,
		byDiscriminator: map[uint32]*session{}, byIdentity: map[identity]*session{}, byOrigin: map[origin]*session{},
	}
}

// open adds a session, or takes over one that is being closed and has the same
// configuration but for what update can change: the peer sees it come back, and none
// of its variables start anew (RFC 5880 section 6.8.1: state is kept for a detection
// time).
func (t *table) open(c Config, notify func(Event), now instant) (*session, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	c = c.withDefaults()
	s := t.byIdentity[c.identity()]
	switch {
	case s == nil:
	case !s.closed():
		return nil, fmt.Errorf("open session with %s: there is one already; a path has one session (RFC 5881 section 2)", c.Peer)
	case s.core.conf.SameSession(c):
		s.notify, s.closeAt, s.counters = notify, never, counters{}
		before := s.core.state
		s.core.update(c)
		s.core.setAdmin(false, now)
		t.note(s, before, now)
		t.schedule(s)
		return s, nil
	default:
		t.replace(s, now)
	}
	s = &session{notify: notify, closeAt: never, since: now}
	s.core.start(c, t.discriminator(), t.rng, now)
	t.byDiscriminator[s.core.localDiscr], t.byIdentity[c.identity()] = s, s
	s.at = s.due()
	heap.Push(&t.deadlines, s)
	return s, nil
}

// replace makes room for another session with the peer of s, which is being closed.
// The peer hears once that nothing failed; more of that would be taken for the word
// of the successor.
func (t *table) replace(s *session, now instant) {
	delete(t.byIdentity, s.core.conf.identity())
	s.replaced = true
	if s.finished(now) {
		t.remove(s)
	}
}

// discriminator returns one that is random, unique and not 0 (RFC 5880 section
// 6.8.1).
func (t *table) discriminator() uint32 {
	for {
		d := t.rng.Uint32()
		if _, taken := t.byDiscriminator[d]; d != 0 && !taken {
			return d
		}
	}
}

// attach gives a session its sockets, detach takes them away. Its state is not
// touched by either: silence is what ends it.
func (t *table) attach(s *session, link int, snd sender) {
	if s.place == removed {
		return
	}
	t.detach(s, "")
	s.link, s.sender = link, snd
	if s.core.echo == nil {
		t.byOrigin[s.origin()] = s
	}
	t.schedule(s)
}

func (t *table) detach(s *session, problem string) {
	if t.byOrigin[s.origin()] == s {
		delete(t.byOrigin, s.origin())
	}
	s.link, s.sender, s.problem = 0, nil, problem
}

// input takes a received packet: the checks of RFC 5880 section 6.8.6 in their
// order, with those of the hop limit before (RFC 5881 section 5), or as soon as the
// session is known that says what it has to be.
func (t *table) input(d *datagram, now instant) {
	var p Packet
	s, drop := t.accept(d, &p, now)
	if drop != DropNone {
		t.dropped[drop]++
		if s != nil {
			s.dropped[drop]++
			s.refused, s.refusedTTL = drop, d.ttl
		}
	}
	switch {
	case s == nil:
	case s.finished(now):
		t.remove(s)
	default:
		t.schedule(s)
	}
}

func (t *table) accept(d *datagram, p *Packet, now instant) (*session, Drop) {
	if d.port == portSingleHop && d.ttl != 255 {
		// Whose packet it may be is only for the status.
		s, _ := t.findByOrigin(d)
		return s, DropTTL
	}
	if d.port == portEcho && d.ttl != 254 {
		return t.farEcho(d), DropTTL
	}
	pdu, drop := p.decode(d.payload)
	if drop != DropNone {
		return nil, drop
	}
	s, drop := t.find(p, d)
	if drop != DropNone {
		return s, drop
	}
	if s.core.conf.Multihop && d.ttl < s.core.conf.MinTTL {
		return s, DropTTL
	}
	before := s.core.state
	if drop := s.core.receive(p, pdu, d, now); drop != DropNone {
		return s, drop
	}
	s.received++
	t.received++
	s.refused = DropNone
	t.note(s, before, now)
	if s.core.final {
		t.transmit(s, true, now)
	}
	return s, DropNone
}

// transmit sends the packet that s has to send.
func (t *table) transmit(s *session, final bool, now instant) {
	b := s.core.build(t.buffer[:0], final, now)
	t.worstLateness = max(t.worstLateness, s.core.lateness)
	if s.sender == nil {
		return
	}
	if err := s.sender.send(b); err != nil {
		s.unsent = err.Error()
		return
	}
	s.unsent = ""
	s.sent++
	t.sent++
	if s.core.echo != nil {
		t.selfTest(s, now)
	}
}

// perCall bounds the sessions that one call of advance looks at: its now should not
// grow old.
const perCall = 32

// advance does what is due at now, of a bounded number of sessions, and reports
// whether it is to be called again before anything is waited for. It returns at once
// when a session failed, so that those who have to know do. Nothing expires whose
// deadline is after seen, up to when all packets that arrived were given to input; it
// is looked at again at a later now.
func (t *table) advance(now, seen instant) (more bool) {
	for range perCall {
		if len(t.deadlines) == 0 || t.deadlines[0].at > now {
			return false
		}
		s := t.deadlines[0]
		before := s.core.state
		if s.core.advance(now, seen) {
			t.transmit(s, false, now)
		}
		t.note(s, before, now)
		if s.finished(now) {
			t.remove(s)
			continue
		}
		// What is due still is an expiry, while the last word of the peer may lie
		// in a socket: the others get their turn meanwhile.
		s.at = max(s.due(), now+1)
		heap.Fix(&t.deadlines, s.place)
		if before == Up && s.core.state != Up {
			return true
		}
	}
	return true
}

// wake is when advance has something to do.
func (t *table) wake() instant {
	if len(t.deadlines) == 0 {
		return never
	}
	return t.deadlines[0].at
}

// schedule moves a session forward in the heap. One that has more time than it is
// noted with stays, and finds out when it is looked at: that is most of them, as
// every packet received moves a deadline back.
func (t *table) schedule(s *session) {
	if s.place == removed {
		return
	}
	if at := s.due(); at < s.at {
		s.at = at
		heap.Fix(&t.deadlines, s.place)
	}
}

func (s *session) due() instant { return min(s.core.due(), s.closeAt) }

// note records a change of state since before.
func (t *table) note(s *session, before State, now instant) {
	c := &s.core
	if c.state == before {
		return
	}
	s.since = now
	e := Event{
		Peer: c.conf.Peer, Interface: c.conf.Interface, At: t.wall(now), Old: before, New: c.state,
		Diag: c.diag, RemoteState: c.remoteState, RemoteDiag: c.remoteDiag,
	}
	if c.state == Up {
		s.ups++
	}
	if e.Failure() {
		s.failures++
	}
	if s.notify != nil {
		t.news = append(t.news, news{e, s.notify, s})
	}
}

// take returns the news since the last call.
func (t *table) take() []news {
	n := t.news
	t.news = nil
	return n
}

// close ends a session once the peer knows, or would have noticed anyway. Nothing
// that is taken from now on is about it.
func (t *table) close(s *session, now instant) {
	if s.closed() {
		return
	}
	t.news = slices.DeleteFunc(t.news, func(n news) bool { return n.from == s })
	s.notify = nil
	t.setAdmin(s, true, now)
	s.closeAt = now
	if s.core.remoteDiscr != 0 {
		// The slower pace of now leaves time to say it more than once.
		s.closeAt += s.core.peerDetection()
	}
	if s.finished(now) {
		t.remove(s)
		return
	}
	t.schedule(s)
}

// closed reports whether the owner has no say any more.
func (s *session) closed() bool { return s.closeAt != never }

// finished reports whether nobody has to be told any more that s is closed.
func (s *session) finished(now instant) bool {
	if !s.closed() {
		return false
	}
	c := &s.core
	return s.closeAt <= now || s.sender == nil || c.echo != nil ||
		!c.urgent && (c.confirmed() || s.replaced)
}

func (t *table) remove(s *session) {
	t.detach(s, "")
	delete(t.byDiscriminator, s.core.localDiscr)
	if id := s.core.conf.identity(); t.byIdentity[id] == s {
		delete(t.byIdentity, id)
	}
	heap.Remove(&t.deadlines, s.place)
	s.place = removed
}

// deadlines is a heap of sessions by at.
type deadlines []*session

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at < d[j].at }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push is for the heap.
func (d *deadlines) Push(x any) {
	s := x.(*session) //nolint:errcheck,forcetypeassert // only sessions are pushed
	s.place = len(*d)
	*d = append(*d, s)
}

// Pop is for the heap.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	s := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return s
}
