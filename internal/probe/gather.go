package probe

import "time"

const (
	// gatherFrom is the least interval at which wake-ups are saved. Below it the
	// targets are kept apart and each answer is read as it comes, because the
	// time that is saved would be too large a share of the interval.
	gatherFrom = 500 * time.Millisecond
	// gatherShare of the interval, at most gatherLimit, is how long an answer
	// may lie in the socket until it is read along with others. Its round trip
	// does not suffer: the kernel has stamped it.
	gatherShare = 0.05
	gatherLimit = 100 * time.Millisecond
	// expireLate is how much later than its timeout a probe may be found lost,
	// so that those which were sent together are found together.
	expireLate = time.Millisecond
	// crowd is how many packets per target and round are taken for a flood.
	// The buffer of a socket holds some 250: nothing is gathered in it until
	// there was a round without a flood.
	crowd = 8
)

// thrift is how a prober saves wake-ups. The zero value saves none.
type thrift struct {
	// together is how long before its time a probe may be sent along with one
	// that is due. It spans the jitter, so that one wake-up sends to all targets.
	together time.Duration
	// gather is how long packets may lie in the socket, see gatherShare.
	gather time.Duration
	// late is expireLate.
	late time.Duration
}

func newThrift(interval time.Duration) thrift {
	if interval < gatherFrom {
		return thrift{}
	}
	return thrift{
		together: time.Duration(2 * jitterShare * float64(interval)),
		gather:   min(time.Duration(gatherShare*float64(interval)), gatherLimit),
		late:     expireLate,
	}
}

// settleEars decides until when the prober does not listen, after it has sent
// probes or read packets. It listens at once where the next packet may bring the
// first opinion about a target, and where there are more packets than answers.
func (p *Prober) settleEars(now time.Time, sent bool, read int) {
	wasDeaf := p.deaf
	p.read += read
	flood := p.read > crowd*len(p.targets)
	if sent {
		p.read = 0
	}
	switch {
	case p.thrift.gather == 0 || flood || p.awaitsFirst():
		p.deafUntil = time.Time{}
	case sent && p.awaitsSoon():
		p.deafUntil = now.Add(p.thrift.gather)
	case sent:
		// All answers are far off: the first to come opens the gathering.
		p.deafUntil = time.Time{}
	case read > 0 && !wasDeaf:
		p.deafUntil = now.Add(p.thrift.gather)
	}
	p.deaf = p.deafUntil.After(now) && p.flying() > 0
}

// flying counts the probes in flight.
func (p *Prober) flying() int {
	n := 0
	for i := range p.targets {
		n += p.targets[i].flight.flying
	}
	return n
}

// awaitsFirst reports whether an answer may form the first opinion of a target.
func (p *Prober) awaitsFirst() bool {
	for i := range p.targets {
		if t := &p.targets[i]; t.flight.flying > 0 && t.opinion == Unknown {
			return true
		}
	}
	return false
}

// awaitsSoon reports whether an answer is likely to come while others are
// gathered, going by the round trips until now.
func (p *Prober) awaitsSoon() bool {
	for i := range p.targets {
		t := &p.targets[i]
		if rtt := t.window.mean(); t.flight.flying > 0 && rtt > 0 && rtt <= p.thrift.gather {
			return true
		}
	}
	return false
}
