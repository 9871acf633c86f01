package fib

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// BulkOwner says which routes are those of a [Bulk], from the kernel alone: all of
// one protocol in one table. Neither may be that of an [Owner].
type BulkOwner struct {
	// Protocol is the route protocol number, 5..255.
	Protocol uint8
	Table    uint32
	// Metric of every route; not 0.
	Metric uint32
	// NextHops is the range of ids that the groups of the routes lie in, as in Owner;
	// at most 2^24-2 ids long.
	NextHops Range
}

// BulkRoute leads a prefix to a next-hop group.
type BulkRoute struct {
	// Prefix is masked, and no default route: those are the business of a Writer.
	Prefix netip.Prefix
	// Group is the id of the group as Desired names it; 0 means that there is to be
	// no route.
	Group uint32
}

// BulkWrite is one change of the kernel's table.
type BulkWrite struct {
	Prefix netip.Prefix
	// Was is the kernel id that the route of ours leads to, as far as is known; 0 if
	// there is none. It decides whether a route may be replaced or has to be created:
	// what is there although we have none is a stranger's.
	Was uint32
	// NextHop is the kernel id that the route is to lead to; 0 removes it.
	NextHop uint32
}

// BulkFound is a route that the kernel holds in the table of a BulkOwner.
type BulkFound struct {
	Prefix netip.Prefix
	// Protocol is that of the owner, or that of a stranger whose route has the metric
	// of the owner and so stands where ours would.
	Protocol uint8
	// NextHop is the kernel id that it leads to; 0 if it leads elsewhere.
	NextHop uint32
	// Stray is set for a route of ours under a key that is never written (another
	// metric, a TOS). It can only be deleted.
	Stray Stray
}

// BulkKernel is the seam to the operating system. [Netlink] is the real one;
// package fibtest has one in memory.
type BulkKernel interface {
	// ListBulk calls each for every route of the table that BulkFound describes, IPv4
	// before IPv6. An interrupted read is an error, and what was told until then is
	// part of the truth.
	ListBulk(ctx context.Context, o BulkOwner, each func(BulkFound)) error
	// ApplyBulk executes writes and returns one error per write, nil where it
	// succeeded, or nil for all of them. A failing one does not stop the ones behind
	// it. Removing what is not there succeeds; what is there although Was is 0 fails
	// with EEXIST.
	ApplyBulk(ctx context.Context, o BulkOwner, writes []BulkWrite) []error
	// RemoveStrays deletes what ListBulk found, with one error for each.
	RemoveStrays(ctx context.Context, o BulkOwner, strays []Stray) []error
}

// Pace of a Bulk.
const (
	// bulkRoom is how many prefixes may be unwritten before Set waits; 24 octets each.
	bulkRoom = 200_000
	// bulkChunk bounds how long the lock is held: some 100 µs.
	bulkChunk = 512
	// bulkLook is how often the table is read although nobody asked for it: most of
	// what happens to it happens without a word. Reading a million routes costs about
	// a second of one core.
	bulkLook = 10 * time.Minute
	// bulkLookGap is the least time between two reads.
	bulkLookGap = time.Second
	// bulkRetryFirst and bulkRetryMost bound the backoff of what the kernel refuses.
	bulkRetryFirst = time.Second
	bulkRetryMost  = time.Minute
)

// Bulk keeps the routes of one table equal to a mapping from prefixes to groups that
// changes by increments, beside the small state that a [Writer] keeps. See doc.go.
// All its methods may be called from any goroutine; only Set waits.
type Bulk struct {
	kernel BulkKernel
	owner  BulkOwner
	log    *slog.Logger
	// poke wakes Run.
	poke chan struct{}

	mu      sync.Mutex
	routes  bulkRoutes
	groups  bulkGroups
	queue   bulkQueue
	refused bulkRefused
	// room is closed when Set may go on; nil while nobody waits.
	room chan struct{}

	// parity is that of every entry that was seen in the kernel, or written, since the
	// running look began, or of all if none is running.
	parity, looking bool
	// adopted says that the table was read once; found how many routes were there.
	adopted bool
	found   int
	// generation is that of what was told since Unclaim; claiming lasts until Sweep.
	generation uint8
	claiming   bool
	sweep      bool
	// stale names why the kernel may differ from what is remembered; "" if not.
	stale string
	// moved says that a group has another id in the kernel, or has come while more
	// prefixes waited for it than it remembers.
	moved bool
	looks looks

	held, unclaimed, parked           int
	written, failed, repaired, strays uint64
}

// looks paces the reading of the table.
type looks struct {
	// next is the earliest time for a look that somebody asked for, last when the
	// last good one ended.
	next, last time.Time
	retry      backoff
}

// NewBulk returns a Bulk that has not read k yet.
func NewBulk(k BulkKernel, o BulkOwner, log *slog.Logger) *Bulk {
	return &Bulk{
		kernel: k, owner: o, log: log,
		poke:   make(chan struct{}, 1),
		routes: newBulkRoutes(), groups: newBulkGroups(o.NextHops), refused: newBulkRefused(),
		generation: 1, claiming: true, stale: "start",
	}
}

// Adopted returns how many routes a previous life left in the kernel, and false
// until that has been read.
func (b *Bulk) Adopted() (int, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.found, b.adopted
}

// Set tells which prefixes lead where now. It waits while too much is unwritten, at
// most until ctx ends, which is its error; the routes that it could not take by then
// are not told. A prefix or group that cannot be is refused in the error too, and
// keeps no other from being taken.
func (b *Bulk) Set(ctx context.Context, routes []BulkRoute) error {
	var bad error
	for len(routes) > 0 {
		n := min(len(routes), bulkChunk)
		room, err := b.take(routes[:n])
		if room == nil {
			if bad == nil {
				bad = err
			}
			routes = routes[n:]
			continue
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return bad
}

// take is Set for a few routes. It returns what to wait for if there is no room.
func (b *Bulk) take(routes []BulkRoute) (room <-chan struct{}, bad error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue.len() >= bulkRoom {
		if b.room == nil {
			b.room = make(chan struct{})
		}
		return b.room, nil
	}
	for _, r := range routes {
		group, ok := b.groups.offset(r.Group)
		if !ok || !bulkPrefix(r.Prefix) {
			b.failed++
			if bad == nil {
				bad = fmt.Errorf("take route to %s by group %d: the prefix or the group cannot be", r.Prefix, r.Group)
			}
			continue
		}
		b.tell(keyOf(r.Prefix), group)
	}
	b.wake()
	return nil, bad
}

// bulkPrefix reports whether p can be the destination of a bulk route.
func bulkPrefix(p netip.Prefix) bool {
	return p.IsValid() && p.Bits() > 0 && !p.Addr().Is4In6() && p == p.Masked()
}

// tell notes that k is to lead to group, an offset.
func (b *Bulk) tell(k bulkKey, group bulkID) {
	e, ok := b.routes.get(k)
	switch {
	case ok:
	case group == noID && b.adopted:
		return // It is not there, and is not to be.
	default:
		// What a running look finds is news about it.
		e.set(bitParity, b.parity != b.looking)
	}
	b.claim(&e)
	e.set(bitTold, true)
	b.want(&e, group)
	b.place(k, e)
}

// claim moves e into the present generation.
func (b *Bulk) claim(e *bulkEntry) {
	if e.generation != b.generation {
		e.generation = b.generation
		if e.held != noID {
			b.unclaimed--
		}
	}
}

// Unclaim says that whoever calls Set has forgotten what it told, and begins anew.
// Nothing that was not told to go is removed until Sweep.
func (b *Bulk) Unclaim() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.generation == lastGeneration {
		b.age()
	}
	b.claiming, b.sweep = true, false
	b.unclaimed = b.held
	if b.generation++; b.generation == 0 {
		b.generation = 1 // 0 is that of entries that nobody claimed.
	}
}

// lastGeneration is the one behind which numbers are used again.
const lastGeneration = 1<<8 - 1

// age lets nobody keep the number of a past generation before it is used again. The
// lock is let go now and then: nothing depends on which past generation one is of.
func (b *Bulk) age() {
	b.walk(func(k bulkKey, e bulkEntry) bool {
		if e.generation != b.generation {
			e.generation = 0
			b.routes.put(k, e)
		}
		return true
	}, func() bool {
		b.mu.Unlock()
		b.mu.Lock()
		return true
	})
}

// Sweep removes the routes that were not told since Unclaim, or since the start.
func (b *Bulk) Sweep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claiming, b.sweep = false, true
	b.wake()
}

// Invalidate says that the kernel may differ from what is remembered, and why.
func (b *Bulk) Invalidate(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.suspect(why)
}

// suspect is Invalidate with the lock held.
func (b *Bulk) suspect(why string) {
	if b.stale == "" {
		b.stale = why
		b.wake()
	}
}

// wake makes Run look what there is to do.
func (b *Bulk) wake() {
	select {
	case b.poke <- struct{}{}:
	default:
	}
}

// BulkStats is what a [Bulk] has done and has to do.
type BulkStats struct {
	// Routes are in the kernel, Pending are to be written, Waiting among them wait for
	// their group. Unclaimed are in the kernel and were not told yet.
	Routes, Pending, Waiting, Unclaimed int
	// Written counts routes that were added, replaced or removed, Failed refusals by
	// the kernel, Repaired what had vanished or was changed by others.
	Written, Failed, Repaired uint64
	// Error is the last refusal that still stands, in words; empty if none does.
	Error string
}

// Stats returns what was done and is to be done. It does not wait for the kernel.
func (b *Bulk) Stats() BulkStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return BulkStats{
		Routes: b.held, Pending: b.queue.len() + b.queue.flying + b.parked + b.refused.n, Waiting: b.parked, Unclaimed: b.unclaimed,
		Written: b.written, Failed: b.failed, Repaired: b.repaired,
		Error: b.refused.words(),
	}
}
