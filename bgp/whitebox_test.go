package bgp

import (
	"testing"
	"time"
)

// bench is a Speaker that does not run, with one peer whose events tests make up.
type bench struct {
	*Speaker
	m    *manager
	peer *session
	feed *feed
}

func newBench(t *testing.T, change func(p *Peer)) *bench {
	t.Helper()
	p := Peer{Name: "a", Address: nextHost(), AS: 64501, Families: []Family{IPv4, IPv6}, Import: Import{Mode: ImportFull}}
	p.GracefulRestart.Enabled = true
	if change != nil {
		change(&p)
	}
	c, _, ok, err := normalise(Config{AS: ourAS, RouterID: nextHost(), Peers: []Peer{p}})
	if err != nil || !ok {
		t.Fatal(err)
	}
	b := &bench{Speaker: NewSpeaker(Options{})}
	b.m = newManager(b.Speaker)
	b.m.config, b.m.known, b.m.deferUntil = c, true, time.Now().Add(time.Hour)
	p = c.Peers[0]
	b.peer = newSession(p, time.Now(), steadyTime)
	b.peer.added = &addition{peer: p}
	b.sessions.by[p.Address] = b.peer
	b.sessions.order = []*session{b.peer}
	b.feed = b.tables.join(&p, newJudge(&c, &p, nil, nil))
	return b
}

// established is the event of a session whose peer kept its forwarding state.
func (b *bench) established(at time.Time) *peerState {
	e := &peerState{address: b.peer.peer.Address, state: Established, at: at, restart: true, restartTime: time.Minute}
	for _, f := range Families {
		e.families[f], e.restarts[f], e.keeps[f] = true, true, true
	}
	return e
}

// hears is what the stream of paths does with the event of a session.
func (b *bench) hears(e *peerState) {
	b.tables.mu.Lock()
	defer b.tables.mu.Unlock()
	if e.state == Established {
		b.tables.begin(b.feed, e)
	} else {
		b.tables.end(b.feed, e, b.keepAfter(e))
	}
}

// now is the status of the peer.
func (b *bench) now() PeerStatus {
	b.publish()
	return b.Status().Peers[0]
}
