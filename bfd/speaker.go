package bfd

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Options of a speaker.
type Options struct {
	// Logger gets changes of state at Info, and problems once; slog.Default if
	// nil. It is called from a goroutine of its own: one that blocks delays no
	// session.
	Logger *slog.Logger
}

// Speaker runs sessions. Its methods may be called from any goroutine.
type Speaker struct {
	source    clockSource
	namespace *namespace
	journal   *journal
	// hurry makes the thread urgent, and returns what takes that back.
	hurry func() (calm func())
	// linger is how long the end may take.
	linger time.Duration

	mu    sync.Mutex
	table *table
	stage stage
	// fresh sessions have no sockets yet.
	fresh []*session
	// poller is nil but while the loop runs.
	poller *poller
}

// stage of a speaker's life.
type stage uint8

const (
	stageNew stage = iota
	stageRunning
	stageEnding
)

// NewSpeaker returns a speaker for the network namespace of the calling thread.
// Sessions may be opened before Run.
func NewSpeaker(o Options) (*Speaker, error) {
	ns, err := openNamespace()
	if err != nil {
		return nil, fmt.Errorf("make speaker: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	source := systemClock(time.Now())
	wall := func(at instant) time.Time {
		now, wall := source()
		return time.Unix(0, wall).Add(at - now)
	}
	return &Speaker{
		source: source, namespace: ns, table: newTable(newRandom(), wall), journal: newJournal(o.Logger),
		hurry: hurry, linger: lingerLimit,
	}, nil
}

// newRandom returns random numbers that are not to be guessed, as discriminators and
// sequence numbers are. It is for one user at a time.
func newRandom() *rand.Rand {
	var seed [32]byte
	crand.Read(seed[:]) // never fails, says its documentation
	return rand.New(rand.NewChaCha8(seed))
}

// Run serves the sessions until ctx ends, then tells every peer that we are
// administratively down, waits until they know, for at most their detection time or
// two seconds, and closes all sockets. It returns nil then, and an error if it cannot
// serve at all. It must be called once.
//
// The goroutine is locked to its thread meanwhile, which enters the namespace that
// NewSpeaker saw and takes niceness -20 if it may (CAP_SYS_NICE). At the end it is given
// back as it was; where it cannot be, it stays locked and ends with the goroutine.
//
// A program that computes should run with GOMAXPROCS of four times its processors, and
// not less than 8: a goroutine that wakes waits for one of these, up to 10 ms for each
// that is before it, and no priority of the thread helps against that. How late packets
// were sent, of 16 sessions at 10 ms, on two processors that others used as well
// (BenchmarkLateness, one run; ms, the worst of each second on average and of all ten,
// with niceness 0 and -20):
//
//	beside it                              GOMAXPROCS=2          GOMAXPROCS=8
//	                                       0         -20         0         -20
//	nothing                                6  20     22  43      23  65     2   9
//	2 goroutines that compute             49 121     22  73       6  17     5  11
//	8 goroutines that compute            125 203     97 105      24  57    39  82
//	a heap of 1 GB, garbage 200 MB/s      13  45      7  22       6  19     7  28
//	6 other programs that compute         20  43      4  10       6  32     2  10
func (s *Speaker) Run(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	leave, err := s.namespace.enter()
	if err != nil {
		return fmt.Errorf("run speaker: %w", err)
	}
	defer leave()
	// Its end comes after that of the sockets: they do not wait for whoever reads the
	// log.
	go s.journal.run()
	defer s.journal.close()
	calm := s.hurry()
	defer calm()
	p, err := newPoller()
	if err != nil {
		return fmt.Errorf("run speaker: %w", err)
	}
	defer p.close()
	l := &loop{
		speaker: s, clock: newClock(s.source), poller: p, batch: newBatch(), endAt: never,
		gather: gather{grid: maxGrid}, drops: newDropLog(),
	}
	if l.sockets, err = newSockets(s, p, l.clock); err != nil {
		return fmt.Errorf("run speaker: %w", err)
	}
	defer l.sockets.close()
	defer s.setPoller(nil)
	s.setPoller(p)
	stop := context.AfterFunc(ctx, s.wake)
	defer stop()
	l.run(ctx)
	return nil
}

func (s *Speaker) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage != stageNew {
		return errors.New("run speaker: it was run before; make a new one")
	}
	s.stage = stageRunning
	return nil
}

// end is also the end of a Run that failed or panicked.
func (s *Speaker) end() {
	s.disableAll()
	_ = s.namespace.file.Close()
}

func (s *Speaker) setPoller(p *poller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poller = p
}

// wake has the loop look at what changed.
func (s *Speaker) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poller != nil {
		s.poller.wake()
	}
}

// locked runs f under the lock.
func (s *Speaker) locked(f func(t *table)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.table)
}

func (s *Speaker) now() instant {
	now, _ := s.source()
	return now
}

// disableAll begins the end of every session.
func (s *Speaker) disableAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage = stageEnding
	sessions := make([]*session, 0, len(s.table.byDiscriminator))
	for _, session := range s.table.byDiscriminator {
		sessions = append(sessions, session)
	}
	for _, session := range sessions {
		s.table.close(session, s.now())
	}
}

// lingering returns how many peers have yet to be told.
func (s *Speaker) lingering() (n int) {
	s.locked(func(t *table) { n, _ = t.lingering() })
	return n
}

func (s *Speaker) takeFresh() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.fresh
	s.fresh = nil
	return fresh
}

// Open starts a session; notify, which must not block, gets its changes of state.
// What may mend itself (no such device yet, a port that is taken) is no error here:
// it is tried again, and told by [Status.Problem]. Errors are an invalid Config, and
// a session with the same peer (RFC 5881 section 2).
func (s *Speaker) Open(c Config, notify func(Event)) (*Session, error) {
	h := &Session{speaker: s, notify: notify}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage == stageEnding {
		return nil, errors.New("open session: the speaker has ended")
	}
	session, err := s.table.open(c, h.hear, s.now())
	if err != nil {
		return nil, err
	}
	h.session = session
	s.fresh = append(s.fresh, session)
	if s.poller != nil {
		s.poller.wake()
	}
	return h, nil
}

// Stats returns a snapshot.
func (s *Speaker) Stats() (st Stats) {
	var dropped [drops]uint64
	s.locked(func(t *table) { st, dropped = t.counts() })
	st.Dropped = counted(&dropped)
	return st
}

// ResetLateness begins a new measurement of Stats.WorstLateness.
func (s *Speaker) ResetLateness() { s.locked(func(t *table) { t.resetLateness() }) }
