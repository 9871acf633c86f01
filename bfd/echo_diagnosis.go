package bfd

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// echoSender is a sender of an echo session: it can also test why nothing comes back.
type echoSender interface {
	sender
	// sendTest is send with our own address of the link as source.
	sendTest(b []byte) error
	// failure returns what the network said of earlier packets, nil if nothing.
	// It does not block; each word is returned once.
	failure() error
}

const (
	// testEvery is the least time between packets of the self-test. They go with
	// periodic packets, whose jitter has the same limit (RFC 5880 section 6.8.7).
	testEvery = SlowInterval * 3 / 4
	// diagnoseAfter is how long packets have to be missing before it is said why:
	// a few packets at the slow rate.
	diagnoseAfter = 3 * time.Second
)

// echoTrial counts what happened since a packet came back last. The reason why nothing
// comes back is told from it.
type echoTrial struct {
	// missing packets were sent between missingSince and missingUntil.
	missing                    int
	missingSince, missingUntil instant
	// testsSent and testsBack count packets of the self-test; the last one was
	// sent at testedAt.
	testsSent, testsBack int
	testedAt             instant
	// far is the hop limit of a packet of ours that came back with a wrong one, 0
	// if none did.
	far int
	// rewritten is the source that a packet of ours came back with instead of its
	// own.
	rewritten netip.Addr
	// said is what the network said of a packet, and how many were missing then.
	said      error
	saidAfter int
}

// returned begins anew: a packet came back.
func (t *echoTrial) returned() { *t = echoTrial{testedAt: t.testedAt} }

func (t *echoTrial) testReturned() { t.testsBack++ }

// dispatched counts a packet that was sent.
func (t *echoTrial) dispatched(now instant) {
	if t.missing == 0 {
		t.missingSince = now
	}
	t.missing++
	t.missingUntil = now
}

// testDue reports whether a look at the reasons is due at now: when the one before the
// last packet is missing still. A session that works never gets there.
func (t *echoTrial) testDue(state State, now instant) bool {
	return state != Up && t.missing >= 2 && (t.testsSent == 0 || now-t.testedAt >= testEvery)
}

// hear takes what the network said of earlier packets. It is forgotten when nothing
// was said of the two that followed: a resolution of an address takes three seconds,
// so it is not said of every packet.
func (t *echoTrial) hear(err error) {
	switch {
	case err != nil:
		t.said, t.saidAfter = err, t.missing
	case t.missing-t.saidAfter > saidLasts:
		t.said = nil
	}
}

// saidLasts is for how many packets a word of the network counts.
const saidLasts = 6

// selfTest goes with a packet of an echo session that was sent at now.
func (t *table) selfTest(s *session, now instant) {
	e := s.core.echo
	e.dispatched(now)
	snd, ok := s.sender.(echoSender)
	if !ok || !e.testDue(s.core.state, now) {
		return
	}
	e.hear(snd.failure())
	e.testsSent++
	e.testedAt = now
	if e.source == e.local {
		return
	}
	if err := snd.sendTest(s.core.buildTest(t.buffer[:0], now)); err == nil {
		s.sent++
		t.sent++
	}
}

// farEcho notes a packet on the echo port that has a wrong hop limit, and returns the
// session that it is of. It counts only if we have sent it.
func (t *table) farEcho(d *datagram) *session {
	var p Packet
	pdu, drop := p.decode(d.payload)
	if drop != DropNone {
		return nil
	}
	s, drop := t.findEcho(&p, d)
	if drop != DropNone || s.core.echo.ours(pdu, d.payload) == nil {
		return nil
	}
	s.core.echo.far = d.ttl
	return s
}

// diagnose says in words why the session is not Up, "" if nothing is wrong.
func (e *echo) diagnose(state State) string {
	switch {
	case state == Up || state == AdminDown:
		return ""
	case errors.Is(e.said, unix.EHOSTUNREACH):
		return fmt.Sprintf("the neighbour %s does not answer on %s (%s): it is down, or not on this link",
			e.peer, e.device, resolution(e.peer))
	case e.said != nil:
		return fmt.Sprintf("the neighbour %s gets no echoes: %v", e.peer, e.said)
	case e.missingUntil-e.missingSince < diagnoseAfter:
		return "waiting for the first echo"
	case e.far == hopLimitSent:
		return fmt.Sprintf("our echoes came back with hop limit %d: something on the link reflects them before the neighbour %s has forwarded them",
			e.far, e.peer)
	case e.far != 0:
		return fmt.Sprintf("our echoes came back over more than one hop, with hop limit %d instead of %d: the neighbour %s does not send them back itself; it needs a route to %s over this link",
			e.far, hopLimitSent-1, e.peer, e.local)
	case e.rewritten.IsValid():
		return fmt.Sprintf("our echoes came back from %s instead of %s: a NAT rule, most likely of this host, rewrites their source; exempt UDP port %d on %s from it",
			e.rewritten, e.source, echoPort, e.device)
	case e.testsBack > 0:
		return fmt.Sprintf("the neighbour %s forwards our echoes from %s but drops those from %s: its reverse-path filter (%s) refuses that source on this link; let it use loose mode, or set the echo source to %s if its redirects do no harm",
			e.peer, e.local, e.source, reversePath(e.peer), e.local)
	default:
		return fmt.Sprintf("no echo came back: the neighbour %s does not forward (%s), filters UDP port %d, or drops our source %s",
			e.peer, forwarding(e.peer), echoPort, e.source)
	}
}

// resolution, reversePath and forwarding are what the same thing is called in either
// family.

func resolution(a netip.Addr) string {
	if a.Is4() {
		return "ARP"
	}
	return "neighbour discovery"
}

func reversePath(a netip.Addr) string {
	if a.Is4() {
		return "strict uRPF, rp_filter=1"
	}
	return "strict uRPF, a rule with fib or rpfilter"
}

func forwarding(a netip.Addr) string {
	if a.Is4() {
		return "ip_forward=0"
	}
	return "forwarding=0"
}
