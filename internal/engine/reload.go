package engine

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// reload is a request to use another configuration, or to remember why there is
// none.
type reload struct {
	config    *config.Config
	keys      map[string]keyRing
	passwords map[string]password
	err       error
}

// Reload makes c the configuration. Only what differs is touched. It reads the files of
// keys and passwords that c names, which may have changed although c has not, and waits for the
// loop to hear of it, at most until ctx ends.
func (e *Engine) Reload(ctx context.Context, c *config.Config) {
	e.send(ctx, reload{config: c, keys: readKeys(c), passwords: readPasswords(c)})
}

// ReloadFailed remembers why a newer configuration is not in use.
func (e *Engine) ReloadFailed(ctx context.Context, err error) { e.send(ctx, reload{err: err}) }

func (e *Engine) send(ctx context.Context, r reload) {
	select {
	case e.reloads <- r:
	case <-ctx.Done():
	}
}

// errOwner refuses a reload that would make us forget what is ours.
var errOwner = errors.New("protocol and next-hops.base say what is ours in the kernel and cannot change while running: " +
	"stop multihomed, run `multihomed withdraw` with the old configuration, and start it with the new one")

// errBulkOwner refuses the same of the routes to prefixes.
var errBulkOwner = errors.New("bgp.protocol and tables.prefixes say which routes to prefixes are ours in the kernel and cannot change while running: " +
	"stop multihomed, run `multihomed withdraw` with the old configuration, and start it with the new one")

// pending is a configuration that waits for a snapshot that was made for it. Where
// default routes have not been read yet, none of them would look like no gateway,
// and a live way like a dead one.
type pending struct {
	site *site
	// before is the snapshot that knew nothing of it.
	before *netmon.Snapshot
}

// use takes a request.
func (e *Engine) use(r reload) {
	var next *site
	if r.err == nil {
		next = newSite(r.config)
		next.keys, next.passwords = r.keys, r.passwords
		if next.owner != e.site.owner {
			r.err = errOwner
		} else if e.bulk.runs && bulkOwner(next.config, next.owner) != e.bulk.owner {
			r.err = errBulkOwner
		}
		if r.err != nil {
			e.log.Error("the new configuration is not used; the old one goes on", "config", e.opts.Path, "error", r.err)
		}
	}
	e.stats.configError = r.err
	if r.err == nil {
		e.await(next)
	}
	e.show()
}

// await makes next the configuration in use, at once if the monitor has looked at
// all that it asks for.
func (e *Engine) await(next *site) {
	switch {
	case !e.learns(next):
		before, _ := e.monitor.Snapshot()
		e.pending = &pending{next, before}
		e.watch(e.watching)
	case e.pending != nil:
		e.pending.site = next // It waits for what the one before it waited for.
	default:
		e.pending = &pending{site: next}
		e.replace()
	}
}

// learns reports whether the monitor already reads the default routes of every
// interface from which t learns a gateway.
func (e *Engine) learns(t *site) bool {
	return !slices.ContainsFunc(t.learnFrom(), func(name string) bool { return !slices.Contains(e.watching.LearnFrom, name) })
}

// settle replaces the configuration once the monitor has looked by it.
func (e *Engine) settle(s *netmon.Snapshot) {
	if e.pending != nil && e.pending.before != s {
		e.replace()
	}
}

// replace makes the pending configuration the one in use. An uplink that changed
// nothing but its name keeps its history.
func (e *Engine) replace() {
	next := e.pending.site
	for _, m := range next.members {
		old, ok := e.site.renamed(next, m)
		if verdict, known := e.verdicts[old]; ok && known {
			e.verdicts[m.Way] = verdict
			e.found.seen[m.Way] = e.found.seen[old]
		}
		if ok {
			e.peering.slots.rename(old.Uplink, m.Uplink)
			e.drains.rename(old, m.Way)
		}
	}
	if e.drains.retain(next.members) {
		e.drains.remember()
	}
	inheritKeys(e.site.keys, next.keys)
	e.logKeys(next)
	inheritPasswords(e.site.passwords, next.passwords)
	e.logPasswords(next)
	e.site, e.pending = next, nil
	e.bulk.own(bulkOwner(next.config, next.owner))
	e.log.Info("configuration reloaded", "config", e.opts.Path, "uplinks", len(next.config.Uplinks))
}

// renamed returns the way of t that m of next is under another name.
func (t *site) renamed(next *site, m member) (uplink.Way, bool) {
	names := func(c *config.Config, name string) bool {
		return slices.ContainsFunc(c.Uplinks, func(u config.Uplink) bool { return u.Name == name })
	}
	if names(t.config, m.Uplink) {
		return uplink.Way{}, false
	}
	for _, old := range t.members {
		same := old.conf
		same.Name = m.conf.Name
		if old.Family == m.Family && reflect.DeepEqual(same, m.conf) && !names(next.config, old.Uplink) {
			return old.Way, true
		}
	}
	return uplink.Way{}, false
}

// watch makes the monitor watch what c says, and what a pending configuration will
// need to know.
func (e *Engine) watch(c netmon.Config) {
	if e.pending != nil {
		c.LearnFrom = slices.Concat(c.LearnFrom, e.pending.site.learnFrom())
	}
	if !equalWatch(c, e.watching) {
		e.watching = c
		e.monitor.Configure(c)
	}
}
