package engine

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// Pace of what is asked of sessions beside their events.
const (
	// unsettledPace is how often a session is looked at whose state is new: its
	// intervals are negotiated, or the reason why it is not up becomes known.
	unsettledPace = time.Second
	// settledPace is how often the others are.
	settledPace = 10 * time.Second
	// unsettledFor is how long a state is new.
	unsettledFor = 10 * time.Second
	// reopenPace is how long a session that could not be opened waits.
	reopenPace = 5 * time.Second
	// latenessWindow is over how long the worst lateness is taken.
	latenessWindow = time.Minute
)

// sessions keeps one BFD session per path that a way wants to be watched, and a
// speaker from when one is first wanted to the end. The loop calls it, and the
// goroutine of the speaker; the thread that serves the sessions reaches a single one
// only.
type sessions struct {
	engine *Engine
	// due is when refresh has something to do, reopen when a session that could not
	// be opened is tried again; both are zero if never. Of the loop.
	due, reopen time.Time
	measured    time.Time
	// speaks: the speaker is supervised. Of the loop.
	speaks bool
	// news: a session had an event, and is to be asked soon.
	news atomic.Bool

	// mu guards the rest, and what session says. It is not held while a speaker or a
	// session is called.
	mu sync.Mutex
	// speaker is nil while there is none, and lack says why.
	speaker Speaker
	lack    string
	// renewed: there is another speaker than the sessions are on.
	renewed bool
	// all has a session for every way that wants one, the same one for ways that
	// share it. The loop alone writes it.
	all map[uplink.Way]*session
	// lateBefore is the worst lateness of the window before the present one.
	lateBefore time.Duration
}

func newSessions(e *Engine) *sessions {
	return &sessions{engine: e, all: map[uplink.Way]*session{}}
}

// wish is a session that is wanted.
type wish struct {
	conf bfd.Config
	// why says why there can be none.
	why string
	// listeners are the ways that want it.
	listeners []listener
}

// update opens, changes and closes sessions so that exactly those are open that the
// configuration and the host ask for. It returns when it is to be called again
// although nothing changes; the zero Time if it need not.
func (p *sessions) update(ctx context.Context, t *site, views map[uplink.Way]view, s *netmon.Snapshot, now time.Time) time.Time {
	wishes := p.wishes(t, views, s)
	if len(wishes) > 0 && !p.speaks {
		p.speaks = true
		p.speak(ctx)
	}
	p.mu.Lock()
	p.renewed = false // What is opened below is opened on the present speaker.
	p.mu.Unlock()
	p.reopen = time.Time{}
	running := make([]*session, len(wishes))
	for i, w := range wishes {
		running[i] = p.running(w)
	}
	// A path has one session: the old one goes before the new one comes.
	for s := range p.each() {
		if !slices.Contains(running, s) {
			p.close(s)
		}
	}
	wanted := map[uplink.Way]bool{}
	for i, w := range wishes {
		if running[i] == nil {
			running[i] = p.create(w, now)
		} else {
			p.change(running[i], w)
		}
		running[i].judge(w.listeners, now)
		for _, l := range w.listeners {
			wanted[l.way] = true
			p.mu.Lock()
			p.all[l.way] = running[i]
			p.mu.Unlock()
		}
	}
	for way := range p.all {
		if !wanted[way] {
			p.mu.Lock()
			delete(p.all, way)
			p.mu.Unlock()
			p.engine.board.Drop(uplink.Source{Way: way, Kind: uplink.KindBFD})
		}
	}
	p.due = now
	return p.reopen
}

// each yields every session once. The loop calls it.
func (p *sessions) each() iter.Seq[*session] {
	return func(yield func(*session) bool) {
		for way, s := range p.all {
			if way == s.listeners[0].way && !yield(s) {
				return
			}
		}
	}
}

// anew reports whether update has to be called because there is another speaker.
func (p *sessions) anew() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.renewed
}

// handleOf returns the open session of s, nil if there is none: what was opened on a
// speaker that died is gone with it.
func (p *sessions) handleOf(s *session) Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handle(s)
}

// handle is handleOf for who holds mu.
func (p *sessions) handle(s *session) Session {
	if s.speaker != p.speaker {
		return nil
	}
	return s.handle
}

// wishes returns the sessions that the ways want, in the order of the configuration.
// Ways that want the same session share it: two families with one gateway (RFC 8950)
// are one path.
func (p *sessions) wishes(t *site, views map[uplink.Way]view, s *netmon.Snapshot) []wish {
	var out []wish
	for _, m := range t.members {
		if m.bfd == nil {
			continue
		}
		w := wish{listeners: []listener{{m.Way, bfdRules{require: m.bfd.Require, otherLiveness: otherLiveness(m, views[m.Way], s)}}}}
		w.conf, w.why = t.sessionConfig(m, views[m.Way], s, p.present(m.Way))
		if auth, why := t.authOf(m); why != "" {
			w.why = why
		} else {
			w.conf.Auth = auth
		}
		i := slices.IndexFunc(out, func(o wish) bool { return o.why == "" && w.why == "" && onePath(o.conf, w.conf) })
		if i >= 0 && reflect.DeepEqual(out[i].conf, w.conf) {
			out[i].listeners = append(out[i].listeners, w.listeners...)
			continue
		}
		if i >= 0 {
			w.why = fmt.Sprintf("%s has another session with %s on %s, and a path has one (RFC 5882 section 2): take bfd from one of them",
				out[i].listeners[0].way, w.conf.Peer, w.conf.Interface)
		}
		out = append(out, w)
	}
	return out
}

// present returns how the session of a way is configured, nil if it has none. That
// echoes come from the local address is no choice, and may be mended unless they are
// known to return.
func (p *sessions) present(way uplink.Way) *bfd.Config {
	s := p.all[way]
	if s == nil {
		return nil
	}
	c := s.conf
	if c.EchoSource == c.Local && !s.up() {
		c.EchoSource = netip.Addr{}
	}
	return &c
}

// running returns the open session that can become what is wished, whoever had it so
// far; nil if there is none.
func (p *sessions) running(w wish) *session {
	for s := range p.each() {
		if w.why == "" && s.conf.SameSession(w.conf) && p.handleOf(s) != nil {
			return s
		}
	}
	return nil
}

// close ends the session of s. What comes of it from now on is not heard.
func (p *sessions) close(s *session) {
	s.end()
	handle := p.handleOf(s)
	if handle == nil {
		return
	}
	p.mu.Lock()
	s.handle = nil
	p.mu.Unlock()
	if err := safely(func() error { handle.Close(); return nil }); err != nil {
		p.engine.log.Error("cannot close a BFD session", s.attrs("error", err)...)
	}
}

// create makes the session that is wished, and opens it if that is possible.
func (p *sessions) create(w wish, now time.Time) *session {
	s := &session{
		board: p.engine.board, news: &p.news, conf: w.conf, waits: now, changed: now, listeners: w.listeners,
		deadline: now.Add(startLimit(w.conf.DesiredMinTx)),
		heard:    heard{peer: w.conf.Peer, mode: w.conf.Mode, trouble: "nothing heard from " + w.conf.Peer.String()},
	}
	// waits is since when a session that could not be opened is waited for.
	waits, before := now, ""
	if old := p.all[w.listeners[0].way]; old != nil && old.conf.Interface == w.conf.Interface {
		s.heard, waits, before = old.heir(s.heard, now)
	}
	p.mu.Lock()
	s.speaker = p.speaker
	switch {
	case w.why != "":
		s.waits, s.heard.closed, s.heard.trouble = waits, true, "not opened: "+w.why
	case s.speaker == nil:
		s.heard.closed, s.heard.dead, s.heard.trouble = true, true, p.lack
	}
	open := !s.heard.closed
	for _, l := range w.listeners {
		p.all[l.way] = s // From now on a speaker that dies is known to it.
	}
	p.mu.Unlock()
	if !open {
		return s
	}
	if err := p.open(s); err != nil {
		s.waits = waits
		p.reopen = now.Add(reopenPace)
		if err.Error() != before {
			p.engine.log.Warn("cannot open a BFD session; it is tried again", s.attrs("error", err)...)
		}
	}
	return s
}

// open opens the session of s on its speaker.
func (p *sessions) open(s *session) error {
	var handle Session
	err := safely(func() (err error) {
		handle, err = s.speaker.Open(s.conf, s.hear)
		return err
	})
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ended {
			s.heard.closed, s.heard.trouble = true, err.Error()
		}
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.handle = handle
	return nil
}

// change changes what can be changed while the session runs.
func (p *sessions) change(s *session, w wish) {
	handle := p.handleOf(s)
	if handle == nil || reflect.DeepEqual(s.conf, w.conf) {
		return
	}
	if err := safely(func() error { return handle.Update(w.conf) }); err != nil {
		if s.refused != err.Error() {
			s.refused = err.Error()
			p.engine.log.Error("cannot change a BFD session; it goes on as it is", s.attrs("error", err)...)
		}
		return
	}
	s.refused = ""
	p.mu.Lock()
	s.conf = w.conf
	p.mu.Unlock()
}

// refresh asks the sessions what they say beside their events, where that is due, and
// returns when it is due again; the zero Time if there is no session. It calls
// sessions and so is no part of what has to happen at once.
func (p *sessions) refresh(now time.Time) time.Time {
	if len(p.all) == 0 {
		return time.Time{}
	}
	if !p.news.Swap(false) && now.Before(p.due) {
		return p.due
	}
	p.due = now.Add(settledPace)
	for s := range p.each() {
		if handle := p.handleOf(s); handle == nil {
			s.judge(s.listeners, now)
		} else if err := safely(func() error { s.read(handle.Status, now); return nil }); err != nil {
			p.engine.log.Error("cannot ask a BFD session", s.attrs("error", err)...)
		}
		p.due = earlier(p.due, s.next(now))
	}
	p.measure(now)
	return p.due
}

// earlier returns the earlier of two times, of which the zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// measure begins a new window of lateness when the present one is over.
func (p *sessions) measure(now time.Time) {
	speaker := p.voice()
	if now.Sub(p.measured) < latenessWindow || speaker == nil {
		return
	}
	p.measured = now
	var worst time.Duration
	err := safely(func() error {
		worst = speaker.Stats().WorstLateness
		speaker.ResetLateness()
		return nil
	})
	if err != nil {
		p.engine.log.Error("cannot ask the BFD part", "error", err)
	}
	p.mu.Lock()
	p.lateBefore = worst
	p.mu.Unlock()
}
