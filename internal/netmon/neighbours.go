package netmon

import (
	"errors"
	"time"
)

// watchKey identifies a watched neighbour beyond the life of a device index.
type watchKey struct {
	link    string
	address string
}

// watched is a neighbour with its key of the moment.
type watched struct {
	watch   Watch
	tracker tracker
	// index is that of the link when last looked at, 0 for none.
	index int
	// failing is true while its readings or requests fail.
	failing bool
}

// readNeighbours reads the watched neighbours, all or those that are due, and asks
// the kernel to solicit those that still are due then.
func (l *loop) readNeighbours(all bool) {
	for _, w := range l.neighbours {
		_, at := w.tracker.due()
		if !all && (at.IsZero() || time.Now().Before(at)) {
			continue
		}
		link, exists := l.links[w.watch.Link]
		if !exists {
			w.leave()
			continue
		}
		if w.index != link.Index {
			w.leave()
			w.index = link.Index
		}
		l.noteNeighbour(w, l.readNeighbour(w))
	}
}

// noteNeighbour logs a neighbour that cannot be watched once, and has it looked at
// again soon.
func (l *loop) noteNeighbour(w *watched, err error) {
	if err == nil {
		w.failing = false
		return
	}
	if !w.failing {
		w.failing = true
		l.m.log.Warn("neighbour cannot be watched, trying again", "link", w.watch.Link, "address", w.watch.Address, "reason", err)
	}
	if l.retry == 0 {
		l.retryAt = time.Now().Add(retryMax)
	}
	l.retry |= partNeighbours
}

// leave forgets the kernel's entry, but not the history, of a neighbour whose
// device is gone.
func (w *watched) leave() {
	if w.index == 0 {
		return
	}
	w.index = 0
	now := time.Now()
	w.tracker.observe(observation{before: now, after: now}, false)
}

// readNeighbour reads one neighbour and, if it is due, has it solicited.
func (l *loop) readNeighbour(w *watched) error {
	key := NeighbourKey{LinkIndex: w.index, Address: w.watch.Address}
	look := func() error {
		o, err := l.m.kernel.neighbour(key)
		l.count(err)
		if err != nil {
			// Not at once again: the next interval will do.
			w.tracker.asked = time.Now()
			return err
		}
		before := w.tracker.n
		w.tracker.observe(o, canSolicit(l.links, w.watch.Link, w.watch.Address))
		l.changed = l.changed || before != w.tracker.n
		return nil
	}
	if err := look(); err != nil {
		return err
	}
	act, at := w.tracker.due()
	if at.IsZero() || time.Now().Before(at) {
		return nil
	}
	w.tracker.asked = time.Now()
	l.m.counters.solicitations.Add(1)
	if err := l.m.kernel.solicit(key, act); err != nil && !errors.Is(err, errChanged) {
		return err
	}
	// The kernel announces the end of a round, but not its beginning.
	return look()
}
