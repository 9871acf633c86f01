package bgptest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Update is an UPDATE that was heard.
type Update struct {
	Announced []netip.Prefix
	Withdrawn []netip.Prefix
	// Attributes of what is announced.
	Attributes Attributes
	// EndOfRIB is the family whose marker this is, 0 if it is none.
	EndOfRIB Family
}

// DecodeUpdate reads the body of an UPDATE message, the part after the header.
// wide says that AS numbers have four octets. It is strict: what it does not
// understand is an error.
func DecodeUpdate(b []byte, wide bool) (Update, error) {
	var u Update
	withdrawn, rest, err := cut(b)
	if err != nil {
		return u, err
	}
	attributes, nlri, err := cut(rest)
	if err != nil {
		return u, err
	}
	if len(b) == 4 {
		u.EndOfRIB = IPv4
		return u, nil
	}
	if u.Withdrawn, err = prefixes(withdrawn, IPv4); err != nil {
		return u, err
	}
	if u.Announced, err = prefixes(nlri, IPv4); err != nil {
		return u, err
	}
	for len(attributes) > 0 {
		if attributes, err = u.attribute(attributes, wide); err != nil {
			return u, err
		}
	}
	return u, nil
}

// cut splits after a length of two octets and as much as that says.
func cut(b []byte) (part, rest []byte, err error) {
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return nil, nil, errors.New("read UPDATE: it is cut")
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n], b[n:], nil
}

func (u *Update) attribute(b []byte, wide bool) (rest []byte, err error) {
	if len(b) < 3 {
		return nil, errors.New("read UPDATE: an attribute is cut")
	}
	flags, kind, n, head := b[0], b[1], int(b[2]), 3
	if flags&FlagExtended != 0 {
		if len(b) < 4 {
			return nil, errors.New("read UPDATE: an attribute is cut")
		}
		n, head = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	if len(b) < head+n {
		return nil, fmt.Errorf("read UPDATE: attribute %d is cut", kind)
	}
	u.Attributes.Types = append(u.Attributes.Types, kind)
	return b[head+n:], u.value(kind, b[head:head+n], wide)
}

func (u *Update) value(kind uint8, v []byte, wide bool) error {
	a := &u.Attributes
	if size, ok := map[uint8]int{AttrOrigin: 1, AttrNextHop: 4, AttrMED: 4, AttrLocalPref: 4, AttrAtomicAggregate: 0, AttrOnlyToCustomer: 4}[kind]; ok && len(v) != size {
		return fmt.Errorf("read attribute %d: %d octets, want %d", kind, len(v), size)
	}
	if size, ok := map[uint8]int{AttrCommunities: 4, AttrExtendedCommunities: 8, AttrLargeCommunities: 12}[kind]; ok && len(v)%size != 0 {
		return fmt.Errorf("read attribute %d: %d octets are no multiple of %d", kind, len(v), size)
	}
	switch kind {
	case AttrOrigin:
		a.Origin = v[0]
	case AttrASPath:
		return a.readPath(v, wide)
	case AttrNextHop:
		a.NextHop = netip.AddrFrom4([4]byte(v))
	case AttrMED:
		a.MED, a.HasMED = binary.BigEndian.Uint32(v), true
	case AttrLocalPref:
		a.LocalPref, a.HasLocalPref = binary.BigEndian.Uint32(v), true
	case AttrAtomicAggregate:
		a.AtomicAggregate = true
	case AttrOnlyToCustomer:
		a.OnlyToCustomer = binary.BigEndian.Uint32(v)
	case AttrCommunities:
		for ; len(v) > 0; v = v[4:] {
			a.Communities = append(a.Communities, binary.BigEndian.Uint32(v))
		}
	case AttrExtendedCommunities:
		for ; len(v) > 0; v = v[8:] {
			a.ExtendedCommunities = append(a.ExtendedCommunities, binary.BigEndian.Uint64(v))
		}
	case AttrLargeCommunities:
		for ; len(v) > 0; v = v[12:] {
			a.LargeCommunities = append(a.LargeCommunities,
				[3]uint32{binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:]), binary.BigEndian.Uint32(v[8:])})
		}
	case AttrMPReach:
		return u.reach(v)
	case AttrMPUnreach:
		return u.unreach(v)
	default:
		a.Raw = appendAttribute(a.Raw, FlagOptional, kind, v)
	}
	return nil
}

func (a *Attributes) readPath(v []byte, wide bool) error {
	size := 2
	if wide {
		size = 4
	}
	sets := false
	for len(v) > 0 {
		if len(v) < 2 || len(v) < 2+size*int(v[1]) {
			return errors.New("read AS path: it is cut")
		}
		n := 2 + size*int(v[1])
		s := Segment{Set: v[0] == 1}
		sets = sets || s.Set
		for as := v[2:n]; len(as) > 0; as = as[size:] {
			if wide {
				s.AS = append(s.AS, binary.BigEndian.Uint32(as))
			} else {
				s.AS = append(s.AS, uint32(binary.BigEndian.Uint16(as)))
			}
		}
		a.Segments = append(a.Segments, s)
		a.ASPath = append(a.ASPath, s.AS...)
		v = v[n:]
	}
	if sets {
		a.ASPath = nil
	} else {
		a.Segments = nil
	}
	return nil
}

func (u *Update) reach(v []byte) error {
	if len(v) < 5 || len(v) < 5+int(v[3]) {
		return errors.New("read MP_REACH_NLRI: it is cut")
	}
	f, next := Family(binary.BigEndian.Uint16(v))<<16|Family(v[2]), v[4:4+int(v[3])]
	switch len(next) {
	case 4:
		u.Attributes.NextHop = netip.AddrFrom4([4]byte(next))
	case 32:
		u.Attributes.LinkLocal = netip.AddrFrom16([16]byte(next[16:]))
		fallthrough
	case 16:
		u.Attributes.NextHop = netip.AddrFrom16([16]byte(next[:16]))
	default:
		return fmt.Errorf("read MP_REACH_NLRI: next hop of %d octets", len(next))
	}
	list, err := prefixes(v[5+len(next):], f)
	u.Announced = append(u.Announced, list...)
	u.Attributes.Multiprotocol = true
	return err
}

func (u *Update) unreach(v []byte) error {
	if len(v) < 3 {
		return errors.New("read MP_UNREACH_NLRI: it is cut")
	}
	f := Family(binary.BigEndian.Uint16(v))<<16 | Family(v[2])
	if len(v) == 3 {
		u.EndOfRIB = f
		return nil
	}
	list, err := prefixes(v[3:], f)
	u.Withdrawn = append(u.Withdrawn, list...)
	return err
}
