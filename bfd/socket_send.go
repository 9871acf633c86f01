package bfd

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UDP ports that control packets go to (RFC 5881 section 4, RFC 5883 section 5).
const (
	singleHopPort = 3784
	multihopPort  = 4784
)

// controlSocket sends the control packets of one session: a UDP socket of its own,
// connected to the peer. It stays open as long as the session, whatever becomes of the
// interface, because its source port has to stay the same.
type controlSocket struct {
	fd   int
	port uint16
	conf Config
	now  func() instant
	// lost: the interface seems to be gone, or our address; alarm tells of it.
	lost  bool
	alarm func()
	// refused counts how often the peer said that nothing listens there;
	// refusedAt is when it did last.
	refused   uint64
	refusedAt instant
}

func openControlSocket(conf Config, index int, p *ports) (*controlSocket, error) {
	local := conf.Local
	if !local.IsValid() {
		local = anyOf(conf.Peer)
	}
	fd, port, err := openBound(local, index, p)
	if err != nil {
		return nil, err
	}
	s := &controlSocket{fd: fd, port: port, conf: conf}
	if err := s.configure(); err != nil {
		p.release(port)
		s.close()
		return nil, err
	}
	return s, nil
}

// option is a socket option with what it does, for errors.
type option struct {
	level, name, value int
	what               string
}

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.what, err)
		}
	}
	return nil
}

func (s *controlSocket) configure() error {
	options := []option{
		{unix.IPPROTO_IP, unix.IP_TTL, hopLimitSent, "set TTL"},
		{unix.IPPROTO_IP, unix.IP_TOS, trafficClass, "set DSCP"},
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, "forbid fragments"},
	}
	if s.conf.Peer.Is6() {
		options = []option{
			{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hopLimitSent, "set hop limit"},
			{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, trafficClass, "set DSCP"},
			{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, "forbid fragments"},
			{unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1, "forbid fragments"},
		}
	}
	// After IP_TOS, which also sets a priority.
	options = append(options, option{unix.SOL_SOCKET, unix.SO_PRIORITY, priorityControl, "set priority"})
	if s.conf.Mark != 0 {
		options = append(options, option{unix.SOL_SOCKET, unix.SO_MARK, int(s.conf.Mark), "set mark"})
	}
	return setOptions(s.fd, options)
}

// aim binds the socket to its device, which has that index now, and connects it to
// the peer; where our address was left to the kernel, it chooses anew.
func (s *controlSocket) aim(index int) error {
	if err := disconnect(s.fd); err != nil {
		return fmt.Errorf("disconnect: %w", err)
	}
	if err := bindToDevice(s.fd, s.conf.Interface, index); err != nil {
		return err
	}
	port := uint16(singleHopPort)
	if s.conf.Multihop {
		port = multihopPort
	}
	if err := unix.Connect(s.fd, socketAddress(s.conf.Peer, port, index)); err != nil {
		return fmt.Errorf("find a way to %s: %w", s.conf.Peer, err)
	}
	s.lost = false
	return nil
}

// disconnect takes back connect, and with it the device and the source address that
// were not bound explicitly (net/ipv4/udp.c __udp_disconnect).
func disconnect(fd int) error {
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	if errno != 0 {
		return errno
	}
	return nil
}

// bindToDevice binds to the device of that name if it still has that index. No name
// is no device.
func bindToDevice(fd int, name string, index int) error {
	if name == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, name); err != nil {
		return fmt.Errorf("bind to device %s: %w", name, err)
	}
	bound, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
	if err != nil {
		return fmt.Errorf("read index of device %s: %w", name, err)
	}
	if bound != index {
		return fmt.Errorf("bind to device %s: it has index %d, had %d: %w", name, bound, index, unix.ENODEV)
	}
	return nil
}

// send writes twice if it has to: an error may be the answer to an earlier packet,
// which the kernel returns instead of sending.
func (s *controlSocket) send(b []byte) error {
	errno := write(s.fd, b)
	if errno == 0 {
		return nil
	}
	if errno == unix.ECONNREFUSED {
		s.refused++
		s.refusedAt = s.now()
	}
	if errno = write(s.fd, b); errno == 0 || errno == unix.ECONNREFUSED {
		return nil
	}
	return s.unsent(errno)
}

// write does not block, so the scheduler need not know of it: a thread that tells of a
// system call may lose its right to run to another.
func write(fd int, b []byte) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return errno
}

// unsent says why nothing was sent.
func (s *controlSocket) unsent(errno unix.Errno) error {
	switch errno { //nolint:exhaustive // an open set
	case unix.ENODEV, unix.ENXIO, unix.ENETDOWN, unix.ENETUNREACH:
		s.lose()
	case unix.EPERM:
		return fmt.Errorf("send to %s: a packet filter of this host refuses it: %w", s.conf.Peer, errno)
	case unix.EINVAL, unix.EADDRNOTAVAIL:
		s.lose()
		if s.conf.Local.IsValid() {
			return fmt.Errorf("send from %s, which seems to have left this host: %w", s.conf.Local, errno)
		}
	}
	return fmt.Errorf("send to %s: %w", s.conf.Peer, errno)
}

func (s *controlSocket) lose() {
	s.lost = true
	s.alarm()
}

// problem says what the peer said, for as long as it is news.
func (s *controlSocket) problem(now instant) string {
	if s.refused == 0 || now-s.refusedAt > refusalLasts {
		return ""
	}
	port := singleHopPort
	if s.conf.Multihop {
		port = multihopPort
	}
	return fmt.Sprintf("%s says (ICMP) that nothing listens on its UDP port %d: is BFD configured there?", s.conf.Peer, port)
}

// refusalLasts is some packets at the slow rate: hosts limit the rate of such answers.
const refusalLasts = 10 * time.Second

func (s *controlSocket) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}

// source returns the address that packets come from.
func (s *controlSocket) source() (netip.Addr, error) {
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read address of socket: %w", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr), nil
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr), nil
	default:
		return netip.Addr{}, errors.New("read address of socket: unknown family")
	}
}
