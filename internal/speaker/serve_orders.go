package speaker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

// settleTime is how long the last words may take from the queue of a session to the
// socket, once the speaker has forgotten the session: GoBGP sends a Cease from a
// goroutine of the session, and nobody is told when.
const settleTime = 250 * time.Millisecond

// want makes c what is to be set, unless the child is leaving.
func (s *server) want(c bgp.Config) {
	s.mu.Lock()
	if !s.leaving {
		s.wanted, s.last = &c, &c
	}
	s.mu.Unlock()
	poke(s.ordered)
}

// reset notes a session to end. Several for one peer are one.
func (s *server) reset(o resetOrder) {
	s.mu.Lock()
	if s.resets == nil {
		s.resets = make(map[string]string)
	}
	s.resets[o.Peer] = o.Words
	s.mu.Unlock()
	poke(s.ordered)
}

// leave makes the end of all sessions the last that is wanted. Where nothing was wanted
// there is none.
func (s *server) leave() {
	s.mu.Lock()
	s.wanted, s.leaving, s.resets = nil, true, nil
	if s.last != nil {
		c := *s.last
		c.Peers = nil
		s.wanted = &c
	}
	s.mu.Unlock()
	time.AfterFunc(leaveLimit, func() { s.stop(errLeft) })
	poke(s.ordered)
}

// obey sets configurations and resets sessions, one after the other.
func (s *server) obey(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ordered:
		}
		s.mu.Lock()
		c, leaving, resets := s.wanted, s.leaving, s.resets
		s.wanted, s.resets = nil, nil
		s.mu.Unlock()
		if c != nil {
			s.set(ctx, *c)
		}
		if leaving {
			return s.left(ctx)
		}
		for peer, words := range resets {
			var err error
			s.bounded(ctx, "it did not reset a session", func() { err = s.voice.Reset(peer, words) })
			if err != nil {
				s.log.Warn("cannot reset a session", "peer", peer, "error", err)
			}
		}
	}
}

// set sets c. What cannot be had is logged once as long as it is the same.
func (s *server) set(ctx context.Context, c bgp.Config) {
	var err error
	s.bounded(ctx, "it did not take a configuration", func() { err = s.voice.Set(c) })
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != s.trouble {
		s.log.Warn("the BGP speaker cannot do all that is wanted", "reason", trouble)
	}
	s.trouble = trouble
	s.configuredOnce.Do(func() { close(s.configured) })
}

// left waits until the last words are out.
func (s *server) left(ctx context.Context) error {
	tick := time.NewTicker(settleTime / 10)
	defer tick.Stop()
	for quiet := time.Now(); time.Since(quiet) < settleTime; {
		if len(s.voice.Status().Peers) > 0 {
			quiet = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return errLeft
}

// answer answers a question beside everything else.
func (s *server) answer(ctx context.Context, q question) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	full := len(s.asked) >= questionsMost
	if !full {
		s.asked[q.ID] = cancel
	}
	s.mu.Unlock()
	s.all.Go(func() error {
		defer cancel()
		if full {
			return s.send(answer{ID: q.ID, Last: true, Error: "too many questions at once"})
		}
		defer func() {
			s.mu.Lock()
			delete(s.asked, q.ID)
			s.mu.Unlock()
		}()
		paths, err := s.voice.Paths(ctx, q.Query)
		return s.sendPaths(ctx, q.ID, paths, err)
	})
}

// answerPart is about how long a part of an answer may be, in octets: what is urgent
// goes out between the parts.
const answerPart = 128 << 10

// sendPaths sends an answer in parts. When ctx has ended nobody waits for it.
func (s *server) sendPaths(ctx context.Context, id uint64, paths []bgp.PrefixPaths, err error) error {
	part := rawAnswer{ID: id}
	size := 0
	for _, p := range paths {
		for i := range p.Paths {
			p.Paths[i].Bandwidth = finite(p.Paths[i].Bandwidth)
		}
		document, bad := encode(p)
		if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		part.Paths = append(part.Paths, document)
		if size += len(document); size < answerPart {
			continue
		}
		if ended(ctx) {
			return nil
		}
		if err := s.send(part); err != nil {
			return err
		}
		part.Paths, size = nil, 0
	}
	if ended(ctx) {
		return nil
	}
	part.Last = true
	if err != nil {
		part.Error = err.Error()
	}
	return s.send(part)
}

func ended(ctx context.Context) bool { return ctx.Err() != nil }

// rawAnswer is an answer whose paths are JSON already.
type rawAnswer struct {
	ID    uint64
	Paths []json.RawMessage
	Last  bool
	Error string
}

func (s *server) send(v any) error {
	document, err := encode(v)
	if err != nil {
		return err
	}
	if err := s.out.send(kindAnswer, document); err != nil {
		return hungUp(err)
	}
	return nil
}
