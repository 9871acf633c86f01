package bgptest

import (
	"encoding/binary"
	"net/netip"
	"sort"
)

// Preference says which of several peers has the shortest AS path.
type Preference uint8

// Preferences.
const (
	// PreferEach gives each of two peers, slots 0 and 1, the shorter path for about
	// half of the prefixes.
	PreferEach Preference = iota
	// PreferFirst gives slot 0 the shorter path for all.
	PreferFirst
	// PreferNone gives all the same length.
	PreferNone
)

// View is how one peer sees a table.
type View struct {
	// AS is the first one of all paths.
	AS uint32
	// NextHop of all routes, and the second one, if it is valid.
	NextHop, LinkLocal netip.Addr
	// Slot is the number of the peer among those that announce the table.
	Slot       int
	Preference Preference
	// Extra lengthens all paths by so many.
	Extra int
}

// Lengths of AS paths with the peer's own AS, of 100 sets of attributes, before the
// lengthening of who is not preferred.
var pathLengths = []share{{2, 9}, {3, 27}, {4, 36}, {5, 19}, {6, 9}}

const (
	// transits is how many AS carry the others, firstTransit the first one.
	transits, firstTransit = 300, 6000
	// Origins have two octets or four; none of them is private or reserved.
	firstOrigin2, origins2 = 7000, 16000
	firstOrigin4, origins4 = 196_608, 210_000
)

// Attributes are those of prefix i as v sees it.
func (t *Table) Attributes(v View, i int) Attributes {
	set := sort.Search(len(t.starts), func(s int) bool { return int(t.starts[s]) > i }) - 1
	return t.attributes(v, set)
}

// attributes computes those of a set. The same dice are thrown in the same order for
// each peer, so that peers agree on what is beyond them.
func (t *Table) attributes(v View, set int) Attributes {
	d := dice(t.seed*0x9e3779b97f4a7c15 + uint64(set)<<1 + 1)
	preferred := int(d.next() & 1)
	length := 0
	for r, i := d.below(100), 0; r >= 0; i++ {
		r -= pathLengths[i].count
		length = int(pathLengths[i].bits)
	}
	a := Attributes{NextHop: v.NextHop, LinkLocal: v.LinkLocal}
	a.ASPath = make([]uint32, 0, length+1+v.Extra)
	a.ASPath = append(a.ASPath, v.AS)
	longer := v.Extra
	if (v.Preference == PreferEach && v.Slot != preferred) || (v.Preference == PreferFirst && v.Slot != 0) {
		longer++
	}
	for range longer {
		a.ASPath = append(a.ASPath, v.AS)
	}
	for hop := d.below(transits); len(a.ASPath) < length-1+longer; hop = (hop + 1 + d.below(transits/8)) % transits {
		a.ASPath = append(a.ASPath, firstTransit+uint32(hop))
	}
	origin := firstOrigin2 + uint32(d.below(origins2))
	if d.below(2) == 0 {
		origin = firstOrigin4 + uint32(d.below(origins4))
	}
	a.ASPath = append(a.ASPath, origin)
	if d.below(8) == 0 {
		a.Origin = 2
	}
	if d.below(3) == 0 {
		a.MED, a.HasMED = uint32(d.below(200)), true
	}
	for range d.below(7) {
		a.Communities = append(a.Communities, (firstTransit+uint32(d.below(transits)))<<16|uint32(d.below(3000)))
	}
	if d.below(12) == 0 {
		a.LargeCommunities = append(a.LargeCommunities, [3]uint32{origin, uint32(d.below(10)), uint32(d.below(1000))})
	}
	if d.below(20) == 0 {
		a.AggregatorAS, a.AggregatorID, a.AtomicAggregate = origin, netip.AddrFrom4([4]byte{9, 9, byte(set >> 8), byte(set)}), d.below(3) == 0
	}
	return a
}

// blockLen is about how many octets of messages are sent at once.
const blockLen = 256 << 10

// Updates encodes prefixes from..to-1 as messages that are ready to be sent, in blocks
// of whole ones. Prefixes that share their attributes share a message, as long as
// there is room. End-of-RIB is not among them.
func (t *Table) Updates(v View, from, to int) [][]byte {
	var blocks [][]byte
	block := make([]byte, 0, blockLen+maxLen)
	first := sort.Search(len(t.starts), func(s int) bool { return int(t.starts[s]) > from }) - 1
	for set := first; from < to; set++ {
		a := t.attributes(v, set)
		end := min(int(t.starts[set+1]), to)
		for from < end {
			block, from = t.appendUpdate(block, a, from, end)
			if len(block) >= blockLen {
				blocks = append(blocks, block)
				block = make([]byte, 0, blockLen+maxLen)
			}
		}
	}
	if len(block) > 0 {
		blocks = append(blocks, block)
	}
	return blocks
}

// appendUpdate appends one message with as many of the prefixes from..to-1 as fit,
// and returns the number of the first one that did not.
func (t *Table) appendUpdate(b []byte, a Attributes, from, to int) ([]byte, int) {
	begin := len(b)
	b = append(b, header[:]...)
	b = append(b, 0, 0, 0, 0)
	var room int
	if t.family == IPv4 && a.NextHop.Is4() {
		b = a.appendWithNextHop(b, true)
		binary.BigEndian.PutUint16(b[begin+headerLen+2:], uint16(len(b)-begin-headerLen-4))
		room = maxLen - (len(b) - begin)
		b, from = t.appendNLRI(b, room, from, to)
	} else {
		common := a.encode(true)
		b = append(b, FlagOptional|FlagExtended, AttrMPReach, 0, 0)
		value := len(b)
		b = append(b, reachHead(t.family, a)...)
		room = maxLen - (len(b) - begin) - len(common)
		b, from = t.appendNLRI(b, room, from, to)
		binary.BigEndian.PutUint16(b[value-2:], uint16(len(b)-value))
		b = append(b, common...)
		binary.BigEndian.PutUint16(b[begin+headerLen+2:], uint16(len(b)-begin-headerLen-4))
	}
	binary.BigEndian.PutUint16(b[begin+16:], uint16(len(b)-begin))
	return b, from
}

func (t *Table) appendNLRI(b []byte, room, from, to int) ([]byte, int) {
	for ; from < to; from++ {
		e := t.list[from]
		n := int(e.bits+7) / 8
		if room -= 1 + n; room < 0 {
			break
		}
		b = append(b, e.bits)
		for shift := 56; n > 0; n, shift = n-1, shift-8 {
			b = append(b, byte(e.high>>shift))
		}
	}
	return b, from
}

// header is that of an UPDATE without its length.
var header = func() (h [headerLen]byte) {
	copy(h[:], Message(TypeUpdate, nil))
	return h
}()

// Withdrawals encodes that prefixes from..to-1 are gone.
func (t *Table) Withdrawals(from, to int) [][]byte {
	list := make([]netip.Prefix, 0, to-from)
	for i := from; i < to; i++ {
		list = append(list, t.Prefix(i))
	}
	return Withdrawal(list...)
}
