package netmon

import (
	"net/netip"
	"time"
)

// retransmit is the default of RetransTimer (RFC 4861 section 10): no neighbour is
// solicited more than once in this time, whoever asks (section 7.3.3).
const retransmit = time.Second

// backoff is how long a neighbour that does not answer is left alone after each
// round of solicitations: times three, clamped to 60 s (RFC 7048 section 3).
var backoff = [...]time.Duration{time.Second, 3 * time.Second, 9 * time.Second, 27 * time.Second, 60 * time.Second}

// ageError is by how much an age of the kernel may be too low: 10 ms of rounding
// and the length of a jiffy, 10 ms where HZ is 100.
const ageError = 20 * time.Millisecond

// tracker follows one watched neighbour. It is pure: times and readings are given.
type tracker struct {
	// interval is zero for a neighbour that is only looked at.
	interval time.Duration
	n        Neighbour
	// known is false until the first observation.
	known bool
	// ready tells whether the link could carry solicitations at the last
	// observation.
	ready bool
	// attempts counts the rounds since the neighbour answered or the link came
	// back; it selects the backoff.
	attempts int
	// asked is when the kernel was last asked to solicit, failed the latest time
	// at which the last round can have ended, confirmed when the neighbour last
	// proved to be reachable.
	asked, failed, confirmed time.Time
}

// observe takes a reading of the kernel's entry. ready tells whether the link can
// carry solicitations: a round that ends while it cannot says nothing about the
// neighbour.
func (t *tracker) observe(o observation, ready bool) {
	entered := o.after
	if o.state != NUDAbsent {
		entered = o.after.Add(-o.updatedAge)
	}
	was := t.n.State
	if !t.known || o.state != was {
		// Never backwards: the ages are rounded.
		if t.n.Since.Before(entered) {
			t.n.Since = entered
		}
		t.n.State = o.state
	}
	t.n.MAC, t.n.Router = o.mac, o.router
	if ready && !t.ready {
		t.attempts = 0
	}
	switch o.state {
	case NUDReachable:
		t.n.Failures, t.attempts = 0, 0
		t.confirmed = o.after.Add(-o.confirmedAge)
	case NUDPermanent, NUDNoARP:
		// Somebody took the neighbour out of the detection.
		t.n.Failures, t.attempts = 0, 0
	case NUDFailed:
		// The kernel tells nobody that a new round begins, so that FAILED may
		// follow on FAILED. The rounds differ by when the entry last changed.
		earliest := o.before.Add(-o.updatedAge - ageError)
		if was != NUDFailed || !t.known || earliest.After(t.failed) {
			t.failed = entered
			if ready {
				t.n.Failures++
				t.attempts++
			}
		}
	case NUDAbsent, NUDIncomplete, NUDStale, NUDDelay, NUDProbe:
	}
	t.known, t.ready = true, ready
}

// due tells what is to be done about the neighbour and at what time; the zero time
// means nothing until something changes.
func (t *tracker) due() (action, time.Time) {
	if t.interval <= 0 || !t.known || !t.ready {
		// RFC 7048 section 3: what cannot be sent is not retransmitted.
		return actionNone, time.Time{}
	}
	interval := max(t.interval, retransmit)
	switch t.n.State {
	case NUDAbsent:
		return actionResolve, t.asked.Add(t.wait())
	case NUDFailed:
		return actionResolve, later(t.failed.Add(t.wait()), t.asked.Add(retransmit))
	case NUDReachable:
		return actionProbe, later(later(t.asked, t.confirmed).Add(interval), t.n.Since.Add(retransmit))
	case NUDStale, NUDDelay:
		if t.n.Failures > 0 {
			// It sent something after it had failed: a sign of life, but no
			// proof (RFC 4861 section 7.3.1).
			interval = retransmit
		}
		return actionProbe, later(t.asked.Add(interval), t.n.Since.Add(retransmit))
	case NUDIncomplete, NUDProbe, NUDNoARP, NUDPermanent:
		// The kernel is at it, or must not be disturbed.
		return actionNone, time.Time{}
	default:
		panic("netmon: no neighbour state " + t.n.State.String())
	}
}

// wait is the time until the next round after as many attempts as there were.
func (t *tracker) wait() time.Duration {
	return backoff[min(max(t.attempts-1, 0), len(backoff)-1)]
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// canSolicit tells whether the kernel can send a solicitation for target over the
// link: it must be up with carrier and speak ARP or neighbour discovery, and there
// must be an address to ask from. The kernel counts solicitations that it never
// sent, so that a link that just came up, with its IPv6 address still tentative,
// would look like a silent gateway.
func canSolicit(links map[string]Link, name string, target netip.Addr) bool {
	link, ok := links[name]
	if !ok || !link.AdminUp || !link.Carrier || link.NoARP {
		return false
	}
	for _, a := range link.Addresses {
		if target.Is4() && a.Prefix.Addr().Is4() {
			return true
		}
		// ndisc_send_ns of net/ipv6/ndisc.c asks from a link-local address.
		if target.Is6() && a.Usable && a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast() {
			return true
		}
	}
	if target.Is6() {
		return false
	}
	// An unnumbered link borrows an address of another one (inet_select_addr).
	for _, other := range links {
		for _, a := range other.Addresses {
			if a.Prefix.Addr().Is4() && a.Global && !a.Prefix.Addr().IsLoopback() {
				return true
			}
		}
	}
	return false
}
