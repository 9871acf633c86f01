package fib

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// intruderDepth is how many routes of a table are read in search of defaults: what
// fits the first part of a dump. IPv4 lists defaults before the prefixes of other
// addresses (net/ipv4/fib_trie.c), so they are among them. IPv6 lists them last
// (net/ipv6/ip6_fib.c, fib6_walk_continue: the root behind its children).
const intruderDepth = 64

// handProtocols mark what people, scripts and the tools that configure addresses
// write. In an IPv6 table of more than intruderDepth routes only these are looked
// for, and the kernel leaves the others out: so many are a routing daemon's, and
// reading them all for the sake of one would cost seconds.
var handProtocols = []uint8{unix.RTPROT_BOOT, unix.RTPROT_STATIC, unix.RTPROT_RA, unix.RTPROT_DHCP, unix.RTPROT_KEEPALIVED}

// Intruders returns the foreign default routes in tables, both families, by
// table, family and metric. The tables main, local and default are passed over.
func (k *Netlink) Intruders(ctx context.Context, o Owner, tables []uint32) ([]Intruder, error) {
	k.reading.Lock()
	defer k.reading.Unlock()
	s := NewState()
	wanted := make(map[uint32]bool, len(tables))
	for _, table := range tables {
		wanted[table] = true
	}
	if err := k.listIntruders(ctx, o, wanted, &s); err != nil {
		return nil, err
	}
	if err := k.nameDevices(ctx, &s); err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return s.Intruders, nil
}

func (k *Netlink) listIntruders(ctx context.Context, o Owner, tables map[uint32]bool, s *State) error {
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		if everybodys(table) {
			continue
		}
		for _, f := range Families {
			if err := k.listForeignDefaults(ctx, space{f, table}, o, s); err != nil {
				return fmt.Errorf("list %s defaults of table %d: %w", f, table, err)
			}
		}
	}
	slices.SortStableFunc(s.Intruders, compareIntruders)
	return nil
}

// listForeignDefaults adds the foreign defaults of one table to s.
func (k *Netlink) listForeignDefaults(ctx context.Context, at space, o Owner, s *State) error {
	others := len(s.Intruders)
	whole, err := k.dumpForeignDefaults(ctx, at, 0, intruderDepth, o, s)
	if err != nil || whole || at.family == IPv4 {
		return err
	}
	s.Intruders = s.Intruders[:others]
	if defaults, bulk := k.bulkDefaults(at); bulk {
		s.Intruders = append(s.Intruders, defaults...)
		return nil
	}
	for _, protocol := range handProtocols {
		if _, err := k.dumpForeignDefaults(ctx, at, protocol, 0, o, s); err != nil {
			return err
		}
	}
	return nil
}

// dumpForeignDefaults reads the routes of one table that carry protocol, or any if
// it is 0, up to depth, or all if that is 0, and reports whether these were all. A
// route that cannot be understood is a stranger's affair and no reason to know
// nothing of our own.
func (k *Netlink) dumpForeignDefaults(ctx context.Context, at space, protocol uint8, depth int, o Owner, s *State) (whole bool, err error) {
	others, n := len(s.Intruders), 0
	restart := func() { s.Intruders, n = s.Intruders[:others], 0 }
	err = k.dump(ctx, &k.reader, routeDump(at.family, protocol, at.table), restart, func(h header, body []byte) error {
		if h.kind != unix.RTM_NEWROUTE || len(body) < unix.SizeofRtMsg {
			return malformed("message type %d of %d bytes among routes", h.kind, len(body))
		}
		// A kernel before 5.0 applies no filter.
		asked := familyFromKernel(body[0]) == at.family && (protocol == 0 || body[5] == protocol)
		if asked && body[1] == 0 && body[5] != o.Protocol {
			m, err := decodeRoute(body)
			if err == nil && !m.cloned && m.strange == "" && m.route.Table == at.table {
				s.Intruders = append(s.Intruders, Intruder{m.route, m.protocol})
			}
		}
		if n++; n == depth {
			return errEnough
		}
		return nil
	})
	// A table that nobody has written to does not exist.
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return depth == 0 || n < depth, absentFamily(at.family, err)
}

// bulkDefaults returns the foreign defaults that ListBulk found in a table, and false
// if that is none of bulk routes. They are as old as the last look of a Bulk: to find
// them the whole table is read.
func (k *Netlink) bulkDefaults(at space) ([]Intruder, bool) {
	k.shared.Lock()
	defer k.shared.Unlock()
	all, bulk := k.bulkTables[at.table]
	var found []Intruder
	for _, i := range all {
		if i.Route.Family() == at.family {
			found = append(found, i)
		}
	}
	return found, bulk
}
