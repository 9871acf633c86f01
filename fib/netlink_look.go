package fib

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// maxLooks is the largest number of replaced routes in one Apply that are looked
// at first.
const maxLooks = 32

// lookDepth is how many routes of a table are read in search of the holder of a
// key before a replace. IPv4 lists defaults first, so those that matter are found;
// IPv6 lists them last, so there the search covers tables up to this size only. A
// table that is longer holds prefixes of a routing protocol.
const lookDepth = 1024

// space is one routing table.
type space struct {
	family Family
	table  uint32
}

// look forbids what would touch a stranger's routes, and prepares the deletes of
// rules that need it. What cannot be found out is left to the kernel.
func (k *Netlink) look(ctx context.Context, ops []Op, outcomes []outcome) {
	if ctx.Err() != nil {
		return
	}
	k.lookBeforeRoutes(ctx, ops, outcomes)
	k.lookBeforeRules(ctx, ops, outcomes)
}

// nextHopID returns the id of a next hop or group, 0 for other objects.
func nextHopID(o Object) uint32 {
	switch o := o.(type) {
	case NextHop:
		return o.ID
	case Group:
		return o.ID
	case Route, Rule, Stray:
		return 0
	default:
		panic(fmt.Sprintf("fib: unhandled object %T", o))
	}
}

// holds reports whether m is o, as the kernel has it.
func (m nextHopMessage) holds(o Object) bool {
	switch o := o.(type) {
	case NextHop:
		return !m.isGroup && m.nextHop.equal(o)
	case Group:
		return m.isGroup && m.group.equal(o)
	case Route, Rule, Stray:
		return false
	default:
		panic(fmt.Sprintf("fib: unhandled object %T", o))
	}
}

// lookBeforeNextHops: the kernel deletes and replaces next hops by id alone.
func (k *Netlink) lookBeforeNextHops(ctx context.Context, ops []Op, outcomes []outcome) {
	if ctx.Err() != nil {
		return
	}
	var ids []uint32
	for _, op := range ops {
		if id := nextHopID(op.Object); id != 0 && op.Verb != Add {
			ids = append(ids, id)
		}
	}
	found, err := k.lookAtNextHops(ctx, ids)
	for i, op := range ops {
		id := nextHopID(op.Object)
		if id == 0 || op.Verb == Add {
			continue
		}
		m, ok := found[id]
		switch {
		case err != nil:
			outcomes[i].fail(fmt.Errorf("look who holds id %d: %w", id, err))
		case !ok || m.protocol == op.Protocol && !m.fdb:
		case op.Verb == Delete:
			outcomes[i].settled = true // Ours is not there.
		default:
			outcomes[i].fail(foreignNextHop(m.protocol, unix.EEXIST))
		}
	}
}

// lookAtNextHops returns what holds ids; absent ones are left out.
func (k *Netlink) lookAtNextHops(ctx context.Context, ids []uint32) (map[uint32]nextHopMessage, error) {
	found := make(map[uint32]nextHopMessage, len(ids))
	var failed error
	for part := range slices.Chunk(ids, maxBatch) {
		requests := make([]request, len(part))
		for i, id := range part {
			w := &builder{}
			nextHopHeader(w, Delete, FamilyUnknown, 0, 0)
			w.attrU32(unix.NHA_ID, id)
			requests[i] = request{kind: unix.RTM_GETNEXTHOP, body: w.b}
		}
		err := k.ask(ctx, &k.looker, requests, func(_ int, h header, body []byte, err error) {
			if err == nil && h.kind == unix.RTM_NEWNEXTHOP {
				var m nextHopMessage
				if m, err = decodeNextHop(body); err == nil {
					found[m.id] = m
				}
			}
			if err != nil && !noSuchNextHop(err) {
				failed = err
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return found, failed
}

// noSuchNextHop reports whether err says that an id is free, or that the kernel
// has no next-hop objects at all.
func noSuchNextHop(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPFNOSUPPORT)
}

// lookBeforeRoutes: a replace overwrites whatever has the same table,
// destination and metric, of whatever protocol.
func (k *Netlink) lookBeforeRoutes(ctx context.Context, ops []Op, outcomes []outcome) {
	wanted := map[space]map[RouteKey]bool{}
	count := 0
	for _, op := range ops {
		r, ok := op.Object.(Route)
		if !ok || op.Verb != Replace {
			continue
		}
		at := space{r.Family(), r.Table}
		if wanted[at] == nil {
			wanted[at] = map[RouteKey]bool{}
		}
		wanted[at][r.Key()] = true
		count++
	}
	if count > maxLooks {
		return
	}
	for at, keys := range wanted {
		found, err := k.lookAtRoutes(ctx, at, keys, lookDepth)
		for i, op := range ops {
			r, ok := op.Object.(Route)
			if !ok || op.Verb != Replace || (space{r.Family(), r.Table}) != at {
				continue
			}
			if err != nil {
				outcomes[i].fail(fmt.Errorf("look who holds it: %w", err))
			} else if m, ok := found[r.Key()]; ok && m.protocol != op.Protocol {
				outcomes[i].fail(foreignRoute(m, unix.EEXIST))
			}
		}
	}
}

// lookAtRoutes returns what a table holds under keys. It reads depth routes at
// the most, or all if depth is 0.
func (k *Netlink) lookAtRoutes(ctx context.Context, at space, keys map[RouteKey]bool, depth int) (map[RouteKey]routeMessage, error) {
	found := map[RouteKey]routeMessage{}
	n := 0
	err := k.dump(ctx, &k.looker, routeDump(at.family, 0, at.table), func() { clear(found); n = 0 }, func(_ header, body []byte) error {
		m, err := decodeRoute(body)
		if err != nil {
			return err
		}
		key := m.route.Key()
		if _, second := found[key]; !second && !m.cloned && m.strange == "" && keys[key] {
			found[key] = m
		}
		if n++; n == depth || len(found) == len(keys) {
			return errEnough
		}
		return nil
	})
	// A table that nobody has written to does not exist.
	if errors.Is(err, unix.ENOENT) || absentFamily(at.family, err) == nil {
		err = nil
	}
	return found, err
}

// lookBeforeRules: a delete takes the first rule that agrees with what it says,
// and it cannot say that a selector is absent. A rule of ours that stands before
// the one that is meant, and would be taken for it, is copied behind it first:
// the delete then takes the original, and nobody misses it for a moment.
func (k *Netlink) lookBeforeRules(ctx context.Context, ops []Op, outcomes []outcome) {
	for _, f := range Families {
		if !slices.ContainsFunc(ops, func(op Op) bool { return deletesRule(op, f) }) {
			continue
		}
		var list []ruleMessage
		err := k.eachRule(ctx, &k.looker, f, func() { list = nil }, func(m ruleMessage, _ []byte) {
			list = append(list, m)
		})
		for i, op := range ops {
			r, ok := op.Object.(Rule)
			switch {
			case !ok || r.Family != f:
			case op.Verb != Delete:
				list = insertRule(list, ruleMessage{rule: r, protocol: op.Protocol})
			case err != nil:
				outcomes[i].fail(fmt.Errorf("look at the rules before it: %w", err))
			default:
				list = prepareDelete(list, r, op.Protocol, &outcomes[i])
			}
		}
	}
}

func deletesRule(op Op, f Family) bool {
	r, ok := op.Object.(Rule)
	return ok && op.Verb == Delete && r.Family == f
}

// insertRule puts m where the kernel would: behind those of its priority, unless
// it is there already.
func insertRule(list []ruleMessage, m ruleMessage) []ruleMessage {
	if slices.Contains(list, m) {
		return list
	}
	at := len(list)
	for i, have := range list {
		if have.rule.Priority > m.rule.Priority {
			at = i
			break
		}
	}
	return slices.Insert(list, at, m)
}

// prepareDelete fills in what has to go ahead of the delete of r, and returns the
// list as the kernel has it then.
func prepareDelete(list []ruleMessage, r Rule, protocol uint8, out *outcome) []ruleMessage {
	meant := slices.Index(list, ruleMessage{rule: r, protocol: protocol})
	if meant < 0 {
		out.settled = true // It is not there, and nothing else may go for it.
		return list
	}
	var earlier []ruleMessage
	for _, m := range list[:meant] {
		if m.protocol == protocol && m.removedBy(r) {
			earlier = append(earlier, m)
		}
	}
	list = slices.Delete(list, meant, meant+1)
	for _, m := range earlier {
		list = slices.Delete(list, slices.Index(list, m), slices.Index(list, m)+1)
		if m.strange == "" {
			w := &builder{}
			encodeRuleBody(w, m.rule, protocol)
			out.before = append(out.before, request{unix.RTM_NEWRULE, unix.NLM_F_ACK | unix.NLM_F_CREATE, w.b})
			list = insertRule(list, m)
		}
	}
	for range earlier {
		w := &builder{}
		encodeRuleBody(w, r, protocol)
		out.before = append(out.before, request{unix.RTM_DELRULE, unix.NLM_F_ACK, w.b})
	}
	return list
}
