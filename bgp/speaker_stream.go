package bgp

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// events are the handlers of the stream that has everything in order. They run on
// one goroutine of the library's, whose queue has no bound: they must be fast.
//
// GoBGP 4.8 has two races with the goroutine that calls them. A path that is marked
// stale is only a bit that nobody here reads. But LOCAL_PREF is taken off a path while
// it is being read for us: a peer that sends it, which no external peer should (RFC
// 4271 section 5.1.5), may crash the process, in theory. That is one reason more to
// run it apart from everything else.
func (s *Speaker) events() server.WatchEventMessageCallbacks {
	return server.WatchEventMessageCallbacks{
		OnPathUpdate: s.onPaths,
		OnPathEor:    s.onEndOfRIB,
		OnPeerUpdate: s.onFeed,
	}
}

// onState hears states on a stream of their own.
func (s *Speaker) onState(event *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
	defer s.guard("note state of session")
	e, ok := readPeerState(event, at)
	if !ok {
		return
	}
	s.talking.set(e.address, e.state == Established)
	name, lost, changed := s.noteState(&e)
	if !changed {
		return
	}
	s.publish()
	s.poke()
	switch {
	case e.state == Established:
		s.log.Info("BGP session established", slog.String("peer", name))
	case lost != "":
		s.log.Info("BGP session lost", slog.String("peer", name), slog.String("reason", lost))
	}
}

// noteState is sessions.event, and what the stream of paths knows of the session already:
// that one may be ahead. It is not ahead where a session is lost, so that nobody waits
// for the tables to say so.
func (s *Speaker) noteState(e *peerState) (name, lost string, changed bool) {
	if e.state != Established {
		return s.sessions.event(e)
	}
	t := &s.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	name, lost, changed = s.sessions.event(e)
	if d := t.peers[e.address]; changed && d != nil {
		s.catchUp(d)
	}
	return name, lost, changed
}

// catchUp tells the session of d what is known of its families. The lock of the tables is
// held.
func (s *Speaker) catchUp(d *feed) bool {
	n := s.tables.counts(d)
	x := &s.sessions
	x.mu.Lock()
	defer x.mu.Unlock()
	peer := x.by[d.peer.Address]
	if peer == nil || !peer.established || !peer.begun.Equal(d.begun) {
		return false
	}
	for _, f := range d.peer.Families {
		if d.fams[f].synced {
			peer.fams[f].synced = true
			peer.fams[f].kept.synced()
		}
	}
	peer.setCounts(&n)
	return true
}

// event notes a state, and returns the name of the peer and why its session was lost,
// if it was, and whether anything changed.
func (x *sessions) event(e *peerState) (name, lost string, changed bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	peer := x.by[e.address]
	if peer == nil || !peer.event(e) {
		return "", "", false
	}
	if peer.lastErrorAt.Equal(e.at) {
		lost = peer.lastError
	}
	return peer.peer.Name, lost, true
}

// onNotice hears what the library logs. It is called with locks of the library held.
func (s *Speaker) onNotice(address netip.Addr, n notice) {
	defer s.guard("note what was logged")
	switch changed := s.sessions.notice(address, n); {
	case !changed:
	case n.kind == noticeSecond || n.kind == noticeUnread:
		s.poke()
	default:
		s.publish()
	}
}

// notice reports whether it changed anything.
func (x *sessions) notice(address netip.Addr, n notice) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	peer := x.by[address]
	return peer != nil && peer.notice(n)
}

// onFeed hears states in the stream of paths.
func (s *Speaker) onFeed(event *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
	defer s.guard("note state of session")
	e, ok := readPeerState(event, at)
	if !ok {
		return
	}
	t := &s.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.peers[e.address]
	switch {
	case d == nil:
		return
	case e.state == Established:
		t.begin(d, &e)
	case d.up:
		t.end(d, &e, s.keepAfter(&e))
	default:
		return
	}
	s.recount()
	s.poke()
}

// recount says that counts changed.
func (s *Speaker) recount() {
	if !s.counted.Swap(true) {
		s.poke()
	}
}

// keepAfter is what the other stream decides of a session that ended.
func (s *Speaker) keepAfter(e *peerState) keepFor {
	x := &s.sessions
	x.mu.Lock()
	defer x.mu.Unlock()
	if peer := x.by[e.address]; peer != nil {
		return peer.kept(e)
	}
	return 0
}

// onEndOfRIB hears the marker of a family.
func (s *Speaker) onEndOfRIB(path *apiutil.Path, _ time.Time) {
	defer s.guard("note End-of-RIB")
	if s.noteEndOfRIB(path.PeerAddress, family(path.Family)) {
		s.publish()
		s.poke()
	}
}

// noteEndOfRIB reports whether the status is to be published at once.
func (s *Speaker) noteEndOfRIB(address netip.Addr, f Family) bool {
	t := &s.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.peers[address]
	if d == nil || !d.up || f == FamilyUnknown || d.fams[f].column < 0 {
		return false
	}
	return s.noteSynced(d, f)
}

// noteSynced says everywhere that a peer has sent its table of a family, and reports
// whether that is new for the session. The lock of the tables is held.
func (s *Speaker) noteSynced(d *feed, f Family) bool {
	first := !d.fams[f].synced
	s.tables.synced(d, f)
	if !first {
		return false
	}
	return s.catchUp(d)
}

// onPaths hears the paths of one UPDATE.
func (s *Speaker) onPaths(paths []*apiutil.Path, at time.Time) {
	if len(paths) == 0 {
		return
	}
	s.talking.brake.heard(time.Since(at))
	defer s.guard("note paths")
	defer s.talking.heard.Add(1)
	if s.notePaths(paths) {
		s.publish()
	}
}

// notePaths reports whether the status is to be published at once.
func (s *Speaker) notePaths(paths []*apiutil.Path) (changed bool) {
	t := &s.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.peers[paths[0].PeerAddress]
	if d == nil || !d.up {
		return false
	}
	if fallback := t.note(d, paths); fallback {
		// A default route is what verdicts are about.
		changed = s.noteCounts(d)
	}
	t.poke()
	s.recount()
	if !d.over && t.over(d) {
		d.over = true
		s.poke()
	}
	return changed
}

// note puts the paths of one UPDATE into the ribs, and reports whether a default
// route was among them.
func (t *tables) note(d *feed, paths []*apiutil.Path) bool {
	now := time.Now()
	fallback := false
	// All paths of an UPDATE have the same attributes, but for the next hop of those
	// in MP_REACH_NLRI.
	var read, multiprotocol bool
	for _, p := range paths {
		nlri, ok := p.Nlri.(*bgp.IPAddrPrefix)
		f := family(p.Family)
		if !ok || f == FamilyUnknown || d.fams[f].column < 0 {
			continue
		}
		x := &d.fams[f]
		x.heard = now
		if x.touched != nil {
			x.touched[nlri.Prefix] = struct{}{}
		}
		fallback = fallback || nlri.Prefix.Bits() == 0
		if p.Withdrawal {
			t.ribs[f].withdraw(x.column, nlri.Prefix)
			continue
		}
		if mp := hasReach(p.Attrs); !read || mp != multiprotocol {
			t.scratch.read(p.Attrs)
			read, multiprotocol = true, mp
		}
		t.put(d, f, nlri.Prefix)
	}
	return fallback
}

// put judges a path whose attributes were read, and notes what became of it.
func (t *tables) put(d *feed, f Family, p netip.Prefix) {
	r, column := t.ribs[f], d.fams[f].column
	g, why := d.judge.path(p, &t.scratch)
	r.put(column, p, g, why)
	if why == Accepted {
		r.offer(column, p, d.judge.believed(&t.scratch))
	}
}

// hasReach reports whether a path came in MP_REACH_NLRI, which the library puts last.
func hasReach(attrs []bgp.PathAttributeInterface) bool {
	if len(attrs) == 0 {
		return false
	}
	_, ok := attrs[len(attrs)-1].(*bgp.PathAttributeMpReachNLRI)
	return ok
}

// over reports whether a peer sent more prefixes than it may.
func (t *tables) over(d *feed) bool {
	for _, f := range d.peer.Families {
		x := &d.fams[f]
		if x.column >= 0 && t.ribs[f].columns[x.column].received-t.ribs[f].columns[x.column].stale > x.limit {
			return true
		}
	}
	return false
}

// noteCounts takes over the counts of one peer, and reports whether they differ. The
// lock of the tables is held.
func (s *Speaker) noteCounts(d *feed) bool {
	n := s.tables.counts(d)
	x := &s.sessions
	x.mu.Lock()
	defer x.mu.Unlock()
	peer := x.by[d.peer.Address]
	return peer != nil && peer.setCounts(&n)
}

// setCounts takes over counts, and reports whether they differ.
func (s *session) setCounts(n *[len(Families) + 1]counts) bool {
	changed := false
	for _, f := range s.peer.Families {
		changed = changed || s.fams[f].counts != n[f]
		s.fams[f].counts = n[f]
	}
	return changed
}

// countAll takes over the counts of all peers.
func (s *Speaker) countAll() {
	t := &s.tables
	all := map[netip.Addr][len(Families) + 1]counts{}
	t.mu.Lock()
	for address, d := range t.peers {
		all[address] = t.counts(d)
	}
	t.mu.Unlock()
	x := &s.sessions
	x.mu.Lock()
	changed := false
	for address, n := range all {
		if peer := x.by[address]; peer != nil {
			changed = peer.setCounts(&n) || changed
		}
	}
	x.mu.Unlock()
	if changed {
		s.publish()
	}
}
