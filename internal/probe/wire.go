package probe

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// ICMP types (RFC 792, RFC 4443, RFC 4861 section 4.5).
const (
	v4EchoReply   = 0
	v4Unreachable = 3
	v4Redirect    = 5
	v4EchoRequest = 8
	v6Unreachable = 1
	v6EchoRequest = 128
	v6EchoReply   = 129
	v6Redirect    = 137
)

const (
	protocolICMPv4 = 1
	protocolICMPv6 = 58

	v4HeaderMin  = 20
	v6HeaderSize = 40
	icmpHeader   = 8
	cookieSize   = 8
	// packetSize is the echo header, the cookie and the 64-bit sequence number.
	packetSize = icmpHeader + cookieSize + 8
)

// identity tells our packets from those of everybody else on this host. It is
// drawn anew for every socket, so that answers to an older socket are foreign.
type identity struct {
	id     uint16
	cookie [cookieSize]byte
}

// appendEcho appends an echo request. The ICMPv6 checksum covers the addresses
// and is left to the kernel (RFC 3542 section 3.1).
func appendEcho(b []byte, v6 bool, id identity, sequence uint64) []byte {
	start := len(b)
	kind := byte(v4EchoRequest)
	if v6 {
		kind = v6EchoRequest
	}
	b = append(b, kind, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, id.id)
	b = binary.BigEndian.AppendUint16(b, uint16(sequence))
	b = append(b, id.cookie[:]...)
	b = binary.BigEndian.AppendUint64(b, sequence)
	if !v6 {
		binary.BigEndian.PutUint16(b[start+2:], checksum(b[start:]))
	}
	return b
}

// checksum is the Internet checksum (RFC 1071). Over a message that contains
// its own checksum it is 0.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// stripIPv4 removes the IPv4 header that a raw socket leaves in front of the
// ICMP message.
func stripIPv4(b []byte) ([]byte, bool) {
	if len(b) < v4HeaderMin || b[0]>>4 != 4 || b[9] != protocolICMPv4 {
		return nil, false
	}
	size := int(b[0]&0xf) * 4
	if size < v4HeaderMin || size > len(b) {
		return nil, false
	}
	return b[size:], true
}

// messageKind is what an ICMP message is to us.
type messageKind uint8

const (
	messageUnknown messageKind = iota
	messageReply
	messageUnreachable
	messageRedirect
)

// message is a parsed ICMP message.
type message struct {
	kind messageKind
	code byte
	// ours says that it answers or quotes one of our probes.
	ours bool
	// sequence is the probe's, its low 16 bits only if short.
	sequence uint64
	short    bool
	// destination is where the quoted or redirected packet was going, router
	// the better first hop of a redirect.
	destination netip.Addr
	router      netip.Addr
}

// parse reads an ICMP message without its IP header. The reason is Believed if
// the message is an answer to one of our probes or an error about any packet;
// errors that are about one of our probes have ours set.
func parse(b []byte, v6 bool, id identity) (message, Ignored) {
	if len(b) < icmpHeader {
		return message{}, IgnoredMalformed
	}
	if v6 {
		switch b[0] {
		case v6EchoReply:
			return parseReply(b, id)
		case v6Unreachable:
			return parseUnreachable(b, v6, id)
		case v6Redirect:
			return parseRedirect6(b)
		}
		return message{}, IgnoredType
	}
	if checksum(b) != 0 {
		return message{}, IgnoredChecksum
	}
	switch b[0] {
	case v4EchoReply:
		return parseReply(b, id)
	case v4Unreachable:
		return parseUnreachable(b, v6, id)
	case v4Redirect:
		return parseRedirect4(b, id)
	}
	return message{}, IgnoredType
}

func parseReply(b []byte, id identity) (message, Ignored) {
	if b[1] != 0 {
		return message{}, IgnoredMalformed
	}
	if binary.BigEndian.Uint16(b[4:]) != id.id {
		return message{}, IgnoredIdentifier
	}
	if len(b) < packetSize || !bytes.Equal(b[icmpHeader:icmpHeader+cookieSize], id.cookie[:]) {
		return message{}, IgnoredCookie
	}
	sequence := binary.BigEndian.Uint64(b[icmpHeader+cookieSize:])
	if sequence&0xffff != uint64(binary.BigEndian.Uint16(b[6:])) {
		return message{}, IgnoredMalformed
	}
	return message{kind: messageReply, ours: true, sequence: sequence}, Believed
}

func parseUnreachable(b []byte, v6 bool, id identity) (message, Ignored) {
	if unreachableWords(v6, b[1]) == "" {
		return message{}, IgnoredType
	}
	m, ok := parseQuote(b[icmpHeader:], v6, id)
	if !ok {
		return message{}, IgnoredMalformed
	}
	m.kind, m.code = messageUnreachable, b[1]
	return m, Believed
}

// parseRedirect4 reads a redirect (RFC 792): the router is in the header.
func parseRedirect4(b []byte, id identity) (message, Ignored) {
	m, ok := parseQuote(b[icmpHeader:], false, id)
	if !ok {
		return message{}, IgnoredMalformed
	}
	m.kind, m.code = messageRedirect, b[1]
	m.router = netip.AddrFrom4([4]byte(b[4:8]))
	return m, Believed
}

// parseRedirect6 reads a redirect (RFC 4861 section 4.5): target, which is the
// better first hop, and destination follow the header.
func parseRedirect6(b []byte) (message, Ignored) {
	if len(b) < icmpHeader+32 || b[1] != 0 {
		return message{}, IgnoredMalformed
	}
	return message{
		kind:        messageRedirect,
		router:      netip.AddrFrom16([16]byte(b[8:24])),
		destination: netip.AddrFrom16([16]byte(b[24:40])),
	}, Believed
}

// parseQuote reads the packet that an error quotes, of which 8 bytes behind the
// IP header are certain (RFC 792). The quoted source is not compared, because an
// address translator on the way may not have put it back.
func parseQuote(b []byte, v6 bool, id identity) (message, bool) {
	var m message
	var inner []byte
	ours := false
	if v6 {
		if len(b) < v6HeaderSize || b[0]>>4 != 6 {
			return m, false
		}
		m.destination = netip.AddrFrom16([16]byte(b[24:40]))
		inner, ours = b[v6HeaderSize:], b[6] == protocolICMPv6
	} else {
		size := 0
		if len(b) >= v4HeaderMin {
			size = int(b[0]&0xf) * 4
		}
		if size < v4HeaderMin || size > len(b) || b[0]>>4 != 4 {
			return m, false
		}
		m.destination = netip.AddrFrom4([4]byte(b[16:20]))
		first := binary.BigEndian.Uint16(b[6:])&0x1fff == 0 // fragment offset
		inner, ours = b[size:], b[9] == protocolICMPv4 && first
	}
	request := byte(v4EchoRequest)
	if v6 {
		request = v6EchoRequest
	}
	if !ours || len(inner) < icmpHeader || inner[0] != request || inner[1] != 0 ||
		binary.BigEndian.Uint16(inner[4:]) != id.id {
		return m, true
	}
	cookie := inner[icmpHeader:min(len(inner), icmpHeader+cookieSize)]
	if !bytes.HasPrefix(id.cookie[:], cookie) {
		return m, true
	}
	m.ours, m.short = true, len(inner) < packetSize
	if m.short {
		m.sequence = uint64(binary.BigEndian.Uint16(inner[6:]))
	} else {
		m.sequence = binary.BigEndian.Uint64(inner[icmpHeader+cookieSize:])
	}
	return m, true
}

// unreachableWords names a code of a destination unreachable message, or is ""
// for codes that say nothing about the way: protocol, port (the host is there)
// and fragmentation needed (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section
// 5.2.7.1, RFC 4443 section 3.1).
func unreachableWords(v6 bool, code byte) string {
	if v6 {
		switch code {
		case 0:
			return "no route to destination"
		case 1:
			return "administratively prohibited"
		case 2:
			return "beyond scope of source address"
		case 3:
			return "address unreachable"
		case 5:
			return "source address failed policy"
		case 6:
			return "reject route to destination"
		}
		return ""
	}
	switch code {
	case 0, 6, 8, 11:
		return "network unreachable"
	case 1, 7, 12:
		return "host unreachable"
	case 5:
		return "source route failed"
	case 9, 10, 13, 14, 15:
		return "administratively prohibited"
	}
	return ""
}
