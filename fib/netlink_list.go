package fib

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"

	"golang.org/x/sys/unix"
)

// List reads what is ours under o: next hops and groups with o.Protocol and an id
// in o.NextHops, routes of o.Protocol in every table, rules of o.Protocol with a
// priority in o.Rules. It reads until it has whole lists or returns an error.
//
// What carries our mark but holds something that this package never writes is
// not passed over:
//
//   - under a key that can be expressed it is listed with an unknown type (a
//     route with RouteUnknown, a next hop with FamilyUnknown, a group with
//     GroupUnknown), so that it equals nothing that is wanted and is replaced or
//     deleted under that key;
//   - otherwise (a TOS, a source prefix, a second route under one key, a selector
//     that [Rule] lacks) it is one of State.Strays, which can be deleted.
//
// Foreign default routes in the tables that these routes, or any policy rule, lead
// to are State.Intruders. No more than a few routes of a table are read for them;
// see handProtocols for what that passes over in long IPv6 tables.
//
// While Watch listens for o, only the first List after its start reads all tables; the
// others read those that can have a route of ours, because Watch would have heard of
// one in another. Tables of bulk routes (see ApplyBulk) are not among them.
//
// Next hops of a bridge's forwarding database (NHA_FDB) are never ours, whatever
// their protocol; within the range their ids are taken.
func (k *Netlink) List(ctx context.Context, o Owner) (State, error) {
	k.reading.Lock()
	defer k.reading.Unlock()
	s := NewState()
	s.Capabilities = k.capabilities
	if k.capabilities.NextHops {
		if err := k.listNextHops(ctx, o, &s); err != nil {
			return State{}, fmt.Errorf("list next hops: %w", err)
		}
	}
	inUse := map[uint32]bool{}
	look := k.beginLook(o)
	for _, f := range Families {
		for _, table := range look.tables {
			if err := k.listRoutes(ctx, space{f, table}, o, &s); err != nil {
				return State{}, fmt.Errorf("list %s routes: %w", f, err)
			}
		}
		if err := k.listRules(ctx, f, o, &s, inUse); err != nil {
			return State{}, fmt.Errorf("list %s rules: %w", f, err)
		}
	}
	tables := tablesOf(s.Routes)
	k.endLook(look, tables)
	maps.Copy(inUse, tables)
	if err := k.listIntruders(ctx, o, inUse, &s); err != nil {
		return State{}, err
	}
	if err := k.nameDevices(ctx, &s); err != nil {
		return State{}, fmt.Errorf("list devices: %w", err)
	}
	return s, nil
}

func (k *Netlink) listNextHops(ctx context.Context, o Owner, s *State) error {
	w := &builder{}
	nextHopHeader(w, Delete, FamilyUnknown, 0, 0)
	restart := func() {
		clear(s.NextHops)
		clear(s.Groups)
		clear(s.Taken)
	}
	return k.dump(ctx, &k.reader, request{kind: unix.RTM_GETNEXTHOP, body: w.b}, restart, func(h header, body []byte) error {
		if h.kind != unix.RTM_NEWNEXTHOP {
			return malformed("message type %d among next hops", h.kind)
		}
		m, err := decodeNextHop(body)
		switch {
		case err != nil:
			return err
		case !o.NextHops.Contains(m.id):
		case m.fdb || m.protocol != o.Protocol:
			s.Taken[m.id] = m.protocol
		case m.isGroup:
			s.Groups[m.id] = m.group
		default:
			s.NextHops[m.id] = m.nextHop
		}
		return nil
	})
}

// routeDump asks for the routes of f. The kernel applies protocol and table, each
// unless it is 0, if it is new enough (NETLINK_GET_STRICT_CHK, Linux 5.0);
// callers apply them again.
func routeDump(f Family, protocol uint8, table uint32) request {
	w := &builder{}
	w.raw(addressFamily(f), 0, 0, 0, smallTable(table), protocol, 0, 0)
	w.rawU32(0)
	if table != 0 {
		w.attrU32(unix.RTA_TABLE, table)
	}
	return request{kind: unix.RTM_GETROUTE, body: w.b}
}

// listRoutes reads one table, or all if that is 0.
func (k *Netlink) listRoutes(ctx context.Context, at space, o Owner, s *State) error {
	others := len(s.Strays)
	restart := func() {
		maps.DeleteFunc(s.Routes, func(key RouteKey, _ Route) bool {
			return FamilyOf(key.Dst.Addr()) == at.family && (at.table == 0 || key.Table == at.table)
		})
		s.Strays = s.Strays[:others]
	}
	err := k.dump(ctx, &k.reader, routeDump(at.family, o.Protocol, at.table), restart, func(h header, body []byte) error {
		if h.kind != unix.RTM_NEWROUTE || len(body) < unix.SizeofRtMsg {
			return malformed("message type %d of %d bytes among routes", h.kind, len(body))
		}
		// A kernel without the family answers for all of them.
		if body[5] != o.Protocol || familyFromKernel(body[0]) != at.family {
			return nil
		}
		m, err := decodeRoute(body)
		if err != nil || at.table != 0 && m.route.Table != at.table {
			return err
		}
		return s.take(m, body)
	})
	if at.table != 0 && errors.Is(err, unix.ENOENT) {
		err = nil // A table that nobody has written to does not exist.
	}
	return absentFamily(at.family, err)
}

// take puts a route of ours where it belongs.
func (s *State) take(m routeMessage, body []byte) error {
	if m.cloned {
		return nil
	}
	_, second := s.Routes[m.route.Key()]
	if m.strange == "" && !second {
		s.Routes[m.route.Key()] = m.route
		return nil
	}
	stray, err := strayRoute(m, body)
	if err == nil {
		s.Strays = append(s.Strays, stray)
	}
	return err
}

// ruleDump asks for the rules of f.
func ruleDump(f Family) request {
	body := make([]byte, ruleHeaderLen)
	body[0] = addressFamily(f)
	return request{kind: unix.RTM_GETRULE, body: body}
}

// listRules also notes in lookedUp the tables of all rules, those of strangers
// too: an old script's rules lead to its tables.
func (k *Netlink) listRules(ctx context.Context, f Family, o Owner, s *State, lookedUp map[uint32]bool) error {
	others := len(s.Strays)
	restart := func() {
		maps.DeleteFunc(s.Rules, func(r Rule, _ int) bool { return r.Family == f })
		s.Strays = s.Strays[:others]
	}
	return k.eachRule(ctx, &k.reader, f, restart, func(m ruleMessage, body []byte) {
		lookedUp[m.rule.Table] = true
		switch {
		case m.protocol != o.Protocol || !o.Rules.Contains(m.rule.Priority):
		case m.strange != "":
			s.Strays = append(s.Strays, strayRule(m, body))
		default:
			s.Rules[m.rule]++
		}
	})
}

// eachRule dumps the rules of f in the kernel's order.
func (k *Netlink) eachRule(ctx context.Context, l *line, f Family, restart func(), each func(m ruleMessage, body []byte)) error {
	err := k.dump(ctx, l, ruleDump(f), restart, func(h header, body []byte) error {
		if h.kind != unix.RTM_NEWRULE {
			return malformed("message type %d among rules", h.kind)
		}
		m, err := decodeRule(body)
		if err != nil {
			return err
		}
		if m.rule.Family == f {
			each(m, body)
		}
		return nil
	})
	return absentFamily(f, err)
}

// absentFamily forgives a kernel that was started without IPv6 (ipv6.disable=1):
// what it does not have is an empty list.
func absentFamily(f Family, err error) error {
	if f == IPv6 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)) {
		return nil
	}
	return err
}

// nameDevices fills in the names of devices, which are for people only. The
// devices are listed when an index turns up that has no name yet; Watch forgets
// the names when a link changes.
func (k *Netlink) nameDevices(ctx context.Context, s *State) error {
	k.shared.Lock()
	names := maps.Clone(k.names)
	k.shared.Unlock()
	if !s.named(names) {
		clear(names)
		if err := k.listNames(ctx, names); err != nil {
			return err
		}
		k.shared.Lock()
		k.names = maps.Clone(names)
		k.shared.Unlock()
	}
	for id, n := range s.NextHops {
		n.Device.Name = names[n.Device.Index]
		s.NextHops[id] = n
	}
	for h := range s.hops() {
		h.Device.Name = names[h.Device.Index]
	}
	return nil
}

// hops returns the inline hops of all routes of s, to be changed in place.
func (s *State) hops() iter.Seq[*Hop] {
	return func(yield func(*Hop) bool) {
		each := func(hops []Hop) bool {
			for i := range hops {
				if !yield(&hops[i]) {
					return false
				}
			}
			return true
		}
		for _, r := range s.Routes {
			if !each(r.Hops) {
				return
			}
		}
		for _, i := range s.Intruders {
			if !each(i.Route.Hops) {
				return
			}
		}
	}
}

// named reports whether names knows every device of s.
func (s *State) named(names map[int]string) bool {
	for _, n := range s.NextHops {
		if _, ok := names[n.Device.Index]; !ok {
			return false
		}
	}
	for h := range s.hops() {
		if _, ok := names[h.Device.Index]; !ok {
			return false
		}
	}
	return true
}

// forgetNames makes the next List ask for the names of devices again.
func (k *Netlink) forgetNames() {
	k.shared.Lock()
	defer k.shared.Unlock()
	k.names = map[int]string{}
}

// skipStatistics is RTEXT_FILTER_SKIP_STATS (include/uapi/linux/rtnetlink.h): an
// interface's counters are most of its message.
const skipStatistics = 1 << 3

func (k *Netlink) listNames(ctx context.Context, names map[int]string) error {
	w := &builder{}
	w.raw(make([]byte, unix.SizeofIfInfomsg)...)
	w.attrU32(unix.IFLA_EXT_MASK, skipStatistics)
	restart := func() { clear(names) }
	return k.dump(ctx, &k.reader, request{kind: unix.RTM_GETLINK, body: w.b}, restart, func(_ header, body []byte) error {
		l, err := decodeLink(body)
		if err == nil {
			names[l.index] = l.name
		}
		return err
	})
}
