package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// regrade gives all accepted paths of a peer the tier, preference and place in the
// background that p says, which needs no attributes. Paths stay stale if they were.
func (r *rib) regrade(col int, p *Peer) {
	c := &r.columns[col]
	base := newJudge(&Config{}, p, nil, nil).base
	change := func(i uint32, at *cell) {
		if !at.accepted() {
			return
		}
		g := *r.grades.at(at.grade())
		g.tier, g.preference, g.last = base.tier, base.preference, base.last || g.draining
		c.hint = r.grades.id(&g, c.hint)
		value := firstGrade + cell(c.hint)
		if value == at.value() {
			return
		}
		r.count(c, value, 1)
		r.count(c, *at, -1)
		*at = value | *at&epochBit
		if i != fallbackEntry && col < MaxSlots {
			r.touch(i)
		}
	}
	if c.fallback != 0 {
		change(fallbackEntry, &c.fallback)
	}
	c.cells.each(change)
}

// snapshotTime is how long the library may take to hand over what a peer has sent.
const snapshotTime = time.Minute

// rejudging is one look at the paths that a peer has sent. There is one at a time for
// each session: what is touched meanwhile is noted for one only.
type rejudging struct {
	begun    time.Time
	families []Family
	// again are the families that have to be looked at once more after this.
	again []Family
}

// rejudge looks once more at paths that were received, because what is accepted
// changed. The library hands over what it has; meanwhile the stream goes on, and
// what it brings is newer. So its prefixes are noted, and left out of the snapshot.
func (m *manager) rejudge(list []snapshot) {
	byPeer := map[netip.Addr][]Family{}
	for _, x := range list {
		byPeer[x.address] = append(byPeer[x.address], x.family)
	}
	for address, families := range byPeer {
		m.rejudgePeer(address, families)
	}
}

func (m *manager) rejudgePeer(address netip.Addr, families []Family) {
	d, j := m.s.tables.judgeAnew(address, families)
	if j == nil {
		return
	}
	if m.lib == nil {
		m.judged(d, j, nil)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), snapshotTime)
	done := make(chan struct{})
	left := len(d.peer.Families)
	take := func(paths []*apiutil.Path, _ time.Time) {
		defer m.s.guard("judge paths once more")
		switch {
		case left == 0:
		case len(paths) > 0:
			m.judgeSnapshot(d, j, paths)
		default:
			// Each family ends with an event that has no paths.
			if left--; left == 0 {
				close(done)
			}
		}
	}
	err := m.lib.call("watch", func() error {
		return m.lib.server.WatchEvent(ctx, server.WatchEventMessageCallbacks{OnPathUpdate: take}, server.WatchUpdate(true, address.String(), ""))
	})
	if err != nil {
		cancel()
		m.judged(d, j, fmt.Errorf("judge paths of %v once more: %w", address, err))
		return
	}
	go func() {
		defer cancel()
		var err error
		select {
		case <-done:
		case <-ctx.Done():
			err = fmt.Errorf("judge paths of %v once more: %w", address, ctx.Err())
		case <-m.s.done:
			return
		}
		// An error says that the speaker has ended.
		_ = m.s.do(context.Background(), func(m *manager) { m.judged(d, j, err) })
	}()
}

// judgeAnew begins a look at what a peer has sent: nil if there is none to begin, because
// there is one that comes first, or because the session is lost.
func (t *tables) judgeAnew(address netip.Addr, families []Family) (*feed, *rejudging) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.peers[address]
	switch {
	case d == nil:
		return nil, nil
	case !d.up:
		// Nobody has the attributes of what is kept of a session that is lost. What can be
		// said of prefixes alone is, and the rest stays until its time is over: the peer
		// sends it again if it lives.
		for _, f := range families {
			if c := d.fams[f].column; c >= 0 {
				t.ribs[f].refuse(c, func(p netip.Prefix) Reason { return d.judge.prefix(p, &attributes{}) })
			}
		}
		t.poke()
		return nil, nil
	case d.judging != nil:
		for _, f := range families {
			if !slices.Contains(d.judging.again, f) {
				d.judging.again = append(d.judging.again, f)
			}
		}
		return nil, nil
	}
	d.judging = &rejudging{begun: d.begun, families: families}
	for _, f := range families {
		d.fams[f].touched = map[netip.Prefix]struct{}{}
	}
	return d, d.judging
}

// judged ends a look. What failed is tried again if the session stands.
func (m *manager) judged(d *feed, j *rejudging, err error) {
	again, current := m.s.tables.judged(d, j)
	m.s.recount()
	switch {
	case !current:
		return
	case err != nil:
		for _, f := range slices.Concat(j.families, again) {
			m.retries.unjudged[snapshot{d.peer.Address, f}] = struct{}{}
		}
		m.failed(err)
	case len(again) > 0:
		m.rejudgePeer(d.peer.Address, again)
	}
}

// judged forgets a look, and returns what is to be looked at after it, and whether it is
// the one that was under way.
func (t *tables) judged(d *feed, j *rejudging) (again []Family, current bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peers[d.peer.Address] != d || d.judging != j {
		return nil, false
	}
	d.judging = nil
	for _, f := range j.families {
		d.fams[f].touched = nil
	}
	return j.again, true
}

// judgeSnapshot judges paths of a snapshot, in pieces so that nobody waits for long.
func (m *manager) judgeSnapshot(d *feed, j *rejudging, paths []*apiutil.Path) {
	const piece = 1024
	for chunk := range slices.Chunk(paths, piece) {
		if !m.s.tables.judgePiece(d, j, chunk) {
			return
		}
	}
}

// judgePiece judges some paths of a snapshot, and reports whether it still counts.
func (t *tables) judgePiece(d *feed, j *rejudging, paths []*apiutil.Path) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peers[d.peer.Address] != d || d.judging != j {
		return false
	}
	for _, p := range paths {
		nlri, ok := p.Nlri.(*bgp.IPAddrPrefix)
		f := family(p.Family)
		if !ok || !slices.Contains(j.families, f) || d.fams[f].column < 0 || p.Withdrawal {
			continue
		}
		if _, newer := d.fams[f].touched[nlri.Prefix]; newer {
			continue
		}
		t.scratch.read(p.Attrs)
		t.put(d, f, nlri.Prefix)
	}
	t.poke()
	return true
}

// refuse refuses the paths of a peer whose prefixes why says so of. They stay stale if
// they were.
func (r *rib) refuse(col int, why func(netip.Prefix) Reason) {
	c := &r.columns[col]
	change := func(i uint32, at *cell, p netip.Prefix) {
		if !at.accepted() {
			return
		}
		reason := why(p)
		if reason == Accepted {
			return
		}
		value := cell(reason)
		r.count(c, value, 1)
		r.count(c, *at, -1)
		*at = value | *at&epochBit
		if i != fallbackEntry && col < MaxSlots {
			r.touch(i)
		}
	}
	if c.fallback != 0 {
		change(fallbackEntry, &c.fallback, fallbackPrefix(r.family))
	}
	c.cells.each(func(i uint32, at *cell) { change(i, at, r.entries.prefix(i)) })
}

// fallbackPrefix is the default route of a family.
func fallbackPrefix(f Family) netip.Prefix {
	if f == IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// rejudgeInvalid looks once more at the paths of peers whose origins count, because
// what is known of origins changed.
func (m *manager) rejudgeInvalid() {
	var anew []snapshot
	for i := range m.config.Peers {
		p := &m.config.Peers[i]
		if !p.Import.RejectInvalid {
			continue
		}
		for _, f := range p.Families {
			anew = append(anew, snapshot{p.Address, f})
		}
	}
	// The judges have the table of origins already, which was replaced in place. What
	// is kept of lost sessions stays as it is: that their peers are not heard is no
	// reason to drop it.
	anew = slices.DeleteFunc(anew, func(x snapshot) bool {
		m.s.tables.mu.Lock()
		defer m.s.tables.mu.Unlock()
		d := m.s.tables.peers[x.address]
		return d == nil || !d.up
	})
	m.rejudge(anew)
}
