package bfd

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// path is what a session has of sockets, from its beginning to its end.
type path struct {
	session *session
	conf    Config
	// index of the interface that the sockets are aimed at, 0 for any.
	index    int
	receiver *receiver
	outlet   outlet
	port     uint16
	attached bool
	// waiting paths are tried at retryAt; delay is what follows a failure.
	waiting bool
	retryAt instant
	delay   time.Duration
	// ended and up are what the session was when it was looked at.
	ended, up bool
	// brokenAt is when its sockets failed last.
	brokenAt instant
	// taken: another program has the port.
	taken   bool
	problem string
}

// outlet is the sending side of a path.
type outlet interface {
	sender
	// aim makes it send by the interface that has that index now.
	aim(index int) error
	// update takes a new mark and a new source of echoes.
	update(conf Config) error
	// astray reports whether what was aimed at seems to be gone.
	astray() bool
	close()
}

func (s *controlSocket) astray() bool { return s.lost }

// sockets are all that a speaker has. They belong to its thread; only what reaches
// into the table takes the lock.
type sockets struct {
	speaker *Speaker
	poller  *poller
	clock   *clock
	devices devices
	ports   *ports
	// seen is the interfaces that sessions name, as they were at the last round.
	seen      map[string]*sight
	round     uint
	paths     map[*session]*path
	receivers map[receiverKey]*receiver
	byFD      map[int32]*receiver
	owners    *owners
	waiting   []*path
	// tryAt is when the first of those that wait is due.
	tryAt instant
	// alarmed: a packet could not be sent, perhaps for want of its interface.
	alarmed bool
	// closing is of sockets that take long to close.
	closing sync.WaitGroup
}

const (
	// retryDelay is what follows a failure, and it grows up to retryLimit.
	retryDelay = time.Second
	retryLimit = 5 * time.Second
	// openingTime bounds what opening sockets keeps from the timers at a time.
	openingTime = 500 * time.Microsecond
)

func newSockets(s *Speaker, p *poller, c *clock) (*sockets, error) {
	d, err := newDevices()
	if err != nil {
		return nil, err
	}
	return &sockets{
		speaker: s, poller: p, clock: c, devices: d, ports: newPorts(newRandom()), seen: map[string]*sight{}, tryAt: never,
		paths: map[*session]*path{}, receivers: map[receiverKey]*receiver{}, byFD: map[int32]*receiver{},
		owners: newOwners(p),
	}, nil
}

// openOutlet opens what keeps the source port; aim does the rest.
func (k *sockets) openOutlet(conf Config, index int) (outlet, uint16, error) {
	if conf.Mode != Echo {
		s, err := openControlSocket(conf, index, k.ports)
		if err != nil {
			return nil, 0, err
		}
		s.now = func() instant { return k.clock.read().now }
		s.alarm = func() { k.alarmed = true }
		return s, s.port, nil
	}
	s, err := openEchoSocket(conf, k.ports)
	if err != nil {
		return nil, 0, err
	}
	s.alarm = func() { k.alarmed = true }
	return s, s.port, nil
}

// close closes everything; the table no longer sends.
func (k *sockets) close() {
	for _, p := range k.paths {
		k.release(p)
	}
	k.devices.close()
	k.owners.wait()
	k.closing.Wait()
}

// adopt takes new sessions; the next try opens their sockets.
func (k *sockets) adopt(sessions []*session) {
	for _, s := range sessions {
		k.speaker.mu.Lock()
		conf := s.core.conf
		k.speaker.mu.Unlock()
		if p := k.paths[s]; p != nil {
			k.reconfigure(p, conf)
			continue
		}
		p := &path{session: s, conf: conf}
		k.paths[s] = p
		k.wait(p, 0)
	}
}

// reconfigure takes what was updated to the socket of a session.
func (k *sockets) reconfigure(p *path, conf Config) {
	p.conf = conf
	if p.outlet == nil {
		return
	}
	// The thread of the API may be sending by it at this moment, under the lock.
	var err error
	k.speaker.locked(func(*table) { err = p.outlet.update(conf) })
	if err != nil {
		k.tell(p, err.Error())
	}
}

// wait has p tried at that moment.
func (k *sockets) wait(p *path, at instant) {
	p.retryAt = at
	if !p.waiting {
		p.waiting = true
		k.waiting = append(k.waiting, p)
	}
	k.tryAt = min(k.tryAt, at)
}

// try opens the sockets of paths that wait, until some time has passed: the rest gets
// its turn after the timers of others.
func (k *sockets) try() {
	begin := k.clock.read().now
	if k.tryAt > begin {
		return
	}
	now := begin
	k.tryAt = never
	rest := k.waiting[:0]
	for _, p := range k.waiting {
		if p.retryAt <= now && now-begin < openingTime {
			p.waiting = k.paths[p.session] == p && !k.connect(p)
			now = k.clock.read().now
		}
		if p.waiting {
			k.tryAt = min(k.tryAt, p.retryAt)
			rest = append(rest, p)
		}
	}
	clear(k.waiting[len(rest):])
	k.waiting = rest
}

// connect opens the sockets of a path, or says what is missing.
func (k *sockets) connect(p *path) (done bool) {
	err := k.prepare(p)
	p.taken = errors.Is(err, errTaken)
	if err == nil {
		p.delay = 0
		k.speaker.locked(func(t *table) {
			p.attached = true
			t.attach(p.session, p.index, p.outlet)
			p.session.problem = p.problem
		})
		k.tell(p, k.sight(p.conf.Interface).words)
		return true
	}
	p.delay = min(max(retryDelay, p.delay*3/2), retryLimit)
	if errors.Is(err, errNoDevice) {
		p.delay = retryDelay
	}
	p.retryAt = k.clock.read().now + p.delay
	k.tell(p, err.Error())
	k.speaker.locked(func(t *table) {
		p.attached = false
		t.detach(p.session, err.Error())
	})
	return false
}

var errNoDevice = errors.New("no device")

// missing is a device that is not there; its text is for people.
type missing struct{ device }

func (m missing) Error() string { return m.problem() }
func (missing) Unwrap() error   { return errNoDevice }

func (k *sockets) prepare(p *path) (err error) {
	index := 0
	if p.conf.Interface != "" {
		dev := k.sight(p.conf.Interface)
		if err := dev.look(k.devices); err != nil {
			return err
		}
		if dev.index == 0 {
			return missing{dev.device}
		}
		index = dev.index
	}
	if key := p.conf.receiver(index); p.receiver == nil || p.receiver.key != key {
		k.leave(p)
		if p.receiver, err = k.join(key); err != nil {
			return err
		}
	}
	if p.outlet == nil {
		if p.outlet, p.port, err = k.openOutlet(p.conf, index); err != nil {
			p.outlet = nil
			return err
		}
	}
	p.index = index
	return p.outlet.aim(index)
}

// join returns the receiver for a key, which is opened for its first session.
func (k *sockets) join(key receiverKey) (*receiver, error) {
	r := k.receivers[key]
	if r == nil {
		var err error
		if r, err = openReceiver(key); err != nil {
			if errors.Is(err, unix.EADDRINUSE) {
				return nil, k.owners.blame(key, k.inodes(), k.clock.read().now)
			}
			return nil, err
		}
		if err := k.poller.add(r.fd); err != nil {
			r.close()
			return nil, err
		}
		// Nothing can have come before.
		r.empty = k.clock.read()
		r.newest = r.empty.now
		k.receivers[key], k.byFD[int32(r.fd)] = r, r //nolint:gosec // a descriptor
	}
	r.users++
	return r, nil
}

// leave takes the receiver from a path; the last one closes it.
func (k *sockets) leave(p *path) {
	r := p.receiver
	if r == nil {
		return
	}
	p.receiver = nil
	if r.users--; r.users > 0 {
		return
	}
	delete(k.receivers, r.key)
	delete(k.byFD, int32(r.fd)) //nolint:gosec // a descriptor
	k.poller.remove(r.fd)
	if r.key.port != portEcho {
		r.close()
		return
	}
	// To close a packet socket takes the kernel many milliseconds, until nobody looks
	// at it any more (net/packet/af_packet.c packet_release), which is too long for
	// the thread of all sessions.
	r.closeParking()
	k.closing.Go(r.close)
}

// inodes returns those of the receivers' own sockets.
func (k *sockets) inodes() map[uint64]bool {
	own := map[uint64]bool{}
	for _, r := range k.receivers {
		for _, fd := range []int{r.fd, r.parking} {
			var st unix.Stat_t
			if fd >= 0 && unix.Fstat(fd, &st) == nil {
				own[st.Ino] = true
			}
		}
	}
	return own
}

// release ends a path.
func (k *sockets) release(p *path) {
	k.speaker.locked(func(t *table) { t.detach(p.session, "") })
	k.leave(p)
	if p.outlet != nil {
		p.outlet.close()
		k.ports.release(p.port)
	}
	delete(k.paths, p.session)
}

// interrupt takes a path out of use, and has it tried again.
func (k *sockets) interrupt(p *path, problem string, at instant) {
	k.speaker.locked(func(t *table) {
		p.attached = false
		t.detach(p.session, problem)
	})
	k.leave(p)
	k.tell(p, problem)
	k.wait(p, at)
}

// look follows the interfaces, and lets go of sessions that ended. It is called once a
// second, and when something seems to be wrong. It allocates nothing unless something
// changed: who allocates has to help the garbage collector, however long that takes.
func (k *sockets) look(now instant) {
	k.speaker.locked(func(*table) {
		for _, p := range k.paths {
			p.ended, p.up = p.session.place == removed, p.session.core.state == Up
		}
	})
	for _, p := range k.paths {
		if p.ended {
			k.release(p)
		}
	}
	k.lookAtDevices()
	for _, p := range k.paths {
		k.lookAt(p, now)
	}
}

// lookAt does what the state of its interface and its sockets asks for.
func (k *sockets) lookAt(p *path, now instant) {
	dev := k.sight(p.conf.Interface)
	switch {
	case !p.attached:
		if p.receiver != nil && p.receiver.broken {
			k.leave(p)
		}
		if dev.changed || p.taken && k.owners.news(p.receiverKey()) {
			k.wait(p, now)
		}
		return
	case p.conf.Interface != "" && dev.index != p.index:
		k.interrupt(p, dev.words, now)
		return
	case p.receiver.broken:
		at := now
		if p.brokenAt != 0 && now-p.brokenAt < retryLimit {
			at += retryDelay
		}
		p.brokenAt = now
		k.interrupt(p, p.receiver.trouble.Error(), at)
		return
	case p.outlet.astray():
		k.wait(p, now)
	}
	if p.up {
		k.tell(p, "")
		return
	}
	k.tell(p, dev.words)
	if !p.conf.Local.IsValid() {
		// The kernel chose our address, and might choose another one now.
		k.wait(p, now)
	}
}

func (p *path) receiverKey() receiverKey { return p.conf.receiver(p.index) }

// sight returns what is known of an interface, which is looked at if it is not known.
func (k *sockets) sight(name string) *sight {
	s := k.seen[name]
	if s == nil {
		s = &sight{device: device{name: name}}
		k.seen[name] = s
		// An error says nothing: it is not there until it is seen.
		_ = s.look(k.devices)
	}
	return s
}

// lookAtDevices looks at each interface that a session names, and forgets the others.
func (k *sockets) lookAtDevices() {
	k.round++
	for _, p := range k.paths {
		s := k.sight(p.conf.Interface)
		if s.round == k.round {
			continue
		}
		s.round = k.round
		before := s.device
		// What could not be looked at is as it was.
		_ = s.look(k.devices)
		s.changed = s.device != before
	}
	for name, s := range k.seen {
		if s.round != k.round {
			delete(k.seen, name)
		}
	}
}

// tell shows and logs a problem once.
func (k *sockets) tell(p *path, problem string) {
	if p.problem == problem {
		return
	}
	p.problem = problem
	if p.attached {
		k.speaker.locked(func(*table) { p.session.problem = problem })
	}
	k.speaker.journal.problem(p.conf, problem)
}
