package netmon

import (
	"context"
	"reflect"
	"time"
)

const (
	// readGap is the least time between two readings. The first event after a
	// quiet time is looked at at once; a burst is looked at a hundred times a
	// second.
	readGap = 10 * time.Millisecond
	// fullEvery is the time between readings of everything that no event asked
	// for: the net under the net.
	fullEvery = time.Minute
	// defaultsShare limits what the reading of default routes may cost: where it
	// takes long, because there are very many routes, it is done for no reason
	// only every defaultsShare-th part of the time.
	defaultsShare = 100
	// retryMin and retryMax bound the time until a failed reading is repeated.
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
	// expiryGrace is added to the end of a route's lifetime, which the kernel
	// rounds down to 10 ms.
	expiryGrace = 50 * time.Millisecond
)

// loop is the state of the goroutine that reads.
type loop struct {
	m   *Monitor
	cfg Config

	links      map[string]Link
	defaults   defaultsRead
	neighbours map[watchKey]*watched

	// linksDone and defaultsDone are false until the part was read once,
	// defaultsDone anew for each configuration.
	linksDone, defaultsDone bool
	// results brings the default routes from the goroutine that reads them.
	results chan defaultsResult
	// reading is true while that goroutine runs, again if another reading is to
	// follow, and generation counts the configurations to tell old results.
	reading, again bool
	generation     int
	// holding keeps the last snapshot after a new configuration until default
	// routes were read for it: routes not read yet are not routes that are gone.
	holding bool

	lastRead     time.Time
	nextFull     time.Time
	nextDefaults time.Time
	// retryAt repeats the parts of retry. The pause grows until none of the parts
	// of failing is left, those whose last reading failed.
	retryAt        time.Time
	retry, failing part
	pause          time.Duration
	// said is the last panic of the reader of default routes.
	said said
	// changed is set by whatever has changed the snapshot, and by a new
	// configuration.
	changed bool
}

// loop reads what is dirty until ctx ends. It begins with everything, also in a second
// life after a panic, which knows nothing of what the first has taken; the snapshot
// of the first stays until the second has read as much.
func (m *Monitor) loop(ctx context.Context) {
	m.mark(partAll | partConfig)
	l := &loop{
		m:          m,
		neighbours: map[watchKey]*watched{},
		results:    make(chan defaultsResult, 1),
		pause:      retryMin,
	}
	// A reading of default routes that is under way ends by itself.
	defer func() {
		if l.reading {
			<-l.results
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		case r := <-l.results:
			l.takeDefaults(r, time.Now())
		}
		timer.Reset(time.Until(l.pass(time.Now())))
	}
}

// pass does all that is due and tells when to come again.
func (l *loop) pass(now time.Time) time.Time {
	parts := part(l.m.dirty.Load())
	if gap := l.lastRead.Add(readGap); parts != 0 && parts&partConfig == 0 && now.Before(gap) {
		return gap
	}
	parts = part(l.m.dirty.Swap(0)) | l.overdue(now)
	if parts&partConfig != 0 {
		l.configure()
	}
	if parts&partLinks != 0 {
		parts |= l.readLinks()
		// Published before the rest, which may take longer.
		l.publish()
	}
	l.readNeighbours(parts&partNeighbours != 0)
	if parts&partDefaults != 0 {
		l.startDefaults()
	}
	l.publish()
	if parts != 0 {
		l.lastRead = time.Now()
	}
	return l.next()
}

// overdue are the parts to be read because of the time.
func (l *loop) overdue(now time.Time) part {
	var parts part
	if !now.Before(l.nextFull) {
		l.nextFull = now.Add(fullEvery)
		parts |= partLinks | partNeighbours
	}
	if !now.Before(l.nextDefaults) {
		l.nextDefaults = now.Add(fullEvery)
		parts |= partDefaults
	}
	if at := l.defaults.expires; !at.IsZero() && !now.Before(at) {
		l.defaults.expires = time.Time{}
		parts |= partDefaults
	}
	if l.retry != 0 && !now.Before(l.retryAt) {
		parts |= l.retry
		l.retry = 0
	}
	return parts
}

// next is the earliest time at which something is due.
func (l *loop) next() time.Time {
	at := earlier(l.nextFull, l.nextDefaults)
	if !l.defaults.expires.IsZero() {
		at = earlier(at, l.defaults.expires)
	}
	if l.retry != 0 {
		at = earlier(at, l.retryAt)
	}
	for _, w := range l.neighbours {
		if _, due := w.tracker.due(); !due.IsZero() {
			at = earlier(at, due)
		}
	}
	if l.m.dirty.Load() != 0 {
		at = earlier(at, l.lastRead.Add(readGap))
	}
	return at
}

// configure takes over the configuration; neighbours that stay keep their history.
func (l *loop) configure() {
	l.cfg = l.m.config()
	old := l.neighbours
	l.neighbours = map[watchKey]*watched{}
	for _, watch := range l.cfg.Neighbours {
		watch.Address = watch.Address.Unmap().WithZone("")
		key := watchKey{watch.Link, watch.Address.String()}
		w := l.neighbours[key]
		if w == nil {
			w = &watched{watch: watch}
			if known := old[key]; known != nil {
				*w = *known
			}
			w.watch = watch
			w.tracker.interval = 0
			w.tracker.n.Address = watch.Address
			l.neighbours[key] = w
		}
		// Of several watches of one neighbour the most frequent wins.
		if i := watch.Interval; i > 0 && (w.tracker.interval <= 0 || i < w.tracker.interval) {
			w.tracker.interval = i
		}
	}
	l.generation++
	l.defaultsDone, l.holding = false, true
	l.setInterest()
	l.changed = true
}

// setInterest tells the event reader what matters. It comes before the readings
// that it is for, so that no change falls in between.
func (l *loop) setInterest() {
	w := &interest{
		neighbours:  make(map[NeighbourKey]struct{}, len(l.neighbours)),
		learn:       len(l.cfg.LearnFrom) > 0,
		ownProtocol: l.cfg.OwnProtocol,
	}
	for _, n := range l.neighbours {
		if link, ok := l.links[n.watch.Link]; ok {
			w.neighbours[NeighbourKey{link.Index, n.watch.Address}] = struct{}{}
		}
	}
	if l.defaultsDone && !l.reading {
		w.objects = l.defaults.objects
	}
	l.m.interest.Store(w)
}

// readLinks reads links and addresses and tells what else is to be read because of
// a change in them.
func (l *loop) readLinks() part {
	links, err := l.m.kernel.links()
	l.count(err)
	if err != nil {
		l.failed(partLinks, err)
		return 0
	}
	l.recovered(partLinks)
	byName := make(map[string]Link, len(links))
	for _, link := range links {
		byName[link.Name] = link
	}
	old := l.links
	l.links, l.linksDone = byName, true
	var parts part
	if !reflect.DeepEqual(old, byName) {
		l.changed = true
		// Neighbours vanish with the carrier, and whether they can be asked
		// depends on the addresses.
		parts |= partNeighbours
		l.setInterest()
	}
	for _, name := range l.cfg.LearnFrom {
		// IPv4 routes go without a word when their link goes down or loses an
		// address (kernel: fib_sync_down_dev, fib_sync_down_addr).
		if !reflect.DeepEqual(old[name], byName[name]) {
			parts |= partDefaults
		}
	}
	return parts
}

// publish makes a snapshot if anything has changed, and pokes.
func (l *loop) publish() {
	if !l.changed || !l.linksDone || l.holding {
		return
	}
	if _, published := l.m.Snapshot(); !published && !l.defaultsDone {
		return
	}
	l.changed = false
	s := &Snapshot{
		Links:      l.links,
		Defaults:   l.defaults.defaults,
		Neighbours: make(map[NeighbourKey]Neighbour, len(l.neighbours)),
	}
	for _, w := range l.neighbours {
		if w.index != 0 && w.tracker.known {
			s.Neighbours[NeighbourKey{w.index, w.watch.Address}] = w.tracker.n
		}
	}
	l.m.snapshot.Store(s)
	l.m.poke()
}

func (l *loop) count(err error) {
	l.m.counters.reads.Add(1)
	if err != nil {
		l.m.counters.failures.Add(1)
	}
}

// failed keeps what is known and plans another reading.
func (l *loop) failed(p part, err error) {
	if l.pause == retryMin {
		l.m.log.Warn("network state cannot be read, keeping what is known and trying again", "reason", err)
	}
	l.retry |= p
	l.failing |= p
	l.retryAt = time.Now().Add(l.pause)
	l.pause = min(2*l.pause, retryMax)
}

func (l *loop) recovered(p part) {
	l.retry &^= p
	l.failing &^= p
	if l.failing == 0 && l.pause != retryMin {
		l.pause = retryMin
		l.m.log.Info("network state is readable again")
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
