package bgp

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// tables are the ranked prefixes of both families, and what the stream of paths knows
// of each peer. Its lock is held for the paths of one UPDATE, or for one batch that
// is told. Who holds it may take the lock of sessions, never the other way round.
type tables struct {
	mu   sync.Mutex
	ribs [len(Families) + 1]*rib
	// columns says which are taken.
	columns [len(Families) + 1][maxColumns]bool
	peers   map[netip.Addr]*feed
	rule    ASPathRule
	// scratch is used again for each UPDATE.
	scratch attributes
	// more is poked when there may be something to tell.
	more chan struct{}
	// held: nothing is told until whole. whole: every peer has sent its table, or the
	// time to wait has passed. wholeTold: the reader knows.
	held, whole, wholeTold bool
}

// feed is what one peer sends.
type feed struct {
	peer  Peer
	judge *judge
	begun time.Time
	up    bool
	fams  [len(Families) + 1]feedFamily
	// over says that the peer sent too many prefixes; the session is being ended.
	over bool
	// judging is the re-judging that is under way, nil if there is none.
	judging *rejudging
}

// feedFamily is one family of a feed.
type feedFamily struct {
	// column of the rib, -1 if the peer has not got the family.
	column int
	limit  int
	synced bool
	// promised: the peer sends End-of-RIB for the family (RFC 4724).
	promised bool
	heard    time.Time
	kept     retention
	// touched are prefixes that were received while a snapshot of the others is on its
	// way; nil otherwise.
	touched map[netip.Prefix]struct{}
}

func (t *tables) init() {
	t.more = make(chan struct{}, 1)
	t.peers = map[netip.Addr]*feed{}
	for _, f := range Families {
		t.ribs[f] = newRIB(f, t.rule)
	}
}

// poke wakes up who waits for routes.
func (t *tables) poke() {
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// join makes room for a peer. The lock is held.
func (t *tables) join(p *Peer, j *judge) *feed {
	d := &feed{peer: *p, judge: j}
	for i := range d.fams {
		d.fams[i].column = -1
	}
	for _, f := range p.Families {
		d.fams[f].column = t.seat(f, p.Slot)
		d.fams[f].limit = limitOf(p, f)
	}
	t.peers[p.Address] = d
	return d
}

func limitOf(p *Peer, f Family) int {
	if p.MaxPrefixes > 0 {
		return p.MaxPrefixes
	}
	return p.Import.MaxPrefixes(f)
}

// seat finds a column: that of the slot, or one behind those of slots. There are
// enough for maxPeers less MaxSlots without a slot; more get none, and are refused
// everything.
func (t *tables) seat(f Family, s Slot) int {
	if s != NoSlot {
		t.columns[f][s] = true
		return int(s)
	}
	for c := MaxSlots; c < maxColumns; c++ {
		if !t.columns[f][c] {
			t.columns[f][c] = true
			return c
		}
	}
	return -1
}

// leave forgets a peer and its paths. The lock is held.
func (t *tables) leave(address netip.Addr) {
	d := t.peers[address]
	if d == nil {
		return
	}
	for _, f := range d.peer.Families {
		if c := d.fams[f].column; c >= 0 {
			t.ribs[f].drop(c)
			t.columns[f][c] = false
		}
	}
	delete(t.peers, address)
	t.poke()
}

// cut does what a retention says.
func (t *tables) cut(f Family, d *feed, what cut) {
	c := d.fams[f].column
	if c < 0 || what == cutNothing {
		return
	}
	if what == cutAll {
		t.ribs[f].drop(c)
	} else {
		t.ribs[f].sweep(c)
	}
	t.poke()
}

// begin notes that a session stands.
func (t *tables) begin(d *feed, e *peerState) {
	d.begun, d.up, d.over = e.at, true, false
	graceful := d.peer.GracefulRestart.Enabled
	for _, f := range d.peer.Families {
		x := &d.fams[f]
		x.synced, x.heard = false, time.Now()
		x.promised = graceful && e.restart && e.restarts[f]
		t.cut(f, d, x.kept.back(e.at, graceful && e.preserves(f), d.peer.GracefulRestart.StaleTime))
	}
}

// end notes that a session is lost.
func (t *tables) end(d *feed, e *peerState, keep keepFor) {
	d.up, d.judging = false, nil
	for _, f := range d.peer.Families {
		x := &d.fams[f]
		x.touched = nil
		if x.column < 0 {
			continue
		}
		graceful := keep.of(x.promised)
		t.cut(f, d, x.kept.lost(e.at, graceful))
		if graceful > 0 {
			t.ribs[f].mark(x.column)
		} else {
			t.ribs[f].remark(x.column)
		}
	}
}

// synced notes that the peer has sent its table of a family.
func (t *tables) synced(d *feed, f Family) {
	x := &d.fams[f]
	x.synced = true
	t.cut(f, d, x.kept.synced())
}

// expire removes what is not kept any longer.
func (t *tables) expire(now time.Time) {
	for _, d := range t.peers {
		for _, f := range d.peer.Families {
			t.cut(f, d, d.fams[f].kept.expire(now))
		}
	}
}

// quiet returns the families of d that count as complete because of silence, or
// because the time is over within which a peer that promised End-of-RIB must have
// sent it.
func (d *feed) quiet(now time.Time) []Family {
	var done []Family
	for _, f := range d.peer.Families {
		if due, ok := d.due(f); ok && !now.Before(due) {
			done = append(done, f)
		}
	}
	return done
}

// due is when a family counts as complete if nothing happens before.
func (d *feed) due(f Family) (time.Time, bool) {
	x := &d.fams[f]
	switch {
	case !d.up || x.synced:
		return time.Time{}, false
	case x.promised:
		return d.begun.Add(d.peer.GracefulRestart.StaleTime), true
	default:
		return x.heard.Add(QuietTime), true
	}
}

// wake is when something of t is due next; false if nothing is.
func (t *tables) wake() (time.Time, bool) {
	var next time.Time
	sooner := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, d := range t.peers {
		for _, f := range d.peer.Families {
			if at, ok := d.due(f); ok {
				sooner(at)
			}
			if k := d.fams[f].kept; k.phase != phaseFresh {
				sooner(k.until)
			}
		}
	}
	return next, !next.IsZero()
}

// counts of all families of a peer.
func (t *tables) counts(d *feed) [len(Families) + 1]counts {
	var n [len(Families) + 1]counts
	for _, f := range d.peer.Families {
		if c := d.fams[f].column; c >= 0 {
			n[f] = t.ribs[f].counts(c)
		}
	}
	return n
}

// take returns routes to tell, at most cap(buf), and whether that is all of them. The
// lock is held.
func (t *tables) take(buf []Route) ([]Route, bool) {
	if t.held && !t.whole {
		return buf[:0], false
	}
	n := len(t.ribs[IPv4].take(buf[:0]))
	n += len(t.ribs[IPv6].take(buf[n:n:cap(buf)]))
	return buf[:n], !slices.ContainsFunc(Families[:], func(f Family) bool { return t.ribs[f].changed() })
}
