package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socketKind is how ICMP is spoken.
type socketKind uint8

const (
	// The zero value is no kind at all.
	_ socketKind = iota
	// socketRaw needs CAP_NET_RAW and hears everything.
	socketRaw
	// socketPing (net.ipv4.ping_group_range) needs nothing, but hears neither
	// errors nor redirects: losses are found by the timeout and there is no
	// advice.
	socketPing
)

// socket is a conn on a non-blocking ICMP socket, bound to device and source. The
// socket is in an epoll set of its own, and only that is known to the Go runtime:
// while the set does not listen, packets wake nobody. Of the runtime's own set a
// socket stays a member, and each packet wakes a thread, whether or not a
// goroutine waits for it.
type socket struct {
	fd int // used only within the callbacks of raw, which outlast it
	// file is the epoll set. It is closed first and waits for the callbacks.
	file   *os.File
	raw    syscall.RawConn
	v6     bool
	kind   socketKind
	name   string // of the device
	device int    // its index

	// The callbacks of raw and what they work on live here, so that a probe
	// allocates no closures.
	sendFD, receiveFD, lookFD func(uintptr)
	waitFD                    func(uintptr) bool

	to4     unix.SockaddrInet4
	to6     unix.SockaddrInet6
	to      unix.Sockaddr
	message []byte
	data    [2048]byte
	control [256]byte
	n, oobn int
	from    syscall.Sockaddr
	err     error

	listen, armed bool // what waitFD shall do, and what the set does
	event         unix.EpollEvent
	events        [1]unix.EpollEvent
	looked        time.Time // at the device
}

// openSocket opens a raw socket, or a ping socket where that is not permitted.
func openSocket(config Config, id identity) (conn, error) {
	s, err := openKind(config, id, socketRaw)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, unix.EPERM) {
		return nil, err
	}
	s, pingErr := openKind(config, id, socketPing)
	if pingErr != nil {
		return nil, errors.Join(err, pingErr)
	}
	return s, nil
}

func openKind(config Config, id identity, kind socketKind) (*socket, error) {
	if !config.Source.IsValid() {
		return nil, errors.New("no source address")
	}
	v6 := config.Source.Is6()
	domain, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if v6 {
		domain, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	style, what := unix.SOCK_RAW, "create raw socket"
	if kind == socketPing {
		style, what = unix.SOCK_DGRAM, "create ping socket"
	}
	fd, err := unix.Socket(domain, style|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s := &socket{fd: fd, v6: v6, kind: kind, name: config.Device, looked: time.Now()}
	if err := s.configure(fd, config, id); err != nil {
		return nil, errors.Join(err, closeFD(fd))
	}
	if err := s.poll(); err != nil {
		return nil, errors.Join(fmt.Errorf("poll socket: %w", err), closeFD(fd))
	}
	s.prepare()
	return s, nil
}

func closeFD(fd int) error {
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close socket: %w", err)
	}
	return nil
}

// configure binds the socket and sets what it wants to hear. The device comes
// first: a link-local source is meaningless without it.
func (s *socket) configure(fd int, config Config, id identity) error {
	if err := unix.BindToDevice(fd, s.name); err != nil {
		return fmt.Errorf("bind to device %s: %w", s.name, err)
	}
	// What the socket is really bound to, also if the name has moved to
	// another device meanwhile.
	device, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
	if err != nil {
		return fmt.Errorf("read index of device %s: %w", s.name, err)
	}
	s.device = device
	if config.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(config.Mark)); err != nil {
			return fmt.Errorf("set mark %#x: %w", config.Mark, err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask for timestamps: %w", err)
	}
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if s.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return fmt.Errorf("ask for packet info: %w", err)
	}
	if s.kind == socketRaw {
		if err := s.filter(fd, id); err != nil {
			return err
		}
	}
	return s.bind(fd, config.Source, id)
}

// bind sets the source. The port of a ping socket is its ICMP identifier.
func (s *socket) bind(fd int, source netip.Addr, id identity) error {
	port := 0
	if s.kind == socketPing {
		port = int(id.id)
	}
	if err := unix.Bind(fd, s.address(source, port)); err != nil {
		return fmt.Errorf("bind to source %s: %w", source, err)
	}
	return nil
}

// address fills the reusable socket address. It is valid until the next call. A
// link-local address needs no zone: the kernel takes the bound device for it.
func (s *socket) address(a netip.Addr, port int) unix.Sockaddr {
	if !s.v6 {
		s.to4 = unix.SockaddrInet4{Addr: a.As4(), Port: port}
		return &s.to4
	}
	s.to6 = unix.SockaddrInet6{Addr: a.As16(), Port: port}
	return &s.to6
}

// filter lets in what parse knows. The first filter goes by type, the second
// holds back the echo replies of other programs: a raw socket sees all replies
// that the host gets on the device.
func (s *socket) filter(fd int, id identity) error {
	if s.v6 {
		var f unix.ICMPv6Filter // a set bit blocks
		for i := range f.Data {
			f.Data[i] = ^uint32(0)
		}
		for _, t := range []int{v6EchoReply, v6Unreachable, v6Redirect} {
			f.Data[t/32] &^= 1 << (t % 32)
		}
		if err := unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &f); err != nil {
			return fmt.Errorf("filter ICMPv6 types: %w", err)
		}
	} else {
		pass := int32(1<<v4EchoReply | 1<<v4Unreachable | 1<<v4Redirect)
		if err := unix.SetsockoptInt(fd, unix.SOL_RAW, unix.ICMP_FILTER, int(^pass)); err != nil {
			return fmt.Errorf("filter ICMP types: %w", err)
		}
	}
	program := replyFilter(s.v6, id)
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("filter ICMP identifiers: %w", err)
	}
	return nil
}

// replyFilter is a classic BPF program that drops echo replies with another
// identifier. An IPv4 raw socket shows it the IP header, an IPv6 one does not
// (net/ipv4/raw.c raw_rcv, net/ipv6/raw.c rawv6_rcv).
func replyFilter(v6 bool, id identity) []unix.SockFilter {
	start := unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}
	reply := uint32(v4EchoReply)
	if v6 {
		start = unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_W | unix.BPF_IMM, K: 0}
		reply = v6EchoReply
	}
	return []unix.SockFilter{
		start, // X = offset of the ICMP header
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: reply, Jt: 0, Jf: 2},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(id.id), Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

// prepare makes the callbacks. What they get is the epoll set.
func (s *socket) prepare() {
	s.sendFD = func(uintptr) {
		s.err = retry(func() error { return unix.Sendto(s.fd, s.message, 0, s.to) })
	}
	s.receiveFD = func(uintptr) {
		s.err = retry(func() (err error) {
			// Not the one of x/sys/unix, which asks the socket for its protocol
			// once more for every packet.
			s.n, s.oobn, _, s.from, err = syscall.Recvmsg(s.fd, s.data[:], s.control[:], 0)
			return err
		})
	}
	// An edge may have passed before the runtime began to wait for it, so the
	// set is asked first.
	s.waitFD = func(set uintptr) bool {
		if s.err = s.arm(int(set)); s.err != nil || !s.listen {
			return s.err != nil
		}
		s.err = retry(func() (err error) {
			s.n, err = unix.EpollWait(int(set), s.events[:], 0)
			return err
		})
		if s.n > 0 {
			s.armed = false // EPOLLONESHOT
		}
		return s.err != nil || s.n > 0
	}
	s.lookFD = func(uintptr) { s.err = s.look() }
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (s *socket) send(to netip.Addr, message []byte) error {
	s.to, s.message = s.address(to, 0), message
	if err := s.raw.Control(s.sendFD); err != nil {
		return err
	}
	sendErr := s.err
	if sendErr == nil {
		return nil
	}
	// A send through a device that is gone fails like one without a route.
	if err := s.raw.Control(s.lookFD); err != nil {
		return err
	}
	if s.err != nil {
		return s.err
	}
	return sendErr
}

func (s *socket) receive(p *packet) error {
	if err := s.raw.Control(s.receiveFD); err != nil {
		return err
	}
	if errors.Is(s.err, unix.EAGAIN) {
		return errEmpty
	}
	if s.err != nil {
		return s.err
	}
	*p = packet{data: s.data[:s.n], from: address(s.from)}
	if !s.v6 && s.kind == socketRaw {
		var ok bool
		if p.data, ok = stripIPv4(p.data); !ok {
			p.data = nil // too short to be believed
		}
	}
	var ingress int
	ingress, p.kernel = parseControl(s.control[:s.oobn])
	p.onDevice = ingress == s.device
	return nil
}

// address returns the address without port and zone.
func address(from syscall.Sockaddr) netip.Addr {
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *syscall.SockaddrInet6:
		return netip.AddrFrom16(a.Addr)
	default:
		return netip.Addr{}
	}
}

func (s *socket) close() error {
	err := s.file.Close()
	if errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close socket: %w", err)
	}
	return errors.Join(err, closeFD(s.fd))
}
