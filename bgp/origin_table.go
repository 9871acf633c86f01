package bgp

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// vrpTable holds the records of one family, in arrays without pointers. Prefixes are
// in order, and each knows the longest one that covers it. So those that cover a
// given one are found from its place in that order upwards.
type vrpTable struct {
	family Family
	nodes  []vrpNode
	// buckets[b] is the first node whose address falls into bucket b or a later one.
	buckets []uint32
	// as and maxLength of the records, those of a node side by side.
	as        []uint32
	maxLength []uint8
}

// vrpNode is one prefix. An IPv4 address is in the upper half of hi.
type vrpNode struct {
	hi, lo uint64
	// parent is the node that covers this one, plus 1; 0 if none does.
	parent uint32
	// records begin here, and end where those of the next node begin.
	records uint32
	bits    uint8
}

// bucketBits is how many bits of an address choose a bucket. For IPv6 they are those
// behind 2000::/3, where all that is routed lies.
const bucketBits = 16

func newVRPTable(f Family, records []vrp) *vrpTable {
	sorted := make([]vrp, 0, len(records))
	for _, r := range records {
		if !r.prefix.IsValid() || r.prefix.Addr().Is4In6() || FamilyOf(r.prefix.Addr()) != f {
			continue
		}
		if int(r.maxLength) < r.prefix.Bits() || int(r.maxLength) > r.prefix.Addr().BitLen() {
			continue
		}
		r.prefix = r.prefix.Masked()
		sorted = append(sorted, r)
	}
	slices.SortFunc(sorted, func(a, b vrp) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()),
			cmp.Compare(a.as, b.as), cmp.Compare(a.maxLength, b.maxLength))
	})
	sorted = slices.Compact(sorted)
	t := &vrpTable{family: f, as: make([]uint32, len(sorted)), maxLength: make([]uint8, len(sorted))}
	nodes := 0
	for i := range sorted {
		if i == 0 || sorted[i].prefix != sorted[i-1].prefix {
			nodes++
		}
	}
	t.nodes = make([]vrpNode, 0, nodes+1)
	for i, r := range sorted {
		t.as[i], t.maxLength[i] = r.as, r.maxLength
		if i == 0 || r.prefix != sorted[i-1].prefix {
			t.add(r.prefix, uint32(i)) //nolint:gosec // Not 4 billion records.
		}
	}
	t.index()
	// An end for the records of the last one.
	t.nodes = append(t.nodes, vrpNode{records: uint32(len(sorted))}) //nolint:gosec // See above.
	return t
}

// add appends a node. Its parent is the node before it, or one of the parents of that.
func (t *vrpTable) add(prefix netip.Prefix, records uint32) {
	n := vrpNode{bits: uint8(prefix.Bits()), records: records} //nolint:gosec // 0..128.
	n.hi, n.lo = words(prefix.Addr())
	for p := uint32(len(t.nodes)); p != 0; p = t.nodes[p-1].parent { //nolint:gosec // Fewer than records.
		if t.nodes[p-1].covers(n.hi, n.lo, n.bits) {
			n.parent = p
			break
		}
	}
	t.nodes = append(t.nodes, n)
}

// index fills the buckets, which all nodes must be there for.
func (t *vrpTable) index() {
	t.buckets = make([]uint32, 1<<bucketBits+1)
	b := 0
	for i := range t.nodes {
		for last := t.bucket(t.nodes[i].hi); b <= last; b++ {
			t.buckets[b] = uint32(i) //nolint:gosec // Fewer than records.
		}
	}
	for ; b < len(t.buckets); b++ {
		t.buckets[b] = uint32(len(t.nodes)) //nolint:gosec // Fewer than records.
	}
}

// bucket returns the bucket of an address. It never falls while addresses rise.
func (t *vrpTable) bucket(hi uint64) int {
	if t.family == IPv4 {
		return int(hi >> (64 - bucketBits)) //nolint:gosec // bucketBits wide.
	}
	switch hi >> 61 {
	case 0:
		return 0
	case 1:
		return int(hi << 3 >> (64 - bucketBits)) //nolint:gosec // bucketBits wide.
	default:
		return 1<<bucketBits - 1
	}
}

// validate returns the state of a path to prefix, which is of the table's family.
func (t *vrpTable) validate(prefix netip.Prefix, originAS uint32) validity {
	hi, lo := words(prefix.Addr())
	length := uint8(prefix.Bits()) //nolint:gosec // 0..128.
	b := t.bucket(hi)
	from, to := int(t.buckets[b]), int(t.buckets[b+1])
	// The node of the longest prefix that covers this one is the last node that is not
	// behind it, or covers that one.
	behind := from + sort.Search(to-from, func(i int) bool {
		n := &t.nodes[from+i]
		return n.hi > hi || (n.hi == hi && (n.lo > lo || (n.lo == lo && n.bits > length)))
	})
	state := notFound
	for p := uint32(behind); p != 0; p = t.nodes[p-1].parent { //nolint:gosec // Fewer than records.
		n := &t.nodes[p-1]
		if !n.covers(hi, lo, length) {
			continue
		}
		state = invalid
		for r := n.records; r < t.nodes[p].records; r++ {
			if t.as[r] == originAS && originAS != 0 && length <= t.maxLength[r] {
				return valid
			}
		}
	}
	return state
}

// covers reports whether n's prefix is that one or a shorter one that holds it.
func (n *vrpNode) covers(hi, lo uint64, length uint8) bool {
	if n.bits > length {
		return false
	}
	if n.bits <= 64 {
		return (n.hi^hi)>>(64-n.bits) == 0
	}
	return n.hi == hi && (n.lo^lo)>>(128-n.bits) == 0
}

// words returns the bits of an address, an IPv4 one in the upper half of the first
// word.
func words(a netip.Addr) (hi, lo uint64) {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:])) << 32, 0
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}
