package fib

import (
	"maps"
	"slices"
)

// scope is what is known of the tables that can have routes of ours: enough to read
// only those. To find ours among all tables the kernel walks every route of
// everybody, a million of them in a quarter of a second.
type scope struct {
	// listening says that Watch hears of every route of owner; lapses counts the moments
	// when it did not.
	listening bool
	owner     Owner
	lapses    int
	// complete says that all tables were read since it listens without a lapse.
	complete bool
	// fresh are tables that were written to, or heard of, since the last look began.
	fresh map[uint32]bool
}

// look is one reading of our routes.
type look struct {
	// tables are to be read; the only one is 0 if it is all of them.
	tables []uint32
	owner  Owner
	all    bool
	lapses int
}

// listens is told when Watch begins to hear everything of o, and lapsed when it
// missed something or ends.
func (k *Netlink) listens(o Owner) {
	k.shared.Lock()
	defer k.shared.Unlock()
	k.scope = scope{listening: true, owner: o, lapses: k.scope.lapses + 1, fresh: k.scope.fresh}
}

func (k *Netlink) lapsed(listening bool) {
	k.shared.Lock()
	defer k.shared.Unlock()
	k.scope.lapses++
	k.scope.complete = false
	k.scope.listening = k.scope.listening && listening
}

// beginLook decides which tables List has to read. Kernels without next hops are
// older than those that read one table only.
func (k *Netlink) beginLook(o Owner) look {
	k.shared.Lock()
	defer k.shared.Unlock()
	l := look{owner: o, lapses: k.scope.lapses}
	k.scope.fresh = map[uint32]bool{}
	if k.capabilities.NextHops && k.scope.listening && k.scope.complete && k.scope.owner == o {
		l.tables = slices.Sorted(maps.Keys(k.tables))
		return l
	}
	l.all, l.tables = true, []uint32{0}
	return l
}

// endLook notes which tables had routes.
func (k *Netlink) endLook(l look, had map[uint32]bool) {
	k.shared.Lock()
	defer k.shared.Unlock()
	k.tables = maps.Clone(had)
	maps.Copy(k.tables, k.scope.fresh)
	if l.all && k.scope.listening && k.scope.owner == l.owner && k.scope.lapses == l.lapses {
		k.scope.complete = true
	}
}

// rememberTable is rememberTables for one.
func (k *Netlink) rememberTable(table uint32) { k.rememberTables(map[uint32]bool{table: true}) }
