package netmon

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Numbers of include/uapi/linux/rtnetlink.h and if_link.h that x/sys/unix lacks.
const (
	rtaNHID              = 30
	rtextFilterSkipStats = 1 << 3
)

// errMalformed means that a message of the kernel does not hold together.
var errMalformed = errors.New("malformed netlink message")

var native = binary.NativeEndian

// message is one netlink message (struct nlmsghdr and what follows it).
type message struct {
	kind  uint16
	flags uint16
	seq   uint32
	body  []byte
}

// nextMessage splits the first message off b. It allocates nothing.
func nextMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return message{}, nil, false
	}
	length := int(native.Uint32(b))
	if length < unix.SizeofNlMsghdr || length > len(b) {
		return message{}, nil, false
	}
	m = message{
		kind:  native.Uint16(b[4:]),
		flags: native.Uint16(b[6:]),
		seq:   native.Uint32(b[8:]),
		body:  b[unix.SizeofNlMsghdr:length],
	}
	return m, b[min(align(length), len(b)):], true
}

// attributes walks a list of struct rtattr without allocating.
type attributes struct {
	rest []byte
	err  error
}

// skip starts a walk behind a fixed header of n bytes.
func skip(body []byte, n int) attributes {
	if len(body) < n {
		return attributes{err: errMalformed}
	}
	return attributes{rest: body[n:]}
}

// next returns the next attribute; false at the end, and then a.err tells whether
// the list was sound.
func (a *attributes) next() (kind uint16, value []byte, ok bool) {
	if a.err != nil || len(a.rest) < unix.SizeofRtAttr {
		return 0, nil, false
	}
	length := int(native.Uint16(a.rest))
	if length < unix.SizeofRtAttr || length > len(a.rest) {
		a.err = errMalformed
		return 0, nil, false
	}
	// The two top bits of the kind are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
	kind = native.Uint16(a.rest[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	value = a.rest[unix.SizeofRtAttr:length]
	a.rest = a.rest[min(align(length), len(a.rest)):]
	return kind, value, true
}

// align rounds up to NLMSG_ALIGNTO, which is RTA_ALIGNTO too.
func align(n int) int { return (n + 3) &^ 3 }

// appendAttribute adds an attribute to a request.
func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = native.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = native.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func appendUint32(b []byte, kind uint16, v uint32) []byte {
	return appendAttribute(b, kind, native.AppendUint32(nil, v))
}

// uint32Of reads a number attribute.
func uint32Of(v []byte) (uint32, bool) {
	if len(v) < 4 {
		return 0, false
	}
	return native.Uint32(v), true
}

// addressOf reads an address attribute; its length is its family.
func addressOf(v []byte) (netip.Addr, bool) { return netip.AddrFromSlice(v) }

// textOf reads a string attribute, which the kernel ends with a zero.
func textOf(v []byte) string {
	for i, c := range v {
		if c == 0 {
			return string(v[:i])
		}
	}
	return string(v)
}

// familyOf is the address family of a.
func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
