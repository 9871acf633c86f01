package bgptest

import (
	"encoding/binary"
	"net/netip"
)

// Malformer makes UPDATE messages of which nearly all are wrong in some way: every
// type of attribute, both families, random lengths, flipped bits. The header is always
// right, so that what is wrong is for the decoder of UPDATEs. The same seed makes the
// same messages.
type Malformer struct {
	d     dice
	turn  int
	table [2]*Table
	view  [2]View
}

// NewMalformer makes one whose routes, where they can be read, have as as their first
// AS and next4 or next6 as next hop.
func NewMalformer(seed uint64, as uint32, next4, next6 netip.Addr) *Malformer {
	return &Malformer{
		d:     dice(seed),
		table: [2]*Table{NewTable(IPv4, 500, seed), NewTable(IPv6, 500, seed)},
		view:  [2]View{{AS: as, NextHop: next4}, {AS: as, NextHop: next6}},
	}
}

// knownAttributes are types that somebody may have code for.
var knownAttributes = []uint8{
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 128, 129,
}

// Next returns the next message. The attribute types come round in turn, those that
// are known more often than the others.
func (m *Malformer) Next() []byte {
	m.turn++
	d := &m.d
	attributes, nlri := m.valid(m.turn % 2)
	var withdrawn []byte
	kind := knownAttributes[m.turn/2%len(knownAttributes)]
	if m.turn%5 == 0 {
		kind = uint8(m.turn / 5)
	}
	switch d.below(10) {
	case 0:
		// The type is there twice, or stands for itself.
		attributes = append(attributes, m.attribute(kind)...)
	case 1, 2, 3:
		attributes = m.replace(attributes, kind)
	case 4:
		attributes = m.cutOff(attributes)
	case 5:
		m.flip(attributes)
	case 6:
		nlri = append(nlri, m.random(1+d.below(60))...)
	case 7:
		withdrawn = m.random(1 + d.below(60))
	case 8:
		attributes = append(m.multiprotocol(), attributes...)
	default:
		attributes = append(m.attribute(kind), m.random(d.below(40))...)
	}
	b := UpdateMessage(withdrawn, attributes, nlri)
	switch d.below(6) {
	case 0:
		m.flip(b[headerLen:])
	case 1:
		// A length in the body that is not so.
		at := headerLen + d.below(2)*(2+len(withdrawn))
		binary.BigEndian.PutUint16(b[at:], uint16(d.next()))
	case 2:
		b = b[:headerLen+d.below(len(b)-headerLen+1)]
	}
	if len(b) > maxLen {
		b = b[:maxLen]
	}
	binary.BigEndian.PutUint16(b[16:], uint16(len(b)))
	return b
}

// valid returns the attributes and prefixes of a route that nothing is wrong with.
func (m *Malformer) valid(family int) (attributes, nlri []byte) {
	t := m.table[family]
	i := m.d.below(t.Len())
	a := t.Attributes(m.view[family], i)
	message := Announcement(a, t.Prefix(i))[0]
	n := int(binary.BigEndian.Uint16(message[headerLen+2:]))
	body := message[headerLen+4:]
	return append([]byte(nil), body[:n]...), append([]byte(nil), body[n:]...)
}

// attribute makes one of random flags, length and contents.
func (m *Malformer) attribute(kind uint8) []byte {
	n := m.d.below(20)
	switch m.d.below(8) {
	case 0:
		n = 0
	case 1:
		n = m.d.below(600)
	case 2:
		n = m.d.below(3500)
	}
	flags := uint8(m.d.next())
	if m.d.below(2) == 0 {
		flags = FlagOptional | FlagTransitive
	}
	return Attribute(flags, kind, m.random(n))
}

// replace puts an attribute of that type in the place of the one that is there, or
// behind the others.
func (m *Malformer) replace(attributes []byte, kind uint8) []byte {
	var out []byte
	for b := attributes; len(b) >= 4; {
		n := 3 + int(b[2])
		if b[0]&FlagExtended != 0 {
			n = 4 + int(binary.BigEndian.Uint16(b[2:]))
		}
		if b[1] != kind {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	if m.d.below(6) == 0 {
		// It is missing altogether.
		return out
	}
	return append(out, m.attribute(kind)...)
}

// multiprotocol makes MP_REACH_NLRI or MP_UNREACH_NLRI with a head that may be right.
func (m *Malformer) multiprotocol() []byte {
	d := &m.d
	afi, safi := uint16(1+d.below(3)), uint8(1+d.below(4))
	if d.below(4) == 0 {
		afi, safi = uint16(d.next()), uint8(d.next())
	}
	value := append(binary.BigEndian.AppendUint16(nil, afi), safi)
	if d.below(2) == 0 {
		return Attribute(FlagOptional, AttrMPUnreach, append(value, m.random(d.below(50))...))
	}
	n := []int{0, 4, 12, 16, 24, 32, 48, 255, d.below(256)}[d.below(9)]
	value = append(append(value, byte(n)), m.random(d.below(n+1))...)
	return Attribute(FlagOptional, AttrMPReach, append(value, m.random(d.below(60))...))
}

// cutOff ends b somewhere.
func (m *Malformer) cutOff(b []byte) []byte { return b[:m.d.below(len(b)+1)] }

// flip changes one to eight bits of b.
func (m *Malformer) flip(b []byte) {
	if len(b) == 0 {
		return
	}
	for range 1 + m.d.below(8) {
		b[m.d.below(len(b))] ^= 1 << m.d.below(8)
	}
}

func (m *Malformer) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.d.next())
	}
	return b
}
