package speaker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

// Child is a running speaker. One that has a method "Output() io.ReadCloser" is read to
// its end, in lines: JSON records of slog, and whatever a Go program that dies
// prints; then it is closed.
type Child interface {
	io.ReadWriteCloser
	// Wait waits for its end and says how it came to it. It is called once.
	Wait() error
	// Kill ends it at once.
	Kill()
}

// Options are the surroundings of a [Supervisor]. Only Start is required.
type Options struct {
	// Start starts a child. [Process] is the real one.
	Start func(ctx context.Context) (Child, error)
	// Changed is called after Status changed. It must not block.
	Changed func()
	// Begin is called before the first routes of each child: what was told before is
	// forgotten, and told anew.
	Begin func()
	// Routes is called with each batch, on the goroutine of Run, as Begin is. It may
	// block until ctx ends: the child keeps what it could not tell, and nothing else
	// waits. The routes are valid until it returns.
	Routes func(ctx context.Context, b bgp.Batch)
	// Log is slog.Default if nil. Records of the child carry component=bgp. Nothing waits
	// for a log that is slow; records that are too many for it are lost, and counted.
	Log *slog.Logger
}

// Status is what is known of the speaker and, through it, of the sessions.
type Status struct {
	// Speaking: there is a child that answers, and BGP is what it said last. Otherwise
	// BGP is what the last one said. It must not be changed.
	Speaking bool
	BGP      bgp.Status
	// Known is false until a child has spoken.
	Known bool
	// PID of the child, 0 if none runs or it has not said it yet; Since is when it was
	// started.
	PID   int
	Since time.Time
	// Starts counts children; Trouble is why none speaks, in words.
	Starts  uint64
	Trouble string
}

// ErrNobody is the error of [Supervisor.Paths] while no child speaks.
var ErrNobody = errors.New("nobody speaks BGP at present")

// limits are the times and bounds of a Supervisor. Tests have others.
type limits struct {
	// silence is how long a child may say nothing.
	silence time.Duration
	// A child that ended is started again after pauseLeast, twice that the next time,
	// and so on up to pauseMost; after a child that spoke for healthy it begins anew.
	pauseLeast, pauseMost, healthy time.Duration
	// leave is how long a child may take leave. It is longer than the time that the
	// child gives itself (leaveLimit), so that it is rarely needed.
	leave time.Duration
	// end is how long a child whose socket is closed may take to end.
	end time.Duration
	// questions is how many may be asked at the same time; the others wait.
	questions int
}

func usualLimits() limits {
	return limits{
		silence:    10 * time.Second,
		pauseLeast: 200 * time.Millisecond, pauseMost: 30 * time.Second, healthy: time.Minute,
		leave: leaveLimit + time.Second, end: time.Second,
		questions: 4,
	}
}

// Supervisor keeps one child running. It is safe for concurrent use.
type Supervisor struct {
	opts   Options
	limits limits
	// log puts records for handler into queue.
	log     *slog.Logger
	queue   *logQueue
	handler slog.Handler
	// asking holds one token for each question under way.
	asking chan struct{}
	// set is closed by the first Set.
	set     chan struct{}
	setOnce sync.Once

	// setting is held by whoever makes wanted another, and taken before mu.
	setting sync.Mutex
	// config is what was set, Restarting of it what the present child is told.
	config bgp.Config

	mu sync.Mutex
	// wanted is config in JSON, nil before the first Set.
	wanted []byte
	status Status
	// talk is the conversation with the present child, nil if there is none.
	talk    *talk
	leaving bool
	lastID  uint64
}

// NewSupervisor returns a Supervisor that does nothing until Run.
func NewSupervisor(o Options) *Supervisor {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.Begin == nil {
		o.Begin = func() {}
	}
	if o.Routes == nil {
		o.Routes = func(context.Context, bgp.Batch) {}
	}
	s := &Supervisor{opts: o, queue: new(logQueue), handler: o.Log.With("component", "bgp").Handler(), set: make(chan struct{})}
	s.log = slog.New(&queueHandler{s.queue, s.handler})
	s.status.Trouble = "the BGP speaker is not configured yet"
	s.limit(usualLimits())
	return s
}

// limit replaces the limits, before Run.
func (s *Supervisor) limit(l limits) {
	s.limits = l
	s.asking = make(chan struct{}, l.questions)
}

// Run keeps a child running from the first Set until ctx ends. The child then closes
// its sessions without a word; with Leave, it takes leave of its peers first.
func (s *Supervisor) Run(ctx context.Context) {
	select {
	case <-s.set:
	case <-ctx.Done():
		return
	}
	defer s.queue.flush(logLimit)
	pause, last := s.limits.pauseLeast, ""
	for {
		spoke, err := s.life(ctx)
		if ctx.Err() != nil {
			return
		}
		if spoke >= s.limits.healthy {
			pause, last = s.limits.pauseLeast, ""
		}
		// What is always the same is said once.
		level := slog.LevelWarn
		if err.Error() == last {
			level = slog.LevelDebug
		}
		last = err.Error()
		s.log.Log(ctx, level, "nobody speaks BGP; what was learned stays in use, and the speaker is started again",
			"reason", last, "pause", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, s.limits.pauseMost)
	}
}

// life starts a child and talks to it until it or ctx ends. It returns how long the
// child spoke, and why it does not any more.
func (s *Supervisor) life(ctx context.Context) (spoke time.Duration, err error) {
	child, err := s.opts.Start(ctx)
	if err != nil {
		err = fmt.Errorf("start the BGP speaker: %w", err)
		s.change(func(st *Status) { st.Trouble = s.again(err) })
		return 0, err
	}
	t := newTalk(s, child)
	s.begin(t)
	// Also if Routes panics: whoever runs Run may catch that and start anew.
	defer func() {
		spoke, err = t.finish(ctx)
		trouble := "the BGP speaker was stopped"
		if ctx.Err() == nil {
			trouble = s.again(err)
		}
		s.change(func(st *Status) {
			st.Speaking, st.PID, st.Trouble = false, 0, trouble
			s.talk = nil
		})
		t.forget()
	}()
	t.run(ctx)
	return spoke, err
}

// begin makes t the present conversation, which begins with the configuration.
func (s *Supervisor) begin(t *talk) {
	s.setting.Lock()
	s.mu.Lock()
	s.status.Starts++
	s.mu.Unlock()
	s.want(s.config) // It differs for the second child.
	s.mu.Lock()
	s.status.Since = time.Now()
	s.status.Trouble = "the BGP speaker has started and has not said anything yet"
	t.box.configure(s.wanted)
	s.talk = t
	s.mu.Unlock()
	s.setting.Unlock()
	s.opts.Changed()
}

// again are the words for a child that ended.
func (s *Supervisor) again(err error) string {
	return fmt.Sprintf("%v; it is started again within %v", err, s.limits.pauseMost)
}

// change changes the status and tells it.
func (s *Supervisor) change(f func(st *Status)) {
	s.mu.Lock()
	f(&s.status)
	s.mu.Unlock()
	s.opts.Changed()
}

// Leave makes the end of Run end every session with a word (Cease, Peer
// De-configured): what is forwarded now will not be after this.
func (s *Supervisor) Leave() {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
}

func (s *Supervisor) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

// Set makes c, which must not be changed any more, what is wanted. Every child but the
// first is told that it is Restarting, whatever c says: this process kept the routes.
func (s *Supervisor) Set(c bgp.Config) {
	s.setting.Lock()
	defer s.setting.Unlock()
	if s.want(c) {
		s.setOnce.Do(func() { close(s.set) })
	}
}

// want makes c what is wanted, if that is possible, and tells the child if it is news.
// setting is held.
func (s *Supervisor) want(c bgp.Config) bool {
	c.Restarting = c.Restarting || s.Status().Starts > 1
	document, err := encode(c)
	if err == nil && len(document) > maxDocument {
		err = fmt.Errorf("it has %d octets, at most %d are possible: name fewer prefixes", len(document), maxDocument)
	}
	if err != nil {
		s.log.Error("the new BGP configuration is not used; the old one goes on", "error", err)
		return false
	}
	s.config = c
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(document, s.wanted) {
		return true
	}
	s.wanted = document
	if s.talk != nil {
		s.talk.box.configure(document)
	}
	return true
}

// Status returns what is known.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Paths asks the child. The error is [ErrNobody] if nobody speaks. The parts of a
// long answer are put together.
func (s *Supervisor) Paths(ctx context.Context, q bgp.Query) ([]bgp.PrefixPaths, error) {
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("ask for paths: %w", ctx.Err())
	}
	s.mu.Lock()
	t, speaking, trouble := s.talk, s.status.Speaking, s.status.Trouble
	s.lastID++
	id := s.lastID
	s.mu.Unlock()
	if t == nil || !speaking {
		return nil, fmt.Errorf("ask for paths: %w: %s", ErrNobody, trouble)
	}
	return t.ask(ctx, question{ID: id, Query: q})
}

// Reset asks the child to end a session and begin it anew; see bgp.Speaker.Reset.
// Without a child there is no session, and nothing to do.
func (s *Supervisor) Reset(peer, words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.talk != nil {
		s.talk.box.reset(peer, words[:min(len(words), maxWords)])
	}
}
