package bfd

import (
	"math"
	"time"
)

// timers are the intervals of a session (RFC 5880 sections 6.8.1 to 6.8.3). What is
// advertised comes into use when the peer has confirmed it, where using it earlier
// could make either end expire.
type timers struct {
	// minTx and minRx are DesiredMinTxInterval and RequiredMinRxInterval as
	// advertised.
	minTx, minRx time.Duration
	// pacing and tolerance are the same in use: for sending, and for the
	// detection time.
	pacing, tolerance time.Duration

	poll poll
	// settleAt is when the next Poll Sequence may begin at the latest, never if
	// it may at once.
	settleAt instant
}

// wanted returns what is to be advertised: nothing faster than one second while the
// session is not Up (section 6.8.3).
func (c *core) wanted() (tx, rx time.Duration) {
	tx = c.congestion.stretch(c.conf.DesiredMinTx)
	if c.state != Up {
		tx = max(tx, SlowInterval)
	}
	return tx, c.congestion.stretch(c.conf.RequiredMinRx)
}

// retime advertises what is wanted. While Up, a slower sender and a more demanding
// receiver wait for the end of the Poll Sequence; the rest is used at once (section
// 6.8.3).
func (c *core) retime() {
	tx, rx := c.wanted()
	if c.state != Up || tx < c.pacing || c.echo != nil {
		c.pacing = tx
	}
	if c.state != Up || rx > c.tolerance {
		c.tolerance = rx
	}
	if tx == c.minTx && rx == c.minRx {
		return
	}
	c.minTx, c.minRx = tx, rx
	if c.echo == nil {
		c.startPoll()
	}
}

// interval is the time between periodic packets before jitter (section 6.8.7).
func (c *core) interval() time.Duration {
	if c.echo != nil {
		return c.pacing
	}
	return max(c.pacing, c.remoteMinRx)
}

// nextTx is when the next periodic packet is due. It follows every change of the
// interval, also backwards: what is overdue is sent at once (section 6.8.3).
func (c *core) nextTx() instant {
	return c.lastTx + time.Duration(float64(c.interval())*c.fraction)
}

// drawFraction draws the jitter of one interval: 75 to 100 %, or to 90 % if a single
// late packet would be one missed (section 6.8.7).
func (c *core) drawFraction() float64 {
	r := c.rng.Float64()
	if c.conf.Multiplier == 1 {
		return 0.90 - 0.15*r
	}
	return 1 - 0.25*r
}

// detection is the detection time (section 6.8.4), valid once a packet was heard. In
// an echo session it is provisioned (RFC 9747 section 2).
func (c *core) detection() time.Duration {
	if c.echo != nil {
		return time.Duration(c.conf.Multiplier) * c.interval()
	}
	return time.Duration(c.remoteMult) * max(c.tolerance, c.remoteMinTx)
}

// deadline is when the session expires. Nothing is sent to ourselves in AdminDown.
func (c *core) deadline() instant {
	at := c.lastRx + c.detection()
	if c.echo != nil && c.state != AdminDown {
		at = max(at, c.echo.missed(c.conf.Multiplier))
	}
	return at
}

// peerDetection is how long the peer tolerates our silence.
func (c *core) peerDetection() time.Duration {
	return time.Duration(c.conf.Multiplier) * c.interval()
}

// microseconds returns d as on the wire: 32 bits (section 4.1).
func microseconds(d time.Duration) uint32 {
	us := d / time.Microsecond
	if us > math.MaxUint32 {
		return math.MaxUint32
	}
	return uint32(us) //nolint:gosec // checked
}
