package fib

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ListBulk implements [BulkKernel]. It reads the whole table, the routes of strangers
// too: there should be none.
func (k *Netlink) ListBulk(ctx context.Context, o BulkOwner, each func(BulkFound)) error {
	k.bulk.reading.Lock()
	defer k.bulk.reading.Unlock()
	if err := o.check(); err != nil {
		return fmt.Errorf("list routes to prefixes: %w", err)
	}
	k.rememberBulk(o)
	var defaults []Intruder
	for _, f := range Families {
		err := k.dumpOnce(ctx, &k.bulk.reader, routeDump(f, 0, o.Table), func(h header, body []byte) error {
			if h.kind != unix.RTM_NEWROUTE || len(body) < unix.SizeofRtMsg {
				return malformed("message type %d of %d bytes among routes", h.kind, len(body))
			}
			if familyFromKernel(body[0]) != f {
				return nil
			}
			if body[1] == 0 && body[5] != o.Protocol {
				if m, err := decodeRoute(body); err == nil && !m.cloned && m.strange == "" && m.route.Table == o.Table {
					defaults = append(defaults, Intruder{m.route, m.protocol})
				}
			}
			found, ok, err := decodeBulk(body, f, o)
			if ok {
				each(found)
			}
			return err
		})
		if errors.Is(err, unix.ENOENT) {
			err = nil // A table that nobody has written to does not exist.
		}
		if err = absentFamily(f, err); err != nil {
			return fmt.Errorf("list %s routes of table %d: %w", f, o.Table, err)
		}
	}
	k.shared.Lock()
	defer k.shared.Unlock()
	k.bulkTables[o.Table] = defaults
	return nil
}

// decodeBulk reads what matters of a route in the table of o. It is decodeRoute for
// a million of them: it reads on only where a route of ours is not in the form that
// ApplyBulk writes.
func decodeBulk(body []byte, f Family, o BulkOwner) (found BulkFound, ok bool, err error) {
	found = BulkFound{Protocol: body[5], Prefix: f.Any()}
	// A TOS or a source prefix makes another key.
	plain := body[2] == 0 && body[3] == 0
	table, metric := uint32(body[4]), uint32(0)
	for rest := body[unix.SizeofRtMsg:]; len(rest) >= attributeHeaderLen; {
		length := int(binary.NativeEndian.Uint16(rest))
		if length < attributeHeaderLen || length > len(rest) {
			return found, false, malformed("attribute of length %d in %d bytes", length, len(rest))
		}
		value := rest[attributeHeaderLen:length]
		switch binary.NativeEndian.Uint16(rest[2:]) & attributeTypeMask {
		case unix.RTA_DST:
			addr, ok := netip.AddrFromSlice(value)
			if !ok || len(value) != addressLen(f) || int(body[1]) > addr.BitLen() {
				return found, false, malformed("a destination of %d bytes, length %d", len(value), body[1])
			}
			found.Prefix = netip.PrefixFrom(addr, int(body[1])).Masked()
		case unix.RTA_TABLE:
			table = number(value)
		case unix.RTA_PRIORITY:
			metric = number(value)
		case rtaNHID:
			found.NextHop = number(value)
		}
		rest = rest[min(align(length), len(rest)):]
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	switch {
	case table != o.Table || flags&unix.RTM_F_CLONED != 0:
		return found, false, nil
	case plain && metric == o.Metric && body[7] == unix.RTN_UNICAST:
		return found, true, nil
	case plain && metric == o.Metric:
		found.NextHop = 0
		return found, true, nil
	case found.Protocol != o.Protocol:
		return found, false, nil
	}
	m, err := decodeRoute(body)
	if err != nil {
		return found, false, err
	}
	if m.strange == "" {
		m.strange = fmt.Sprintf("the metric is not %d", o.Metric)
	}
	found.Stray, err = strayRoute(m, body)
	return found, err == nil, err
}

// number reads a number of four octets, 0 if there are not four.
func number(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// RemoveStrays implements [BulkKernel].
func (k *Netlink) RemoveStrays(ctx context.Context, o BulkOwner, strays []Stray) []error {
	errs := make([]error, len(strays))
	for i, s := range strays {
		// One by one, so that no failover waits for many.
		errs[i] = k.Apply(ctx, []Op{{Verb: Delete, Object: s, Protocol: o.Protocol}})[0]
	}
	return errs
}
