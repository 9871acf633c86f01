package bgp

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// manager is the goroutine of Run: it alone calls the library, but for questions. It
// looks at the sessions and the tables when it is poked or when something is due,
// and does what they need.
type manager struct {
	s   *Speaker
	lib *library
	// config is what was set last, in normal form; known is false until then.
	config Config
	known  bool
	// told are the announcements as the library has them, inRIB the prefixes in its
	// table.
	told  exports
	inRIB map[netip.Prefix]bool
	// deferUntil is when the time to wait for the tables of all peers is over.
	deferUntil time.Time
	// listenAgain is when the port is tried again, after listenPause.
	listenAgain time.Time
	listenPause time.Duration
	listenError error
	configError error
	countedAt   time.Time
	rtr         *rtrClients
	retries     retries
	origins     *vrps
}

// Pauses between attempts to listen.
const (
	listenFirst = time.Second
	listenLast  = 30 * time.Second
)

func newManager(s *Speaker) *manager {
	return &manager{s: s, inRIB: map[netip.Prefix]bool{}, retries: newRetries(), origins: new(vrps), listenPause: listenFirst}
}

// run is the loop.
func (m *manager) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(m.look(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case err := <-m.s.fatal:
			return err
		case job := <-m.s.jobs:
			job(m)
		case <-m.s.wakeup:
		case <-timer.C:
		}
	}
}

// stop ends everything.
func (m *manager) stop() {
	if m.rtr != nil {
		m.rtr.stop()
	}
	if m.lib != nil {
		m.lib.stop()
		m.lib = nil
	}
}

// look does what is due, and returns for how long nothing else is.
func (m *manager) look(now time.Time) time.Duration {
	m.listen(now)
	m.tend(now)
	m.mend(now)
	m.settle(now)
	if m.s.counted.Load() && now.Sub(m.countedAt) >= countEvery {
		m.s.counted.Store(false)
		m.countedAt = now
		m.s.countAll()
	}
	return m.rest(time.Now())
}

// forever is longer than anything takes.
const forever = time.Hour

// rest is for how long nothing is due.
func (m *manager) rest(now time.Time) time.Duration {
	next := now.Add(forever)
	sooner := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	m.s.tables.mu.Lock()
	if at, ok := m.s.tables.wake(); ok {
		sooner(at)
	}
	m.s.tables.mu.Unlock()
	x := &m.s.sessions
	x.mu.Lock()
	for _, peer := range x.order {
		switch {
		case m.lib == nil:
		case !peer.established:
			sooner(peer.blockedTo)
			sooner(peer.openUntil())
		case peer.fresh:
			sooner(now.Add(begunAgain))
			sooner(peer.overAgain)
		default:
			sooner(peer.overAgain)
		}
		for _, f := range peer.peer.Families {
			sooner(peer.fams[f].kept.until)
		}
	}
	if !x.whole {
		sooner(m.deferUntil)
	}
	x.mu.Unlock()
	sooner(m.listenAgain)
	sooner(m.retries.at)
	if m.s.counted.Load() {
		sooner(m.countedAt.Add(countEvery))
	}
	return max(next.Sub(now), time.Millisecond)
}

// settle ends what was waited for: retentions, silence, the deferral.
func (m *manager) settle(now time.Time) {
	s := m.s
	t := &s.tables
	changed := false
	t.mu.Lock()
	t.expire(now)
	for _, d := range t.peers {
		for _, f := range d.quiet(now) {
			changed = s.noteSynced(d, f) || changed
		}
	}
	t.mu.Unlock()
	x := &s.sessions
	x.mu.Lock()
	for _, peer := range x.order {
		changed = peer.expire(now) || changed
	}
	whole := !x.whole && m.isWhole(now)
	x.whole = x.whole || whole
	x.mu.Unlock()
	if changed || whole {
		s.recount()
		s.publish()
	}
	if whole {
		t.mu.Lock()
		t.whole = true
		t.poke()
		t.mu.Unlock()
		m.restarted()
	}
}

// isWhole says whether every peer has sent its table, or the time to wait for that
// is over. The lock of the sessions is held.
func (m *manager) isWhole(now time.Time) bool {
	if !m.known {
		return false
	}
	if !now.Before(m.deferUntil) {
		return true
	}
	some := false
	for _, peer := range m.s.sessions.order {
		if peer.state == Shut {
			continue
		}
		// Who restarts waits for us, and must not be waited for (RFC 4724 section 4.1).
		if !peer.whole() && !(peer.established && peer.restarting) {
			return false
		}
		some = true
	}
	// Without any session there is nothing to go by: those who wait to be allowed one
	// may be all there are.
	return some
}

// tend looks after the sessions: those that have begun, those to be begun anew, and
// those with too many prefixes.
func (m *manager) tend(now time.Time) {
	if m.lib == nil {
		return
	}
	var fresh, rebuild, unread []*session
	x := &m.s.sessions
	x.mu.Lock()
	for _, peer := range x.order {
		switch {
		case peer.established && peer.replaced && peer.added != nil:
			rebuild = append(rebuild, peer)
		case peer.established && peer.unread:
			peer.unread = false
			unread = append(unread, peer)
		case peer.established && peer.fresh:
			fresh = append(fresh, peer)
		case !peer.established && !peer.blockedTo.IsZero() && !now.Before(peer.blockedTo):
			peer.blockedTo = time.Time{}
			rebuild = append(rebuild, peer)
		case !peer.established && !peer.blockedTo.IsZero() && peer.added != nil:
			rebuild = append(rebuild, peer)
		case !peer.established && !peer.rebuildAt.IsZero():
			rebuild = append(rebuild, peer)
		case !peer.openUntil().IsZero() && !now.Before(peer.openUntil()):
			peer.trouble = unfinished
			if peer.peer.TTLSecurity {
				peer.trouble += "; TTL security must be on at both ends"
			}
			rebuild = append(rebuild, peer)
		}
		if !peer.established {
			peer.rebuildAt = time.Time{}
		}
	}
	x.mu.Unlock()
	for _, peer := range fresh {
		m.begun(peer)
	}
	m.refuse(unread)
	for _, peer := range rebuild {
		m.remove(peer)
		m.add(peer)
	}
	m.bound(now)
}

// refuse ends sessions of which an UPDATE could not be read.
func (m *manager) refuse(unread []*session) {
	x := &m.s.sessions
	for _, peer := range unread {
		if err := m.lib.reset(peer.peer.Address, "an UPDATE could not be read"); err != nil {
			x.mu.Lock()
			peer.unread = peer.established
			x.mu.Unlock()
			m.failed(err)
		}
	}
}

// overPause is how long a session may go on that was ended because of too many prefixes.
const overPause = 10 * time.Second

// bound ends the sessions of peers that sent too many prefixes, and tries again while
// they stand.
func (m *manager) bound(now time.Time) {
	over := map[netip.Addr]bool{}
	t := &m.s.tables
	t.mu.Lock()
	for address, d := range t.peers {
		if d.over && d.up {
			over[address] = true
		}
	}
	t.mu.Unlock()
	var list []*session
	x := &m.s.sessions
	x.mu.Lock()
	for address, peer := range x.by {
		switch {
		case !over[address] || !peer.established || peer.added == nil:
			peer.overAgain = time.Time{}
		case !now.Before(peer.overAgain):
			list = append(list, peer)
		}
	}
	x.mu.Unlock()
	for _, peer := range list {
		m.overflow(peer, now)
	}
}

// overflow ends the session of a peer that sent too many prefixes. The end of the session
// is heard at any time, so that blockedTo is set before, and taken back if it fails.
func (m *manager) overflow(peer *session, now time.Time) {
	x := &m.s.sessions
	x.mu.Lock()
	first, again := peer.overAgain.IsZero(), !peer.blockedTo.IsZero()
	peer.blockedTo, peer.overAgain = now.Add(RestartAfterMax), now.Add(overPause)
	a := peer.added
	x.mu.Unlock()
	if first {
		m.s.log.Warn("BGP peer sent too many prefixes", slog.String("peer", peer.peer.Name))
	}
	end := func() error { return m.lib.overflow(a) }
	if again {
		// The library was asked, and did nothing: it counts in its own way.
		end = func() error { return m.lib.reset(a.peer.Address, "too many prefixes") }
	}
	err := end()
	if err == nil {
		return
	}
	m.complain(err)
	x.mu.Lock()
	if peer.established {
		peer.blockedTo = time.Time{}
	}
	x.mu.Unlock()
}

// begunAgain is after how long a session is looked at once more that is not ready.
const begunAgain = 5 * time.Millisecond

// begun looks up what the events do not say of a session that has just begun, and
// tells the peer what could not be told at once.
func (m *manager) begun(peer *session) {
	address := peer.peer.Address
	m.s.own.refresh()
	hold, ready := m.lib.standing(address)
	x := &m.s.sessions
	x.mu.Lock()
	var again bool
	if peer.established {
		peer.hold = hold
		peer.fresh = !ready
		// What was changed after the library had told this peer everything, and before it
		// was ready for changes, has not been told. And it waits with its announcements
		// for the tables of all peers, although this one keeps nothing meanwhile.
		again = ready && (!peer.toldAt.Before(peer.begun) || peer.added != nil && peer.added.restarting && !peer.restart)
	}
	local, remote := peer.local, peer.remote
	x.mu.Unlock()
	if !ready {
		return
	}
	if err := setSendTimeout(address, local, remote, sendHoldTime(hold)); err != nil {
		m.complain(err)
	}
	m.s.publish()
	changed := m.announce()
	if again && !slices.Contains(changed, address) {
		m.tell(address)
	}
}

// restarted ends the state of having restarted: the R and F bits are for sessions
// that are begun before the deferral is over, and what the library holds back goes.
func (m *manager) restarted() {
	if m.lib == nil {
		return
	}
	var out []netip.Addr
	var rebuild []*session
	x := &m.s.sessions
	x.mu.Lock()
	for _, peer := range x.order {
		if peer.added == nil || !peer.added.restarting {
			continue
		}
		if peer.established {
			out = append(out, peer.peer.Address)
		} else {
			rebuild = append(rebuild, peer)
		}
	}
	x.mu.Unlock()
	for _, address := range out {
		m.tell(address)
	}
	for _, peer := range rebuild {
		m.remove(peer)
		m.add(peer)
	}
}

// complain notes what went wrong with one thing while others go on.
func (m *manager) complain(err error) {
	m.s.log.Warn("BGP speaker", slog.String("reason", err.Error()))
}

// reset is Speaker.Reset.
func (m *manager) reset(name, words string) error {
	x := &m.s.sessions
	x.mu.Lock()
	var found *session
	for _, peer := range x.order {
		if peer.peer.Name == name {
			found = peer
		}
	}
	established := found != nil && found.established
	x.mu.Unlock()
	switch {
	case found == nil:
		return &unknownPeer{name}
	case !established || m.lib == nil:
		// A notification would wait in the library for the next session, and end that.
		return nil
	}
	return m.lib.reset(found.peer.Address, words)
}

// alive is Speaker.Alive.
func (m *manager) alive() error {
	t := &m.s.tables
	t.mu.Lock()
	_, _ = t.wake() // Whatever it is: that the lock can be had is what is asked.
	t.mu.Unlock()
	if m.lib == nil {
		return nil
	}
	return m.lib.alive()
}

// unknownPeer is the error for a name that is not configured.
type unknownPeer struct{ name string }

func (e *unknownPeer) Error() string { return "reset session: no peer is called " + e.name }
