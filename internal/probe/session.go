package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// errEmpty is the answer of conn.receive when nothing has arrived.
var errEmpty = errors.New("nothing has arrived")

// session opens the socket and probes until ctx ends or the socket fails.
// progress says whether it has worked at all.
func (p *Prober) session(ctx context.Context) (progress bool, err error) {
	if p.identity, err = newIdentity(); err != nil {
		return false, err
	}
	c, err := p.dial(p.identity)
	if err != nil {
		return false, fmt.Errorf("open ICMP socket: %w", err)
	}
	// The error of close brings nothing: there is no data to be flushed.
	defer func() { _ = c.close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.close() })
	defer stop()

	p.unsent, p.read, p.deaf, p.deafUntil = 0, 0, false, time.Time{}
	arrived, read := true, 0
	for {
		// All that had arrived by now is read before anything expires by now:
		// if this process was kept from running, the answers are not to blame.
		now := time.Now()
		if read = 0; arrived || p.flying() > 0 {
			if read, err = p.drain(c); err != nil {
				return progress, err
			}
		}
		for i := range p.targets {
			p.targets[i].expire(now)
		}
		sent, err := p.sendDue(c, now)
		if sent {
			progress = true
			p.works()
		}
		now = time.Now()
		p.publish(now)
		if err != nil {
			return progress, err
		}
		p.settleEars(now, sent, read)
		if arrived, err = c.wait(p.next(now)); err != nil {
			return progress, err
		}
		if p.usable == 0 {
			progress = true
			p.works()
		}
	}
}

// next returns when there is something to do even if nothing arrives, and
// whether to listen until then.
func (p *Prober) next(now time.Time) (until time.Time, listen bool) {
	until = now.Add(idleLimit)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(until) {
			until = t
		}
	}
	if p.deaf {
		earlier(p.deafUntil)
	}
	dirty := p.dirty
	for i := range p.targets {
		t := &p.targets[i]
		if t.usable {
			earlier(t.slot.due)
		}
		if t.flight.flying > 0 {
			earlier(t.deadline().Add(p.thrift.late))
		}
		dirty = dirty || t.dirty
	}
	if dirty {
		earlier(p.reported.Add(reportLimit))
	}
	return until, !p.deaf
}

// drain takes what has arrived, or as much as answers all that was asked, and
// counts it.
func (p *Prober) drain(c conn) (read int, err error) {
	for read < maxDrain {
		err := c.receive(&p.packet)
		if errors.Is(err, errEmpty) {
			return read, nil
		}
		if err != nil {
			return read, fmt.Errorf("receive: %w", err)
		}
		read++
		asked := p.flying() > 0
		if why := p.take(&p.packet, time.Now()); why != Believed {
			p.ignored[why]++
			p.dirty = true
		} else if asked && p.flying() == 0 {
			// What else there is wakes the next wait. To ask whether there is
			// anything would double the system calls of an idle prober.
			return read, nil
		}
	}
	return read, nil
}

// take checks one packet and gives it to its target. Every check that fails has
// its own reason.
func (p *Prober) take(k *packet, now time.Time) Ignored {
	if !k.onDevice {
		return IgnoredIngress
	}
	m, why := parse(k.data, p.v6, p.identity)
	if why != Believed {
		return why
	}
	if m.kind == messageReply {
		return p.dispatch(k.from, IgnoredSource, func(t *target) Ignored {
			return t.answered(m.sequence, k.kernel, now)
		})
	}
	heeded := p.advice.heed(m, k.from, p.config.Gateway, p.v6, now)
	p.dirty = p.dirty || heeded
	if m.ours && m.kind == messageUnreachable {
		words := trouble{words: unreachableWords(p.v6, m.code), from: k.from}
		return p.dispatch(m.destination, IgnoredForeign, func(t *target) Ignored {
			return t.unreachable(m.sequence, m.short, words, now)
		})
	}
	if !heeded {
		return IgnoredForeign
	}
	return Believed
}

// dispatch gives an event to the target with this address. The same address may
// be configured twice; then the one that knows the sequence number takes it.
func (p *Prober) dispatch(address netip.Addr, none Ignored, event func(*target) Ignored) Ignored {
	why := none
	bare := address.WithZone("")
	for i := range p.targets {
		if t := &p.targets[i]; t.bare == bare {
			if why = event(t); why != IgnoredSequence {
				return why
			}
		}
	}
	return why
}

// sendDue sends the probes that are due, and with them those that soon would be.
// The error says that the socket must be opened again.
func (p *Prober) sendDue(c conn, now time.Time) (sent bool, err error) {
	horizon := now
	if p.due(now) {
		horizon = now.Add(p.thrift.together)
	}
	for i := range p.targets {
		t := &p.targets[i]
		if !t.usable || t.slot.due.After(horizon) {
			continue
		}
		t.slot.advance(now, p.random())
		p.sequence++
		p.buffer = appendEcho(p.buffer[:0], p.v6, p.identity, p.sequence)
		at := time.Now()
		err := c.send(t.address, p.buffer)
		switch failure := classify(err); failure {
		case failureNone:
			t.sent(p.sequence, at)
		case failureUnreachable:
			t.sent(p.sequence, at)
			t.unreachable(p.sequence, false, trouble{words: errnoWords(err)}, at)
		case failureGone:
			return sent, fmt.Errorf("send probe: %w", err)
		case failureLocal:
			t.fault(errnoWords(err), at)
			p.unsent++
			if p.unsent >= p.config.Down*p.usable {
				return sent, fmt.Errorf("send probe: %w", err)
			}
			continue
		default:
			panic(fmt.Sprintf("probe: unhandled failure %d", uint8(failure)))
		}
		p.unsent, sent = 0, true
	}
	return sent, nil
}

// due reports whether a probe is due.
func (p *Prober) due(now time.Time) bool {
	for i := range p.targets {
		if t := &p.targets[i]; t.usable && !t.slot.due.After(now) {
			return true
		}
	}
	return false
}

// failure is what an error of sendmsg means.
type failure uint8

const (
	failureNone failure = iota
	// failureUnreachable: the kernel knows that the target cannot be reached.
	failureUnreachable
	// failureGone: the socket is of no more use.
	failureGone
	// failureLocal: this host's fault (buffers, a firewall), not the target's.
	failureLocal
)

func classify(err error) failure {
	if err == nil {
		return failureNone
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return failureGone
	}
	switch errno {
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN:
		return failureUnreachable
	case syscall.ENODEV, syscall.ENXIO, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EBADF:
		return failureGone
	default:
		return failureLocal
	}
}

// errnoWords returns the kernel's words without what wraps them.
func errnoWords(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
