package netmon

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// kernel is what the monitor asks of the host.
type kernel interface {
	// links reads all links with their addresses.
	links() ([]Link, error)
	// defaults reads the default routes over the links with these indices that
	// are not of protocol own. It may take long and runs on another goroutine
	// than the others.
	defaults(indices []int, own uint8) (defaultsRead, error)
	// neighbour reads one entry; an entry that does not exist is NUDAbsent.
	neighbour(key NeighbourKey) (observation, error)
	// solicit makes the kernel solicit a neighbour.
	solicit(key NeighbourKey, a action) error
}

// defaultsRead is the result of one reading of default routes.
type defaultsRead struct {
	defaults []Default
	// objects are the next-hop objects in use, whose change changes routes
	// without a word about the routes.
	objects map[uint32]struct{}
	// expires is when the first route with a lifetime ends; zero for never. The
	// kernel collects such routes up to 30 s late and by then the next route
	// would have been used for long.
	expires time.Time
}

// action is what is done about a neighbour.
type action uint8

const (
	actionNone action = iota
	// actionProbe asks the kernel to solicit the owner of a known link-layer
	// address.
	actionProbe
	// actionResolve asks the kernel to look for the link-layer address.
	actionResolve
)

// errChanged means that the entry or its link is no longer what it was when last
// looked at.
var errChanged = errors.New("neighbour has changed")

// dumpTries is how often a dump is read again at once when it was interrupted.
const dumpTries = 8

// netlinkKernel is the kernel of a network namespace.
type netlinkKernel struct {
	ns *os.File
	// c is reopened after a failure; nil until needed.
	c *conn
}

// dialRequests opens a socket for questions. Strict checking (Linux 4.20) makes the
// kernel honour the filters of a dump.
func dialRequests(ns *os.File) (*conn, error) {
	return dial(ns, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	})
}

func (k *netlinkKernel) close() {
	if k.c != nil {
		k.c.close()
		k.c = nil
	}
}

// request asks over the standing socket and drops a socket that failed.
func (k *netlinkKernel) request(kind uint16, flags int, body []byte, each func(message) error) error {
	if k.c == nil {
		c, err := dialRequests(k.ns)
		if err != nil {
			return err
		}
		k.c = c
	}
	// Also after a panic in each, which leaves the socket in the middle of an answer.
	sound := false
	defer func() {
		if !sound {
			k.close()
		}
	}()
	err := k.c.request(kind, flags, body, each)
	sound = err == nil || errors.As(err, new(refusal))
	return err
}

// links reads links and then addresses.
func (k *netlinkKernel) links() ([]Link, error) {
	var links []Link
	err := retryDump(func() error {
		links = links[:0]
		body := appendUint32(make([]byte, unix.SizeofIfInfomsg), unix.IFLA_EXT_MASK, rtextFilterSkipStats)
		return k.request(unix.RTM_GETLINK, unix.NLM_F_DUMP, body, func(m message) error {
			l, err := decodeLink(m.body)
			links = append(links, l)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	addresses := map[int][]Address{}
	err = retryDump(func() error {
		clear(addresses)
		return k.request(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg), func(m message) error {
			a, index, err := decodeAddress(m.body)
			addresses[index] = append(addresses[index], a)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	for i := range links {
		links[i].Addresses = addresses[links[i].Index]
	}
	return links, nil
}

// retryDump repeats a dump that was interrupted. A caller under a storm of changes
// gets the error in the end and comes back later.
func retryDump(dump func() error) error {
	var err error
	for range dumpTries {
		if err = dump(); !errors.Is(err, errInterrupted) {
			return err
		}
	}
	return err
}

func (k *netlinkKernel) neighbour(key NeighbourKey) (observation, error) {
	o := observation{before: time.Now()}
	err := k.request(unix.RTM_GETNEIGH, 0, neighbourRequest(key, 0, 0), func(m message) error {
		read, err := decodeNeighbour(m.body)
		read.before = o.before
		o = read
		return err
	})
	o.after = time.Now()
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return observation{before: o.before, after: o.after}, nil
	}
	if err != nil {
		return observation{}, fmt.Errorf("read neighbour %s: %w", key.Address, err)
	}
	return o, nil
}

// solicit follows neigh_add of net/core/neighbour.c. NUD_PROBE without
// NLM_F_REPLACE and without a link-layer address keeps the known address and the
// router flag, which NLM_F_REPLACE would clear, and sends the first solicitation at
// once. NTF_USE makes an entry that is absent or FAILED start over with its state
// INCOMPLETE; on a PERMANENT entry it would destroy the entry, so that the caller
// must not ask for it.
func (k *netlinkKernel) solicit(key NeighbourKey, a action) error {
	var flags int
	var body []byte
	switch a {
	case actionNone:
		return nil
	case actionProbe:
		body = neighbourRequest(key, unix.NUD_PROBE, 0)
	case actionResolve:
		flags, body = unix.NLM_F_CREATE, neighbourRequest(key, unix.NUD_NONE, unix.NTF_USE)
	default:
		panic(fmt.Sprintf("netmon: no action %d", a))
	}
	err := k.request(unix.RTM_NEWNEIGH, flags, body, nil)
	switch {
	case err == nil:
		return nil
	case a == actionProbe && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT)),
		errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENETDOWN):
		return errChanged
	default:
		return fmt.Errorf("solicit neighbour %s: %w", key.Address, err)
	}
}

// neighbourRequest is struct ndmsg with NDA_DST.
func neighbourRequest(key NeighbourKey, state uint16, flags uint8) []byte {
	b := []byte{familyOf(key.Address), 0, 0, 0}
	b = native.AppendUint32(b, uint32(key.LinkIndex))
	b = native.AppendUint16(b, state)
	b = append(b, flags, 0)
	return appendAttribute(b, unix.NDA_DST, key.Address.AsSlice())
}

// defaults opens a socket of its own: it runs beside the other readings and may
// have to be given up in the middle.
func (k *netlinkKernel) defaults(indices []int, own uint8) (defaultsRead, error) {
	c, err := dialRequests(k.ns)
	if err != nil {
		return defaultsRead{}, fmt.Errorf("read default routes: %w", err)
	}
	defer c.close()
	r := defaultsReader{c: c, wanted: map[int]bool{}, own: own, read: defaultsRead{objects: map[uint32]struct{}{}}}
	for _, index := range indices {
		r.wanted[index] = true
	}
	for _, index := range indices {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			if err := r.readLink(index, family); err != nil {
				return defaultsRead{}, fmt.Errorf("read default routes: %w", err)
			}
		}
	}
	return r.read, nil
}

type defaultsReader struct {
	c      *conn
	wanted map[int]bool
	own    uint8
	read   defaultsRead
}

// readLink adds the default routes of one family over one link. The kernel leaves
// out the routes over other links; it cannot be told to leave out long prefixes. On
// Linux 6.18, one core, 500,000 routes over the link took 0.2 s, and as many over
// other links 0.06 s.
func (r *defaultsReader) readLink(index int, family uint8) error {
	var found []route
	err := retryDump(func() error {
		found = found[:0]
		body := make([]byte, unix.SizeofRtMsg)
		body[0] = family
		return r.c.request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, appendUint32(body, unix.RTA_OIF, uint32(index)), func(m message) error {
			if !isDefault(m.body) || m.body[0] != family || m.body[5] == r.own || m.body[7] != unix.RTN_UNICAST {
				return nil
			}
			d, err := decodeRoute(m.body)
			found = append(found, d)
			return err
		})
	})
	if errors.Is(err, unix.ENODEV) {
		// The link is gone, and so are its routes.
		return nil
	}
	if err != nil {
		return err
	}
	now := time.Now()
	for _, d := range found {
		if err := r.add(d, index, now); err != nil {
			return err
		}
	}
	return nil
}

// add takes the hops of a route that use the link.
func (r *defaultsReader) add(d route, index int, now time.Time) error {
	if d.expires < 0 {
		return nil
	}
	if d.expires > 0 {
		if at := now.Add(d.expires); r.read.expires.IsZero() || at.Before(r.read.expires) {
			r.read.expires = at
		}
	}
	if d.object != 0 {
		// With nexthop_compat_mode the kernel adds the hops, without it does
		// not; the objects are needed in any case.
		d.hops = nil
		if err := r.expand(d.object, &d.hops, 0); err != nil {
			return err
		}
	}
	for _, h := range d.hops {
		if h.index != index {
			continue
		}
		r.read.defaults = append(r.read.defaults, Default{
			LinkIndex: index,
			Dst:       defaultOf(d.family),
			Gateway:   h.gateway,
			Metric:    d.metric,
			Protocol:  d.protocol,
			Table:     d.table,
		})
	}
	return nil
}

// maxDepth is how deep next-hop objects nest: a group of hops.
const maxDepth = 1

// expand adds the hops of a next-hop object. An object that is gone has none; its
// route went with it.
func (r *defaultsReader) expand(id uint32, hops *[]hop, depth int) error {
	r.read.objects[id] = struct{}{}
	var n nextHop
	err := r.c.request(unix.RTM_GETNEXTHOP, 0, appendUint32(make([]byte, sizeofNhmsg), unix.NHA_ID, id), func(m message) (err error) {
		n, err = decodeNextHop(m.body)
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read next hop %d: %w", id, err)
	}
	if n.hop.index != 0 {
		*hops = append(*hops, n.hop)
	}
	for _, member := range n.members {
		if depth < maxDepth {
			if err := r.expand(member, hops, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func defaultOf(family uint8) netip.Prefix {
	if family == unix.AF_INET {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
