package fibtest

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
)

// List implements [fib.Kernel].
func (k *Kernel) List(_ context.Context, o fib.Owner) (fib.State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.call(); err != nil {
		return fib.State{}, err
	}
	s := fib.NewState()
	s.Capabilities = k.caps
	for id, n := range k.nextHops {
		switch {
		case !o.NextHops.Contains(id):
		case n.protocol == o.Protocol:
			s.NextHops[id] = n.object
		default:
			s.Taken[id] = n.protocol
		}
	}
	for id, g := range k.groups {
		switch {
		case !o.NextHops.Contains(id):
		case g.protocol == o.Protocol:
			g.object.Members = slices.Clone(g.object.Members)
			s.Groups[id] = g.object
		default:
			s.Taken[id] = g.protocol
		}
	}
	for key, r := range k.routes {
		if r.protocol == o.Protocol {
			s.Routes[key] = r.object
		}
	}
	for r := range k.rules {
		if r.protocol == o.Protocol && o.Rules.Contains(r.object.Priority) {
			s.Rules[r.object]++
		}
	}
	s.Strays = slices.Clone(k.strays)
	inUse := map[uint32]bool{}
	for key := range s.Routes {
		inUse[key.Table] = true
	}
	for r := range k.rules {
		inUse[r.object.Table] = true
	}
	s.Intruders = k.intruders(o, inUse)
	return s, nil
}

// Intruders returns the foreign default routes in tables, as [fib.Netlink] does.
// It is no call in the sense of FailCall.
func (k *Kernel) Intruders(_ context.Context, o fib.Owner, tables []uint32) ([]fib.Intruder, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	wanted := map[uint32]bool{}
	for _, table := range tables {
		wanted[table] = true
	}
	return k.intruders(o, wanted), nil
}

func (k *Kernel) intruders(o fib.Owner, tables map[uint32]bool) []fib.Intruder {
	shared := []uint32{unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL, unix.RT_TABLE_DEFAULT}
	var found []fib.Intruder
	for key, r := range k.routes {
		if r.protocol != o.Protocol && key.Dst.Bits() == 0 && tables[key.Table] && !slices.Contains(shared, key.Table) {
			found = append(found, fib.Intruder{Route: r.object, Protocol: r.protocol})
		}
	}
	slices.SortFunc(found, func(a, b fib.Intruder) int {
		return cmp.Or(
			cmp.Compare(a.Route.Table, b.Route.Table),
			cmp.Compare(a.Route.Family(), b.Route.Family()),
			cmp.Compare(a.Route.Metric, b.Route.Metric),
		)
	})
	return found
}
