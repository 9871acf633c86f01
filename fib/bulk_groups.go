package fib

import (
	"fmt"
	"slices"
)

// bulkGroup is a group that prefixes lead to, or that the kernel holds.
type bulkGroup struct {
	// kernel is its id there; noID while it is not known to be there.
	kernel bulkID
	// wanted and held count the prefixes that are to lead to it, and do.
	wanted, held int
	// parked are prefixes that wait for it, some of them perhaps no more; they are
	// looked through when there are compact of them.
	parked  []bulkKey
	compact int
}

func (g *bulkGroup) used() bool { return g.wanted+g.held > 0 }

// firstCompact is when a list of parked prefixes is looked through first.
const firstCompact = 4096

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
		have = &bulkGroup{compact: firstCompact}
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
		if g.kernel != noID || g.held > 0 {
			b.moved = true
		}
		g.kernel, news = kernel, true
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
// again. The caller must not change what it returns.
func (b *Bulk) InUse() []uint32 {
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
	return b.groups.inUse
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
func (b *Bulk) park(g *bulkGroup, k bulkKey) {
	if len(g.parked) >= g.compact {
		b.tidy(g)
		g.compact = 2*len(g.parked) + firstCompact
	}
	g.parked = append(g.parked, k)
}

// tidy takes out of the list of g what does not wait for it any more, or is in it
// twice: prefixes that went elsewhere and came back.
func (b *Bulk) tidy(g *bulkGroup) {
	kept := g.parked[:0]
	for _, k := range g.parked {
		if e, ok := b.routes.get(k); ok && e.stage() == stageParked && b.groups.get(e.wanted) == g {
			e.bits ^= uint8(stageParked) ^ uint8(stageRefused) // so that the next one is passed over
			b.routes.put(k, e)
			kept = append(kept, k)
		}
	}
	for _, k := range kept {
		e, _ := b.routes.get(k)
		e.bits ^= uint8(stageParked) ^ uint8(stageRefused)
		b.routes.put(k, e)
	}
	g.parked = kept
}

// unpark takes up some of the prefixes whose groups have come.
func (b *Bulk) unpark() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.groups.arrived) - 1
	if last < 0 {
		return false
	}
	g := b.groups.byID[b.groups.arrived[last]]
	for range bulkChunk {
		if g == nil || len(g.parked) == 0 {
			b.groups.arrived = b.groups.arrived[:last]
			break
		}
		k := g.parked[len(g.parked)-1]
		g.parked = g.parked[:len(g.parked)-1]
		if e, ok := b.routes.get(k); ok && e.stage() == stageParked {
			b.place(k, e)
		}
	}
	if g != nil && len(g.parked) == 0 {
		g.parked, g.compact = nil, firstCompact
	}
	return true
}
