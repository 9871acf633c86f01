package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// bulk joins the routes to prefixes to the small state: the speaker tells which
// prefixes have which choice, the loop draws a group for each choice that is in use,
// and fib.Bulk leads prefixes to groups. The loop never waits for it.
type bulk struct {
	engine *Engine
	// layout gives choices their ids. What ids depend on cannot change while running.
	layout uplink.Layout

	// The rest belongs to the loop, but for what mu guards.
	owner fib.BulkOwner
	runs  bool
	// found are the choices that a previous life left groups of. They are drawn until
	// their routes have been read: the kernel deletes a group with all of its routes.
	found []uint32
	// held are the groups that the kernel held last, by their ids as desired; groups is
	// how many of them prefixes lead to.
	held   map[uint32]uint32
	groups int
	// swept: nobody wants prefixes, and what was left was removed.
	swept bool

	mu sync.Mutex // guards routes, which is nil where the kernel has no room for them
	// routes is another one only while it does not run.
	routes *fib.Bulk
}

func newBulk(e *Engine, t *site) *bulk {
	b := &bulk{engine: e, layout: t.layout}
	b.own(bulkOwner(t.config, t.owner))
	return b
}

// own says which routes are ours, which may change until they are first read.
func (b *bulk) own(o fib.BulkOwner) {
	e := b.engine
	if b.runs || o == b.owner || e.opts.Bulk == nil {
		return
	}
	b.owner = o
	b.mu.Lock()
	b.routes = fib.NewBulk(e.opts.Bulk, o, e.log)
	b.mu.Unlock()
}

// table returns where routes are told to; nil if nowhere.
func (b *bulk) table() *fib.Bulk {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.routes
}

// adopt notes which groups of choices a previous life left in the kernel.
func (b *bulk) adopt(actual fib.State) { b.found = foundChoices(b.layout, b.engine.site.owner, actual) }

// foundChoices returns the ids, as a layout draws them, of the groups of choices in
// the kernel.
func foundChoices(l uplink.Layout, o fib.Owner, actual fib.State) []uint32 {
	// Package fib may have shifted an id by a multiple of a quarter of the range.
	quarter := (o.NextHops.Last - o.NextHops.First + 1) / 4
	var out []uint32
	for id := range actual.Groups {
		drawn := l.NextHopBase + (id-l.NextHopBase)%quarter
		if _, _, ok := l.ChoiceOf(drawn); ok && id >= l.NextHopBase && !slices.Contains(out, drawn) {
			out = append(out, drawn)
		}
	}
	slices.Sort(out)
	return out
}

// inUse returns the groups that must be drawn.
func (b *bulk) inUse() []uint32 {
	table := b.table()
	if table == nil {
		return nil
	}
	ids, known := table.InUse()
	if !known {
		ids = slices.Concat(ids, b.found)
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	return ids
}

// choices returns what inUse means to a layout.
func (b *bulk) choices(l uplink.Layout, s slots) []uplink.Choice {
	ids := b.inUse()
	b.groups = len(ids)
	out := make([]uplink.Choice, 0, len(ids))
	for _, id := range ids {
		if f, code, ok := b.layout.ChoiceOf(id); ok {
			out = append(out, s.choice(l, f, code))
		}
	}
	return out
}

// follow tells what the last pass of the writer made of the groups, and starts the
// writing of prefixes once it is known that somebody wants them or some are left.
func (b *bulk) follow(ctx context.Context, rep fib.Report, wanted bool) {
	table := b.table()
	if table == nil || !b.runs && !wanted && len(b.found) == 0 {
		return
	}
	b.tell(table, rep)
	if !b.runs {
		b.runs = true
		e := b.engine
		e.supervise(ctx, "routes to prefixes", func(ctx context.Context) { table.Run(ctx, e.board.Poke) }, nil)
	}
	if wanted {
		b.swept = false
	} else if !b.swept && b.engine.ready {
		// The default groups carry all that these prefixes carried.
		b.swept = true
		table.Unclaim()
		table.Sweep()
	}
}

// tell says which groups the kernel holds, and whether some were lost meanwhile: the
// kernel deletes a group that lost its last device, with all of its routes, and says
// nothing of those.
func (b *bulk) tell(table *fib.Bulk, rep fib.Report) {
	lost := false
	for _, op := range rep.Done {
		g, ok := op.Object.(fib.Group)
		lost = lost || ok && op.Verb == fib.Add && b.holds(g.ID)
	}
	b.held = b.engine.writer.GroupIDs()
	table.Groups(b.held)
	if lost {
		table.Invalidate("a group of prefixes had vanished")
	}
}

// holds reports whether a group with this kernel id was there before, for prefixes.
func (b *bulk) holds(kernel uint32) bool {
	for id, at := range b.held {
		if _, _, ok := b.layout.ChoiceOf(id); ok && at == kernel {
			return true
		}
	}
	return false
}

// begin is called before the first routes of each child, on its goroutine.
func (b *bulk) begin() {
	if table := b.table(); table != nil {
		table.Unclaim()
	}
}

// take leads prefixes to the groups of their choices. It is called on the goroutine of
// the speaker and may block it: what cannot be told stays there.
func (b *bulk) take(ctx context.Context, batch bgp.Batch) {
	table := b.table()
	if table == nil {
		return
	}
	if len(batch.Routes) > 0 {
		routes := make([]fib.BulkRoute, len(batch.Routes))
		for i, r := range batch.Routes {
			routes[i].Prefix = r.Prefix
			if r.Choice != 0 {
				routes[i].Group = b.layout.ChoiceID(fib.FamilyOf(r.Prefix.Addr()), uint16(r.Choice))
			}
		}
		if err := table.Set(ctx, routes); ctx.Err() != nil {
			return // The end: what was not taken is told to the next one.
		} else if err != nil {
			b.engine.log.Warn("a route to a prefix cannot be taken", "error", err)
		}
	}
	if batch.Synced {
		table.Sweep()
	}
}
