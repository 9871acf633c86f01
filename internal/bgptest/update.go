package bgptest

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Types of path attributes.
const (
	AttrOrigin              = 1
	AttrASPath              = 2
	AttrNextHop             = 3
	AttrMED                 = 4
	AttrLocalPref           = 5
	AttrAtomicAggregate     = 6
	AttrAggregator          = 7
	AttrCommunities         = 8
	AttrMPReach             = 14
	AttrMPUnreach           = 15
	AttrExtendedCommunities = 16
	AttrAS4Path             = 17
	AttrLargeCommunities    = 32
	AttrOnlyToCustomer      = 35
)

// Flags of path attributes.
const (
	FlagOptional   = 0x80
	FlagTransitive = 0x40
	FlagPartial    = 0x20
	FlagExtended   = 0x10
)

// Well-known communities.
const (
	NoExport         = 0xffffff01 // RFC 1997
	NoAdvertise      = 0xffffff02 // RFC 1997
	GracefulShutdown = 0xffff0000 // RFC 8326
)

// Segment is one segment of an AS path.
type Segment struct {
	// Set is an AS_SET instead of an AS_SEQUENCE.
	Set bool
	AS  []uint32
}

// Attributes are the path attributes of a route, sent or heard.
type Attributes struct {
	// Origin is 0 for IGP, 1 for EGP, 2 for incomplete.
	Origin uint8
	// ASPath is one AS_SEQUENCE. What was heard has all sequences here, in one,
	// unless there are sets.
	ASPath []uint32
	// Segments, if there are any, are the AS path instead of ASPath.
	Segments []Segment
	// NextHop of either family: an IPv6 address with an IPv4 prefix is sent as in
	// RFC 8950. LinkLocal is the second next hop of an IPv6 route, if valid.
	NextHop, LinkLocal   netip.Addr
	MED, LocalPref       uint32
	HasMED, HasLocalPref bool
	Communities          []uint32
	ExtendedCommunities  []uint64
	LargeCommunities     [][3]uint32
	OnlyToCustomer       uint32 // 0 is absent
	AtomicAggregate      bool
	AggregatorAS         uint32 // 0 is absent
	AggregatorID         netip.Addr
	// Raw are attributes, encoded, that follow the others.
	Raw []byte
	// Multiprotocol sends IPv4 in MP_REACH_NLRI too.
	Multiprotocol bool
	// Types are those of all attributes that were heard, in their order.
	Types []uint8
}

// LinkBandwidth is the extended community of draft-ietf-idr-link-bandwidth: not
// transitive, octets per second.
func LinkBandwidth(as uint16, bits uint32) uint64 {
	return 0x4004<<48 | uint64(as)<<32 | uint64(bits)
}

// Attribute encodes one, with the length in two octets if FlagExtended is set or
// one would not do.
func Attribute(flags, kind uint8, value []byte) []byte {
	return appendAttribute(nil, flags, kind, value)
}

func appendAttribute(b []byte, flags, kind uint8, value []byte) []byte {
	if len(value) > 255 {
		flags |= FlagExtended
	}
	b = append(b, flags, kind)
	if flags&FlagExtended != 0 {
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	} else {
		b = append(b, byte(len(value)))
	}
	return append(b, value...)
}

// encode encodes a without the next hop and what is in MP_REACH_NLRI. wide says
// that AS numbers have four octets.
func (a *Attributes) encode(wide bool) []byte {
	b := appendAttribute(nil, FlagTransitive, AttrOrigin, []byte{a.Origin})
	return a.appendAfterNextHop(appendAttribute(b, FlagTransitive, AttrASPath, a.path(wide)), wide)
}

// appendWithNextHop appends all of a, with NEXT_HOP if it is valid.
func (a *Attributes) appendWithNextHop(b []byte, wide bool) []byte {
	b = appendAttribute(b, FlagTransitive, AttrOrigin, []byte{a.Origin})
	b = appendAttribute(b, FlagTransitive, AttrASPath, a.path(wide))
	if a.NextHop.IsValid() {
		next := a.NextHop.As4()
		b = appendAttribute(b, FlagTransitive, AttrNextHop, next[:])
	}
	return a.appendAfterNextHop(b, wide)
}

func (a *Attributes) path(wide bool) []byte {
	segments := a.Segments
	if len(segments) == 0 && len(a.ASPath) > 0 {
		segments = []Segment{{AS: a.ASPath}}
	}
	var b []byte
	for _, s := range segments {
		kind := byte(2)
		if s.Set {
			kind = 1
		}
		b = append(b, kind, byte(len(s.AS)))
		for _, as := range s.AS {
			switch {
			case wide:
				b = binary.BigEndian.AppendUint32(b, as)
			case as > 0xffff:
				b = binary.BigEndian.AppendUint16(b, asTrans)
			default:
				b = binary.BigEndian.AppendUint16(b, uint16(as))
			}
		}
	}
	return b
}

func (a *Attributes) appendAfterNextHop(b []byte, wide bool) []byte {
	if a.HasMED {
		b = appendAttribute(b, FlagOptional, AttrMED, binary.BigEndian.AppendUint32(nil, a.MED))
	}
	if a.HasLocalPref {
		b = appendAttribute(b, FlagTransitive, AttrLocalPref, binary.BigEndian.AppendUint32(nil, a.LocalPref))
	}
	if a.AtomicAggregate {
		b = appendAttribute(b, FlagTransitive, AttrAtomicAggregate, nil)
	}
	if a.AggregatorAS != 0 && wide {
		id := a.AggregatorID.As4()
		b = appendAttribute(b, FlagOptional|FlagTransitive, AttrAggregator, append(binary.BigEndian.AppendUint32(nil, a.AggregatorAS), id[:]...))
	}
	var value []byte
	for _, c := range a.Communities {
		value = binary.BigEndian.AppendUint32(value, c)
	}
	b = appendIfAny(b, AttrCommunities, value)
	value = nil
	for _, c := range a.ExtendedCommunities {
		value = binary.BigEndian.AppendUint64(value, c)
	}
	b = appendIfAny(b, AttrExtendedCommunities, value)
	value = nil
	for _, c := range a.LargeCommunities {
		for _, part := range c {
			value = binary.BigEndian.AppendUint32(value, part)
		}
	}
	b = appendIfAny(b, AttrLargeCommunities, value)
	if a.OnlyToCustomer != 0 {
		b = appendIfAny(b, AttrOnlyToCustomer, binary.BigEndian.AppendUint32(nil, a.OnlyToCustomer))
	}
	return append(b, a.Raw...)
}

func appendIfAny(b []byte, kind uint8, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	return appendAttribute(b, FlagOptional|FlagTransitive, kind, value)
}

// UpdateMessage encodes an UPDATE of the three parts, whatever they are (RFC 4271
// section 4.3).
func UpdateMessage(withdrawn, attributes, nlri []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(withdrawn)))
	b = append(b, withdrawn...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(attributes)))
	b = append(b, attributes...)
	return Message(TypeUpdate, append(b, nlri...))
}

// Announcement encodes as many UPDATE messages as prefixes of one family need.
// AS numbers have four octets.
func Announcement(a Attributes, list ...netip.Prefix) [][]byte {
	return announcement(a, true, list)
}

func announcement(a Attributes, wide bool, list []netip.Prefix) [][]byte {
	if len(list) == 0 {
		return nil
	}
	f := FamilyOf(list[0])
	if f != IPv4 || a.Multiprotocol || a.NextHop.Is6() {
		common := a.encode(wide)
		head := reachHead(f, a)
		return pack(list, maxLen-headerLen-4-len(common)-len(head)-4, func(nlri []byte) []byte {
			// MP_REACH_NLRI comes first (RFC 7606 section 5.1).
			reach := slices.Concat(head, nlri)
			return UpdateMessage(nil, append(appendAttribute(nil, FlagOptional|FlagExtended, AttrMPReach, reach), common...), nil)
		})
	}
	b := a.appendWithNextHop(nil, wide)
	return pack(list, maxLen-headerLen-4-len(b), func(nlri []byte) []byte { return UpdateMessage(nil, b, nlri) })
}

// reachHead is the part of MP_REACH_NLRI in front of the prefixes.
func reachHead(f Family, a Attributes) []byte {
	next := a.NextHop.AsSlice()
	if a.LinkLocal.IsValid() {
		next = append(next, a.LinkLocal.AsSlice()...)
	}
	b := append(binary.BigEndian.AppendUint16(nil, f.AFI()), f.SAFI(), byte(len(next)))
	return append(append(b, next...), 0)
}

// Withdrawal encodes as many UPDATE messages as prefixes of one family need.
func Withdrawal(list ...netip.Prefix) [][]byte {
	if len(list) == 0 {
		return nil
	}
	f := FamilyOf(list[0])
	if f == IPv4 {
		return pack(list, maxLen-headerLen-4, func(nlri []byte) []byte { return UpdateMessage(nlri, nil, nil) })
	}
	return pack(list, maxLen-headerLen-4-7, func(nlri []byte) []byte {
		value := append(append(binary.BigEndian.AppendUint16(nil, f.AFI()), f.SAFI()), nlri...)
		return UpdateMessage(nil, appendAttribute(nil, FlagOptional|FlagExtended, AttrMPUnreach, value), nil)
	})
}

// EndOfRIB is the marker of RFC 4724 section 2.
func EndOfRIB(f Family) []byte {
	if f == IPv4 {
		return UpdateMessage(nil, nil, nil)
	}
	value := append(binary.BigEndian.AppendUint16(nil, f.AFI()), f.SAFI())
	return UpdateMessage(nil, appendAttribute(nil, FlagOptional, AttrMPUnreach, value), nil)
}

// pack fills messages with prefixes of at most room octets each.
func pack(list []netip.Prefix, room int, message func(nlri []byte) []byte) [][]byte {
	var messages [][]byte
	var nlri []byte
	for _, p := range list {
		if size := 1 + (p.Bits()+7)/8; len(nlri)+size > room && len(nlri) > 0 {
			messages = append(messages, message(nlri))
			nlri = nlri[:0]
		}
		nlri = appendPrefix(nlri, p)
	}
	return append(messages, message(nlri))
}
