// Package fibtest has a kernel in memory for tests of what is built on fib. It
// knows the dependencies that the real one enforces (a route needs its next hop,
// a group its members), removes what the real one removes in silence when a link
// goes down, and can be told to fail at any single call.
//
// What the real kernel does is proved in network namespaces by the tests of
// package fib; this one only has to agree with them.
package fibtest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
)

// Kernel is a kernel in memory. The zero value is not ready; use New.
type Kernel struct {
	// AfterEach, if set, is called after each op that succeeded, with the lock
	// released; tests check their invariants there.
	AfterEach func(op fib.Op)

	mu       sync.Mutex
	caps     fib.Capabilities
	nextHops map[uint32]owned[fib.NextHop]
	groups   map[uint32]owned[fib.Group]
	routes   map[fib.RouteKey]owned[fib.Route]
	rules    map[owned[fib.Rule]]bool
	strays   []fib.Stray
	down     map[int]bool
	writes   []fib.Op
	bulk     bulk
	calls    int
	failAt   int
	failure  error
	watchers map[int]func(string)
	watches  int
}

// owned is an object with the protocol number that marks whose it is.
type owned[T any] struct {
	object   T
	protocol uint8
}

// New returns an empty kernel with all capabilities and every link up.
func New() *Kernel {
	return &Kernel{
		caps:     fib.Capabilities{NextHops: true, Resilient: true},
		nextHops: map[uint32]owned[fib.NextHop]{},
		groups:   map[uint32]owned[fib.Group]{},
		routes:   map[fib.RouteKey]owned[fib.Route]{},
		rules:    map[owned[fib.Rule]]bool{},
		down:     map[int]bool{},
		watchers: map[int]func(string){},
	}
}

// SetCapabilities changes what the kernel can hold.
func (k *Kernel) SetCapabilities(c fib.Capabilities) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.caps = c
}

// FailCall makes the n-th call from now on (1 is the next one) fail with err. A
// List is one call, and so is each op of an Apply.
func (k *Kernel) FailCall(n int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls, k.failAt, k.failure = 0, n, err
}

// Calls returns the number of calls since New or FailCall.
func (k *Kernel) Calls() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls
}

// Writes returns the ops that succeeded since the last call of Writes.
func (k *Kernel) Writes() []fib.Op {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.writes
	k.writes = nil
	return w
}

// call counts a call and returns the error that it is to fail with.
func (k *Kernel) call() error {
	k.calls++
	if k.calls == k.failAt {
		return k.failure
	}
	return nil
}

// Apply implements [fib.Kernel].
func (k *Kernel) Apply(_ context.Context, ops []fib.Op) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		k.mu.Lock()
		if errs[i] = k.call(); errs[i] == nil {
			errs[i] = k.applyOurs(op)
		}
		if errs[i] == nil {
			k.writes = append(k.writes, op)
		}
		k.mu.Unlock()
		if errs[i] == nil && k.AfterEach != nil {
			k.AfterEach(op)
		}
	}
	return errs
}

// ipv6Metric is what the kernel makes of metric 0 in IPv6 (IP6_RT_PRIO_USER,
// include/uapi/linux/ipv6_route.h).
const ipv6Metric = 1024

// Stranger applies ops as somebody else would: not counted, never failing by
// order, and told to the watchers. A route of metric 0 keeps it in IPv4 and has
// 1024 in IPv6.
func (k *Kernel) Stranger(ops ...fib.Op) error {
	k.mu.Lock()
	for _, op := range ops {
		if r, ok := op.Object.(fib.Route); ok && r.Metric == 0 && r.Family() == fib.IPv6 {
			r.Metric = ipv6Metric
			op.Object = r
		}
		if err := k.apply(op); err != nil {
			k.mu.Unlock()
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	k.mu.Unlock()
	k.Notify("a stranger wrote")
	return nil
}

// Watchers returns the number of calls of Watch that have not returned.
func (k *Kernel) Watchers() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.watchers)
}

// AddStray adds an object with our mark in a shape that nobody can want. It is
// listed for every owner.
func (k *Kernel) AddStray(s fib.Stray) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.strays = append(k.strays, s)
}

// Notify tells the watchers that something may have changed, and why.
func (k *Kernel) Notify(why string) {
	k.mu.Lock()
	watchers := slices.Collect(maps.Values(k.watchers))
	k.mu.Unlock()
	for _, changed := range watchers {
		changed(why)
	}
}

// Watch implements [fib.WatchedKernel].
func (k *Kernel) Watch(ctx context.Context, _ fib.Owner, changed func(why string)) {
	k.mu.Lock()
	id := k.watches
	k.watches++
	k.watchers[id] = changed
	k.mu.Unlock()
	<-ctx.Done()
	k.mu.Lock()
	delete(k.watchers, id)
	k.mu.Unlock()
}

// SetLink takes the carrier of the device with this index, or gives it back.
// Like the real kernel it removes the next hops of the device without a word,
// and restores nothing. The watchers of a real one hear of the link, though: see
// Notify.
func (k *Kernel) SetLink(index int, up bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down[index] = !up
	if up {
		return
	}
	for id, n := range k.nextHops {
		if n.object.Device.Index == index {
			k.removeNextHop(id)
		}
	}
	for key, r := range k.routes {
		if slices.ContainsFunc(r.object.Hops, func(h fib.Hop) bool { return h.Device.Index == index }) {
			delete(k.routes, key)
		}
	}
}

// applyOurs refuses what package fib must never ask for.
func (k *Kernel) applyOurs(op fib.Op) error {
	if r, ok := op.Object.(fib.Route); ok && r.Metric == 0 && op.Verb != fib.Delete {
		return fmt.Errorf("metric 0 of %s: %w", r.Dst, unix.EINVAL)
	}
	return k.apply(op)
}

func (k *Kernel) apply(op fib.Op) error {
	switch o := op.Object.(type) {
	case fib.NextHop:
		return k.applyNextHop(op, o)
	case fib.Group:
		return k.applyGroup(op, o)
	case fib.Route:
		return k.applyRoute(op, o)
	case fib.Rule:
		return k.applyRule(op, o)
	case fib.Stray:
		if op.Verb != fib.Delete {
			return unix.EINVAL
		}
		k.strays = slices.DeleteFunc(k.strays, func(s fib.Stray) bool { return s == o })
		return nil
	default:
		panic(fmt.Sprintf("fibtest: unhandled object %T", o))
	}
}

func (k *Kernel) applyNextHop(op fib.Op, n fib.NextHop) error {
	have, exists := k.nextHops[n.ID]
	_, group := k.groups[n.ID]
	mine := owned[fib.NextHop]{n, op.Protocol}
	switch {
	case op.Verb == fib.Delete:
		// The kernel does not look at the protocol here.
		if exists {
			k.removeNextHop(n.ID)
		}
		return nil
	case op.Verb == fib.Add && exists && have == mine:
		return nil
	case !k.caps.NextHops:
		return unix.EOPNOTSUPP
	case group:
		return fmt.Errorf("a group has id %d: %w", n.ID, unix.EINVAL)
	case op.Verb == fib.Add && exists:
		return unix.EEXIST
	case k.down[n.Device.Index]:
		return unix.ENETDOWN
	}
	k.nextHops[n.ID] = mine
	return nil
}

func (k *Kernel) applyGroup(op fib.Op, g fib.Group) error {
	have, exists := k.groups[g.ID]
	_, hop := k.nextHops[g.ID]
	switch {
	case op.Verb == fib.Delete:
		if exists {
			k.removeGroup(g.ID)
		}
		return nil
	case op.Verb == fib.Add && exists && reflect.DeepEqual(have, owned[fib.Group]{g, op.Protocol}):
		return nil
	case hop:
		return fmt.Errorf("a next hop has id %d: %w", g.ID, unix.EINVAL)
	case op.Verb == fib.Add && exists:
		return unix.EEXIST
	case g.Type == fib.GroupResilient && !k.caps.Resilient:
		return unix.EOPNOTSUPP
	case exists && (have.object.Type != g.Type || have.object.Buckets != g.Buckets):
		return fmt.Errorf("type or buckets of group %d: %w", g.ID, unix.EINVAL)
	case len(g.Members) == 0 || g.Type == fib.GroupUnknown || (g.Type == fib.GroupResilient) != (g.Buckets > 0):
		return unix.EINVAL
	}
	seen := map[uint32]bool{}
	for _, m := range g.Members {
		if _, ok := k.nextHops[m.NextHop]; !ok || seen[m.NextHop] || m.Weight < 1 || m.Weight > 255 {
			return fmt.Errorf("member %d of group %d: %w", m.NextHop, g.ID, unix.EINVAL)
		}
		seen[m.NextHop] = true
	}
	g.Members = slices.Clone(g.Members)
	k.groups[g.ID] = owned[fib.Group]{g, op.Protocol}
	return nil
}

func (k *Kernel) applyRoute(op fib.Op, r fib.Route) error {
	have, exists := k.routes[r.Key()]
	hop, isHop := k.nextHops[r.NextHopID]
	_, isGroup := k.groups[r.NextHopID]
	switch {
	case op.Verb == fib.Delete:
		if exists && have.protocol == op.Protocol {
			delete(k.routes, r.Key())
		}
		return nil
	case op.Verb == fib.Add && exists && reflect.DeepEqual(have, owned[fib.Route]{r, op.Protocol}):
		return nil
	case op.Verb == fib.Add && exists:
		return unix.EEXIST
	case r.NextHopID != 0 && !isHop && !isGroup:
		return fmt.Errorf("nexthop id %d does not exist: %w", r.NextHopID, unix.EINVAL)
	case isHop && r.Family() == fib.IPv6 && hop.object.Family != fib.IPv6:
		return fmt.Errorf("nexthop %d is of another family: %w", r.NextHopID, unix.EINVAL)
	case r.NextHopID == 0 && r.Type == fib.RouteUnicast && len(r.Hops) == 0:
		return unix.EINVAL
	}
	for _, h := range r.Hops {
		if k.down[h.Device.Index] {
			return unix.ENETDOWN
		}
		if h.Weight < 1 || h.Weight > fib.MaxWeight {
			return fmt.Errorf("weight %d of %s: %w", h.Weight, r.Dst, unix.EINVAL)
		}
	}
	k.routes[r.Key()] = owned[fib.Route]{r, op.Protocol}
	return nil
}

func (k *Kernel) applyRule(op fib.Op, r fib.Rule) error {
	key := owned[fib.Rule]{r, op.Protocol}
	if op.Verb == fib.Delete {
		delete(k.rules, key)
		return nil
	}
	if r.Goto != 0 && r.Goto <= r.Priority {
		return unix.EINVAL
	}
	k.rules[key] = true
	return nil
}

// removeNextHop removes a next hop, and with it its memberships and routes.
func (k *Kernel) removeNextHop(id uint32) {
	delete(k.nextHops, id)
	for gid, g := range k.groups {
		members := slices.DeleteFunc(slices.Clone(g.object.Members), func(m fib.Member) bool { return m.NextHop == id })
		if len(members) == 0 {
			k.removeGroup(gid)
		} else {
			g.object.Members = members
			k.groups[gid] = g
		}
	}
	k.removeRoutesOf(id)
}

func (k *Kernel) removeGroup(id uint32) {
	delete(k.groups, id)
	k.removeRoutesOf(id)
}

func (k *Kernel) removeRoutesOf(id uint32) {
	maps.DeleteFunc(k.routes, func(_ fib.RouteKey, r owned[fib.Route]) bool { return r.object.NextHopID == id })
}

// Text returns everything that the kernel holds as the ip commands that would
// build it, sorted, one per line.
func (k *Kernel) Text() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var lines []string
	add := func(o fib.Object, protocol uint8) {
		lines = append(lines, fib.Op{Verb: fib.Add, Object: o, Protocol: protocol}.String()+"\n")
	}
	for _, n := range k.nextHops {
		add(n.object, n.protocol)
	}
	for _, g := range k.groups {
		add(g.object, g.protocol)
	}
	for _, r := range k.routes {
		add(r.object, r.protocol)
	}
	for r := range k.rules {
		add(r.object, r.protocol)
	}
	for _, s := range k.strays {
		lines = append(lines, "stray "+s.Text+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// HasDefault reports whether table holds a unicast default route of family f.
func (k *Kernel) HasDefault(table uint32, f fib.Family) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, r := range k.routes {
		if key.Table == table && key.Dst == f.Any() && r.object.Type == fib.RouteUnicast {
			return true
		}
	}
	return false
}
