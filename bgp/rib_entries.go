package bgp

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
)

// entries are the prefixes of a rib. Entry i has its address, one word or four, and a
// word that is laid out as
//
//	bit 31..16  the Choice that was told last
//	bit 15..8   the length of the prefix, or vacant
//	bit 7       dirty: in the queue
//	bit 6..0    how many columns have a path for it
//
// A vacant entry has the number of the next vacant one in place of its address.
type entries struct {
	// words of an address, stride words of an entry.
	words, stride int
	chunks        [][]uint32
	// handed is how many entries were ever handed out, live how many are not vacant.
	handed, live uint32
	// vacancy is the first vacant entry, plus 1.
	vacancy uint32
	// index finds entries: entry plus 1 at the place that the hash of its prefix says,
	// or the next free one behind that. Its size is a power of two.
	index []uint32
	// seed differs from process to process, so that no peer can choose prefixes whose
	// hashes collide.
	seed [2]uint64
}

const (
	toldShift  = 16
	toldMask   = 0xffff << toldShift
	bitsShift  = 8
	bitsMask   = 0xff << bitsShift
	dirtyBit   = 1 << 7
	usersMask  = dirtyBit - 1
	vacant     = 0xff
	firstIndex = 64
)

// key is a prefix as entries have it.
type key struct {
	addr [4]uint32
	bits uint32
}

// keyOf returns the key of a prefix, without the bits behind its length.
func keyOf(p netip.Prefix) key {
	p = p.Masked()
	k := key{bits: uint32(p.Bits())} //nolint:gosec // 0..128.
	if a := p.Addr(); a.Is4() {
		b := a.As4()
		k.addr[0] = binary.BigEndian.Uint32(b[:])
	} else {
		b := a.As16()
		for i := range k.addr {
			k.addr[i] = binary.BigEndian.Uint32(b[4*i:])
		}
	}
	return k
}

func newEntries(f Family) entries {
	e := entries{words: 1, seed: [2]uint64{rand.Uint64(), rand.Uint64()}} //nolint:gosec // The random numbers of the runtime are seeded well.
	if f == IPv6 {
		e.words = 4
	}
	e.stride = e.words + 1
	return e
}

// at returns the words of entry i.
func (e *entries) at(i uint32) []uint32 {
	from := int(i%chunkSize) * e.stride
	return e.chunks[i>>chunkBits][from : from+e.stride]
}

// meta returns the last word of entry i.
func (e *entries) meta(i uint32) *uint32 {
	return &e.chunks[i>>chunkBits][int(i%chunkSize)*e.stride+e.words]
}

// key returns the key of entry i.
func (e *entries) key(i uint32) key {
	words := e.at(i)
	k := key{bits: words[e.words] & bitsMask >> bitsShift}
	copy(k.addr[:], words[:e.words])
	return k
}

// prefix returns the prefix of entry i.
func (e *entries) prefix(i uint32) netip.Prefix {
	k := e.key(i)
	if e.words == 1 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], k.addr[0])
		return netip.PrefixFrom(netip.AddrFrom4(b), int(k.bits))
	}
	var b [16]byte
	for i, w := range k.addr {
		binary.BigEndian.PutUint32(b[4*i:], w)
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), int(k.bits))
}

// is reports whether entry i has this key.
func (e *entries) is(i uint32, k *key) bool {
	words := e.at(i)
	if words[0] != k.addr[0] || words[e.words]&bitsMask>>bitsShift != k.bits {
		return false
	}
	return e.words == 1 || (words[1] == k.addr[1] && words[2] == k.addr[2] && words[3] == k.addr[3])
}

// home returns where k belongs in the index.
func (e *entries) home(k *key) uint32 {
	hi := uint64(k.addr[0])<<32 | uint64(k.addr[1])
	lo := uint64(k.addr[2])<<32 | uint64(k.addr[3])
	hi, lo = bits.Mul64(hi^e.seed[0], lo^uint64(k.bits)<<56^e.seed[1])
	hi, lo = bits.Mul64(hi^lo, e.seed[0]|1)
	return uint32(hi^lo) & uint32(len(e.index)-1) //nolint:gosec // The low bits are what is wanted.
}

// find returns the entry of k.
func (e *entries) find(k *key) (uint32, bool) {
	if len(e.index) == 0 {
		return 0, false
	}
	mask := uint32(len(e.index) - 1) //nolint:gosec // Entries are counted in 32 bits.
	for p := e.home(k); e.index[p] != 0; p = (p + 1) & mask {
		if i := e.index[p] - 1; e.is(i, k) {
			return i, true
		}
	}
	return 0, false
}

// add returns the entry of k, which is made if there is none.
func (e *entries) add(k *key) uint32 {
	if i, ok := e.find(k); ok {
		return i
	}
	if int(e.live)*2 >= len(e.index) {
		e.reindex(max(firstIndex, 2*len(e.index)))
	}
	i := e.hand()
	words := e.at(i)
	copy(words, k.addr[:e.words])
	words[e.words] = k.bits << bitsShift
	e.live++
	e.enter(k, i)
	return i
}

// hand hands out a vacant entry, or a new one.
func (e *entries) hand() uint32 {
	if e.vacancy != 0 {
		i := e.vacancy - 1
		e.vacancy = e.at(i)[0]
		return i
	}
	if int(e.handed) == len(e.chunks)*chunkSize {
		e.chunks = append(e.chunks, make([]uint32, chunkSize*e.stride))
	}
	e.handed++
	return e.handed - 1
}

// enter puts entry i into the index.
func (e *entries) enter(k *key, i uint32) {
	mask := uint32(len(e.index) - 1) //nolint:gosec // Entries are counted in 32 bits.
	p := e.home(k)
	for e.index[p] != 0 {
		p = (p + 1) & mask
	}
	e.index[p] = i + 1
}

// reindex makes an index of this size.
func (e *entries) reindex(size int) {
	e.index = make([]uint32, size)
	e.each(func(i uint32) {
		k := e.key(i)
		e.enter(&k, i)
	})
}

// each calls f for each entry.
func (e *entries) each(f func(i uint32)) {
	for i := range e.handed {
		if *e.meta(i)&bitsMask>>bitsShift != vacant {
			f(i)
		}
	}
}

// remove makes entry i vacant. Those behind it in the index move up, so that no search
// ends too early.
func (e *entries) remove(i uint32) {
	k := e.key(i)
	mask := uint32(len(e.index) - 1) //nolint:gosec // Entries are counted in 32 bits.
	hole := e.home(&k)
	for e.index[hole] != i+1 {
		hole = (hole + 1) & mask
	}
	for p := (hole + 1) & mask; e.index[p] != 0; p = (p + 1) & mask {
		k := e.key(e.index[p] - 1)
		// It may move to the hole unless it belongs behind that.
		if (p-e.home(&k))&mask >= (p-hole)&mask {
			e.index[hole] = e.index[p]
			hole = p
		}
	}
	e.index[hole] = 0
	words := e.at(i)
	words[0], words[e.words] = e.vacancy, vacant<<bitsShift
	e.vacancy = i + 1
	e.live--
}

// use and leave count the columns that have a path for entry i.
func (e *entries) use(i uint32)   { *e.meta(i)++ }
func (e *entries) leave(i uint32) { *e.meta(i)-- }

// soil makes entry i dirty, and reports whether it was clean.
func (e *entries) soil(i uint32) bool {
	m := e.meta(i)
	clean := *m&dirtyBit == 0
	*m |= dirtyBit
	return clean
}

// unused reports whether entry i has no path, and nobody is to be told so.
func (e *entries) unused(i uint32) bool {
	return *e.meta(i)&^bitsMask == 0
}

// told returns the choice that was told last.
func (e *entries) told(i uint32) Choice { return Choice(*e.meta(i) >> toldShift) }

// clean notes that entry i is not dirty any more, and what was told.
func (e *entries) clean(i uint32, told Choice) {
	m := e.meta(i)
	*m = *m&^(toldMask|dirtyBit) | uint32(told)<<toldShift
}

// sparse reports whether so little is used that a copy pays.
func (e *entries) sparse() bool {
	return e.handed > 8*chunkSize && e.live < e.handed/4
}

// size returns the memory of e in octets.
func (e *entries) size() int {
	return 24*cap(e.chunks) + 4*chunkSize*e.stride*len(e.chunks) + 4*cap(e.index)
}
