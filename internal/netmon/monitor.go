package netmon

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what to watch.
type Config struct {
	// Neighbours are kept fresh: the kernel is asked to probe each of them
	// every Interval.
	Neighbours []Watch
	// LearnFrom are the names of the links whose foreign default routes are
	// wanted in Snapshot.Defaults. Others are not read: a table may hold a
	// million routes.
	LearnFrom []string
	// OwnProtocol is the route protocol number of our own routes, which are
	// never learned from.
	OwnProtocol uint8
}

// Watch is one neighbour to watch. The link need not exist yet; the address must
// be valid and its zone is ignored.
type Watch struct {
	Link    string
	Address netip.Addr
	// Interval is the time between probes, at least 1 s (smaller values mean
	// 1 s). Zero or less means that the neighbour is only looked at.
	Interval time.Duration
}

// Options are the parts of a Monitor that tests replace.
type Options struct {
	// Log may be nil.
	Log *slog.Logger
	// Poke is called after each new snapshot, also when nothing that the
	// caller knows of has changed. It must not block. It may be nil.
	Poke func()
}

// Counters count what happened since New.
type Counters struct {
	// Events are the messages of the kernel that meant "look again".
	Events uint64
	// Overruns are the times that the kernel dropped events (ENOBUFS).
	Overruns uint64
	// Resyncs are the times that everything was read again because events may
	// have been lost: by an overrun, and by a socket that was not there.
	Resyncs uint64
	// Reconnects are the times that the event socket was opened again.
	Reconnects uint64
	// Reads are the readings of links, neighbours or default routes.
	Reads uint64
	// Failures are the readings that failed and were tried again later.
	Failures uint64
	// Panics are the times that a part of the monitor panicked and was started
	// again.
	Panics uint64
	// Solicitations are the times that the kernel was asked to probe a
	// neighbour.
	Solicitations uint64
}

type counters struct {
	events, overruns, resyncs, reconnects, reads, failures, panics, solicitations atomic.Uint64
}

// Monitor watches the network of the host. Its methods may be called from several
// goroutines.
type Monitor struct {
	log    *slog.Logger
	poke   func()
	kernel kernel
	ns     *os.File
	// receiveBuffer is the size of the event socket's buffer in bytes.
	receiveBuffer int
	// unfiltered leaves out the filter in the kernel.
	unfiltered bool

	mu  sync.Mutex
	cfg Config

	// dirty are the parts to be read again; wake tells the loop about it.
	dirty atomic.Uint32
	wake  chan struct{}
	// interest is what the event reader compares messages with.
	interest atomic.Pointer[interest]
	snapshot atomic.Pointer[Snapshot]
	counters counters
	// dial opens an event socket.
	dial func() (*conn, error)
	// events is the open event socket, for tests that break it.
	events atomic.Pointer[conn]
}

// New makes a monitor of the network namespace in which the calling thread is. A
// caller that has changed its thread's namespace must have locked the goroutine to
// the thread.
func New(cfg Config, opts Options) *Monitor {
	ns, err := currentNamespace()
	m := newMonitor(cfg, opts, &netlinkKernel{ns: ns})
	m.ns = ns
	if err != nil {
		m.log.Warn("network namespace cannot be held on to, sockets go to that of the process", "reason", err)
	}
	return m
}

func newMonitor(cfg Config, opts Options, k kernel) *Monitor {
	m := &Monitor{
		log:           opts.Log,
		poke:          opts.Poke,
		kernel:        k,
		receiveBuffer: receiveBufferBytes,
		wake:          make(chan struct{}, 1),
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.poke == nil {
		m.poke = func() {}
	}
	m.dial = m.dialEvents
	m.interest.Store(&interest{})
	m.Configure(cfg)
	return m
}

// Configure replaces what is watched and makes the monitor look again; a snapshot
// and a poke follow in any case. What is known of neighbours that stay is kept.
func (m *Monitor) Configure(cfg Config) {
	cfg.Neighbours = slices.Clone(cfg.Neighbours)
	cfg.LearnFrom = slices.Clone(cfg.LearnFrom)
	m.mu.Lock()
	m.cfg = cfg
	m.mu.Unlock()
	m.mark(partAll | partConfig)
}

func (m *Monitor) config() Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cfg
}

// Snapshot is the latest snapshot; false until everything was read once.
func (m *Monitor) Snapshot() (*Snapshot, bool) {
	s := m.snapshot.Load()
	return s, s != nil
}

// Counters are the counts so far.
func (m *Monitor) Counters() Counters {
	return Counters{
		Events:        m.counters.events.Load(),
		Overruns:      m.counters.overruns.Load(),
		Resyncs:       m.counters.resyncs.Load(),
		Reconnects:    m.counters.reconnects.Load(),
		Reads:         m.counters.reads.Load(),
		Failures:      m.counters.failures.Load(),
		Panics:        m.counters.panics.Load(),
		Solicitations: m.counters.solicitations.Load(),
	}
}

// Run watches until ctx ends. It returns for no other reason, a panic in one of its
// parts among them, and must be called once.
func (m *Monitor) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { m.guard(ctx, "events", m.listen) })
	m.guard(ctx, "readings", m.loop)
	wg.Wait()
	if k, ok := m.kernel.(*netlinkKernel); ok {
		k.close()
	}
	if m.ns != nil {
		_ = m.ns.Close()
	}
}

// part is a part of the snapshot, and a bit.
type part uint32

const (
	// partLinks are links and addresses.
	partLinks part = 1 << iota
	partNeighbours
	partDefaults
	// partConfig means that what is watched has changed.
	partConfig

	partAll = partLinks | partNeighbours | partDefaults
)

// resync says that events may have been lost.
func (m *Monitor) resync() {
	m.counters.resyncs.Add(1)
	m.mark(partAll)
}

// mark says which parts are to be read again. It never blocks.
func (m *Monitor) mark(parts part) {
	m.dirty.Or(uint32(parts))
	select {
	case m.wake <- struct{}{}:
	default:
	}
}
