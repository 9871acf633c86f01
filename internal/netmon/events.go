package netmon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// receiveBufferBytes is room for some thousand events that arrive while the
	// reader does not get the processor.
	receiveBufferBytes = 1 << 20
	// reconnectMin and reconnectMax bound the time between tries to open the
	// event socket.
	reconnectMin = 100 * time.Millisecond
	reconnectMax = 5 * time.Second
	// overrunLogEvery limits the log under a lasting storm.
	overrunLogEvery = time.Minute
)

// interest is what an event must be about to be worth a look. It is immutable.
type interest struct {
	neighbours map[NeighbourKey]struct{}
	// learn is false if no default routes are wanted.
	learn       bool
	ownProtocol uint8
	// objects are the next-hop objects that default routes use; nil means that
	// this is not known and any may be one.
	objects map[uint32]struct{}
}

// classify tells which parts an event may have changed. It sees every event of the
// host, a million foreign routes among them, and allocates nothing.
//
// A default route counts whatever its link and type: one that takes the place of
// another is announced only by itself.
func (w *interest) classify(m message) part {
	switch m.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		// A bridge announces its ports in a family of its own.
		if len(m.body) > 0 && m.body[0] == unix.AF_BRIDGE {
			return 0
		}
		return partLinks
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return partLinks
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		if len(w.neighbours) == 0 {
			return 0
		}
		key, ok := neighbourKeyOf(m.body)
		if _, watched := w.neighbours[key]; ok && watched {
			return partNeighbours
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if w.learn && isDefault(m.body) && m.body[5] != w.ownProtocol {
			return partDefaults
		}
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		if w.learn && w.uses(m.body) {
			return partDefaults
		}
	}
	return 0
}

// uses tells whether a next-hop message is about an object of a default route.
func (w *interest) uses(body []byte) bool {
	if w.objects == nil {
		return true
	}
	list := skip(body, sizeofNhmsg)
	for kind, v, ok := list.next(); ok; kind, v, ok = list.next() {
		if kind != unix.NHA_ID {
			continue
		}
		id, _ := uint32Of(v)
		_, used := w.objects[id]
		return used
	}
	return false
}

// handle looks at one datagram of events.
func (m *Monitor) handle(b []byte) {
	w := m.interest.Load()
	var parts part
	for len(b) > 0 {
		message, rest, ok := nextMessage(b)
		if !ok {
			// Cut off or not understood: it may have been about anything.
			parts = partAll
			break
		}
		if p := w.classify(message); p != 0 {
			m.counters.events.Add(1)
			parts |= p
		}
		b = rest
	}
	if parts != 0 {
		m.mark(parts)
	}
}

// listen keeps an event socket open until ctx ends. Each new socket means that
// events may have been lost before, so that everything is read again.
func (m *Monitor) listen(ctx context.Context) {
	pause, failing := reconnectMin, false
	for ctx.Err() == nil {
		c, err := m.dial()
		if err != nil {
			if !failing {
				m.log.Warn("event socket does not open, trying again", "reason", err)
			}
			failing = true
			waitContext(ctx, pause)
			pause = min(2*pause, reconnectMax)
			continue
		}
		if failing {
			m.log.Info("event socket is open again")
		}
		failing = false
		m.resync()
		began := time.Now()
		err = m.readEvents(ctx, c)
		if ctx.Err() != nil {
			return
		}
		m.counters.reconnects.Add(1)
		m.log.Warn("event socket failed, opening another and reading everything", "reason", err)
		if time.Since(began) > reconnectMax {
			// It worked for a while; the next one may open at once.
			pause = reconnectMin
			continue
		}
		waitContext(ctx, pause)
		pause = min(2*pause, reconnectMax)
	}
}

// readEvents reads until the socket fails or ctx ends.
func (m *Monitor) readEvents(ctx context.Context, c *conn) error {
	m.events.Store(c)
	stop := context.AfterFunc(ctx, c.close)
	defer func() {
		m.events.Store(nil)
		stop()
		c.close()
	}()
	// Between the first dropped event, which is reported, and the moment when the
	// queue is empty, the kernel drops more without a word (netlink_overrun and
	// netlink_rcv_wake of net/netlink/af_netlink.c). A reading in between would
	// be too early, so that another follows.
	lost := false
	c.idle = func() {
		if lost {
			lost = false
			m.resync()
		}
	}
	var logged time.Time
	for {
		b, err := c.receive()
		switch {
		case err == nil:
			m.handle(b)
		case errors.Is(err, unix.ENOBUFS):
			// The socket is sound, and what is queued still says no more
			// than "look again".
			lost = true
			m.counters.overruns.Add(1)
			if now := time.Now(); logged.IsZero() || now.Sub(logged) > overrunLogEvery {
				logged = now
				m.log.Warn("kernel events were lost, reading everything", "reason", err)
			}
			m.resync()
		default:
			return err
		}
	}
}

// dialEvents opens a socket that hears of changes.
func (m *Monitor) dialEvents() (*conn, error) {
	c, err := dial(m.ns, func(fd int) error {
		// Beyond net.core.rmem_max only with CAP_NET_ADMIN.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, m.receiveBuffer); err != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, m.receiveBuffer)
		}
		if !m.unfiltered {
			// Without the filter all the same is done, only slower.
			if err := attachFilter(fd); err != nil {
				m.log.Debug("event filter is not attached", "reason", err)
			}
		}
		for _, group := range []int{
			unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
			unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		} {
			if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
				return fmt.Errorf("join group %d: %w", group, err)
			}
		}
		// Linux 5.3; before it there are no next-hop objects to hear of.
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.RTNLGRP_NEXTHOP); err != nil {
			m.log.Debug("next-hop events are not available", "reason", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.events = true
	return c, nil
}

// attachFilter makes the kernel drop events of routes other than default routes
// and of the forwarding tables of bridges before they are queued. The kernel sends
// each event as a message of its own, so that the first header is the only one.
func attachFilter(fd int) error {
	// BPF loads are big endian, netlink headers are not.
	kind := func(n uint16) uint32 {
		b := native.AppendUint16(nil, n)
		return uint32(b[0])<<8 | uint32(b[1])
	}
	const (
		load16 = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		load8  = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		result = unix.BPF_RET | unix.BPF_K

		kindAt   = 4                       // nlmsg_type
		familyAt = unix.SizeofNlMsghdr     // ndm_family
		dstLenAt = unix.SizeofNlMsghdr + 1 // rtm_dst_len
		all      = 1<<31 - 1               // keep that many bytes
		none     = 0                       // drop the message
	)
	program := []unix.SockFilter{
		{Code: load16, K: kindAt},
		{Code: equal, K: kind(unix.RTM_NEWROUTE), Jt: 4},
		{Code: equal, K: kind(unix.RTM_DELROUTE), Jt: 3},
		{Code: equal, K: kind(unix.RTM_NEWNEIGH), Jt: 5},
		{Code: equal, K: kind(unix.RTM_DELNEIGH), Jt: 4},
		{Code: result, K: all},
		{Code: load8, K: dstLenAt},
		{Code: equal, K: 0, Jt: 4},
		{Code: result, K: none},
		{Code: load8, K: familyAt},
		{Code: equal, K: unix.AF_BRIDGE, Jf: 1},
		{Code: result, K: none},
		{Code: result, K: all},
	}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}
