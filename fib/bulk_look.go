package fib

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxStrays is how many strays are removed after one look; those that remain are
// found by the next.
const maxStrays = 4096

// due returns why the table has to be read now, "" if it has not.
func (b *Bulk) due(now time.Time) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stale != "" && !now.Before(b.looks.next):
		return b.stale
	case b.stale == "" && !now.Before(b.looks.last.Add(bulkLook)):
		return "periodic look"
	default:
		return ""
	}
}

// look reads the table and makes what is remembered equal to it. What is wanted
// and differs is queued. Reading IPv4 goes on beside writing; IPv6 starts its list
// anew whenever it changes (net/ipv6/ip6_fib.c, fib6_dump_table), so nothing is
// written meanwhile.
func (w *bulkWriter) look(ctx context.Context, why string) {
	began := time.Now()
	w.mu.Lock()
	w.stale = ""
	w.parity, w.looking = !w.parity, true
	w.strays = 0
	repaired, first := w.repaired, !w.adopted
	w.mu.Unlock()
	var strays []Stray
	w.finds = w.finds[:0]
	err := w.kernel.ListBulk(ctx, w.owner, func(f BulkFound) {
		w.finds = append(w.finds, f)
		if len(w.finds) == bulkChunk {
			strays = w.compare(strays)
			if f.Prefix.Addr().Is4() && !first {
				w.write(ctx)
			}
		}
	})
	strays = w.compare(strays)
	if ctx.Err() != nil {
		return
	}
	w.conclude(ctx, err == nil)
	for _, err := range w.kernel.RemoveStrays(ctx, w.owner, strays) {
		if err != nil {
			w.log.Warn("a route of ours in a form that we do not write cannot be removed", "table", w.owner.Table, "reason", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if err != nil {
		w.suspect(why)
		w.looks.next = now.Add(w.looks.retry.fail(now))
		w.log.Warn("the table of prefixes could not be read; it is read again", "table", w.owner.Table, "reason", err)
		return
	}
	if w.strays > uint64(len(strays)) && !w.claiming {
		w.suspect(why)
	}
	w.looks.retry = backoff{}
	w.looks.last = now
	w.looks.next = now.Add(max(bulkLookGap, 3*now.Sub(began)))
	w.log.Debug("read the table of prefixes", "table", w.owner.Table, "reason", why, "routes", w.held)
	if n := w.repaired - repaired; n > 0 {
		w.log.Info("routes to prefixes differed in the kernel; repairing them", "table", w.owner.Table, "reason", why, "routes", n)
	}
}

// compare takes up what was found, and returns the strays with those to remove.
func (w *bulkWriter) compare(strays []Stray) []Stray {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.finds {
		switch {
		case f.Stray.Request != "":
			// Before Sweep they may carry what a previous life wrote.
			if w.strays++; !w.claiming && len(strays) < maxStrays {
				strays = append(strays, f.Stray)
			}
		case f.Protocol != w.owner.Protocol:
			w.foreign(f)
		default:
			w.see(f)
		}
	}
	w.finds = w.finds[:0]
	return strays
}

// foreign notes who is in the place of a route that was refused.
func (b *Bulk) foreign(f BulkFound) {
	k := keyOf(f.Prefix)
	if e, ok := b.routes.get(k); ok && e.held == noID && e.stage() == stageRefused {
		there := routeMessage{route: Route{Table: b.owner.Table, Dst: f.Prefix, Metric: b.owner.Metric}, protocol: f.Protocol}
		b.refused.note(k, refusal{foreign: true, words: fmt.Sprintf("add %s route %s: %s",
			there.route.Family(), describeKey(there.route.Key()), foreignRoute(there, errTaken))})
	}
}

// errTaken is what a stranger's route in our place means.
var errTaken = errors.New("it is in the place of ours")

// see takes up a route of ours.
func (b *Bulk) see(f BulkFound) {
	k := keyOf(f.Prefix)
	at, ok := b.groups.offset(f.NextHop)
	if !ok || at == noID {
		at = oddID
	}
	e, known := b.routes.get(k)
	if known && e.is(bitParity) == b.parity {
		return // Written since the look began, or a second one under one key.
	}
	e.set(bitParity, b.parity)
	if e.held != at {
		if b.adopted && (e.is(bitTold) || !b.claiming) {
			b.repaired++
		}
		b.hold(&e, at)
	}
	if !known && b.adopted && !b.claiming {
		// Nobody wants it, and everybody has spoken.
		b.claim(&e)
		e.set(bitTold, true)
	}
	b.place(k, e)
}

// conclude ends a look: what is held and was not seen has vanished, if all was read.
func (w *bulkWriter) conclude(ctx context.Context, all bool) {
	w.mu.Lock()
	w.looking = false
	first := all && !w.adopted
	if first {
		w.adopted, w.found = true, w.held
	}
	w.mu.Unlock()
	var cut bool // Nobody asks for it again: the end of ctx is the end.
	w.walk(ctx, &cut, func(k bulkKey, e bulkEntry) bool {
		unseen := e.is(bitParity) != w.parity
		e.set(bitParity, w.parity)
		if unseen && all && e.held != noID {
			if e.is(bitTold) && e.wanted != noID {
				w.repaired++
			}
			w.hold(&e, noID)
			w.place(k, e)
			return true
		}
		w.routes.put(k, e)
		if first && e.held == noID && e.stage() == stageSettled {
			w.place(k, e) // Told to go, and not there.
		}
		return true
	})
	if first {
		w.log.Info("routes to prefixes are adopted", "table", w.owner.Table, "routes", w.found)
	}
}
