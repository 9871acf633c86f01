package fib

import (
	"context"
	"sync"
	"time"
)

// FullRead is how often the kernel is read although no event asked for it: some
// things vanish in silence (see doc.go).
const FullRead = time.Minute

// WatchedKernel is a Kernel that tells when it may have changed.
type WatchedKernel interface {
	Kernel
	// Watch calls changed with a reason in words whenever something that is
	// ours under o may have changed other than by Apply. It returns when ctx
	// ends and for no other reason. changed must not block.
	Watch(ctx context.Context, o Owner, changed func(why string))
}

// Keep keeps k equal to the latest state received from desired, until ctx ends
// or desired is closed. report, if not nil, is called after each pass that did
// something, failed or found something that cannot be had. What is in the kernel stays there when Keep returns; to
// remove it, send an empty Desired first.
//
// Keep is the writer for a program that has no loop of its own.
func Keep(ctx context.Context, k WatchedKernel, o Owner, desired <-chan Desired, report func(Report)) {
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	changes := NewChanges()
	watching.Go(func() { k.Watch(ctx, o, changes.Put) })

	w := NewWriter(k, o)
	timer := time.NewTimer(FullRead)
	defer timer.Stop()
	var d Desired
	for known := false; ; {
		select {
		case <-ctx.Done():
			return
		case next, ok := <-desired:
			if !ok {
				return
			}
			d, known = next, true
		case <-changes.C():
			w.Invalidate(changes.Take())
		case <-timer.C:
		}
		if !known {
			continue // Nothing is written, least of all deleted, before the caller has spoken.
		}
		now := time.Now()
		rep := w.Sync(ctx, d, now)
		if report != nil && (len(rep.Done) > 0 || len(rep.Failed) > 0 || len(rep.Problems) > 0 || rep.ReadErr != nil) {
			report(rep)
		}
		timer.Reset(w.Next(rep, now))
	}
}

// Next returns how long to wait after rep until Sync must be called again
// although nothing happens. It invalidates the writer's memory once FullRead has
// passed since the last read.
func (w *Writer) Next(rep Report, now time.Time) time.Duration {
	if w.known && w.stale == "" && !now.Before(w.readAt.Add(FullRead)) {
		w.Invalidate("periodic full read")
		return soon
	}
	next := w.readAt.Add(FullRead)
	switch {
	case !rep.Wake.IsZero() && (rep.Wake.Before(next) || !w.known || w.stale != ""):
		// A read that is due already waits for its own pace.
		next = rep.Wake
	case w.stale != "":
		return soon // Invalidated since rep.
	}
	return max(next.Sub(now), soon)
}

// soon is the shortest wait: a mistake about time must not become a busy loop.
const soon = time.Millisecond

// Changes carries "look again" from a watcher to a loop: one slot, never
// blocking, keeping the first reason since the last Take. Use NewChanges.
type Changes struct {
	poke chan struct{}
	mu   sync.Mutex // guards why
	why  string
}

// NewChanges returns an empty Changes.
func NewChanges() *Changes { return &Changes{poke: make(chan struct{}, 1)} }

// Put notes that something may have changed, and why.
func (c *Changes) Put(why string) {
	c.mu.Lock()
	if c.why == "" {
		c.why = why
	}
	c.mu.Unlock()
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// C has a value when something was put since the last receive.
func (c *Changes) C() <-chan struct{} { return c.poke }

// Take returns the first reason since the last Take.
func (c *Changes) Take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	why := c.why
	c.why = ""
	return why
}
