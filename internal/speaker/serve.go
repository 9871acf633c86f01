package speaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/multihomed/multihomed/bgp"
)

// sessions are what a speaker is told. [bgp.Speaker] says of each method what it
// does.
type sessions interface {
	Run(ctx context.Context) error
	Set(c bgp.Config) error
	Reset(peer, words string) error
	Alive(ctx context.Context) error
}

// knowledge is what a speaker tells.
type knowledge interface {
	Status() bgp.Status
	Next(ctx context.Context, buf []bgp.Route) (bgp.Batch, error)
	Paths(ctx context.Context, q bgp.Query) ([]bgp.PrefixPaths, error)
}

// voice is a speaker. [bgp.Speaker] is the real one.
type voice interface {
	sessions
	knowledge
}

// Times and bounds of a child.
const (
	// leaveLimit is how long the last words to all peers may take.
	leaveLimit = 3 * time.Second
	// hangSteps, of hangStep each, is how long the speaker may take for an order or a
	// sign of life: a full table that leaves makes it slow. One that needs longer hangs,
	// and a new one is better. Steps are counted as they are lived: a machine that was
	// suspended for an hour, or a process that was stopped, has lived one of them.
	hangStep  = 5 * time.Second
	hangSteps = 12
	// endLimit is how long a speaker may take to end once nobody wants it any more.
	// The kernel closes what it leaves open.
	endLimit = 300 * time.Millisecond
	// patience is how many heartbeats of the daemon may be missing: three times what
	// the daemon itself waits, so that a daemon that was busy or stopped for a while
	// finds its sessions as they were.
	patience = 3 * beats
	// questionsMost is how many questions are answered at the same time. The daemon asks
	// fewer, but may have given some up.
	questionsMost = 16
)

// errOver are the ends of a child that are as they should be.
var (
	errHungUp = errors.New("the daemon hung up")
	errLeft   = errors.New("all sessions were taken leave of")
)

// server is a child: a speaker, and the daemon at the other end of conn.
type server struct {
	voice voice
	conn  io.ReadWriteCloser
	in    *frameReader
	out   *frameWriter
	log   *slog.Logger
	level *slog.LevelVar
	// step is hangStep, but in tests.
	step time.Duration
	// stop ends everything, with the reason.
	stop context.CancelCauseFunc
	all  *errgroup.Group
	// heard is set by every frame.
	heard atomic.Bool
	// Each of these has one slot: look at the status, answer a ping, look at orders.
	changed, pinged, ordered chan struct{}
	// configured is closed when the first configuration was taken.
	configured     chan struct{}
	configuredOnce sync.Once
	// credits are frames of routes that may be sent, up to window.
	credits chan struct{}

	mu sync.Mutex
	// wanted is a configuration that was not set yet. leaving: there will be no other.
	wanted  *bgp.Config
	last    *bgp.Config
	leaving bool
	resets  map[string]string
	// asked are the questions that are being answered.
	asked map[uint64]context.CancelFunc

	// trouble is what the last configuration lacks, in words. It belongs to obey.
	trouble string
}

// Serve is the child: it speaks BGP as it is told over conn, until that is closed or
// ctx ends, and takes leave of its peers only if it is told to. What it does not log is
// what the daemon does not log. It closes conn. If it returns while the speaker hangs,
// goroutines of that stay behind: the process is to end.
func Serve(ctx context.Context, conn io.ReadWriteCloser, log *slog.Logger) error {
	return newServer(conn, log, func(o bgp.Options) voice { return bgp.NewSpeaker(o) }).serve(ctx)
}

func newServer(conn io.ReadWriteCloser, log *slog.Logger, newVoice func(bgp.Options) voice) *server {
	if log == nil {
		log = slog.Default()
	}
	level := new(slog.LevelVar)
	s := &server{
		conn: conn, step: hangStep, in: newFrameReader(conn), out: newFrameWriter(conn),
		log: slog.New(&quiet{log.Handler(), level}), level: level,
		changed: make(chan struct{}, 1), pinged: make(chan struct{}, 1), ordered: make(chan struct{}, 1),
		configured: make(chan struct{}), credits: make(chan struct{}, window),
		asked: make(map[uint64]context.CancelFunc),
	}
	s.voice = newVoice(bgp.Options{Changed: func() { poke(s.changed) }, Log: s.log})
	return s
}

// serve is what Serve does.
func (s *server) serve(ctx context.Context) error {
	ctx, s.stop = context.WithCancelCause(ctx)
	defer s.stop(nil)
	closed := make(chan error, 1)
	context.AfterFunc(ctx, func() { closed <- s.conn.Close() })

	s.all, ctx = errgroup.WithContext(ctx)
	s.run(ctx)
	<-ctx.Done()
	cause := context.Cause(ctx)
	s.stop(cause)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.all.Wait() // Its error is the cause.
	}()
	if !await(endLimit, ended, nil) {
		s.log.Warn("the BGP speaker does not end by itself")
	}
	if err := <-closed; err != nil {
		s.log.Debug("cannot close the socket of the daemon", "error", err)
	}
	if errors.Is(cause, errHungUp) || errors.Is(cause, errLeft) || errors.Is(cause, context.Canceled) {
		return nil
	}
	return fmt.Errorf("serve the daemon: %w", cause)
}

// run starts everything. Whatever ends first ends all.
func (s *server) run(ctx context.Context) {
	beat := make(chan time.Duration, 1)
	s.all.Go(func() error { return s.listen(ctx, beat) })
	s.all.Go(func() error { return s.watch(ctx, beat) })
	s.all.Go(func() error { return s.speak(ctx) })
	s.all.Go(func() error { return s.obey(ctx) })
	s.all.Go(func() error { return s.live(ctx) })
	s.all.Go(func() error { return s.probe(ctx) })
	s.all.Go(func() error { return s.report(ctx) })
	s.all.Go(func() error { return s.stream(ctx) })
}

// speak runs the speaker.
func (s *server) speak(ctx context.Context) error {
	err := s.voice.Run(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return errors.New("the speaker ended by itself")
	}
	return fmt.Errorf("the speaker ended: %w", err)
}

// watch ends a child whose daemon says nothing for long.
func (s *server) watch(ctx context.Context, beat <-chan time.Duration) error {
	var interval time.Duration
	select {
	case interval = <-beat:
	case <-ctx.Done():
		return ctx.Err()
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for missed := 0; missed < patience; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if missed++; s.heard.Swap(false) {
			missed = 0
		}
	}
	return fmt.Errorf("the daemon said nothing for %v", patience*interval)
}

// live answers pings: this process runs. Whether its speaker does is for probe to say.
func (s *server) live(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.pinged:
		}
		if err := s.out.send(kindPong, nil); err != nil {
			return hungUp(err)
		}
	}
}

// listen reads what the daemon says.
func (s *server) listen(ctx context.Context, beat chan<- time.Duration) error {
	if err := s.out.build(kindHello, hello{pid: os.Getpid()}.append); err != nil {
		return hungUp(err)
	}
	h, err := s.in.readHello()
	if err != nil {
		return hungUp(err)
	}
	if h.heartbeat < heartbeatLeast || h.heartbeat > heartbeatMost {
		return malformed(kindHello, "a heartbeat of %v", h.heartbeat)
	}
	s.level.Set(slog.Level(h.level))
	beat <- h.heartbeat
	for {
		k, p, err := s.in.next()
		if err != nil {
			return hungUp(err)
		}
		s.heard.Store(true)
		if err := s.take(ctx, k, p); err != nil {
			return err
		}
	}
}

// take does what a frame says, or has it done: it does not wait for the speaker.
func (s *server) take(ctx context.Context, k kind, p []byte) error {
	switch k {
	case kindConfig:
		var c bgp.Config
		if err := decode(k, p, &c); err != nil {
			return err
		}
		s.want(c)
	case kindCredit:
		n, err := readNumber(k, p)
		if err != nil {
			return err
		}
		for range n {
			select {
			case s.credits <- struct{}{}:
			default:
				return malformed(k, "more than %d frames at once", window)
			}
		}
	case kindPing:
		poke(s.pinged)
	case kindQuestion:
		var q question
		if err := decode(k, p, &q); err != nil {
			return err
		}
		s.answer(ctx, q)
	case kindCancel:
		id, err := readID(k, p)
		if err != nil {
			return err
		}
		s.mu.Lock()
		cancel := s.asked[id]
		s.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	case kindReset:
		var o resetOrder
		if err := decode(k, p, &o); err != nil {
			return err
		}
		s.reset(o)
	case kindLeave:
		s.leave()
	case kindUnknown, kindHello, kindStatus, kindRoutes, kindAnswer, kindPong:
		return malformed(k, "the daemon does not send this")
	default:
		return malformed(k, "there is no such kind")
	}
	return nil
}

// hungUp turns the errors of a connection that is closed into the one that says so.
// A frame that breaks off is one: the daemon was killed while it wrote.
func hungUp(err error) error {
	if errors.Is(err, errMalformed) {
		return err
	}
	return fmt.Errorf("%w: %w", errHungUp, err)
}

// poke fills a channel of one slot.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// quiet is a handler that leaves out what the daemon does not want to hear.
type quiet struct {
	slog.Handler
	level slog.Leveler
}

// Enabled tells whether anybody wants to hear of l.
func (h *quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level.Level() && h.Handler.Enabled(ctx, l)
}

// WithAttrs returns a handler with the same level.
func (h *quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quiet{h.Handler.WithAttrs(attrs), h.level}
}

// WithGroup returns a handler with the same level.
func (h *quiet) WithGroup(name string) slog.Handler {
	return &quiet{h.Handler.WithGroup(name), h.level}
}
