package bgp

import "net/netip"

// queue has entries in the order in which they became dirty.
type queue struct {
	list []uint32
	head int
}

// keepQueue is how much of an empty queue is kept.
const keepQueue = 1 << 12

func (q *queue) push(i uint32) {
	if len(q.list) == cap(q.list) && q.head > len(q.list)/2 {
		q.list = q.list[:copy(q.list, q.list[q.head:])]
		q.head = 0
	}
	q.list = append(q.list, i)
}

func (q *queue) pop() (uint32, bool) {
	if q.head == len(q.list) {
		return 0, false
	}
	i := q.list[q.head]
	q.head++
	if q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
		if cap(q.list) > keepQueue {
			q.list = nil
		}
	}
	return i, true
}

func (q *queue) len() int { return len(q.list) - q.head }

// take returns, in buf, prefixes whose choice differs from what was told last, at most
// cap(buf). None means that there are none, unless cap(buf) is 0. A prefix that changed
// several times, or back again, is told as it is now, or not at all.
func (r *rib) take(buf []Route) []Route {
	buf = buf[:0]
	for len(buf) < cap(buf) {
		i, ok := r.queue.pop()
		if !ok {
			break
		}
		now := r.choose(i)
		differs := now != r.entries.told(i)
		if differs {
			buf = append(buf, Route{Prefix: r.entries.prefix(i), Choice: now})
		}
		r.entries.clean(i, now)
		r.collect(i)
	}
	r.shrink()
	return buf
}

// changed reports whether take may have something to return.
func (r *rib) changed() bool { return r.queue.len() > 0 }

// again forgets what was told, so that take tells everything once more. What nobody
// offers any more is not told: whoever forgot does not know of it.
func (r *rib) again() {
	r.queue = queue{}
	r.entries.each(func(i uint32) {
		r.entries.clean(i, 0)
		if *r.entries.meta(i)&usersMask != 0 {
			r.touch(i)
		} else {
			r.entries.remove(i)
		}
	})
	r.shrink()
}

// setRule ranks by another rule from now on.
func (r *rib) setRule(rule ASPathRule) {
	if r.rule == rule {
		return
	}
	r.rule = rule
	r.rerank()
}

// rerank ranks everything anew. What comes out differently is told.
func (r *rib) rerank() { r.entries.each(r.touch) }

// choice returns the choice for a prefix: zero if nobody offers it, and for a default
// route, which is not ranked here.
func (r *rib) choice(prefix netip.Prefix) Choice {
	i, ok := r.entry(prefix)
	if !ok || i == fallbackEntry {
		return 0
	}
	return r.choose(i)
}

// choose ranks the paths of entry i.
func (r *rib) choose(i uint32) Choice {
	var all [MaxSlots]candidate
	n := 0
	for s := range r.columns[:MaxSlots] {
		if at := r.columns[s].cells.at(i); at != nil && at.accepted() {
			all[n] = candidate{slot: Slot(s), grade: r.grades.at(at.grade())} //nolint:gosec // 0..7.
			n++
		}
	}
	return choose(r.rule, all[:n])
}

// shrink gives memory back if most of it is unused.
func (r *rib) shrink() {
	switch {
	case r.entries.live == 0 && r.entries.handed > 0:
		r.reset()
	case r.entries.sparse():
		r.copy()
	}
}

// reset forgets the memory of entries, of which there are none. The columns have no
// cells then.
func (r *rib) reset() {
	for i := range r.columns {
		r.columns[i].cells = cells{}
	}
	r.entries = newEntries(r.family)
	r.queue = queue{}
}

// copy makes everything anew, only as large as it needs to be. The queue comes out in
// another order, which means nothing.
func (r *rib) copy() {
	old, columns := r.entries, [maxColumns]cells{}
	for c := range r.columns {
		columns[c], r.columns[c].cells = r.columns[c].cells, cells{}
	}
	r.entries, r.queue = newEntries(r.family), queue{}
	old.each(func(from uint32) {
		k := old.key(from)
		to := r.entries.add(&k)
		meta := *old.meta(from)
		*r.entries.meta(to) = meta
		if meta&dirtyBit != 0 {
			r.queue.push(to)
		}
		for c := range columns {
			at := columns[c].at(from)
			if at == nil || *at == 0 {
				continue
			}
			cells := &r.columns[c].cells
			here := cells.at(to)
			if here == nil {
				here = cells.make(to)
			}
			*here = *at
			cells.filled(to)
		}
	})
}
