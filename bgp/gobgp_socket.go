package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sendHoldTime is for how long a peer may take nothing of what is sent (RFC 9687
// section 6), given the hold time that was negotiated.
var sendHoldTime = func(hold time.Duration) time.Duration { return max(8*time.Minute, 2*hold) }

// setSendTimeout has the kernel end the connection to a peer that takes nothing for
// that long: the library writes without a deadline. Its sockets are its own, so the
// one is found among all of the process, by its ends. A socket that ended meanwhile
// is no error.
func setSendTimeout(peer netip.Addr, local, remote uint16, d time.Duration) error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("find the connection to %v: %w", peer, err)
	}
	defer dir.Close() //nolint:errcheck // It was only read.
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("find the connection to %v: %w", peer, err)
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || !isConnection(fd, peer, local, remote) {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())); err != nil {
			return fmt.Errorf("bound how long peer %v may take nothing: %w", peer, err)
		}
	}
	return nil
}

// raiseHopLimit has the kernel answer those who connect over IPv6 with a hop limit of
// 255, as a peer with TTL security wants it (RFC 5082 section 3). The library means to,
// but takes "[::]:179" for an IPv4 address. Its sockets are its own, so those are found
// among all of the process that listen on port.
func raiseHopLimit(port uint16) error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("find the sockets of port %d: %w", port, err)
	}
	defer dir.Close() //nolint:errcheck // It was only read.
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("find the sockets of port %d: %w", port, err)
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		here, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		six, ok := here.(*unix.SockaddrInet6)
		if !ok || six.Port != int(port) {
			continue
		}
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255); err != nil {
			return fmt.Errorf("set the hop limit of port %d: %w", port, err)
		}
	}
	return nil
}

func isConnection(fd int, peer netip.Addr, local, remote uint16) bool {
	there, err := unix.Getpeername(fd)
	if err != nil {
		return false
	}
	here, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	a, port := endOf(there)
	_, own := endOf(here)
	return a == peer.WithZone("") && port == remote && own == local
}

func endOf(sa unix.Sockaddr) (netip.Addr, uint16) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr), uint16(sa.Port) //nolint:gosec // A port.
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port) //nolint:gosec // A port.
	default:
		return netip.Addr{}, 0
	}
}

// probeListen says whether connections could be accepted, without accepting any.
func probeListen(c *Config) error {
	list := c.Listen
	if len(list) == 0 {
		list = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for _, a := range list {
		network := "tcp4"
		if a.Is6() {
			network = "tcp6"
		}
		lc := net.ListenConfig{}
		lc.SetMultipathTCP(false)
		l, err := lc.Listen(context.Background(), network, netip.AddrPortFrom(a, c.Port).String())
		if err != nil {
			return errors.Unwrap(err)
		}
		if err := l.Close(); err != nil && !errors.Is(err, syscall.EBADF) {
			return err
		}
	}
	return nil
}

// ownAddresses are those of this host.
type ownAddresses struct {
	set atomic.Pointer[map[netip.Addr]struct{}]
}

// refresh reads them anew. On an error those of before stay.
func (o *ownAddresses) refresh() {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	set := make(map[netip.Addr]struct{}, len(list))
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				set[addr.Unmap()] = struct{}{}
			}
		}
	}
	o.set.Store(&set)
}

// has says whether a is one of them.
func (o *ownAddresses) has(a netip.Addr) bool {
	set := o.set.Load()
	if set == nil {
		return false
	}
	_, ok := (*set)[a]
	return ok
}
