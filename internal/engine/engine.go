package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
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
	verdicts uplink.Verdicts
	// seen are the optional ways that the host turned out to have.
	seen map[uplink.Way]bool
	// looked is what the facts, the probers and the evidence of the host were
	// drawn from.
	looked look
	facts  uplink.Facts
	ready  bool
	stats  stats

	tasks sync.WaitGroup
	// shown is what Status reads.
	shown atomic.Pointer[shown]
}

// look is a configuration and a view of the host, by identity.
type look struct {
	site     *site
	snapshot *netmon.Snapshot
}

// reload is a request to use another configuration, or to remember why there is
// none.
type reload struct {
	config *config.Config
	err    error
}

// New returns an Engine that does nothing until Run.
func New(o Options) *Engine {
	e := &Engine{
		opts: o, log: o.Log, board: NewBoard(), changes: fib.NewChanges(),
		reloads: make(chan reload), started: time.Now(),
		seen: map[uplink.Way]bool{}, site: newSite(o.Config),
	}
	e.writer = fib.NewWriter(o.Kernel, e.site.owner)
	e.probes = newProbes(e)
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
	e.monitor = e.opts.NewMonitor(e.watching, e.board.Poke)
	e.supervise(ctx, "monitor", e.monitor.Run)
	owner := e.site.owner
	watching := func(ctx context.Context) { e.opts.Kernel.Watch(ctx, owner, e.changes.Put) }
	e.supervise(ctx, "kernel watcher", watching)

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
		timer.Reset(e.step(ctx, time.Now()))
	}
}

// Reload makes c the configuration. Only what differs is touched.
func (e *Engine) Reload(ctx context.Context, c *config.Config) { e.send(ctx, reload{config: c}) }

// ReloadFailed remembers why a newer configuration is not in use.
func (e *Engine) ReloadFailed(ctx context.Context, err error) { e.send(ctx, reload{err: err}) }

func (e *Engine) send(ctx context.Context, r reload) {
	select {
	case e.reloads <- r:
	case <-ctx.Done():
	}
}

// errOwner refuses a reload that would make us forget what is ours.
var errOwner = errors.New("protocol and next-hops.base say what is ours in the kernel and cannot change while running: " +
	"stop multihomed, run `multihomed withdraw` with the old configuration, and start it with the new one")

// use takes a new configuration into use.
func (e *Engine) use(r reload) {
	next := e.site
	if r.err == nil {
		if next = newSite(r.config); next.owner != e.site.owner {
			r.err = errOwner
			e.log.Error("the new configuration is not used; the old one goes on", "config", e.opts.Path, "error", r.err)
		}
	}
	e.stats.configError = r.err
	if r.err != nil {
		return
	}
	e.site = next
	e.log.Info("configuration reloaded", "config", e.opts.Path, "uplinks", len(r.config.Uplinks))
}

// step looks at everything once and acts. It returns how long the loop may sleep
// if nothing happens.
func (e *Engine) step(ctx context.Context, now time.Time) time.Duration {
	snapshot, ok := e.monitor.Snapshot()
	if !ok {
		return time.Second // The monitor pokes as soon as it has looked.
	}
	if err := e.adopt(ctx, now); err != nil {
		e.stats.failedRead(e.log, err)
		e.show()
		return time.Second
	}
	if e.looked != (look{e.site, snapshot}) {
		e.look(ctx, snapshot, now)
	}
	verdicts, wake := uplink.Decide(e.site.policy, e.verdicts, e.board.Snapshot(), now)
	e.logVerdicts(verdicts)
	e.verdicts = verdicts
	desired := e.site.layout.Desired(e.facts, verdicts)
	rep := e.writer.Sync(ctx, desired, now)
	e.stats.record(e.log, rep, now)
	if e.opts.OnWrite != nil && (len(rep.Done) > 0 || len(rep.Failed) > 0) {
		e.opts.OnWrite(rep, desired)
	}
	e.show()
	if !e.ready {
		e.ready = true
		if e.opts.Ready != nil {
			e.opts.Ready()
		}
	}
	sleep := e.writer.Next(rep, now)
	if !wake.IsZero() {
		sleep = min(sleep, max(wake.Sub(now), time.Millisecond))
	}
	return sleep
}

// adopt reads the kernel for the first time and takes over what a previous life
// left there.
func (e *Engine) adopt(ctx context.Context, now time.Time) error {
	if e.verdicts != nil {
		return nil
	}
	if err := e.writer.Read(ctx, now); err != nil {
		return err
	}
	actual, _ := e.writer.Actual()
	e.verdicts = e.site.layout.Adopt(e.site.policy, actual, now)
	for w := range e.verdicts {
		e.seen[w] = true
	}
	return nil
}

// look looks at every way anew, because the host or the configuration changed:
// what the host itself says goes on the board, probers and monitor follow.
func (e *Engine) look(ctx context.Context, s *netmon.Snapshot, now time.Time) {
	views := make(map[uplink.Way]view, len(e.site.members))
	e.facts = make(uplink.Facts, len(e.site.members))
	wanted := map[uplink.Source]bool{}
	for _, m := range e.site.members {
		v := e.site.look(m, s)
		views[m.Way] = v
		if v.present {
			e.seen[m.Way] = true
		}
		if !m.optional || e.seen[m.Way] {
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
	if watching := e.site.watch(views); !equalWatch(watching, e.watching) {
		e.watching = watching
		e.monitor.Configure(watching)
	}
	e.looked = look{e.site, s}
}

// logVerdicts logs each verdict that differs from the previous one.
func (e *Engine) logVerdicts(verdicts uplink.Verdicts) {
	for _, m := range e.site.members {
		before, after := e.verdicts[m.Way], verdicts[m.Way]
		if before.State == after.State && before.Role == after.Role {
			continue
		}
		level := slog.LevelInfo
		if m.optional && !e.seen[m.Way] {
			level = slog.LevelDebug
		}
		e.log.Log(context.Background(), level, "verdict", "uplink", m.Uplink, "family", m.Family.String(),
			"verdict", after.State.String(), "role", after.Role.String(),
			"before", before.State.String()+"/"+before.Role.String(), "reason", after.Why())
		e.stats.changed(m.Way.String()+" is "+after.State.String()+" ("+after.Role.String()+"): "+after.Why(), after.Since)
	}
}

// Config returns the configuration in use.
func (e *Engine) Config() *config.Config { return e.shown.Load().site.config }
