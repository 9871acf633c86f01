package bfd

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// loop is the thread of a speaker: it reads sockets, lets the table do what is due,
// tells the owners of sessions, and waits.
type loop struct {
	speaker *Speaker
	clock   *clock
	poller  *poller
	sockets *sockets
	batch   *batch
	gather  gather
	drops   dropLog

	// seen is up to when every packet that arrived was given to the table.
	seen instant
	// acted is when the table last did what was due, and wakeAt is when it has
	// something to do next.
	acted, wakeAt instant
	// lookAt is when the interfaces are looked at next, lookedAt was the last time.
	lookAt, lookedAt instant
	// endAt is when the loop ends at the latest, never while the speaker runs.
	endAt instant
}

const (
	// lookEvery is how often interfaces are looked at, lookSoon how soon again when
	// packets cannot be sent.
	lookEvery = time.Second
	lookSoon  = 100 * time.Millisecond
	// lingerLimit bounds how long the end takes.
	lingerLimit = 2 * time.Second
	// turnPackets is about how many packets are read between two looks at the
	// timers: what a flood may cost them is a millisecond.
	turnPackets = 1024
	// turnCalls bounds the rounds of the table in one turn, except that every
	// session that failed is told of at once.
	turnCalls = 64
)

// run serves until ctx ends and every peer knows.
func (l *loop) run(ctx context.Context) {
	for {
		l.turn()
		if l.endAt == never && ctx.Err() != nil {
			l.endAt = l.clock.read().now + l.speaker.linger
			l.speaker.disableAll()
		}
		if l.endAt != never && (l.clock.read().now >= l.endAt || l.speaker.lingering() == 0) {
			return
		}
	}
}

// turn is one round of reading, doing and waiting.
func (l *loop) turn() {
	start, ready := l.await()
	l.seen = max(l.seen, l.receive(ready, start))
	l.sockets.adopt(l.speaker.takeFresh())
	l.sockets.try()
	l.act()
	now := l.clock.read().now
	if l.sockets.alarmed {
		l.sockets.alarmed = false
		l.lookAt = min(l.lookAt, max(now, l.lookedAt+lookSoon))
	}
	if now >= l.lookAt {
		l.look(now)
	}
}

func (l *loop) look(now instant) {
	l.lookedAt, l.lookAt = now, now+lookEvery
	l.sockets.look(now)
	l.speaker.locked(func(t *table) {
		l.gather.grid = gridOf(t)
		l.drops.look(t, l.speaker.journal, now)
	})
}

// await waits until there is something to do, and returns the sockets that have
// something to read. Every other one was empty at start.
func (l *loop) await() (start reading, ready []unix.EpollEvent) {
	start = l.clock.read()
	until := min(l.wakeAt, l.lookAt, l.sockets.tryAt, l.endAt)
	if l.gather.busy && until > l.acted {
		l.poller.pause(l.gather.next(start.now) - start.now)
		start = l.clock.read()
		until = start.now
	}
	ready, err := l.poller.wait(until - start.now)
	if err != nil {
		// Nothing that is known to fail ever did; serve the timers all the same.
		l.speaker.journal.trouble(err)
		l.poller.pause(time.Millisecond)
		start.now = l.seen
		return start, nil
	}
	l.speaker.journal.well()
	return start, ready
}

// receive reads the sockets that are ready, and returns up to when nothing is left
// to read.
func (l *loop) receive(ready []unix.EpollEvent, start reading) instant {
	seen := start.now
	if len(ready) == 0 {
		return seen
	}
	budget := max(batchSize, turnPackets/len(ready))
	for i := range ready {
		r := l.sockets.byFD[ready[i].Fd]
		if r != nil && !l.drain(r, budget) {
			seen = min(seen, r.newest)
		}
	}
	return seen
}

// drain gives packets to the table, and reports whether the socket is empty now.
func (l *loop) drain(r *receiver, budget int) bool {
	for budget > 0 {
		n, more, err := r.read(l.batch, l.clock)
		if err != nil {
			// What lies there was not read, and an error is not an empty socket.
			r.broken, r.trouble = true, err
			l.lookAt = 0
			return false
		}
		if n > 0 {
			l.gather.count += n
			tell(l.input(l.batch.datagrams[:n]))
		}
		if !more {
			return true
		}
		budget -= max(n, 1)
	}
	return false
}

// input gives a batch to the table.
func (l *loop) input(datagrams []datagram) []news {
	s := l.speaker
	s.mu.Lock()
	defer s.mu.Unlock()
	now, _ := s.source()
	for i := range datagrams {
		d := &datagrams[i]
		received := s.table.received
		s.table.input(d, now)
		if s.table.received == received {
			l.drops.note(s.table, d)
		}
	}
	if len(s.table.news) == 0 {
		return nil
	}
	return s.table.take()
}

// act does what is due, and tells of every failure before it does anything else.
func (l *loop) act() {
	for calls := 0; ; calls++ {
		more, news := l.advance()
		tell(news)
		if !more || len(news) == 0 && calls >= turnCalls {
			return
		}
	}
}

func (l *loop) advance() (more bool, n []news) {
	s := l.speaker
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.table.sent
	l.acted, _ = s.source()
	more = s.table.advance(l.acted, l.seen)
	l.wakeAt = s.table.wake()
	l.gather.count += int(s.table.sent - sent) //nolint:gosec // of one call
	l.gather.judge(l.acted)
	if len(s.table.news) == 0 {
		return more, nil
	}
	return more, s.table.take()
}

// tell calls the owners of sessions; no lock is held.
func tell(n []news) {
	for i := range n {
		n[i].notify(n[i].Event)
	}
}

// gather makes the loop wake on a grid while there is much to do: a batch costs little
// more than a packet, and a wait more than either.
type gather struct {
	busy bool
	// grid is the distance of the moments.
	grid time.Duration
	// count is the packets received and sent since since.
	count int
	since instant
}

const (
	// gatherAt packets a second begin it, and gatherUntil end it.
	gatherAt    = 2000
	gatherUntil = 1500
	gatherTime  = 100 * time.Millisecond
	maxGrid     = time.Millisecond
	// gridShare of the shortest interval is the widest grid: much less than the
	// jitter.
	gridShare = 16
)

// judge decides once in a while, by the packets since.
func (g *gather) judge(now instant) {
	past := now - g.since
	if past < gatherTime {
		return
	}
	limit := gatherAt
	if g.busy {
		limit = gatherUntil
	}
	g.busy = g.count > int(past*time.Duration(limit)/time.Second)
	g.count, g.since = 0, now
}

// next is the next moment of the grid.
func (g *gather) next(now instant) instant { return (now/g.grid + 1) * g.grid }

// gridOf is for the sessions of a table as they are now.
func gridOf(t *table) time.Duration {
	grid := maxGrid
	for _, s := range t.byDiscriminator {
		if s.core.state == Up {
			grid = min(grid, s.core.interval()/gridShare)
		}
	}
	return max(grid, MinInterval/gridShare)
}
