package interop

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bfd"
)

// end is our end of all sessions: a Speaker that runs.
type end struct {
	speaker  *bfd.Speaker
	sessions map[netip.Addr]*bfd.Session
	cancel   context.CancelFunc
	// ended gets what Run returned.
	ended chan error

	mu     sync.Mutex
	events map[netip.Addr][]bfd.Event
}

// speak starts a Speaker with a session for each path; change, which may be nil,
// says how its configuration differs from ours.
func (s *scene) speak(t *testing.T, change func(*bfd.Config)) *end {
	t.Helper()
	e := &end{
		sessions: map[netip.Addr]*bfd.Session{}, events: map[netip.Addr][]bfd.Event{}, ended: make(chan error, 1),
	}
	err := s.us.Do(func() (err error) {
		e.speaker, err = bfd.NewSpeaker(bfd.Options{Logger: slog.New(slog.DiscardHandler)})
		return err
	})
	must(t, err)
	for _, p := range s.paths {
		c := ours(p)
		if change != nil {
			change(&c)
		}
		session, err := e.speaker.Open(c, e.note)
		must(t, err)
		e.sessions[p.far] = session
	}
	var ctx context.Context
	ctx, e.cancel = context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.ended <- e.speaker.Run(ctx)
	}()
	t.Cleanup(func() {
		e.cancel()
		<-done
		if t.Failed() {
			t.Logf("our end:\n%s", e.describe())
		}
	})
	return e
}

func (e *end) note(event bfd.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events[event.Peer] = append(e.events[event.Peer], event)
}

// describe is for people.
func (e *end) describe() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for peer, session := range e.sessions {
		st := session.Status()
		fmt.Fprintf(&b, "%s: %s, diag %s, remote %s %s, sent %d received %d dropped %v lateness %s problem %q\n",
			peer, st.State, st.Diag, st.RemoteState, st.RemoteDiag, st.Sent, st.Received, st.Dropped, st.WorstLateness, st.Problem)
		for _, event := range e.events[peer] {
			fmt.Fprintf(&b, "\t%s %s (remote %s, %s)\n", event.At.Format("15:04:05.000"), event, event.RemoteState, event.RemoteDiag)
		}
	}
	return b.String()
}

// stop ends the Speaker as a program does that ends.
func (e *end) stop(t *testing.T) {
	t.Helper()
	e.cancel()
	select {
	case err := <-e.ended:
		must(t, err)
	case <-time.After(limit):
		t.Fatalf("Run did not return within %s of the end of its context", limit)
	}
}

// status of the session on a path.
func (e *end) status(p path) bfd.Status { return e.sessions[p.far].Status() }

// reported returns the events of a path so far.
func (e *end) reported(p path) []bfd.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.events[p.far])
}

// forget drops the events so far. One that a status has shown already may come
// after it: those that are told apart by what they say.
func (e *end) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.events)
}

// leftUp is the first event since forget by which the session of a path left Up.
func (e *end) leftUp(p path) (bfd.Event, error) {
	for _, event := range e.reported(p) {
		if event.Old == bfd.Up {
			return event, nil
		}
	}
	return bfd.Event{}, fmt.Errorf("%s: has not left Up: %s", p.name, e.status(p).State)
}

// update changes all sessions.
func (e *end) update(t *testing.T, s *scene, change func(*bfd.Config)) {
	t.Helper()
	for _, p := range s.paths {
		c := ours(p)
		change(&c)
		must(t, e.sessions[p.far].Update(c))
	}
}

// each asks f of every path; the first objection is returned.
func (s *scene) each(f func(path) error) func() error {
	return func() error {
		for _, p := range s.paths {
			if err := f(p); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		return nil
	}
}

// comesUp waits until both ends of every session say that it is Up, and nothing is
// said to stand in its way.
func (s *scene) comesUp(t *testing.T, e *end) {
	t.Helper()
	eventually(t, "all sessions are up here", s.each(func(p path) error {
		st := e.status(p)
		if st.State != bfd.Up || st.RemoteState != bfd.Up || st.Polling || st.Problem != "" {
			return fmt.Errorf("%s, remote %s, polling %t, problem %q, dropped %v",
				st.State, st.RemoteState, st.Polling, st.Problem, st.Dropped)
		}
		return nil
	}))
	s.peerSays(t, bfd.Up)
}

// peerSays waits until the peer says that all sessions are in one of these states.
func (s *scene) peerSays(t *testing.T, states ...bfd.State) {
	t.Helper()
	eventually(t, fmt.Sprintf("the peer says %v", states), func() error {
		views, err := s.daemon.views()
		if err != nil {
			return err
		}
		return s.each(func(p path) error {
			if v, ok := views[p.us]; !ok || !slices.Contains(states, v.state) {
				return fmt.Errorf("the peer says %s", v.state)
			}
			return nil
		})()
	})
}

// steady fails the test if a session left Up since forget.
func (s *scene) steady(t *testing.T, e *end) {
	t.Helper()
	for _, p := range s.paths {
		if event, err := e.leftUp(p); err == nil {
			t.Errorf("%s: flapped: %s", p.name, event)
		}
	}
}
