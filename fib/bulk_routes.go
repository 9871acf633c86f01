package fib

import (
	"encoding/binary"
	"iter"
	"net/netip"
)

// bulkKey is a prefix without pointers, so that the garbage collector passes over
// what is made of it.
type bulkKey struct {
	// hi and lo are the address; IPv4 has the low half of lo.
	hi, lo uint64
	bits   uint8
	v4     bool
}

func keyOf(p netip.Prefix) bulkKey {
	if a := p.Addr(); a.Is4() {
		b := a.As4()
		return bulkKey{lo: uint64(binary.BigEndian.Uint32(b[:])), bits: uint8(p.Bits()), v4: true}
	}
	b := p.Addr().As16()
	return bulkKey{hi: binary.BigEndian.Uint64(b[:]), lo: binary.BigEndian.Uint64(b[8:]), bits: uint8(p.Bits())}
}

func (k bulkKey) prefix() netip.Prefix {
	if k.v4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(k.lo))
		return netip.PrefixFrom(netip.AddrFrom4(b), int(k.bits))
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return netip.PrefixFrom(netip.AddrFrom16(b), int(k.bits))
}

// shortKey is the key of an IPv4 prefix in 8 octets instead of 24.
type shortKey uint64

func (k bulkKey) short() shortKey { return shortKey(k.lo<<8 | uint64(k.bits)) }

func (s shortKey) long() bulkKey {
	return bulkKey{lo: uint64(s >> 8), bits: uint8(s), v4: true}
}

// bulkID is the id of a group, counted from the beginning of its range, plus one.
// Three octets instead of four keep an entry at eight.
type bulkID [3]byte

var (
	// noID is no group.
	noID = bulkID{}
	// oddID is whatever a route of ours may lead to that is none of our groups.
	oddID = bulkID{0xff, 0xff, 0xff}
)

func bulkIDOf(n uint32) bulkID { return bulkID{byte(n), byte(n >> 8), byte(n >> 16)} }

func (i bulkID) number() uint32 { return uint32(i[0]) | uint32(i[1])<<8 | uint32(i[2])<<16 }

// bulkEntry is what is known of one prefix.
type bulkEntry struct {
	// wanted is a group as Desired names it, held the kernel id that the route leads
	// to.
	wanted, held bulkID
	// generation is when it was told last; see Bulk.generation.
	generation uint8
	bits       uint8
}

// Bits of an entry. The lowest two are its stage.
const (
	maskStage = 1<<2 - 1
	// bitTold: somebody said what is wanted; otherwise it was only found.
	bitTold = 1 << 2
	// bitParity: see Bulk.parity.
	bitParity = 1 << 3
)

// stage is what is being done about an entry.
type stage uint8

const (
	// stageSettled entries need nothing.
	stageSettled stage = iota
	// stageQueued ones are in the queue, or on their way to the kernel.
	stageQueued
	// stageParked ones wait for their group.
	stageParked
	// stageRefused ones are tried again later.
	stageRefused
)

func (e *bulkEntry) stage() stage { return stage(e.bits & maskStage) }

func (e *bulkEntry) is(bit uint8) bool { return e.bits&bit != 0 }

func (e *bulkEntry) set(bit uint8, on bool) {
	if on {
		e.bits |= bit
	} else {
		e.bits &^= bit
	}
}

// bulkRoutes are the entries of all prefixes, without pointers: 16 octets and the
// slack of a map for one of IPv4, 32 for one of IPv6.
type bulkRoutes struct {
	v4 map[shortKey]bulkEntry
	v6 map[bulkKey]bulkEntry
}

func newBulkRoutes() bulkRoutes {
	return bulkRoutes{v4: map[shortKey]bulkEntry{}, v6: map[bulkKey]bulkEntry{}}
}

func (r *bulkRoutes) get(k bulkKey) (e bulkEntry, ok bool) {
	if k.v4 {
		e, ok = r.v4[k.short()]
	} else {
		e, ok = r.v6[k]
	}
	return e, ok
}

func (r *bulkRoutes) put(k bulkKey, e bulkEntry) {
	if k.v4 {
		r.v4[k.short()] = e
	} else {
		r.v6[k] = e
	}
}

// remove forgets k. A map never becomes smaller, so one that is empty is replaced.
func (r *bulkRoutes) remove(k bulkKey) {
	if k.v4 {
		if delete(r.v4, k.short()); len(r.v4) == 0 {
			r.v4 = map[shortKey]bulkEntry{}
		}
	} else {
		if delete(r.v6, k); len(r.v6) == 0 {
			r.v6 = map[bulkKey]bulkEntry{}
		}
	}
}

// all lists the entries, in no order. What is put while it runs may be missed.
func (r *bulkRoutes) all() iter.Seq2[bulkKey, bulkEntry] {
	return func(yield func(bulkKey, bulkEntry) bool) {
		for k, e := range r.v4 {
			if !yield(k.long(), e) {
				return
			}
		}
		for k, e := range r.v6 {
			if !yield(k, e) {
				return
			}
		}
	}
}

// bulkQueue holds the prefixes that are to be written, each once.
type bulkQueue struct {
	keys []bulkKey
	head int
	// flying were taken and are not acknowledged yet.
	flying int
}

func (q *bulkQueue) len() int { return len(q.keys) - q.head }

func (q *bulkQueue) push(k bulkKey) { q.keys = append(q.keys, k) }

// pop takes up to n keys off the front, into dst.
func (q *bulkQueue) pop(dst []bulkKey, n int) []bulkKey {
	n = min(n, q.len())
	dst = append(dst, q.keys[q.head:q.head+n]...)
	q.head += n
	q.flying = n
	switch {
	case q.head == len(q.keys) && cap(q.keys) > 2*bulkRoom:
		*q = bulkQueue{flying: n} // Whatever made it so long is over.
	case q.head > len(q.keys)/2:
		q.keys = q.keys[:copy(q.keys, q.keys[q.head:])]
		q.head = 0
	}
	return dst
}
