package bgp

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// apply makes c what is wanted.
func (m *manager) apply(c Config) error {
	c, refused, ok, failed := normalise(c)
	if !ok {
		m.configError = failed
		m.say()
		return failed
	}
	now := time.Now()
	first := !m.known
	before := m.config
	if len(c.Peers) == 0 && m.lib != nil {
		// Nothing is wanted: the rest stays as it is.
		c.AS, c.RouterID, c.Listen, c.Port = before.AS, before.RouterID, before.Listen, before.Port
	}
	if first {
		m.deferUntil = now.Add(c.Deferral)
	}
	m.config, m.known, m.configError = c, true, failed
	m.s.own.refresh()
	m.s.tables.mu.Lock()
	if first {
		m.s.tables.held = c.Restarting
	}
	m.s.tables.rule = c.ASPath
	for _, f := range Families {
		m.s.tables.ribs[f].setRule(c.ASPath)
	}
	m.s.tables.poke()
	m.s.tables.mu.Unlock()
	m.caches()
	if m.lib != nil && globalsDiffer(&before, &c) {
		m.restartLibrary()
	}
	m.depart(&c)
	snapshots := m.arrive(&c, &before, refused)
	m.listen(now)
	m.announce()
	m.connect()
	m.rejudge(snapshots)
	m.s.recount()
	m.say()
	m.s.poke()
	return errors.Join(failed, m.listenError)
}

func globalsDiffer(a, b *Config) bool {
	return a.AS != b.AS || a.RouterID != b.RouterID || a.Port != b.Port || !slices.Equal(a.Listen, b.Listen)
}

// say makes the errors those of the status.
func (m *manager) say() {
	words := ""
	if err := errors.Join(m.configError, m.listenError); err != nil {
		words = err.Error()
	}
	x := &m.s.sessions
	x.mu.Lock()
	x.trouble = words
	x.mu.Unlock()
	m.s.publish()
}

// depart ends the sessions that are not wanted any more, or not as they are.
func (m *manager) depart(c *Config) {
	wanted := map[netip.Addr]*Peer{}
	for i := range c.Peers {
		wanted[c.Peers[i].Address] = &c.Peers[i]
	}
	var gone, changed, shut []*session
	x := &m.s.sessions
	x.mu.Lock()
	for address, peer := range x.by {
		p := wanted[address]
		switch {
		case p == nil:
			gone = append(gone, peer)
		case p.Shutdown != "" && peer.state != Shut:
			peer.enter(Shut, time.Now())
			peer.peer.Shutdown, peer.trouble = p.Shutdown, p.Shutdown
			shut = append(shut, peer)
		case peer.peer.differs(p):
			changed = append(changed, peer)
		case !peer.blockedTo.IsZero() && (peer.peer.MaxPrefixes != p.MaxPrefixes || peer.peer.Import.Mode != p.Import.Mode):
			// Who raised the limit need not wait.
			changed = append(changed, peer)
		}
	}
	x.mu.Unlock()
	m.shut(shut)
	for _, peer := range slices.Concat(gone, changed, shut) {
		m.remove(peer)
	}
	x.mu.Lock()
	for _, peer := range gone {
		delete(x.by, peer.peer.Address)
	}
	for _, peer := range changed {
		peer.blockedTo = time.Time{}
	}
	x.mu.Unlock()
	m.s.tables.mu.Lock()
	for _, peer := range gone {
		m.s.tables.leave(peer.peer.Address)
		m.s.talking.forget(peer.peer.Address)
	}
	m.s.tables.mu.Unlock()
}

// shut tells peers that their sessions end, and waits until they have.
func (m *manager) shut(list []*session) {
	if m.lib == nil {
		return
	}
	var waiting []*session
	x := &m.s.sessions
	for _, peer := range list {
		x.mu.Lock()
		established, hard := peer.established, peer.restart && peer.restartsN
		x.mu.Unlock()
		// A peer that keeps our routes over notifications must get a Hard Reset (RFC 8538
		// section 5.1), which the library makes of a removal but not of a shutdown. It has
		// no words.
		if !established || hard {
			continue
		}
		if err := m.lib.shut(peer.peer.Address, peer.peer.Shutdown); err != nil {
			m.complain(err)
			continue
		}
		waiting = append(waiting, peer)
	}
	limit := time.NewTimer(shutTime)
	defer limit.Stop()
	for {
		x.mu.Lock()
		waiting = slices.DeleteFunc(waiting, func(peer *session) bool { return !peer.established })
		x.mu.Unlock()
		if len(waiting) == 0 {
			return
		}
		select {
		case <-m.s.wakeup:
		case <-limit.C:
			return
		}
	}
}

// shutTime is how long a peer may take to be told of its shutdown; the library gives
// up after a second.
const shutTime = 2 * time.Second

// snapshot is a family of a peer whose paths are to be judged anew.
type snapshot struct {
	address netip.Addr
	family  Family
}

// arrive makes sessions of the peers of c, and says whose paths have to be judged
// anew.
func (m *manager) arrive(c, before *Config, refused map[string]string) []snapshot {
	now := time.Now()
	x := &m.s.sessions
	x.mu.Lock()
	x.order, x.broken = nil, nil
	for i := range c.Peers {
		p := &c.Peers[i]
		peer := x.by[p.Address]
		if peer == nil {
			peer = newSession(*p, now, m.s.steady)
			x.by[p.Address] = peer
		}
		if peer.state == Shut && p.Shutdown == "" {
			peer.enter(Idle, now)
			peer.trouble = ""
		}
		if p.Shutdown != "" {
			peer.trouble = p.Shutdown
		}
		peer.adopt(*p)
		x.order = append(x.order, peer)
	}
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		x.broken = append(x.broken, PeerStatus{Name: name, State: Shut, Since: now, Trouble: refused[name]})
	}
	x.mu.Unlock()
	return m.seats(c, before)
}

// adopt makes p what is wanted of the peer. Families that it has not got any more are
// forgotten.
func (s *session) adopt(p Peer) {
	for _, f := range Families {
		if !slices.Contains(p.Families, f) {
			s.fams[f] = familyFacts{}
		}
	}
	s.peer = p
}

// seats gives each peer its place in the tables and its judge.
func (m *manager) seats(c, before *Config) []snapshot {
	var anew []snapshot
	old := map[netip.Addr]Peer{}
	for _, p := range before.Peers {
		old[p.Address] = p
	}
	t := &m.s.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	// Whoever changes its place goes first: another one may take it.
	moved := map[netip.Addr]*feed{}
	for i := range c.Peers {
		p := &c.Peers[i]
		if d := t.peers[p.Address]; d != nil && (d.peer.Slot != p.Slot || !slices.Equal(d.peer.Families, p.Families)) {
			moved[p.Address] = d
			t.leave(p.Address)
		}
	}
	for i := range c.Peers {
		p := &c.Peers[i]
		j := newJudge(c, p, m.s.own.has, m.asked())
		d := t.peers[p.Address]
		if d == nil {
			d = t.join(p, j)
			if was := moved[p.Address]; was != nil {
				d.begun, d.up = was.begun, was.up
				for _, f := range p.Families {
					d.fams[f].synced, d.fams[f].promised, d.fams[f].heard = was.fams[f].synced, was.fams[f].promised, was.fams[f].heard
					anew = append(anew, snapshot{p.Address, f})
				}
			}
			continue
		}
		q := old[p.Address]
		d.peer, d.judge = *p, j
		for _, f := range p.Families {
			d.fams[f].limit = limitOf(p, f)
			switch {
			case judgedAnew(before, c, &q, p):
				anew = append(anew, snapshot{p.Address, f})
			case gradedAnew(&q, p) && d.fams[f].column >= 0:
				t.ribs[f].regrade(d.fams[f].column, p)
				t.poke()
			}
		}
	}
	return anew
}

// judgedAnew says whether paths have to be looked at once more because what is
// accepted changed.
func judgedAnew(before, c *Config, q, p *Peer) bool {
	a, b := &q.Import, &p.Import
	return before.AllowOwn != c.AllowOwn || !slices.Equal(before.Own, c.Own) || before.AS != c.AS || q.LocalAS != p.LocalAS ||
		a.Mode != b.Mode || !slices.Equal(a.Prefixes, b.Prefixes) || a.MaxLength4 != b.MaxLength4 || a.MaxLength6 != b.MaxLength6 ||
		a.RejectInvalid != b.RejectInvalid || a.Bandwidth != b.Bandwidth || a.PrivateAS != b.PrivateAS || a.AnyNextHop != b.AnyNextHop
}

// gradedAnew says whether all paths of the peer rank differently.
func gradedAnew(q, p *Peer) bool {
	return q.Tier != p.Tier || q.Preference != p.Preference || q.Drained != p.Drained
}

// connect adds the peers to the library that are to have a session and are not there.
func (m *manager) connect() {
	x := &m.s.sessions
	x.mu.Lock()
	order := slices.Clone(x.order)
	x.mu.Unlock()
	for _, peer := range order {
		m.add(peer)
	}
}

// add adds a peer to the library, unless it is there or must not be.
func (m *manager) add(peer *session) {
	if m.lib == nil {
		return
	}
	x := &m.s.sessions
	x.mu.Lock()
	wanted := peer.added == nil && peer.state != Shut && peer.blockedTo.IsZero()
	left, remains := m.retries.left[peer.peer.Address]
	x.mu.Unlock()
	if !wanted || remains && !m.takeOut(&left) {
		return
	}
	x.mu.Lock()
	flushed := slices.ContainsFunc(peer.peer.Families, func(f Family) bool { return slices.Contains(m.config.Flushed, f) })
	a := &addition{peer: peer.peer, restarting: m.config.Restarting && !flushed && !x.whole, deferral: max(time.Until(m.deferUntil), time.Second)}
	peer.added = a
	x.mu.Unlock()
	err := m.lib.add(a)
	if err == nil {
		return
	}
	x.mu.Lock()
	peer.added, peer.trouble = nil, err.Error()
	x.mu.Unlock()
	m.failed(err)
	m.s.publish()
}

// remove takes a peer out of the library. What is known of it stays.
func (m *manager) remove(peer *session) {
	x := &m.s.sessions
	x.mu.Lock()
	a := peer.added
	peer.added = nil
	x.mu.Unlock()
	if a == nil || m.lib == nil {
		return
	}
	m.takeOut(&a.peer)
}
