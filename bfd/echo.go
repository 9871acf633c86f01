package bfd

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"time"
)

// echoInterval is what echo packets advertise for both intervals, microseconds, and
// what nobody heeds (RFC 9747 section 2).
const echoInterval uint32 = 1_000_000

const (
	// echoPort is the UDP port that echo packets go to (RFC 5881 section 4; the
	// other number in its section 8 is a slip).
	echoPort = 3785
	// hopLimitSent is that of what is sent, and one less is left of it when the
	// neighbour has forwarded it (RFC 9747 section 2).
	hopLimitSent = 255
)

// Behind the control packet goes a trailer, which no validation looks at (RFC 5880
// section 6.8.6 asks for a Length within the datagram, no more) and which the
// neighbour forwards with the rest:
//
//	 0  sequence number of the session, 64 bits
//	 8  when the packet was sent, ns since the speaker was made, 64 bits
//	16  kind, and three octets of 0
//	20  tag, 64 bits
//
// The tag makes the loop ours alone: who does not see our packets cannot make one,
// whether or not authentication is configured (RFC 9747 section 5). The number shows
// copies and latecomers, and the time gives the round trip.
const (
	trailerSent   = 8
	trailerKind   = 16
	trailerTag    = 20
	trailerLength = 28
)

// echoKind tells the packets of an echo session apart.
type echoKind uint8

const (
	// echoMain is what the session lives by.
	echoMain echoKind = iota + 1
	// echoTest is from our own address of the link: it shows whether a neighbour
	// that returns nothing objects to the source of the others.
	echoTest
)

// echo is what an echo session has beside the variables of every session.
type echo struct {
	peer, source, local netip.Addr
	device              string
	key                 [32]byte
	// sent is the last sequence number of each kind, newest that of the newest
	// packet that came back.
	sent, newest [echoTest + 1]uint64
	// sentAt is when the last packets of the main kind were sent, by number.
	sentAt [sentTimes]instant
	rtt    time.Duration

	echoTrial
}

// sentTimes is how many moments are kept: as many packets may be under way, and more
// than may be missed in a row.
const sentTimes = 1024

// newEcho returns the part of a session that begins. Its key is that of no other
// session: copies of packets of an earlier one are foreign to it.
func newEcho(conf Config) *echo {
	e := &echo{peer: conf.Peer, source: conf.EchoSource, local: conf.Local, device: conf.Interface}
	rand.Read(e.key[:]) // never fails, or the program ends (crypto/rand)
	return e
}

// mark appends the trailer of a packet that is sent at now. It does not allocate if b
// has the capacity.
func (e *echo) mark(b []byte, kind echoKind, now instant) []byte {
	e.sent[kind]++
	if kind == echoMain {
		e.sentAt[e.sent[kind]%sentTimes] = now
	}
	b = binary.BigEndian.AppendUint64(b, e.sent[kind])
	b = binary.BigEndian.AppendUint64(b, uint64(now)) //nolint:gosec // and back
	b = append(b, byte(kind), 0, 0, 0)
	return binary.BigEndian.AppendUint64(b, e.tag(b))
}

// tag returns the tag of b, which is all that precedes it: the first 64 bits of
// SHA-256 over key and packet. As most of the digest is kept back, a tag cannot be
// extended to that of a longer packet, which is what HMAC is for otherwise.
func (e *echo) tag(b []byte) uint64 {
	var buffer [len(e.key) + maxLength + trailerLength]byte
	n := copy(buffer[:], e.key[:])
	n += copy(buffer[n:], b)
	sum := sha256.Sum256(buffer[:n])
	return binary.BigEndian.Uint64(sum[:])
}

// ours returns the trailer of a packet of this session, nil if it is none: pdu is the
// control packet that payload begins with.
func (e *echo) ours(pdu, payload []byte) []byte {
	if len(payload) != len(pdu)+trailerLength {
		return nil
	}
	end := len(pdu) + trailerTag
	var tag [8]byte
	binary.BigEndian.PutUint64(tag[:], e.tag(payload[:end]))
	if subtle.ConstantTimeCompare(tag[:], payload[end:]) != 1 {
		return nil
	}
	return payload[len(pdu):]
}

// admit judges a packet that has our discriminator. Taken is only what this session
// has sent, from the address that it uses, and newer than all that came back before: a
// copy proves nothing, and a latecomer is from another state, which would take a
// session down that has come up since.
func (e *echo) admit(p *Packet, pdu []byte, d *datagram) Drop {
	trailer := e.ours(pdu, d.payload)
	if trailer == nil || d.dst != e.local {
		return DropEchoForeign
	}
	kind, source := echoKind(trailer[trailerKind]), e.source
	if kind == echoTest {
		source = e.local
	}
	if d.src != source {
		e.rewritten = d.src
		return DropEchoForeign
	}
	// That state is never sent (RFC 9747 section 2).
	if p.State == AdminDown {
		return DropEchoForeign
	}
	number := binary.BigEndian.Uint64(trailer)
	if number <= e.newest[kind] {
		return DropEchoOld
	}
	e.newest[kind] = number
	if kind == echoTest {
		e.testReturned()
		return DropEchoTest
	}
	sent := instant(binary.BigEndian.Uint64(trailer[trailerSent:])) //nolint:gosec // written by mark
	e.rtt = max(0, d.arrived-sent)
	e.returned()
	return DropNone
}

// missed returns when as many packets as are tolerated could have come back, after the
// newest one that did, never if fewer were sent. Unless we are late this is before
// the detection time ends. If we are, because this process did not run, packets are
// missing that never were under way, and the path is not to blame. Nor is it when a
// faster rate begins and the way there and back takes longer than the new detection
// time.
func (e *echo) missed(tolerated int) instant {
	last := e.newest[echoMain] + uint64(tolerated) //nolint:gosec // Validate: 1..255
	switch sent := e.sent[echoMain]; {
	case sent < last:
		return never
	case sent-last >= sentTimes:
		return 0 // long ago
	default:
		return e.sentAt[last%sentTimes] + e.rtt
	}
}

// buildTest appends the packet of the self-test to b, which is empty. It says what the
// others say, except that no sequence number of authentication is used up by it.
func (c *core) buildTest(b []byte, now instant) []byte {
	b = c.packet().Append(b)
	if c.conf.Auth.Type != AuthNone {
		b = c.conf.Auth.sign(b, c.xmitSequence)
	}
	return c.echo.mark(b, echoTest, now)
}

// describe adds what only echo sessions tell. There is nobody beyond the loop: what
// has to be kept is what is sent.
func (e *echo) describe(st *Status) {
	st.RTT = e.rtt
	if st.RxInterval != 0 {
		st.RxInterval = st.TxInterval
	}
	if st.Problem == "" {
		st.Problem = e.diagnose(st.State)
	}
}
