package bfd

import (
	"net/netip"
	"time"
)

// instant is a moment, as the time since a speaker was made, by the monotonic
// clock: steps of the wall clock do not reach the timers.
type instant = time.Duration

// never is later than everything.
const never instant = 1<<63 - 1

// port says by which kind of socket a packet came. A packet never feeds a session
// of another kind, whatever its discriminator: the hop limit that was checked is
// that of the port.
type port uint8

const (
	portSingleHop port = iota + 1 // UDP 3784, RFC 5881
	portMultihop                  // UDP 4784, RFC 5883
	portEcho                      // UDP 3785, RFC 5881 section 4
)

// datagram is what a socket received.
type datagram struct {
	// payload of UDP. The buffer is reused after the call that it is given to.
	payload []byte
	// src and dst have no zone.
	src, dst netip.Addr
	// ttl is the hop limit, 0..255.
	ttl int
	// link is the index of the interface that it came by.
	link int
	port port
	// arrived is when the kernel received it.
	arrived instant
}

// sender puts packets of one session on the wire.
type sender interface {
	// send does not block and does not keep b. Errors are reported, not retried:
	// the next packet is due soon.
	send(b []byte) error
}
