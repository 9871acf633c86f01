package adversity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// monitor hears every change of routes and next hops on the edge.
type monitor struct {
	fd   int
	quit chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	seen changes
}

// changes are what was heard since the last reset.
type changes struct {
	// added and removed routes to prefixes; replacing one counts as added.
	added, removed int
	// gone are the prefixes that were removed, up to goneKept of them.
	gone map[netip.Prefix]int
	// smallRemoved are other routes of ours, objects next hops and groups.
	smallRemoved, objectsRemoved int
	// lost says that the kernel had more to tell than there was room for.
	lost error
}

const (
	goneKept       = 1_000_000
	monitorBuffer  = 256 << 20
	monitorTimeout = 200 // ms
)

// monitor opens one on the edge.
func (s *scene) monitor() (*monitor, error) {
	m := &monitor{quit: make(chan struct{}), fd: -1}
	m.reset()
	err := s.site.Edge.Do(func() (err error) {
		m.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		errs := []error{
			unix.SetsockoptInt(m.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, monitorBuffer),
			unix.SetsockoptTimeval(m.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: monitorTimeout * 1000}),
			unix.Bind(m.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		}
		for _, group := range []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_NEXTHOP} {
			errs = append(errs, unix.SetsockoptInt(m.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return nil, fmt.Errorf("watch the kernel of the edge: %w", err)
	}
	m.done.Go(m.hear)
	s.closers = append(s.closers, func() {
		close(m.quit)
		m.done.Wait()
		_ = unix.Close(m.fd)
	})
	return m, nil
}

// hear is the goroutine of the monitor; it looks whether it shall end whenever nothing
// was heard for a while.
func (m *monitor) hear() {
	buf := make([]byte, 1<<20)
	for {
		n, _, err := unix.Recvfrom(m.fd, buf, 0)
		switch {
		case err == nil:
			m.take(buf[:n])
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			select {
			case <-m.quit:
				return
			default:
			}
		default:
			m.mu.Lock()
			m.seen.lost = err
			m.mu.Unlock()
			if !errors.Is(err, unix.ENOBUFS) {
				return
			}
		}
	}
}

func (m *monitor) take(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(b) >= unix.SizeofNlMsghdr {
		size, kind := int(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint16(b[4:])
		if size < unix.SizeofNlMsghdr || size > len(b) {
			m.seen.lost = fmt.Errorf("a message of %d octets in %d", size, len(b))
			return
		}
		m.one(kind, b[unix.SizeofNlMsghdr:size])
		b = b[min(len(b), (size+3)&^3):]
	}
}

func (m *monitor) one(kind uint16, body []byte) {
	switch kind {
	case unix.RTM_DELNEXTHOP:
		m.seen.objectsRemoved++
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if len(body) < unix.SizeofRtMsg {
			return
		}
		r := (*unix.RtMsg)(unsafe.Pointer(&body[0]))
		switch {
		case r.Protocol == smallProtocol && kind == unix.RTM_DELROUTE:
			m.seen.smallRemoved++
		case r.Protocol == bulkProtocol && kind == unix.RTM_NEWROUTE:
			m.seen.added++
		case r.Protocol == bulkProtocol:
			m.seen.removed++
			if p := destination(body, r.Dst_len); len(m.seen.gone) < goneKept {
				m.seen.gone[p]++
			}
		}
	}
}

// destination of a message about a route.
func destination(body []byte, bits uint8) (p netip.Prefix) {
	for b := body[unix.SizeofRtMsg:]; len(b) >= 4; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:]) == unix.RTA_DST {
			a, _ := netip.AddrFromSlice(b[4:n])
			return netip.PrefixFrom(a, int(bits))
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return p
}

// reset forgets what was heard.
func (m *monitor) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = changes{gone: map[netip.Prefix]int{}}
}

// look returns what was heard.
func (m *monitor) look() changes {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.seen
	c.gone = make(map[netip.Prefix]int, len(m.seen.gone))
	for k, v := range m.seen.gone {
		c.gone[k] = v
	}
	return c
}

// agreed looks whether the kernel has as many routes to prefixes as the daemon believes:
// of routes whose group is removed the kernel says nothing.
func (s *scene) agreed() error {
	believed, found := 0, 0
	var broken error
	err := s.wait("the kernel has what the daemon believes", func() bool {
		st, err := s.status()
		if err == nil {
			found, err = s.kernelRoutes()
		}
		broken = err
		if err != nil || st.BGP == nil || st.BGP.Prefixes == nil {
			return false
		}
		believed = st.BGP.Prefixes.Routes
		return found == believed
	})
	s.report.count("the kernel has %d routes to prefixes, and the daemon believes in %d", found, believed)
	s.report.fault(err == nil, "the kernel has %d routes to prefixes, and the daemon believes in %d", found, believed)
	return broken
}

// kernelRoutes counts the routes to prefixes on the edge.
func (s *scene) kernelRoutes() (n int, err error) {
	fd := -1
	err = s.site.Edge.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count routes: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	buf := make([]byte, 1<<20)
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		b := binary.NativeEndian.AppendUint32(nil, unix.SizeofNlMsghdr+unix.SizeofRtMsg)
		b = binary.NativeEndian.AppendUint16(b, unix.RTM_GETROUTE)
		b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		b = append(append(b, make([]byte, 8)...), family)
		b = append(b, make([]byte, unix.SizeofRtMsg-1)...)
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return n, fmt.Errorf("count routes: %w", err)
		}
		for done := false; !done; {
			size, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return n, fmt.Errorf("count routes: %w", err)
			}
			for b := buf[:size]; len(b) >= unix.SizeofNlMsghdr; {
				length, kind := int(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint16(b[4:])
				switch kind {
				case unix.NLMSG_ERROR:
					return n, errors.New("count routes: the kernel refuses to list them")
				case unix.NLMSG_DONE:
					done = true
				case unix.RTM_NEWROUTE:
					if b[unix.SizeofNlMsghdr+5] == bulkProtocol {
						n++
					}
				}
				b = b[min(len(b), (length+3)&^3):]
			}
		}
	}
	return n, nil
}
