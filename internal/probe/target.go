package probe

import (
	"net/netip"
	"time"
)

// target is the state machine of one target. It does no I/O; time is an
// argument. The events are sent, answered, unreachable, fault and expire.
type target struct {
	config  *Config
	address netip.Addr
	bare    netip.Addr // address without its zone, as packets carry it
	usable  bool       // of the prober's family
	slot    slot

	flight flight
	window window
	// trouble is what a router or the kernel said of the latest lost probe.
	trouble trouble
	// faults counts probes in a row that this host could not send.
	faults int

	opinion Opinion
	cause   cause
	// down remembers through Unknown that the last opinion was Down, so that a
	// failed socket is no short cut to Up.
	down   bool
	since  time.Time
	reason string

	changed bool // the opinion or its cause, since the last report
	dirty   bool // anything that a report shows, since the last report
}

// trouble is why a probe was lost at once; the zero value means silence.
type trouble struct {
	words string     // such as "host unreachable"
	from  netip.Addr // who said so; the zero Addr is this host
}

func newTarget(config *Config, address netip.Addr, now time.Time) target {
	t := target{
		config:  config,
		address: address,
		bare:    address.Unmap().WithZone(""),
		flight:  newFlight(*config),
		window:  newWindow(windowSize(config.LossEnter)),
		since:   now,
		changed: true,
	}
	t.usable = t.bare.IsValid() && (!config.Source.IsValid() || t.bare.Is6() == config.Source.Is6())
	t.reason = "not asked yet"
	if !t.usable {
		t.reason = "not of the family of " + config.Source.String() + ", never asked"
	}
	return t
}

// sent records a probe on its way.
func (t *target) sent(sequence uint64, now time.Time) {
	t.faults = 0
	t.flight.add(sequence, now)
	if t.cause == causeNone || t.cause == causeLocal {
		t.form(Unknown, causeAsked, t.words(causeAsked, 0), now)
	}
}

// answered records the answer to a probe, or says why it does not count. kernel
// is when the kernel received it (see roundTrip), now when it was read.
func (t *target) answered(sequence uint64, kernel, now time.Time) Ignored {
	p := t.flight.find(sequence, false)
	if p == nil {
		return IgnoredSequence
	}
	rtt := roundTrip(p.at, kernel, now)
	switch {
	case p.outcome == answered:
		return IgnoredDuplicate
	case p.outcome == lost:
		return IgnoredLate
	case rtt >= t.config.Timeout:
		t.lose(p, trouble{}, now)
		return IgnoredLate
	}
	t.flight.finish(p, answered)
	t.window.add(rtt)
	t.judge(now)
	return Believed
}

// unreachable records that a probe cannot arrive: one lost probe, at once
// (DGD-12, DGD-13).
func (t *target) unreachable(sequence uint64, short bool, why trouble, now time.Time) Ignored {
	p := t.flight.find(sequence, short)
	if p == nil {
		return IgnoredSequence
	}
	switch p.outcome {
	case answered:
		return IgnoredDuplicate
	case lost:
		return IgnoredLate
	case outcomeUnknown, flying:
	}
	t.lose(p, why, now)
	return Believed
}

// fault records that this host could not send a probe. That says nothing of the
// target; as many faults in a row as would be losses make it Unknown.
func (t *target) fault(words string, now time.Time) {
	t.faults++
	if t.faults >= t.config.Down {
		t.suspend("cannot send: "+words, now)
	}
}

// expire makes every probe that is over its timeout a lost one.
func (t *target) expire(now time.Time) {
	for p := t.flight.oldest(); p != nil && now.Sub(p.at) >= t.config.Timeout; p = t.flight.oldest() {
		t.lose(p, trouble{}, now)
	}
}

// deadline returns when expire has work, the zero Time if it has none.
func (t *target) deadline() time.Time {
	p := t.flight.oldest()
	if p == nil {
		return time.Time{}
	}
	return p.at.Add(t.config.Timeout)
}

// suspend makes the target Unknown, because it cannot be asked. Nothing that was
// measured before is a measure of what comes after.
func (t *target) suspend(reason string, now time.Time) {
	t.forget()
	t.window.reset()
	t.form(Unknown, causeLocal, reason, now)
}

// forget drops the probes in flight, whose answers can no longer be heard.
func (t *target) forget() {
	t.flight.reset()
	t.trouble = trouble{}
}

func (t *target) lose(p *sentProbe, why trouble, now time.Time) {
	t.flight.finish(p, lost)
	t.window.add(lostSample)
	t.trouble = why
	t.judge(now)
}

// judge draws the opinion after a probe has finished.
func (t *target) judge(now time.Time) {
	t.dirty = true
	answers, losses := t.flight.streak()
	opinion, why := conclude(t, answers, losses)
	if opinion == t.opinion && why == t.cause {
		return
	}
	t.form(opinion, why, t.words(why, losses), now)
}

// form sets the opinion. Since moves only with the opinion.
func (t *target) form(opinion Opinion, why cause, reason string, now time.Time) {
	if opinion == t.opinion && reason == t.reason {
		t.cause = why
		return
	}
	if opinion != t.opinion {
		t.since = now
	}
	if opinion != Unknown {
		t.down = opinion == Down
	}
	t.opinion, t.cause, t.reason = opinion, why, reason
	t.changed, t.dirty = true, true
}

// report returns the public state.
func (t *target) report() Target {
	return Target{
		Address: t.address,
		Opinion: t.opinion,
		Since:   t.since,
		Reason:  t.reason,
		RTT:     t.window.mean(),
		Loss:    t.window.loss(),
		Samples: t.window.count,
	}
}
