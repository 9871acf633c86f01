package bgp

import (
	"net/netip"
	"slices"
	"time"
)

// announce makes what peers are told equal to the configuration, and returns the
// peers for which that changed. Policies are replaced at once, before prefixes that
// are new come into the table, and before peers do.
func (m *manager) announce() []netip.Addr {
	if m.lib == nil {
		return nil
	}
	e := newExports(&m.config, m.usable)
	var changed []netip.Addr
	for _, p := range e.peers {
		if !p.equal(m.told.of(p.address)) {
			changed = append(changed, p.address)
		}
	}
	for _, p := range m.told.peers {
		if !slices.ContainsFunc(e.peers, func(q exportPeer) bool { return q.address == p.address }) {
			changed = append(changed, p.address)
		}
	}
	r := &m.retries
	if len(changed) > 0 || r.policies {
		// Whether the library took some of it is not known of what failed.
		if r.policies = true; !m.set(e) {
			return nil
		}
		r.policies = false
		m.told = e
	}
	m.fill(e)
	if len(changed) == 0 {
		return nil
	}
	now := time.Now()
	x := &m.s.sessions
	x.mu.Lock()
	x.exports = e
	for _, address := range changed {
		if peer := x.by[address]; peer != nil {
			peer.toldAt = now
		}
	}
	x.mu.Unlock()
	for _, address := range changed {
		m.tell(address)
	}
	m.s.publish()
	return changed
}

// set makes e the policies of the library.
func (m *manager) set(e exports) bool {
	if err := m.lib.policies(e); err != nil {
		m.failed(err)
		return false
	}
	return true
}

// fill puts those prefixes into the library's table that are not there yet. Whoever is to
// be told of them is.
func (m *manager) fill(e exports) {
	var fresh []netip.Prefix
	for _, p := range e.prefixes() {
		if !m.inRIB[p] {
			fresh = append(fresh, p)
		}
	}
	if err := m.lib.own(fresh); err != nil {
		m.failed(err)
		return
	}
	for _, p := range fresh {
		m.inRIB[p] = true
	}
}

// tell tells a peer everything once more, and what it was told and is not to be any more.
// One that is not in the library is told when it comes there.
func (m *manager) tell(address netip.Addr) {
	delete(m.retries.untold, address)
	x := &m.s.sessions
	x.mu.Lock()
	peer := x.by[address]
	present := peer != nil && peer.added != nil
	x.mu.Unlock()
	if !present {
		return
	}
	if err := m.lib.softOut(address); err != nil {
		m.retries.untold[address] = struct{}{}
		m.failed(err)
	}
}

// usable says whether a peer can be told of a family. An IPv4 prefix with an IPv6
// next hop needs the peer's capability (RFC 8950 section 4). An IPv6 prefix over an
// IPv4 session would get a next hop that nobody can reach.
func (m *manager) usable(p *Peer, f Family) bool {
	if FamilyOf(p.Address) == f {
		return true
	}
	if f == IPv6 {
		return false
	}
	x := &m.s.sessions
	x.mu.Lock()
	defer x.mu.Unlock()
	peer := x.by[p.Address]
	return peer != nil && peer.established && peer.nextHop6
}
