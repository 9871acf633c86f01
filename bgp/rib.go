package bgp

import "net/netip"

// rib holds what is thought of the paths of one family, without their attributes: for
// each prefix and peer a grade or the reason why the path is refused. It has no lock.
//
// A peer has a column. Columns 0..MaxSlots-1 are those of the slots; the others, up to
// maxColumns, are for peers without a slot, whose paths are counted and never ranked.
// Which of these is whose, is for the caller to remember.
//
// # Size
//
// Entries are kept in chunks of words without pointers: an address and one word, 8
// octets for IPv4 and 20 for IPv6. A column has one word per entry, in chunks that
// exist where the peer has paths; so reading all of a peer's paths is reading an array,
// and a peer that offers little costs little. An index of words, half full at most,
// finds entries. All of it shrinks when most of it is unused.
type rib struct {
	family  Family
	rule    ASPathRule
	entries entries
	columns [maxColumns]column
	grades  gradeTable
	// queue has the entries that are dirty, each once.
	queue queue
}

// maxColumns is how many peers a rib has room for.
const maxColumns = 64

// column is what is known of one peer's paths.
type column struct {
	cells cells
	// epoch is 0 or epochBit. Cells of the other epoch are stale.
	epoch uint32
	// fallback is the cell of the default route.
	fallback cell
	received int
	accepted int
	stale    int
	draining int
	refused  [reasons]int
	// bandwidth is that of the path that was accepted last, fallbackBandwidth that of the
	// default route; 0 for none. It does not rank, and there may be one for each path, so
	// that it is no part of a grade.
	bandwidth, fallbackBandwidth float32
	// hint is the grade that was put last.
	hint uint32
}

// cell is one path: 0 if there is none, a Reason, or firstGrade and more for the
// number of a grade; and the epoch it was received in.
type cell uint32

const (
	epochBit   = 1 << 31
	firstGrade = cell(reasons)
)

// value returns c without its epoch.
func (c cell) value() cell { return c &^ epochBit }

// accepted reports whether c is a path that was not refused.
func (c cell) accepted() bool { return c.value() >= firstGrade }

// grade returns the number of c's grade, if c was accepted.
func (c cell) grade() uint32 { return uint32(c.value() - firstGrade) }

// fallbackEntry stands for the default route where an entry is asked for.
const fallbackEntry = ^uint32(0)

func newRIB(f Family, rule ASPathRule) *rib {
	return &rib{family: f, rule: rule, entries: newEntries(f)}
}

// put notes a path that was received: with Accepted, g ranks it. It replaces the one
// that the peer had for the prefix. A prefix of another family is ignored.
func (r *rib) put(col int, prefix netip.Prefix, g grade, why Reason) {
	if !r.holds(col, prefix) {
		return
	}
	c := &r.columns[col]
	value := cell(why)
	if why == Accepted {
		c.hint = r.grades.id(&g, c.hint)
		value = firstGrade + cell(c.hint)
	}
	if prefix.Bits() == 0 {
		r.replace(c, &c.fallback, value)
		return
	}
	k := keyOf(prefix)
	i := r.entries.add(&k)
	at := c.cells.at(i)
	if at == nil {
		at = c.cells.make(i)
	}
	fresh := *at == 0
	changed := r.replace(c, at, value)
	if fresh {
		c.cells.filled(i)
		r.entries.use(i)
	}
	if changed && col < MaxSlots {
		r.touch(i)
	}
}

// offer notes the bandwidth of a path that was put last and accepted, in octets per
// second, 0 for none.
func (r *rib) offer(col int, prefix netip.Prefix, bandwidth float32) {
	if !r.holds(col, prefix) {
		return
	}
	if !usable(bandwidth) {
		bandwidth = 0
	}
	c := &r.columns[col]
	c.bandwidth = bandwidth
	if prefix.Bits() == 0 {
		c.fallbackBandwidth = bandwidth
	}
}

// holds reports whether prefix can be in r and col is a column. Mapped IPv4 addresses
// are IPv6 here: they were sent as that, and though they are refused they count.
func (r *rib) holds(col int, prefix netip.Prefix) bool {
	return uint(col) < maxColumns && prefix.IsValid() && prefix.Addr().Is4() == (r.family == IPv4) //nolint:gosec // A negative one is large.
}

// replace makes value what is known of a path, and reports whether what ranks it
// changed.
func (r *rib) replace(c *column, at *cell, value cell) bool {
	old := *at
	*at = value | cell(c.epoch)
	if old == 0 {
		c.received++
		r.count(c, value, 1)
		return value.accepted()
	}
	if uint32(old)&epochBit != c.epoch {
		c.stale--
	}
	if old.value() == value {
		return false
	}
	// The new grade first: it may have no path yet, and the table may forget it.
	r.count(c, value, 1)
	r.count(c, old, -1)
	return old.accepted() || value.accepted()
}

// count adds n, 1 or -1, to the counts that a path with this value belongs to.
func (r *rib) count(c *column, value cell, n int) {
	if !value.accepted() {
		c.refused[value.value()] += n
		return
	}
	id := value.grade()
	g := r.grades.at(id)
	c.accepted += n
	if g.draining {
		c.draining += n
	}
	if n > 0 {
		r.grades.hold(id)
	} else {
		r.grades.release(id)
	}
}

// withdraw forgets a path. One that is not there is no error (RFC 4271 section 4.3).
func (r *rib) withdraw(col int, prefix netip.Prefix) {
	if !r.holds(col, prefix) {
		return
	}
	c := &r.columns[col]
	if prefix.Bits() == 0 {
		r.remove(col, &c.fallback, fallbackEntry)
		return
	}
	k := keyOf(prefix)
	i, ok := r.entries.find(&k)
	if !ok {
		return
	}
	if at := c.cells.at(i); at != nil {
		r.remove(col, at, i)
	}
	r.shrink()
}

// remove empties a cell, that of entry i.
func (r *rib) remove(col int, at *cell, i uint32) {
	old := *at
	if old == 0 {
		return
	}
	c := &r.columns[col]
	*at = 0
	c.received--
	if uint32(old)&epochBit != c.epoch {
		c.stale--
	}
	r.count(c, old, -1)
	if i == fallbackEntry {
		return
	}
	c.cells.emptied(i)
	r.entries.leave(i)
	if old.accepted() && col < MaxSlots {
		r.touch(i)
	}
	r.collect(i)
}

// touch makes i one of those that take looks at.
func (r *rib) touch(i uint32) {
	if r.entries.soil(i) {
		r.queue.push(i)
	}
}

// collect frees i if nobody has a path for it and nobody has to be told so.
func (r *rib) collect(i uint32) {
	if r.entries.unused(i) {
		r.entries.remove(i)
	}
}

// mark makes all paths of the peer stale: its session is lost. Those that were stale
// already are removed (RFC 4724 section 4.2: they must be, however often a peer
// restarts). It takes no time unless there are such.
func (r *rib) mark(col int) {
	r.sweep(col)
	c := &r.columns[col]
	c.epoch ^= epochBit
	c.stale = c.received
}

// remark makes all paths of the peer stale, and keeps those that were so already. It is
// for sessions without graceful restart, whose paths nobody forwards by.
func (r *rib) remark(col int) {
	c := &r.columns[col]
	if c.stale == 0 {
		r.mark(col)
		return
	}
	outdate := func(_ uint32, at *cell) { *at = at.value() | cell(c.epoch^epochBit) }
	if c.fallback != 0 {
		outdate(fallbackEntry, &c.fallback)
	}
	c.cells.each(outdate)
	c.stale = c.received
}

// sweep removes the paths of the peer that are stale.
func (r *rib) sweep(col int) {
	c := &r.columns[col]
	if c.stale == 0 {
		return
	}
	r.purge(col, func(at cell) bool { return uint32(at)&epochBit != c.epoch })
}

// drop removes all paths of the peer.
func (r *rib) drop(col int) {
	if r.columns[col].received == 0 {
		return
	}
	r.purge(col, func(cell) bool { return true })
	r.columns[col] = column{}
}

func (r *rib) purge(col int, goes func(cell) bool) {
	c := &r.columns[col]
	if c.fallback != 0 && goes(c.fallback) {
		r.remove(col, &c.fallback, fallbackEntry)
	}
	c.cells.each(func(i uint32, at *cell) {
		if goes(*at) {
			r.remove(col, at, i)
		}
	})
	r.shrink()
}
