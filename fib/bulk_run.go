package fib

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Run reads the kernel and then writes what was told, until ctx ends. What is in the
// kernel stays. changed, if not nil, is called, on the goroutine of Run and without
// a lock, when InUse changed. It must be called once at a time.
func (b *Bulk) Run(ctx context.Context, changed func()) {
	w := bulkWriter{Bulk: b, changed: changed}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		b.announce(changed)
		if w.step(ctx) {
			continue
		}
		timer.Reset(max(time.Until(b.next(time.Now())), soon))
		select {
		case <-ctx.Done():
		case <-b.poke:
		case <-timer.C:
		}
	}
}

// bulkWriter is what Run needs.
type bulkWriter struct {
	*Bulk
	changed func()
	// keys, writes and finds are used again and again.
	keys   []bulkKey
	writes []BulkWrite
	finds  []BulkFound
}

// step does a part of what there is to do, and reports false if there is nothing.
func (w *bulkWriter) step(ctx context.Context) bool {
	now := time.Now()
	if why := w.due(now); why != "" {
		w.look(ctx, why)
		return true
	}
	w.mu.Lock()
	adopted, sweep, moved := w.adopted, w.sweep, w.moved
	w.mu.Unlock()
	switch {
	case !adopted:
		return false // Nothing is written before it is known what is there.
	case sweep:
		w.swept(ctx)
		return true
	case moved:
		w.follow(ctx)
		return true
	}
	return w.unpark() || w.again(now) || w.write(ctx)
}

// next returns when there will be something to do although nothing happens.
func (b *Bulk) next(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.looks.last.Add(bulkLook)
	if b.stale != "" {
		at = b.looks.next
	}
	if b.adopted && b.refused.n > 0 && b.refused.at.Before(at) {
		at = b.refused.at
	}
	if b.adopted && b.queue.len() > 0 && b.refused.pause.Before(at) {
		at = b.refused.pause
	}
	if at.Before(now) {
		return now
	}
	return at
}

// place puts e where it belongs now: settled, in the queue, or waiting for its
// group. One that is in the queue stays there.
func (b *Bulk) place(k bulkKey, e bulkEntry) {
	if e.stage() == stageQueued {
		b.routes.put(k, e)
		return
	}
	b.enter(&e, stageSettled)
	target, ready := b.target(&e)
	switch {
	case !ready:
		b.enter(&e, stageParked)
		b.groups.get(e.wanted).park(k)
	case target != e.held:
		b.enter(&e, stageQueued)
		b.queue.push(k)
	default:
		b.refused.forget(k)
		if target == noID && b.adopted {
			b.routes.remove(k)
			return
		}
	}
	b.routes.put(k, e)
}

// target returns the kernel id that e is to lead to, and false if its group is not
// known there.
func (b *Bulk) target(e *bulkEntry) (bulkID, bool) {
	if !e.is(bitTold) {
		return e.held, true
	}
	g := b.groups.get(e.wanted)
	if g == nil {
		return noID, true
	}
	return g.kernel, g.kernel != noID
}

// enter changes the stage of e.
func (b *Bulk) enter(e *bulkEntry, s stage) {
	for _, change := range []struct {
		at stage
		d  int
	}{{e.stage(), -1}, {s, +1}} {
		switch change.at {
		case stageParked:
			b.parked += change.d
		case stageRefused:
			b.refused.n += change.d
		case stageSettled, stageQueued:
		default:
			panic(fmt.Sprintf("fib: unhandled stage %d", change.at))
		}
	}
	e.bits = e.bits&^maskStage | uint8(s)
}

// write sends some of the queue to the kernel, and reports false if there is
// nothing to send or nobody who takes it.
func (w *bulkWriter) write(ctx context.Context) bool {
	if !w.gather() {
		return false
	}
	if len(w.writes) == 0 {
		return true
	}
	errs := w.kernel.ApplyBulk(ctx, w.owner, w.writes)
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.refused.n
	w.queue.flying = 0
	answered := errs == nil
	for i, k := range w.keys {
		var err error
		if errs != nil {
			err = errs[i]
		}
		var kernel *KernelError
		answered = answered || err == nil || errors.As(err, &kernel)
		w.acknowledge(k, w.writes[i], err)
	}
	switch {
	case w.refused.n == 0:
		w.refused.wait = 0
	case w.refused.n > before:
		w.refused.later(now)
	}
	if !answered {
		// A kernel that does not answer is not asked again at once.
		w.refused.pause = w.refused.at
	}
	if w.refused.n > 0 && before == 0 && ctx.Err() == nil {
		w.log.Warn("the kernel refuses routes to prefixes; they are tried again", "table", w.owner.Table, "reason", w.refused.words())
	}
	return true
}

// gather takes some prefixes off the queue and makes writes of them.
func (w *bulkWriter) gather() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue.len() == 0 || time.Now().Before(w.refused.pause) {
		return false
	}
	w.writes = w.writes[:0]
	popped := w.queue.pop(w.keys[:0], bulkChunk)
	if w.room != nil && w.queue.len() < bulkRoom*3/4 {
		close(w.room)
		w.room = nil
	}
	w.keys = popped[:0]
	for _, k := range popped {
		e, _ := w.routes.get(k)
		target, ready := w.target(&e)
		if !ready || target == e.held {
			w.enter(&e, stageSettled)
			w.place(k, e)
			continue
		}
		was := w.groups.id(e.held)
		if e.held == oddID {
			was = oddNextHop
		}
		if g := w.groups.get(target); g != nil {
			w.groups.count(g, &g.flying, +1)
		}
		w.keys = append(w.keys, k)
		w.writes = append(w.writes, BulkWrite{Prefix: k.prefix(), Was: was, NextHop: w.groups.id(target)})
	}
	w.queue.flying = len(w.keys)
	return true
}

// oddNextHop stands in BulkWrite.Was for a route that leads to no group of ours.
const oddNextHop = 1<<32 - 1

// acknowledge notes what the kernel said to a write.
func (b *Bulk) acknowledge(k bulkKey, done BulkWrite, err error) {
	target, _ := b.groups.offset(done.NextHop)
	if g := b.groups.get(target); g != nil {
		b.groups.count(g, &g.flying, -1)
	}
	e, _ := b.routes.get(k)
	b.enter(&e, stageSettled)
	e.set(bitParity, b.parity)
	if err == nil {
		held, _ := b.groups.offset(done.NextHop)
		b.hold(&e, held)
		b.written++
		b.refused.forget(k)
		b.place(k, e)
		return
	}
	b.failed++
	if target, ready := b.target(&e); !ready || b.groups.id(target) != done.NextHop {
		b.place(k, e) // Something else is wanted by now.
		return
	}
	if errors.Is(err, unix.EEXIST) && !b.refused.foreign(k) {
		b.suspect("a route is there already")
	}
	b.refused.add(k, err.Error())
	b.enter(&e, stageRefused)
	b.routes.put(k, e)
}

// again queues what was refused once its time has come.
func (b *Bulk) again(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused.n == 0 || now.Before(b.refused.at) {
		return false
	}
	keys := b.refused.keys
	if b.refused.keys = nil; len(keys) > bulkChunk {
		b.refused.keys = keys[bulkChunk:]
		keys = keys[:bulkChunk]
	}
	for _, k := range keys {
		if e, ok := b.routes.get(k); ok && e.stage() == stageRefused {
			b.place(k, e)
		}
	}
	return len(keys) > 0
}

// swept wants nothing of what was not told since Unclaim.
func (w *bulkWriter) swept(ctx context.Context) {
	w.walk(ctx, &w.sweep, func(k bulkKey, e bulkEntry) bool {
		if w.claiming {
			return false // Begun anew meanwhile.
		}
		if e.generation != w.generation {
			w.claim(&e)
			e.set(bitTold, true)
			w.want(&e, noID)
			w.place(k, e)
		}
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.strays > 0 {
		w.suspect("routes of ours with another metric or form")
	}
}

// follow takes up all prefixes whose groups moved, or have come.
func (w *bulkWriter) follow(ctx context.Context) {
	w.walk(ctx, &w.moved, func(k bulkKey, e bulkEntry) bool {
		switch _, ready := w.target(&e); {
		case e.stage() == stageSettled, e.stage() == stageParked && ready:
			w.place(k, e)
		case e.stage() == stageParked:
			// It may have been counted on this walk, and its group has gone again.
			w.groups.get(e.wanted).many = true
		}
		return true
	})
}

// walk is Bulk.walk for Run: what has come together is written meanwhile, and the end
// of ctx ends it. due says that it has to be done, and does again if it was cut short or
// somebody asks for it while it runs.
func (w *bulkWriter) walk(ctx context.Context, due *bool, each func(bulkKey, bulkEntry) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*due = false
	w.Bulk.walk(each, func() bool {
		w.breathe(ctx)
		*due = *due || ctx.Err() != nil
		return ctx.Err() == nil
	})
}

// walk calls each for every entry, with the lock held, until it returns false. breathe
// is called every now and then, to let go of the lock for a moment, and ends the walk by
// returning false.
func (b *Bulk) walk(each func(bulkKey, bulkEntry) bool, breathe func() bool) {
	n := 0
	for k, e := range b.routes.all() {
		if !each(k, e) {
			return
		}
		if n++; n%bulkChunk == 0 && !breathe() {
			return
		}
	}
}

// breathe lets go of the lock for a moment, and writes while there is much to write.
func (w *bulkWriter) breathe(ctx context.Context) {
	for {
		much := w.adopted && w.queue.len() > bulkRoom/2
		w.mu.Unlock()
		w.announce(w.changed)
		much = much && w.write(ctx)
		w.mu.Lock()
		if !much || ctx.Err() != nil {
			return
		}
	}
}
