package bgp

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// retries is what the library could not do, and is asked for again.
type retries struct {
	// at is when; zero if nothing failed. pause is the one before the next attempt.
	at    time.Time
	pause time.Duration
	// policies: it is not known which ones the library has.
	policies bool
	// untold are the peers that have not been told what changed.
	untold map[netip.Addr]struct{}
	// left are peers that the library has and that are not wanted there.
	left map[netip.Addr]Peer
	// unjudged are paths that have not been judged anew.
	unjudged map[snapshot]struct{}
}

// Pauses between attempts. A library that fails once does so mostly because it is about
// to end, or out of memory or files: neither is over at once.
const (
	retryFirst = 200 * time.Millisecond
	retryLast  = 30 * time.Second
)

func newRetries() retries {
	return retries{
		pause: retryFirst, untold: map[netip.Addr]struct{}{}, left: map[netip.Addr]Peer{}, unjudged: map[snapshot]struct{}{},
	}
}

// failed notes what went wrong with one thing while others go on, and has everything
// tried again that failed.
func (m *manager) failed(err error) {
	m.complain(err)
	r := &m.retries
	if r.at.IsZero() {
		r.at = time.Now().Add(r.pause)
		r.pause = min(2*r.pause, retryLast)
	}
}

// mend tries again what failed.
func (m *manager) mend(now time.Time) {
	r := &m.retries
	if r.at.IsZero() || now.Before(r.at) {
		return
	}
	r.at = time.Time{}
	if m.lib != nil {
		for _, p := range r.left {
			m.takeOut(&p)
		}
		m.announce()
		for _, address := range slices.Collect(maps.Keys(r.untold)) {
			m.tell(address)
		}
		m.connect()
	}
	again := slices.Collect(maps.Keys(r.unjudged))
	clear(r.unjudged)
	m.rejudge(again)
	if r.at.IsZero() {
		r.pause = retryFirst
	}
}

// takeOut takes a peer out of the library, and reports whether it is not there any more.
func (m *manager) takeOut(p *Peer) bool {
	err := m.lib.remove(p)
	if err != nil && m.lib.has(p.Address) {
		m.retries.left[p.Address] = *p
		m.failed(err)
		return false
	}
	if err != nil {
		m.complain(err)
	}
	delete(m.retries.left, p.Address)
	return true
}
