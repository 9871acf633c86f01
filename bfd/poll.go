package bfd

import "time"

// poll is the state of the Poll Sequence (RFC 5880 section 6.5).
type poll uint8

const (
	pollIdle poll = iota
	// pollDue: the next packet carries P. Whatever changes until then is told by
	// it, and a Final that comes before is about something else.
	pollDue
	// pollRunning: P is set until a Final comes.
	pollRunning
	// pollAgain: something changed meanwhile; the Final may be about what was
	// said before, so another sequence follows.
	pollAgain
	// pollEnded: a Final came, and more may follow if P was sent more than once.
	// A sequence that began now could take them for its own: it has to wait for a
	// packet without Final, or for a round trip (section 6.8.3).
	pollEnded
	// pollSettling: pollEnded, and another sequence waits.
	pollSettling
)

// settleTime is more than a round trip.
const settleTime = time.Second

// startPoll asks the peer to confirm what is advertised from now on.
func (c *core) startPoll() {
	switch c.poll {
	case pollIdle:
		c.poll = pollDue
	case pollRunning:
		c.poll = pollAgain
	case pollEnded:
		c.poll = pollSettling
	case pollDue, pollAgain, pollSettling:
	default:
		panic("bfd: unhandled state of a poll")
	}
}

// polling reports whether packets carry P.
func (c *core) polling() bool {
	return c.poll == pollDue || c.poll == pollRunning || c.poll == pollAgain
}

// confirmed reports whether the peer has seen everything that it was asked to
// confirm.
func (c *core) confirmed() bool { return c.poll == pollIdle || c.poll == pollEnded }

// polled notes that a packet with P was sent.
func (c *core) polled() {
	if c.poll == pollDue {
		c.poll = pollRunning
	}
}

// hearPoll takes the F bit of a received packet.
func (c *core) hearPoll(final bool, now instant) {
	switch {
	case !final:
		c.settled()
	case c.poll == pollRunning:
		c.poll, c.settleAt = pollEnded, now+settleTime
		c.pacing, c.tolerance = c.minTx, c.minRx
	case c.poll == pollAgain:
		c.poll, c.settleAt = pollSettling, now+settleTime
	}
}

// settle lets go of a sequence that ended long enough ago.
func (c *core) settle(now instant) {
	if c.settleAt <= now {
		c.settled()
	}
}

// settled: no Final of an earlier sequence is to be expected any more.
func (c *core) settled() {
	switch c.poll {
	case pollEnded:
		c.poll, c.settleAt = pollIdle, never
	case pollSettling:
		c.poll, c.settleAt = pollDue, never
	case pollIdle, pollDue, pollRunning, pollAgain:
	default:
		panic("bfd: unhandled state of a poll")
	}
}
