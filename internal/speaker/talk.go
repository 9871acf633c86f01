package speaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

const (
	// window is how many frames of routes may be under way or waiting for who takes
	// them: enough to bridge the wake-ups of both processes. There is a buffer for each
	// here, so that what comes behind them, such as a status, never waits.
	window = 8
	// Signs of life are counted, not timed: a child is silent after this many questions
	// without a word. A daemon that was stopped itself has asked none.
	beats = 4
)

// errSilent is why a child is killed that does not answer.
var errSilent = errors.New("the BGP speaker did not answer")

// talk is the conversation with one child, from its start to its end.
type talk struct {
	s     *Supervisor
	child Child
	in    *frameReader
	out   *frameWriter
	box   *outbox
	// heard is set by every frame.
	heard atomic.Bool
	// speaks is closed by the first status.
	speaks chan struct{}
	spoke  time.Time

	batches chan bgp.Batch
	spare   chan []bgp.Route
	words   *output

	// broken ends what the conversation consists of, with the reason.
	broken context.CancelCauseFunc
	// read is closed when nothing is read any more, ended when the child has ended,
	// with the error of Wait.
	read     chan struct{}
	ended    chan struct{}
	endedHow error
	tasks    sync.WaitGroup
	stop     chan struct{}
	live     context.Context

	mu sync.Mutex
	// asked are questions that wait for their answer; nil when the talk is over.
	asked map[uint64]*pending
}

// pending is a question that waits.
type pending struct {
	paths []bgp.PrefixPaths
	err   error
	done  chan struct{}
}

func newTalk(s *Supervisor, child Child) *talk {
	t := &talk{
		s: s, child: child, in: newFrameReader(child), out: newFrameWriter(child), box: newOutbox(),
		speaks:  make(chan struct{}),
		batches: make(chan bgp.Batch, window), spare: make(chan []bgp.Route, window),
		words: newOutput(s.queue, s.handler),
		read:  make(chan struct{}), ended: make(chan struct{}), stop: make(chan struct{}),
		asked: make(map[uint64]*pending),
	}
	for range window {
		t.spare <- make([]bgp.Route, 0, maxRoutes)
	}
	t.box.grant(window)
	return t
}

// run talks until ctx ends or the conversation breaks.
func (t *talk) run(ctx context.Context) {
	t.live, t.broken = context.WithCancelCause(ctx)
	t.tasks.Go(func() {
		t.endedHow = t.child.Wait()
		close(t.ended)
	})
	if c, ok := t.child.(interface{ Output() io.ReadCloser }); ok {
		t.tasks.Go(func() {
			output := c.Output()
			t.words.read(output)
			_ = output.Close() // It was only read.
		})
	}
	t.tasks.Go(func() {
		t.broken(t.listen())
		close(t.read)
	})
	t.tasks.Go(func() { t.broken(t.tell()) })
	t.tasks.Go(t.watch)
	t.deliver()
}

// deliver hands the routes on.
func (t *talk) deliver() {
	begun := false
	for {
		select {
		case <-t.live.Done():
			return
		case b := <-t.batches:
			if !begun {
				t.s.opts.Begin()
				begun = true
			}
			t.s.opts.Routes(t.live, b)
			t.spare <- b.Routes[:0]
			t.box.grant(1)
		}
	}
}

// tell sends what is in the box.
func (t *talk) tell() error {
	h := hello{level: int(levelOf(t.s.log)), heartbeat: t.s.limits.silence / beats}
	if err := t.out.build(kindHello, h.append); err != nil {
		return err
	}
	for {
		select {
		case <-t.stop:
			return nil
		case <-t.box.wake:
		}
		frames, err := t.box.take()
		if err != nil {
			return err
		}
		for _, f := range frames {
			if err := t.out.send(f.kind, f.payload); err != nil {
				return err
			}
		}
	}
}

// watch asks for signs of life.
func (t *talk) watch() {
	tick := time.NewTicker(t.s.limits.silence / beats)
	defer tick.Stop()
	for missed := 0; ; {
		select {
		case <-t.stop:
			return
		case <-tick.C:
		}
		if missed++; t.heard.Swap(false) {
			missed = 0
		}
		if missed >= beats {
			t.broken(fmt.Errorf("%w for %v", errSilent, t.s.limits.silence))
			return
		}
		t.box.askForLife()
	}
}

// listen reads what the child says until it says no more.
func (t *talk) listen() error {
	h, err := t.in.readHello()
	if err != nil {
		return err
	}
	t.heard.Store(true)
	t.s.change(func(st *Status) { st.PID = h.pid })
	for {
		k, p, err := t.in.next()
		if err != nil {
			return err
		}
		t.heard.Store(true)
		switch k {
		case kindStatus:
			err = t.hearStatus(p)
		case kindRoutes:
			err = t.hearRoutes(p)
		case kindAnswer:
			err = t.hearAnswer(p)
		case kindPong:
		case kindUnknown, kindHello, kindConfig, kindCredit, kindPing, kindQuestion, kindCancel, kindReset, kindLeave:
			err = malformed(k, "the child does not send this")
		default:
			err = malformed(k, "there is no such kind")
		}
		if err != nil {
			return err
		}
	}
}

func (t *talk) hearStatus(p []byte) error {
	var st bgp.Status
	if err := decode(kindStatus, p, &st); err != nil {
		return err
	}
	first := t.spoke.IsZero()
	if first {
		t.spoke = time.Now()
	}
	t.s.change(func(s *Status) { s.BGP, s.Speaking, s.Known, s.Trouble = st, true, true, "" })
	if first {
		close(t.speaks)
		t.s.log.Info("the BGP speaker speaks", "pid", t.s.Status().PID)
	}
	return nil
}

func (t *talk) hearRoutes(p []byte) error {
	var buf []bgp.Route
	select {
	case buf = <-t.spare:
	default:
		return malformed(kindRoutes, "more of them than were asked for")
	}
	b, err := readBatch(p, buf)
	if err != nil {
		return err
	}
	t.batches <- b // There is room: a spare buffer is room.
	return nil
}

// ask asks for paths and waits for the answer.
func (t *talk) ask(ctx context.Context, q question) ([]bgp.PrefixPaths, error) {
	p := &pending{done: make(chan struct{})}
	t.mu.Lock()
	over := t.asked == nil
	if !over {
		t.asked[q.ID] = p
	}
	t.mu.Unlock()
	if over {
		return nil, fmt.Errorf("ask for paths: %w", ErrNobody)
	}
	t.box.ask(q)
	select {
	case <-p.done:
		if p.err != nil {
			return nil, fmt.Errorf("ask for paths: %w", p.err)
		}
		return p.paths, nil
	case <-ctx.Done():
		t.mu.Lock()
		delete(t.asked, q.ID)
		t.mu.Unlock()
		t.box.cancel(q.ID)
		return nil, fmt.Errorf("ask for paths: %w", ctx.Err())
	}
}

func (t *talk) hearAnswer(payload []byte) error {
	var a answer
	if err := decode(kindAnswer, payload, &a); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.asked[a.ID]
	if p == nil {
		// Nobody waits for it any more.
		return nil
	}
	p.paths = append(p.paths, a.Paths...)
	if a.Last {
		if a.Error != "" {
			p.err = errors.New(a.Error)
		}
		delete(t.asked, a.ID)
		close(p.done)
	}
	return nil
}

// forget tells those who wait for an answer that there will be none.
func (t *talk) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.asked {
		p.err = fmt.Errorf("%w: the speaker ended", ErrNobody)
		close(p.done)
	}
	t.asked = nil
}

// finish ends the child and everything around it. It returns how long the child spoke
// and why it ended.
func (t *talk) finish(ctx context.Context) (time.Duration, error) {
	cause := context.Cause(t.live)
	if ctx.Err() != nil && t.s.isLeaving() {
		t.box.takeLeave()
		await(t.s.limits.leave, t.read, t.ended)
	}
	if cause == nil {
		cause = errors.New("the reader of its routes failed")
	}
	t.broken(cause)
	var spoke time.Duration
	select {
	case <-t.speaks:
		spoke = time.Since(t.spoke)
	default:
	}
	if err := t.child.Close(); err != nil {
		t.s.log.Debug("cannot close the socket of the BGP speaker", "error", err)
	}
	// A child that is asked to end, or that hung up, gets a moment to do it: how it ended
	// is worth knowing. One that is out of its mind does not.
	hopeless := errors.Is(cause, errSilent) || errors.Is(cause, errMalformed)
	killed := hopeless || !await(t.s.limits.end, t.ended, nil)
	if killed {
		t.child.Kill()
	}
	close(t.stop)
	if !await(killLimit, t.ended, nil) {
		return spoke, fmt.Errorf("%w, and it cannot be killed: it hangs in the kernel", cause)
	}
	t.tasks.Wait()
	return spoke, t.reason(cause, killed, hopeless)
}

// killLimit is how long the kernel may take to end a child that was killed. One that
// takes longer hangs in the kernel, and is left there.
const killLimit = 10 * time.Second

// reason puts into words why there is no child any more.
func (t *talk) reason(cause error, killed, hopeless bool) error {
	var err error
	switch {
	case hopeless:
		err = fmt.Errorf("%w, and was killed", cause)
	case killed:
		err = fmt.Errorf("the BGP speaker hung up, did not end, and was killed: %w", cause)
	case t.endedHow != nil:
		err = fmt.Errorf("the BGP speaker ended: %w", t.endedHow)
	default:
		err = errors.New("the BGP speaker ended by itself")
	}
	if last := t.words.last(); last != "" {
		err = fmt.Errorf("%w; its last words: %s", err, last)
	}
	return err
}

// await waits until one of two channels is closed, of which the second may be nil, and
// tells whether one was within limit.
func await(limit time.Duration, a, b <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-a:
	case <-b:
	case <-timer.C:
		return false
	}
	return true
}

// levelOf returns the least level that log takes.
func levelOf(log *slog.Logger) slog.Level {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), l) {
			return l
		}
	}
	return slog.LevelError
}
