package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/uplink"
)

// bfdSpeaker is a Speaker whose sessions notice what they are told.
type bfdSpeaker struct {
	die chan any

	mu       sync.Mutex // guards what follows
	calls    []string
	sessions []*fakeSession
	refuse   error
	lateness time.Duration
	resets   int
	running  bool
	// opening is called by Open, nil for nothing.
	opening func()
}

func newSpeaker() *bfdSpeaker { return &bfdSpeaker{die: make(chan any)} }

// Open opens a session that is down.
func (s *bfdSpeaker) Open(c bfd.Config, notify func(bfd.Event)) (Session, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if s.opening != nil {
		s.opening()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		s.calls = append(s.calls, "refuse "+describe(c))
		return nil, s.refuse
	}
	for _, f := range s.sessions {
		if old := f.status.Config; !f.closed && old.Interface == c.Interface && old.Peer == c.Peer {
			return nil, errors.New("there is one already")
		}
	}
	f := &fakeSession{speaker: s, notify: notify}
	f.status = bfd.Status{Config: c, State: bfd.Down, RemoteState: bfd.Down, Backoff: 1}
	s.sessions = append(s.sessions, f)
	s.calls = append(s.calls, "open "+describe(c))
	return f, nil
}

// Run goes on until its context ends, or until it is told to die: of an error it
// returns, of anything else it panics.
func (s *bfdSpeaker) Run(ctx context.Context) error {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running = false
		s.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return nil
	case why := <-s.die:
		if err, ok := why.(error); ok {
			return err
		}
		panic(why)
	}
}

func (s *bfdSpeaker) runs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

func (s *bfdSpeaker) Stats() bfd.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bfd.Stats{Sessions: len(s.sessions), WorstLateness: s.lateness}
}

func (s *bfdSpeaker) ResetLateness() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lateness = 0
	s.resets++
}

// asked returns the calls since it was asked last.
func (s *bfdSpeaker) asked() []string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.calls
	s.calls = nil
	return out
}

// of returns the open session over a device with a peer of a family, nil if there is
// none.
func (s *bfdSpeaker) of(device string, is6 bool) *fakeSession {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.sessions, func(f *fakeSession) bool {
		return !f.closed && f.status.Config.Interface == device && f.status.Config.Peer.Is6() == is6
	})
	if i < 0 {
		return nil
	}
	return s.sessions[i]
}

// describe prints a configuration; never a key, but which there are.
func describe(c bfd.Config) string {
	words := fmt.Sprintf("%s %s%%%s from %s, %s x %d", c.Mode, c.Peer, c.Interface, c.Local, c.DesiredMinTx, c.Multiplier)
	if c.EchoSource.IsValid() {
		words += ", echoes from " + c.EchoSource.String()
	}
	if c.PointToPoint {
		words += ", point-to-point"
	}
	if c.Multihop {
		words += fmt.Sprintf(", multihop ttl %d", c.MinTTL)
	}
	if c.Passive {
		words += ", passive"
	}
	if c.Auth.Type != bfd.AuthNone {
		words += fmt.Sprintf(", %s %d of %v", c.Auth.Type, c.Auth.KeyID, c.Auth.Keys)
	}
	return words
}

// fakeSession is a session of a speaker.
type fakeSession struct {
	speaker *bfdSpeaker
	notify  func(bfd.Event)

	status  bfd.Status // guarded by the mutex of the speaker, and so is closed
	closed  bool
	refuses error
}

func (f *fakeSession) Status() bfd.Status {
	f.speaker.mu.Lock()
	defer f.speaker.mu.Unlock()
	return f.status
}

func (f *fakeSession) Update(c bfd.Config) error {
	f.speaker.mu.Lock()
	defer f.speaker.mu.Unlock()
	if f.refuses != nil {
		return f.refuses
	}
	if err := c.Validate(); err != nil {
		return err
	}
	if !c.SameSession(f.status.Config) {
		return errors.New("another session")
	}
	f.status.Config = c
	f.speaker.calls = append(f.speaker.calls, "update "+describe(c))
	return nil
}

func (f *fakeSession) Close() {
	f.speaker.mu.Lock()
	defer f.speaker.mu.Unlock()
	f.closed = true
	f.speaker.calls = append(f.speaker.calls, "close "+describe(f.status.Config))
}

// say changes what the session says of itself.
func (f *fakeSession) say(change func(*bfd.Status)) {
	f.speaker.mu.Lock()
	defer f.speaker.mu.Unlock()
	change(&f.status)
}

// notices lets the session notice something, and returns false for an unknown word.
func (f *fakeSession) notices(word string, at time.Time) bool {
	f.speaker.mu.Lock()
	st := &f.status
	e := bfd.Event{Peer: st.Config.Peer, Interface: st.Config.Interface, At: at, Old: st.State}
	st.Received++
	switch word {
	case "up":
		st.State, st.RemoteState, st.RemoteDiag, st.EverUp = bfd.Up, bfd.Up, bfd.DiagNone, true
		st.DetectionTime = st.Config.DesiredMinTx * time.Duration(st.Config.Multiplier)
		st.Ups++
	case "init":
		st.State, st.RemoteState = bfd.Init, bfd.Down
	case "expired":
		st.State, st.Diag = bfd.Down, bfd.DiagTimeExpired
		if st.Config.Mode == bfd.Echo {
			st.Diag = bfd.DiagEchoFailed
		}
		st.Failures++
	case "told-down":
		st.State, st.Diag, st.RemoteState, st.RemoteDiag = bfd.Down, bfd.DiagNeighborSignaledDown, bfd.Down, bfd.DiagTimeExpired
		st.Failures++
	case "admin-down":
		st.State, st.Diag, st.RemoteState, st.RemoteDiag = bfd.Down, bfd.DiagNeighborSignaledDown, bfd.AdminDown, bfd.DiagAdminDown
	default:
		f.speaker.mu.Unlock()
		return false
	}
	st.Since = at
	e.New, e.Diag, e.RemoteState, e.RemoteDiag = st.State, st.Diag, st.RemoteState, st.RemoteDiag
	f.speaker.mu.Unlock()
	if e.Old != e.New {
		f.notify(e) // Only changes of state are told.
	}
	return true
}

// sessionOf returns the open session of a way.
func (e *Engine) sessionOf(s *bfdSpeaker, w uplink.Way) *fakeSession {
	for _, m := range e.site.members {
		if m.Way == w {
			return s.of(m.conf.Interface, w.Family.Any().Addr().Is6())
		}
	}
	return nil
}

func (s *scenario) newSpeaker(bfd.Options) (Speaker, error) {
	s.speaker = newSpeaker()
	return s.speaker, nil
}

// session lets the session of a way notice something.
func (s *scenario) session(words []string) error {
	f := s.engine.sessionOf(s.speaker, way(words))
	if f == nil {
		return errors.New("there is no such session")
	}
	if !f.notices(words[2], s.now) {
		return errors.New("unknown event")
	}
	s.look()
	return nil
}
