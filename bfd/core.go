package bfd

import (
	"math/rand/v2"
	"time"
)

// core is the variables of one session (RFC 5880 section 6.8.1) and what moves
// them. It is pure: no clock, no socket.
type core struct {
	conf Config
	rng  *rand.Rand

	state, remoteState       State
	diag, remoteDiag         Diag
	localDiscr, remoteDiscr  uint32
	remoteDemand             bool
	remoteMinTx, remoteMinRx time.Duration
	remoteMult               int
	// pathDiag is a failure beyond us that the peer is told of (section 6.8.17).
	pathDiag Diag

	timers
	congestion

	// xmitSequence is XmitAuthSeq; signed is what it was last used for.
	xmitSequence uint32
	signed       Packet
	window       sequence

	// heard: a packet came within the last detection time, at lastRx.
	heard  bool
	lastRx instant
	// forgetAt is when the peer's sequence number is forgotten, never if not.
	forgetAt instant
	// lastTx is when the last packet but a Final was sent, and fraction of the
	// interval is when the next one is due.
	lastTx   instant
	fraction float64
	// urgent: the content changed, which is told at once (section 6.8.7).
	urgent bool
	// final: a Poll is to be answered.
	final bool
	// lateness of the last packet if it was a periodic one, and the worst of all;
	// paced is the interval that it is measured by, 0 while there is none, since
	// movedAt: a shorter one makes nobody late.
	lateness, worstLateness, paced time.Duration
	movedAt                        instant

	// echo is nil for asynchronous sessions.
	echo *echo
}

// start gives the variables their initial values (section 6.8.1).
func (c *core) start(conf Config, discriminator uint32, rng *rand.Rand, now instant) {
	*c = core{
		conf: conf, rng: rng, state: Down, remoteState: Down,
		localDiscr: discriminator, remoteMinRx: time.Microsecond,
		xmitSequence: rng.Uint32(), forgetAt: never,
	}
	c.congestion.factor, c.settleAt = 1, never
	if conf.Mode == Echo {
		c.echo = newEcho(conf)
	}
	c.minTx, c.minRx = c.wanted()
	c.pacing, c.tolerance = c.minTx, c.minRx
	// The first packet is due at once.
	c.fraction = 1
	c.lastTx = now - c.interval()
}

// receive takes a packet that passed the checks that come before those of the
// session (section 6.8.6), in the order of the text.
func (c *core) receive(p *Packet, pdu []byte, d *datagram, now instant) Drop {
	if drop := c.conf.Auth.verify(pdu, p); drop != DropNone {
		return drop
	}
	if c.echo != nil {
		// Before the window, which a stale copy must not move.
		if drop := c.echo.admit(p, pdu, d); drop != DropNone {
			return drop
		}
	}
	if t := c.conf.Auth.Type; t.sequenced() {
		if drop := c.window.check(t.meticulous(), p.Auth.Sequence, p.DetectMult); drop != DropNone {
			return drop
		}
	}
	c.remoteDiscr, c.remoteState, c.remoteDiag = p.MyDiscriminator, p.State, p.Diag
	c.remoteDemand = p.Demand
	c.remoteMinTx = time.Duration(p.DesiredMinTx) * time.Microsecond
	c.remoteMinRx = time.Duration(p.RequiredMinRx) * time.Microsecond
	c.remoteMult = int(p.DetectMult)
	c.hearPoll(p.Final, now)
	if c.state == AdminDown {
		// Nothing expires then, and yet numbers are forgotten with silence.
		c.forgetAt = now + 2*c.detection()
		return DropAdminDown
	}
	c.heard, c.lastRx, c.forgetAt = true, max(c.lastRx, d.arrived), never
	c.step(event(p.State), now)
	c.final = p.Poll && c.echo == nil
	return DropNone
}

// step applies an event, and what comes with a change of state.
func (c *core) step(e event, now instant) {
	cell := c.state.next(e)
	before := c.state
	c.state = cell.to
	if cell.diag != keepDiag {
		c.setDiag(cell.diag)
	}
	if c.state == before {
		return
	}
	c.urgent = true
	switch {
	case c.state == Up:
		c.congestion.quietSince = now
		if c.pathDiag != DiagNone {
			c.setDiag(c.pathDiag)
		}
	case before == Up && e == expire && c.conf.Multihop:
		c.congestion.failed(now)
	}
	c.retime()
}

// setDiag sets the diagnostic. RFC 9747 section 2 has one of its own for missing
// packets.
func (c *core) setDiag(d Diag) {
	if c.echo != nil && d == DiagTimeExpired {
		d = DiagEchoFailed
	}
	if c.diag != d {
		c.diag, c.urgent = d, true
		c.pollIfDemand()
	}
}

// advance does what is due at now, and reports whether a packet is to be sent. The
// session expires only if its deadline is not after seen, up to when every packet
// that arrived was received.
func (c *core) advance(now, seen instant) (send bool) {
	c.pace(now)
	if c.heard && c.deadline() <= seen {
		c.silent(now)
	}
	if c.forgetAt <= now {
		c.window.forget()
		c.forgetAt = never
	}
	c.settle(now)
	if c.congestion.calm(now, c.state == Up) {
		c.retime()
	}
	return c.urgent && c.maySpeak() || c.periodic() && c.nextTx() <= now
}

// pace notes since when periodic packets are sent at the interval of now.
func (c *core) pace(now instant) {
	i := c.interval()
	if !c.periodic() {
		i = 0
	}
	if i != c.paced {
		c.paced, c.movedAt = i, now
	}
}

// silent is the end of a detection time without a packet (sections 6.8.1, 6.8.4 and
// 6.8.18): whatever the peer asked for is void, and so is its discriminator.
func (c *core) silent(now instant) {
	c.forgetAt = c.deadline() + c.detection()
	c.heard = false
	c.step(expire, now)
	c.forgetPeer()
}

func (c *core) forgetPeer() {
	c.remoteDiscr, c.remoteDemand, c.remoteMinRx = 0, false, time.Microsecond
}

// due is when advance has something to do.
func (c *core) due() instant {
	at := min(c.forgetAt, c.settleAt, c.congestion.calmAt())
	if c.heard {
		at = min(at, c.deadline())
	}
	if c.urgent && c.maySpeak() {
		at = 0
	}
	if c.periodic() {
		at = min(at, c.nextTx())
	}
	return at
}

// maySpeak reports whether a packet may be sent at all but for a Final: a passive
// end waits for the peer (section 6.1), and a peer that wants none gets none.
func (c *core) maySpeak() bool {
	if c.echo != nil {
		return c.state != AdminDown
	}
	return !(c.conf.Passive && c.remoteDiscr == 0) && c.remoteMinRx != 0
}

// periodic reports whether packets are sent periodically (section 6.8.7).
func (c *core) periodic() bool {
	return c.maySpeak() && (!c.demanded() || c.polling())
}

// demanded: the peer is in Demand mode, and both ends are Up (section 6.6).
func (c *core) demanded() bool {
	return c.remoteDemand && c.state == Up && c.remoteState == Up
}

func (c *core) pollIfDemand() {
	if c.demanded() {
		c.startPoll()
	}
}

// build appends the packet that is due to b, which is empty. A Final answers a Poll
// and leaves the timer of periodic packets alone (section 6.8.7).
func (c *core) build(b []byte, final bool, now instant) []byte {
	p := c.packet()
	c.lateness = 0
	if final {
		p.Final, c.final = true, false
		// The news is told by it, unless it has to carry a Poll as well.
		c.urgent = c.urgent && c.polling()
	} else {
		p.Poll = c.polling()
		if !c.urgent {
			c.lateness = now - max(c.nextTx(), c.movedAt)
			c.worstLateness = max(c.worstLateness, c.lateness)
		}
		c.polled()
		c.urgent = false
		c.lastTx, c.fraction = now, c.drawFraction()
	}
	b = p.Append(b)
	if c.conf.Auth.Type != AuthNone {
		b = c.conf.Auth.sign(b, c.nextSequence(p))
	}
	if c.echo != nil {
		b = c.echo.mark(b, echoMain, now)
	}
	return b
}

// packet returns what the session has to say, Poll and Final aside.
func (c *core) packet() Packet {
	p := Packet{
		Diag: c.diag, State: c.state, DetectMult: uint8(c.conf.Multiplier), //nolint:gosec // Validate: 1..255
		MyDiscriminator: c.localDiscr, YourDiscriminator: c.remoteDiscr,
		DesiredMinTx: microseconds(c.minTx), RequiredMinRx: microseconds(c.minRx),
	}
	if c.echo != nil {
		p.DesiredMinTx, p.RequiredMinRx = echoInterval, echoInterval
	}
	return p
}

// nextSequence returns the sequence number for p: a new one for every packet if
// authentication is meticulous, otherwise when the content changed (sections 6.7.3
// and 6.7.4).
func (c *core) nextSequence(p Packet) uint32 {
	p.Poll, p.Final = false, false
	if c.conf.Auth.Type.meticulous() || p != c.signed {
		c.xmitSequence++
		c.signed = p
	}
	return c.xmitSequence
}

// setAdmin disables or enables the session (section 6.8.16).
func (c *core) setAdmin(down bool, now instant) {
	switch {
	case down == (c.state == AdminDown):
	case !down:
		if !c.heard {
			// What the peer said meanwhile does not expire.
			c.forgetPeer()
		}
		c.step(enable, now)
	case c.echo != nil:
		c.step(disable, now)
		// RFC 9747 section 2: there is nobody to tell.
		c.urgent = false
	default:
		c.step(disable, now)
		// The peer confirms that it knows.
		c.startPoll()
	}
}

// signalPath tells the peer of a path beyond us (section 6.8.17).
func (c *core) signalPath(d Diag) {
	c.pathDiag = d
	if c.state == Up {
		c.setDiag(d)
	}
}

// update takes a new configuration with the same identity.
func (c *core) update(conf Config) {
	if conf.Auth.Type != c.conf.Auth.Type {
		c.window.forget()
	}
	if conf.Multiplier != c.conf.Multiplier {
		c.urgent = true
		c.pollIfDemand()
	}
	c.conf = conf
	if c.echo != nil {
		c.echo.source = conf.EchoSource
	}
	c.retime()
}
