package bgptest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Table is a routing table of an Internet that never was: the same family, size and
// seed give the same prefixes and attributes everywhere. It keeps ten octets for each
// prefix; attributes are computed when they are asked for.
//
// Lengths of prefixes, lengths of AS paths and the number of prefixes that share
// their attributes are distributed about as in the tables of 2025. Prefixes are
// different, may contain each other as they do there, and are no bogons; a third of
// them lie beside another with the same attributes.
type Table struct {
	family Family
	seed   uint64
	list   []entry
	// starts are the numbers of the first prefix of each set of attributes, and the
	// number of prefixes at the end.
	starts []int32
}

// entry is a prefix: the upper 64 bits of its address, in which an IPv4 address is
// on the left, and its length.
type entry struct {
	high uint64
	bits uint8
}

// share is how many of 10,000 prefixes have a length.
type share struct {
	bits  uint8
	count int
}

// Lengths of prefixes as in the tables of route collectors, rounded.
var (
	lengths4 = []share{
		{24, 6080}, {23, 990}, {22, 1120}, {21, 530}, {20, 450}, {19, 270}, {18, 140}, {17, 85}, {16, 138},
		{15, 25}, {14, 22}, {13, 12}, {12, 6}, {11, 4}, {10, 3}, {9, 1}, {8, 1}, {24, 123},
	}
	lengths6 = []share{
		{48, 4630}, {32, 1190}, {44, 900}, {40, 700}, {36, 530}, {47, 430}, {46, 420}, {29, 330}, {45, 260}, {33, 220},
		{42, 160}, {34, 150}, {38, 110}, {35, 90}, {39, 80}, {43, 80}, {41, 70}, {37, 50}, {31, 30}, {30, 40}, {28, 30}, {48, 90},
	}
	// regions6 are the blocks of the five registries, without a bogon among them.
	regions6 = []uint64{0x2400 << 48, 0x2600 << 48, 0x2800 << 48, 0x2a00 << 48, 0x2c00 << 48}
	bogons4  = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.31.196.0/24"), netip.MustParsePrefix("192.52.193.0/24"),
		netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("192.175.48.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	}
)

const (
	// MaxTable is the largest table that can be made.
	MaxTable = 2_000_000
)

// dice is splitmix64: fast, and the same everywhere.
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns 0..n-1.
func (d *dice) below(n int) int { return int(d.next() >> 33 % uint64(n)) }

// NewTable makes n prefixes, 0..MaxTable, of IPv4 or IPv6.
func NewTable(f Family, n int, seed uint64) *Table {
	if n < 0 || n > MaxTable || (f != IPv4 && f != IPv6) {
		panic(fmt.Sprintf("bgptest: a table of %d prefixes of %v cannot be made", n, f))
	}
	t := &Table{family: f, seed: seed, list: make([]entry, 0, n)}
	d := dice(seed ^ uint64(f))
	used := newTaken(n)
	left := 0
	for len(t.list) < n {
		if left == 0 {
			t.starts = append(t.starts, int32(len(t.list)))
			left = setSize(&d)
		} else if beside := t.beside(); d.below(5) < 2 && t.good(beside) && used.add(beside) {
			t.list = append(t.list, beside)
			left--
			continue
		}
		if e := t.draw(&d); t.good(e) && used.add(e) {
			t.list = append(t.list, e)
			left--
		} else if left > 0 && len(t.list) == int(t.starts[len(t.starts)-1]) {
			// The set has not begun; the next round begins it again.
			t.starts = t.starts[:len(t.starts)-1]
			left = 0
		}
	}
	t.starts = append(t.starts, int32(n))
	return t
}

// setSize draws from a distribution with a long tail and a mean of about 4.5:
// most sets are small, a few are large.
func setSize(d *dice) int {
	switch r := d.below(1000); {
	case r < 500:
		return 1
	case r < 680:
		return 2
	case r < 880:
		return 3 + d.below(4)
	case r < 970:
		return 8 + d.below(10)
	default:
		return 20 + d.below(50)
	}
}

// draw makes a prefix that may be a bogon or there already.
func (t *Table) draw(d *dice) entry {
	lengths, high := lengths4, d.next()&0xffffffff<<32
	if t.family == IPv6 {
		high = regions6[d.below(len(regions6))] | d.next()>>12
		lengths = lengths6
	}
	r := d.below(10_000)
	for _, s := range lengths {
		if r -= s.count; r < 0 {
			return entry{high &^ (1<<(64-s.bits) - 1), s.bits}
		}
	}
	panic("bgptest: the lengths of prefixes do not add up")
}

// beside is the neighbour of the last prefix, of the same length.
func (t *Table) beside() entry {
	last := t.list[len(t.list)-1]
	return entry{last.high + 1<<(64-last.bits), last.bits}
}

// good tells a prefix that may be in a table.
func (t *Table) good(e entry) bool {
	if t.family == IPv6 {
		return e.high>>60 == 2
	}
	first := e.high >> 56
	if first == 0 || first >= 224 {
		return false
	}
	if first != 10 && first != 100 && first != 127 && first != 169 && first != 172 && first != 192 && first != 198 && first != 203 {
		return true
	}
	p := t.prefix(e)
	for _, b := range bogons4 {
		if b.Overlaps(p) {
			return false
		}
	}
	return true
}

// taken is a set of prefixes. The key is never 0, and the length, up to 48, lies in
// bits of it that a prefix up to 48 does not use.
type taken struct{ slots []uint64 }

func newTaken(n int) *taken {
	size := 64
	for size < 2*n {
		size *= 2
	}
	return &taken{make([]uint64, size)}
}

// add reports whether it was not there.
func (s *taken) add(e entry) bool {
	key := e.high | uint64(e.bits)
	at := dice(key)
	for i := at.next(); ; i++ {
		switch slot := &s.slots[i%uint64(len(s.slots))]; *slot {
		case 0:
			*slot = key
			return true
		case key:
			return false
		}
	}
}

func (t *Table) prefix(e entry) netip.Prefix {
	if t.family == IPv4 {
		var o [4]byte
		binary.BigEndian.PutUint32(o[:], uint32(e.high>>32))
		return netip.PrefixFrom(netip.AddrFrom4(o), int(e.bits))
	}
	var o [16]byte
	binary.BigEndian.PutUint64(o[:], e.high)
	return netip.PrefixFrom(netip.AddrFrom16(o), int(e.bits))
}

// Len is the number of prefixes.
func (t *Table) Len() int { return len(t.list) }

// Sets is the number of different attributes.
func (t *Table) Sets() int { return len(t.starts) - 1 }

// Family of all prefixes.
func (t *Table) Family() Family { return t.family }

// Prefix returns number i, 0..Len()-1, in the order of announcement.
func (t *Table) Prefix(i int) netip.Prefix { return t.prefix(t.list[i]) }
