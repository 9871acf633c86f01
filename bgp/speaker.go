package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Speaker keeps the sessions, policies and announcements of one network namespace
// equal to the last [Config] that was set. It is safe for concurrent use.
//
// There may be one Speaker for each port of a network namespace, and the namespace is
// that of the threads that Run's process starts.
type Speaker struct {
	opts Options
	log  *slog.Logger

	// setting is held by one Set at a time.
	setting sync.Mutex
	jobs    chan func(m *manager)
	// wakeup is poked when something happened that the manager has to look at.
	wakeup chan struct{}
	fatal  chan error
	done   chan struct{}

	life    sync.Mutex
	running bool
	pending *Config

	sessions sessions
	tables   tables
	own      ownAddresses
	talking  flags
	status   atomic.Pointer[Status]
	// counted says that counts changed since they were last published.
	counted atomic.Bool
	// deaf says that connections are not accepted any more.
	deaf atomic.Bool
	// steady is steadyTime, but in tests.
	steady time.Duration
}

// sessions is everything that the status is made of. Its lock is held for a moment
// only, and never while another one is taken.
type sessions struct {
	mu     sync.Mutex
	by     map[netip.Addr]*session
	order  []*session
	broken []PeerStatus
	// announced is what each peer is told.
	exports exports
	whole   bool
	trouble string
	rpki    []CacheStatus
}

// NewSpeaker returns a Speaker that does nothing until Run.
func NewSpeaker(o Options) *Speaker {
	s := &Speaker{
		opts: o, log: o.Log,
		steady: steadyTime,
		jobs:   make(chan func(*manager)), wakeup: make(chan struct{}, 1), fatal: make(chan error, 1), done: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.opts.Changed == nil {
		s.opts.Changed = func() {}
	}
	s.sessions.by = map[netip.Addr]*session{}
	s.tables.init()
	s.status.Store(&Status{})
	return s
}

// Run speaks until ctx ends, and returns nil then. It may be called once. Sessions
// with graceful restart are closed without a word, so that peers keep what we
// announced; to take leave, Set a Config without peers first. An error says that
// something inside failed; the Speaker is of no use then.
func (s *Speaker) Run(ctx context.Context) error {
	s.life.Lock()
	if s.running {
		s.life.Unlock()
		return errors.New("run BGP speaker: it was run before")
	}
	s.running = true
	first := s.pending
	s.pending = nil
	s.life.Unlock()
	defer close(s.done)
	m := newManager(s)
	defer m.stop()
	if first != nil {
		if err := m.apply(*first); err != nil {
			s.log.Error("configure BGP", slog.String("reason", err.Error()))
		}
	}
	return m.run(ctx)
}

// Set makes c what is wanted. Only what differs is touched: a session goes on unless
// its peer's Address, Port, Interface, Local, AS, LocalAS, Families, HoldTime,
// Password, TTLSecurity, Multihop, Passive or GracefulRestart differ, or AS, RouterID,
// Listen or Port of c. An error says what cannot be had; everything else is as c says,
// and Status repeats it. If AS or RouterID cannot be had, nothing changes.
//
// Before Run, c is kept until then.
func (s *Speaker) Set(c Config) error {
	s.setting.Lock()
	defer s.setting.Unlock()
	s.life.Lock()
	if !s.running {
		s.pending = &c
		s.life.Unlock()
		_, _, _, err := normalise(c)
		return err
	}
	s.life.Unlock()
	var result error
	if err := s.do(context.Background(), func(m *manager) { result = m.apply(c) }); err != nil {
		return err
	}
	return result
}

// errNotRunning is what cannot be done before Run.
var errNotRunning = errors.New("the BGP speaker does not run yet")

// do has the manager call f, and waits until it has.
func (s *Speaker) do(ctx context.Context, f func(m *manager)) error {
	s.life.Lock()
	running := s.running
	s.life.Unlock()
	if !running {
		return errNotRunning
	}
	called := make(chan struct{})
	select {
	case s.jobs <- func(m *manager) { defer close(called); f(m) }:
	case <-s.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-called:
		return nil
	case <-s.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status returns what is known of all sessions. It never blocks. What it returns is
// shared and must not be changed.
func (s *Speaker) Status() Status { return *s.status.Load() }

// Next waits until choices changed and returns them, at most cap(buf) at once, in
// buf. It also returns, once, when Batch.Synced becomes true. The error is that of
// ctx, or [ErrStopped].
func (s *Speaker) Next(ctx context.Context, buf []Route) (Batch, error) {
	if cap(buf) == 0 {
		buf = make([]Route, 0, 1)
	}
	for {
		if b, ok := s.take(buf); ok {
			return b, nil
		}
		select {
		case <-ctx.Done():
			return Batch{}, fmt.Errorf("wait for routes: %w", ctx.Err())
		case <-s.done:
			return Batch{}, ErrStopped
		case <-s.tables.more:
		}
	}
}

// take returns what there is to tell.
func (s *Speaker) take(buf []Route) (Batch, bool) {
	t := &s.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	routes, all := t.take(buf)
	b := Batch{Routes: routes}
	if all && t.whole && !t.wholeTold {
		b.Synced, t.wholeTold = true, true
	}
	if !all && (!t.held || t.whole) {
		// Somebody else may be waiting, or this caller come back.
		t.poke()
	}
	return b, len(b.Routes) > 0 || b.Synced
}

// Again makes Next tell everything from the start, for a reader that has forgotten
// what it was told.
func (s *Speaker) Again() {
	t := &s.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range Families {
		t.ribs[f].again()
	}
	t.wholeTold = false
	t.poke()
}

// Reset ends the session of the peer with this name, with words for the peer (Cease,
// Administrative Reset), and lets it begin anew: what is done when the path under it
// failed (RFC 9384; GoBGP cannot send that code). Without a session it does nothing.
func (s *Speaker) Reset(peer, words string) error {
	var result error
	if err := s.do(context.Background(), func(m *manager) { result = m.reset(peer, words) }); err != nil {
		return fmt.Errorf("reset session: %w", err)
	}
	return result
}

// Alive asks everything that must answer for the Speaker to be of use, and returns nil
// once it has: the goroutine of Run, the library's management, and the lock of the
// tables. It is cheap, and changes nothing. The error is that of ctx if one of them does
// not answer in time, which is what a Speaker that hangs looks like, [ErrStopped] after
// Run, or says that Run was not called yet. What hangs goes on hanging: the caller ends
// the process.
func (s *Speaker) Alive(ctx context.Context) error {
	var result error
	if err := s.do(ctx, func(m *manager) { result = m.alive() }); err != nil {
		return fmt.Errorf("ask BGP speaker whether it lives: %w", err)
	}
	return result
}

// poke has the manager look around.
func (s *Speaker) poke() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// publish makes a new status. It is cheap, and waits for nothing.
func (s *Speaker) publish() {
	x := &s.sessions
	x.mu.Lock()
	status := &Status{Synced: x.whole, Error: x.trouble, RPKI: x.rpki, Peers: make([]PeerStatus, 0, len(x.order)+len(x.broken))}
	for _, peer := range x.order {
		told := x.exports.of(peer.peer.Address)
		status.Peers = append(status.Peers, peer.status(told.count))
	}
	status.Peers = append(status.Peers, x.broken...)
	s.status.Store(status)
	x.mu.Unlock()
	s.opts.Changed()
}

// countEvery is how often counts are published at most.
const countEvery = 200 * time.Millisecond
