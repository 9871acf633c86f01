package bgptest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Types of messages (RFC 4271 section 4.1, RFC 2918).
const (
	TypeOpen         = 1
	TypeUpdate       = 2
	TypeNotification = 3
	TypeKeepalive    = 4
	TypeRouteRefresh = 5
)

const (
	// headerLen and maxLen are octets (RFC 4271 section 4.1).
	headerLen = 19
	maxLen    = 4096
	// asTrans stands for what does not fit into two octets (RFC 6793).
	asTrans = 23456
)

// Family is an address family as on the wire: AFI, 16 bits, and SAFI. Any other
// number may be used in what is sent.
type Family uint32

// Families of unicast routes.
const (
	IPv4 Family = 1<<16 | 1
	IPv6 Family = 2<<16 | 1
)

// FamilyOf returns the family of the routes to p.
func FamilyOf(p netip.Prefix) Family {
	if p.Addr().Is4() {
		return IPv4
	}
	return IPv6
}

// AFI and SAFI are the two numbers of f.
func (f Family) AFI() uint16 { return uint16(f >> 16) }

// SAFI is the second number of f.
func (f Family) SAFI() uint8 { return uint8(f) }

// String returns "ipv4", "ipv6" or the numbers.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	default:
		return fmt.Sprintf("afi %d safi %d", f.AFI(), f.SAFI())
	}
}

// Message puts a header in front of body, whatever that is. A body that is too
// long for the protocol gets the length that it has, modulo 65536.
func Message(kind uint8, body []byte) []byte {
	b := make([]byte, 0, headerLen+len(body))
	b = append(b, bytes.Repeat([]byte{0xff}, 16)...)
	b = binary.BigEndian.AppendUint16(b, uint16(headerLen+len(body)))
	return append(append(b, kind), body...)
}

// Keepalive is a KEEPALIVE message.
func Keepalive() []byte { return Message(TypeKeepalive, nil) }

// RouteRefresh asks for all routes of f (RFC 2918).
func RouteRefresh(f Family) []byte {
	return Message(TypeRouteRefresh, []byte{byte(f.AFI() >> 8), byte(f.AFI()), 0, f.SAFI()})
}

// Notification is the body of a NOTIFICATION message (RFC 4271 section 4.5).
type Notification struct {
	Code, Subcode uint8
	Data          []byte
}

// Message encodes n.
func (n Notification) Message() []byte {
	return Message(TypeNotification, append([]byte{n.Code, n.Subcode}, n.Data...))
}

// Reason returns the words of an administrative shutdown or reset (RFC 9003), or
// nothing.
func (n Notification) Reason() string {
	if n.Code != 6 || (n.Subcode != 2 && n.Subcode != 4) || len(n.Data) == 0 || int(n.Data[0]) > len(n.Data)-1 {
		return ""
	}
	return string(n.Data[1 : 1+n.Data[0]])
}

func (n Notification) String() string {
	return fmt.Sprintf("NOTIFICATION %d/%d %x", n.Code, n.Subcode, n.Data)
}

// readMessage reads one message into buf and returns its type and body, which is
// part of buf.
func readMessage(r io.Reader, buf []byte) (kind uint8, body []byte, err error) {
	if _, err := io.ReadFull(r, buf[:headerLen]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint16(buf[16:]))
	if n < headerLen || n > len(buf) {
		return 0, nil, fmt.Errorf("read message: length %d", n)
	}
	for _, o := range buf[:16] {
		if o != 0xff {
			return 0, nil, errors.New("read message: the marker is not all ones")
		}
	}
	if _, err := io.ReadFull(r, buf[headerLen:n]); err != nil {
		return 0, nil, err
	}
	return buf[18], buf[headerLen:n], nil
}

// appendPrefix appends p as in NLRI: length in bits, then as many octets as needed.
func appendPrefix(b []byte, p netip.Prefix) []byte {
	b = append(b, byte(p.Bits()))
	if p.Addr().Is4() {
		a := p.Addr().As4()
		return append(b, a[:(p.Bits()+7)/8]...)
	}
	a := p.Addr().As16()
	return append(b, a[:(p.Bits()+7)/8]...)
}

// prefixes reads NLRI to its end.
func prefixes(b []byte, f Family) ([]netip.Prefix, error) {
	var found []netip.Prefix
	limit := 32
	if f.AFI() == IPv6.AFI() {
		limit = 128
	}
	for len(b) > 0 {
		bits := int(b[0])
		n := (bits + 7) / 8
		if bits > limit || len(b) < 1+n {
			return nil, fmt.Errorf("read prefix: %d bits in %d octets", bits, len(b)-1)
		}
		var a netip.Addr
		if limit == 32 {
			var o [4]byte
			copy(o[:], b[1:1+n])
			a = netip.AddrFrom4(o)
		} else {
			var o [16]byte
			copy(o[:], b[1:1+n])
			a = netip.AddrFrom16(o)
		}
		found = append(found, netip.PrefixFrom(a, bits))
		b = b[1+n:]
	}
	return found, nil
}
