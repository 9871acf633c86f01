package engine

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/speaker"
	"github.com/multihomed/multihomed/internal/uplink"
)

// Monitor watches the host. [netmon.Monitor] is the real one.
type Monitor interface {
	Run(ctx context.Context)
	Snapshot() (*netmon.Snapshot, bool)
	Configure(c netmon.Config)
}

// Prober asks targets through one way. [probe.Prober] is the real one.
type Prober interface {
	Run(ctx context.Context)
	// Poke says that the host has changed, so that a prober that cannot open
	// its socket tries at once.
	Poke()
}

// Options are the parts of an Engine.
type Options struct {
	// Config is valid and complete; Path is where it came from, for the status.
	Config *config.Config
	Path   string
	Kernel fib.WatchedKernel
	// NewMonitor and NewProber make the watchers of the host and the probers.
	NewMonitor func(c netmon.Config, poke func()) Monitor
	NewProber  func(c probe.Config, report func(probe.Report)) Prober
	// NewSpeaker makes the speaker of BFD, when an uplink first wants it; nil is
	// the real one.
	NewSpeaker func(o bfd.Options) (Speaker, error)
	// NewBGP makes what keeps the sessions of BGP, when an uplink first wants one; nil
	// is the real one, a process of its own.
	NewBGP func(o speaker.Options) BGP
	// Bulk is where routes to prefixes are written; nil where they cannot be.
	Bulk fib.BulkKernel
	// Buckets counts the buckets of a group by next hop, both by their kernel ids; nil
	// where nobody can tell.
	Buckets func(ctx context.Context, group uint32) (map[uint32]int, error)
	// Memory is the file that remembers what is drained, "" for none.
	Memory string
	// OnWrite is called after each pass in which the kernel was written or
	// could not be, with the state that was desired.
	OnWrite func(rep fib.Report, d fib.Desired)
	// Changed is called when the status has changed. It must not block.
	Changed func()
	// Ready is called once, when every input has spoken and the kernel was
	// written for the first time.
	Ready   func()
	Log     *slog.Logger
	Version string
}

// Engine is the daemon's loop.
type Engine struct {
	opts    Options
	log     *slog.Logger
	board   *Board
	changes *fib.Changes
	reloads chan reload
	started time.Time

	// The rest belongs to the goroutine of Run.
	site     *site
	monitor  Monitor
	watching netmon.Config
	writer   *fib.Writer
	probes   *probes
	sessions *sessions
	peering  *peering
	bulk     *bulk
	drains   *drains
	verdicts uplink.Verdicts
	found    found
	// pending is a configuration that waits for the monitor to look by it.
	pending *pending
	// looked is what the facts, the probers and the evidence of the host were
	// drawn from.
	looked look
	facts  uplink.Facts
	// learned are the gateways last learned, lookAgain is when the grace of a
	// missed one ends.
	learned   map[uplink.Way]lesson
	lookAgain time.Time
	// refusedSince is since when the kernel has refused the next hop of a way.
	refusedSince map[uplink.Way]time.Time
	ready        bool
	stats        stats

	tasks sync.WaitGroup
	// shown is what Status reads.
	shown atomic.Pointer[shown]
}

// look is a configuration and a view of the host, by identity.
type look struct {
	site     *site
	snapshot *netmon.Snapshot
}

// New returns an Engine that does nothing until Run.
func New(o Options) *Engine {
	e := &Engine{
		opts: o, log: o.Log, board: NewBoard(), changes: fib.NewChanges(),
		reloads: make(chan reload), started: time.Now(),
		found: newFound(), learned: map[uplink.Way]lesson{}, refusedSince: map[uplink.Way]time.Time{}, site: newSite(o.Config),
	}
	if o.NewSpeaker == nil {
		e.opts.NewSpeaker = newRealSpeaker
	}
	e.writer = fib.NewWriter(o.Kernel, e.site.owner)
	e.probes = newProbes(e)
	e.sessions = newSessions(e)
	e.site.keys, e.site.passwords = readKeys(o.Config), readPasswords(o.Config)
	e.logKeys(e.site)
	e.logPasswords(e.site)
	e.newBGP()
	e.watching = e.site.watch(nil)
	e.shown.Store(&shown{site: e.site})
	return e
}

// Board returns the board on which evidence of other kinds is put.
func (e *Engine) Board() *Board { return e.board }

// Run is the loop. It returns nil when ctx ends, after everything that it
// started has ended; the kernel keeps what it holds.
func (e *Engine) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer e.tasks.Wait()
	defer stop()
	defer e.silence()
	e.monitor = e.opts.NewMonitor(e.watching, e.board.Poke)
	e.supervise(ctx, "monitor", e.monitor.Run, nil)
	owner := e.site.owner
	watching := func(ctx context.Context) { e.opts.Kernel.Watch(ctx, owner, e.changes.Put) }
	e.supervise(ctx, "kernel watcher", watching, nil)

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.board.C():
		case <-e.changes.C():
			e.writer.Invalidate(e.changes.Take())
		case r := <-e.reloads:
			e.use(r)
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return nil // Whatever else was ready: the end comes first.
		}
		timer.Reset(e.step(ctx, time.Now()))
	}
}

// step looks at everything once and acts. It returns how long the loop may sleep
// if nothing happens.
func (e *Engine) step(ctx context.Context, now time.Time) time.Duration {
	snapshot, ok := e.monitor.Snapshot()
	if !ok {
		return time.Second // The monitor pokes as soon as it has looked.
	}
	e.settle(snapshot)
	if err := e.adopt(ctx, snapshot, now); err != nil {
		e.stats.failedRead(e.log, err)
		e.show()
		return time.Second
	}
	if e.looked != (look{e.site, snapshot}) || e.sessions.anew() || !e.lookAgain.IsZero() && !now.Before(e.lookAgain) {
		e.look(ctx, snapshot, now)
	}
	before := e.verdicts
	told := e.hearBGP(now)
	verdicts, wake := uplink.Decide(e.peering.policy(), before, e.board.Snapshot(), now)
	e.verdicts = verdicts
	choices := e.bulk.choices(e.site.layout, e.peering.slots)
	desired := e.site.layout.Desired(e.facts, verdicts, choices)
	rep := e.writer.Sync(ctx, desired, now)
	if e.opts.OnWrite != nil && (len(rep.Done) > 0 || len(rep.Failed) > 0) {
		e.opts.OnWrite(rep, desired)
	}
	// The kernel first, the words after: whoever reads them may be slow.
	told = earlier(told, e.actBGP(ctx, desired, rep, now))
	e.logVerdicts(before)
	e.stats.record(e.log, rep, now)
	first := !e.ready
	e.ready = true
	e.show()
	if first && e.opts.Ready != nil {
		e.opts.Ready()
	}
	e.judgeRefusals(rep, now)
	sleep := e.writer.Next(rep, now)
	if due := e.sessions.refresh(now); !due.IsZero() {
		sleep = min(sleep, max(due.Sub(now), time.Millisecond))
	}
	if !e.lookAgain.IsZero() {
		sleep = min(sleep, max(e.lookAgain.Sub(now), time.Millisecond))
	}
	if wake = earlier(wake, told); !wake.IsZero() {
		sleep = min(sleep, max(wake.Sub(now), time.Millisecond))
	}
	return sleep
}

// adopt reads the kernel for the first time and takes over what a previous life
// left there.
func (e *Engine) adopt(ctx context.Context, s *netmon.Snapshot, now time.Time) error {
	if e.verdicts != nil {
		return nil
	}
	if err := e.writer.Read(ctx, now); err != nil {
		return err
	}
	e.stats.readError = ""
	e.stats.resyncs++
	actual, _ := e.writer.Actual()
	e.verdicts, e.found = e.site.adopt(actual, s, now)
	e.adoptBGP(actual)
	return nil
}

// look looks at every way anew, because the host or the configuration changed:
// what the host itself says goes on the board, probers and monitor follow.
func (e *Engine) look(ctx context.Context, s *netmon.Snapshot, now time.Time) {
	views := make(map[uplink.Way]view, len(e.site.members))
	e.facts = make(uplink.Facts, len(e.site.members))
	wanted := map[uplink.Source]bool{}
	e.lookAgain = time.Time{}
	for _, m := range e.site.members {
		v := e.site.look(m, s)
		if until := e.bridge(m, &v, s, now); !until.IsZero() && (e.lookAgain.IsZero() || until.Before(e.lookAgain)) {
			e.lookAgain = until
		}
		views[m.Way] = v
		if v.present {
			e.found.seen[m.Way] = true
		}
		if e.found.draws(m) {
			e.facts[m.Way] = v.fact
		}
		for _, ev := range v.evidence {
			wanted[ev.Source] = true
			ev.Since = now
			e.board.Put(ev)
		}
	}
	for src := range e.board.Snapshot() {
		if src.Kind.Local() && !wanted[src] {
			e.board.Drop(src)
		}
	}
	e.probes.update(ctx, e.site, views)
	e.lookAgain = earlier(e.lookAgain, e.sessions.update(ctx, e.site, views, s, now))
	e.peering.look(ctx, e.site, views, s, now)
	e.watch(e.site.watch(views))
	e.looked = look{e.site, s}
}

// logVerdicts logs each verdict that differs from the one before. What the host
// never had and nobody asked for is no news.
func (e *Engine) logVerdicts(verdicts uplink.Verdicts) {
	for _, m := range e.site.members {
		before, after := verdicts[m.Way], e.verdicts[m.Way]
		if before.State == after.State && before.Role == after.Role {
			continue
		}
		level := slog.LevelDebug
		if !m.optional || e.found.seen[m.Way] {
			level = slog.LevelInfo
			e.stats.changed(m.Way.String()+" is "+after.State.String()+" ("+after.Role.String()+"): "+after.Why(), after.Since)
		}
		e.log.Log(context.Background(), level, "verdict", "uplink", m.Uplink, "family", m.Family.String(),
			"verdict", after.State.String(), "role", after.Role.String(),
			"before", before.State.String()+"/"+before.Role.String(), "reason", after.Why())
	}
}

// Config returns the configuration in use.
func (e *Engine) Config() *config.Config { return e.shown.Load().site.config }
