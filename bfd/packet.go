package bfd

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

const (
	// headerLength is the mandatory part of a control packet, octets (RFC 5880
	// section 4.1).
	headerLength = 24
	// sectionMin is the least of an authentication section, octets: its type and
	// its length.
	sectionMin = 2
	// maxLength is what the Length field can say, octets.
	maxLength = 255

	protocolVersion = 1
)

// The flags share an octet with the state.
const (
	flagPoll = 1 << (5 - iota)
	flagFinal
	flagControlPlaneIndependent
	flagAuth
	flagDemand
	flagMultipoint
)

// Packet is a control packet (RFC 5880 section 4.1). Intervals are microseconds, as
// on the wire.
type Packet struct {
	Diag                                           Diag
	State                                          State
	Poll, Final, ControlPlaneIndependent, Demand   bool
	DetectMult                                     uint8
	MyDiscriminator, YourDiscriminator             uint32
	DesiredMinTx, RequiredMinRx, RequiredMinEchoRx uint32
	// Auth is the authentication section, the zero value if there is none.
	Auth AuthSection
}

// AuthSection is an authentication section as received; it is not verified.
type AuthSection struct {
	// Type is 0 where there is no section.
	Type AuthType
	// Length of the section by its own account, octets.
	Length uint8
	KeyID  uint8
	// Sequence is 0 for simple passwords.
	Sequence uint32
}

// decode fills p from the payload of a datagram, checks what the octets alone can
// tell, in the order of RFC 5880 section 6.8.6, and returns the packet without what
// follows it in the datagram: padding is nobody's business (RFC 9764 section 3). A
// packet that is dropped leaves p alone. Authentication is not judged here, see
// [Auth.verify].
func (p *Packet) decode(b []byte) (pdu []byte, drop Drop) {
	if drop := judgeHeader(b); drop != DropNone {
		return nil, drop
	}
	n := int(b[3])
	pdu = b[:n:n]
	*p = Packet{
		Diag:                    Diag(b[0] & 0x1f),
		State:                   State(b[1] >> 6),
		Poll:                    b[1]&flagPoll != 0,
		Final:                   b[1]&flagFinal != 0,
		ControlPlaneIndependent: b[1]&flagControlPlaneIndependent != 0,
		Demand:                  b[1]&flagDemand != 0,
		DetectMult:              b[2],
		MyDiscriminator:         binary.BigEndian.Uint32(b[4:]),
		YourDiscriminator:       binary.BigEndian.Uint32(b[8:]),
		DesiredMinTx:            binary.BigEndian.Uint32(b[12:]),
		RequiredMinRx:           binary.BigEndian.Uint32(b[16:]),
		RequiredMinEchoRx:       binary.BigEndian.Uint32(b[20:]),
	}
	if authenticated(b) {
		p.Auth.decode(pdu[headerLength:])
	}
	return pdu, DropNone
}

// judgeHeader holds a datagram against the rules that need nothing but its octets. A
// datagram without a whole header is short whatever its version, because a version
// says nothing about octets that are not there.
func judgeHeader(b []byte) Drop {
	switch {
	case len(b) < headerLength:
		return DropShort
	case b[0]>>5 != protocolVersion:
		return DropVersion
	case int(b[3]) < leastLength(b) || int(b[3]) > len(b):
		return DropLength
	case b[2] == 0:
		return DropMultiplier
	case b[1]&flagMultipoint != 0:
		return DropMultipoint
	case binary.BigEndian.Uint32(b[4:]) == 0:
		return DropMyDiscriminator
	}
	return DropNone
}

// authenticated reports whether a whole header has the A bit set.
func authenticated(b []byte) bool { return b[1]&flagAuth != 0 }

// leastLength returns the least Length for a whole header, octets.
func leastLength(b []byte) int {
	if authenticated(b) {
		return headerLength + sectionMin
	}
	return headerLength
}

// decode reads the fields that a section is long enough for, at least sectionMin
// octets. Only the kinds that exist are known to have a key id and a sequence number.
func (s *AuthSection) decode(b []byte) {
	s.Type, s.Length = AuthType(b[0]), b[1]
	if (s.Type == AuthSimple || s.Type.sequenced()) && len(b) > sectionMin {
		s.KeyID = b[2]
	}
	if s.Type.sequenced() && len(b) >= digestOffset {
		s.Sequence = binary.BigEndian.Uint32(b[4:])
	}
}

// Append appends the 24 octets of p, without authentication, to b. Final goes before
// Poll, because no packet may carry both: an answer is due at once, a poll is
// repeated anyway (RFC 5880 section 6.5).
func (p Packet) Append(b []byte) []byte {
	flags := byte(p.State) << 6
	set := func(condition bool, flag byte) {
		if condition {
			flags |= flag
		}
	}
	set(p.Poll && !p.Final, flagPoll)
	set(p.Final, flagFinal)
	set(p.ControlPlaneIndependent, flagControlPlaneIndependent)
	set(p.Demand, flagDemand)
	b = append(b, protocolVersion<<5|byte(p.Diag)&0x1f, flags, p.DetectMult, headerLength)
	b = binary.BigEndian.AppendUint32(b, p.MyDiscriminator)
	b = binary.BigEndian.AppendUint32(b, p.YourDiscriminator)
	b = binary.BigEndian.AppendUint32(b, p.DesiredMinTx)
	b = binary.BigEndian.AppendUint32(b, p.RequiredMinRx)
	return binary.BigEndian.AppendUint32(b, p.RequiredMinEchoRx)
}

// faults says in words what is wrong with a datagram that was dropped.
var faults = map[Drop]func(b []byte) string{
	DropShort:   func(b []byte) string { return fmt.Sprintf("%d octets: want at least %d", len(b), headerLength) },
	DropVersion: func(b []byte) string { return fmt.Sprintf("%d: want %d", b[0]>>5, protocolVersion) },
	DropLength: func(b []byte) string {
		return fmt.Sprintf("%d: want %d to the %d octets of the datagram", b[3], leastLength(b), len(b))
	},
	DropMultiplier:      func(b []byte) string { return fmt.Sprintf("%d: want at least 1", b[2]) },
	DropMultipoint:      func([]byte) string { return "1: want 0, the bit is reserved" },
	DropMyDiscriminator: func([]byte) string { return "0: want any other" },
}

// ParsePacket reads a control packet from the payload of a datagram; octets beyond
// its Length are ignored. Authentication is read and not verified. Errors begin with
// the word of a [Drop], in the order of RFC 5880 section 6.8.6.
func ParsePacket(b []byte) (Packet, error) {
	var p Packet
	if _, drop := p.decode(b); drop != DropNone {
		return Packet{}, fmt.Errorf("parse packet: %s %s", drop, faults[drop](b))
	}
	return p, nil
}

// String returns a line for people: "up poll, my 5, your 4, tx 100ms, rx 100ms, 3
// times". What is zero by habit is left out.
func (p Packet) String() string {
	var b strings.Builder
	b.WriteString(p.State.String())
	for _, f := range []struct {
		set  bool
		word string
	}{{p.Poll, " poll"}, {p.Final, " final"}, {p.ControlPlaneIndependent, " control-plane-independent"}, {p.Demand, " demand"}} {
		if f.set {
			b.WriteString(f.word)
		}
	}
	fmt.Fprintf(&b, ", my %d, your %d, tx %v, rx %v, %d times", p.MyDiscriminator, p.YourDiscriminator,
		fromWire(p.DesiredMinTx), fromWire(p.RequiredMinRx), p.DetectMult)
	if p.RequiredMinEchoRx != 0 {
		fmt.Fprintf(&b, ", echo %v", fromWire(p.RequiredMinEchoRx))
	}
	if p.Diag != DiagNone {
		fmt.Fprintf(&b, ", %s", p.Diag)
	}
	if p.Auth != (AuthSection{}) {
		fmt.Fprintf(&b, ", %s key %d", p.Auth.Type, p.Auth.KeyID)
		if p.Auth.Type.sequenced() {
			fmt.Fprintf(&b, " sequence %d", p.Auth.Sequence)
		}
	}
	return b.String()
}

// fromWire returns an interval of the wire. All of them fit: the longest is 72
// minutes, and 255 of those are 13 days.
func fromWire(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
