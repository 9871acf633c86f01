package fib

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Attribute types and sizes of include/uapi/linux/nexthop.h that
// golang.org/x/sys/unix does not name.
const (
	nhaFDB      = 11
	nhaResGroup = 12

	nhaResGroupBuckets         = 1
	nhaResGroupIdleTimer       = 2
	nhaResGroupUnbalancedTimer = 3

	nexthopGroupTypeMpath     = 0
	nexthopGroupTypeResilient = 1

	// nextHopHeaderLen is sizeof(struct nhmsg), groupEntryLen is
	// sizeof(struct nexthop_grp).
	nextHopHeaderLen = 8
	groupEntryLen    = 8
	// maxMembers keeps NHA_GROUP below the 64 KiB of an attribute.
	maxMembers = (1<<16 - 1 - attributeHeaderLen) / groupEntryLen
)

// nextHopHeader appends struct nhmsg. A delete must leave protocol and flags 0
// (net/ipv4/nexthop.c, nh_valid_get_del_req).
func nextHopHeader(w *builder, v Verb, f Family, protocol uint8, flags uint32) {
	if v == Delete {
		f, protocol, flags = FamilyUnknown, 0, 0
	}
	w.raw(addressFamily(f), 0, protocol, 0)
	w.rawU32(flags)
}

func encodeNextHop(w *builder, v Verb, n NextHop, protocol uint8, seq uint32) error {
	if n.ID == 0 {
		return fmt.Errorf("id 0 lets the kernel choose")
	}
	kind, flags := v.request(unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP)
	start := w.begin(kind, flags, seq)
	if v == Delete {
		nextHopHeader(w, v, n.Family, protocol, 0)
		w.attrU32(unix.NHA_ID, n.ID)
		w.end(start)
		return nil
	}
	if n.Family == FamilyUnknown {
		return fmt.Errorf("family is not set")
	}
	if err := checkDevice(n.Device); err != nil {
		return err
	}
	var nhFlags uint32
	if n.OnLink {
		nhFlags = unix.RTNH_F_ONLINK
	}
	nextHopHeader(w, v, n.Family, protocol, nhFlags)
	w.attrU32(unix.NHA_ID, n.ID)
	w.attrU32(unix.NHA_OIF, uint32(n.Device.Index))
	if n.Gateway.IsValid() {
		if err := checkAddress("gateway", n.Gateway, n.Family); err != nil {
			return err
		}
		w.attrAddr(unix.NHA_GATEWAY, n.Gateway)
	}
	w.end(start)
	return nil
}

func encodeGroup(w *builder, v Verb, g Group, protocol uint8, seq uint32) error {
	if g.ID == 0 {
		return fmt.Errorf("id 0 lets the kernel choose")
	}
	kind, flags := v.request(unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP)
	start := w.begin(kind, flags, seq)
	nextHopHeader(w, v, FamilyUnknown, protocol, 0)
	w.attrU32(unix.NHA_ID, g.ID)
	if v == Delete {
		w.end(start)
		return nil
	}
	if len(g.Members) == 0 || len(g.Members) > maxMembers {
		return fmt.Errorf("a group of %d members, want 1..%d", len(g.Members), maxMembers)
	}
	if err := encodeMembers(w, g.Members); err != nil {
		return err
	}
	switch g.Type {
	case GroupHashThreshold:
		w.attrU16(unix.NHA_GROUP_TYPE, nexthopGroupTypeMpath)
	case GroupResilient:
		w.attrU16(unix.NHA_GROUP_TYPE, nexthopGroupTypeResilient)
		if err := encodeBuckets(w, g); err != nil {
			return err
		}
	case GroupUnknown:
		return fmt.Errorf("group type is not set")
	default:
		panic(fmt.Sprintf("fib: unhandled group type %d", uint8(g.Type)))
	}
	w.end(start)
	return nil
}

// encodeMembers writes an array of struct nexthop_grp. Its reserved fields must
// be 0, and weight_high, which took the place of one, stays 0 because weights
// end at MaxWeight.
func encodeMembers(w *builder, members []Member) error {
	at := w.open(unix.NHA_GROUP)
	for _, m := range members {
		weight, err := kernelWeight(m.Weight)
		if err != nil {
			return fmt.Errorf("member %d: %w", m.NextHop, err)
		}
		w.rawU32(m.NextHop)
		w.raw(weight, 0, 0, 0)
	}
	w.close(at)
	return nil
}

func encodeBuckets(w *builder, g Group) error {
	if g.Buckets == 0 {
		return fmt.Errorf("a resilient group without buckets")
	}
	idle, err := toTicks(g.IdleTimer)
	if err != nil {
		return fmt.Errorf("idle %w", err)
	}
	unbalanced, err := toTicks(g.UnbalancedTimer)
	if err != nil {
		return fmt.Errorf("unbalanced %w", err)
	}
	at := w.open(nhaResGroup | unix.NLA_F_NESTED)
	w.attrU16(nhaResGroupBuckets, g.Buckets)
	w.attrU32(nhaResGroupIdleTimer, idle)
	w.attrU32(nhaResGroupUnbalancedTimer, unbalanced)
	w.close(at)
	return nil
}

// nextHopMessage is a decoded RTM_NEWNEXTHOP or RTM_DELNEXTHOP.
type nextHopMessage struct {
	id       uint32
	protocol uint8
	// fdb marks an object for VXLAN, which no route can use.
	fdb bool
	// isGroup says whether group or nextHop is set.
	isGroup bool
	group   Group
	// nextHop has FamilyUnknown where the kernel's has a content that this
	// package never writes (a blackhole, an encapsulation): it equals no next
	// hop that anybody wants, so it is replaced or deleted under its id.
	nextHop NextHop
}

// decodeNextHop reads the part of a message behind its header.
func decodeNextHop(body []byte) (nextHopMessage, error) {
	if len(body) < nextHopHeaderLen {
		return nextHopMessage{}, malformed("a next hop of %d bytes", len(body))
	}
	a, err := parseAttributes(body[nextHopHeaderLen:])
	if err != nil {
		return nextHopMessage{}, fmt.Errorf("read next hop: %w", err)
	}
	m := nextHopMessage{protocol: body[2], fdb: a.has(nhaFDB)}
	if m.id, err = a.uint32(unix.NHA_ID); err != nil {
		return nextHopMessage{}, fmt.Errorf("read next hop: %w", err)
	}
	if m.id == 0 {
		return nextHopMessage{}, malformed("a next hop without id")
	}
	m.isGroup = a.has(unix.NHA_GROUP)
	if m.isGroup {
		m.group, err = decodeGroup(m.id, &a)
	} else {
		m.nextHop, err = decodeSingle(m.id, body, &a)
	}
	if err != nil {
		return nextHopMessage{}, fmt.Errorf("read next hop %d: %w", m.id, err)
	}
	return m, nil
}

func decodeSingle(id uint32, body []byte, a *attributes) (NextHop, error) {
	n := NextHop{ID: id}
	index, err := a.uint32(unix.NHA_OIF)
	if err != nil {
		return NextHop{}, err
	}
	n.Device.Index = int(index)
	family := familyFromKernel(body[0])
	if a.has(unix.NHA_BLACKHOLE) || a.has(unix.NHA_ENCAP) || family == FamilyUnknown || index == 0 {
		return n, nil
	}
	n.Family = family
	if n.Gateway, err = a.address(unix.NHA_GATEWAY, family); err != nil {
		return NextHop{}, err
	}
	n.OnLink = binary.NativeEndian.Uint32(body[4:])&unix.RTNH_F_ONLINK != 0
	return n, nil
}

func decodeGroup(id uint32, a *attributes) (Group, error) {
	g := Group{ID: id}
	entries := a.value[unix.NHA_GROUP]
	if len(entries) == 0 || len(entries)%groupEntryLen != 0 {
		return Group{}, malformed("a group of %d bytes", len(entries))
	}
	g.Members = make([]Member, 0, len(entries)/groupEntryLen)
	for ; len(entries) > 0; entries = entries[groupEntryLen:] {
		g.Members = append(g.Members, Member{
			NextHop: binary.NativeEndian.Uint32(entries),
			Weight:  weightOf(entries[4], entries[5]),
		})
	}
	kind, err := a.uint16(unix.NHA_GROUP_TYPE)
	if err != nil {
		return Group{}, err
	}
	switch kind {
	case nexthopGroupTypeMpath:
		g.Type = GroupHashThreshold
	case nexthopGroupTypeResilient:
		g.Type = GroupResilient
		return decodeBuckets(g, a)
	default:
		// A type of a later kernel stays GroupUnknown, which is no group that
		// anybody wants.
	}
	return g, nil
}

func decodeBuckets(g Group, a *attributes) (Group, error) {
	if !a.has(nhaResGroup) {
		return Group{}, malformed("a resilient group without its attributes")
	}
	nested, err := parseAttributes(a.value[nhaResGroup])
	if err != nil {
		return Group{}, err
	}
	if g.Buckets, err = nested.uint16(nhaResGroupBuckets); err != nil {
		return Group{}, err
	}
	idle, err := nested.uint32(nhaResGroupIdleTimer)
	if err != nil {
		return Group{}, err
	}
	unbalanced, err := nested.uint32(nhaResGroupUnbalancedTimer)
	if err != nil {
		return Group{}, err
	}
	g.IdleTimer, g.UnbalancedTimer = fromTicks(idle), fromTicks(unbalanced)
	return g, nil
}
