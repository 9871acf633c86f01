package fib

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// Intruder is a foreign default route in a table that we write to or might: what
// a script of earlier days, a DHCP hook or another daemon left there. It is never
// removed, only named. Defaults with a TOS or a source prefix, which concern some
// packets only, are none.
type Intruder struct {
	// Route is the foreign route. Its Metric may be 0, and its Type is
	// RouteUnknown where it does something that this package never writes.
	Route Route
	// Protocol is the route protocol that it carries (rtm_protocol).
	Protocol uint8
}

// Command returns the ip command that removes the route and none of ours: it names
// the protocol, and without a metric the kernel takes the first that fits.
func (i Intruder) Command() string { return removal(i.Route, i.Protocol) }

// removal returns the ip command that removes a foreign route. A type that we
// have no word for is left out, which fits every type.
func removal(r Route, protocol uint8) string {
	w := ip(r.Family())
	w.add("route", Delete.String())
	if r.Type != RouteUnicast && r.Type != RouteUnknown {
		w.add(r.Type.String())
	}
	w.add(destination(r.Dst))
	w.num("table", uint64(r.Table))
	if r.Metric != 0 {
		w.num("metric", uint64(r.Metric))
	}
	w.add("proto", protocolName(protocol))
	return w.String()
}

// over says in words that the route wins over our default of the given metric, or
// has its key, and what to do about it.
func (i Intruder) over(ours uint32) string {
	kind := ""
	if i.Route.Type != RouteUnicast && i.Route.Type != RouteUnknown {
		kind = i.Route.Type.String() + " "
	}
	does := "wins over ours"
	if i.Route.Metric == ours {
		does = "stands in the place of ours"
	}
	return fmt.Sprintf("table %d holds a foreign %sdefault (proto %s, metric %d) that %s: remove it with: %s",
		i.Route.Table, kind, protocolName(i.Protocol), i.Route.Metric, does, i.Command())
}

// shadows says in words which of intruders take the place of a default of want:
// the lowest metric of a table wins, whatever the type.
func shadows(want State, intruders []Intruder) []string {
	if len(intruders) == 0 {
		return nil
	}
	lowest := map[space]uint32{}
	for key := range want.Routes {
		if key.Dst.Bits() != 0 {
			continue
		}
		at := space{FamilyOf(key.Dst.Addr()), key.Table}
		if m, ok := lowest[at]; !ok || key.Metric < m {
			lowest[at] = key.Metric
		}
	}
	var words []string
	for _, i := range intruders {
		if ours, ok := lowest[space{i.Route.Family(), i.Route.Table}]; ok && i.Route.Metric <= ours {
			words = append(words, i.over(ours))
		}
	}
	return words
}

// everybodys reports whether a table is shared by design: a foreign default in
// main is no intruder.
func everybodys(table uint32) bool {
	return table == unix.RT_TABLE_UNSPEC || table == unix.RT_TABLE_MAIN ||
		table == unix.RT_TABLE_LOCAL || table == unix.RT_TABLE_DEFAULT
}

// tableReader is a [Kernel] that finds the intruders of given tables. List looks
// only at tables that are in use; those that are about to be used come from the
// desired state, which List does not know.
type tableReader interface {
	// Intruders returns the foreign default routes in tables, except those that
	// are shared by design, in both families.
	Intruders(ctx context.Context, o Owner, tables []uint32) ([]Intruder, error)
}

// lookInto finds the intruders of tables that are written to and were not looked
// at yet. It comes behind the writes. What cannot be read is asked again by the
// next one: it is advice, and what it is about may be in the way of reading too.
func (w *Writer) lookInto(ctx context.Context, want State) {
	k, ok := w.kernel.(tableReader)
	if !ok {
		return
	}
	fresh := map[uint32]bool{}
	for key := range want.Routes {
		if !w.looked[key.Table] && !everybodys(key.Table) {
			fresh[key.Table] = true
		}
	}
	if len(fresh) == 0 {
		return
	}
	found, err := k.Intruders(ctx, w.owner, slices.Sorted(maps.Keys(fresh)))
	if err != nil {
		return
	}
	maps.Copy(w.looked, fresh)
	others := slices.DeleteFunc(slices.Clone(w.actual.Intruders), func(i Intruder) bool { return fresh[i.Route.Table] })
	w.actual.Intruders = slices.SortedStableFunc(slices.Values(append(others, found...)), compareIntruders)
}

func compareIntruders(a, b Intruder) int {
	return cmp.Or(
		cmp.Compare(a.Route.Table, b.Route.Table),
		cmp.Compare(a.Route.Family(), b.Route.Family()),
		cmp.Compare(a.Route.Metric, b.Route.Metric),
	)
}

// tablesOf returns the tables of routes.
func tablesOf(routes map[RouteKey]Route) map[uint32]bool {
	tables := map[uint32]bool{}
	for key := range routes {
		tables[key.Table] = true
	}
	return tables
}
