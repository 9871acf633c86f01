package bgp

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// listen starts the library if there is work for it, and accepts connections if it
// can. Without that it goes on, since sessions can be begun from this side too.
func (m *manager) listen(now time.Time) {
	if !m.known || len(m.config.Peers) == 0 && m.lib == nil {
		return
	}
	if m.s.deaf.Swap(false) && m.lib != nil && m.lib.listening {
		m.lib.listening = false
		m.listenFailed(now, errDeaf)
		return
	}
	if m.lib != nil && (m.lib.listening || m.config.Port == 0) || now.Before(m.listenAgain) {
		return
	}
	if m.lib != nil && !m.mayRestart() {
		m.listenAgain = now.Add(listenLast)
		return
	}
	if m.lib != nil {
		if err := probeListen(&m.config); err != nil {
			m.listenFailed(now, &portTaken{m.config.Port, err})
			return
		}
		m.closeLibrary()
	}
	lib, err := m.start(true)
	var taken *portTaken
	if errors.As(err, &taken) && m.config.Port != 0 {
		m.listenFailed(now, err)
		lib, err = m.start(false)
	} else {
		m.listenPause, m.listenAgain = listenFirst, time.Time{}
	}
	if err != nil {
		m.listenError = err
		m.listenAgain = now.Add(m.listenPause)
		m.say()
		return
	}
	m.lib = lib
	if lib.listening || m.config.Port == 0 {
		m.listenError = nil
	}
	m.announce()
	m.connect()
	m.say()
}

// errDeaf is what is known when the library stops accepting.
var errDeaf = errors.New("the library stopped accepting them, usually because there are too many open files")

func (m *manager) start(listen bool) (*library, error) {
	tap := &logTap{out: m.s.log.Handler(), flags: &m.s.talking, note: m.s.onNotice, deaf: func() {
		m.s.deaf.Store(true)
		m.s.poke()
	}}
	return startLibrary(&m.config, slog.New(tap), m.s.events(), m.s.onState, listen)
}

func (m *manager) listenFailed(now time.Time, err error) {
	if m.listenError == nil || m.listenError.Error() != err.Error() {
		m.s.log.Error("BGP connections cannot be accepted", slog.String("reason", err.Error()))
	}
	m.listenError = fmt.Errorf("accept BGP connections: %w", err)
	m.listenAgain = now.Add(m.listenPause)
	m.listenPause = min(2*m.listenPause, listenLast)
	m.say()
}

// mayRestart says whether the library may be started again only to accept
// connections: if nobody is talked to, or somebody waits for us to listen.
func (m *manager) mayRestart() bool {
	x := &m.s.sessions
	x.mu.Lock()
	defer x.mu.Unlock()
	talking := false
	for _, peer := range x.order {
		if peer.peer.Passive && !peer.established && peer.state != Shut {
			return true
		}
		talking = talking || peer.established
	}
	return !talking
}

// restartLibrary ends all sessions as a restart does, for what the library cannot
// change in its life.
func (m *manager) restartLibrary() {
	m.closeLibrary()
	m.listenAgain, m.listenPause, m.listenError = time.Time{}, listenFirst, nil
}

// closeLibrary ends the library. Its events end first, so the ends of sessions are
// noted here.
func (m *manager) closeLibrary() {
	m.lib.stop()
	m.lib, m.told = nil, exports{}
	clear(m.inRIB)
	m.retries = newRetries()
	now := time.Now()
	var lost []peerState
	x := &m.s.sessions
	x.mu.Lock()
	for _, peer := range x.by {
		if peer.established {
			e := peerState{address: peer.peer.Address, state: Idle, at: now, ending: endGraceful}
			lost = append(lost, e)
			peer.event(&e)
		}
		peer.added = nil
	}
	x.mu.Unlock()
	t := &m.s.tables
	t.mu.Lock()
	for i := range lost {
		if d := t.peers[lost[i].address]; d != nil && d.up {
			t.end(d, &lost[i], m.s.keepAfter(&lost[i]))
		}
	}
	t.mu.Unlock()
	for i := range lost {
		m.s.talking.set(lost[i].address, false)
	}
}
