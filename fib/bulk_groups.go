package fib

import (
	"fmt"
	"slices"
)

// bulkGroup is a group that prefixes lead to, or that the kernel holds.
type bulkGroup struct {
	// kernel is its id there; noID while it is not known to be there.
	kernel bulkID
	// wanted and held count the prefixes that are to lead to it, and do; flying counts
	// writes under way, after which a prefix may lead to it that is wanted elsewhere by
	// now.
	wanted, held, flying int
	// parked are prefixes that wait for it, some of them perhaps no more, or twice.
	parked []bulkKey
	// many says that more wait than are in parked: all prefixes have to be looked
	// through for them.
	many bool
}

func (g *bulkGroup) used() bool { return g.wanted+g.held+g.flying > 0 }

// bulkGroups holds the groups by their offsets, as Desired names them.
type bulkGroups struct {
	first, length, stride uint32
	byID                  map[uint32]*bulkGroup
	// inUse is what InUse returned last, nil if it is another now; idle counts the
	// groups that nobody uses.
	inUse []uint32
	idle  int
	// told says that the caller knows which are used.
	told bool
	// arrived are groups that parked prefixes may go on with.
	arrived []uint32
}

func newBulkGroups(r Range) bulkGroups {
	o := Owner{NextHops: r}
	return bulkGroups{
		first: r.First, length: min(r.Last-r.First+1, oddID.number()-1), stride: max(o.stride(), 1),
		byID: map[uint32]*bulkGroup{}, told: true,
	}
}

// offset turns an id into a bulkID, false if it lies outside of the range.
func (g *bulkGroups) offset(id uint32) (bulkID, bool) {
	if id == 0 {
		return noID, true
	}
	n := id - g.first
	if id < g.first || n >= g.length {
		return noID, false
	}
	return bulkIDOf(n + 1), true
}

// id is the reverse of offset.
func (g *bulkGroups) id(i bulkID) uint32 {
	if i == noID || i == oddID {
		return 0
	}
	return g.first + i.number() - 1
}

// get returns the group of a kernel id or of one of Desired, nil for none.
func (g *bulkGroups) get(i bulkID) *bulkGroup {
	if i == noID || i == oddID {
		return nil
	}
	// Candidates of one object lie a stride apart; see Owner.candidates.
	n := (i.number()-1)%g.stride + 1
	have := g.byID[n]
	if have == nil {
		have = &bulkGroup{}
		g.byID[n] = have
		g.idle++
	}
	return have
}

// count changes a counter of a group by d.
func (g *bulkGroups) count(have *bulkGroup, counter *int, d int) {
	before := have.used()
	*counter += d
	if after := have.used(); after != before {
		g.inUse, g.told = nil, false
		if after {
			g.idle--
		} else {
			g.idle++
		}
	}
}

// want notes in e what is wanted.
func (b *Bulk) want(e *bulkEntry, group bulkID) {
	if e.wanted == group {
		return
	}
	if g := b.groups.get(e.wanted); g != nil {
		b.groups.count(g, &g.wanted, -1)
	}
	if g := b.groups.get(group); g != nil {
		b.groups.count(g, &g.wanted, +1)
	}
	e.wanted = group
}

// hold notes in e what the kernel holds.
func (b *Bulk) hold(e *bulkEntry, kernel bulkID) {
	if e.held == kernel {
		return
	}
	if (e.held == noID) != (kernel == noID) {
		d := 1
		if kernel == noID {
			d = -1
		}
		b.held += d
		if e.generation != b.generation {
			b.unclaimed += d
		}
	}
	if g := b.groups.get(e.held); g != nil {
		b.groups.count(g, &g.held, -1)
	}
	if g := b.groups.get(kernel); g != nil {
		b.groups.count(g, &g.held, +1)
	}
	e.held = kernel
}

// Groups tells which groups the kernel holds, by their ids as Desired names them:
// what [Writer.GroupIDs] returned. Prefixes that lead to another one wait for it. It
// is to be called after each Sync.
func (b *Bulk) Groups(kernelID map[uint32]uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := false
	for n, g := range b.groups.byID {
		if _, ok := kernelID[b.groups.first+n-1]; ok || g.kernel == noID {
			continue
		}
		g.kernel, news = noID, true
		if g.held > 0 {
			b.suspect(fmt.Sprintf("group %d is gone", b.groups.first+n-1))
		}
	}
	for id, at := range kernelID {
		i, ok := b.groups.offset(id)
		kernel, okKernel := b.groups.offset(at)
		if !ok || !okKernel || i == noID || kernel == noID {
			continue
		}
		g := b.groups.get(i)
		if g.kernel == kernel {
			continue
		}
		if g.kernel != noID || g.held > 0 || g.many {
			b.moved = true
		}
		g.kernel, g.many, news = kernel, false, true
		if len(g.parked) > 0 {
			b.groups.arrived = append(b.groups.arrived, i.number())
		}
	}
	if news {
		b.refused.hurry()
		b.wake()
	}
}

// InUse returns the groups, by their ids as Desired names them, that prefixes lead
// to in the kernel or are to lead to, in ascending order. They must not be removed;
// all others may be, because nothing will lead to them before Groups has named them
// again. That is so once adopted is true; before, the kernel may hold routes that
// lead to others. The caller must not change what it returns.
func (b *Bulk) InUse() (ids []uint32, adopted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.groups.idle > 0 {
		for n, g := range b.groups.byID {
			if !g.used() {
				delete(b.groups.byID, n)
			}
		}
		b.groups.idle = 0
	}
	if b.groups.inUse == nil {
		b.groups.inUse = make([]uint32, 0, len(b.groups.byID))
		for n := range b.groups.byID {
			b.groups.inUse = append(b.groups.inUse, b.groups.first+n-1)
		}
		slices.Sort(b.groups.inUse)
	}
	return b.groups.inUse, b.adopted
}

// announce tells the caller of Run that InUse has changed.
func (b *Bulk) announce(changed func()) {
	b.mu.Lock()
	news := !b.groups.told
	b.groups.told = true
	b.mu.Unlock()
	if news && changed != nil {
		changed()
	}
}

// park makes k wait for g.
func (g *bulkGroup) park(k bulkKey) {
	if g.many {
		return
	}
	if g.parked = append(g.parked, k); len(g.parked) > bulkChunk {
		g.parked, g.many = nil, true
	}
}

// unpark takes up the prefixes of one of the groups that have come.
func (b *Bulk) unpark() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.groups.arrived) - 1
	if last < 0 {
		return false
	}
	g := b.groups.byID[b.groups.arrived[last]]
	b.groups.arrived = b.groups.arrived[:last]
	if g == nil {
		return true // Nobody wants it any more.
	}
	keys := g.parked
	g.parked = nil
	for _, k := range keys {
		if e, ok := b.routes.get(k); ok && e.stage() == stageParked {
			b.place(k, e)
		}
	}
	return true
}
