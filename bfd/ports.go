package bfd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Source ports (RFC 5881 section 4).
const (
	firstPort = 49152
	portCount = 65536 - firstPort
)

// ports hands out source ports: one for each session, from a random one on.
type ports struct {
	next  int
	taken map[uint16]bool
}

func newPorts(rng *rand.Rand) *ports {
	return &ports{next: rng.IntN(portCount), taken: map[uint16]bool{}}
}

// reserve returns a port for which use succeeds. Others are passed over while use says
// EADDRINUSE: another program has them. Beyond 16384 sessions there is no port left.
func (p *ports) reserve(use func(port uint16) error) (uint16, error) {
	for range portCount {
		port := uint16(firstPort + p.next) //nolint:gosec // below 65536
		p.next = (p.next + 1) % portCount
		if p.taken[port] {
			continue
		}
		err := use(port)
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, err
		}
		p.taken[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("no source port from %d on is free: %w", firstPort, unix.EADDRINUSE)
}

func (p *ports) release(port uint16) { delete(p.taken, port) }

// socketAddress is an address and port as the system calls want it. Index is the
// scope of link-local addresses, and means nothing to others.
func socketAddress(a netip.Addr, port uint16, index int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
	}
	to := &unix.SockaddrInet6{Addr: a.As16(), Port: int(port)}
	if a.IsLinkLocalUnicast() {
		to.ZoneId = uint32(index) //nolint:gosec // an index of the kernel
	}
	return to
}

// openBound opens a UDP socket on a source port of its own, and at local unless that
// is unspecified. It receives nothing: what is for us comes by other ports.
func openBound(local netip.Addr, index int, p *ports) (fd int, port uint16, err error) {
	family := unix.AF_INET
	if local.Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, fmt.Errorf("create socket: %w", err)
	}
	err = refuseAll(fd)
	if err == nil && local.Is6() {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		port, err = p.reserve(func(port uint16) error { return unix.Bind(fd, socketAddress(local, port, index)) })
	}
	if err == nil {
		return fd, port, nil
	}
	unix.Close(fd)
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return -1, 0, fmt.Errorf("the address %s is not on this host, or not usable yet: %w", local, err)
	}
	return -1, 0, fmt.Errorf("bind to %s: %w", local, err)
}
