package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"time"
)

const (
	// firstRetry and lastRetry bound the waits between attempts to open the
	// socket, which double.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 10 * time.Second
	// reportAfter is the least time between two reports that only bring fresh
	// figures; reportLimit the longest that fresh figures wait. Between the
	// two a report goes with whatever else wakes the prober.
	reportAfter = time.Second
	reportLimit = 2 * time.Second
	// idleLimit is the longest sleep: after it the socket looks whether its
	// device is still the one of that name.
	idleLimit = 5 * time.Second
	// maxDrain bounds the packets read before probes are sent and expired, so
	// that a flood cannot stop the clock.
	maxDrain = 256
)

// conn is the way to the network, so that everything above it can be tested in
// memory. Only close may be called from other goroutines.
type conn interface {
	// send sends one ICMP message. The error wraps the errno.
	send(to netip.Addr, message []byte) error
	// receive fills p with the next message that has arrived, without
	// blocking; errEmpty says that there is none.
	receive(p *packet) error
	// wait blocks until the given time and, if it is to listen, at most until
	// a message may have arrived; it says whether one may have. It returns an
	// error if the socket was closed or is no longer bound to the device of
	// its name, for which it looks once a second.
	wait(until time.Time, listen bool) (arrived bool, err error)
	// close ends a wait. It may be called more than once.
	close() error
}

// packet is a received ICMP message without its IP header.
type packet struct {
	data []byte // valid until the next receive
	from netip.Addr
	// onDevice says that it arrived on the device that the socket is bound to.
	onDevice bool
	kernel   time.Time // when the kernel received it; may be zero
}

// Prober probes the targets of one uplink in one family. Its methods may be
// called from any goroutine.
type Prober struct {
	config Config
	v6     bool
	tell   func(Report)
	log    *slog.Logger
	dial   func(identity) (conn, error)
	random func() float64
	poke   chan struct{}
	thrift thrift

	// What follows belongs to Run.
	targets  []target
	usable   int // targets that can be asked
	identity identity
	sequence uint64
	unsent   int // probes in a row, over all targets, that could not be sent
	advice   Advice
	ignored  IgnoredCounts
	err      error
	dirty    bool // advice or ignored changed since the last report
	changed  bool // err changed since the last report
	reported time.Time
	// deaf says that the last wait did not listen, or the next one will not;
	// deafUntil when listening begins again.
	deaf      bool
	deafUntil time.Time
	read      int // packets since the last probes were sent
	buffer    []byte
	packet    packet
}

// New returns a prober that does nothing until Run. report is called from Run,
// must not block and may keep what it gets.
func New(c Config, report func(Report), log *slog.Logger) *Prober {
	c = c.normal()
	p := &Prober{
		config: c,
		v6:     c.Source.Is6(),
		tell:   report,
		random: mathrand.Float64,
		thrift: newThrift(c.Interval),
		poke:   make(chan struct{}, 1),
		buffer: make([]byte, 0, packetSize),
	}
	family := "ipv4"
	if p.v6 {
		family = "ipv6"
	}
	p.log = log.With("uplink", c.Uplink, "family", family)
	p.dial = func(id identity) (conn, error) { return openSocket(p.config, id) }
	return p
}

// Poke says that the device or the address may have come back: a prober that
// waits to open its socket again tries at once. It never blocks.
func (p *Prober) Poke() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// Run probes until ctx ends, and returns only then. Errors are reported, logged
// once and retried. It must run once at a time.
func (p *Prober) Run(ctx context.Context) {
	p.begin(time.Now())
	var delay time.Duration
	for {
		progress, err := p.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if progress {
			// It worked until now: most likely the device was replaced, so
			// look at once. Whether it works again decides what to say.
			delay = 0
			p.log.Debug("socket lost", "reason", err)
			for i := range p.targets {
				p.targets[i].forget()
			}
			continue
		}
		p.fail(err, time.Now())
		delay = min(max(2*delay, firstRetry), lastRetry)
		if !p.pause(ctx, delay) {
			return
		}
	}
}

// pause waits for the delay or a poke. It reports false if ctx has ended.
func (p *Prober) pause(ctx context.Context, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-p.poke:
	case <-timer.C:
	}
	return true
}

// begin sets every target to Unknown and lays out the rhythm.
func (p *Prober) begin(now time.Time) {
	p.targets = make([]target, len(p.config.Targets))
	p.usable = 0
	phase := p.random()
	for i, address := range p.config.Targets {
		p.targets[i] = newTarget(&p.config, address, now)
		if p.thrift.together > 0 {
			p.targets[i].slot = newSlot(now, p.config.Interval, 0, 1, phase)
		} else {
			p.targets[i].slot = newSlot(now, p.config.Interval, i, len(p.targets), phase)
		}
		if p.targets[i].usable {
			p.usable++
		}
	}
	p.changed = true
	p.publish(now)
}

// fail makes everything Unknown because nothing can be asked. The log has one
// line per change of the reason.
func (p *Prober) fail(err error, now time.Time) {
	if p.err == nil || p.err.Error() != err.Error() {
		p.log.Warn("cannot probe, trying again", "reason", err)
		p.err, p.changed = err, true
	}
	for i := range p.targets {
		if t := &p.targets[i]; t.usable {
			t.suspend("cannot probe: "+err.Error(), now)
		}
	}
	p.publish(now)
}

// works takes back what fail said.
func (p *Prober) works() {
	if p.err == nil {
		return
	}
	p.log.Info("probing again", "reason", "was: "+p.err.Error())
	p.err, p.changed = nil, true
}

// publish reports if an opinion or the error has changed, or if there are fresh
// figures and the last report is old enough.
func (p *Prober) publish(now time.Time) {
	changed, dirty := p.changed, p.dirty
	for i := range p.targets {
		changed = changed || p.targets[i].changed
		dirty = dirty || p.targets[i].dirty
	}
	if !changed && (!dirty || now.Sub(p.reported) < reportAfter) {
		p.dirty = dirty
		return
	}
	r := Report{
		Uplink:  p.config.Uplink,
		IPv6:    p.v6,
		Targets: make([]Target, len(p.targets)),
		Advice:  p.advice,
		Ignored: p.ignored,
		Err:     p.err,
	}
	for i := range p.targets {
		t := &p.targets[i]
		if t.changed {
			p.log.Debug("target", "target", t.address, "opinion", t.opinion, "reason", t.reason)
		}
		t.changed, t.dirty = false, false
		r.Targets[i] = t.report()
	}
	p.changed, p.dirty, p.reported = false, false, now
	p.tell(r)
}

// newIdentity draws the identity of a socket.
func newIdentity() (identity, error) {
	var b [2 + cookieSize]byte
	if _, err := rand.Read(b[:]); err != nil {
		return identity{}, fmt.Errorf("draw cookie: %w", err)
	}
	return identity{id: binary.BigEndian.Uint16(b[:]), cookie: [cookieSize]byte(b[2:])}, nil
}
