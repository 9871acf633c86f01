package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// priorityControl is TC_PRIO_CONTROL of linux/pkt_sched.h.
const priorityControl = 6

// echoSocket sends the packets of one echo session. The kernel is given whole IP
// packets and another destination to route them to than the one in their header: it
// finds the link-layer address of the neighbour and sends it a packet that is
// addressed to ourselves (net/ipv4/raw.c and net/ipv6/raw.c, FLOWI_FLAG_KNOWN_NH).
type echoSocket struct {
	// fd stays open as long as the session, whatever becomes of the interface, and
	// so does the source port.
	fd   int
	port uint16
	conf Config
	// witness is a UDP socket on the source port. No other program gets that port,
	// and errors that ICMP, also the kernel's own, reports of our packets come by
	// it: the raw socket would not be told.
	witness int
	// lost: the interface seems to be gone; alarm tells of it.
	lost  bool
	alarm func()
	// to is the neighbour, as sendto(2) wants it. The zone of a link-local address
	// is the device that the socket is bound to.
	to       unix.RawSockaddrInet6
	toLength uintptr
	main     frame
	test     frame
}

// openEchoSocket opens the sender of a session, in the namespace of the thread. Before
// it sends it has to know its interface: see aim.
func openEchoSocket(conf Config, p *ports) (*echoSocket, error) {
	s := &echoSocket{fd: -1, witness: -1, conf: conf, alarm: func() {}}
	var err error
	if s.witness, s.port, err = openBound(anyOf(conf.Peer), 0, p); err != nil {
		return nil, fmt.Errorf("open echo socket: %w", err)
	}
	if err := s.open(); err != nil {
		p.release(s.port)
		s.close()
		return nil, fmt.Errorf("open echo socket: %w", err)
	}
	s.to, s.toLength = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: conf.Peer.As16()}, unix.SizeofSockaddrInet6
	if conf.Peer.Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&s.to)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: conf.Peer.As4()}
		s.toLength = unix.SizeofSockaddrInet4
	}
	s.main = newFrame(conf.EchoSource, conf.Local, s.port)
	s.test = newFrame(conf.Local, conf.Local, s.port)
	return s, nil
}

func (s *echoSocket) open() (err error) {
	family := unix.AF_INET
	own := option{unix.IPPROTO_IP, unix.IP_HDRINCL, 1, "bring own headers"}
	witnessed := option{unix.IPPROTO_IP, unix.IP_RECVERR, 1, "ask for errors"}
	if s.conf.Peer.Is6() {
		family = unix.AF_INET6
		own = option{unix.IPPROTO_IPV6, unix.IPV6_HDRINCL, 1, "bring own headers"}
		witnessed = option{unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1, "ask for errors"}
	}
	s.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("create raw socket: %w", err)
	}
	if err := refuseAll(s.fd); err != nil {
		return err
	}
	options := []option{own, {unix.SOL_SOCKET, unix.SO_PRIORITY, priorityControl, "set priority"}}
	if s.conf.Mark != 0 {
		options = append(options, option{unix.SOL_SOCKET, unix.SO_MARK, int(s.conf.Mark), "set mark"})
	}
	if err := setOptions(s.fd, options); err != nil {
		return err
	}
	return setOptions(s.witness, []option{witnessed})
}

// aim binds the socket to its device, which has that index now.
func (s *echoSocket) aim(index int) error {
	if err := bindToDevice(s.fd, s.conf.Interface, index); err != nil {
		return err
	}
	s.lost = false
	return nil
}

// refuseAll makes a socket receive nothing.
func refuseAll(fd int) error {
	return attach(fd, []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}})
}

// attach attaches a filter to a socket.
func attach(fd int, program []unix.SockFilter) error {
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]} //nolint:gosec // a dozen
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}

func (s *echoSocket) send(b []byte) error { return s.transmit(s.main.packet(b)) }

// sendTest is send from our own address of the link.
func (s *echoSocket) sendTest(b []byte) error { return s.transmit(s.test.packet(b)) }

// transmit does not block, so the scheduler need not know of it, as with write.
func (s *echoSocket) transmit(packet []byte) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&packet[0])), uintptr(len(packet)),
		0, uintptr(unsafe.Pointer(&s.to)), s.toLength)
	switch errno {
	case 0:
		return nil
	case unix.ENODEV, unix.ENXIO, unix.ENETDOWN, unix.ENETUNREACH:
		s.lost = true
		s.alarm()
	case unix.EPERM:
		return fmt.Errorf("send echo to the neighbour %s: a packet filter of this host refuses UDP from %s to %s port %d on %s: %w",
			s.conf.Peer, s.conf.EchoSource, s.conf.Local, echoPort, s.conf.Interface, errno)
	}
	return fmt.Errorf("send echo to the neighbour %s: %w", s.conf.Peer, errno)
}

// failure drains what was reported of our packets, and returns the last word.
func (s *echoSocket) failure() error {
	var last error
	var control [256]byte
	for range 16 { // a bound, not an expectation
		_, n, _, _, err := unix.Recvmsg(s.witness, nil, control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return last
		}
		if errno := extendedError(control[:n]); errno != 0 {
			last = errno
		}
	}
	return last
}

// extendedError returns what a control message of an error queue says, 0 if nothing
// (struct sock_extended_err of linux/errqueue.h begins with the errno).
func extendedError(control []byte) unix.Errno {
	for len(control) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0
		}
		if header.Level == unix.IPPROTO_IP && header.Type == unix.IP_RECVERR ||
			header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_RECVERR {
			if len(data) >= 4 {
				return unix.Errno(binary.NativeEndian.Uint32(data))
			}
		}
		control = rest
	}
	return 0
}

func (s *echoSocket) astray() bool { return s.lost }

func (s *echoSocket) close() {
	for _, fd := range []int{s.fd, s.witness} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	s.fd, s.witness = -1, -1
}

// openEchoReceiver opens the socket by which the echo packets of one interface and
// family come back, in the namespace of the thread. It sees them before the checks
// that IP would make of their source, so our own reverse-path filter does not matter.
// They carry no control message but SCM_TIMESTAMPNS, begin with the IP header, and
// are for [parseFrame].
func openEchoReceiver(index int, v6 bool) (int, error) {
	// With protocol 0 it receives nothing before it is bound, and then nothing
	// that the filter did not see.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("create packet socket: %w", err)
	}
	protocol := uint16(unix.ETH_P_IP)
	if v6 {
		protocol = unix.ETH_P_IPV6
	}
	err = errors.Join(
		attach(fd, echoFilter(v6)),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(protocol), Ifindex: index}),
	)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("open packet socket on interface %d: %w", index, err)
	}
	return fd, nil
}

// bigEndian is htons, which AF_PACKET wants for protocol numbers.
func bigEndian(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// openEchoParking opens a socket on the echo port that receives nothing: packets that
// pass our own filters also go up to UDP, and if nobody were there the host would
// answer itself by ICMP. EADDRINUSE: another program has the port.
func openEchoParking(device string, v6 bool) (int, error) {
	family, at := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: echoPort})
	if v6 {
		family, at = unix.AF_INET6, &unix.SockaddrInet6{Port: echoPort}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("create socket: %w", err)
	}
	err = refuseAll(fd)
	if err == nil && v6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.BindToDevice(fd, device)
	}
	if err == nil {
		err = unix.Bind(fd, at)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("open socket on UDP port %d of %s: %w", echoPort, device, err)
	}
	return fd, nil
}
